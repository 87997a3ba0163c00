package watchdog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestARollbackIsNewsOnceItIsVerified(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		for _, step := range []struct {
			kind    certmedic.ActionKind
			outcome certmedic.OutcomeKind
			want    int
		}{
			{certmedic.ActionRollback, certmedic.OutcomeRunning, 0},
			{certmedic.ActionRollback, certmedic.OutcomeUnverified, 0},
			{certmedic.ActionRollback, certmedic.OutcomePutBack, 0},
			{certmedic.ActionRedeploy, certmedic.OutcomeHealed, 0},
			{certmedic.ActionRollback, certmedic.OutcomeHealed, 1},
		} {
			s.w.Acted(certmedic.Action{ID: "1", Certificate: "shop", Kind: step.kind, EndedAt: time.Now(), Outcome: certmedic.Outcome{Kind: step.outcome}})
			if got := s.told(string(NewsRolledBack)); got != step.want {
				t.Errorf("%s that is %s: told %d times, want %d", step.kind, step.outcome, got, step.want)
			}
		}
		for _, n := range s.news {
			if n.Kind == NewsRolledBack && (n.Certificate.Name != "shop" || n.Leaf.SHA256 == "" || n.Stage == "") {
				t.Errorf("the news says too little: %+v", n)
			}
		}
	})
}
