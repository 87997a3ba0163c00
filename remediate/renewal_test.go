package remediate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/renew"
)

// What the program of a renewal does: it stores the next version, and has it served.
const storeNext = "cp next/*.pem stored/\n"

func storeAndLoad() string { return storeNext + loadStored() }

// What certbot says, on its two streams, when a challenge failed and when it is too early.
const (
	challengeFailed = `cat <<EOT
Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: shop.test
  Type:   unauthorized
  Detail: 192.0.2.1: Invalid response from http://shop.test/.well-known/acme-challenge/x: 404
EOT
cat >&2 <<EOT
Saving debug log to /var/log/letsencrypt/letsencrypt.log
Failed to renew certificate shop with error: Some challenges have failed.
All renewals failed. The following certificates could not be renewed:
  /etc/letsencrypt/live/shop/fullchain.pem (failure)
1 renew failure(s), 0 parse failure(s)
EOT
exit 1
`
	notDue  = "echo 'Certificate not yet due for renewal'\n"
	limited = `echo 'Failed to renew certificate shop with error: urn:ietf:params:acme:error:rateLimited :: too many certificates (5) already issued, retry after 2000-01-03 07:08:09 UTC: see https://letsencrypt.org/docs/rate-limits/' >&2
exit 1
`
)

// withRenewal makes the stored version the one that is served, and gives the certificate a
// program that renews it and that its owner allows.
func (w *world) withRenewal(t *testing.T, script string) {
	t.Helper()
	ca := mint.Must(mint.NewCA("next"))
	w.store(t, "next", mint.Must(ca.Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: time.Now().Add(-time.Hour)})))
	w.store(t, "stored", mint.Must(ca.Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: time.Now().Add(-80 * 24 * time.Hour), NotAfter: time.Now().Add(20 * 24 * time.Hour)})))
	w.write(t, "loaded/192.0.2.1:443", w.read(t, "stored/fullchain.pem"))
	w.script(t, "bin/renew", "echo renew >> log\n"+script)
	w.cert.Allow = append(w.cert.Allow, certmedic.ActionRenew)
}

func (w *world) renewal(certmedic.Certificate) (renew.Way, error) {
	if _, err := os.Stat(w.path("bin/renew")); err != nil {
		return renew.Way{}, nil
	}
	return renew.Way{Command: []string{w.path("bin/renew")}}, nil
}

// overdue is what a rule wants for the version that is stored now.
func (w *world) overdue() []remediate.Want {
	return []remediate.Want{{Kind: certmedic.ActionRenew, Rule: "renewal-overdue", Why: "it is late", Version: w.leaf("stored/cert.pem")}}
}

// renews counts how often the program was run.
func (w *world) renews(t *testing.T) (n int) {
	t.Helper()
	for _, line := range w.log(t) {
		if line == "renew" {
			n++
		}
	}
	return n
}

// book is a ledger that grants what it is told to, and writes down in the world's log what is
// spent.
type book struct {
	w     *world
	ask   func(ledger.Order) ledger.Decision
	take  func(time.Time, ledger.Order) ledger.Decision // where it says something else than ask
	spend error

	mu      sync.Mutex
	entries []ledger.Entry
}

func (b *book) Ask(_ time.Time, o ledger.Order) ledger.Decision {
	if b.ask == nil {
		return ledger.Decision{}
	}
	return b.ask(o)
}

func (b *book) Take(now time.Time, o ledger.Order) (ledger.Decision, error) {
	take := b.Ask
	if b.take != nil {
		take = b.take
	}
	if d := take(now, o); !d.Allowed() {
		return d, nil
	}
	return ledger.Decision{}, b.Spend(ledger.Entry{Time: now, Kind: ledger.KindOrder, Directory: o.Directory, Account: o.Account, Names: o.Names, Exempt: o.Exempt, By: o.By})
}

func (b *book) Spend(e ledger.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, e)
	f, err := os.OpenFile(b.w.path("log"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintln(f, string(e.Kind))
		err = errors.Join(err, f.Close())
	}
	return errors.Join(b.spend, err)
}

func (b *book) into(o *remediate.Options) { o.Ledger = b }

func TestRenewalHeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withRenewal(t, storeAndLoad())
		before := w.leaf("stored/cert.pem")
		b := &book{w: w}
		r, _ := w.running(t, b.into)
		r.Want(shop, w.overdue())
		time.Sleep(time.Minute)
		actions := w.actions(t)
		if len(actions) != 1 || actions[0].Kind != certmedic.ActionRenew || actions[0].Version != before || actions[0].By != "renewal-overdue" {
			t.Fatalf("actions %+v, want one renewal of %s", actions, before.Short())
		}
		wantOutcome(t, actions[0], certmedic.OutcomeHealed, "version "+w.leaf("next/cert.pem").Short()+" is stored", "served by every bound address")
		if log := w.log(t); !slices.Equal(log, []string{"order", "renew", "certificate"}) {
			t.Errorf("it went %q", log)
		}
		if e := b.entries[1]; e.Version != w.leaf("next/cert.pem") {
			t.Errorf("the ledger has the version %q", e.Version)
		}
		w.wantTidy(t)
	})
}

// TestRenewalIsJudgedByTheDisk shows what comes of a renewal, whatever its exit code says.
func TestRenewalIsJudgedByTheDisk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about    string
		script   string
		kind     certmedic.OutcomeKind
		reason   string
		evidence []string // the lines beside how it ended
		spent    string
	}{
		{"it succeeds and nothing new is stored", "", certmedic.OutcomeFailed, "no_new_version", nil, "order failure"},
		{"certbot says that it is too early", notDue, certmedic.OutcomeFailed, "not_due", []string{"Certificate not yet due for renewal"}, "order failure"},
		{"a challenge failed", challengeFailed, certmedic.OutcomeFailed, "challenge_failed", []string{
			"Failed to renew certificate shop with error: Some challenges have failed.",
			"Detail: 192.0.2.1: Invalid response from http://shop.test/.well-known/acme-challenge/x: 404",
		}, "order failed_validation"},
		{"the CA's limits are spent", limited, certmedic.OutcomeFailed, "rate_limited", []string{
			"Failed to renew certificate shop with error: urn:ietf:params:acme:error:rateLimited :: too many certificates (5) already issued, retry after 2000-01-03 07:08:09 UTC: see https://letsencrypt.org/docs/rate-limits/",
		}, "order failure pause"},
		{"a program that knows no certbot fails", "echo no luck >&2\nexit 3\n", certmedic.OutcomeFailed, "exited", []string{"no luck"}, "order failure"},
		{"it fails after it had the new version served", storeAndLoad() + "echo 'Failed to renew certificate shop with error: nginx restart failed' >&2\nexit 1\n", certmedic.OutcomeHealed, "", []string{
			"Failed to renew certificate shop with error: nginx restart failed",
		}, "order certificate"},
		{"the new version is stored and not served", storeNext, certmedic.OutcomeUnverified, "stored_not_served", nil, "order certificate"},
		{"it fails, and the new version is stored and not served", storeNext + "exit 1\n", certmedic.OutcomeUnverified, "stored_not_served", nil, "order certificate"},
		{"it stores an older version", "cp old/*.pem stored/\n", certmedic.OutcomeFailed, "bad_version", nil, "order certificate"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withRenewal(t, tt.script)
				ca := mint.Must(mint.NewCA("old"))
				w.store(t, "old", mint.Must(ca.Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: time.Now().Add(-90 * 24 * time.Hour), NotAfter: time.Now().Add(9 * 24 * time.Hour)})))
				b := &book{w: w}
				a := w.actWith(t, remediate.Request{Kind: certmedic.ActionRenew}, b.into)
				wantOutcome(t, a, tt.kind)
				if a.Outcome.Reason != tt.reason {
					t.Errorf("reason %q (%s), want %q", a.Outcome.Reason, a.Outcome.Detail, tt.reason)
				}
				var lines []string
				for _, e := range a.Outcome.Evidence {
					if e.Output {
						lines = append(lines, e.Line)
					}
				}
				if !slices.Equal(lines, tt.evidence) {
					t.Errorf("evidence %q, want %q", lines, tt.evidence)
				}
				var spent []string
				for _, e := range b.entries {
					spent = append(spent, string(e.Kind))
				}
				if got := strings.Join(spent, " "); got != tt.spent {
					t.Errorf("spent %q, want %q", got, tt.spent)
				}
				if w.renews(t) != 1 {
					t.Errorf("the program ran %d times", w.renews(t))
				}
			})
		})
	}
}

