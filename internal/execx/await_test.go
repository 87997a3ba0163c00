package execx

import "testing"

func TestParseStat(t *testing.T) {
	const rest = " S 1 7 8 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 424242 9 9 9"
	for _, name := range []string{"sh", "a b", "a) Z 1 (b", ")"} {
		got, err := parseStat([]byte("7 (" + name + ")" + rest))
		if want := (procStat{state: 'S', group: 7, start: 424242}); err != nil || got != want {
			t.Errorf("name %q: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	for _, bad := range []string{"", "7 (sh) S 1 2", "7 (sh) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 soon 9"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
