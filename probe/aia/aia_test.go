package aia

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certmedic/certmedic/probe/fetch"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// world is a PKI with two intermediates, and the HTTP server that has its certificates.
type world struct {
	t                    testing.TB
	root, policy, issuer *certtest.Pair
	url                  string

	mu    sync.Mutex
	files map[string][]byte
	asked int
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, files: map[string][]byte{}}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.root = certtest.Issue(t, nil, certtest.CA("Root", now), nil)
	w.policy = w.issue(w.root, certtest.CA("Policy", now), "/root.der")
	w.issuer = w.issue(w.policy, certtest.CA("Issuer", now), "/policy.der")
	w.files["/root.der"] = w.root.Cert.Raw
	w.files["/policy.der"] = w.policy.Cert.Raw
	w.files["/issuer.der"] = w.issuer.Cert.Raw
	return w
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if data, ok := w.files[r.URL.Path]; ok {
		_, _ = out.Write(data)
		return
	}
	http.NotFound(out, r)
}

func (w *world) issue(issuer *certtest.Pair, template x509.Certificate, from ...string) *certtest.Pair {
	for _, name := range from {
		template.IssuingCertificateURL = append(template.IssuingCertificateURL, w.url+name)
	}
	return certtest.Issue(w.t, issuer, template, nil)
}

func (w *world) leaf(from ...string) *x509.Certificate {
	return w.issue(w.issuer, certtest.Server(now, "shop.example.com"), from...).Cert
}

func (w *world) completer() *Completer {
	client := fetch.NewClient()
	c := New(client.Get)
	w.t.Cleanup(func() { c.Close(); client.Close() })
	return c
}

func names(certs []*x509.Certificate) []string {
	found := []string{}
	for _, c := range certs {
		found = append(found, c.Subject.CommonName)
	}
	return found
}

func TestComplete(t *testing.T) {
	w := newWorld(t)
	impostor := w.issue(nil, certtest.CA("Issuer", now))
	inPEM := func(certs ...*x509.Certificate) []byte {
		var out []byte
		for _, c := range certs {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		return out
	}
	w.files["/issuer.pem"] = inPEM(impostor.Cert, w.issuer.Cert)
	w.files["/issuer.p7c"] = pkcs7(impostor.Cert, w.issuer.Cert)
	w.files["/issuer.p7b"] = pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: w.files["/issuer.p7c"]})
	w.files["/impostor.der"] = impostor.Cert.Raw
	w.files["/page.html"] = []byte("<html>Welcome</html>")
	w.files["/many.pem"] = inPEM(slices.Repeat([]*x509.Certificate{w.issuer.Cert}, 30)...)
	w.files["/large.der"] = make([]byte, maxBytes+1)
	type list = []string
	all := list{"Issuer", "Policy"}
	for _, tt := range []struct {
		about     string
		presented []*x509.Certificate
		want      []string
		wantErr   string
	}{
		{"the leaf alone lacks both", certs(w.leaf("/issuer.der")), all, ""},
		{"PEM with others in it is read", certs(w.leaf("/issuer.pem")), all, ""},
		{"PKCS #7 is read", certs(w.leaf("/issuer.p7c")), all, ""},
		{"PKCS #7 in PEM is read", certs(w.leaf("/issuer.p7b")), all, ""},
		{"the line goes on where it ends", certs(w.leaf("/none"), w.issuer.Cert), list{"Policy"}, ""},
		{"the order does not matter", certs(w.leaf("/none"), w.policy.Cert, w.issuer.Cert), list{}, ""},
		{"a complete chain lacks nothing", certs(w.leaf("/none"), w.issuer.Cert, w.policy.Cert, w.root.Cert), list{}, ""},
		{"what is presented besides the line does not help", certs(w.leaf("/issuer.der"), impostor.Cert), all, ""},
		{"the next URL is tried", certs(w.leaf("/none", "/issuer.der")), all, ""},
		{"nothing presented lacks nothing", nil, list{}, ""},
		{"a self-signed leaf lacks nothing", certs(w.issue(nil, certtest.Server(now, "x.example.com")).Cert), list{}, ""},
		{"a leaf that points nowhere says so", certs(w.leaf()), list{}, `"shop.example.com" does not say where its issuer is to be had`},
		{"a URL that is not there says so", certs(w.leaf("/none")), list{}, `/none": the server answered with status 404`},
		{"an impostor is not taken", certs(w.leaf("/impostor.der")), list{}, `impostor.der" did not sign "shop.example.com"`},
		{"a page is not a certificate", certs(w.leaf("/page.html")), list{}, "not a certificate in DER, PEM or PKCS #7"},
		{"too many certificates are refused", certs(w.leaf("/many.pem")), list{}, "it holds 21 certificates"},
		{"too much is refused", certs(w.leaf("/large.der")), list{}, "too large"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			missing, from, err := w.completer().Complete(t.Context(), tt.presented, now)
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("the error is %v, want %q", err, tt.wantErr)
			}
			if !slices.Equal(names(missing), tt.want) || len(from) != len(missing) {
				t.Errorf("missing are %v from %v, want %v", names(missing), from, tt.want)
			}
		})
	}
}

