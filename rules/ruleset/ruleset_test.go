package ruleset_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

const runbooks = "../../docs/runbooks/"

func load(t *testing.T) []rules.Rule {
	t.Helper()
	loaded, err := ruleset.Load(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func names(loaded []rules.Rule) []string {
	var all []string
	for _, r := range loaded {
		all = append(all, r.Name)
	}
	return all
}

// TestComplete holds the list of rules: who adjusts or silences one goes by its name.
func TestComplete(t *testing.T) {
	want := []string{
		"approval-needed", "chain-expiring", "chain-invalid", "clock-skew", "coordinator-lost", "endpoint-vanished", "expired", "expiry-imminent", "hook-failed",
		"hook_hung", "key-denied-in-use", "key-mismatch", "lineage-broken", "member-gone", "must-staple-without-staple", "name-mismatch", "node-behind",
		"not-published", "not-yet-valid", "nothing-issued", "notifier-failing", "permissions", "probe-stale", "rate-limit-near", "rehearsal-failed", "remediation-blocked",
		"remediation-failed", "renewal-overdue", "renewal-time", "renewed-not-served", "revoked", "rolled-back", "rule-error",
		"served-newer", "shared-stale", "split-serving", "standby-unfit", "state-unwritable", "stored-invalid", "unreachable", "watchdog-heartbeat", "weak-parameters",
	}
	got := names(load(t))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the shipped rules are\n%q, want\n%q", got, want)
	}
}

// routine is the rule by which certmedic does what it is there for every few weeks. People hear
// of it by other rules, where it comes to nothing.
const routine = "renewal-time"

// TestEachRuleIsTold holds what every rule has: people hear of it first, in words and with a
// page that says what to do.
func TestEachRuleIsTold(t *testing.T) {
	for _, r := range load(t) {
		if r.Runbook != r.Name || r.Summary == "" {
			t.Errorf("rule %q: its runbook is %q, its summary %q", r.Name, r.Runbook, r.Summary)
		}
		if r.Name == routine {
			continue
		}
		if first := r.Ladder[0]; first.Do != certmedic.StepNotify || first.After != 0 || first.When != "" {
			t.Errorf("rule %q: its ladder begins with %+v, not with telling people", r.Name, first)
		}
		if r.Severity == certmedic.SeverityInfo {
			t.Errorf("rule %q: info is nothing to be told about", r.Name)
		}
		for _, code := range certmedic.FindingCodes() {
			if code.Severity() == certmedic.SeverityInfo && strings.Contains(r.When, `"`+string(code)+`"`) {
				t.Errorf("rule %q fires on %s, which is for information only", r.Name, code)
			}
		}
	}
}

func TestTheGraceIsTheConfiguredOne(t *testing.T) {
	loaded, err := ruleset.Load(42 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range loaded {
		if r.Name == "renewed-not-served" && r.For != 42*time.Second {
			t.Errorf("renewed-not-served waits %s, want the grace of 42 s", r.For)
		}
	}
}

// TestWhatRulesMayAskFor holds the promises about actions.
func TestWhatRulesMayAskFor(t *testing.T) {
	bad := []string{"expired", "not-yet-valid", "chain-invalid", "name-mismatch", "revoked", "key-denied-in-use", "must-staple-without-staple"}
	reversible := []string{"expired", "chain-invalid", "revoked", "key-denied-in-use"}
	acting := append([]string{routine, "renewed-not-served", "node-behind", "renewal-overdue", "expiry-imminent", "not-yet-valid", "rolled-back"}, reversible...)
	for _, r := range load(t) {
		if slices.Contains(bad, r.Name) && r.For != 0 {
			t.Errorf("rule %q waits %s, although it is bad for those who connect now", r.Name, r.For)
		}
		actions := asked(r)
		if len(actions) > 0 && !slices.Contains(acting, r.Name) {
			t.Errorf("rule %q asks for %q", r.Name, actions)
		}
		if slices.Contains(actions, certmedic.ActionRollback) && !slices.Contains(reversible, r.Name) {
			t.Errorf("rule %q asks for a rollback, although nothing bad is served", r.Name)
		}
		if !slices.IsSortedFunc(actions, func(a, b certmedic.ActionKind) int {
			return slices.Index(certmedic.ActionKinds(), a) - slices.Index(certmedic.ActionKinds(), b)
		}) {
			t.Errorf("rule %q asks for %q: the cheapest comes first", r.Name, actions)
		}
	}
}

// asked lists the actions of a rule's ladder. A rollback or renewal has a condition: neither
// is sensible where a good version is stored that is not served.
func asked(r rules.Rule) []certmedic.ActionKind {
	var all []certmedic.ActionKind
	for _, step := range r.Ladder {
		if step.Do != certmedic.StepNotify {
			all = append(all, certmedic.ActionKind(step.Do))
		}
	}
	return all
}

func TestRollbacksAndRenewalsHaveConditions(t *testing.T) {
	for _, r := range load(t) {
		for _, step := range r.Ladder {
			dear := step.Do == certmedic.StepKind(certmedic.ActionRollback) || step.Do == certmedic.StepKind(certmedic.ActionRenew)
			if dear && step.When == "" && r.Name != routine { // which holds for nothing else
				t.Errorf("rule %q: %s without a condition", r.Name, step.Do)
			}
		}
	}
}

// TestRunbooks wants one page for each rule, which names it, and none for rules that are gone.
func TestRunbooks(t *testing.T) {
	shipped := names(load(t))
	for _, name := range shipped {
		page, err := os.ReadFile(runbooks + name + ".md")
		if err != nil {
			t.Error(err)
		} else if !bytes.Contains(page, []byte("\nRule `"+name+"`.\n")) {
			t.Errorf("the runbook %s.md does not name its rule", name)
		}
	}
	pages, err := filepath.Glob(runbooks + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := strings.TrimSuffix(filepath.Base(page), ".md"); !slices.Contains(shipped, name) {
			t.Errorf("the runbook %s is for no rule", page)
		}
	}
}

// TestScenarios wants every rule to be expected by a scenario.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("scenarios/*.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	for _, name := range names(load(t)) {
		if !bytes.Contains(all, []byte("alerts: [{rule: "+name)) && !bytes.Contains(all, []byte("{rule: "+name+",")) {
			t.Errorf("no scenario expects the rule %q", name)
		}
	}
}
