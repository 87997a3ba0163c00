package scenario

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

// Options say how the tests of a file are run. The zero value runs all of them by the file's
// own rules.
type Options struct {
	Rules      []rules.Rule   // in place of the file's; nil: the file's
	Only       *regexp.Regexp // the names of the tests to run; nil: all
	EveryRound bool           // no round of probes is left out, however little happens
	FirstOnly  bool           // one test after the other, and none after one that failed
}

// State says how a test ended.
type State string

// The states of tests.
const (
	Passed    State = "ok"
	Failed    State = "failed"
	Waiting   State = "waiting"    // for facts that nothing supplies yet; it does not pass
	WouldPass State = "would_pass" // it waits, and passes already
)

// Result is how one test ended.
type Result struct {
	Name     string        `json:"name"`
	State    State         `json:"state"`
	Waiting  string        `json:"waiting,omitempty"` // for what
	Duration time.Duration `json:"duration_ns"`
	Failures []Failure     `json:"failures"`
	Timeline []Event       `json:"timeline,omitempty"`
}

// Report is how the tests of one file ended.
type Report struct {
	File     string   `json:"file"`
	Tests    []Result `json:"tests"`    // in the order of the file
	Coverage Coverage `json:"coverage"` // of all tests that were run, waiting ones too
	Unmet    []string `json:"unmet"`    // demands of coverage that were not met; only where all tests were run
}

// OK reports whether every test passed or waits, and every demand was met.
func (r Report) OK() bool {
	return len(r.Unmet) == 0 && !slices.ContainsFunc(r.Tests, func(t Result) bool { return t.State == Failed })
}

// Run plays the tests of the file, several at a time. The error is about rules that cannot be
// loaded, or the context's end; failed tests are in the report.
func (f *File) Run(ctx context.Context, o Options) (Report, error) {
	report := Report{File: f.Path, Tests: []Result{}, Unmet: []string{}}
	compiled := o.Rules
	if compiled == nil {
		var err error
		if compiled, err = f.LoadRules(); err != nil {
			return report, err
		}
	}
	var chosen []*test
	for i := range f.tests {
		if o.Only == nil || o.Only.MatchString(f.tests[i].form.Name) {
			chosen = append(chosen, &f.tests[i])
		}
	}
	results, err := f.runAll(ctx, chosen, compiled, o)
	if err != nil {
		return report, err
	}
	report.Coverage = newTallies(compiled).all
	for _, r := range results {
		if r.name != "" {
			report.Tests = append(report.Tests, r.Result)
			report.Coverage = report.Coverage.Merge(r.coverage)
		}
	}
	if len(report.Tests) == len(f.tests) {
		report.Unmet = append(report.Unmet, f.unmet(report.Coverage)...)
	}
	return report, nil
}

// LoadRules loads the rules that the file names. The error is a [rules.Problem] with a place,
// or joins several.
func (f *File) LoadRules() ([]rules.Rule, error) {
	var all []rules.Rule
	for _, named := range f.rules {
		name := named.value
		if name == Shipped {
			shipped, err := ruleset.Load(grace)
			if err != nil {
				return nil, err
			}
			all = append(all, shipped...)
			continue
		}
		path := filepath.Join(filepath.Dir(f.Path), name)
		if filepath.IsAbs(name) {
			path = name
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, located(f.Path, named.at.problem("reading rules: %v", err))
		}
		own, err := rules.Load(path, data, grace)
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return all, nil
}

// grace is the deploy_grace of rules that are tested: the default one.
const grace = 2 * time.Second

// ran is the result of one test, with what it tried.
type ran struct {
	Result
	coverage Coverage
	name     string // "" where it was not run
}

// runAll plays tests: as many at a time as there are processors, or one after the other where
// the first failure is enough.
func (f *File) runAll(ctx context.Context, tests []*test, compiled []rules.Rule, o Options) ([]ran, error) {
	results, problems := make([]ran, len(tests)), make([]error, len(tests))
	if o.FirstOnly {
		for i, t := range tests {
			results[i], problems[i] = f.run(ctx, t, compiled, o)
			if problems[i] != nil || results[i].State == Failed {
				return results, problems[i]
			}
		}
		return results, nil
	}
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for i, t := range tests {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			results[i], problems[i] = f.run(ctx, t, compiled, o)
		})
	}
	group.Wait()
	return results, errors.Join(problems...)
}

// run plays one test.
func (f *File) run(ctx context.Context, t *test, compiled []rules.Rule, o Options) (ran, error) {
	began := time.Now()
	p, err := f.begin(t, compiled, o.EveryRound)
	if err != nil {
		return ran{}, err
	}
	if err := p.run(ctx); err != nil {
		return ran{}, err
	}
	r := ran{name: t.form.Name, coverage: p.cover.all}
	r.Result = Result{
		Name: t.form.Name, State: Passed, Waiting: t.form.Waiting, Duration: time.Since(began),
		Failures: append([]Failure{}, p.failed...), Timeline: []Event{},
	}
	for _, h := range p.log {
		r.Timeline = append(r.Timeline, p.event(h))
	}
	switch waits := t.form.Waiting != ""; {
	case waits && len(p.failed) > 0:
		r.State = Waiting
	case waits:
		r.State = WouldPass
	case len(p.failed) > 0:
		r.State = Failed
	}
	return r, nil
}
