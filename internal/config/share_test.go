package config

import "testing"

func TestShare(t *testing.T) {
	for _, row := range []struct {
		share Share
		want  float64 // 0: it is an error
	}{
		{"20%", 0.2},
		{"0.5%", 0.005},
		{"100%", 1},
		{"0%", 0},
		{"-1%", 0},
		{"101%", 0},
		{"NaN%", 0},
		{"20", 0},
		{"%", 0},
		{"", 0},
	} {
		got, err := row.share.Fraction()
		if got != row.want || (err == nil) != (row.want > 0) {
			t.Errorf("%q is %v (%v), want %v", row.share, got, err, row.want)
		}
	}
}
