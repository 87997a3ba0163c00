package rules

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// FuzzLoad wants that no file makes Load panic, that every mistake has a place within the
// file, and that a file means the same whenever it is read.
func FuzzLoad(f *testing.F) {
	shipped, err := os.ReadFile("ruleset/rules.yml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shipped)
	for _, c := range conditions() {
		f.Add(withCondition(c.about()[0], "{"+c.example+"}"))
	}
	for _, seed := range []string{
		"", "rules:", "rules: [~]", "rules: [{name: r, about: certificate, severity: info, when: 'true', summary: '{{.Subject}}'}]",
		"rules:\n- name: r\n  about: file\n  severity: info\n  when: |\n    file.expires_in <\n      nope\n  ladder: [{do: notify, when: \"\\\"a\\\" in x\"}]\n",
		"a: &a [*a]\nrules: *a", "rules: [{name: *b}]", "--- \n--- \n", "%YAML 1.2\n---\nrules: []", "rules: [{condition: {label: {a: [b, *c]}, ? x : y}}]",
		"rules: [{name: r, about: certificate, severity: info, when: " + strings.Repeat("(", 300) + "}]",
		"rules:\n- about: certificate\n  when: >\n   " + strings.Repeat("1+", 999), "rules: [{about: file, when: \"\\\n" + strings.Repeat("[", 260) + "\"}]",
		"rules: [{about: certificate, when: '" + strings.Repeat("true?", 260) + "'}]", "rules: [{about: certificate, when: '", "rules: [{about: certificate, when: ' '}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		loaded, err := Load("fuzz.yml", data, time.Second)
		again, errAgain := Load("fuzz.yml", data, time.Second)
		if (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Fatalf("first %v, then %v", err, errAgain)
		}
		if err != nil {
			checkPlaces(t, err)
			return
		}
		for i, r := range loaded {
			if r.condition == nil || r.summary == nil || len(r.whens) != len(r.Ladder) || len(r.Ladder) == 0 {
				t.Errorf("a rule that is not whole: %+v", r)
			}
			if !reflect.DeepEqual([]any{r.Name, r.When, r.Ladder}, []any{again[i].Name, again[i].When, again[i].Ladder}) {
				t.Errorf("first %+v, then %+v", r, again[i])
			}
		}
	})
}

func checkPlaces(t *testing.T, err error) {
	t.Helper()
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		for _, each := range several.Unwrap() {
			checkPlaces(t, each)
		}
		return
	}
	var p *Problem
	if !errors.As(err, &p) || p.Line < 1 || p.Column < 1 || p.Message == "" || p.File != "fuzz.yml" {
		t.Errorf("an error without a place: %v", err)
	}
}
