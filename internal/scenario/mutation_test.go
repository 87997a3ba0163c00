package scenario_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/certmedic/certmedic/internal/scenario"
	"github.com/certmedic/certmedic/rules"
)

const (
	shippedRules     = "../../rules/ruleset/rules.yml"
	shippedScenarios = "../../rules/ruleset/scenarios/*.test.yml"
)

// equivalent lists mutants that say the same as the rule: nothing can tell them apart.
func equivalent() map[string]string {
	return map[string]string{}
}

// TestMutation holds the shipped scenarios against shipped rules with one mistake in each: at
// least 95 of a hundred mistakes have to make a scenario fail.
func TestMutation(t *testing.T) {
	l := newLaboratory(t)
	if l.notices(t, "", l.compiled) {
		t.Fatal("a scenario fails by the rules as they are: nothing is proven about mistakes in them")
	}
	all := l.mutants(t)
	chosen := all
	if os.Getenv("CERTMEDIC_CHAOS") == "" {
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		chosen = chosen[:60]
	}
	began := time.Now()
	survivors, rejected := l.try(t, chosen)
	killed := len(chosen) - len(survivors)
	t.Logf("%d of %d mutants killed, %d of them as rules that cannot be loaded, in %s", killed, len(chosen), rejected, time.Since(began).Round(time.Millisecond))
	for _, s := range survivors {
		t.Logf("survives: %s (%s): %s", s.name, l.places[s.name], s.what)
	}
	if killed*100 < 95*len(chosen) {
		t.Errorf("%d of %d mutants killed, at least 95 %% have to be", killed, len(chosen))
	}
}

// laboratory holds the shipped rules and their scenarios.
type laboratory struct {
	rules     []ruleMap
	compiled  []rules.Rule
	places    map[string]string // of rules, in their file
	scenarios []*scenario.File
	named     []map[string]*regexp.Regexp // by scenario file and rule, the tests that name it
}

func newLaboratory(t *testing.T) *laboratory {
	t.Helper()
	source, err := os.ReadFile(shippedRules)
	if err != nil {
		t.Fatal(err)
	}
	l := &laboratory{places: map[string]string{}}
	var doc struct {
		Rules []ruleMap `yaml:"rules"`
	}
	if err := yaml.Unmarshal(source, &doc); err != nil {
		t.Fatal(err)
	}
	l.rules = doc.Rules
	for _, r := range l.rules {
		same, ok := compile(t, r)
		if !ok {
			t.Fatalf("%v: the rule does not survive being taken apart", r["name"])
		}
		l.compiled = append(l.compiled, same)
	}
	for i, line := range strings.Split(string(source), "\n") {
		if name, ok := strings.CutPrefix(line, "  - name: "); ok {
			l.places[name] = fmt.Sprintf("rules.yml:%d", i+1)
		}
	}
	l.load(t)
	return l
}

// load loads the scenarios, and notes which of their tests name which rule: those are tried
// first.
func (l *laboratory) load(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(shippedScenarios)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios of the shipped rules: %v", err)
	}
	for _, name := range files {
		file, err := scenario.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]*regexp.Regexp{}
		for _, r := range l.compiled {
			named[r.Name] = testsNaming(string(data), r.Name)
		}
		l.scenarios, l.named = append(l.scenarios, file), append(l.named, named)
	}
}

// testsNaming matches the names of the tests in whose text a rule is named; nil: none.
func testsNaming(file, rule string) *regexp.Regexp {
	var names []string
	tests := strings.Split(file, "\n  - name: ")
	for _, text := range tests[1:] {
		name, rest, _ := strings.Cut(text, "\n")
		if regexp.MustCompile(`rule: ` + rule + `\b`).MatchString(rest) {
			names = append(names, regexp.QuoteMeta(strings.Trim(name, `"'`)))
		}
	}
	if names == nil {
		return nil
	}
	return regexp.MustCompile(`^(` + strings.Join(names, "|") + `)$`)
}

// mutants lists those of all rules that can be told apart from the rule.
func (l *laboratory) mutants(t *testing.T) []mutant {
	t.Helper()
	var all []mutant
	known := equivalent()
	for _, r := range l.rules {
		for _, m := range mutants(r) {
			if _, same := known[m.name+": "+m.what]; same {
				delete(known, m.name+": "+m.what)
				continue
			}
			all = append(all, m)
		}
	}
	for what := range known {
		t.Errorf("there is no such mutant any more: %s", what)
	}
	return all
}

// try runs the scenarios by each mutant, and returns those that none of them noticed, and how
// many could not be loaded.
func (l *laboratory) try(t *testing.T, all []mutant) (survivors []mutant, rejected int) {
	var mu sync.Mutex
	var group sync.WaitGroup
	next := make(chan mutant)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for m := range next {
				mutated, ok := l.swap(t, m)
				lives := ok && !l.notices(t, m.name, mutated)
				mu.Lock()
				if !ok {
					rejected++
				}
				if lives {
					survivors = append(survivors, m)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range all {
		next <- m
	}
	close(next)
	group.Wait()
	return survivors, rejected
}

// swap puts a mutant in the place of its rule, unless it cannot be loaded.
func (l *laboratory) swap(t *testing.T, m mutant) (mutated []rules.Rule, ok bool) {
	loaded, ok := compile(t, m.rule)
	if !ok {
		return nil, false
	}
	mutated = slices.Clone(l.compiled)
	for i, r := range mutated {
		if r.Name == m.name {
			mutated[i] = loaded
		}
	}
	return mutated, true
}

// compile loads a rule, if it can be loaded.
func compile(t *testing.T, rule ruleMap) (compiled rules.Rule, ok bool) {
	t.Helper()
	text, err := yaml.Marshal(map[string]any{"rules": []ruleMap{rule}})
	if err != nil {
		t.Error(err)
		return rules.Rule{}, false
	}
	loaded, err := rules.Load("mutant", text, grace)
	if err != nil {
		return rules.Rule{}, false
	}
	return loaded[0], true
}

// notices reports whether a scenario fails by the rules: one that names the rule, else any.
func (l *laboratory) notices(t *testing.T, rule string, mutated []rules.Rule) bool {
	for i, file := range l.scenarios {
		if only := l.named[i][rule]; only != nil && l.fails(t, file, scenario.Options{Rules: mutated, Only: only, FirstOnly: true}) {
			return true
		}
	}
	return slices.ContainsFunc(l.scenarios, func(file *scenario.File) bool {
		return l.fails(t, file, scenario.Options{Rules: mutated, FirstOnly: true})
	})
}

func (l *laboratory) fails(t *testing.T, file *scenario.File, o scenario.Options) bool {
	report, err := file.Run(t.Context(), o)
	if err != nil {
		t.Errorf("running %s: %v", file.Path, err)
	}
	return slices.ContainsFunc(report.Tests, func(r scenario.Result) bool { return r.State == scenario.Failed })
}
