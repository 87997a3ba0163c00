package certmedic_test

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "14d": 14 * 24 * time.Hour, "1.5d": 36 * time.Hour, "2w": 14 * 24 * time.Hour, "-1d": -24 * time.Hour,
	} {
		if got, err := certmedic.ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "3", "NaNd", "Infd", "1e300d", "-1e300w", "3 days"} {
		if got, err := certmedic.ParseDuration(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}
