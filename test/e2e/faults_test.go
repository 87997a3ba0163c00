package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// copied gives nginx copies of the certificate below /etc/ssl/shop, which is a disk of its own, of
// 64 KiB.
func (w *world) copied() {
	w.t.Helper()
	w.must(`install -d /etc/ssl/shop && mount -t tmpfs -o size=64k,mode=755 tmpfs /etc/ssl/shop
		cp ` + live + `/fullchain.pem /etc/ssl/shop/ && cp ` + live + `/privkey.pem /etc/ssl/shop/key.pem`)
	w.serveTLS("shop", domain, "/etc/ssl/shop/fullchain.pem", "/etc/ssl/shop/key.pem")
}

// TestDeploymentWhereADiskFails renews while a disk that the deployment writes to is full, or can
// only be read: nothing is half installed, the old version is served throughout, the cause is
// told, and once the disk is well again the new version is deployed.
func TestDeploymentWhereADiskFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.copied()
	w.must("install -d /var/lib/certmedic && mount -t tmpfs -o size=4m,mode=700 tmpfs /var/lib/certmedic")
	w.watch(plan{mode: certmedic.ModeAuto, deploy: steps})
	visits := w.visit("443")
	const files = "cd /etc/ssl/shop && ls -A && sha256sum fullchain.pem key.pem && stat --format '%n %a %U:%G' fullchain.pem key.pem"

	for _, fault := range []struct{ about, begin, end, says string }{
		{"the destination's disk is full", "dd if=/dev/zero of=/etc/ssl/shop/filler bs=1k 2>/dev/null || true", "rm /etc/ssl/shop/filler", "no space left on device"},
		{"the destination's disk can only be read", "mount -o remount,ro /etc/ssl/shop", "mount -o remount,rw /etc/ssl/shop", "read-only file system"},
		{"the disk of the state folder is full", "dd if=/dev/zero of=/var/lib/certmedic/filler bs=1k 2>/dev/null || true", "rm /var/lib/certmedic/filler", "no space left on device"},
	} {
		w.must(fault.begin)
		before, old, known := w.must(files), w.served(domain), len(w.actions())
		version, _ := w.renew()
		w.await("certmedic tells that "+fault.about, patience, 100*time.Millisecond, func() bool {
			return strings.Contains(w.tells(known), fault.says)
		})
		t.Logf("%s: %s", fault.about, w.tells(known))
		w.stays("nothing was changed and the old version is served, although "+fault.about, 2*time.Second, func() bool {
			return w.served(domain) == old
		})
		if after := w.must(files); after != before {
			t.Errorf("%s: before\n%s\nafter\n%s", fault.about, before, after)
		}
		w.must(fault.end)
		w.awaitServed(version)
		w.awaitIncident("renewed-not-served", certmedic.StateResolved)
	}
	visits.end()
}

// relay is a service that the deployment reloads after nginx.
const relay = "/etc/systemd/system/relay.service"

// TestDeploymentWhereAServiceIsGone renews while a service that is to be reloaded is not there any
// more, which has the old files put back everywhere; and while nginx is stopped, which is told
// and nothing else. What comes back gets the new version.
func TestDeploymentWhereAServiceIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.copied()
	unit := []byte("[Service]\nType=exec\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n")
	w.WriteFile(relay, unit, 0o644)
	w.must("systemctl daemon-reload && systemctl start relay")
	w.watch(plan{mode: certmedic.ModeAuto, deploy: strings.TrimSuffix(steps, "]") + ", {name: relay, reload: [systemctl, reload, relay], alive: [systemctl, is-active, --quiet, relay]}]"})
	visits := w.visit("443")

	w.must("systemctl stop relay && rm " + relay + " && systemctl daemon-reload")
	const files = "cd /etc/ssl/shop && ls -A && sha256sum * && stat --format '%n %a %U:%G' *"
	before, old := w.must(files), w.served(domain)
	version, _ := w.renew()
	a := w.awaitOutcome(1, certmedic.OutcomeFailed)
	w.must("touch /etc/certmedic/FREEZE") // what follows is to be seen before the next attempt
	if !strings.Contains(a.Outcome.Detail, "the old files are back") {
		t.Errorf("the outcome is %+v", a.Outcome)
	}
	w.awaitEvidence("hook-failed", "relay: reload", "exit code 5", "Unit relay.service not found")
	if after := w.must(files); after != before || w.served(domain) != old {
		t.Errorf("%s is served, want %s; the files were\n%s\nand are\n%s", w.served(domain).Short(), old.Short(), before, after)
	}
	w.WriteFile(relay, unit, 0o644)
	w.must("systemctl daemon-reload && systemctl start relay && rm /etc/certmedic/FREEZE")
	w.awaitServed(version)
	w.awaitIncident("renewed-not-served", certmedic.StateResolved)
	visits.end()

	w.must("touch /etc/certmedic/FREEZE")
	version, _ = w.renew()
	w.must("systemctl stop nginx && rm /etc/certmedic/FREEZE")
	known := len(w.actions())
	w.stays("nothing is done for a service that is stopped", rounds, func() bool {
		for _, a := range w.actions()[:len(w.actions())-known] {
			if a.Outcome.Kind != certmedic.OutcomeRefused {
				return false
			}
		}
		return strings.TrimSpace(w.must("systemctl is-active nginx || true")) == "inactive"
	})
	w.must("systemctl start nginx")
	w.awaitServed(version)
}

// tells returns what certmedic says about its newest actions but those that were known, and what it logs of failures.
func (w *world) tells(known int) string {
	w.t.Helper()
	var lines []string
	all := w.actions()
	for _, a := range all[:len(all)-known] {
		lines = append(lines, fmt.Sprintf("%s %s: %s", a.Outcome.Kind, a.Outcome.Reason, a.Outcome.Detail))
	}
	log := w.must("journalctl --sync; journalctl --unit certmedic --output cat --lines 5 | grep -i level=error || true")
	return strings.Join(append(lines, log), "\n")
}
