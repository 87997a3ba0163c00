package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestLoadNamesEveryMistakeWithItsPlace(t *testing.T) {
	tests := []struct {
		name, source string
		want         []string
	}{
		{
			"an unknown variable, with the one that was meant",
			"rules:\n  - {name: r, about: certificate, severity: info,\n     when: certificate.remainng_ratio < 0.5}",
			[]string{`test.yml:3:23: rule "r": undeclared reference to 'certificate.remainng_ratio'`, `did you mean 'certificate.remaining_ratio'?`, "^"},
		},
		{"a wrong type", "rules: [{name: r, about: certificate, severity: info, when: 'certificate.drift < 3'}]", []string{"no matching overload"}},
		{"a duration that is none", `rules: [{name: r, about: certificate, severity: info, when: 'certificate.drift_age > duration("3d")'}]`, []string{`1:95: rule "r": invalid duration "3d": write days(3)`}},
		{"a bad regular expression", `rules: [{name: r, about: certificate, severity: info, when: 'certificate.name.matches("(")'}]`, []string{"1:87: rule \"r\": invalid regular expression \"(\": missing closing ): `(`"}},
		{"a condition that is no condition", "rules: [{name: r, about: certificate, severity: info, when: certificate.drift_age}]", []string{"must be true or false"}},
		{"an address variable in a rule about certificates", "rules: [{name: r, about: certificate, severity: info, when: address.reachable}]", []string{`undeclared reference to 'address`}},
		{"an unknown key", "rules:\n  - {name: r, abuot: certificate}", []string{"test.yml:2:", "abuot"}},
		{"a yes or no that is neither", "rules: [{name: r, about: certificate, severity: info, when: 'true', diagnose: seldom}]", []string{`1:79: must be true or false, not "seldom"`}},
		{"a key twice", "rules:\n  - name: r\n    name: s", []string{"test.yml:3:5", "name"}},
		{"a second document", "rules: []\n---\nrules: []", []string{"test.yml:3:", "second document"}},
		{"two rules of one name", "rules:\n  - {name: r, about: certificate, severity: info, when: 'true'}\n  - {name: r, about: certificate, severity: info, when: 'true'}", []string{`test.yml:3:12: a second rule named "r"`}},
		{
			"several at once", "rules:\n  - {name: r, about: certificate, severity: loud, when: 'tru', for: soon, ladder: [{do: pray}]}",
			[]string{"severity must be", "undeclared reference to 'tru'", `"soon" is not a duration`, `not "pray"`},
		},
		{"a step that can never come in order", "rules: [{name: r, about: certificate, severity: info, when: 'true', ladder: [{do: notify, after: 1h}, {do: notify, after: 1m}]}]", []string{"stand in order of their time"}},
		{"a summary that does not parse", "rules: [{name: r, about: certificate, severity: info, when: 'true', summary: '{{.Subject'}]", []string{`1:78: rule "r": reading the summary:1:`}},
		{"a summary that asks for what there is not", "rules: [{name: r, about: certificate, severity: info, when: 'true', summary: '{{if .ExpiresIn}}{{else}}{{.Nope}}{{end}}'}]", []string{`1:78: rule "r": rendering the summary:1:27:`, "Nope"}},
		{"a summary without end", `rules: [{name: r, about: certificate, severity: info, when: 'true', summary: '{{define "a"}}more{{template "a"}}{{end}}{{template "a"}}'}]`, []string{"templates within a summary are not supported"}},
		{"nothing at all", "rules: [{about: certificate, severity: info, when: ''}]", []string{"test.yml:1:9: a rule without a name", "test.yml:1:52: rule \"\": the condition is empty"}},
		{"no condition", "rules: [{name: r, about: certificate, severity: info}]", []string{"test.yml:1:9: rule \"r\": it has neither a `when` nor a `condition`"}},
		{"two conditions", "rules: [{name: r, about: certificate, severity: info, when: 'true', condition: drift}]", []string{"test.yml:1:80: rule \"r\": it has a `when` and a `condition`"}},
		{"a name that cannot be a label", "rules: [{name: My Rule, about: certificate, severity: info, when: 'true'}]", []string{`test.yml:1:16: "My Rule" is not the name of a rule`}},
		{"a wait that never ends", "rules: [{name: r, about: certificate, severity: info, when: 'true', for: 367d, keep_firing_for: 9000h}]", []string{`1:74: "367d" is longer`, `1:97: "9000h" is longer`}},
		{"the same step twice", "rules: [{name: r, about: certificate, severity: info, when: 'true', ladder: [{do: notify}, {do: notify}]}]", []string{"1:92: rule \"r\": the same step twice"}},
		{
			"a step's condition, with a caret",
			"rules:\n  - name: r\n    about: certificate\n    severity: info\n    when: 'true'\n    ladder:\n      - do: notify\n      - do: redeploy\n        when: certificate.storedok",
			[]string{`test.yml:9:26: rule "r": undeclared reference to 'certificate.storedok'`, "\n    when: certificate.storedok\n" + strings.Repeat(" ", 4+17) + "^"},
		},
		{"a step's unknown key", "rules: [{name: r, about: certificate, severity: info, when: 'true', ladder: [{do: notify, wen: 'true'}]}]", []string{`1:91: a step has no key "wen", did you mean "when"?`}},
		{"a tag", "rules: [{name: !!str r, about: certificate, severity: info, when: 'true'}]", []string{"1:16: YAML tags"}},
		{"an anchor that is not there", "rules: [{name: *n, about: certificate, severity: info, when: 'true'}]", []string{`1:16: no anchor "n"`}},
		{"a list in place of a mapping", "rules: [[name]]", []string{"1:9: a rule must be a mapping"}},
		{"a mapping in place of a text", "rules: [{name: {a: b}, about: certificate, severity: info, when: 'true'}]", []string{"1:16: must be a text"}},
		{"a mapping in place of a list", "rules: {name: r}", []string{"1:8: rules must be a list"}},
		{"what is no YAML", "rules: [", []string{"test.yml:1:"}},
		{"too many brackets", "rules:\n  - {name: r, about: certificate, severity: info,\n     when: " + strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300) + "}", []string{`test.yml:3:12: rule "r": expression recursion limit exceeded`}},
		{"too many terms", "rules: [{name: r, about: certificate, severity: info, when: '" + strings.Repeat("1+", 1000) + "1 > 0'}]", []string{`test.yml:1:62: rule "r": max recursion depth exceeded`}},
		{"a word that there is not, in a step", `rules: [{name: r, about: certificate, severity: info, when: 'true', ladder: [{do: renew, when: '"expird" in certificate.stored_findings'}]}]`, []string{`1:97: rule "r": certificate.stored_findings is never "expird", did you mean "expired"?`}},
		{"a negative wait", "rules: [{name: r, about: certificate, severity: info, when: 'true', for: -1s}]", []string{"negative"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load("test.yml", []byte(tt.source), time.Second)
			if err == nil {
				t.Fatal("loaded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestAdjust(t *testing.T) {
	loaded, err := Load("test.yml", []byte(driftRules), 0)
	if err != nil {
		t.Fatal(err)
	}
	wait := time.Minute
	adjusted, err := Adjusted(loaded, map[string]Adjust{"renewed-not-served": {For: &wait, Severity: "critical"}})
	if err != nil || adjusted[0].For != wait || adjusted[0].Severity != "critical" || adjusted[0].KeepFiringFor != 5*time.Second {
		t.Errorf("got %+v, %v", adjusted, err)
	}
	if loaded[0].For == wait {
		t.Error("the given rules were changed")
	}
	if out, err := Adjusted(loaded, map[string]Adjust{"renewed-not-served": {Disabled: true}}); err != nil || len(out) != 0 {
		t.Errorf("disabled: %v, %v", out, err)
	}
	if _, err := Adjusted(loaded, map[string]Adjust{"renwed": {}}); err == nil || !strings.Contains(err.Error(), `"renwed"`) {
		t.Errorf("an unknown rule: %v", err)
	}
}

func TestLoadRefusesWhatIsTooLarge(t *testing.T) {
	rule := func(i int, more string) string {
		return fmt.Sprintf("- {name: r%d, about: certificate, severity: info, when: 'true'%s}\n", i, more)
	}
	var many strings.Builder
	for i := range maxRules + 1 {
		many.WriteString(rule(i, ""))
	}
	tests := []struct {
		name, source, want string
	}{
		{"a file", strings.Repeat("# many\n", MaxFile/7+1), "1:1: the file is larger than 1048576 bytes"},
		{"a line", strings.Repeat("- ", maxLine), "1:1: a line is longer"},
		{"brackets", strings.Repeat("[\n", maxDepth+1), "1:1: more than 1000 brackets"},
		{"rules", "rules:\n" + many.String(), "2:1: the file holds 1001 rules"},
		{"steps", "rules:\n" + rule(1, ", ladder: ["+strings.Repeat("{do: notify},", maxSteps+1)+"]"), "the ladder has 33 steps"},
		{"a condition", "rules: [{name: r, about: certificate, severity: info, when: '" + strings.Repeat(" ", maxExpression) + "true'}]", "1:61: rule \"r\": the condition is longer than 4096"},
		{"a summary", "rules:\n" + rule(1, ", summary: '"+strings.Repeat("x", maxSummary+1)+"'"), "the summary is longer than 2000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Load("test.yml", []byte(tt.source), 0)
			if err == nil || !strings.Contains(err.Error(), tt.want) || got != nil {
				t.Errorf("got %d rules and the error %v, want %q", len(got), err, tt.want)
			}
		})
	}
}

func TestPlacesWithinConditions(t *testing.T) {
	head := "rules:\n  - name: r\n    about: certificate\n    severity: info\n"
	tests := []struct {
		name, when   string
		line, column int
	}{
		{"plain", "    when: certificate.drift && nope", 5, 32},
		{"plain, folded", "    when: certificate.drift &&\n      nope", 6, 7},
		{"quoted", "    when: 'certificate.drift && nope'", 5, 33},
		{"quoted, with quotes in it", "    when: 'certificate.name == ''x'' || nope'", 5, 41},
		{"quoted twice, with escapes", `    when: "certificate.name == \"ü\" && nope"`, 5, 41},
		{"a block of lines", "    when: |\n      certificate.drift &&\n        nope", 7, 9},
		{"a folded block", "    when: >-\n      certificate.drift &&\n      !certificate.split &&\n\n      (nope)", 9, 8},
		{"behind an anchor", "    when: &w certificate.drift && nope", 5, 35},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load("test.yml", []byte(head+tt.when+"\n    for: 1m\n"), 0)
			var p *Problem
			if !errors.As(err, &p) {
				t.Fatalf("the error is %v", err)
			}
			if p.Line != tt.line || p.Column != tt.column {
				t.Errorf("got %v, want it at %d:%d", p, tt.line, tt.column)
			}
			lines := strings.Split(p.Excerpt, "\n")
			if len(lines) != 2 || !strings.HasPrefix(string([]rune(lines[0])[len(lines[1])-1:]), "nope") {
				t.Errorf("the caret is elsewhere:\n%s", p.Excerpt)
			}
		})
	}
}

func TestNoPlaceIsOutOfRange(t *testing.T) {
	const text = "ä\nbcd\n"
	for place, want := range map[[2]int]int{
		{1, 1}: 0, {2, 1}: 2, {2, 3}: 4, {3, 1}: 6,
		{-1, 0}: 0, {0, -7}: 0, {-1, 99}: 6, {99, 1}: 6, {99, 99}: 6, {2, -1}: 2,
	} {
		if got := offset(text, place[0], place[1]); got != want {
			t.Errorf("%d:%d is at %d, want %d", place[0], place[1], got, want)
		}
	}
	if got := offset("", -1, 0); got != 0 {
		t.Errorf("the place in nothing is %d", got)
	}
}

func TestProblemsStandInTheOrderOfTheFile(t *testing.T) {
	_, err := Load("test.yml", []byte("rules:\n- {name: r, about: certificate, severity: no, when: nope}\n- {name: s, about: certificate, when: nope, severity: no}\n"), 0)
	want := []string{"2:43", "2:53", "3:39", "3:55"}
	for _, at := range want {
		_, rest, ok := strings.Cut(err.Error(), "test.yml:"+at)
		if !ok {
			t.Fatalf("%s is missing, or not in order: %v", at, err)
		}
		err = errors.New(rest)
	}
}

func TestAnchors(t *testing.T) {
	loaded, err := Load("test.yml", []byte(`
rules:
  - {name: a, about: certificate, severity: &s warning, when: certificate.drift, ladder: &l [{do: notify}, {after: 10m, do: renew, when: &w certificate.stored_ok}]}
  - {name: b, about: certificate, severity: *s, condition: drift, ladder: *l}
`), 0)
	if err != nil {
		t.Fatal(err)
	}
	b := loaded[1]
	if b.Severity != "warning" || len(b.Ladder) != 2 || b.Ladder[1].When != "certificate.stored_ok" || b.Line != 4 || b.File != "test.yml" {
		t.Errorf("got %+v", b)
	}
	if len(b.whens) != 2 || b.whens[0] != nil || b.whens[1] == nil {
		t.Errorf("the conditions of its steps are %v", b.whens)
	}
}

func TestAdjustALadder(t *testing.T) {
	loaded, err := Load("test.yml", []byte(driftRules), 0)
	if err != nil {
		t.Fatal(err)
	}
	name := loaded[0].Name
	steps := []certmedic.Step{{Do: "notify"}, {Do: "rollback", After: time.Minute, When: "!certificate.stored_ok"}}
	adjusted, err := Adjusted(loaded, map[string]Adjust{name: {Ladder: steps}})
	if err != nil {
		t.Fatal(err)
	}
	if w := adjusted[0].whens; len(w) != 2 || w[0] != nil || w[1] == nil {
		t.Errorf("the conditions of its steps are %v", w)
	}
	again, err := Adjusted(adjusted, map[string]Adjust{name: {Severity: "critical"}})
	if err != nil || len(again[0].whens) != 2 || again[0].whens[1] == nil {
		t.Errorf("another severity lost the conditions: %v, %v", again[0].whens, err)
	}
	tooLong := 400 * 24 * time.Hour
	for want, a := range map[string]Adjust{
		`"` + name + `": step 2 (renew): undeclared reference to 'nope'`: {Ladder: []certmedic.Step{{Do: "notify"}, {Do: "renew", When: "true &&\nnope"}}},
		"\n    nope\n    ^":                       {Ladder: []certmedic.Step{{Do: "renew", When: "true &&\nnope"}}},
		`step 1 (dance): do must be`:              {Ladder: []certmedic.Step{{Do: "dance"}}},
		`step 2 (notify): the same`:               {Ladder: []certmedic.Step{{Do: "notify"}, {Do: "notify"}}},
		`step 1 (notify): the condition is empty`: {Ladder: []certmedic.Step{{Do: "notify", When: " "}}},
		`for and keep_firing_for lie between`:     {For: &tooLong},
		`the ladder has 33 steps`:                 {Ladder: make([]certmedic.Step, maxSteps+1)},
	} {
		if _, err := Adjusted(loaded, map[string]Adjust{name: a}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v, want %q", err, want)
		}
	}
}

func TestSummariesRender(t *testing.T) {
	const source = `rules: [{name: r, about: certificate, severity: info, when: 'true', summary: "{{.Certificate}} of {{.Labels.team}}{{index .Labels \"x\"}}, {{len .Members}} members"}]`
	loaded, err := Load("test.yml", []byte(source), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := loaded[0].summarize(SummaryData{Certificate: "shop"}); got != "shop of , 0 members" {
		t.Errorf("got %q", got)
	}
	long := SummaryData{Certificate: strings.Repeat("x", maxRendered+1), Subject: "shop"}
	if got := loaded[0].summarize(long); got != "r: shop" {
		t.Errorf("a summary without measure became %d bytes", len(got))
	}
}
