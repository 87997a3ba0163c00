package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// steps deploys the certificate to files that nginx reads.
const steps = `[{name: web,
        files: [{from: fullchain, to: /etc/ssl/shop/fullchain.pem}, {from: privkey, to: /etc/ssl/shop/key.pem, mode: "0640", owner: "root:www-data"}],
        test: [nginx, -t], reload: [systemctl, reload, nginx], alive: [systemctl, is-active, --quiet, nginx]}]`

func TestDeploySteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.must(`install -d /etc/ssl/shop && cp ` + live + `/fullchain.pem /etc/ssl/shop/ && cp ` + live + `/privkey.pem /etc/ssl/shop/key.pem`)
	w.serveTLS("shop", domain, "/etc/ssl/shop/fullchain.pem", "/etc/ssl/shop/key.pem")
	w.watch(plan{mode: certmedic.ModeAuto, deploy: steps})

	version, _ := w.renew()
	w.awaitServed(version)
	w.awaitOutcome(1, certmedic.OutcomeHealed)
	w.must("cmp " + live + "/fullchain.pem /etc/ssl/shop/fullchain.pem && cmp " + live + "/privkey.pem /etc/ssl/shop/key.pem")
	if got, want := w.must("cd /etc/ssl/shop && stat --format '%n %a %U:%G' *"), "fullchain.pem 644 root:root\nkey.pem 640 root:www-data\n"; got != want {
		t.Errorf("the installed files are\n%s\nwant\n%s", got, want)
	}

	w.WriteFile("/etc/nginx/conf.d/broken.conf", []byte("server { listen 8080; nonsense on; }\n"), 0o644)
	w.checkPutBack(version)
	w.must("rm /etc/nginx/conf.d/broken.conf")
	if r := w.certmedic("redeploy", name, "--yes"); r.Code != 0 {
		w.fatalf("a redeployment by hand exits %d once nginx's configuration is mended:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if got := w.served(domain); got != w.stored() {
		t.Errorf("after the redeployment %s is served, want %s", got.Short(), w.stored().Short())
	}
}

// checkPutBack checks a renewal that cannot be deployed because nginx refuses its
// configuration: the old files are back, and the old version is served all the time.
func (w *world) checkPutBack(old certmedic.Fingerprint) {
	w.t.Helper()
	sums := "cd /etc/ssl/shop && sha256sum * && stat --format '%n %a %U:%G' *; ls -A"
	before := w.must(sums)
	n := len(w.actions())
	w.renew()
	w.awaitOutcome(n+1, certmedic.OutcomePutBack)
	w.awaitEvidence("hook-failed", "web: test", "exit code 1", `unknown directive "nonsense" in /etc/nginx/conf.d/broken.conf:1`)
	if r := w.certmedic("redeploy", name, "--yes"); r.Code != 4 {
		w.t.Errorf("a redeployment by hand exits %d, want 4:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if after := w.must(sums); after != before {
		w.t.Errorf("the old files are not back. Before:\n%s\nafter:\n%s", before, after)
	}
	w.stays("the old version is served", 2*time.Second, func() bool { return w.served(domain) == old })
}

func TestKilledWhileItsHookRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook(strings.Replace(failOnce, "rm /run/failed", "sleep 8; rm /run/failed", 1))
	w.watch(plan{mode: certmedic.ModeAuto})

	version, _ := w.renew()
	w.await("certmedic runs the hook", patience, 50*time.Millisecond, func() bool { _, ours := w.hookRuns(); return ours == 1 })
	w.must("systemctl kill --signal=KILL --kill-who=main certmedic")
	w.await("systemd has started certmedic again", patience, 100*time.Millisecond, func() bool {
		return strings.TrimSpace(w.must("systemctl show --property NRestarts --value certmedic")) == "1"
	})
	w.awaitReady()
	if w.served(domain) == version {
		t.Fatal("the hook has ended before certmedic was back: this proves nothing")
	}
	w.awaitServed(version)
	w.awaitOutcome(1, certmedic.OutcomeHealed)
	w.stays("there is one action, and the hook is not run again", rounds, func() bool {
		certbot, ours := w.hookRuns()
		return len(w.actions()) == 1 && certbot == 1 && ours == 1
	})
	w.awaitIncident("renewed-not-served", certmedic.StateResolved)
}

func TestRedeployByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook(failOnce)
	w.watch(plan{mode: certmedic.ModeObserve})

	for i, who := range []string{"the daemon", "the command itself, where no daemon runs"} {
		version, _ := w.renew()
		if w.served(domain) == version {
			t.Fatal("certbot's hook has failed, and the new version is served")
		}
		if i == 1 {
			w.must("systemctl stop certmedic && test $(systemctl show --property Result --value certmedic) = success")
		}
		r := w.certmedic("redeploy", name, "--yes")
		if r.Code != 0 || w.served(domain) != version {
			w.fatalf("a redeployment by %s exits %d, and %s is served, want %s:\n%s%s", who, r.Code, w.served(domain).Short(), version.Short(), r.Stdout, r.Stderr)
		}
		if certbot, ours := w.hookRuns(); certbot != i+1 || ours != i+1 {
			t.Errorf("after %d redeployments, the last by %s, the hook was run %d times by certbot and %d times by certmedic", i+1, who, certbot, ours)
		}
	}
	if r := w.certmedic("history"); r.Code != 0 || strings.Count(r.Stdout, "asked for by hand") != 2 {
		t.Errorf("the history, read without a daemon (exit code %d):\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := w.certmedic("redeploy", name, "--yes"); r.Code != 1 || !strings.Contains(r.Stdout, "no_need") && !strings.Contains(r.Stdout, "serves the stored version") {
		t.Errorf("a redeployment that nothing needs exits %d, want 1 and the reason:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}
