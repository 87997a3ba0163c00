package issuer_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/dnsd"
	"github.com/certmedic/certmedic/internal/lab/issuer"
	"github.com/certmedic/certmedic/internal/lab/port"
	"github.com/certmedic/certmedic/internal/lab/tree"
)

// world is an authority, its resolver and an issuer with an empty tree.
type world struct {
	ca     *ca.CA
	dns    *dnsd.Server
	issuer issuer.Issuer
	out    *bytes.Buffer
	ask    issuer.Request
}

func newWorld(t *testing.T) world {
	t.Helper()
	for key, value := range ca.Environment() {
		t.Setenv(key, value)
	}
	dns, err := dnsd.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dns.Stop)
	if err := dns.Set(dnsd.Any, "A 127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	http, err := port.Free(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Start(t.Context(), ca.Options{HTTPPort: http, Resolver: dns.Addr(), Validity: 48 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(authority.Stop)
	out := &bytes.Buffer{}
	return world{
		ca: authority, dns: dns, out: out,
		issuer: issuer.Issuer{Tree: tree.At(t.TempDir()), Client: authority.Client(), Out: out, Env: os.Environ()},
		ask:    issuer.Request{Server: authority.Directory(), Names: []string{"shop.test", "www.shop.test"}, HTTPPort: http},
	}
}

func (w world) file(t *testing.T, parts ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// hook writes an executable deploy hook of the tree.
func (w world) hook(t *testing.T, name, script string, mode os.FileMode) {
	t.Helper()
	if err := w.issuer.Tree.Prepare(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.issuer.Tree.HookDir("deploy"), name)
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestIssueThenRenew(t *testing.T) {
	w := newWorld(t)
	if err := w.issuer.Issue(t.Context(), w.ask); err != nil {
		t.Fatal(err)
	}
	first := w.verify(t)
	if err := w.issuer.Renew(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.out.String(), "No renewals were attempted.") || w.ca.Orders() != 1 {
		t.Errorf("a certificate that is not due: %d orders, %s", w.ca.Orders(), w.out)
	}
	if err := w.issuer.Renew(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	second := w.verify(t)
	if bytes.Equal(first, second) || w.ca.Orders() != 2 {
		t.Errorf("forced: %d orders, the same leaf: %t", w.ca.Orders(), bytes.Equal(first, second))
	}
	if latest, err := w.issuer.Tree.Latest("shop.test"); err != nil || latest != 2 {
		t.Errorf("the archive's latest version is %d, %v", latest, err)
	}
	if !strings.Contains(w.out.String(), "Congratulations, all renewals succeeded") {
		t.Errorf("no congratulations: %s", w.out)
	}
}

// verify checks the pair that live/ holds against the authority's root and returns its
// leaf in DER.
func (w world) verify(t *testing.T) []byte {
	t.Helper()
	live := w.issuer.Tree.Live("shop.test")
	full := w.file(t, live, "fullchain.pem")
	if _, err := tls.X509KeyPair(full, w.file(t, live, "privkey.pem")); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(full)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.file(t, live, "chain.pem"))
	options := x509.VerifyOptions{Roots: w.ca.Roots(), Intermediates: pool, DNSName: "www.shop.test"}
	if _, err := leaf.Verify(options); err != nil {
		t.Fatal(err)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Minute); life != 48*time.Hour {
		t.Errorf("the leaf is valid for %s, want 48h", life)
	}
	return leaf.Raw
}

func TestHooksRunInOrderWithCertbotsEnvironment(t *testing.T) {
	w := newWorld(t)
	seen := filepath.Join(t.TempDir(), "seen")
	w.hook(t, "20-second", "echo second >>"+seen, 0o755) // no #! line: sh runs it
	w.hook(t, "10-first", "#!/bin/sh\necho $RENEWED_DOMAINS $RENEWED_LINEAGE >>"+seen, 0o755)
	w.hook(t, "30-not-executable", "#!/bin/sh\necho never >>"+seen, 0o644)
	w.hook(t, "40-backup~", "#!/bin/sh\necho never >>"+seen, 0o755)
	w.ask.DeployHook = "echo 'of, the lineage' >>" + seen
	if err := w.issuer.Issue(t.Context(), w.ask); err != nil {
		t.Fatal(err)
	}
	if err := w.issuer.Renew(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	once := "shop.test www.shop.test " + w.issuer.Tree.Live("shop.test") + "\nsecond\nof, the lineage\n"
	if got := string(w.file(t, seen)); got != once+once {
		t.Errorf("the hooks wrote %q, want twice %q", got, once)
	}
}

func TestFailingHookIsASuccess(t *testing.T) {
	w := newWorld(t)
	if err := w.issuer.Issue(t.Context(), w.ask); err != nil {
		t.Fatal(err)
	}
	w.hook(t, "50-reload", "#!/bin/sh\necho 'cannot reach the web server' >&2\nexit 3", 0o755)
	if err := w.issuer.Renew(t.Context(), true); err != nil {
		t.Errorf("a failing hook fails the renewal: %v", err)
	}
	log := string(w.file(t, w.issuer.Tree.LogsDir, "letsencrypt.log"))
	for _, line := range []string{
		":INFO:certbot.compat.misc:Running deploy-hook command: " + w.issuer.Tree.HookDir("deploy") + "/50-reload\n",
		":WARNING:certbot.display.ops:Hook 'deploy-hook' reported error code 3\n",
		":WARNING:certbot.display.ops:Hook 'deploy-hook' ran with error output:\n cannot reach the web server\n",
	} {
		if !strings.Contains(log, line) {
			t.Errorf("the log has no %q:\n%s", line, log)
		}
	}
	if !strings.Contains(w.out.String(), "Congratulations, all renewals succeeded") {
		t.Errorf("no congratulations: %s", w.out)
	}
}

func TestARefusedChallengeFailsTheRenewal(t *testing.T) {
	w := newWorld(t)
	if err := w.issuer.Issue(t.Context(), w.ask); err != nil {
		t.Fatal(err)
	}
	before := w.verify(t)
	w.dns.Fail("www.shop.test", dnsd.ServFail)
	err := w.issuer.Renew(t.Context(), true)
	if !errors.Is(err, issuer.ErrRenewals) {
		t.Errorf("the renewal ends with %v", err)
	}
	if !strings.Contains(w.out.String(), "Failed to renew certificate shop.test with error: challenge for \"www.shop.test\"") {
		t.Errorf("the reason is not said: %s", w.out)
	}
	if after := w.verify(t); !bytes.Equal(before, after) {
		t.Error("the lineage has changed")
	}
}