// TestRenewalRefusals shows what stands against a renewal, and that no program runs and
// nothing is spent then.
func TestRenewalRefusals(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(200 * 24 * time.Hour)
	for _, tt := range []struct {
		about  string
		change func(t *testing.T, w *world, b *book)
		q      remediate.Request // with ByHand: of a person
		reason guard.Reason      // empty: it is done
	}{
		{"by hand nothing has to ask for it", nil, remediate.Request{ByHand: true}, guard.None},
		{"a newer version is stored and not served", drifts, remediate.Request{}, guard.NewerStored},
		{"nor does a person renew away from drift", drifts, remediate.Request{ByHand: true}, guard.NewerStored},
		{"unless that is forced", drifts, remediate.Request{ByHand: true, Force: true}, guard.None},
		{"the newer version is itself bad", func(t *testing.T, w *world, b *book) {
			drifts(t, w, b)
			w.change = func(s *remediate.Sight) {
				s.Problems = []certmedic.Finding{certmedic.NewFinding(certmedic.Revoked, "")}
			}
		}, remediate.Request{}, guard.None},
		{"no address is bound", unbound, remediate.Request{}, guard.NotBound},
		{"a person knows what is served", unbound, remediate.Request{ByHand: true}, guard.None},
		{"the rule spoke of another version", nil, remediate.Request{Version: "0000"}, guard.NoNeed},
		{"its owner allowed no renewal", func(_ *testing.T, w *world, _ *book) { w.cert.Allow = w.cert.Allow[:2] }, remediate.Request{}, guard.NotAllowed},
		{"there is no way to renew it", func(t *testing.T, w *world, _ *book) {
			if err := os.Remove(w.path("bin/renew")); err != nil {
				t.Fatal(err)
			}
		}, remediate.Request{}, guard.NothingToRun},
		{"others may write the program", func(t *testing.T, w *world, _ *book) {
			if err := os.Chmod(w.path("bin/renew"), 0o777); err != nil {
				t.Fatal(err)
			}
		}, remediate.Request{ByHand: true, Force: true}, guard.UntrustedFile},
		{"certbot is at work", func(_ *testing.T, w *world, _ *book) {
			w.change = func(s *remediate.Sight) { s.Stored.Lock = certmedic.Lock{State: certmedic.LockHeld, Path: "l", PID: 7} }
		}, remediate.Request{ByHand: true, Force: true}, guard.Deploying},
		{"the CA's limits are spent", func(_ *testing.T, _ *world, b *book) {
			b.ask = func(ledger.Order) ledger.Decision {
				return ledger.Decision{Reason: ledger.RateLimited, Retry: soon}
			}
		}, remediate.Request{ByHand: true, Force: true}, guard.RateLimited},
		{"what is left is a reserve", reserve, remediate.Request{}, guard.RateLimited},
		{"which a person does not spend by the way", reserve, remediate.Request{ByHand: true}, guard.RateLimited},
		{"but on purpose", reserve, remediate.Request{ByHand: true, Force: true}, guard.None},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withRenewal(t, storeAndLoad())
				b := &book{w: w}
				if tt.change != nil {
					tt.change(t, w, b)
				}
				a := w.renewBy(t, tt.q, b)
				if a.Kind != "" && a.Outcome.Kind != certmedic.OutcomeRefused {
					a.Outcome.Reason = ""
				}
				if a.Outcome.Reason != string(tt.reason) {
					t.Errorf("%s %q: %s; want %q", a.Outcome.Kind, a.Outcome.Reason, a.Outcome.Detail, tt.reason)
				}
				if ran, spent := w.renews(t), len(b.entries); (ran == 1) != (tt.reason == guard.None) || (spent > 0) != (ran == 1) {
					t.Errorf("it ran %d times, %d entries are in the ledger", ran, spent)
				}
			})
		})
	}
}

func drifts(t *testing.T, w *world, _ *book) {
	w.store(t, "stored", mint.Must(mint.Must(mint.NewCA("other")).Leaf(mint.Leaf{Names: []string{"shop.test"}})))
}

func unbound(_ *testing.T, w *world, _ *book) {
	w.change = func(s *remediate.Sight) { s.Addresses[0].Bound = false }
}

// reserve grants people what automation may not spend.
func reserve(_ *testing.T, _ *world, b *book) {
	b.ask = func(o ledger.Order) ledger.Decision {
		if o.By == ledger.ByPerson && !o.Keep {
			return ledger.Decision{}
		}
		return ledger.Decision{Reason: ledger.Reserved}
	}
}

