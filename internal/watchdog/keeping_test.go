package watchdog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic/rules"
)

// patient waits ten minutes for a drift.
const patient = `
rules:
  - {name: slow, about: certificate, severity: warning, when: certificate.drift, for: 10m}
`

func ofPatience(t *testing.T) func(*Options) {
	t.Helper()
	loaded, err := rules.Load("test.yml", []byte(patient), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.Engine = rules.New(loaded) }
}

// A daemon that is restarted again and again still comes to the end of every wait.
func TestTimersOutliveRestarts(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		stop := s.start(ofPatience(t))
		s.seen()
		s.tree.Renew("shop")
		s.w.Changed("shop")
		for range 5 {
			for range 7 {
				time.Sleep(15 * time.Second)
				s.round()
			}
			stop()
			stop = s.start(ofPatience(t))
			s.seen()
		}
		if s.told("firing slow") != 0 {
			t.Fatal("it fired before its time")
		}
		for range 8 {
			time.Sleep(15 * time.Second)
			s.round()
		}
		if s.told("firing slow") != 1 {
			t.Errorf("after ten minutes and five restarts: %+v", s.w.Views()[0].Incidents)
		}
	})
}

// The next generation goes on with the timers as they are.
func TestTimersOutliveReloads(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		stop := s.start(ofPatience(t))
		s.seen()
		s.tree.Renew("shop")
		s.w.Changed("shop")
		for range 38 {
			time.Sleep(16 * time.Second)
			s.round()
			stop()
			s.reload = true
			stop = s.start(ofPatience(t))
		}
		s.round()
		if s.told("firing slow") != 1 {
			t.Errorf("after ten minutes of reloads: %+v", s.w.Views()[0].Incidents)
		}
	})
}

// What is not watched any more ends its incidents, unless discovery could not see it.
func TestCertificateThatIsGoneEndsItsIncidents(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		stop := s.start(nil)
		s.seen()
		s.serve(s.ep(0), nil)
		for range 10 {
			time.Sleep(15 * time.Second)
			s.round()
		}
		stop()
		without := func(partial bool) func(*Options) {
			return func(o *Options) { o.Certificates, o.Partial = nil, partial }
		}
		stop = s.start(without(true))
		time.Sleep(time.Minute)
		if s.told("resolved unreachable") != 0 {
			t.Error("it ended although discovery could not see everything")
		}
		stop()
		s.start(without(false))
		time.Sleep(time.Second)
		if s.told("resolved unreachable") != 1 || len(s.ended) != 1 || !s.rules["shop"].Empty() {
			t.Errorf("told %+v, ended %+v, kept %+v", s.news, s.ended, s.rules)
		}
	})
}
