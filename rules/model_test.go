package rules

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const modelRules = `
rules:
  - name: unreachable
    about: endpoint
    when: "!endpoint.reachable"
    for: 2m
    keep_firing_for: 1m
    severity: warning
    ladder:
      - do: notify
      - {after: 10m, do: notify, severity: critical}
  - {name: drift, about: certificate, when: certificate.drift, severity: warning, keep_firing_for: 5s}
  - name: expired
    about: certificate
    when: certificate.expired
    severity: critical
    ladder:
      - do: notify
      - {after: 1m, do: redeploy}
`

// alert is one alert as Prometheus's rules/alerting.go keeps it. What certmedic adds is in
// its clock, which runs only between two judgements that could be made.
type alert struct {
	state                   string // "", "pending" or "firing"
	active, clearing, clock time.Duration
	last                    time.Time // the judgement before
	decided                 bool      // it could be made
	burning                 time.Duration
	damped                  time.Duration
	fired                   []time.Time
	done                    map[int]bool
}

// judge is AlertingRule.Eval for one alert; it returns what happened.
func (a *alert) judge(now time.Time, rule Rule, v verdict) (happened []string) {
	a.fired = slices.DeleteFunc(a.fired, func(t time.Time) bool { return now.Sub(t).Abs() > time.Hour })
	gap := max(0, now.Sub(a.last))
	if a.decided && v != undecided {
		a.clock += gap
	}
	if a.state == "firing" {
		a.burning += gap
	}
	a.last, a.decided = now, v != undecided
	if v == undecided {
		return nil
	}
	if v == no {
		return a.absent(rule)
	}
	if a.state == "" {
		a.state, a.active = "pending", a.clock
		if rule.For > 0 {
			happened = append(happened, "pending")
		}
	}
	a.clearing = -1
	if a.state == "pending" && a.clock-a.active >= rule.For {
		a.state, a.burning, a.done = "firing", 0, map[int]bool{}
		a.fired = append(a.fired, now)
		a.damped = 0
		if n := len(a.fired); n >= 5 {
			a.damped = min(time.Hour, time.Minute*time.Duration(1<<min(n-5, 10)))
		}
		happened = append(happened, "firing")
	}
	for i, step := range rule.Ladder {
		if a.state == "firing" && !a.done[i] && step.After <= a.burning {
			a.done[i] = true
			happened = append(happened, "step "+string(step.Do))
		}
	}
	return happened
}

func (a *alert) absent(rule Rule) []string {
	switch a.state {
	case "pending":
		a.state = ""
		return []string{"dropped"}
	case "firing":
		if a.clearing < 0 {
			a.clearing = a.clock
		}
		if a.clock-a.clearing < max(rule.KeepFiringFor, a.damped) {
			return nil
		}
		a.state = ""
		return []string{"resolved"}
	}
	return nil
}

// world is a random story, told to the engine and to the model.
type world struct {
	t      *testing.T
	random *rand.Rand
	engine *Engine
	state  State
	alerts map[instanceKey]*alert
	mood   map[instanceKey]verdict
	now    time.Time
	quick  bool // only short gaps, so that incidents flap
	story  []string
}

