package check

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/tlsd"
	"github.com/certmedic/certmedic/internal/lab/tree"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/resolve"
)

const shop = "shop.test"

// lab is a small PKI with a checker that trusts its root.
type lab struct {
	t       *testing.T
	root    *mint.CA
	issuing *mint.CA
	checker *Checker
}

func newLab(t *testing.T) *lab {
	root := mint.Must(mint.NewCA("Lab Root"))
	return &lab{
		t: t, root: root, issuing: mint.Must(root.Intermediate("Lab Issuing")),
		checker: &Checker{Name: shop, Prober: probe.Prober{
			Lookup: new(resolve.Resolver).Lookup, Handshake: new(live.Dialer).Handshake,
			Roots: []inspect.Roots{{Name: "the lab", Pool: root.Pool()}},
			Warn:  inspect.Threshold{Share: 0.33}, Crit: inspect.Threshold{Share: 0.1}, Timeout: 5 * time.Second,
		}},
	}
}

func (l *lab) leaf() mint.Pair {
	return mint.Must(l.issuing.Leaf(mint.Leaf{Names: []string{shop}}))
}

// node serves a pair with a fault and returns its address.
func (l *lab) node(pair mint.Pair, fault tlsd.Fault) string {
	l.t.Helper()
	node, err := tlsd.Start(l.t.Context(), tlsd.Options{Name: "node", Issuer: l.issuing})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(node.Stop)
	if err := node.Serve(pair.TLS()); err != nil {
		l.t.Fatal(err)
	}
	if err := node.SetFault(fault); err != nil {
		l.t.Fatal(err)
	}
	return node.Addr()
}

// one checks a target that has one result.
func (l *lab) one(target string) Result {
	l.t.Helper()
	results := l.checker.Check(l.t.Context(), target)
	if len(results) != 1 {
		l.t.Fatalf("%s has %d results, want 1", target, len(results))
	}
	return results[0]
}

