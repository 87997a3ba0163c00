package store

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestBeginningsOfWindows(t *testing.T) {
	r := Renewal{Version: "first"}.Begins(start)
	if later := r.Begins(start.Add(time.Hour)); !later.Starts["first"].Equal(start.Add(time.Hour)) || !r.Starts["first"].Equal(start) {
		t.Errorf("a later one is kept as %v, and it was %v", later.Starts, r.Starts)
	}
	if earlier := r.Begins(start.Add(-time.Hour)); !maps.Equal(earlier.Starts, r.Starts) {
		t.Errorf("one that moved earlier is kept as %v", earlier.Starts)
	}
	for n := range maxStarts {
		r.Version = certmedic.Fingerprint(fmt.Sprint(n))
		r = r.Begins(start.Add(time.Duration(n+1) * time.Hour))
	}
	if _, kept := r.Starts["first"]; kept || len(r.Starts) != maxStarts {
		t.Errorf("of more versions than are kept there are %v", r.Starts)
	}
}
