package acme_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/acme"
)

func TestObtain(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	r := a.request(t, "Shop.Test.", "bücher.shop.test", "shop.test")
	issued, chain, out := a.obtain(t, r)
	if !sameNames(chain[0].DNSNames, "shop.test", "xn--bcher-kva.shop.test") {
		t.Errorf("names %q", chain[0].DNSNames)
	}
	if _, ok := chain[0].PublicKey.(*ecdsa.PublicKey); !ok || issued.Version != fingerprint(chain[0].Raw) || issued.Replaced || issued.Resumed {
		t.Errorf("issued %+v with a %T", issued, chain[0].PublicKey)
	}
	for _, line := range []string{"account registered: ", "order placed: " + issued.Order, "shop.test: http-01 valid", "order finalized", "version " + issued.Version.Short()} {
		if !strings.Contains(out, line) {
			t.Errorf("the output lacks %q:\n%s", line, out)
		}
	}
	if strings.Contains(out, "PRIVATE") {
		t.Errorf("the output tells a key:\n%s", out)
	}

	again, _, _ := a.obtain(t, r)
	if again.Version != issued.Version || !again.Resumed || a.placed() != 1 {
		t.Errorf("before it was closed: %+v, %d orders", again, a.placed())
	}
	must(t, acme.Close(r))
	if entries := mint.Must(os.ReadDir(r.Work)); len(entries) != 1 {
		t.Errorf("after it was closed there is %v", entries)
	}
	next, nextChain, _ := a.obtain(t, r)
	if next.Version == issued.Version || a.placed() != 2 || a.asked("sign-me-up") != 1 {
		t.Errorf("after it was closed: %+v, %d orders, %d registrations", next, a.placed(), a.asked("sign-me-up"))
	}
	if nextChain[0].PublicKey.(*ecdsa.PublicKey).Equal(chain[0].PublicKey) {
		t.Error("the key was used again without being asked for")
	}
}

func fingerprint(der []byte) certmedic.Fingerprint {
	sum := sha256.Sum256(der)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

func spki(cert *x509.Certificate) certmedic.Fingerprint {
	return fingerprint(cert.RawSubjectPublicKeyInfo)
}

func TestWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	alternate := a.pebble.GetRootCert(1).Cert.Subject.CommonName
	for _, tt := range []struct {
		about  string
		change func(*acme.Request)
		wrong  func(chain []*x509.Certificate, out string) bool
	}{
		{"an RSA key and another chain", func(r *acme.Request) { r.KeyType, r.PreferredChain = "rsa2048", alternate }, func(chain []*x509.Certificate, _ string) bool {
			key, ok := chain[0].PublicKey.(*rsa.PublicKey)
			return !ok || key.N.BitLen() != 2048 || chain[len(chain)-1].Issuer.CommonName != alternate
		}},
		{"a larger curve and must-staple", func(r *acme.Request) { r.KeyType, r.MustStaple = "ec384", true }, func(chain []*x509.Certificate, _ string) bool {
			key, ok := chain[0].PublicKey.(*ecdsa.PublicKey)
			return !ok || key.Curve.Params().BitSize != 384 || !hasExtension(chain[0], asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24})
		}},
		{"an address and a profile", func(r *acme.Request) { r.Names, r.Profile = []string{"::ffff:127.0.0.1"}, "short" }, func(chain []*x509.Certificate, _ string) bool {
			return len(chain[0].IPAddresses) != 1 || !chain[0].IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) || chain[0].NotAfter.Sub(chain[0].NotBefore) > 7*24*time.Hour
		}},
		{"a chain that is not there", func(r *acme.Request) { r.PreferredChain = "Old Root" }, func(chain []*x509.Certificate, out string) bool {
			return chain[len(chain)-1].Issuer.CommonName == alternate || !strings.Contains(out, `no chain with the issuer "Old Root"`)
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			r := a.request(t, "shop.test")
			tt.change(&r)
			_, chain, out := a.obtain(t, r)
			if tt.wrong(chain, out) {
				t.Errorf("not what was asked for:\n%s", out)
			}
		})
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func hasExtension(c *x509.Certificate, id asn1.ObjectIdentifier) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return true
		}
	}
	return false
}

