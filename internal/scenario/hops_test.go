package scenario_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/scenario"
	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

// TestHopsFindTheSame plays the same story with and without leaving out rounds.
func TestHopsFindTheSame(t *testing.T) {
	file, err := scenario.Load("testdata/hops.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	played := func(o scenario.Options) []string {
		report, err := file.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("every round %t: %s", o.EveryRound, report.Tests[0].Duration)
		var lines []string
		for _, e := range report.Tests[0].Timeline {
			lines = append(lines, e.String())
		}
		return slices.Sorted(slices.Values(lines))
	}
	hopping, plodding := played(scenario.Options{}), played(scenario.Options{EveryRound: true})
	for _, rule := range []string{"last-hour", "just-ended", "last-fifth", "rule-error", "expiry-imminent", "probe-stale", "hook_hung", "notifier-failing"} {
		if !slices.ContainsFunc(plodding, func(line string) bool { return strings.Contains(line, "firing "+rule+" of") }) {
			t.Errorf("%s never fires: the story is too short", rule)
		}
	}
	for _, line := range plodding {
		if !slices.Contains(hopping, line) {
			t.Errorf("not found by hops: %s", line)
		}
	}
	for _, line := range hopping {
		if !slices.Contains(plodding, line) {
			t.Errorf("found by hops alone: %s", line)
		}
	}
}

// BenchmarkYear plays a year of ten certificates of 90 days, each of which is renewed every 60
// days.
func BenchmarkYear(b *testing.B) {
	var story strings.Builder
	story.WriteString("tests:\n- name: a year\n  given:\n    certs:\n")
	for c := range 10 {
		fmt.Fprintf(&story, "      cert%c: {lifetime: 90d, age: %dd}\n", 'a'+c, 3*c)
	}
	story.WriteString("    endpoints:\n")
	for c := range 10 {
		fmt.Fprintf(&story, "      web%c: {serves: cert%c}\n", 'a'+c, 'a'+c)
	}
	story.WriteString("  steps:\n")
	for day := range 365 {
		for c := range 10 {
			if (day+3*c)%60 == 0 && day > 0 {
				name := fmt.Sprintf("cert%c%d", 'a'+c, 2+day)
				fmt.Fprintf(&story, "  - {at: %dd, stores: {cert%c: %s}, serves: {web%c: %s}}\n", day, 'a'+c, name, 'a'+c, name)
			}
		}
	}
	story.WriteString("  - at: 365d\n    expect: {alerts: [], notifications: []}\n")
	file, err := scenario.Parse("year.test.yml", []byte(story.String()))
	if err != nil {
		b.Fatal(err)
	}
	shipped, err := ruleset.Load(2 * time.Second)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		play(b, file, shipped)
	}
}

func play(b *testing.B, file *scenario.File, shipped []rules.Rule) {
	report, err := file.Run(b.Context(), scenario.Options{Rules: shipped})
	if err != nil {
		b.Fatal(err)
	}
	if !report.OK() {
		b.Fatal(report.Text(false))
	}
}
