package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/probe/ari"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/rules"
)

// advised is an advisor in a world of its own: one lineage, a CA that answers as it is told, and
// the state in memory.
type advised struct {
	t     *testing.T
	path  string
	leaf  *x509.Certificate
	given map[certmedic.Fingerprint]*rules.Window // what the watchdog was told last
	log   *strings.Builder

	answer   func() (ari.Advice, error)
	asked    []time.Duration // since the start
	measured int
	skew     time.Duration
	kept     map[string]store.Renewal
	broken   error // of the state
	start    time.Time
}

func newAdvised(t *testing.T) *advised {
	t.Helper()
	a := &advised{
		t: t, path: filepath.Join(t.TempDir(), "fullchain.pem"), log: &strings.Builder{}, start: time.Now(),
		given: map[certmedic.Fingerprint]*rules.Window{}, kept: map[string]store.Renewal{},
	}
	a.answer = a.says(6 * time.Hour)
	a.renew()
	return a
}

// renew puts another version in place of the one that is stored.
func (a *advised) renew() {
	a.t.Helper()
	pair := mint.Must(mint.Must(mint.NewCA("a CA")).Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: time.Now(), NotAfter: time.Now().Add(10 * 24 * time.Hour)}))
	if err := os.WriteFile(a.path, pair.FullchainPEM(), 0o600); err != nil {
		a.t.Fatal(err)
	}
	a.leaf = pair.Cert
}

// says returns an answer with a window of the coming day.
func (a *advised) says(checkIn time.Duration) func() (ari.Advice, error) {
	w := ari.Window{Start: a.start.Add(24 * time.Hour), End: a.start.Add(48 * time.Hour)}
	return func() (ari.Advice, error) {
		return ari.Advice{Window: w, Explanation: "https://ca.example.test/why", CheckAfter: time.Now().Add(checkIn)}, nil
	}
}

func (a *advised) Fetch(_ context.Context, directory string, leaf *x509.Certificate) (ari.Advice, error) {
	if directory != "https://ca.example.test/directory" || !leaf.Equal(a.leaf) {
		a.t.Errorf("asked %q about %v", directory, leaf.SerialNumber)
	}
	a.asked = append(a.asked, time.Since(a.start))
	return a.answer()
}

func (a *advised) Measure(context.Context, string) error {
	a.measured++
	return nil
}

func (a *advised) Skew(time.Time) (time.Duration, bool) { return a.skew, true }

func (a *advised) Renewals() (map[string]store.Renewal, error) { return maps.Clone(a.kept), nil }

func (a *advised) SaveRenewal(certificate string, r store.Renewal) error {
	a.kept[certificate] = r
	return a.broken
}

func (a *advised) TrimRenewals(time.Time) error { return nil }

// run lets an advisor run for a while, as a process does between its start and its end.
func (a *advised) run(d time.Duration) {
	a.t.Helper()
	advisor := newAdvisor(advisorOptions{
		Renewables: func() []watchdog.Renewable {
			return []watchdog.Renewable{{Certificate: "shop", Directory: "https://ca.example.test/directory", Leaf: inspect.Facts(a.leaf), CertPath: a.path}}
		},
		Advised: func(_ string, version certmedic.Fingerprint, w *rules.Window) { a.given[version] = w },
		CA:      a, State: a, Random: rand.New(rand.NewPCG(1, 2)),
		Log: slog.New(slog.NewTextHandler(a.log, nil)),
	})
	ctx, cancel := context.WithTimeout(a.t.Context(), d)
	defer cancel()
	if err := advisor.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		a.t.Errorf("the advisor ended with %v", err)
	}
}

func (a *advised) window() *rules.Window { return a.given[inspect.Facts(a.leaf).SHA256] }

func TestAdvisorAsksAndRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdvised(t)
		a.run(23 * time.Hour)
		if n := len(a.asked); n != 4 {
			t.Errorf("in a day it asked %d times, at %v", n, a.asked)
		}
		w, first := a.window(), a.kept["shop"]
		if w == nil || w.End.Sub(w.Start) != 24*time.Hour || first.Window.Chosen.Before(w.Start) || !first.Window.Chosen.Before(w.End) {
			t.Fatalf("the window is %+v, of which was chosen %v", w, first.Window.Chosen)
		}
		if strings.Count(a.log.String(), "ca.example.test/why") != 1 {
			t.Errorf("the log has\n%s", a.log)
		}
		a.asked = nil
		a.run(time.Minute)
		if len(a.asked) > 0 {
			t.Errorf("after a restart it asked %d times about what it knew", len(a.asked))
		}
		a.run(6 * time.Hour)
		if last := a.kept["shop"]; len(a.asked) != 1 || !last.Window.Chosen.Equal(first.Window.Chosen) {
			t.Errorf("after %d questions the chosen moment is %v, it was %v", len(a.asked), last.Window.Chosen, first.Window.Chosen)
		}
	})
}

