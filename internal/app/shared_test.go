package app_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// pairOfSites are two hosts and a folder that both have mounted: one issues, the other one follows.
type pairOfSites struct {
	from, to *site
	shared   string
	identity *age.X25519Identity
}

func newPair(t *testing.T) *pairOfSites {
	t.Helper()
	p := &pairOfSites{from: newSite(t), to: newSite(t), shared: t.TempDir(), identity: mint.Must(age.GenerateX25519Identity())}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.from.write(t, "sign.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: mint.Must(x509.MarshalPKCS8PrivateKey(private))})))
	p.to.write(t, "keys.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: mint.Must(x509.MarshalPKIXPublicKey(public))})))
	p.to.write(t, "age.key", p.identity.String())
	p.to.write(t, "root.pem", string(mint.Must(os.ReadFile(p.from.path("root.pem")))))
	p.from.write(t, "certmedic.yml", fmt.Sprintf(`state_dir: %s
probe: {interval: 1s, timeout: 5s, roots: [%s], records: false}
certificates:
  - name: shop
    source: {files: {cert: %s, key: %s}}
    endpoints: [{address: "%s", server_name: shop.test}]
    publish: {dir: %s, recipients: [%s], sign_key_file: %s}
`, p.from.path("state"), p.from.path("root.pem"), p.from.path("cert.pem"), p.from.path("key.pem"), p.from.node.Addr(), p.shared, p.identity.Recipient(), p.from.path("sign.key")))
	p.to.write(t, "certmedic.yml", fmt.Sprintf(`state_dir: %s
remediation: {mode: auto}
probe: {interval: 1s, timeout: 5s, roots: [%s], records: false}
certificates:
  - name: shop
    source: {shared: {dir: %s, identity_file: %s, keys_file: %s, interval: 1s}}
    endpoints: [{address: "%s", server_name: shop.test, owned: true}]
    deploy:
      - name: web
        files: [{from: fullchain, to: %s}, {from: privkey, to: %s}]
        reload: ["true"]
    remediation: {mode: auto, allow: [redeploy, renew]}
`, p.to.path("state"), p.to.path("root.pem"), p.shared, p.to.path("age.key"), p.to.path("keys.pem"), p.to.node.Addr(), p.to.path("cert.pem"), p.to.path("key.pem")))
	return p
}

// view returns how a daemon sees its certificate.
func (d *daemon) view(t *testing.T) watchdog.View {
	t.Helper()
	s, err := d.client.Status(t.Context())
	if err != nil || len(s.Certificates) == 0 {
		return watchdog.View{Supply: &watchdog.Supply{}}
	}
	v := s.Certificates[0]
	if v.Supply == nil {
		v.Supply = &watchdog.Supply{}
	}
	return v
}

// version returns what a view's source holds; empty where it holds nothing.
func version(v watchdog.View) certmedic.Fingerprint {
	if v.Stored == nil {
		return ""
	}
	return v.Stored.Chain[0].SHA256
}

// TestPublishedAndFetched has a version that is stored on one host be served on another, again after a renewal, and
// never where something about it is wrong.
func TestPublishedAndFetched(t *testing.T) {
	p := newPair(t)
	from, to := p.from.start(t), p.to.start(t)
	arrived := func() {
		t.Helper()
		var v watchdog.View
		waitFor(t, "what is stored on one host is stored, and fit to be served, on the other", func() bool {
			v = to.view(t)
			want := version(from.view(t))
			return want != "" && version(v) == want && v.Supply.Published == want && !v.Supply.Tested.IsZero() && v.Supply.Unfit == ""
		})
		if v.Supply.Failing != "" || v.Stored.Path != p.to.path("state/shared/shop/current/fullchain.pem") {
			t.Errorf("it is at %q, %+v", v.Stored.Path, v.Supply)
		}
	}
	arrived()
	p.from.renew(t)
	arrived()
	waitFor(t, "it is served", func() bool {
		_ = p.to.node.Reload() // as the configured command would
		return to.view(t).Stage == certmedic.StageServed
	})
	answer, err := to.client.Act(t.Context(), api.ActionRequest{Certificate: "shop", Action: certmedic.ActionRenew, By: "test", DryRun: true})
	if err != nil || !strings.Contains(answer.Detail, "renewed where it is published") {
		t.Errorf("a renewal where it is not issued: %q, %v", answer.Detail, err)
	}
	plain := mint.Must(filepath.Glob(filepath.Join(p.shared, "shop/versions/*/*/privkey.pem")))
	if len(plain) != 0 {
		t.Errorf("private keys are in plain sight: %q", plain)
	}
}

// TestNothingBadIsPublished holds that an expired version is not handed on, and what cannot be handed on is said.
func TestNothingBadIsPublished(t *testing.T) {
	p := newPair(t)
	from := p.from.start(t)
	waitFor(t, "the first version is published", func() bool { return from.view(t).Supply.Published != "" })
	first := from.view(t).Supply.Published
	ended := mint.Must(p.from.issuing.Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}))
	p.from.write(t, "key.pem", string(mint.Must(ended.KeyPEM())))
	p.from.write(t, "cert.pem", string(ended.FullchainPEM()))
	waitFor(t, "the expired version is stored", func() bool { v := from.view(t); return version(v) != first && version(v) != "" })
	time.Sleep(3 * time.Second)
	if v := from.view(t); v.Supply.Published != first {
		t.Errorf("version %s is published", v.Supply.Published.Short())
	}
	to := p.to.start(t)
	waitFor(t, "who follows has the first version", func() bool { return version(to.view(t)) == first })
	if err := os.WriteFile(filepath.Join(p.shared, "shop/current.json/99"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "what must not be believed is said", func() bool { return to.view(t).Supply.Failing != "" })
	p.from.renew(t)
	waitFor(t, "what cannot be published is said", func() bool { return from.view(t).Supply.Unpublished != "" })
	if version(to.view(t)) != first {
		t.Error("the copy is another one")
	}
}

// TestUnfitCopy holds that a copy that was damaged is found out before it is needed.
func TestUnfitCopy(t *testing.T) {
	p := newPair(t)
	p.from.start(t)
	to := p.to.start(t)
	waitFor(t, "the copy is fit", func() bool { v := to.view(t); return !v.Supply.Tested.IsZero() && v.Supply.Unfit == "" })
	p.to.write(t, "root.pem", string(mint.Must(mint.NewCA("another root")).PEM()))
	if err := to.stop(); err != nil {
		t.Fatal(err)
	}
	to = p.to.start(t)
	waitFor(t, "a chain that is not trusted here is unfit", func() bool { return strings.Contains(to.view(t).Supply.Unfit, "untrusted") })
	waitFor(t, "the rule holds", func() bool {
		for _, in := range to.view(t).Incidents {
			if in.Rule == "standby-unfit" && in.State == certmedic.StateFiring {
				return true
			}
		}
		return false
	})
}
