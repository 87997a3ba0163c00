package rules

import (
	"strings"
	"testing"
	"time"
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
		{"a duration that is none", `rules: [{name: r, about: certificate, severity: info, when: 'certificate.drift_age > duration("3d")'}]`, []string{"invalid duration"}},
		{"a bad regular expression", `rules: [{name: r, about: certificate, severity: info, when: 'certificate.name.matches("(")'}]`, []string{"invalid matches"}},
		{"a condition that is no condition", "rules: [{name: r, about: certificate, severity: info, when: certificate.drift_age}]", []string{"must be true or false"}},
		{"an address variable in a rule about certificates", "rules: [{name: r, about: certificate, severity: info, when: address.reachable}]", []string{`undeclared reference to 'address`}},
		{"an unknown key", "rules:\n  - {name: r, abuot: certificate}", []string{"test.yml:2:", "abuot"}},
		{"a key twice", "rules:\n  - name: r\n    name: s", []string{"test.yml:3:5", "name"}},
		{"a second document", "rules: []\n---\nrules: []", []string{"test.yml:3:", "second document"}},
		{"two rules of one name", "rules:\n  - {name: r, about: certificate, severity: info, when: 'true'}\n  - {name: r, about: certificate, severity: info, when: 'true'}", []string{`test.yml:3:12: a second rule named "r"`}},
		{
			"several at once", "rules:\n  - {name: r, about: certificate, severity: loud, when: 'tru', for: soon, ladder: [{do: pray}]}",
			[]string{"severity must be", "undeclared reference to 'tru'", `"soon" is not a duration`, `not "pray"`},
		},
		{"a step that can never come in order", "rules: [{name: r, about: certificate, severity: info, when: 'true', ladder: [{do: notify, after: 1h}, {do: notify, after: 1m}]}]", []string{"climbed in order"}},
		{"a summary that does not parse", "rules: [{name: r, about: certificate, severity: info, when: 'true', summary: '{{.Nope'}]", []string{"summary"}},
		{"nothing at all", "rules: [{about: certificate, severity: info, when: ''}]", []string{"without a name", "no `when`"}},
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
