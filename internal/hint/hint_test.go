package hint

import "testing"

func TestFor(t *testing.T) {
	names := []string{"renewed-not-served", "expired", "expiry-imminent", "unreachable"}
	for word, want := range map[string]string{
		"expird": `, did you mean "expired"?`, "exipred": `, did you mean "expired"?`, "unreach": `, did you mean "unreachable"?`,
		"renewed": `, did you mean "renewed-not-served"?`, "ex": "", "": "", "something else": "",
	} {
		if got := For(word, names); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := OrAll("x", []string{"a1", "b2"}); got != ", there are a1, b2" {
		t.Errorf("got %q", got)
	}
}
