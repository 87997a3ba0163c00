package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/probe/disk/disktest"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// actors is a stage on which every rehearsal ends as outcome says.
type actors struct {
	outcome certmedic.Outcome
	err     error
	basis   string
	asked   []remediate.RehearsalRequest
	at      []time.Time
	took    func(certmedic.Action)
}

func (a *actors) Rehearse(_ context.Context, q remediate.RehearsalRequest) (certmedic.Action, error) {
	a.asked, a.at = append(a.asked, q), append(a.at, time.Now())
	done := certmedic.Action{
		ID: time.Now().Format(time.RFC3339), Certificate: q.Certificate, Kind: q.Kind, Basis: a.basis, StartedAt: time.Now(), Outcome: a.outcome,
	}
	if a.err == nil {
		a.took(done)
	}
	return done, a.err
}

func (a *actors) RehearsalBasis(certmedic.Certificate, certmedic.ActionKind, bool) (string, error) {
	return a.basis, nil
}

// play has a schedule run for a while.
func play(t *testing.T, a *actors, before []certmedic.Action, mode certmedic.Mode, settings config.Rehearse, allowed func(time.Time) bool, then func()) {
	t.Helper()
	r := &rehearser{
		Certificates: []certmedic.Certificate{{Name: "shop", Mode: mode}, {Name: "blog", Mode: mode}},
		Settings:     map[string]config.Rehearse{"shop": settings}, Stage: a, Allowed: allowed, Log: slog.New(slog.DiscardHandler),
		refused: map[string]refusal{}, last: map[string]certmedic.Action{},
	}
	for _, b := range before {
		r.took(b)
	}
	a.took = r.took
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	then()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func always(time.Time) bool { return true }

func TestRehearsalsOnSchedule(t *testing.T) {
	const week = 7 * 24 * time.Hour
	weekly := config.Rehearse{Hooks: week, Renewal: 30 * 24 * time.Hour, RunHooks: true}
	well := certmedic.Outcome{Kind: certmedic.OutcomeRehearsed}
	count := func(a *actors, kind certmedic.ActionKind) (n int) {
		for _, q := range a.asked {
			if q.Kind == kind {
				n++
			}
		}
		return n
	}
	play := func(t *testing.T, a *actors, before []certmedic.Action, mode certmedic.Mode, allowed func(time.Time) bool, long time.Duration) {
		t.Helper()
		play(t, a, before, mode, weekly, allowed, func() { time.Sleep(long) })
	}
	for about, test := range map[string]func(t *testing.T){
		"the first soon, then by the period with jitter": func(t *testing.T) {
			a := &actors{outcome: well}
			play(t, a, nil, certmedic.ModeAuto, always, 60*24*time.Hour)
			if hooks, renewals := count(a, certmedic.RehearseHooks), count(a, certmedic.RehearseRenewal); hooks < 8 || hooks > 9 || renewals != 2 {
				t.Errorf("in 60 days the hooks were rehearsed %d times and the renewal %d times", hooks, renewals)
			}
			if q := a.asked[1]; q.ByHand || q.By != "schedule" || q.Certificate != "shop" || !q.RunHooks || a.asked[0].RunHooks {
				t.Errorf("asked for are %+v", a.asked[:2])
			}
		},
		"what was done before a restart counts": func(t *testing.T) {
			a := &actors{outcome: well}
			before := []certmedic.Action{
				{Certificate: "shop", Kind: certmedic.RehearseHooks, StartedAt: time.Now().Add(-week + time.Hour), Outcome: well},
				{Certificate: "shop", Kind: certmedic.RehearseRenewal, StartedAt: time.Now().Add(-week), Outcome: well},
			}
			play(t, a, before, certmedic.ModeAuto, always, 30*time.Minute)
			if len(a.asked) != 0 {
				t.Errorf("asked for are %+v", a.asked)
			}
		},
		"a change of what is run is rehearsed at once": func(t *testing.T) {
			a := &actors{outcome: well}
			play(t, a, []certmedic.Action{{Certificate: "shop", Kind: certmedic.RehearseHooks, Basis: "old", StartedAt: time.Now(), Outcome: well}}, certmedic.ModeAuto, always, time.Minute)
			if count(a, certmedic.RehearseHooks) != 1 {
				t.Errorf("asked for are %+v", a.asked)
			}
		},
		"a failure is tried again after a day": func(t *testing.T) {
			a := &actors{outcome: certmedic.Outcome{Kind: certmedic.OutcomeFailed}}
			play(t, a, nil, certmedic.ModeAuto, always, 28*time.Hour)
			if count(a, certmedic.RehearseRenewal) != 2 {
				t.Errorf("at %v", a.at)
			}
		},
		"what is refused is asked for again, and told once": func(t *testing.T) {
			a := &actors{outcome: certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: "deploying"}}
			play(t, a, nil, certmedic.ModeAuto, always, time.Hour)
			if n := count(a, certmedic.RehearseHooks); n < 5 || n > 7 || a.asked[0].Told != "" || a.asked[len(a.asked)-1].Told != "deploying" {
				t.Errorf("asked for are %+v", a.asked)
			}
		},
		"an error is no loop": func(t *testing.T) {
			a := &actors{err: errors.New("the disk is full")}
			play(t, a, nil, certmedic.ModeAuto, always, time.Hour)
			if n := count(a, certmedic.RehearseHooks); n < 5 || n > 7 {
				t.Errorf("asked %d times", n)
			}
		},
		"never in mode observe": func(t *testing.T) {
			a := &actors{outcome: well}
			play(t, a, nil, certmedic.ModeObserve, always, 30*24*time.Hour)
			if len(a.asked) != 0 {
				t.Errorf("asked for are %+v", a.asked)
			}
		},
		"never outside windows, or frozen": func(t *testing.T) {
			a := &actors{outcome: well}
			opens := time.Now().Add(5 * time.Hour)
			play(t, a, nil, certmedic.ModeAuto, func(now time.Time) bool { return now.After(opens) }, 6*time.Hour)
			if len(a.asked) != 2 || a.at[0].Before(opens) {
				t.Errorf("at %v", a.at)
			}
		},
	} {
		t.Run(about, func(t *testing.T) { synctest.Test(t, test) })
	}
}

