package ruleset_test

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic/rules/ruleset"
)

func TestShippedRulesCompile(t *testing.T) {
	loaded, err := ruleset.Load(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range loaded {
		if r.Runbook == "" || r.Summary == "" {
			t.Errorf("rule %q: a shipped rule has a runbook and a summary", r.Name)
		}
		if r.Name == "renewed-not-served" && r.For != 2*time.Second {
			t.Errorf("renewed-not-served waits %s, want the deploy grace", r.For)
		}
	}
}
