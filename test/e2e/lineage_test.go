package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/testhost"
	"github.com/certmedic/certmedic/remediate/lineage"
)

const (
	archive     = "/etc/letsencrypt/archive/" + domain
	renewalConf = "/etc/letsencrypt/renewal/" + domain + ".conf"
)

// step asks for something about the lineage, as an action of certmedic's does.
func (w *world) step(do lineage.Do, version certmedic.Fingerprint) testhost.Result {
	w.t.Helper()
	request, err := json.Marshal(lineage.Request{
		Do: do, Version: version, Work: "/root/memory",
		Place: lineage.Place{Lineage: domain, ConfigDir: "/etc/letsencrypt", Conf: renewalConf, Live: live, Archive: archive},
		Files: certmedic.StoredFiles{Cert: archive + "/cert1.pem", Chain: archive + "/chain1.pem", Privkey: archive + "/privkey1.pem"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.WriteFile("/root/request", request, 0o600)
	r, err := w.Run(w.t.Context(), w.tools+"/certmedic", "step", "lineage", "/root/request")
	if err != nil {
		w.fatalf("%s: %v", do, err)
	}
	return r
}

func (w *world) mustStep(do lineage.Do, version certmedic.Fingerprint) {
	w.t.Helper()
	if r := w.step(do, version); r.Code != 0 {
		w.fatalf("%s exits %d:\n%s%s", do, r.Code, r.Stdout, r.Stderr)
	}
}

// wantLinks fails the test where the links do not lead to a number, or certbot does not think
// that all is well with it.
func (w *world) wantLinks(when string, number int) {
	w.t.Helper()
	for _, kind := range []string{"cert", "privkey", "chain", "fullchain"} {
		want := fmt.Sprintf("../../archive/%s/%s%d.pem", domain, kind, number)
		if got := strings.TrimSpace(w.must("readlink " + live + "/" + kind + ".pem")); got != want {
			w.fatalf("%s: %s.pem leads to %q, not to %q", when, kind, got, want)
		}
	}
	out := w.must("certbot certificates 2>&1")
	if !strings.Contains(out, "Certificate Name: "+domain) || !strings.Contains(out, "(VALID") || strings.Contains(out, "invalid") {
		w.fatalf("%s: certbot says\n%s", when, out)
	}
}

// listing is every file of the archive with its mode, its owner and its content.
func (w *world) listing() string {
	return w.must("cd " + archive + " && stat --format '%n %a %U:%G' * && sha256sum *")
}

// TestAppendedVersionIsCertbots has certbot work with a version that certmedic put back under
// the next number.
func TestAppendedVersionIsCertbots(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	first := w.stored()
	second, _ := w.renew()
	before := w.listing()

	w.mustStep(lineage.Append, first)
	w.wantLinks("appended", 3)
	if w.stored() != first {
		t.Errorf("%s is stored, not %s", w.stored().Short(), first.Short())
	}
	modes := w.must("cd " + archive + " && stat --format '%a %U:%G' privkey2.pem privkey3.pem cert2.pem cert3.pem")
	if modes != "600 root:root\n600 root:root\n644 root:root\n644 root:root\n" {
		t.Errorf("modes and owners are\n%s", modes)
	}
	if out := w.must("certbot renew 2>&1"); !strings.Contains(out, "not yet due") || strings.Contains(out, "fixing") {
		t.Errorf("certbot renew says\n%s", out)
	}
	if out := w.must("certbot renew --dry-run 2>&1"); !strings.Contains(out, "all simulated renewals succeeded") {
		t.Errorf("certbot renew --dry-run says\n%s", out)
	}
	w.wantLinks("certbot ran", 3)

	w.mustStep(lineage.Retract, "")
	w.wantLinks("retracted", 2)
	if w.stored() != second || w.listing() != before {
		t.Errorf("the archive is\n%s\nand was\n%s", w.listing(), before)
	}
	w.mustStep(lineage.Append, first)
	if third, _ := w.renew(); third == first || third == second {
		t.Errorf("certbot renewed to %s", third.Short())
	}
	w.wantLinks("renewed on top of it", 4)
	if r := w.step(lineage.Retract, ""); r.Code == 0 || !strings.Contains(r.Stderr, "changed meanwhile") {
		t.Errorf("what certbot went on from was taken back: %d %s", r.Code, r.Stderr)
	}
	w.wantLinks("after that", 4)
}

// TestCertbotAtWorkIsLeftAlone asks for a change while certbot runs a hook.
func TestCertbotAtWorkIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	first := w.stored()
	w.hook("while [ ! -e /run/go ]; do sleep 0.1; done\n")
	w.must("systemd-run --quiet --unit=renewal certbot renew --force-renewal")
	w.await("the hook runs", patience, 100*time.Millisecond, func() bool { runs, _ := w.hookRuns(); return runs == 1 })
	before := w.listing()
	if r := w.step(lineage.Append, first); r.Code == 0 || !strings.Contains(r.Stderr, "certbot is at work") || !strings.Contains(r.Stderr, "is held by process") {
		t.Errorf("it exits %d: %s", r.Code, r.Stderr)
	}
	if w.listing() != before {
		t.Error("something was written beside certbot")
	}
	w.must("touch /run/go")
	w.await("certbot ends", patience, 100*time.Millisecond, func() bool {
		r, err := w.Sh(t.Context(), "systemctl is-active renewal")
		return err == nil && r.Code != 0
	})
	w.mustStep(lineage.Append, first)
	w.wantLinks("appended after it", 3)
}

// TestPinnedLineageIsLeftByCertbot pins a lineage that certbot finds due to its older version.
func TestPinnedLineageIsLeftByCertbot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{days: 20})
	first := w.stored()
	second, _ := w.renew()
	before, conf, orders := w.listing(), w.ReadFile(renewalConf), w.orders()

	w.mustStep(lineage.Pin, first)
	for range 2 {
		w.wantLinks("pinned", 1)
		if out := w.must("certbot renew 2>&1"); !strings.Contains(out, "not yet due") || strings.Contains(out, "fixing") {
			t.Errorf("certbot renew says\n%s", out)
		}
	}
	if w.orders() != orders || w.stored() != first {
		t.Errorf("%d orders, %d before; %s is stored", w.orders(), orders, w.stored().Short())
	}
	w.mustStep(lineage.Unpin, "")
	w.wantLinks("unpinned", 2)
	if w.listing() != before || !bytes.Equal(w.ReadFile(renewalConf), conf) || w.stored() != second {
		t.Errorf("unpinned it is\n%s\n%s\nand was\n%s\n%s", w.listing(), w.ReadFile(renewalConf), before, conf)
	}
	if out := w.must("certbot renew 2>&1"); !strings.Contains(out, "all renewals succeeded") || w.orders() != orders+1 {
		t.Errorf("certbot renew says\n%s", out)
	}
	w.wantLinks("renewed", 3)

	third := w.stored()
	w.mustStep(lineage.Pin, first)
	w.renew() // by force
	w.wantLinks("renewed by force", 4)
	w.mustStep(lineage.Unpin, "")
	w.wantLinks("unpinned after it", 4)
	if w.stored() == third || strings.Contains(string(w.ReadFile(renewalConf)), "autorenew") {
		t.Errorf("%s is stored, the configuration is\n%s", w.stored().Short(), w.ReadFile(renewalConf))
	}
}
