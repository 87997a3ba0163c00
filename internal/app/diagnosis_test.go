package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	hostscript "github.com/certmedic/certmedic/probe/host/script"
)

// ward is a diagnostician whose looks take as long as a test says, and what came of them.
type ward struct {
	*diagnostician
	t *testing.T

	mu   sync.Mutex
	log  bytes.Buffer
	told []string // certificate and time since the beginning
}

// openWard runs a diagnostician until the test ends.
func openWard(t *testing.T, look func(certificate string) certmedic.Diagnosis) *ward {
	w := &ward{t: t}
	start := time.Now()
	w.diagnostician = newDiagnostician(
		func(_ context.Context, name string) func() certmedic.Diagnosis {
			return func() certmedic.Diagnosis { return look(name) }
		},
		func(name string, d certmedic.Diagnosis) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, fmt.Sprintf("%s %s", name, time.Since(start)))
		},
		slog.New(slog.NewTextHandler(&w.log, nil)),
	)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
		for range cap(w.slots) { // until nothing is left behind
			w.slots <- struct{}{}
		}
	})
	return w
}

func (w *ward) want(told ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.told, told) {
		w.t.Errorf("diagnosed %q, want %q", w.told, told)
	}
}

func quick(string) certmedic.Diagnosis { return certmedic.Diagnosis{Cause: certmedic.CauseHookFailed} }

func about(what string, from time.Time) watchdog.Ask { return watchdog.Ask{About: what, From: from} }

func TestDiagnosesComeNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := openWard(t, quick)
		w.Ask("shop", about("a", time.Now().Add(2*time.Second)))
		time.Sleep(time.Second)
		w.want()
		time.Sleep(time.Second)
		w.want("shop 2s")
		for range 100 {
			w.Ask("shop", about("a", time.Now()))
		}
		time.Sleep(time.Minute)
		w.want("shop 2s", "shop 1m2s")
		w.Ask("shop", about("b", time.Now()))
		w.Ask("shop", about("c", time.Now()))
		time.Sleep(time.Minute)
		w.want("shop 2s", "shop 1m2s", "shop 1m3s")
		w.Ask("shop", watchdog.Ask{})
		time.Sleep(time.Hour)
		w.want("shop 2s", "shop 1m2s", "shop 1m3s")
		w.Ask("other", about("a", time.Now()))
		w.want("shop 2s", "shop 1m2s", "shop 1m3s", "other 1h2m2s")
		if n := len(w.patients); n != 1 {
			t.Errorf("%d certificates are remembered", n)
		}
	})
}

func TestTheSameIsDiagnosedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := openWard(t, quick)
		w.Ask("shop", about("a", time.Now()))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(w.told); n < 140 || n > 150 {
			t.Errorf("%d diagnoses of the same in a day", n)
		}
	})
}

func TestWhatIsNewComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(string) certmedic.Diagnosis { time.Sleep(4 * time.Second); return certmedic.Diagnosis{} }
		w := openWard(t, slow)
		for i := range 20 {
			w.Ask(fmt.Sprint("old", i), about("a", time.Now().Add(time.Duration(i))))
		}
		time.Sleep(5 * time.Minute) // all were diagnosed, and are due again
		began := time.Now()
		w.Ask("new", about("a", began))
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if !slices.ContainsFunc(w.told, func(s string) bool { return strings.HasPrefix(s, "new ") }) {
			t.Errorf("what is new waits behind what is known: %q", w.told)
		}
	})
}

func TestDiagnosesThatHangOrBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		w := openWard(t, func(name string) certmedic.Diagnosis {
			switch {
			case name == "broken":
				panic("a configuration nobody thought of")
			case strings.HasPrefix(name, "hangs"):
				<-release
			}
			return certmedic.Diagnosis{}
		})
		w.Ask("broken", about("a", time.Now()))
		synctest.Wait()
		w.Ask("fine", about("a", time.Now().Add(time.Millisecond)))
		time.Sleep(time.Second)
		w.want("fine 1ms")
		for i := range maxLeftBehind + 2 {
			w.Ask(fmt.Sprint("hangs", i), about("a", time.Now()))
		}
		time.Sleep(55 * time.Second)
		synctest.Wait()
		said := w.log.String()
		if !strings.Contains(said, "nobody thought of") || strings.Count(said, "has no result") != maxLeftBehind+1 || strings.Count(said, "is not diagnosed") != 1 {
			t.Errorf("the log says\n%s", said)
		}
	})
}

func TestAClockThatWasSetBackHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := openWard(t, quick)
		w.Ask("shop", about("a", time.Now().Add(24*time.Hour)))
		w.want("shop 0s")
	})
}

func TestWhatIncidentsShowOfADiagnosis(t *testing.T) {
	c := diagnose.Case{
		Runs:  []acmelog.Run{{First: acmelog.Line{File: "/var/log/letsencrypt/letsencrypt.log", Number: 1}}},
		Hooks: []diagnose.Hook{{Source: "/etc/letsencrypt/renewal/shop.conf:12"}, {Script: hostscript.Script{Path: "/etc/letsencrypt/renewal-hooks/deploy/10-nginx"}}},
	}
	d := certmedic.Diagnosis{
		Cause: certmedic.CauseHookFailed, Summary: "The hook failed.", Confidence: diagnose.Guessed, Also: []certmedic.Suspect{{}},
		Evidence: []certmedic.Evidence{
			{Source: "/var/log/letsencrypt/letsencrypt.log:31"},
			{Source: "/etc/letsencrypt/renewal-hooks/deploy/10-nginx:3"},
			{Source: "/etc/letsencrypt/renewal/shop.conf:12"},
			{Source: "/etc/letsencrypt/renewal/shop.conf:9"},
			{Source: "192.0.2.1:443"},
			{Source: "journal 1", Output: true},
		},
	}
	got := forPeople(d, c)
	var marked []bool
	for _, e := range got.Evidence {
		marked = append(marked, e.Output)
	}
	if want := []bool{true, true, true, false, false, true}; !slices.Equal(marked, want) || d.Evidence[0].Output {
		t.Errorf("what commands wrote is %v, want %v", marked, want)
	}
	if got.Also != nil || got.Summary != "Probably: The hook failed." {
		t.Errorf("it says %q, and also %v", got.Summary, got.Also)
	}
	d.Confidence = diagnose.Certain
	if sure := forPeople(d, c); sure.Summary != d.Summary {
		t.Errorf("what is certain is told as %q", sure.Summary)
	}
}