// renewBy asks for a renewal as a rule or a person does, and returns what came of it.
func (w *world) renewBy(t *testing.T, q remediate.Request, b *book) certmedic.Action {
	t.Helper()
	if q.ByHand {
		q.Kind = certmedic.ActionRenew
		return w.actWith(t, q, b.into)
	}
	r, stop := w.running(t, b.into)
	wants := w.overdue()
	if q.Version != "" {
		wants[0].Version = q.Version
	}
	q.Certificate, q.Kind, q.Version = shop, certmedic.ActionRenew, wants[0].Version
	_, decision, err := r.Plan(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	r.Want(shop, wants)
	time.Sleep(time.Minute)
	stop()
	if decision.Allowed() {
		return w.actions(t)[0]
	}
	return certmedic.Action{Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: string(decision.Reason), Detail: decision.Detail}}
}

// actWith asks by hand, without a daemon.
func (w *world) actWith(t *testing.T, q remediate.Request, change func(*remediate.Options)) certmedic.Action {
	t.Helper()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	q.Certificate = shop
	a, err := w.remediator(j, change).Act(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestFailedRenewalsAreRareAlsoOverRestarts has every renewal fail: it is tried again after
// 1, 10 and 100 minutes and then once a day, each between half and one and a half of that,
// also where certmedic is restarted all the time.
func TestFailedRenewalsAreRareAlsoOverRestarts(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{40 * 24 * time.Hour, 7 * time.Hour} {
		t.Run("restarted every "+every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withRenewal(t, challengeFailed)
				for end := time.Now().Add(8 * 24 * time.Hour); time.Now().Before(end); {
					r, stop := w.running(t, nil)
					r.Want(shop, w.overdue())
					time.Sleep(min(every, time.Until(end)))
					stop()
				}
				all := w.actions(t)
				slices.Reverse(all)
				for i, a := range all[1:] {
					least := []time.Duration{30 * time.Second, 5 * time.Minute, 50 * time.Minute, 12 * time.Hour}[min(i, 3)]
					if gap := a.StartedAt.Sub(all[i].EndedAt); gap < least || gap > 3*least+idleAtMost {
						t.Errorf("attempt %d came %s after the last one, want %s to %s", i+2, gap, least, 3*least)
					}
				}
				if n := w.renews(t); n != len(all) || n < 9 || n > 20 {
					t.Errorf("%d renewals in 8 days, %d actions", n, len(all))
				}
			})
		})
	}
}

// idleAtMost is how long a worker may sleep beyond what it waits for.
const idleAtMost = 5*time.Minute + time.Second

// TestOneNewVersionADay has a rule want another version even after the CA issued one.
func TestOneNewVersionADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withRenewal(t, storeAndLoad())
		r, _ := w.running(t, nil)
		for range 23 {
			r.Want(shop, w.overdue())
			time.Sleep(time.Hour)
		}
		if n := w.renews(t); n != 1 {
			t.Errorf("%d renewals in 23 hours", n)
		}
		time.Sleep(2 * time.Hour)
		if n := w.renews(t); n < 2 {
			t.Error("a day later it is not renewed again")
		}
	})
}

// TestCheapestFirstButNotOnly shows when what is dearer has its turn.
func TestCheapestFirstButNotOnly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about string
		hook  string
		see   func(*remediate.Sight)
		after time.Duration
		ran   []string
	}{
		{"what is stored is served: only a renewal helps", loadStored(), nil, time.Minute, []string{"renew"}},
		{"what is stored must not be installed", loadStored(), func(s *remediate.Sight) {
			s.Problems = []certmedic.Finding{certmedic.NewFinding(certmedic.Expired, "")}
		}, time.Minute, []string{"renew"}},
		{"there is no hook", "", nil, time.Minute, []string{"renew"}},
		{"a redeploy was not allowed", loadStored(), func(s *remediate.Sight) {
			s.Certificate.Allow = []certmedic.ActionKind{certmedic.ActionRenew}
		}, time.Minute, []string{"renew"}},
		{"certbot is at work: nobody has a turn", loadStored(), func(s *remediate.Sight) {
			s.Stored.Lock.State = certmedic.LockHeld
		}, time.Minute, nil},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if tt.hook != "" {
					w.withHooks(t, tt.hook)
				}
				w.withRenewal(t, storeAndLoad())
				w.change = tt.see
				r, _ := w.running(t, nil)
				r.Want(shop, append(w.overdue(), drift()...))
				time.Sleep(tt.after)
				if log := w.log(t); !slices.Equal(log, tt.ran) {
					t.Errorf("ran %q, want %q: %+v", log, tt.ran, w.actions(t))
				}
			})
		})
	}
}

