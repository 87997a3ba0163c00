package watchdog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/rules"
)

func TestRehearsalFacts(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rehearsed := func(kind certmedic.ActionKind, outcome certmedic.OutcomeKind) certmedic.Action {
		return certmedic.Action{Kind: kind, Version: "v1", EndedAt: at, Outcome: certmedic.Outcome{Kind: outcome, Evidence: []certmedic.Evidence{{Source: string(kind), Line: "x"}}}}
	}
	hooks := func(o certmedic.OutcomeKind) certmedic.Action { return rehearsed(certmedic.RehearseHooks, o) }
	renewal := func(o certmedic.OutcomeKind) certmedic.Action { return rehearsed(certmedic.RehearseRenewal, o) }
	const ok, bad = certmedic.OutcomeRehearsed, certmedic.OutcomeFailed
	healed := func(after time.Duration) func(*entry) {
		return func(e *entry) {
			e.acted(certmedic.Action{Kind: certmedic.ActionRedeploy, Version: "v1", EndedAt: at.Add(after), Outcome: certmedic.Outcome{Kind: certmedic.OutcomeHealed}})
		}
	}
	stores := func(version certmedic.Fingerprint, awaited bool) func(*entry) {
		return func(e *entry) {
			e.stored = &certmedic.Stored{Chain: []certmedic.CertFacts{{SHA256: version}}}
			e.memory.Awaited = awaited
		}
	}
	for _, tt := range []struct {
		about    string
		all      []certmedic.Action
		then     func(*entry)
		want     string
		evidence int
	}{
		{"none was made", nil, nil, "", 0},
		{"one went well", []certmedic.Action{hooks(ok)}, nil, "ok", 0},
		{"of two one failed", []certmedic.Action{hooks(ok), renewal(bad)}, nil, "renewal_failed", 1},
		{"both failed", []certmedic.Action{hooks(bad), renewal(bad)}, nil, "hooks_failed", 2},
		{"the next went well", []certmedic.Action{hooks(bad), hooks(ok)}, nil, "ok", 0},
		{"the next was refused", []certmedic.Action{hooks(bad), hooks(certmedic.OutcomeRefused)}, nil, "hooks_failed", 1},
		{"the next is at work", []certmedic.Action{hooks(bad), hooks(certmedic.OutcomeRunning)}, nil, "hooks_failed", 1},
		{"the next was interrupted", []certmedic.Action{hooks(bad), hooks(certmedic.OutcomeUnverified)}, nil, "hooks_failed", 1},
		{"an action healed since", []certmedic.Action{hooks(bad)}, healed(time.Minute), "ok", 0},
		{"one had healed before", []certmedic.Action{hooks(bad)}, healed(-time.Minute), "hooks_failed", 1},
		{"which says nothing about the renewal", []certmedic.Action{renewal(bad)}, healed(time.Minute), "renewal_failed", 1},
		{"a new version is stored", []certmedic.Action{renewal(bad)}, stores("v2", true), "ok", 0},
		{"and not served yet", []certmedic.Action{hooks(bad)}, stores("v2", true), "hooks_failed", 1},
		{"and served", []certmedic.Action{hooks(bad)}, stores("v2", false), "ok", 0},
		{"the source cannot be read", []certmedic.Action{hooks(bad)}, func(e *entry) { e.stored = &certmedic.Stored{} }, "hooks_failed", 1},
	} {
		e := newEntry(&certmedic.Certificate{Name: "shop"}, store.Memory{}, rules.State{})
		stores("v1", false)(e)
		for _, a := range tt.all {
			e.rehearsed(a)
		}
		if tt.then != nil {
			tt.then(e)
		}
		c := rules.CertificateFacts{Support: map[string]rules.Support{}}
		e.rehearsalFacts(&c)
		if got := c.Support["certificate.rehearsal"].Evidence; c.Rehearsal != tt.want || len(got) != tt.evidence {
			t.Errorf("%s: %q with the evidence %+v, want %q", tt.about, c.Rehearsal, got, tt.want)
		}
	}
}
