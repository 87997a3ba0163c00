package metrics_test

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestRehearsals(t *testing.T) {
	v := healthy("shop")
	v.Rehearsed = []certmedic.Action{
		{
			Kind: certmedic.RehearseHooks, EndedAt: now.Add(-time.Hour), Outcome: certmedic.Outcome{Kind: certmedic.OutcomeFailed},
			Runs: []certmedic.Run{{Result: certmedic.RunExited}, {Result: certmedic.RunExited, ExitCode: 7}},
		},
		{Kind: certmedic.RehearseRenewal, EndedAt: now, Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRehearsed}},
	}
	families := parse(t, certificates(t, v))
	for _, tt := range []struct {
		about, metric, rehearsal string
		want                     float64
	}{
		{"the hooks failed", "certmedic_rehearsal_success", "rehearsal=hooks", 0},
		{"with this code", "certmedic_hook_last_exit_code", "rehearsal=hooks", 7},
		{"at this time", "certmedic_rehearsal_last_timestamp_seconds", "rehearsal=hooks", float64(now.Add(-time.Hour).UnixMilli()) / 1000},
		{"the renewal went well", "certmedic_rehearsal_success", "rehearsal=renewal", 1},
	} {
		if got, ok := find(families, tt.metric, "certificate=shop", tt.rehearsal); !ok || got != tt.want {
			t.Errorf("%s: %s is %v (there: %t), want %v", tt.about, tt.metric, got, ok, tt.want)
		}
	}
	if _, ok := find(families, "certmedic_hook_last_exit_code", "rehearsal=renewal"); ok {
		t.Error("a rehearsal of the renewal counts as one of hooks")
	}
}
