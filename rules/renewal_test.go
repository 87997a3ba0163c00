package rules

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// How late is late, for every kind of lifetime.
func TestDue(t *testing.T) {
	const day = 24 * time.Hour
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name  string
		life  time.Duration
		r     Renewal
		left  time.Duration // before the end
		basis string
	}{
		{"six days: renewed at half of it, late when five twelfths are left", 6 * day, Renewal{}, 60 * time.Hour, BasisShare},
		{"45 days: a quarter", 45 * day, Renewal{}, 270 * time.Hour, BasisShare},
		{"90 days: 21 days", 90 * day, Renewal{}, 21 * day, BasisShare},
		{"398 days: 21 days", 398 * day, Renewal{}, 21 * day, BasisShare},
		{"no life at all", 0, Renewal{}, 0, BasisShare},
		{"the CA's window outweighs all", 90 * day, Renewal{&Window{Start: from.Add(50 * day), End: from.Add(52 * day)}, []float64{.7, .7, .7}}, 38 * day, BasisARI},
		{"a window that ends after the version is none", 90 * day, Renewal{&Window{Start: from.Add(50 * day), End: from.Add(91 * day)}, nil}, 21 * day, BasisShare},
		{"a window that ends before it begins is none", 90 * day, Renewal{&Window{Start: from.Add(52 * day), End: from.Add(50 * day)}, nil}, 21 * day, BasisShare},
		{"two predecessors do not tell", 100 * day, Renewal{nil, []float64{.5, .5}}, 21 * day, BasisShare},
		{"three do", 100 * day, Renewal{nil, []float64{.6, .7, .65}}, 25 * day, BasisLearnt},
		{"one that was forced early does not count", 100 * day, Renewal{nil, []float64{.01, .7, .7}}, 20 * day, BasisLearnt},
		{"all forced early: not before three fifths", 100 * day, Renewal{nil, []float64{.01, .02, .03}}, 40 * day, BasisLearnt},
		{"always a month before the end of 398 days: later than that", 398 * day, Renewal{nil, []float64{.925, .925, .925}}, 358*time.Hour + 12*time.Minute, BasisLearnt},
		{"always at the last moment", 100 * day, Renewal{nil, []float64{.97, .98, .99}}, 2 * day, BasisLearnt},
		{"always too late", 100 * day, Renewal{nil, []float64{1.2, 1.3, 1.1}}, 2 * day, BasisLearnt},
		{"the last ten count", 100 * day, Renewal{nil, []float64{.9, .9, .9, .9, .9, .9, .9, .9, .6, .6, .6, .6, .6, .6, .6, .6, .6, .6}}, 30 * day, BasisLearnt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leaf := certmedic.CertFacts{NotBefore: from, NotAfter: from.Add(tt.life)}
			due, basis := tt.r.Due(leaf)
			if off := due.Sub(leaf.NotAfter.Add(-tt.left)).Abs(); basis != tt.basis || off > time.Second {
				t.Errorf("due %s before the end by %q, want %s by %q", leaf.NotAfter.Sub(due), basis, tt.left, tt.basis)
			}
		})
	}
}

func TestScheduled(t *testing.T) {
	const day = 24 * time.Hour
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	window := func(start, end, chosen time.Duration) Renewal {
		return Renewal{Window: &Window{Start: from.Add(start), End: from.Add(end), Chosen: from.Add(chosen)}}
	}
	for _, tt := range []struct {
		about           string
		life            time.Duration
		known           Renewal
		earliest, later time.Duration // since its beginning
	}{
		{"two thirds of ninety days, more or less", 90 * day, Renewal{}, 59 * day, 61 * day},
		{"half of six days", 6 * day, Renewal{}, 70 * time.Hour, 74 * time.Hour},
		{"half of a minute", time.Minute, Renewal{}, 29 * time.Second, 31 * time.Second},
		{"the chosen moment of the CA's window", 90 * day, window(50*day, 52*day, 51*day), 51 * day, 51 * day},
		{"a moment that leaves no time for another try", 90 * day, window(50*day, 90*day, 89*day), 90 * day * 17 / 20, 90 * day * 17 / 20},
		{"a window that ends after the version is none", 90 * day, window(80*day, 91*day, 85*day), 59 * day, 61 * day},
		{"a window of which none was chosen", 90 * day, Renewal{Window: &Window{Start: from.Add(50 * day), End: from.Add(52 * day)}}, 59 * day, 61 * day},
	} {
		leaf := certmedic.CertFacts{SHA256: "a1", NotBefore: from, NotAfter: from.Add(tt.life)}
		at := tt.known.Scheduled(leaf)
		if since := at.Sub(from); since < tt.earliest || since > tt.later || !tt.known.Scheduled(leaf).Equal(at) {
			t.Errorf("%s: after %s", tt.about, since)
		}
	}
	a := Renewal{}.Scheduled(certmedic.CertFacts{SHA256: "a", NotBefore: from, NotAfter: from.Add(90 * day)})
	if b := (Renewal{}).Scheduled(certmedic.CertFacts{SHA256: "b", NotBefore: from, NotAfter: from.Add(90 * day)}); a.Equal(b) {
		t.Error("all versions are renewed at the same moment")
	}
}