func TestAdvisorSeesAMovedWindowAndANewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdvised(t)
		a.run(time.Hour)
		first := a.kept["shop"]
		now := time.Now()
		a.answer = func() (ari.Advice, error) {
			return ari.Advice{Window: ari.Window{Start: now.Add(-2 * time.Hour), End: now.Add(-time.Hour)}, CheckAfter: time.Now().Add(time.Hour)}, nil
		}
		a.run(7 * time.Hour)
		if k := a.kept["shop"]; !k.Window.End.Before(now) || k.Window.Chosen.Before(first.CheckAfter) || !k.Window.Chosen.Before(time.Now()) {
			t.Errorf("a window in the past means now: %+v", k)
		}
		old := a.kept["shop"].Version
		a.renew()
		a.answer, a.asked = a.says(6*time.Hour), nil
		a.run(2 * time.Minute)
		if k := a.kept["shop"]; len(a.asked) != 1 || k.Version == old || a.window() == nil {
			t.Errorf("after a renewal it asked %d times and knows %+v", len(a.asked), k)
		}
	})
}

func TestAdvisorNeverAsksAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdvised(t)
		a.answer = a.says(24 * time.Hour)
		a.run(15 * 24 * time.Hour)
		if n := len(a.asked); n < 9 || n > 10 || a.asked[n-1] > 10*24*time.Hour {
			t.Errorf("of a life of ten days it asked at %v", a.asked)
		}
	})
}

func TestAdvisorBacksOff(t *testing.T) {
	for _, row := range []struct {
		about    string
		advice   time.Duration // in which the CA wants to be asked again; 0: it did not say
		err      error
		least    int // questions in two days
		most     int
		failures bool
		warned   int
		window   bool // the one of before stays
	}{
		{"a minute, ten, a hundred, then daily", 0, errors.New("out of order"), 5, 7, true, 1, true},
		{"a CA says when to come back", 12 * time.Hour, errors.New("too much"), 4, 5, true, 1, true},
		{"a CA that is left alone did not fail", time.Hour, fmt.Errorf("later: %w", ari.ErrLeftAlone), 43, 48, false, 0, true},
		{"a CA that does not say such things any more", 24 * time.Hour, ari.ErrUnsupported, 2, 2, false, 0, false},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAdvised(t)
				a.answer = a.says(time.Minute)
				a.run(30 * time.Second)
				a.answer = func() (advice ari.Advice, err error) {
					if row.advice > 0 {
						advice.CheckAfter = time.Now().Add(row.advice)
					}
					return advice, row.err
				}
				a.asked = nil
				a.run(48 * time.Hour)
				if n := len(a.asked); n < row.least || n > row.most {
					t.Errorf("it asked %d times, at %v", n, a.asked)
				}
				if k := a.kept["shop"]; (k.Failures > 0) != row.failures || (a.window() != nil) != row.window {
					t.Errorf("it knows %+v and told %v", k, a.window())
				}
				if n := strings.Count(a.log.String(), "level=WARN"); n != row.warned {
					t.Errorf("%d warnings:\n%s", n, a.log)
				}
			})
		})
	}
}

// TestAdvisorInABrokenWorld has a file that holds another version than the watchdog saw, and then
// a state that cannot be written.
func TestAdvisorInABrokenWorld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdvised(t)
		seen := a.leaf
		a.renew()
		a.leaf = seen
		a.run(time.Hour)
		if len(a.asked) > 0 {
			t.Error("it asked about a version that is not stored any more")
		}
		a.renew()
		a.broken = errors.New("no space left on device")
		a.run(time.Hour)
		if len(a.asked) != 1 || a.window() == nil || !strings.Contains(a.log.String(), "no space left") {
			t.Errorf("without state it asked %d times and told %v; the log:\n%s", len(a.asked), a.window(), a.log)
		}
		clear(a.kept)
		a.kept["shop"] = store.Renewal{Version: inspect.Facts(a.leaf).SHA256, CheckAfter: time.Now().Add(5000 * time.Hour)}
		a.run(time.Hour)
		if len(a.asked) != 2 {
			t.Error("a time to ask that lies years ahead, from when the clock was wrong, is waited for")
		}
	})
}

func TestAdvisorMeasuresAClockInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdvised(t)
		a.run(time.Hour)
		if a.measured > 0 {
			t.Errorf("a good clock was measured %d times", a.measured)
		}
		a.skew = 10 * time.Minute
		a.run(time.Hour)
		if a.measured < 5 || a.measured > 6 {
			t.Errorf("a clock in doubt was measured %d times in an hour", a.measured)
		}
	})
}

var (
	_ authority    = (*ari.Client)(nil)
	_ renewalState = (*store.Store)(nil)
)
