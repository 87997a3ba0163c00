package promtool_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/metrics"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/rules"
)

// fleet is a certmedic of one endpoint, as its exporter asks about it.
type fleet struct {
	endpoint certmedic.Endpoint
	queued   time.Duration // for how long a notification waits
	failing  bool          // its receiver takes nothing
	rules    []rules.Rule
}

func (f *fleet) Views() []watchdog.View {
	return []watchdog.View{{Name: "shop", Certs: certmedic.Certificate{Endpoints: []certmedic.Endpoint{f.endpoint}}}}
}
func (f *fleet) Rules() []rules.Rule         { return f.rules }
func (f *fleet) Fleet() []certmedic.Incident { return nil }
func (f *fleet) QueueOldest() time.Time      { return time.Now().Add(-f.queued) }
func (f *fleet) Receivers() []alerting.State {
	return []alerting.State{{Receiver: "ops", Failing: f.failing}}
}

// TestSameAlertsAboutItself replays how rounds come late and notifications wait.
func TestSameAlertsAboutItself(t *testing.T) {
	promtool(t)
	e := exported(t, time.Minute)
	rng := rand.New(rand.NewPCG(1, 1))
	f := &fleet{endpoint: certmedic.Endpoint{Address: "shop.test:443"}, rules: e.rules}
	exporter, engine := metrics.New("1"), rules.New(e.rules)
	exporter.Use(f)
	r := newRecording(time.Minute, e)
	var state rules.State
	last := time.Unix(0, 0)
	gap := 0
	for i := range steps {
		now := time.Unix(0, 0).UTC().Add(time.Duration(i) * time.Minute)
		if gap--; gap < 0 && i > 0 { // a time of 0 says that no round has ended
			last, gap = now, rng.IntN(9)
			exporter.Probed(certmedic.Observation{Endpoint: f.endpoint, Time: now})
		}
		if f.queued += time.Minute + time.Second; rng.IntN(25) == 0 { // seldom enough: what flaps is kept open here
			f.queued = time.Second
		}
		if rng.IntN(40) == 0 {
			f.failing = !f.failing
		}
		age := now.Sub(last)
		facts := rules.FleetFacts{Endpoints: 1, LastRoundAge: age, MissedRounds: float64(age) / float64(time.Minute), QueueAge: f.queued}
		if f.failing {
			facts.FailingReceivers = []string{"ops"}
		}
		result := engine.Evaluate(now, rules.Facts{Fleet: &facts}, state)
		state = result.State
		fired := map[string]bool{}
		for _, in := range state.Instances {
			if in.State == certmedic.StateFiring {
				r.fire(fired, in.Incident, false, e)
			}
		}
		r.fired = append(r.fired, fired)
		var text bytes.Buffer
		if err := exporter.Write(&text, now); err != nil {
			t.Fatal(err)
		}
		r.take(t, &text, i)
	}
	if len(r.rules) < 2 {
		t.Errorf("only these rules fired: %v", r.rules)
	}
	if err := replay(t, r, e.written); err != nil {
		t.Error(err)
	}
}