// TestEngineAgainstPrometheus compares the engine with a model of Prometheus's alerting
// rules over random stories: facts that hold, do not or are undecided, gaps of all sizes,
// restarts, clocks that are set back, endpoints that come and go.
func TestEngineAgainstPrometheus(t *testing.T) {
	loaded, err := Load("model.yml", []byte(modelRules), 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for seed := range uint64(48) {
		w := &world{
			t: t, random: rand.New(rand.NewPCG(seed, 1)), engine: New(loaded),
			alerts: map[instanceKey]*alert{}, mood: map[instanceKey]verdict{}, now: start(), quick: seed%2 == 0,
		}
		for range 100 {
			for _, what := range w.step() {
				seen[what[strings.LastIndex(what, ":")+1:]]++
			}
			for _, in := range w.state.Instances {
				if in.Damped > 0 && in.Clear > in.Damped/2 {
					seen["damped"]++
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d:\n%s", seed, strings.Join(w.story, "\n"))
			}
		}
	}
	for _, kind := range []string{"pending", "dropped", "firing", "resolved", "step notify", "step redeploy", "damped"} {
		if seen[kind] < 10 {
			t.Errorf("the stories hold %q only %d times: they prove little", kind, seen[kind])
		}
	}
}

func (w *world) step() []string {
	gaps := []time.Duration{
		0, time.Second, 5 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute,
		10 * time.Minute, 2 * time.Hour, -30 * time.Second, -3 * time.Hour,
	}
	if w.quick {
		gaps = gaps[1:6]
	}
	w.now = w.now.Add(gaps[w.random.IntN(len(gaps))])
	if w.random.IntN(12) == 0 {
		w.restart()
	}
	facts, says := w.facts()
	w.story = append(w.story, fmt.Sprintf("%s %v", w.now.Format(time.DateTime), says))
	before := asJSON(w.t, w.state)
	result := w.engine.Evaluate(w.now, facts, w.state)
	if after := asJSON(w.t, w.state); after != before {
		w.t.Errorf("Evaluate changed the state that it was given:\n%s\n%s", before, after)
	}
	w.state = result.State
	want := w.expected(says)
	got := described(result.Transitions)
	if !slices.Equal(got, want) {
		w.t.Errorf("got %q, want %q", got, want)
	}
	w.invariants(result, says)
	return got
}

// facts makes up what is known now, and returns the verdicts that follow.
func (w *world) facts() (Facts, map[instanceKey]verdict) {
	f := Facts{Certificate: CertificateFacts{Name: "shop", Undecided: Undecided{}}}
	says := map[instanceKey]verdict{}
	of := certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: "shop"}
	say := func(rule string, s certmedic.Subject, variable string, u Undecided) bool {
		v := w.verdict(instanceKey{rule, s})
		says[instanceKey{rule, s}] = v
		if v == undecided {
			u[variable] = "the probe failed"
			return w.random.IntN(2) == 0
		}
		return v == yes
	}
	f.Certificate.Drift = say("drift", of, "certificate.drift", f.Certificate.Undecided)
	f.Certificate.Expired = say("expired", of, "certificate.expired", f.Certificate.Undecided)
	for _, name := range []string{"a:443", "b:443"} {
		if w.random.IntN(20) == 0 {
			continue
		}
		e := EndpointFacts{Address: name, Undecided: Undecided{}}
		s := certmedic.Subject{Kind: certmedic.AboutEndpoint, Certificate: "shop", Endpoint: name}
		e.Reachable = !say("unreachable", s, "endpoint.reachable", e.Undecided)
		f.Endpoints = append(f.Endpoints, e)
	}
	return f, says
}

// verdict is mostly what it was before.
func (w *world) verdict(k instanceKey) verdict {
	if w.random.IntN(3) == 0 {
		w.mood[k] = []verdict{yes, yes, no, no, undecided}[w.random.IntN(5)]
	}
	return w.mood[k]
}

// restart keeps the state as a file would, and forgets everything else.
func (w *world) restart() {
	w.story = append(w.story, "restart")
	var kept State
	if err := json.Unmarshal([]byte(asJSON(w.t, w.state)), &kept); err != nil {
		w.t.Fatal(err)
	}
	if !reflect.DeepEqual(kept, w.state) {
		w.t.Errorf("state after a restart:\n%+v\nwant\n%+v", kept, w.state)
	}
	w.state = Thaw(kept)
	for _, a := range w.alerts {
		a.decided = false
	}
}

// expected tells the model what the engine was told.
func (w *world) expected(says map[instanceKey]verdict) []string {
	var all []string
	say := func(k instanceKey, what string) { all = append(all, fmt.Sprintf("%s:%s:%s", k.rule, k.subject, what)) }
	for k, v := range says {
		if w.alerts[k] == nil {
			w.alerts[k] = &alert{last: w.now, clearing: -1}
		}
		i := slices.IndexFunc(w.engine.rules, func(r Rule) bool { return r.Name == k.rule })
		for _, what := range w.alerts[k].judge(w.now, w.engine.rules[i], v) {
			say(k, what)
		}
	}
	for k, a := range w.alerts {
		if _, asked := says[k]; asked || a.state == "" {
			continue
		}
		say(k, choose(a.state == "firing", "resolved", "dropped"))
		a.state, a.decided = "", false
	}
	slices.Sort(all)
	return all
}

func described(transitions []certmedic.Transition) []string {
	var all []string
	for _, t := range transitions {
		kind := string(t.Kind)
		if t.Kind == certmedic.TransitionStep {
			kind += " " + string(t.Step.Do)
		}
		all = append(all, fmt.Sprintf("%s:%s:%s", t.Incident.Rule, t.Incident.Subject, kind))
	}
	slices.Sort(all)
	return all
}

// invariants hold whatever the story.
func (w *world) invariants(r Result, says map[instanceKey]verdict) {
	open, firing := map[instanceKey]bool{}, false
	for i := range r.State.Instances {
		in := &r.State.Instances[i]
		if open[in.key()] || !in.Open() {
			w.t.Errorf("%v is open twice, or kept after its end", in.key())
		}
		open[in.key()] = true
		firing = firing || in.State == certmedic.StateFiring
		if in.Reason == "" || in.Summary == "" {
			w.t.Errorf("%v says nothing", in.key())
		}
	}
	if firing != (r.State.Episode != "") {
		w.t.Errorf("firing %v in episode %q", firing, r.State.Episode)
	}
	for _, t := range r.Transitions {
		v, asked := says[instanceKey{t.Incident.Rule, t.Incident.Subject}]
		if t.Kind == certmedic.TransitionResolved && asked && v != no {
			w.t.Errorf("%s of %s resolved while it is not known to be fine", t.Incident.Rule, t.Incident.Subject)
		}
	}
	if !r.Next.IsZero() && !r.Next.After(w.now) {
		w.t.Errorf("asks to be woken at %s, which has passed", r.Next)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
