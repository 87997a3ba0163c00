package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// rounds is time enough for several probes at an interval of 2 s.
const rounds = 6 * time.Second

func TestObserveOnlyTells(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook(failOnce)
	w.watch(plan{mode: certmedic.ModeObserve})
	old := w.served(domain)

	version, _ := w.renew()
	in := w.awaitIncident("renewed-not-served", certmedic.StateFiring)
	if len(in.Evidence) == 0 || !strings.Contains(in.Evidence[0].Line, version.Short()) || !strings.Contains(in.Evidence[0].Line, old.Short()) {
		t.Errorf("the incident's evidence does not name %s and %s: %+v", old.Short(), version.Short(), in.Evidence)
	}
	w.await("the webhook heard of it", patience, 100*time.Millisecond, func() bool { return len(w.alerts.about("renewed-not-served")) > 0 })
	w.stays("the old version is served and nothing was done", rounds, func() bool {
		return w.served(domain) == old && len(w.actions()) == 0
	})
	if certbot, ours := w.hookRuns(); certbot != 1 || ours != 0 {
		t.Errorf("the hook was run %d times by certbot and %d times by certmedic, which only observes", certbot, ours)
	}
	if r := w.certmedic("status"); r.Code != 1 {
		t.Errorf("certmedic status exits %d, want 1 for a warning:\n%s", r.Code, r.Stdout)
	}

	w.configure(plan{mode: certmedic.ModeAuto}) // its owner has seen enough, and opts in
	w.must("systemctl reload certmedic")
	w.awaitServed(version)
	w.awaitOutcome(1, certmedic.OutcomeHealed)
	if certbot, ours := w.hookRuns(); certbot != 1 || ours != 1 {
		t.Errorf("the hook was run %d times by certbot and %d times by certmedic, once it may act", certbot, ours)
	}
	w.awaitIncident("renewed-not-served", certmedic.StateResolved)
	if told := len(w.alerts.about("renewed-not-served")); told > 2 {
		t.Errorf("over a reload the webhook was told %d times of one incident: %+v", told, w.alerts.about("renewed-not-served"))
	}
}

func TestHookThatAlwaysFailsIsTriedWithinBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("echo first >&2\necho 'nginx: no reload today' >&2\nexit 7\n")
	w.watch(plan{mode: certmedic.ModeAuto})
	old := w.served(domain)

	w.renew()
	first := w.awaitOutcome(1, certmedic.OutcomeFailed)
	w.awaitEvidence("hook-failed", hookFile, "exit code 7", "nginx: no reload today")
	window := 36*time.Second - time.Since(first.StartedAt)
	w.stays("the incident stays open", window, func() bool {
		in, ok := w.incident("hook-failed")
		return ok && in.State == certmedic.StateFiring
	})
	w.awaitOutcome(3, certmedic.OutcomeFailed)
	w.checkBackoff(36 * time.Second)
	if told := len(w.alerts.about("hook-failed")); told != 1 {
		t.Errorf("the webhook was told %d times of one incident: %+v", told, w.alerts.about("hook-failed"))
	}

	// Its owner mends the hook: that is another cure, to be tried at once, but not while
	// everything is frozen.
	w.must("touch /etc/certmedic/FREEZE")
	tried := len(w.actions())
	w.hook("systemctl reload nginx\n")
	w.awaitOutcome(tried+1, certmedic.OutcomeRefused)
	w.stays("nothing is run while everything is frozen, and the incident stays open", rounds, func() bool {
		in, ok := w.incident("hook-failed")
		return ok && in.State == certmedic.StateFiring && len(w.actions()) == tried+1 && w.served(domain) == old
	})
	w.must("rm /etc/certmedic/FREEZE")
	w.awaitServed(w.stored())
	w.awaitIncident("hook-failed", certmedic.StateResolved)
}

// checkBackoff checks that the attempts came at least 5 s, 10 s and 20 s after each other,
// which leaves room for four in the window, counted from the first.
func (w *world) checkBackoff(window time.Duration) {
	w.t.Helper()
	attempts := w.actions()
	slices.Reverse(attempts)
	within := 0
	for i, a := range attempts {
		if a.StartedAt.Sub(attempts[0].StartedAt) < window {
			within++
		}
		if i == 0 {
			continue
		}
		delay := 5 * time.Second << (i - 1)
		if pause := a.StartedAt.Sub(attempts[i-1].EndedAt); pause < delay {
			w.t.Errorf("attempt %d came %s after the one before it had ended, want %s", i+1, pause, delay)
		}
	}
	if within > 4 {
		w.t.Errorf("there were %d attempts in %s, want no more than 4", within, window)
	}
	if _, ours := w.hookRuns(); ours != len(attempts) {
		w.t.Errorf("certmedic ran the hook %d times in %d attempts", ours, len(attempts))
	}
}

func TestSlowHookIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("sleep 20\nsystemctl reload nginx\n")
	w.watch(plan{mode: certmedic.ModeAuto})
	before := w.stored()

	w.must("systemd-run --quiet --unit=renewal --property=RemainAfterExit=yes certbot renew --force-renewal")
	w.await("certbot runs its hook", patience, 50*time.Millisecond, func() bool { n, _ := w.hookRuns(); return n == 1 })
	version := w.stored()
	if version == before {
		t.Fatal("certbot runs its deploy hook, but nothing new is stored")
	}
	w.await("the stage is deploying", patience, 50*time.Millisecond, func() bool { return w.view().Stage == certmedic.StageDeploying })
	if r := w.certmedic("status"); !strings.Contains(r.Stdout, "deploying") {
		t.Errorf("certmedic status does not say deploying:\n%s", r.Stdout)
	}
	w.stays("the stage is deploying and nothing fires while the hook runs", 15*time.Second, func() bool {
		v := w.view()
		return v.Stage == certmedic.StageDeploying && !firing(v.Incidents)
	})
	w.awaitServed(version)
	w.stays("nothing fires once the hook has ended", rounds, func() bool { return !firing(w.view().Incidents) })

	if actions := w.actions(); len(actions) > 0 {
		t.Errorf("certmedic did %+v", actions)
	}
	if certbot, ours := w.hookRuns(); certbot != 1 || ours != 0 {
		t.Errorf("the hook was run %d times by certbot and %d times by certmedic", certbot, ours)
	}
	if r := w.certmedic("status"); r.Code != 0 {
		t.Errorf("certmedic status exits %d:\n%s", r.Code, r.Stdout)
	}
}

func TestLateEffectOfAHookIsAwaited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("test -e /run/mended || exit 7\nsystemd-run --quiet --on-active=0.7s --timer-property=AccuracySec=10ms systemctl reload nginx\n")
	w.watch(plan{mode: certmedic.ModeAuto})

	w.renew()
	w.awaitIncident("hook-failed", certmedic.StateFiring)
	// That incident is open, and still the deployment of the next version gets its grace.
	version, _ := w.renew("--pre-hook", "'touch /run/mended'")
	w.awaitServed(version)
	w.awaitIncident("renewed-not-served", certmedic.StateResolved)
	if log := w.must("cat " + hookLog); !strings.HasSuffix(log, "certbot\n") {
		t.Errorf("certmedic ran the hook although certbot's run of it was about to take effect:\n%s", log)
	}
}

func firing(incidents []certmedic.Incident) bool {
	for _, in := range incidents {
		if in.State == certmedic.StateFiring {
			return true
		}
	}
	return false
}

func TestForeignCertificateIsOnlyTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	w.must(`mkdir /etc/ssl/foreign && cd /etc/ssl/foreign
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=` + domain + ` \
			-addext subjectAltName=DNS:` + domain + ` -keyout key.pem -out cert.pem 2>/dev/null`)
	w.serveTLS("shop", domain, "/etc/ssl/foreign/cert.pem", "/etc/ssl/foreign/key.pem")
	w.configure(plan{mode: certmedic.ModeAuto})
	w.start()

	w.renew()
	w.awaitIncident("renewed-not-served", certmedic.StateFiring)
	w.awaitIncident("chain-invalid", certmedic.StateFiring)
	w.await("the webhook heard of it", patience, 100*time.Millisecond, func() bool { return len(w.alerts.about("chain-invalid")) > 0 })
	w.stays("nothing is run", rounds, func() bool {
		for _, a := range w.actions() {
			if a.Outcome.Kind != certmedic.OutcomeRefused || len(a.Runs) > 0 {
				return false
			}
		}
		return true
	})
	if certbot, ours := w.hookRuns(); certbot != 1 || ours != 0 {
		t.Errorf("the hook was run %d times by certbot and %d times by certmedic, which never saw the endpoint serve this certificate", certbot, ours)
	}
}

func TestCertbotsTreeIsOnlyRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	list := func() string {
		return w.must(`find /etc/letsencrypt /var/lib/letsencrypt /var/log/letsencrypt -printf '%p %i %m %u:%g %s %T@ %C@ %l\n' | sort`)
	}
	before := list()
	w.watch(plan{mode: certmedic.ModeAuto})
	if r := w.certmedic("redeploy", name, "--dry-run", "--force"); r.Code != 0 || !strings.Contains(r.Stdout, hookFile) {
		t.Errorf("a dry run exits %d and shows\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	w.stays("certmedic watches", rounds, func() bool { return w.view().Stage == certmedic.StageServed })
	if after := list(); after != before {
		t.Errorf("certmedic changed certbot's tree. Before:\n%s\nafter:\n%s", before, after)
	}

	// Watching takes no lock: certbot always gets its own.
	w.must(`for i in $(seq 20); do certbot renew >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }; done`)
	if log := w.must("cat /var/log/letsencrypt/letsencrypt.log*"); strings.Contains(log, "Another instance") {
		t.Error("certbot found its locks held by another instance")
	}
}