// TestWhatCertbotRunsBesides shows what is found of hooks, and what keeps a rehearsal from being
// harmless.
func TestWhatCertbotRunsBesides(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.test"}, disktest.Options{RenewHook: "reload"})
	conf := filepath.Join(tree.ConfigDir, "renewal", "shop.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode)); err != nil {
			t.Fatal(err)
		}
	}
	write(conf, strings.Replace(string(text), "[renewalparams]\n", "[renewalparams]\npre_hook = stop\npost_hook = start\n", 1), 0o644)
	write(filepath.Join(tree.ConfigDir, "cli.ini"), "post-hook = begin\n", 0o644)
	pre := filepath.Join(tree.ConfigDir, "renewal-hooks", "pre", "10-stop")
	write(pre, "#!/bin/sh\n", 0o755)
	write(filepath.Join(filepath.Dir(pre), "20-skipped"), "#!/bin/sh\n", 0o644)

	a, err := around(tree.Source("shop"), "https://ca.test/staging")
	if err != nil {
		t.Fatal(err)
	}
	commands := func(hooks []deploy.Hook) (all []string) {
		for _, h := range hooks {
			if h.Skipped == "" {
				all = append(all, h.Command)
			}
		}
		return all
	}
	if got := commands(a.Pre); !slices.Equal(got, []string{pre, "stop"}) || a.Pre[0].Path != pre {
		t.Errorf("pre hooks %q", got)
	}
	if got := commands(a.Post); !slices.Equal(got, []string{"begin"}) || a.Post[0].Source != "cli.ini:1" {
		t.Errorf("post hooks %+v: cli.ini wins", a.Post)
	}
	if got := commands(a.Deploy); !slices.Equal(got, []string{"reload"}) {
		t.Errorf("deploy hooks %q", got)
	}
	keeps := []string{conf, filepath.Join(tree.ConfigDir, "archive", "shop"), filepath.Join(tree.ConfigDir, "live", "shop")}
	if a.Staging != "https://ca.test/staging" || a.Unlinked != "" || !slices.Equal(a.Keeps, keeps) {
		t.Errorf("%+v", a)
	}
	for _, kind := range []string{"cert", "privkey", "chain", "fullchain"} { // as after a renewal that was killed before it led the links to it
		archive := filepath.Join(tree.ConfigDir, "archive", "shop", kind)
		if err := os.Link(archive+"1.pem", archive+"2.pem"); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := around(tree.Source("shop"), ""); err != nil || !strings.Contains(a.Unlinked, "version 2") {
		t.Errorf("certbot would move the links, which it says as %q, %v", a.Unlinked, err)
	}
}
