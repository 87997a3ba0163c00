package promrules_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/rules/promrules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

var update = flag.Bool("update", false, "write the exported rules anew")

const exported = "../../dashboards/certmedic.rules.yml"

// TestShipped keeps the rules that are handed out beside the dashboard up to date.
func TestShipped(t *testing.T) {
	shipped, err := ruleset.Load(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]promrules.Translation, 0, len(shipped))
	for _, r := range shipped {
		all = append(all, promrules.Translate(r, promrules.Options{Interval: time.Minute, Runbooks: promrules.Runbooks}))
	}
	var got bytes.Buffer
	if err := promrules.Write(&got, all); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(exported, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(exported)
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(wanted) || line != wanted[i] {
			t.Fatalf("%s is not what is exported now, from line %d on (%q): go test ./rules/promrules -update", exported, i+1, line)
		}
	}
	if got.Len() != len(want) {
		t.Errorf("%s has more than what is exported now: go test ./rules/promrules -update", exported)
	}
}
