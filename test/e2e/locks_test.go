package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// slowCertbot starts a certbot that waits for an answer which only the file /run/answer brings,
// and so holds its locks. Its order is for another lineage.
func (w *world) slowCertbot() (pid string) {
	w.t.Helper()
	w.WriteFile("/root/answer", []byte("#!/bin/sh\necho waits >>/run/asked\nwhile ! test -e /run/answer; do sleep 0.1; done\nexit 1\n"), 0o755)
	w.must("systemd-run --quiet --unit=slow certbot certonly --manual --manual-auth-hook /root/answer --preferred-challenges http --domain other.example.test")
	w.await("certbot waits", patience, 100*time.Millisecond, func() bool { return w.must("cat /run/asked 2>/dev/null || true") != "" })
	return strings.TrimSpace(w.must("systemctl show --property MainPID --value slow"))
}

// TestLockOfARunningCertbot has a certbot hang, with its locks, while a deployment is to be mended:
// nothing is done before it has ended, whoever asks; that is told, when it takes too long; and
// then it is mended.
func TestLockOfARunningCertbot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook(failOnce)
	w.watch(plan{mode: certmedic.ModeAuto, allow: "redeploy, renew", adjust: "hook_hung: {for: 8s}"})
	old := w.served(domain)
	w.must("touch /etc/certmedic/FREEZE")
	version, _ := w.renew()
	pid := w.slowCertbot()
	w.await("the stage is deploying", patience, 50*time.Millisecond, func() bool { return w.view().Stage == certmedic.StageDeploying })
	known := len(w.actions())
	w.must("rm /etc/certmedic/FREEZE")

	for _, action := range []string{"redeploy", "renew"} {
		if r := w.certmedic(action, name, "--yes", "--force"); r.Code != 1 || !strings.Contains(r.Stdout, "is held by process "+pid) {
			t.Errorf("%s by hand exits %d, want 1 and who holds the lock, process %s:\n%s%s", action, r.Code, pid, r.Stdout, r.Stderr)
		}
	}
	if r := w.certmedic("status"); !strings.Contains(r.Stdout, "deploying") {
		t.Errorf("certmedic status does not say deploying:\n%s", r.Stdout)
	}
	w.awaitIncident("hook_hung", certmedic.StateFiring)
	if _, ours := w.hookRuns(); ours != 0 || w.served(domain) != old {
		t.Errorf("while certbot holds its locks the hook was run %d times, and %s is served", ours, w.served(domain).Short())
	}
	for _, a := range w.actions()[:len(w.actions())-known] {
		if a.Outcome.Kind != certmedic.OutcomeRefused {
			t.Errorf("while certbot holds its locks certmedic did %+v", a)
		}
	}

	w.must("touch /run/answer")
	w.awaitServed(version)
	w.awaitIncident("hook_hung", certmedic.StateResolved)
	w.awaitIncident("renewed-not-served", certmedic.StateResolved)
	if certbot, ours := w.hookRuns(); certbot != 1 || ours != 1 {
		t.Errorf("the hook was run %d times by certbot and %d times by certmedic", certbot, ours)
	}
}

// TestKilledWhileCertbotRenews kills the daemon while the certbot that it started has not yet
// placed its order. certbot lives on, the next daemon waits for it, orders nothing itself, and
// judges by what is stored and served.
func TestKilledWhileCertbotRenews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{days: 20})
	w.hook("systemctl reload nginx\n")
	w.WriteFile("/etc/letsencrypt/renewal-hooks/pre/slow", []byte("#!/bin/sh\necho pre >>/run/asked\nwhile ! test -e /run/answer; do sleep 0.1; done\n"), 0o755)
	before, orders := w.stored(), w.orders()
	w.watchLate("redeploy, renew")
	w.await("certbot runs its pre-hook", patience, 100*time.Millisecond, func() bool { return w.must("cat /run/asked 2>/dev/null || true") != "" })
	pid := w.must("pgrep --exact certbot")

	w.must("systemctl kill --signal=KILL --kill-who=main certmedic")
	w.await("systemd has started certmedic again", patience, 100*time.Millisecond, func() bool {
		return strings.TrimSpace(w.must("systemctl show --property NRestarts --value certmedic")) == "1"
	})
	w.awaitReady()
	w.stays("the certbot that was at work is the only one", 4*time.Second, func() bool {
		return w.must("pgrep --exact certbot") == pid && w.stored() == before
	})
	w.must("touch /run/answer")

	a := w.awaitOutcome(1, certmedic.OutcomeHealed)
	if a.Kind != certmedic.ActionRenew || len(a.Runs) != 1 || !strings.Contains(a.Outcome.Detail, "restarted meanwhile") {
		t.Errorf("the history has %+v", a)
	}
	if w.stored() == before || w.served(domain) != w.stored() {
		t.Errorf("%s is stored, %s is served, and before it was %s", w.stored().Short(), w.served(domain).Short(), before.Short())
	}
	w.awaitIncident("late", certmedic.StateResolved)
	w.stays("one order was placed", rounds, func() bool { return w.orders() == orders+1 })
	if asked := w.must("cat /run/asked"); asked != "pre\n" {
		t.Errorf("certbot's pre-hook ran more than once:\n%s", asked)
	}
	if out := w.output(a.ID); !strings.Contains(out, "all renewals succeeded") {
		t.Errorf("of what certbot wrote meanwhile the history has %q", out)
	}
}

// output returns what the commands of an action wrote, as the history tells a person on the host.
func (w *world) output(id string) string {
	w.t.Helper()
	var all strings.Builder
	for _, run := range w.recorded(id).Runs {
		all.WriteString(run.Stdout + run.Stderr)
	}
	return all.String()
}
