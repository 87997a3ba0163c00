package remediate_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/renew"
)

// rehearsals is where the world keeps rehearsals.
func (w *world) rehearsals(t *testing.T) *journal {
	t.Helper()
	dir := w.path("rehearsals")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &journal{dir: dir}
}

// rehearsing has the remediator know certbot, which is a script, and keep rehearsals.
func (w *world) rehearsing(t *testing.T, around renew.Around) func(*remediate.Options) {
	t.Helper()
	kept := w.rehearsals(t)
	return func(o *remediate.Options) {
		o.Rehearsals, o.VerifyTimeout = kept, 3*time.Second
		o.Environ = []string{"PATH=" + w.path("bin") + ":/usr/bin:/bin"}
		o.Renewal = func(certmedic.Certificate) (renew.Way, error) {
			return renew.Way{Certbot: &renew.Certbot{Lineage: shop, ConfigDir: w.dir, Around: around}}, nil
		}
	}
}

// rehearse asks for a rehearsal by hand.
func (w *world) rehearse(t *testing.T, q remediate.RehearsalRequest, change func(*remediate.Options)) certmedic.Action {
	t.Helper()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	q.Certificate, q.ByHand = shop, true
	a, err := w.remediator(j, change).Rehearse(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	w.wantTidy(t)
	if len(w.actions(t)) > 0 {
		t.Error("a rehearsal is in the journal of actions")
	}
	return a
}

// inStep makes the stored version the one that is served.
func (w *world) inStep(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(w.path("loaded"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		w.write(t, "loaded/"+e.Name(), w.read(t, "stored/fullchain.pem"))
	}
}

// What hooks do to the services.
const (
	stopAll = "for a in loaded/*; do : >\"$a\"; done\n"
	steal   = "for a in loaded/*; do cp old/fullchain.pem \"$a\"; done\n"
)

func TestRehearsalOfHooks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		hooks  []string
		kind   certmedic.OutcomeKind
		reason string
		detail string
		ran    string
	}{
		{"all succeed and everything is served as before", []string{"", loadStored()}, certmedic.OutcomeRehearsed, "", "every bound address serves what it served before (1)", "0 1"},
		{"one fails, and the others run as under certbot", []string{"echo broken >&2; exit 3\n", ""}, certmedic.OutcomeFailed, "exited", "exit code 3", "0 1"},
		{"one is killed", []string{"kill -9 $$\n"}, certmedic.OutcomeFailed, "exited", "exit code 137", "0"},
		{"one takes the service down", []string{stopAll}, certmedic.OutcomeFailed, "served_worse", "192.0.2.1:443 presents no certificate any more", "0"},
		{"one has another version served", []string{steal}, certmedic.OutcomeFailed, "served_worse", " before", "0"},
		{"there are none", nil, certmedic.OutcomeRefused, "nothing_to_run", "nothing to rehearse", ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.inStep(t)
				w.withHooks(t, tt.hooks...)
				a := w.rehearse(t, remediate.RehearsalRequest{Kind: certmedic.RehearseHooks, By: "ann"}, w.rehearsing(t, renew.Around{}))
				wantOutcome(t, a, tt.kind, tt.detail)
				if a.Outcome.Reason != tt.reason || a.Kind != certmedic.RehearseHooks || a.By != "ann" || a.Version != w.leaf("stored/cert.pem") {
					t.Errorf("it is %+v", a)
				}
				if got := strings.Join(w.log(t), " "); got != tt.ran {
					t.Errorf("the hooks %q ran, want %q", got, tt.ran)
				}
				if len(a.Runs) != len(tt.hooks) {
					t.Errorf("%d runs are recorded of %d hooks", len(a.Runs), len(tt.hooks))
				}
				all, err := w.rehearsals(t).Actions(shop, time.Time{})
				if err != nil || len(all) != 1 || all[0].Outcome.Kind != tt.kind || all[0].EndedAt.IsZero() {
					t.Errorf("kept are %+v, %v", all, err)
				}
			})
		})
	}
}

func TestRehearsalOfDeploySteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.inStep(t)
		w.withSteps(t, "", loadStored(), "")
		installed := w.read(t, "installed/fullchain.pem")
		a := w.rehearse(t, remediate.RehearsalRequest{Kind: certmedic.RehearseHooks}, w.rehearsing(t, renew.Around{}))
		wantOutcome(t, a, certmedic.OutcomeRehearsed)
		if log := w.log(t); !slices.Equal(log, []string{"test", "reload", "alive"}) || w.read(t, "installed/fullchain.pem") != installed {
			t.Errorf("%q ran, or a file was installed", log)
		}
		w.withSteps(t, "echo '[emerg] no such thing' >&2; exit 1\n", loadStored(), "")
		a = w.rehearse(t, remediate.RehearsalRequest{Kind: certmedic.RehearseHooks}, w.rehearsing(t, renew.Around{}))
		wantOutcome(t, a, certmedic.OutcomeFailed, `"web: test"`)
		if !slices.ContainsFunc(a.Outcome.Evidence, func(e certmedic.Evidence) bool { return e.Line == "[emerg] no such thing" && e.Output }) {
			t.Errorf("evidence %+v", a.Outcome.Evidence)
		}
	})
}

func TestRehearsalIsNoDeployment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t) // the old version is served
		w.withHooks(t, loadStored())
		a := w.rehearse(t, remediate.RehearsalRequest{Kind: certmedic.RehearseHooks}, w.rehearsing(t, renew.Around{}))
		wantOutcome(t, a, certmedic.OutcomeRefused, "would be a deployment")
		if a.Outcome.Reason != "drifting" || len(w.log(t)) > 0 {
			t.Errorf("%+v, and %q ran", a.Outcome, w.log(t))
		}
	})
}

// certbotSays makes certbot a script that says what it was asked for.
func (w *world) certbotSays(t *testing.T, script string) {
	t.Helper()
	w.script(t, "bin/certbot", `echo "$*" >> asked`+"\n"+script)
}

const simulated = "echo 'Congratulations, all simulated renewals succeeded:'\n"

func TestRehearsalOfARenewal(t *testing.T) {
	t.Parallel()
	hook := func(command string) []deploy.Hook {
		return []deploy.Hook{{Command: command, Source: "renewal/shop.conf:9"}}
	}
	for _, tt := range []struct {
		about  string
		script string
		around renew.Around
		run    bool // hooks
		kind   certmedic.OutcomeKind
		reason string
		asked  string
	}{
		{"it succeeds, without hooks", simulated, renew.Around{}, false, certmedic.OutcomeRehearsed, "", "--dry-run --server https://acme-staging-v02.api.letsencrypt.org/directory --no-directory-hooks --pre-hook true --post-hook true"},
		{"it runs hooks where it is to", simulated, renew.Around{Pre: hook("x"), Post: hook("y")}, true, certmedic.OutcomeRehearsed, "", "--dry-run --server https://acme-staging-v02.api.letsencrypt.org/directory"},
		{"at the directory that is named", simulated, renew.Around{Staging: "https://ca.test/staging", Directory: "https://ca.test/"}, false, certmedic.OutcomeRehearsed, "", "--server https://ca.test/staging"},
		{"a challenge failed", challengeFailed, renew.Around{}, false, certmedic.OutcomeFailed, "challenge_failed", "--dry-run"},
		{"nothing was there to renew", "echo 'No simulated renewals were attempted.'\n", renew.Around{}, false, certmedic.OutcomeFailed, "not_rehearsed", "--dry-run"},
		{"it changes the lineage", simulated + "echo x >> stored/cert.pem\n", renew.Around{}, false, certmedic.OutcomeFailed, "changed", "--dry-run"},
		{"it takes the service down", simulated + stopAll, renew.Around{}, false, certmedic.OutcomeFailed, "served_worse", "--dry-run"},
		{"nobody knows where", simulated, renew.Around{Directory: "https://ca.test/"}, false, certmedic.OutcomeRefused, "nothing_to_run", ""},
		{"certbot would move the links", simulated, renew.Around{Unlinked: "live/shop points to version 1"}, false, certmedic.OutcomeRefused, "nothing_to_run", ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.inStep(t)
				w.certbotSays(t, tt.script)
				tt.around.Keeps = []string{w.path("stored"), w.path("renewal")}
				a := w.rehearse(t, remediate.RehearsalRequest{Kind: certmedic.RehearseRenewal, RunHooks: tt.run}, w.rehearsing(t, tt.around))
				wantOutcome(t, a, tt.kind)
				if asked := string(w.bytes("asked")); a.Outcome.Reason != tt.reason || !strings.Contains(asked, tt.asked) || tt.asked == "" && asked != "" {
					t.Errorf("reason %q, detail %q, certbot was asked\n%s", a.Outcome.Reason, a.Outcome.Detail, asked)
				}
				if strings.Contains(string(w.bytes("asked")), "--force-renewal") || tt.run && strings.Contains(string(w.bytes("asked")), "-hook") {
					t.Errorf("certbot was asked\n%s", w.bytes("asked"))
				}
			})
		})
	}
}