// TestDriftIsHealedAndNotRenewed wants both while a newer version is stored: the redeploy
// heals, and no program of a renewal runs, however often the redeploy failed before.
func TestDriftIsHealedAndNotRenewed(t *testing.T) {
	t.Parallel()
	for about, hook := range map[string]string{"at once": loadStored(), "never": "exit 1\n"} {
		t.Run("the redeploy heals "+about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withHooks(t, hook)
				w.withRenewal(t, storeAndLoad())
				drifts(t, w, nil)
				r, _ := w.running(t, nil)
				r.Want(shop, append(w.overdue(), drift()...))
				time.Sleep(50 * time.Second)
				r.Want(shop, drift()) // the rule has seen that it is healed, or goes on
				time.Sleep(time.Hour)
				r.Want(shop, append(w.overdue(), drift()...))
				time.Sleep(time.Hour)
				if about == "never" && w.renews(t) != 0 {
					t.Errorf("a renewal was ordered while a newer version was stored: %q", w.log(t))
				}
				if log := w.log(t); len(log) == 0 || log[0] != "0" {
					t.Errorf("ran %q, the hook first", log)
				}
			})
		})
	}
}

// TestNoOrderWithoutALedgerEntry shows that nothing is ordered that cannot be written down.
func TestNoOrderWithoutALedgerEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withRenewal(t, storeAndLoad())
		b := &book{w: w, spend: errors.New("disk full")}
		a := w.actWith(t, remediate.Request{Kind: certmedic.ActionRenew}, b.into)
		wantOutcome(t, a, certmedic.OutcomeFailed, "disk full")
		if w.renews(t) != 0 {
			t.Error("it was ordered all the same")
		}
	})
}

// TestPauseOfTheCAIsWrittenDown shows that what a CA asks for reaches the ledger.
func TestPauseOfTheCAIsWrittenDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withRenewal(t, limited)
		b := &book{w: w}
		w.actWith(t, remediate.Request{Kind: certmedic.ActionRenew}, b.into)
		last := b.entries[len(b.entries)-1]
		if last.Kind != ledger.KindPause || !last.Until.Equal(time.Date(2000, 1, 3, 7, 8, 9, 0, time.UTC)) {
			t.Errorf("the last entry is %+v", last)
		}
	})
}

// TestRenewalIsPlanned shows what a dry run tells of a renewal, and that it does nothing.
func TestRenewalIsPlanned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withRenewal(t, storeAndLoad())
		b := &book{w: w, ask: func(ledger.Order) ledger.Decision {
			return ledger.Decision{Balance: []ledger.Remaining{{Limit: ledger.NewOrders, Left: 299}, {Limit: ledger.PerExactSet, Key: "shop.test", Left: 4}}}
		}}
		j, err := w.journal()
		if err != nil {
			t.Fatal(err)
		}
		plan, decision, err := w.remediator(j, b.into).Plan(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRenew, ByHand: true})
		if err != nil || !decision.Allowed() || len(plan.Commands) != 1 || plan.Version != w.leaf("stored/cert.pem") {
			t.Errorf("plan %+v, %+v, %v", plan, decision, err)
		}
		if !strings.Contains(plan.Cost, "4 are left of "+string(ledger.PerExactSet)) {
			t.Errorf("it costs %q", plan.Cost)
		}
		if len(w.actions(t)) != 0 || len(w.log(t)) != 0 || len(b.entries) != 0 {
			t.Error("planning did something")
		}
	})
}

// TestKillAtEveryRecordOfARenewal kills certmedic around each record of its journal. The one
// after it runs no renewal by itself, says what the disk says, and leaves nothing in flight.
func TestKillAtEveryRecordOfARenewal(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	defer group.Wait()
	for n := 1; n <= 4; n++ {
		for _, edge := range []string{"before", "after"} {
			w, when := newWorld(t), fmt.Sprint(edge, " ", n)
			w.withRenewal(t, alone+storeAndLoad()+done)
			w.write(t, "kind", string(certmedic.ActionRenew))
			group.Go(func() { testKillRenewal(t, w, when) })
		}
	}
}

func testKillRenewal(t *testing.T, w *world, when string) {
	cmd := w.start(t, when)
	err := cmd.Wait()
	if !killed(cmd) {
		t.Errorf("%s: it was to be killed, but %v: %s", when, err, cmd.Stderr)
		return
	}
	if err := w.recover(); err != nil {
		t.Errorf("%s: %v", when, err)
		return
	}
	ran := w.renews(t)
	if ran > 1 || slices.Contains(w.log(t), "overlap") {
		t.Errorf("%s: ran %q", when, w.log(t))
	}
	for _, a := range w.actions(t) {
		want := certmedic.OutcomeFailed
		if ran == 1 {
			want = certmedic.OutcomeHealed
		}
		if a.Outcome.Kind != want {
			t.Errorf("%s: it ran %d times, and the outcome is %+v", when, ran, a.Outcome)
		}
	}
	if (ran == 1) != w.serves(t, "next") {
		t.Errorf("%s: it ran %d times, and %s is served", when, ran, w.leaf("loaded/192.0.2.1:443").Short())
	}
	w.wantTidy(t)
}