func (l *lab) file(name string, content []byte) string {
	l.t.Helper()
	path := filepath.Join(l.t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// lineage writes a lineage with the certificate of one pair and the key of another.
func (l *lab) lineage(tr tree.Tree, name string, pair, key mint.Pair) {
	l.t.Helper()
	if err := tr.Prepare(); err != nil {
		l.t.Fatal(err)
	}
	if _, err := tr.Save(name, tree.Version{Cert: pair.CertPEM(), Privkey: l.key(key), Chain: pair.ChainPEM()}); err != nil {
		l.t.Fatal(err)
	}
	if err := tr.WriteConf(name, []tree.Param{{Key: "authenticator", Value: "webroot"}}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) key(pair mint.Pair) []byte { return mint.Must(pair.KeyPEM()) }

// codes returns the codes of a result, those of its addresses first.
func codes(r Result) []certmedic.FindingCode {
	found := []certmedic.FindingCode{}
	for _, a := range r.Addresses {
		for _, f := range a.Findings {
			found = append(found, f.Code)
		}
	}
	for _, f := range r.Findings {
		found = append(found, f.Code)
	}
	return found
}

func TestCheckTellsFaultsOfEndpoints(t *testing.T) {
	l := newLab(t)
	l.checker.Handshake = (&live.Dialer{Timeout: 500 * time.Millisecond}).Handshake
	for _, row := range []struct {
		about  string
		fault  tlsd.Fault
		status certmedic.Status
		want   certmedic.FindingCode // "": none at all
		served bool                  // whether the certificate is told in spite of the fault
	}{
		{"a good endpoint has nothing", tlsd.None, certmedic.StatusOK, "", true},
		{"an expired leaf is told with its dates", tlsd.Expired, certmedic.StatusCritical, certmedic.Expired, true},
		{"a leaf for tomorrow", tlsd.NotYetValid, certmedic.StatusCritical, certmedic.NotYetValid, true},
		{"another name's leaf", tlsd.WrongName, certmedic.StatusCritical, certmedic.NameMismatch, true},
		{"a leaf without its issuer", tlsd.MissingIntermediate, certmedic.StatusCritical, certmedic.IncompleteChain, true},
		{"a leaf that signs itself", tlsd.SelfSigned, certmedic.StatusCritical, certmedic.SelfSigned, true},
		{"a peer that says nothing", tlsd.Stall, certmedic.StatusUnknown, certmedic.Timeout, false},
		{"a peer that resets", tlsd.Reset, certmedic.StatusUnknown, certmedic.Unreachable, false},
		{"a peer that speaks HTTP", tlsd.PlainHTTP, certmedic.StatusUnknown, certmedic.HandshakeFailed, false},
		{"a peer that wants to know us is fine", tlsd.ClientCert, certmedic.StatusOK, certmedic.ClientCertRequired, true},
	} {
		t.Run(row.about, func(t *testing.T) {
			r := l.one(l.node(l.leaf(), row.fault))
			if r.Status != row.status {
				t.Errorf("status is %s, want %s (%v)", r.Status, row.status, codes(r))
			}
			if found := codes(r); row.want == "" && len(found) > 0 || row.want != "" && !slices.Contains(found, row.want) {
				t.Errorf("findings are %v, want %q", found, row.want)
			}
			if got := r.Addresses[0].Reached(); got != row.served {
				t.Errorf("a certificate was told: %t, want %t", got, row.served)
			}
		})
	}
}

func TestCheckSeesEveryAddress(t *testing.T) {
	l := newLab(t)
	nodes, err := tlsd.StartGroup(t.Context(), tlsd.Options{Name: "shop"}, "127.0.0.1", "127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	stale, fresh := l.leaf(), l.leaf()
	for i, pair := range []mint.Pair{stale, fresh} {
		t.Cleanup(nodes[i].Stop)
		if err := nodes[i].Serve(pair.TLS()); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := net.SplitHostPort(nodes[0].Addr())
	target := net.JoinHostPort(shop, port)
	l.checker.Override = map[string][]netip.Addr{target: {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}}

	r := l.one(target)
	if want := []certmedic.FindingCode{certmedic.SplitServing}; !slices.Equal(codes(r), want) || r.Status != certmedic.StatusWarning {
		t.Errorf("two versions have %v and status %s, want %v and warning", codes(r), r.Status, want)
	}

	stored, err := ReadStored(disk.Reader{}, l.file("fullchain.pem", fresh.FullchainPEM()))
	if err != nil {
		t.Fatal(err)
	}
	l.checker.Stored = stored
	r = l.one(target)
	if want := []certmedic.FindingCode{certmedic.SplitServing, certmedic.Drift}; !slices.Equal(codes(r), want) {
		t.Fatalf("findings are %v, want %v", codes(r), want)
	}
	if detail := r.Findings[1].Detail; !strings.HasPrefix(detail, "127.0.0.1:") {
		t.Errorf("drift is told as %q, want it of the stale address only", detail)
	}
	if r.Stored == nil || r.Stored.Chain[0].SHA256 != inspect.Facts(fresh.Cert).SHA256 {
		t.Errorf("stored is %v, want the fresh version", r.Stored)
	}
}

func TestCheckAsOfAnotherTime(t *testing.T) {
	l := newLab(t)
	address := l.node(l.leaf(), tlsd.None)
	file := l.file("fullchain.pem", l.leaf().FullchainPEM())
	for _, row := range []struct {
		about string
		days  int
		want  []certmedic.FindingCode
	}{
		{"yesterday it was not valid yet", -1, []certmedic.FindingCode{certmedic.NotYetValid}},
		{"next week it is fine", 7, []certmedic.FindingCode{}},
		{"shortly before its end it is expiring", 80, []certmedic.FindingCode{certmedic.Expiring}},
		{"next year it has expired", 365, []certmedic.FindingCode{certmedic.Expired}},
	} {
		t.Run(row.about, func(t *testing.T) {
			l.checker.At = time.Now().AddDate(0, 0, row.days)
			for _, target := range []string{address, file} {
				if got := codes(l.one(target)); !slices.Equal(got, row.want) {
					t.Errorf("findings of %s are %v, want %v", target, got, row.want)
				}
			}
		})
	}
}

func TestCheckHoldsTheKeyAgainstTheLeaf(t *testing.T) {
	l := newLab(t)
	pair := l.leaf()
	address := l.node(pair, tlsd.None)
	for _, row := range []struct {
		about string
		key   mint.Pair
		want  []certmedic.FindingCode
	}{
		{"its own key fits", pair, []certmedic.FindingCode{}},
		{"another key does not", l.leaf(), []certmedic.FindingCode{certmedic.KeyMismatch}},
	} {
		key, err := ReadKey(disk.Reader{}, l.file("key.pem", l.key(row.key)))
		if err != nil {
			t.Fatal(err)
		}
		l.checker.Key = key
		if got := codes(l.one(address)); !slices.Equal(got, row.want) {
			t.Errorf("%s: findings are %v, want %v", row.about, got, row.want)
		}
	}
}

func TestReadKeyRefusesWhatIsNoKey(t *testing.T) {
	l := newLab(t)
	for _, row := range []struct{ about, content, want string }{
		{"a certificate", string(l.leaf().CertPEM()), "no private key in the file"},
		{"an encrypted key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "is encrypted"},
		{"half of a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "reading the key"},
		{"nothing", "", "no private key in the file"},
		{"too much", strings.Repeat("x", maxKeySize+1), "has more than"},
	} {
		_, err := ReadKey(disk.Reader{}, l.file("key.pem", []byte(row.content)))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: the error is %v, want %q", row.about, err, row.want)
		}
	}
	if _, err := ReadKey(disk.Reader{}, filepath.Join(t.TempDir(), "none.pem")); err == nil {
		t.Error("a missing key is no error")
	}
}

func TestCheckReadsPaths(t *testing.T) {
	l := newLab(t)
	pair := l.leaf()
	lineages := tree.At(t.TempDir())
	l.lineage(lineages, "blog.test", pair, l.leaf())
	l.lineage(lineages, shop, pair, pair)
	missing := filepath.Join(t.TempDir(), "none.pem")
	for _, row := range []struct {
		about, path string
		statuses    []certmedic.Status
		want        certmedic.FindingCode
	}{
		{"a file in PEM", l.file("fullchain.pem", pair.FullchainPEM()), []certmedic.Status{certmedic.StatusOK}, ""},
		{"a file in DER cannot hold more than the leaf", l.file("cert.der", pair.Cert.Raw), []certmedic.Status{certmedic.StatusOK}, ""},
		{"a full chain has to be one", l.file("fullchain.pem", pair.CertPEM()), []certmedic.Status{certmedic.StatusCritical}, certmedic.IncompleteChain},
		{"a bundle that services load as it is", l.file("shop.pem", append(pair.CertPEM(), l.key(pair)...)), []certmedic.Status{certmedic.StatusCritical}, certmedic.IncompleteChain},
		{"a file of something else", l.file("notes.txt", []byte("hello")), []certmedic.Status{certmedic.StatusCritical}, certmedic.NotACertificate},
		{"a file that is missing", missing, []certmedic.Status{certmedic.StatusUnknown}, certmedic.FileMissing},
		{"a folder of something else", t.TempDir(), []certmedic.Status{certmedic.StatusUnknown}, certmedic.FileUnreadable},
		{"a lineage", lineages.Live(shop), []certmedic.Status{certmedic.StatusOK}, ""},
		{"a lineage with another's key", lineages.Live("blog.test"), []certmedic.Status{certmedic.StatusCritical}, certmedic.KeyMismatch},
		{"a whole tree", lineages.ConfigDir, []certmedic.Status{certmedic.StatusCritical, certmedic.StatusOK}, certmedic.KeyMismatch},
	} {
		t.Run(row.about, func(t *testing.T) {
			var statuses []certmedic.Status
			var found []certmedic.FindingCode
			for _, r := range l.checker.Check(t.Context(), row.path) {
				statuses = append(statuses, r.Status)
				found = append(found, codes(r)...)
				if len(r.Addresses) != 1 || r.Addresses[0].Protocol != "file" {
					t.Errorf("addresses are %v, want the file", r.Addresses)
				}
			}
			if !slices.Equal(statuses, row.statuses) {
				t.Errorf("statuses are %v, want %v (%v)", statuses, row.statuses, found)
			}
			if row.want != "" && !slices.Contains(found, row.want) {
				t.Errorf("findings are %v, want %s", found, row.want)
			}
		})
	}
}

func TestReadStoredNeedsOneCertificate(t *testing.T) {
	l := newLab(t)
	pair := l.leaf()
	lineages := tree.At(t.TempDir())
	l.lineage(lineages, "blog.test", pair, pair)
	l.lineage(lineages, shop, pair, pair)
	if s, err := ReadStored(disk.Reader{}, lineages.Live(shop)); err != nil || s.Version != "1" || len(s.Chain) != 2 {
		t.Errorf("a lineage is read as %v, %v", s, err)
	}
	for about, path := range map[string]string{
		"more than one lineage": lineages.ConfigDir,
		"holds no certificate":  l.file("notes.txt", []byte("hello")),
		"no such file":          filepath.Join(t.TempDir(), "none.pem"),
	} {
		if _, err := ReadStored(disk.Reader{}, path); err == nil {
			t.Errorf("%s: no error", about)
		}
	}
}

func TestParseTargetTellsPathsFromEndpoints(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("cert.pem", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		text, endpoint string // endpoint: "" for a path
		wrong          string // part of the error
	}{
		{"shop.test", "shop.test:443", ""},
		{"imaps://mail.test", "mail.test:993", ""},
		{"https://shop.test/basket", "shop.test:443", ""},
		{"[::1]:8443", "[::1]:8443", ""},
		{"cert.pem", "", ""},
		{"./other.pem", "", ""},
		{"..", "", ""},
		{"live/shop.test", "", ""},
		{"smtp://mail.test", "mail.test:25", ""},
		{"gopher://hole.test", "", `protocol "gopher" is not supported`},
		{"shop.test:0", "", "port"},
		{"", "", "host"},
	} {
		got, err := ParseTarget(row.text)
		switch {
		case row.wrong != "":
			if err == nil || !strings.Contains(err.Error(), row.wrong) {
				t.Errorf("%q: the error is %v, want %q", row.text, err, row.wrong)
			}
		case err != nil || got.Path != (row.endpoint == "") || got.Endpoint.Address != row.endpoint:
			t.Errorf("%q is %+v, %v, want %q", row.text, got, err, row.endpoint)
		}
	}
}

func TestResultsHaveNoNullLists(t *testing.T) {
	l := newLab(t)
	l.checker.Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
	for _, target := range []string{l.node(l.leaf(), tlsd.None), "nowhere.test", "not a target", "/no/such/file"} {
		data, err := json.Marshal(l.one(target))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "null") {
			t.Errorf("%s: %s", target, data)
		}
	}
}