func certs(list ...*x509.Certificate) []*x509.Certificate { return list }

// pkcs7 makes a SignedData that holds nothing but certificates.
func pkcs7(certs ...*x509.Certificate) []byte {
	var b cryptobyte.Builder
	tag := asn1.Tag(0).ContextSpecific().Constructed()
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 7, 2})
		b.AddASN1(tag, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {})
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 7, 1}) })
				b.AddASN1(tag, func(b *cryptobyte.Builder) {
					for _, c := range certs {
						b.AddBytes(c.Raw)
					}
				})
				b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {})
			})
		})
	})
	return b.BytesOrPanic()
}

func TestAChainWithoutEndEnds(t *testing.T) {
	w := newWorld(t)
	a := certtest.Issue(t, nil, certtest.CA("A", now), nil)
	b := w.issue(a, certtest.CA("B", now), "/a.der")
	template := certtest.CA("A", now)
	template.IssuingCertificateURL = []string{w.url + "/b.der"}
	looped := certtest.Issue(t, b, template, a.Key)
	w.files["/a.der"], w.files["/b.der"] = looped.Cert.Raw, b.Cert.Raw
	leaf := w.issue(b, certtest.Server(now, "shop.example.com"), "/b.der").Cert
	missing, _, err := w.completer().Complete(t.Context(), certs(leaf), now)
	if err != nil || !slices.Equal(names(missing), []string{"B", "A"}) {
		t.Errorf("missing are %v, %v", names(missing), err)
	}
	if deep := w.deep(10); len(deep) != maxHops {
		t.Errorf("a deep chain yields %v", names(deep))
	}
}

// deep completes a leaf below that many intermediates.
func (w *world) deep(n int) []*x509.Certificate {
	above := certtest.Issue(w.t, nil, certtest.CA("Top", now), nil)
	path := "/top.der"
	for i := range n {
		w.files[path] = above.Cert.Raw
		above = w.issue(above, certtest.CA("Deep "+string(rune('a'+i)), now), path)
		path = "/" + string(rune('a'+i)) + ".der"
	}
	w.files[path] = above.Cert.Raw
	leaf := w.issue(above, certtest.Server(now, "shop.example.com"), path).Cert
	missing, _, err := w.completer().Complete(w.t.Context(), certs(leaf), now)
	if err != nil {
		w.t.Error(err)
	}
	return missing
}

func TestIssuersAreFetchedOnceADay(t *testing.T) {
	w := newWorld(t)
	c := w.completer()
	leaf := w.leaf("/issuer.der")
	for range 10 {
		if missing, _, err := c.Complete(t.Context(), certs(leaf), now); err != nil || len(missing) != 2 {
			t.Fatal(missing, err)
		}
	}
	if w.asked != 3 {
		t.Errorf("there were %d fetches, want one for each issuer", w.asked)
	}
	if _, _, err := c.Complete(t.Context(), certs(leaf), now.Add(maxAge)); err != nil || w.asked != 6 {
		t.Errorf("a day later there were %d fetches, want 6; %v", w.asked, err)
	}
}

func TestADeadServerIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	asked := 0
	c := New(func(context.Context, string, int64) ([]byte, error) {
		asked++
		return nil, errors.New("nobody there")
	})
	defer c.Close()
	leaf := w.leaf("/issuer.der")
	for range 100 {
		if _, _, err := c.Complete(t.Context(), certs(leaf), now); err == nil || !strings.Contains(err.Error(), "nobody there") {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
}

func TestSentence(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		missing []*x509.Certificate
		from    []string
		want    string
	}{
		{nil, nil, ""},
		{
			certs(w.issuer.Cert),
			[]string{"http://a/i.der"},
			`the server does not send "Issuer"; browsers fetch it from "http://a/i.der", most other clients fail; serve fullchain.pem`,
		},
		{
			certs(w.issuer.Cert, w.policy.Cert),
			[]string{"http://a/i.der", "http://a/p.der"},
			`the server does not send "Issuer" and "Policy"; browsers fetch them from "http://a/i.der" and "http://a/p.der", most other clients fail; serve fullchain.pem`,
		},
	} {
		if got := Sentence(tt.missing, tt.from); got != tt.want {
			t.Errorf("it says %q, want %q", got, tt.want)
		}
	}
}

func FuzzBundle(f *testing.F) {
	w := newWorld(f)
	f.Add(w.issuer.Cert.Raw)
	f.Add(pkcs7(w.issuer.Cert, w.policy.Cert))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.issuer.Cert.Raw}))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := readBundle(data)
		if err == nil && (len(b.certs) == 0 || len(b.certs) > maxCertificates) {
			t.Errorf("it has %d certificates", len(b.certs))
		}
	})
}
