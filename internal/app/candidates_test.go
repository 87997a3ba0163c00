package app

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/tree"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/remediate/deny"
	"github.com/certmedic/certmedic/remediate/rollback"
)

const day = 24 * time.Hour

// past is a lineage with a past, an authority that answers about it, and certmedic beside them.
type past struct {
	tree.Tree
	issuing  *mint.CA
	lists    *httptest.Server // the revocation list, at /crl
	ca       *httptest.Server // what an ACME CA says about renewals
	crl      atomic.Pointer[[]byte]
	windows  map[string]string // by the number in the name of a version: what the CA answers about it
	asked    atomic.Int32      // about renewals
	versions []mint.Pair
	app      *App
	g        *generation
	cert     certmedic.Certificate
}

func newPast(t *testing.T) *past {
	t.Helper()
	dir := t.TempDir()
	root := mint.Must(mint.NewCA("root"))
	p := &past{Tree: tree.At(dir), issuing: mint.Must(root.Intermediate("issuing")), windows: map[string]string{}}
	check(t, p.Prepare())
	check(t, os.WriteFile(filepath.Join(dir, "root.pem"), root.PEM(), 0o600))
	p.revoke(t)
	p.lists = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*p.crl.Load()) }))
	t.Cleanup(p.lists.Close)
	p.startCA(t, root)
	check(t, os.WriteFile(filepath.Join(dir, "certmedic.yml"), fmt.Appendf(nil, `state_dir: %s
probe: {roots: [%s], revocation: off}
certificates:
  - name: shop
    source: {certbot: {config_dir: %s, lineage: shop}}
    endpoints: [{address: "127.0.0.1:1", server_name: www.shop.test}]
    remediation: {allow: [rollback]}
`, filepath.Join(dir, "state"), filepath.Join(dir, "root.pem"), p.ConfigDir), 0o600))
	return p
}

// startCA starts what a CA says about renewals.
func (p *past) startCA(t *testing.T, root *mint.CA) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /directory", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"newNonce":"%[1]s/x","newAccount":"%[1]s/x","newOrder":"%[1]s/x","revokeCert":"%[1]s/x","keyChange":"%[1]s/x","renewalInfo":"%[1]s/ari"}`, p.ca.URL)
	})
	mux.HandleFunc("GET /ari/{id}", func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		answer, ok := p.windows[r.PathValue("id")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, answer)
	})
	p.ca = httptest.NewUnstartedServer(mux)
	pair := mint.Must(root.Leaf(mint.Leaf{Names: []string{"127.0.0.1"}}))
	p.ca.TLS = &tls.Config{Certificates: []tls.Certificate{pair.TLS()}}
	p.ca.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.ca.StartTLS()
	t.Cleanup(p.ca.Close)
}

// revoke publishes a list of these certificates.
func (p *past) revoke(t *testing.T, certs ...*x509.Certificate) {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, p.issuing.Cert, p.issuing.Key)
	check(t, err)
	p.crl.Store(&der)
}

// add renews the lineage by a version that was issued so many days ago.
func (p *past) add(t *testing.T, age int, change func(*mint.Leaf)) mint.Pair {
	t.Helper()
	leaf := mint.Leaf{Names: []string{"shop.test", "www.shop.test"}, NotBefore: time.Now().Add(-time.Duration(age) * day)}
	leaf.Change = func(c *x509.Certificate) { c.CRLDistributionPoints = []string{p.lists.URL + "/crl"} }
	if change != nil {
		change(&leaf)
	}
	pair := mint.Must(p.issuing.Leaf(leaf))
	number, err := p.Save("shop", tree.Version{Cert: pair.CertPEM(), Chain: pair.ChainPEM(), Privkey: mint.Must(pair.KeyPEM())})
	check(t, err)
	check(t, p.WriteConf("shop", []tree.Param{{Key: "authenticator", Value: "webroot"}, {Key: "server", Value: p.ca.URL + "/directory"}}))
	if p.versions = append(p.versions, pair); number != len(p.versions) {
		t.Fatalf("version %d got number %d", len(p.versions), number)
	}
	return pair
}

// open opens certmedic, as a command does.
func (p *past) open(t *testing.T) {
	t.Helper()
	c, _, err := Load(filepath.Join(filepath.Dir(p.ConfigDir), "certmedic.yml"))
	check(t, err)
	offline, err := OpenOffline(c, true, Options{Version: "test", Log: slog.New(slog.DiscardHandler)})
	check(t, err)
	t.Cleanup(func() { check(t, offline.Close()) })
	p.app, p.g = offline.app, offline.g
	p.cert = p.g.certificates[0]
}

