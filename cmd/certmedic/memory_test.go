package main

import "testing"

func TestPace(t *testing.T) {
	for _, tt := range []struct {
		about string
		live  uint64
		want  int
	}{
		{"nothing is there yet", 0, rarest},
		{"a small heap may grow fivefold", 4 << 20, rarest},
		{"one of some size may grow up to the aim", heapAim / 2, 100},
		{"one that takes nearly all of the aim", heapAim * 9 / 10, oftenest},
		{"one beyond the aim", 10 * heapAim, oftenest},
	} {
		if got := pace(tt.live); got != tt.want {
			t.Errorf("%s: %d %%, want %d %%", tt.about, got, tt.want)
		}
	}
}
