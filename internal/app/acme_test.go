package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/remediate/deny"
	"github.com/certmedic/certmedic/rules"
)

// TestWaysOfACME shows what is made of a configuration in which certmedic itself renews.
func TestWaysOfACME(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	env := filepath.Join(dir, "dns.env")
	if err := os.WriteFile(env, []byte("A=b"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Parse("x", []byte(`state_dir: `+dir+`/state
certificates:
  - name: shop
    source:
      acme:
        email: ops@shop.test
        domains: [Bücher.test, "*.Shop.test"]
        challenge: {dns-01: {provider: exec, env_file: `+env+`}}
        reuse_key: true
        fallback: {directory: https://other.test/dir, email: dev@shop.test, after: 2}
        pre_hook: [/bin/true]
  - name: plain
    source: {files: {cert: `+dir+`/a.pem, key: `+dir+`/a.key}}
    renew: {acme: {directory: https://ca.test/dir, challenge: {http-01: {}}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(filepath.Join(dir, "state"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	denied, err := deny.Open(filepath.Join(dir, "state", "denied.json"))
	if err != nil {
		t.Fatal(err)
	}
	spki := certmedic.Fingerprint(strings.Repeat("ab", 32))
	if _, _, err := denied.Deny(deny.Entry{SPKI: spki}); err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := s.SaveRenewal("shop", store.Renewal{Version: "a1", Window: &rules.Window{Start: start, End: start.Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	a := &App{o: Options{Self: "/usr/bin/certmedic"}, store: s, denied: denied, dir: c.StateDir}
	ways, all := a.ways(c), config.Certificates(c)

	way, err := ways(all[0])
	if err != nil || way.ACME == nil {
		t.Fatal(way, err)
	}
	w := way.ACME
	folder := filepath.Join(dir, "state", "acme", "shop")
	if !slices.Equal(w.Names, []string{"xn--bcher-kva.test", "*.shop.test"}) || w.Store.Folder != folder || w.Store.Files != nil || !w.ReuseKey || w.After != 2 || !slices.Equal(w.Denied, []certmedic.Fingerprint{spki}) {
		t.Errorf("%+v", w)
	}
	if first, next := w.First.Order, w.Next.Order; first.Work == next.Work || first.Account.Email != "ops@shop.test" || next.Account.Email != "dev@shop.test" || next.Directory != "https://other.test/dir" || next.Challenge.DNS01 == nil || w.Next.Staging != "" || !strings.Contains(w.First.Staging, "staging") {
		t.Errorf("%+v\n%+v", w.First, w.Next)
	}
	if w.Window.Version != "a1" || !w.Window.Start.Equal(start) || w.Last.Version != "" {
		t.Errorf("the window is %+v, the last version %+v", w.Window, w.Last)
	}
	if way, err := ways(all[1]); err != nil || way.ACME == nil || way.ACME.Store.Files == nil || way.ACME.Store.Files.Key != filepath.Join(dir, "a.key") || len(way.ACME.Names) > 0 {
		t.Errorf("into files: %+v, %v", way.ACME, err)
	}
	if err := os.Chmod(env, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ways(all[0]); err == nil || !strings.Contains(err.Error(), env) {
		t.Errorf("credentials that others may read: %v", err)
	}
}