func TestTLSALPN01(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	r := a.request(t, "shop.test", "www.shop.test", "127.0.0.1")
	r.Challenge = acme.Challenge{TLSALPN01: &acme.TLSALPN01{Listen: net.JoinHostPort("127.0.0.1", itoa(a.tlsPort))}}
	_, chain, out := a.obtain(t, r)
	if len(chain[0].DNSNames) != 2 || len(chain[0].IPAddresses) != 1 || strings.Count(out, "tls-alpn-01 valid") != 3 {
		t.Errorf("%q and %v\n%s", chain[0].DNSNames, chain[0].IPAddresses, out)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	first := a.request(t, "shop.test")
	issued, chain, _ := a.obtain(t, first)

	r := a.request(t, "shop.test")
	r.ReuseKey = issued.Privkey
	if _, same, _ := a.obtain(t, r); spki(same[0]) != spki(chain[0]) {
		t.Error("the key to use again was not used")
	}
	fresh := a.request(t, "shop.test")
	a.obtain(t, fresh)
	fresh.ReuseKey = issued.Privkey
	if _, same, out := a.obtain(t, fresh); spki(same[0]) != spki(chain[0]) || !strings.Contains(out, "not the one to use again") {
		t.Errorf("a certificate with another key was at hand, and taken:\n%s", out)
	}
	r.Denied = []certmedic.Fingerprint{spki(chain[0])}
	orders := a.placed()
	wantError(t, r, acme.KindKey, "denied")
	r.ReuseKey, r.KeyType, r.Denied = issued.Privkey, "rsa2048", nil
	wantError(t, r, acme.KindKey, "ec256")
	must(t, os.Chmod(issued.Privkey, 0o644))
	r.KeyType = "ec256"
	wantError(t, r, acme.KindKey, "may be read by others")
	must(t, os.Chmod(issued.Privkey, 0o600))
	if a.placed() != orders {
		t.Errorf("%d orders were placed for keys that cannot be used", a.placed()-orders)
	}

	first.Denied = []certmedic.Fingerprint{spki(chain[0])}
	if _, other, out := a.obtain(t, first); spki(other[0]) == spki(chain[0]) || !strings.Contains(out, "its key is denied") {
		t.Errorf("a denied key is handed out again:\n%s", out)
	}
}

// TestDeniedMeanwhile denies the key of an order that waits: the same order gets another key.
func TestDeniedMeanwhile(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	r := a.request(t, "shop.test")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := acme.ObtainAt(ctx, r, new(bytes.Buffer), func(point string) {
		if strings.HasPrefix(point, "before POST /finalize") {
			cancel()
		}
	})
	if err == nil {
		t.Fatal("it was not interrupted")
	}
	paths, _ := filepath.Glob(filepath.Join(r.Work, "order-*", "privkey.pem"))
	if len(paths) != 1 {
		t.Fatalf("the order has the keys %q", paths)
	}
	r.Denied = []certmedic.Fingerprint{fingerprint(mint.Must(x509.MarshalPKIXPublicKey(readKey(t, paths[0]).Public())))}
	issued, chain, out := a.obtain(t, r)
	if spki(chain[0]) == r.Denied[0] || a.placed() != 1 || !issued.Resumed {
		t.Errorf("%d orders, issued %+v\n%s", a.placed(), issued, out)
	}
}

func TestReplaces(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	first := a.request(t, "shop.test")
	issued, chain, _ := a.obtain(t, first)

	r := a.request(t, "shop.test")
	r.Account, r.Replaces = first.Account, issued.Cert
	if next, _, out := a.obtain(t, r); !next.Replaced {
		t.Errorf("the CA knows nothing of a replacement:\n%s", out)
	}
	must(t, acme.Close(r))
	if next, _, out := a.obtain(t, r); next.Replaced || !strings.Contains(out, "does not take it as the replacement") {
		t.Errorf("it was replaced before: %+v\n%s", next, out)
	}
	r = a.request(t, "shop.test")
	r.Replaces = issued.Cert
	if next, _, _ := a.obtain(t, r); next.Replaced {
		t.Error("another account replaced it")
	}
	if a.placed() != 4 {
		t.Errorf("%d orders were placed, want 4", a.placed())
	}

	first.Replaces = filepath.Join(t.TempDir(), "cert.pem") // it was installed, but not closed
	write(t, first.Replaces, mint.PEM(chain[0]))
	if next, _, _ := a.obtain(t, first); next.Version == issued.Version {
		t.Error("the certificate that is to be replaced is handed out once more")
	}
}

// TestAnotherRequest shows that orders for different things in one work folder do not mix.
func TestAnotherRequest(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	r := a.request(t, "shop.test")
	issued, _, _ := a.obtain(t, r)
	other := r
	other.Names = []string{"www.shop.test"}
	if next, chain, _ := a.obtain(t, other); next.Version == issued.Version || !sameNames(chain[0].DNSNames, "www.shop.test") {
		t.Errorf("issued %+v for %q", next, chain[0].DNSNames)
	}
	if again, _, _ := a.obtain(t, r); again.Version != issued.Version || a.placed() != 2 {
		t.Errorf("the first order was lost: %d orders", a.placed())
	}
	must(t, acme.Close(r))
	if left, _ := filepath.Glob(filepath.Join(r.Work, "order-*")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	r := a.request(t, "shop.test")
	var inner error
	_, err := acme.ObtainAt(t.Context(), r, new(bytes.Buffer), func(point string) {
		if inner == nil {
			_, inner = acme.Obtain(t.Context(), r, new(bytes.Buffer))
		}
	})
	var told *acme.Error
	if err != nil || !errors.As(inner, &told) || told.Kind != acme.KindBusy {
		t.Errorf("beside each other: %v and %v", err, inner)
	}
	if a.placed() != 1 {
		t.Errorf("%d orders", a.placed())
	}
}

func TestPortConflict(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	for _, challenge := range []acme.Challenge{
		{HTTP01: &acme.HTTP01{}}, {TLSALPN01: &acme.TLSALPN01{}},
	} {
		listener := mint.Must(net.Listen("tcp", "127.0.0.1:0"))
		defer listener.Close()
		if challenge.HTTP01 != nil {
			challenge.HTTP01.Listen = listener.Addr().String()
		} else {
			challenge.TLSALPN01.Listen = listener.Addr().String()
		}
		r := a.request(t, "shop.test")
		r.Challenge = challenge
		wantError(t, r, acme.KindPortConflict, listener.Addr().String(), "(process "+itoa(os.Getpid())+")")
	}
	if a.placed() != 0 {
		t.Error("orders were placed that cannot be fulfilled")
	}
}

func TestFailedChallenge(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	must(t, a.dns.Set("nowhere.shop.test"))
	r := a.request(t, "shop.test", "nowhere.shop.test")
	told := wantError(t, r, acme.KindChallenge, "some challenges have failed: 1 of 2")
	if len(told.Failures) != 1 || told.Failures[0].Name != "nowhere.shop.test" || told.Failures[0].Detail == "" || !strings.HasPrefix(told.Failures[0].Type, "urn:ietf:params:acme:error:") {
		t.Errorf("failures %+v", told.Failures)
	}
	if lines := told.Lines(); len(lines) != 2 || !strings.Contains(lines[1], "nowhere.shop.test: urn:") || !strings.Contains(lines[1], "detail: ") {
		t.Errorf("lines %q", lines)
	}
	must(t, a.dns.Set("nowhere.shop.test", "A 127.0.0.1"))
	if issued, _, _ := a.obtain(t, r); issued.Resumed || a.placed() != 2 {
		t.Errorf("after a failed challenge: %+v, %d orders", issued, a.placed())
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	stranger := mint.Must(mint.SelfSigned(mint.Leaf{Names: []string{"shop.test"}}))
	until := time.Now().Add(7 * time.Hour).UTC().Truncate(time.Second)
	for _, tt := range []struct {
		about  string
		path   string
		answer http.HandlerFunc
		kind   acme.Kind
		words  string
		until  time.Time
		orders int // that are there when it was tried once more
	}{
		{"a rate limit with a header", newOrderPath, refuse(429, "rateLimited", "too many new orders", "Retry-After", "25200"), acme.KindRateLimited, "too many new orders", until, 1},
		{"a rate limit with a date in its text", newOrderPath, refuse(429, "rateLimited", "too many certificates (5) already issued, retry after "+until.Format("2006-01-02 15:04:05 MST")+": see https://ca.test"), acme.KindRateLimited, "too many certificates", until, 1},
		{"a pause", newOrderPath, refuse(429, "rateLimited", "Your account is temporarily prevented from requesting certificates for shop.test and possibly others. Please visit: https://ca.test/unpause?jwt=a.b.c"), acme.KindPaused, "https://ca.test/unpause", time.Time{}, 1},
		{"CAA", newOrderPath, refuse(403, "caa", "CAA record for shop.test prevents issuance"), acme.KindCAA, "CAA record", time.Time{}, 1},
		{"a name that is not allowed", newOrderPath, refuse(400, "rejectedIdentifier", "policy forbids"), acme.KindInvalid, "policy forbids", time.Time{}, 1},
		{"an account that may not", newOrderPath, refuse(403, "unauthorized", "the account is suspended"), acme.KindAccount, "suspended", time.Time{}, 1},
		{"a CA in trouble", newOrderPath, refuse(503, "serverInternal", "the service is down", "Retry-After", "25200"), acme.KindUnreachable, "down", until, 1},
		{"a page instead of a problem", newOrderPath, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>bad gateway\x1b[2J", http.StatusBadGateway)
		}, acme.KindUnreachable, "bad gateway", time.Time{}, 1},
		{"an account that is not good any more", "/my-account/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"status":"deactivated"}`)) }, acme.KindAccount, "deactivated", time.Time{}, 1},
		{"a refused registration", "/sign-me-up", refuse(400, "externalAccountRequired", "bind it"), acme.KindEAB, "bind it", time.Time{}, 1},
		{"a challenge that the CA does not look at", "/chalZ/", refuse(400, "malformed", "not now"), acme.KindInvalid, "not now", time.Time{}, 1},
		{"a key that is not accepted", "/finalize-order/", refuse(400, "badPublicKey", "weak"), acme.KindKey, "weak", time.Time{}, 1},
		{"an authorization for somebody else's name", "/authZ/", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"status":"pending","identifier":{"type":"dns","value":"bank.test"},"challenges":[{"type":"http-01","token":"x"}]}`))
		}, acme.KindRefused, "was not asked for", time.Time{}, 1},
		{"a challenge that is a path", "/authZ/", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"status":"pending","identifier":{"type":"dns","value":"shop.test"},"challenges":[{"type":"http-01","token":"../x"}]}`))
		}, acme.KindRefused, "not base64url", time.Time{}, 1},
		{"a certificate for another key", "/certZ/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(mint.PEM(stranger.Chain...)) }, acme.KindRefused, "its key is another one", time.Time{}, 1},
		{"an order that cannot be read", "/finalize-order/", refuse(500, "serverInternal", "oops"), acme.KindUnreachable, "oops", time.Time{}, 1},
	} {
		t.Run(tt.about, func(t *testing.T) {
			before := a.placed()
			r := a.request(t, "shop.test")
			a.replaceOnce(tt.path, tt.answer)
			told := wantError(t, r, tt.kind, tt.words)
			if d := told.Until.Sub(tt.until); d.Abs() > time.Minute && told.Until != tt.until {
				t.Errorf("until %v, want %v", told.Until, tt.until)
			}
			if strings.Contains(told.Lines()[0], "a.b.c") {
				t.Errorf("the first line tells the token: %q", told.Lines()[0])
			}
			if (tt.kind == acme.KindPaused) != (told.Unpause != "") || strings.ContainsRune(told.Error(), '\x1b') {
				t.Errorf("%q, to unpause: %q", told.Error(), told.Unpause)
			}
			a.obtain(t, r)
			if n := a.placed() - before; n != tt.orders {
				t.Errorf("%d orders in all, want %d", n, tt.orders)
			}
		})
	}
}

// TestLostOrders shows what becomes of orders of which something is lost.
func TestLostOrders(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	for i, tt := range []struct {
		about  string
		stop   string // where the first run is interrupted
		path   string // what the CA then answers otherwise, once
		answer http.HandlerFunc
		times  int32
		orders int
	}{
		{"the answer to the order", "after POST " + newOrderPath, "", nil, 0, 1},
		{"nothing, and the CA lists no orders", "before POST /authZ", "", nil, 0, 1},
		{"the order, at the CA", "before POST /finalize-order", "/my-order/", absent, 5, 2},
		{"nothing, but one of the CA's servers lags behind", "before POST /finalize-order", "/my-order/", absent, 1, 1},
		{"nothing, but somebody in between refuses after the finalization", "after POST /finalize-order", "/my-order/", refuse(403, "unauthorized", "no"), 4, 1},
		{"the order, which became invalid", "before POST /finalize-order", "/my-order/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"status":"invalid"}`)) }, 1, 2},
		{"the answer to the finalization", "after POST /finalize-order", "", nil, 0, 1},
		{"nothing, but the CA is in trouble for a moment", "before POST /certZ", "/my-order/", refuse(500, "serverInternal", "oops"), 1, 1},
	} {
		t.Run(tt.about, func(t *testing.T) {
			name := "lost" + itoa(i) + ".shop.test"
			a.listsOrders(i == 0)
			r := a.request(t, name)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if _, err := acme.ObtainAt(ctx, r, new(bytes.Buffer), func(point string) {
				if strings.HasPrefix(point, tt.stop) {
					cancel()
				}
			}); !errors.Is(err, context.Canceled) {
				t.Fatalf("it was to be interrupted: %v", err)
			}
			if tt.path != "" {
				a.replace(tt.path, tt.times, tt.answer)
			}
			var out bytes.Buffer
			_, err := acme.Obtain(t.Context(), r, &out)
			for tries := 0; err != nil && tries < 3; tries++ {
				_, err = acme.Obtain(t.Context(), r, &out)
			}
			if err != nil || a.placedFor(name) != tt.orders {
				t.Errorf("%d orders, want %d, and %v\n%s", a.placedFor(name), tt.orders, err, &out)
			}
		})
	}
}

// TestFailedChallengeLeavesNothing has nobody serve the webroot.
func absent(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

// TestAnOrderThatIsNotShown shows how often the CA has to say that an order is not there, while it
// is led to its certificate.
func TestAnOrderThatIsNotShown(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	for _, tt := range []struct {
		about  string
		from   string // the request after which the order is not shown
		times  int32
		kind   acme.Kind // of the error; empty: there is none
		orders int       // when it was tried until it worked
	}{
		{"once, while its names are validated", "/chalZ/", 1, "", 1},
		{"for good, while its names are validated", "/chalZ/", 5, acme.KindRefused, 2},
		{"once, after it was finalized", "/finalize-order/", 1, "", 1},
		{"for a while, after it was finalized", "/finalize-order/", 5, acme.KindUnreachable, 1},
	} {
		t.Run(tt.about, func(t *testing.T) {
			before, r := a.placed(), a.request(t, "shop.test")
			_, err := acme.ObtainAt(t.Context(), r, new(bytes.Buffer), func(point string) {
				if strings.HasPrefix(point, "after POST "+tt.from) {
					a.replace("/my-order/", tt.times, absent)
				}
			})
			var told *acme.Error
			if tt.kind != "" && (!errors.As(err, &told) || told.Kind != tt.kind) || tt.kind == "" && err != nil {
				t.Errorf("error %v, want kind %q", err, tt.kind)
			}
			a.obtain(t, r)
			if n := a.placed() - before; n != tt.orders {
				t.Errorf("%d orders in all, want %d", n, tt.orders)
			}
		})
	}
}

func TestFailedChallengeLeavesNothing(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	r := a.request(t, "shop.test")
	r.Challenge.HTTP01 = &acme.HTTP01{Webroot: t.TempDir()}
	wantError(t, r, acme.KindChallenge, "shop.test")
	if left := mint.Must(os.ReadDir(filepath.Join(r.Challenge.HTTP01.Webroot, ".well-known/acme-challenge"))); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	a.dns.Fail("slow.shop.test", "stall")
	r := a.request(t, "slow.shop.test")
	r.Timeout = 1500 * time.Millisecond
	_, err := acme.Obtain(t.Context(), r, new(bytes.Buffer))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "longer than 1.5s") {
		t.Errorf("error %v", err)
	}
}