// find returns the candidates, by the place of their version in the lineage. Where a version is
// in the archive too, the kept one stands for both, of which the same has to be known.
func (p *past) find(t *testing.T) map[int]rollback.Candidate {
	t.Helper()
	stored := disk.Read(p.cert.Source, time.Now())
	all, err := p.app.candidates(t.Context(), p.g, p.cert, stored)
	check(t, err)
	found := map[int]rollback.Candidate{}
	for _, c := range all {
		leaf, _ := c.Leaf()
		n := 1 + slices.IndexFunc(p.versions, func(v mint.Pair) bool { return inspect.Facts(v.Cert).SHA256 == leaf.SHA256 })
		kept, twice := found[n]
		if twice && (kept.Origin != rollback.FromSnapshot || c.Origin != rollback.FromArchive || kept.Unknown != c.Unknown || len(kept.Problems) != len(c.Problems)) {
			t.Errorf("version %d is there as %+v and as %+v", n, kept, c)
		}
		if !twice {
			found[n] = c
		}
	}
	return found
}

// ariID names a certificate to its CA (RFC 9773, section 4.1).
func ariID(c *x509.Certificate) string {
	serial := c.SerialNumber.Bytes()
	if serial[0] >= 0x80 {
		serial = append([]byte{0}, serial...)
	}
	return base64.RawURLEncoding.EncodeToString(c.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(serial)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestArchivedCandidates looks at an archive in which everything is wrong with one version each.
func TestArchivedCandidates(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	spoil := func(kind string) { // the version that was added last
		check(t, os.WriteFile(filepath.Join(p.Archive("shop"), fmt.Sprintf("%s%d.pem", kind, len(p.versions))), []byte("x"), 0o600))
	}
	p.add(t, 80, nil)
	revoked := p.add(t, 70, nil)
	p.add(t, 65, func(l *mint.Leaf) { l.Change = nil })
	p.add(t, 60, func(l *mint.Leaf) {
		l.Change = func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://127.0.0.1:1/crl"} }
	})
	p.add(t, 100, nil)
	p.add(t, 50, func(l *mint.Leaf) { l.Names = []string{"shop.test"} })
	p.add(t, 45, nil)
	spoil("privkey")
	denied := p.add(t, 40, nil)
	p.add(t, 35, nil)
	p.add(t, 30, nil)
	spoil("chain")
	check(t, os.Remove(filepath.Join(p.Archive("shop"), "chain9.pem")))
	p.revoke(t, revoked.Cert)
	p.open(t)
	_, _, err := p.app.denied.Deny(deny.Entry{SPKI: inspect.Facts(denied.Cert).SPKISHA256, By: "test", At: time.Now()})
	check(t, err)

	found := p.find(t)
	for n, want := range map[int]rollback.Reason{
		1: "", 2: rollback.Revoked, 3: "", 4: rollback.RevocationUnknown, 5: rollback.Expired, 6: rollback.NotCovering,
		7: rollback.WrongKey, 8: rollback.DeniedKey, 9: rollback.Broken, 10: rollback.Broken,
	} {
		need := rollback.Need{Now: time.Now(), Names: []string{"shop.test"}}
		c, rejected, ok := rollback.Choose(need, []rollback.Candidate{found[n]})
		if ok != (want == "") || !ok && rejected[0].Reason != want {
			t.Errorf("version %d: chosen %t, rejected %v, want %q", n, ok, rejected, want)
		}
		if ok && (c.Origin != rollback.FromArchive || c.Stored.Version != fmt.Sprint(n) || c.ChainEnds.IsZero() || len(c.Stored.Names) != 2) {
			t.Errorf("version %d: %+v", n, c)
		}
		if strings.Contains(fmt.Sprintf("%+v", found[n]), "PRIVATE KEY-") {
			t.Errorf("version %d tells its key", n)
		}
	}
	if len(found) != 10 || p.asked.Load() != 3 {
		t.Errorf("%d candidates, and the CA was asked about %d versions, want 3: 1, 3 and 4", len(found), p.asked.Load())
	}
}

func TestKeptCandidates(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.open(t)
	for age := range 3 {
		p.add(t, 60-20*age, nil)
		_, err := p.app.snapshots.Take("shop", disk.Read(p.cert.Source, time.Now()), []string{"127.0.0.1:443"}, time.Now())
		check(t, err)
	}
	check(t, errors.Join(os.RemoveAll(p.Archive("shop")), os.Mkdir(p.Archive("shop"), 0o700))) // certbot keeps few
	second, err := p.app.snapshots.Open("shop", inspect.Facts(p.versions[1].Cert).SHA256)
	check(t, err)
	check(t, os.WriteFile(second.Files.Fullchain, []byte("x"), 0o600))
	p.revoke(t, p.versions[2].Cert)

	found := p.find(t)
	if c := found[1]; c.Origin != rollback.FromSnapshot || c.Broken != "" || len(c.Problems) > 0 || c.Unknown != "" || c.Stored.Files.Privkey == "" {
		t.Errorf("the first, which is good: %+v", c)
	}
	if c := found[2]; !strings.Contains(c.Broken, "was changed since it was kept") {
		t.Errorf("the second, which was changed: %+v", c)
	}
	if c := found[3]; !certmedic.HasFinding(c.Problems, certmedic.Revoked) {
		t.Errorf("the third, which was revoked: %+v", c)
	}
}

// TestAtMostTenCandidates has the newest of many, those that were put back under a new number once.
func TestAtMostTenCandidates(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.open(t)
	for n := range 14 {
		p.add(t, 70-n, func(l *mint.Leaf) { l.Change = nil })
	}
	again := p.versions[6] // a rollback by way of the archive
	_, err := p.Save("shop", tree.Version{Cert: again.CertPEM(), Chain: again.ChainPEM(), Privkey: mint.Must(again.KeyPEM())})
	check(t, err)
	check(t, p.Point("shop", 14))
	_, err = p.app.snapshots.Take("shop", disk.Read(p.cert.Source, time.Now()), nil, time.Now())
	check(t, err)
	found := p.find(t)
	if len(found) != maxCandidates || found[14].Origin != rollback.FromSnapshot || found[5].Origin != rollback.FromArchive {
		t.Errorf("%d candidates, the newest from the %s", len(found), found[14].Origin)
	}
}

// TestRecalled asks the CA: a window counts where it moved, or where the CA explains it.
func TestRecalled(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	const window = `{"suggestedWindow": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z"}%s}`
	starts := map[certmedic.Fingerprint]time.Time{}
	given := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for n, tt := range []struct {
		more string        // of the answer
		was  time.Duration // how much later the window once began
	}{{"", 0}, {"", day}, {"", -day}, {`, "explanationURL": "https://ca.test/incident"`, 0}, {`, "explanationURL": "javascript:alert()"`, 0}} {
		pair := p.add(t, 60-n, nil)
		p.windows[ariID(pair.Cert)] = fmt.Sprintf(window, tt.more)
		starts[inspect.Facts(pair.Cert).SHA256] = given.Add(tt.was)
	}
	never := p.add(t, 50, nil) // of which no window is known
	p.windows[ariID(never.Cert)] = fmt.Sprintf(window, "")
	p.open(t)
	check(t, p.app.store.SaveRenewal("shop", store.Renewal{Version: inspect.Facts(never.Cert).SHA256, Starts: starts}))

	for range 2 {
		found := p.find(t)
		for n, want := range map[int]string{1: "", 2: "once said 2026-03-02T00:00:00Z", 3: "", 4: "https://ca.test/incident", 5: "", 6: ""} {
			if c := found[n]; want == "" && c.Recalled != "" || !strings.Contains(c.Recalled, want) {
				t.Errorf("version %d is recalled %q, want %q", n, c.Recalled, want)
			}
		}
		if p.asked.Load() != 6 {
			t.Errorf("the CA was asked %d times about 6 versions", p.asked.Load())
		}
	}
}

func TestPlaceOfALineage(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.add(t, 10, nil)
	p.open(t)
	got, err := place(p.cert)
	check(t, err)
	conf := filepath.Join(p.ConfigDir, "renewal", "shop.conf")
	if got.Lineage != "shop" || got.Conf != conf || got.Live != p.Live("shop") || got.Archive != p.Archive("shop") || got.WorkDir != "" {
		t.Errorf("%+v", got)
	}
	if _, err := place(certmedic.Certificate{Name: "files", Source: certmedic.Source{Kind: certmedic.SourceFiles}}); err == nil {
		t.Error("files have a place in certbot's tree")
	}
	text, err := os.ReadFile(conf)
	check(t, err)
	for about, spoil := range map[string]func() error{
		"may be written by others": func() error { return os.Chmod(conf, 0o666) },
		"not in one folder": func() error {
			return os.WriteFile(conf, []byte(strings.Replace(string(text), "live/shop/chain", "live/blog/chain", 1)), 0o644)
		},
		"no such file": func() error { return os.Remove(conf) },
	} {
		check(t, errors.Join(os.WriteFile(conf, text, 0o644), os.Chmod(conf, 0o644), spoil()))
		if _, err := place(p.cert); err == nil || !strings.Contains(err.Error(), about) {
			t.Errorf("got %v, want %q", err, about)
		}
	}
}

// TestTheWindowsOfEarlierVersionsAreRemembered renews, and asks the CA about both versions.
func TestTheWindowsOfEarlierVersionsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdvised(t)
		first := inspect.Facts(a.leaf).SHA256
		a.run(time.Minute)
		a.renew()
		a.run(10 * time.Minute)
		second := inspect.Facts(a.leaf).SHA256
		starts := a.kept["shop"].Starts
		if want := a.start.Add(day); len(starts) != 2 || !starts[first].Equal(want) || !starts[second].Equal(want) {
			t.Errorf("the CA's windows began %v, want %v of both versions", starts, want)
		}
	})
}