func killed(cmd *exec.Cmd) bool {
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}

// TestRenewalThatOutlivesCertmedic kills certmedic while a renewal runs: the next one waits for
// it, orders nothing beside it, and judges by the disk.
func TestRenewalThatOutlivesCertmedic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withRenewal(t, "while [ ! -e go ]; do sleep 0.05; done\n"+storeAndLoad()+"echo end >> log\n")
	w.write(t, "kind", string(certmedic.ActionRenew))
	cmd := w.start(t, "never")
	waitFor(t, func() bool { return len(w.bytes("log")) > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	go func() {
		time.Sleep(300 * time.Millisecond)
		_ = os.WriteFile(w.path("go"), nil, 0o600) // seen by the program, or the test times out
	}()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := w.remediator(j, nil)
	ended := make(chan error, 1)
	r.Want(shop, w.overdue())
	go func() { ended <- r.Run(ctx) }()
	waitFor(t, func() bool {
		all, err := j.Actions("", time.Time{})
		return err == nil && len(all) > 0 && all[len(all)-1].Outcome.Kind != certmedic.OutcomeRunning
	})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if log := w.log(t); !slices.Equal(log, []string{"renew", "end"}) {
		t.Errorf("renewals that ran: %q, want one, to its end", log)
	}
	actions := w.actions(t)
	wantOutcome(t, actions[len(actions)-1], certmedic.OutcomeHealed, "restarted meanwhile")
}

// TestCertbotRenewsWhatMustNotBeServed shows what certbot is told where dates say nothing: it would
// find the version not due.
func TestCertbotRenewsWhatMustNotBeServed(t *testing.T) {
	t.Parallel()
	finds := func(code certmedic.FindingCode) func(*remediate.Sight) {
		return func(s *remediate.Sight) { s.Problems = []certmedic.Finding{certmedic.NewFinding(code, "so it is")} }
	}
	revoked, untrusted := finds(certmedic.Revoked), finds(certmedic.Untrusted)
	tests := []struct {
		about  string
		see    func(*remediate.Sight)
		denied bool
		want   []string
		not    []string
	}{
		{"a good version is certbot's to judge", nil, false, nil, []string{"--force-renewal", "--new-key"}},
		{"a revoked version", revoked, false, []string{"--force-renewal"}, []string{"--new-key"}},
		{"a problem that the next version would have, too", untrusted, false, nil, []string{"--force-renewal"}},
		{"what its owner switched off", nil, true, []string{"--new-key"}, []string{"--force-renewal"}},
		{"a denied key", nil, true, []string{"--force-renewal", "--new-key"}, nil},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			plan := w.planned(t, func(o *remediate.Options) {
				o.Renewal = func(certmedic.Certificate) (renew.Way, error) {
					return renew.Way{Certbot: &renew.Certbot{Lineage: shop, ConfigDir: w.dir, Off: strings.Contains(tt.about, "switched off")}}, nil
				}
				o.Denied = func(certmedic.Fingerprint) bool { return tt.denied }
				o.Look = func(ctx context.Context, name string) (remediate.Sight, error) {
					s, err := w.look(ctx, name)
					if tt.see != nil {
						tt.see(&s)
					}
					return s, err
				}
			})
			argv := plan.Commands[0].Argv
			for _, arg := range tt.want {
				if !slices.Contains(argv, arg) {
					t.Errorf("%s: certbot is run as %q, without %s", tt.about, argv, arg)
				}
			}
			for _, arg := range tt.not {
				if slices.Contains(argv, arg) {
					t.Errorf("%s: certbot is run as %q, with %s", tt.about, argv, arg)
				}
			}
		})
	}
}

// planned returns the plan of a renewal by hand.
func (w *world) planned(t *testing.T, change func(*remediate.Options)) deploy.Plan {
	t.Helper()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := w.remediator(j, change).Plan(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRenew, By: "ann", ByHand: true})
	if err != nil || len(plan.Commands) == 0 {
		t.Fatalf("%+v, %v", plan, err)
	}
	return plan
}
