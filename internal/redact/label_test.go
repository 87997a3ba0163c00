package redact

import "testing"

func TestLabel(t *testing.T) {
	for in, want := range map[string]string{
		"shop.example.com": "shop.example.com",
		"bücher \"a\\b\"":  "bücher \"a\\b\"",
		"a\x1b[31mb\x00c":  "a\uFFFD[31mb\uFFFDc",
		"a\nb\u009bc":      "a\uFFFDb\uFFFDc",
		"a\xffb":           "a\uFFFDb",
	} {
		if got := Label(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
