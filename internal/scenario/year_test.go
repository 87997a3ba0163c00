package scenario_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

const (
	seed  = 20260101
	grace = 2 * time.Second
)

// fleet takes the first n worlds of the seed through their year. The finer, the more often each
// is judged when nothing happens.
func fleet(n int, engine *rules.Engine, finer int) report {
	total := emptyReport()
	var mu sync.Mutex
	var group sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := range next {
				r := live(build(seed, i), engine, finer, nil)
				mu.Lock()
				total.add(r)
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	slices.Sort(total.missed)
	slices.Sort(total.spurious)
	return total
}

// TestYear has the shipped rules judge a mixed fleet for a year, and holds every alert
// against an oracle that knows the truth.
func TestYear(t *testing.T) {
	shipped, err := ruleset.Load(grace)
	if err != nil {
		t.Fatal(err)
	}
	n, finer := 100, 1
	switch {
	case os.Getenv("CERTMEDIC_CHAOS") != "":
		n, finer = 800, 10
	case raced:
		n = 30
	}
	began := time.Now()
	r := fleet(n, rules.New(shipped), finer)
	t.Logf("%d certificates for a year, judged %d times in %s: %d incidents, %d ended; missed %d, false %d",
		r.worlds, r.moments, time.Since(began).Round(time.Millisecond), r.began, r.ended, len(r.missed), len(r.spurious))
	for _, c := range claims() {
		t.Logf("%-28s %6d incidents, %6d had to be", c.rule, r.incidents[c.rule], r.musts[c.rule])
		if r.musts[c.rule] == 0 && n >= 100 {
			t.Errorf("no world of the year made %q fire: the year proves nothing about it", c.rule)
		}
	}
	for _, s := range r.missed[:min(10, len(r.missed))] {
		t.Errorf("missed: %s", s)
	}
	for _, s := range r.spurious[:min(10, len(r.spurious))] {
		t.Errorf("false: %s", s)
	}
	if r.began != r.ended {
		t.Errorf("%d incidents began and %d ended", r.began, r.ended)
	}
}

// TestYearNoticesSabotage proves that the year's oracle has teeth: each of these mistakes in
// the rules or in the facts has to show as a missed or a false alert.
func TestYearNoticesSabotage(t *testing.T) {
	source, err := os.ReadFile("../../rules/ruleset/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sabotages() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			engine := rules.New(s.spoil(t, source))
			for i := range 60 {
				r := live(build(seed, i), engine, 1, s.facts)
				if wrong := len(r.missed) + len(r.spurious); wrong > 0 {
					t.Logf("the certificate %d shows it: missed %d, false %d", i+1, len(r.missed), len(r.spurious))
					return
				}
			}
			t.Error("60 certificates for a year, and nothing was missed or false")
		})
	}
}

// sabotage spoils a rule, or what all rules are told.
type sabotage struct {
	name     string
	rule     string
	key      string // of the rule
	from, to string // what is replaced in it; from empty: the whole value
	facts    func(*rules.Facts)
}

func sabotages() []sabotage {
	return []sabotage{
		{name: "half of the threshold", rule: "expiry-imminent", key: "when", from: "0.1", to: "0.05"},
		{name: "twice the days", rule: "expiry-imminent", key: "when", from: "days(7)", to: "days(14)"},
		{name: "drift negated", rule: "renewed-not-served", key: "when", from: "certificate.drift ", to: "!certificate.drift "},
		{name: "unreachable for two hours", rule: "unreachable", key: "for", to: "2h"},
		{name: "unreachable at once", rule: "unreachable", key: "for", to: "0s"},
		{name: "nothing keeps firing", rule: "unreachable", key: "keep_firing_for", to: "0s"},
		{name: "a hook may not take a minute", rule: "hook_hung", key: "for", to: "5s"},
		{name: "a code is forgotten", rule: "chain-invalid", key: "when", from: `"incomplete_chain", `},
		{name: "drift is split, too", rule: "split-serving", key: "when", from: " && !certificate.drift"},
		{name: "expired means nearly", rule: "expired", key: "when", to: `certificate.served_expires_in < duration("1h")`},
		{name: "overdue by the share alone", rule: "renewal-overdue", key: "when", to: "certificate.remaining_ratio < 0.25"},
		{name: "unknown taken for fine", facts: func(f *rules.Facts) {
			f.Certificate.Undecided, f.Certificate.Incomplete = nil, nil
			for i := range f.Endpoints {
				f.Endpoints[i].Undecided = nil
			}
		}},
		{name: "old news taken for new", facts: func(f *rules.Facts) {
			for i := range f.Endpoints {
				f.Endpoints[i].MissedRounds, f.Endpoints[i].Undecided = 0, nil
			}
		}},
	}
}

// spoil loads the rules with the sabotage in them.
func (s sabotage) spoil(t *testing.T, source []byte) []rules.Rule {
	t.Helper()
	var doc struct {
		Rules []map[string]any `yaml:"rules"`
	}
	if err := yaml.Unmarshal(source, &doc); err != nil {
		t.Fatal(err)
	}
	for _, r := range doc.Rules {
		if r["name"] != s.rule {
			continue
		}
		spoiled := s.to
		if s.from != "" {
			spoiled = strings.Replace(fmt.Sprint(r[s.key]), s.from, s.to, 1)
		}
		if spoiled == fmt.Sprint(r[s.key]) {
			t.Fatalf("there is no %q in %v", s.from, r[s.key])
		}
		r[s.key] = spoiled
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := rules.Load(s.name, text, grace)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}
