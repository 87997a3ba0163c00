package session_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/remediate/remote/session"
)

func TestQuote(t *testing.T) {
	for _, row := range []struct {
		about string
		words []string
		want  string
	}{
		{"plain words stay", []string{"nginx", "-t"}, "nginx -t"},
		{"an empty word", []string{"a", ""}, "a ''"},
		{"spaces and dollars", []string{"a b", "$x"}, "'a b' '$x'"},
		{"a quote", []string{"it's"}, `'it'\''s'`},
		{"an equals sign, which could be an assignment", []string{"A=b"}, "'A=b'"},
		{"a tilde and a star", []string{"~", "*"}, "'~' '*'"},
	} {
		if got, err := session.Quote(row.words...); err != nil || got != row.want {
			t.Errorf("%s: got %q, %v, want %q", row.about, got, err, row.want)
		}
	}
	for _, word := range []string{"a\nb", "a\x00b", "\r", "\x1b[0m", "\x7f"} {
		if got, err := session.Quote("x", word); err == nil {
			t.Errorf("%q was quoted as %q", word, got)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "a", "it's", "$(id)", "a\\", "'", `"`, "\xff", "a b\tc", "ä", "!x", "#", "{a,b}", "&|;<>"} {
		f.Add(seed, "second")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		line, err := session.Quote("printf", `%s\0`, a, b)
		if err != nil {
			return
		}
		if strings.ContainsAny(line, "\n\x00") {
			t.Fatalf("the line %q has more than one line", line)
		}
		out, err := exec.Command("/bin/sh", "-c", line).Output()
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if got := strings.Split(string(out), "\x00"); !slices.Equal(got, []string{a, b, ""}) {
			t.Fatalf("%q and %q became %q", a, b, got)
		}
	})
}
