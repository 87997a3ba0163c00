package revocation

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"

	"github.com/certmedic/certmedic/probe/fetch"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// world is a small web PKI with the HTTP server that its certificates point to: the lists
// /root.crl and /inter.crl, and the OCSP responder /ocsp.
type world struct {
	t           testing.TB
	root, inter *certtest.Pair
	url         string

	mu     sync.Mutex
	files  map[string][]byte
	answer func(*ocsp.Request) []byte // what the OCSP responder answers; nil: 404
	hits   map[string]int
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, files: map[string][]byte{}, hits: map[string]int{}}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.root = w.authority(nil, "Root", nil)
	w.inter = w.authority(w.root, "Inter", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{w.url + "/root.crl"} })
	w.files["/root.crl"] = w.list(w.root, nil)
	w.files["/inter.crl"] = w.list(w.inter, nil)
	return w
}

// ServeHTTP answers OCSP requests in URLs below /ocsp, and files.
func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	top := "/" + path.Base(r.URL.Path)
	if path.Dir(r.URL.Path) == "/ocsp" || len(r.URL.Path) > 20 {
		top = "/ocsp"
	}
	w.hits[top]++
	data, ok := w.files[top]
	if top == "/ocsp" && w.answer != nil {
		der, err := base64.StdEncoding.DecodeString(r.URL.Path[len("/ocsp/"):])
		check(w.t, err)
		request, err := ocsp.ParseRequest(der)
		check(w.t, err)
		data, ok = w.answer(request), true
	}
	if !ok {
		http.NotFound(out, r)
		return
	}
	_, _ = out.Write(data)
}

func (w *world) put(name string, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[name] = data
}

func (w *world) asked(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hits[name]
}

func (w *world) authority(issuer *certtest.Pair, name string, edit func(*x509.Certificate)) *certtest.Pair {
	template := certtest.CA(name, now)
	template.KeyUsage |= x509.KeyUsageCRLSign
	if edit != nil {
		edit(&template)
	}
	return certtest.Issue(w.t, issuer, template, nil)
}

// leaf is a certificate that points to the intermediate's list.
func (w *world) leaf(edit func(*x509.Certificate)) *x509.Certificate {
	template := certtest.Server(now, "shop.example.com")
	template.CRLDistributionPoints = []string{w.url + "/inter.crl"}
	if edit != nil {
		edit(&template)
	}
	return certtest.Issue(w.t, w.inter, template, nil).Cert
}

func (w *world) query(leaf *x509.Certificate) Query {
	return Query{Path: []*x509.Certificate{leaf, w.inter.Cert, w.root.Cert}, Now: now}
}

func (w *world) checker(o Options) *Checker {
	client := fetch.NewClient()
	w.t.Cleanup(client.Close)
	if o.Fetch == nil {
		o.Fetch = client.Get
	}
	c := New(o)
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) check(c *Checker, q Query) Result {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	return c.Check(ctx, q)
}

// list signs a list that was made an hour ago and holds for a week.
func (w *world) list(issuer *certtest.Pair, edit func(*x509.RevocationList)) []byte {
	template := x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(7 * 24 * time.Hour)}
	if edit != nil {
		edit(&template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, &template, issuer.Cert, issuer.Key)
	check(w.t, err)
	return der
}

// revoking is an edit of a list that revokes a certificate since three days.
func revoking(c *x509.Certificate, reason int) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now.AddDate(0, 0, -3), ReasonCode: reason})
	}
}

func both(edits ...func(*x509.RevocationList)) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		for _, edit := range edits {
			edit(l)
		}
	}
}

func dated(this, next time.Duration) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = now.Add(this), now.Add(next) }
}

func extended(id encoding.ObjectIdentifier, critical bool, value []byte) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
	}
}

// scoped is an edit of a list that gives it an issuing distribution point of the URLs
// and of the BOOLEAN fields with these tags.
func scoped(urls []string, flags ...uint8) func(*x509.RevocationList) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if urls != nil {
			b.AddASN1(tag(0).Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(tag(0).Constructed(), func(b *cryptobyte.Builder) {
					for _, url := range urls {
						b.AddASN1(tag(6), func(b *cryptobyte.Builder) { b.AddBytes([]byte(url)) })
					}
				})
			})
		}
		for _, flag := range flags {
			b.AddASN1(tag(flag), func(b *cryptobyte.Builder) { b.AddUint8(0xff) })
		}
	})
	return extended(encoding.ObjectIdentifier{2, 5, 29, 28}, true, b.BytesOrPanic())
}

// response signs an OCSP response by the intermediate that calls a certificate good, made
// an hour ago for a week.
func (w *world) response(about *x509.Certificate, edit func(*ocsp.Response)) []byte {
	return w.responseBy(w.inter.Cert, w.inter.Key, about, edit)
}

func (w *world) responseBy(responder *x509.Certificate, key crypto.Signer, about *x509.Certificate, edit func(*ocsp.Response)) []byte {
	template := ocsp.Response{
		Status: ocsp.Good, SerialNumber: about.SerialNumber,
		ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(7 * 24 * time.Hour),
	}
	if edit != nil {
		edit(&template)
	}
	der, err := ocsp.CreateResponse(w.inter.Cert, responder, template, key)
	check(w.t, err)
	return der
}

// delegated signs a response by a delegate that the issuer certified.
func (w *world) delegated(issuer *certtest.Pair, about *x509.Certificate, edit func(*x509.Certificate)) []byte {
	template := certtest.Server(now)
	template.Subject.CommonName = "Responder"
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	if edit != nil {
		edit(&template)
	}
	delegate := certtest.Issue(w.t, issuer, template, nil)
	return w.responseBy(delegate.Cert, delegate.Key, about, func(r *ocsp.Response) { r.Certificate = delegate.Cert })
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