// TestStoppedCertbotGetsItsPostHooks shows that what a pre hook stopped is started again when
// certbot cannot do that any more.
func TestStoppedCertbotGetsItsPostHooks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		script string
		pre    bool
		want   string // in the log of hooks
		said   string
	}{
		{"it was killed after its pre hook", stopAll + "kill -9 $$\n", true, "post", "every bound address presents a certificate"},
		{"a shell says that it was killed", stopAll + "exit 137\n", true, "post", "every bound address presents a certificate"},
		{"without pre hooks nothing was stopped", "kill -9 $$\n", false, "", ""},
		{"it ended by itself, and ran them itself", "exit 1\n", true, "", ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.inStep(t)
				w.cert.Allow = append(w.cert.Allow, certmedic.ActionRenew)
				w.certbotSays(t, tt.script)
				around := renew.Around{Post: []deploy.Hook{{Command: w.script(t, "bin/post", "echo post >> log\n"+loadStored()), Source: "cli.ini:1"}}}
				if tt.pre {
					around.Pre = []deploy.Hook{{Command: "stop", Source: "cli.ini:2"}}
				}
				a := w.actWith(t, remediate.Request{Kind: certmedic.ActionRenew, Force: true}, w.rehearsing(t, around))
				wantOutcome(t, a, certmedic.OutcomeFailed)
				if got := strings.Join(w.log(t), " "); got != tt.want {
					t.Errorf("hooks ran: %q, want %q", got, tt.want)
				}
				said := slices.ContainsFunc(a.Outcome.Evidence, func(e certmedic.Evidence) bool { return e.Line == tt.said })
				if tt.said != "" && (!said || !w.serves(t, "stored") || len(a.Runs) != 2 || a.Runs[1].ExitCode != 0) {
					t.Errorf("evidence %+v, runs %+v", a.Outcome.Evidence, a.Runs)
				}
			})
		})
	}
}

// TestInterruptedRehearsalSaysNothing shows what a restart makes of a rehearsal that was at work.
func TestInterruptedRehearsalSaysNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inStep(t)
	w.withHooks(t, "sleep 1\necho over >> log\n")
	kept := w.rehearsals(t)
	ctx, cancel := context.WithCancel(t.Context())
	kept.after = func(n int) {
		if n == 2 { // the hook's pid is written down
			time.AfterFunc(100*time.Millisecond, cancel)
		}
	}
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	change := func(o *remediate.Options) { w.rehearsing(t, renew.Around{})(o); o.Rehearsals = kept }
	if _, err := w.remediator(j, change).Rehearse(ctx, remediate.RehearsalRequest{Certificate: shop, Kind: certmedic.RehearseHooks, ByHand: true}); err == nil {
		t.Fatal("it was not interrupted")
	}
	all, err := kept.Actions(shop, time.Time{})
	if err != nil || len(all) != 1 || all[0].Outcome.Kind != certmedic.OutcomeRunning || !execx.Alive(all[0].Runs[0].PID, all[0].Runs[0].PIDStart) {
		t.Fatalf("kept are %+v, %v", all, err)
	}
	kept.after = nil
	// The next one waits for the hook that lives on, and does not run beside it.
	a := w.rehearse(t, remediate.RehearsalRequest{Kind: certmedic.RehearseHooks}, change)
	wantOutcome(t, a, certmedic.OutcomeRehearsed)
	if log := w.log(t); !slices.Equal(log, []string{"0", "over", "0", "over"}) {
		t.Errorf("the hook ran as %q", log)
	}
	if all, err = kept.Actions(shop, time.Time{}); err != nil || len(all) != 2 || all[1].Outcome.Kind != certmedic.OutcomeUnverified || all[1].Outcome.Reason != "interrupted" {
		t.Errorf("kept are %+v, %v", all, err)
	}
	if left, _ := filepath.Glob(w.path("run/*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
