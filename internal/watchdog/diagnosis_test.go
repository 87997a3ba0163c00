package watchdog

import (
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// asker notes what a watchdog wants diagnosed.
type asker struct {
	mu   sync.Mutex
	asks []Ask
}

func (a *asker) diagnose(_ string, ask Ask) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asks = append(a.asks, ask)
}

// last returns what was asked last, and how often anything was.
func (a *asker) last() (Ask, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asks) == 0 {
		return Ask{}, 0
	}
	return a.asks[len(a.asks)-1], len(a.asks)
}

func hookFailed() certmedic.Diagnosis {
	return certmedic.Diagnosis{
		Cause: certmedic.CauseHookFailed, Summary: "The deploy hook failed.", Fix: "certmedic redeploy shop", Time: time.Now().UTC(),
		Evidence: []certmedic.Evidence{{Source: "letsencrypt.log:31", Line: "exit code 3", Output: true}},
	}
}

// drift returns the open incident of drift.
func (s *scene) drift() certmedic.Incident {
	for _, v := range s.w.Views() {
		for _, in := range v.Incidents {
			if in.Rule == "renewed-not-served" {
				return in
			}
		}
	}
	return certmedic.Incident{}
}

func TestAnIncidentIsDiagnosed(t *testing.T) {
	run(t, func(t *testing.T) {
		s, a := newScene(t), &asker{}
		s.start(func(o *Options) { o.Diagnose = a.diagnose })
		s.seen()
		if _, n := a.last(); n != 0 {
			t.Fatalf("%d diagnoses of a certificate that is fine", n)
		}
		renewed := s.tree.Renew("shop")
		s.w.Changed("shop")
		s.seen()
		pending := time.Now()
		ask, n := a.last()
		if n != 1 || ask.From.Before(pending.Add(time.Second)) || ask.From.After(pending.Add(pendingFor)) {
			t.Fatalf("%d diagnoses, the last from %s on: want one, two seconds after the drift was seen", n, ask.From)
		}
		time.Sleep(3 * time.Second)
		s.seen()
		firing, _ := a.last()
		if firing.About != ask.About {
			t.Error("a diagnosis is asked for again, about the same")
		}
		s.w.Diagnosed("shop", hookFailed())
		if in := s.drift(); in.Cause != certmedic.CauseHookFailed || in.Evidence[0].Source != "letsencrypt.log:31" || in.Fix == "" {
			t.Errorf("the incident has the cause %q, the fix %q and the evidence %+v", in.Cause, in.Fix, in.Evidence)
		}
		for _, cause := range []certmedic.Cause{certmedic.CauseNone, certmedic.CauseUnknown, certmedic.CauseDeploying} {
			s.w.Diagnosed("shop", certmedic.Diagnosis{Cause: cause, Time: time.Now()})
		}
		if n := s.told("changed renewed-not-served"); n != 1 || s.drift().Cause != certmedic.CauseHookFailed {
			t.Errorf("the cause was told %d times, and is %q", n, s.drift().Cause)
		}
		s.serve(s.ep(0), renewed.Leaf)
		s.seen()
		if got, _ := a.last(); got != (Ask{}) {
			t.Errorf("asked for %+v, though nothing is wrong any more", got)
		}
		time.Sleep(5 * time.Second)
		s.seen()
		s.w.Diagnosed("shop", hookFailed())
		if d := s.rules["shop"].Diagnosis; d != nil {
			t.Errorf("the episode is over, and the diagnosis is kept: %+v", d)
		}
		if len(s.ended) == 0 || s.ended[len(s.ended)-1].Cause != certmedic.CauseHookFailed {
			t.Errorf("what ended has no cause: %+v", s.ended)
		}
	})
}

func TestACauseSurvivesARestart(t *testing.T) {
	run(t, func(t *testing.T) {
		s, a := newScene(t), &asker{}
		stop := s.start(func(o *Options) { o.Diagnose = a.diagnose })
		s.seen()
		s.tree.Renew("shop")
		s.w.Changed("shop")
		s.seen()
		time.Sleep(3 * time.Second)
		s.seen()
		s.w.Diagnosed("shop", hookFailed())
		before, asked := a.last()
		stop()
		s.start(func(o *Options) { o.Diagnose = a.diagnose })
		s.seen()
		s.seen()
		if in := s.drift(); in.Cause != certmedic.CauseHookFailed {
			t.Errorf("after a restart the cause is %q", in.Cause)
		}
		if ask, n := a.last(); n == asked || ask.About != before.About {
			t.Errorf("after a restart %d diagnoses more were asked for, about %q: want the same as before, %q", n-asked, ask.About, before.About)
		}
		if changes := s.told("changed renewed-not-served"); changes != 1 {
			t.Errorf("the cause was told %d times", changes)
		}
	})
}

func TestWhatIsOnlyWatchedIsNotDiagnosed(t *testing.T) {
	run(t, func(t *testing.T) {
		s, a := newScene(t), &asker{}
		s.cert.Watched = true
		s.start(func(o *Options) { o.Diagnose = a.diagnose })
		s.seen()
		s.tree.Renew("shop")
		s.w.Changed("shop")
		s.seen()
		time.Sleep(time.Minute)
		s.seen()
		if _, n := a.last(); n != 0 || s.drift().ID == "" {
			t.Errorf("%d diagnoses of somebody else's certificate, whose incident is %+v", n, s.drift())
		}
	})
}

func TestObservationsAreThoseOfTheEndpoints(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		if got := s.w.Observations("shop"); got == nil || len(got) > 0 {
			t.Errorf("nothing was seen yet, and there is %+v", got)
		}
		s.seen()
		if got := s.w.Observations("shop"); len(got) != 1 || got[0].Endpoint.Address != "192.0.2.1:443" || !got[0].Addresses[0].Reached() {
			t.Errorf("there is %+v", got)
		}
		if got := s.w.Observations("another"); got == nil || len(got) > 0 {
			t.Errorf("of an unknown certificate there is %+v", got)
		}
	})
}
