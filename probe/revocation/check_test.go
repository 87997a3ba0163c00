package revocation

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

type codes = []certmedic.FindingCode

func codesOf(findings []certmedic.Finding) codes {
	found := codes{}
	for _, f := range findings {
		found = append(found, f.Code)
	}
	return found
}

func wantFindings(t *testing.T, got []certmedic.Finding, want codes, detail string) {
	t.Helper()
	if !slices.Equal(codesOf(got), want) {
		t.Errorf("findings are %v, want %v", got, want)
		return
	}
	if detail != "" && !slices.ContainsFunc(got, func(f certmedic.Finding) bool { return strings.Contains(f.Detail, detail) }) {
		t.Errorf("no detail of %v says %q", got, detail)
	}
}

// TestLists serves a list and judges a leaf that points to it.
func TestLists(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(nil)
	url := w.url + "/inter.crl"
	impostor := w.authority(w.root, "Inter", nil)
	oidOf := func(parts ...int) encoding.ObjectIdentifier { return parts }
	critical := pkix.Extension{Id: oidOf(2, 5, 29, 29), Critical: true, Value: []byte{0x30, 0}}
	unread := codes{certmedic.RevocationUnknown}
	for _, tt := range []struct {
		about  string
		list   []byte
		want   codes
		detail string
	}{
		{"a leaf that is not listed is good", w.list(w.inter, revoking(w.inter.Cert, 0)), codes{}, ""},
		{"PEM is read too", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: w.list(w.inter, nil)}), codes{}, ""},
		{
			"a leaf that is listed was revoked", w.list(w.inter, revoking(leaf, 1)),
			codes{certmedic.Revoked},
			`the leaf was revoked at 2026-11-19 10:00 UTC (key compromise) by its issuer "Inter", says the list "` + url + `"`,
		},
		{"a revocation needs no reason", w.list(w.inter, revoking(leaf, 0)), codes{certmedic.Revoked}, "(no reason given)"},
		{"a hold is a revocation", w.list(w.inter, revoking(leaf, 6)), codes{certmedic.Revoked}, "(certificate hold)"},
		{"a reason that nobody knows is told", w.list(w.inter, revoking(leaf, 77)), codes{certmedic.Revoked}, "(reason code 77)"},
		{"an entry that only removes another is none", w.list(w.inter, revoking(leaf, 8)), codes{}, ""},
		{"entries may stand twice", w.list(w.inter, both(revoking(leaf, 4), revoking(leaf, 4))), codes{certmedic.Revoked}, "(superseded)"},
		{"a removal does not undo another entry", w.list(w.inter, both(revoking(leaf, 4), revoking(leaf, 8))), codes{certmedic.Revoked}, "(superseded)"},
		{
			"a revocation of the future is not one yet", w.list(w.inter, func(l *x509.RevocationList) {
				l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: leaf.SerialNumber, RevocationTime: now.Add(time.Hour)}}
			}), unread, "revokes it from 2026-11-22 11:00 UTC on",
		},
		{"a list that is out of date says nothing", w.list(w.inter, dated(-48*time.Hour, -time.Hour)), unread, "it is out of date since 2026-11-22 09:00 UTC"},
		{"clocks may differ a little", w.list(w.inter, dated(2*time.Minute, time.Hour)), codes{}, ""},
		{"a list that is out of date by a little still counts", w.list(w.inter, dated(-time.Hour, -2*time.Minute)), codes{}, ""},
		{"a revocation does not lapse", w.list(w.inter, both(dated(-48*time.Hour, -time.Hour), revoking(leaf, 1))), codes{certmedic.Revoked}, "(key compromise)"},
		{"a hold lapses", w.list(w.inter, both(dated(-48*time.Hour, -time.Hour), revoking(leaf, 6))), unread, "out of date"},
		{"a list of the future says nothing", w.list(w.inter, dated(time.Hour, 48*time.Hour)), unread, "it is from the future (2026-11-22 11:00 UTC)"},
		{"a list of another authority with the same name says nothing", w.list(impostor, revoking(leaf, 1)), unread, `"Inter" did not sign it`},
		{"a list of another authority says nothing", w.list(w.root, revoking(leaf, 1)), unread, `it is the list of "CN=Root"`},
		{"a page instead of a list says nothing", []byte("<html>Welcome</html>"), unread, "it is not a revocation list"},
		{"half a list says nothing", w.list(w.inter, revoking(leaf, 1))[:100], unread, "it is not a revocation list"},
		{"a list with an appendix says nothing", append(w.list(w.inter, nil), 0), unread, "it is not a revocation list"},
		{"a list that was tampered with says nothing", tampered(w.list(w.inter, revoking(leaf, 1)), leaf.SerialNumber), unread, "did not sign it"},
		{"a part that the leaf points to is enough", w.list(w.inter, scoped([]string{"ldap://x", url}, 1)), codes{}, ""},
		{"a part that the leaf points to revokes", w.list(w.inter, both(scoped([]string{url}, 1), revoking(leaf, 1))), codes{certmedic.Revoked}, ""},
		{"another part says nothing", w.list(w.inter, scoped([]string{w.url + "/other.crl"})), unread, "to which the certificate does not point"},
		{"a list for authorities says nothing about a leaf", w.list(w.inter, scoped(nil, 2)), unread, "covers authorities only"},
		{"an indirect list says nothing", w.list(w.inter, both(scoped(nil, 4), revoking(leaf, 1))), unread, "indirect"},
		{"a list of attribute certificates says nothing", w.list(w.inter, scoped(nil, 5)), unread, "attribute"},
		{"a list of some reasons calls nobody good", w.list(w.inter, scoped(nil, 3)), unread, "does not tell all reasons"},
		{"a list of some reasons revokes", w.list(w.inter, both(scoped(nil, 3), revoking(leaf, 1))), codes{certmedic.Revoked}, ""},
		{"a delta says nothing", w.list(w.inter, extended(oidOf(2, 5, 29, 27), true, []byte{2, 1, 1})), unread, "delta"},
		{"what is critical and unknown makes it useless", w.list(w.inter, extended(oidOf(1, 2, 3), true, []byte{5, 0})), unread, "critical extension 1.2.3"},
		{"what is unknown but not critical does not", w.list(w.inter, extended(oidOf(1, 2, 3), false, []byte{5, 0})), codes{}, ""},
		{
			"an entry of another issuer makes it useless", w.list(w.inter, func(l *x509.RevocationList) {
				l.RevokedCertificateEntries = []x509.RevocationListEntry{{
					SerialNumber: leaf.SerialNumber, RevocationTime: now, ExtraExtensions: []pkix.Extension{critical},
				}}
			}), unread, "entry 1 of the list: it has a critical extension",
		},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w.put("/inter.crl", tt.list)
			r := w.check(w.checker(Options{CRLs: true}), w.query(leaf))
			wantFindings(t, r.Findings, tt.want, tt.detail)
			if r.Until.IsZero() || r.Until.Before(now) {
				t.Errorf("the result holds until %s", r.Until)
			}
		})
	}
}

// tampered changes a serial number in a list.
func tampered(list []byte, serial *big.Int) []byte {
	at := bytes.Index(list, serial.Bytes())
	list[at]--
	return list
}

// TestSources judges leaves that point to different places.
func TestSources(t *testing.T) {
	w := newWorld(t)
	all := Options{CRLs: true, OCSP: true}
	lists := Options{CRLs: true}
	pointing := func(lists, responders []string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.CRLDistributionPoints, c.OCSPServer = lists, responders }
	}
	at := func(names ...string) []string {
		for i := range names {
			names[i] = w.url + names[i]
		}
		return names
	}
	unread := codes{certmedic.RevocationUnknown}
	for _, tt := range []struct {
		about   string
		leaf    func(*x509.Certificate)
		options Options
		want    codes
		detail  string
	}{
		{"a leaf that points nowhere is beyond revocation", pointing(nil, nil), all, codes{}, ""},
		{"nothing is looked up unless asked for", pointing(at("/none.crl"), nil), Options{}, codes{}, ""},
		{"a list that is not there says nothing", pointing(at("/none.crl"), nil), lists, unread, `none.crl" is of no use: the server answered with status 404 Not Found`},
		{"the next list is tried", pointing(at("/none.crl", "/inter.crl"), nil), lists, codes{}, ""},
		{"LDAP is passed over", pointing([]string{"ldap://x/y", w.url + "/inter.crl"}, nil), lists, codes{}, ""},
		{"LDAP alone says nothing", pointing([]string{"ldap://x/y"}, nil), lists, unread, `"ldap://x/y" is neither at an http`},
		{"a responder that is not to be asked is named", pointing(nil, at("/ocsp")), lists, unread, "is not to be asked"},
		{"a list that is not to be looked into is named", pointing(at("/inter.crl"), nil), Options{OCSP: true}, append(unread, unread...), "is not to be looked into"},
		{"where the responder says nothing, the list does", pointing(at("/inter.crl"), at("/none")), all, codes{}, ""},
		{"all that say nothing are named", pointing(at("/none.crl"), at("/none")), all, unread, `404 Not Found; the list`},
		{"metadata services are not asked", pointing([]string{"http://169.254.169.254/x"}, nil), lists, unread, "not connected to"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			r := w.check(w.checker(tt.options), w.query(w.leaf(tt.leaf)))
			wantFindings(t, r.Findings, tt.want, tt.detail)
		})
	}
}

func TestIntermediates(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(nil)
	c := func() *Checker { return w.checker(Options{CRLs: true}) }
	if r := w.check(c(), w.query(leaf)); len(r.Findings) > 0 {
		t.Errorf("a good path has %v", r.Findings)
	}
	w.put("/root.crl", w.list(w.root, both(scoped(nil, 2), revoking(w.inter.Cert, 2))))
	wantFindings(t, w.check(c(), w.query(leaf)).Findings, codes{certmedic.Revoked}, `the intermediate "Inter" was revoked at 2026-11-19 10:00 UTC (CA compromise) by its issuer "Root"`)
	w.put("/root.crl", w.list(w.root, scoped(nil, 1)))
	wantFindings(t, w.check(c(), w.query(leaf)).Findings, codes{certmedic.RevocationUnknown}, "does not cover authorities")
	q := w.query(leaf)
	q.Staple = w.response(leaf, nil)
	w.put("/inter.crl", nil)
	wantFindings(t, w.check(c(), q).Findings, codes{certmedic.RevocationUnknown}, `the intermediate "Inter"`)
	if got := w.check(c(), Query{}); len(got.Findings) > 0 {
		t.Errorf("an empty path has %v", got.Findings)
	}
	self := Query{Path: []*x509.Certificate{w.root.Cert}, Now: now}
	if got := w.check(c(), self); len(got.Findings) > 0 {
		t.Errorf("a root alone has %v", got.Findings)
	}
}

// TestStaples judges stapled responses, without and with the leaf's demand for one.
func TestStaples(t *testing.T) {
	w := newWorld(t)
	leaf, other := w.leaf(nil), w.leaf(nil)
	impostor := w.authority(w.root, "Inter", nil)
	stranger := w.authority(nil, "Stranger", nil)
	status := func(status int, edit func(*ocsp.Response)) []byte {
		return w.response(leaf, func(r *ocsp.Response) {
			r.Status, r.RevokedAt, r.RevocationReason = status, now.AddDate(0, 0, -3), ocsp.KeyCompromise
			if edit != nil {
				edit(r)
			}
		})
	}
	times := func(this, next time.Duration) func(*ocsp.Response) {
		return func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(this), now.Add(next) }
	}
	sameSerial := certtest.Issue(t, stranger, x509.Certificate{SerialNumber: leaf.SerialNumber, NotBefore: now, NotAfter: now}, nil)
	foreign, err := ocsp.CreateResponse(stranger.Cert, w.inter.Cert, ocsp.Response{
		SerialNumber: sameSerial.Cert.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(time.Hour),
	}, w.inter.Key)
	check(t, err)
	good, revoked, missing, unread := codes{}, codes{certmedic.Revoked}, codes{certmedic.MustStapleMissing}, codes{certmedic.RevocationUnknown}
	for _, tt := range []struct {
		about        string
		staple       []byte
		want, wanted codes // without and with must-staple
		detail       string
	}{
		{"none", nil, good, missing, "none came with the handshake"},
		{"a good one", w.response(leaf, nil), good, good, ""},
		{"a good one with SHA-256", w.response(leaf, func(r *ocsp.Response) { r.IssuerHash = 5 }), good, good, ""},
		{"one of a delegate", w.delegated(w.inter, leaf, nil), good, good, ""},
		{"one that tells a revocation", status(ocsp.Revoked, nil), revoked, revoked, "(key compromise) by its issuer \"Inter\", says the stapled OCSP response"},
		{"one that tells a revocation and is out of date", status(ocsp.Revoked, times(-48*time.Hour, -time.Hour)), revoked, revoked, ""},
		{
			"one that tells a hold and is out of date",
			status(ocsp.Revoked, func(r *ocsp.Response) { times(-48*time.Hour, -time.Hour)(r); r.RevocationReason = ocsp.CertificateHold }), unread, missing, "out of date",
		},
		{"one whose responder does not know the leaf", status(ocsp.Unknown, nil), unread, missing, "does not know the certificate"},
		{"one that is out of date", w.response(leaf, times(-48*time.Hour, -time.Hour)), unread, missing, "it is out of date since 2026-11-22 09:00 UTC"},
		{"one from the future", w.response(leaf, times(time.Hour, 48*time.Hour)), unread, missing, "it is from the future"},
		{"one without an end lives a day", w.response(leaf, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), good, good, ""},
		{
			"one without an end is old after that",
			w.response(leaf, func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(-25*time.Hour), time.Time{} }), unread, missing, "out of date",
		},
		{"one about another certificate", w.response(other, nil), unread, missing, "no response matching"},
		{"one about the same number of another issuer", foreign, unread, missing, "it is about a certificate of another issuer"},
		{"one of another authority with the same name", w.responseBy(impostor.Cert, impostor.Key, leaf, nil), unread, missing, `"Inter" did not sign it`},
		{"one of a delegate of another authority", w.delegated(stranger, leaf, nil), unread, missing, `"Responder", whom "Inter" has not delegated that to`},
		{"one of a delegate of another authority with the same name", w.delegated(impostor, leaf, nil), unread, missing, "has not delegated that to"},
		{
			"one of somebody with a certificate for servers",
			w.delegated(w.inter, leaf, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), unread, missing,
			"which may not sign OCSP responses",
		},
		{
			"one of a delegate whose time is over",
			w.delegated(w.inter, leaf, func(c *x509.Certificate) { c.NotAfter = now.Add(-24 * time.Hour) }), unread, missing,
			"it is out of date since 2026-11-21 10:00 UTC",
		},
		{"a refusal", ocsp.TryLaterErrorResponse, unread, missing, "refused to answer: try later"},
		{"garbage", []byte("hello"), unread, missing, "it cannot be read"},
		{"nothing at all", []byte{}, unread, missing, "it cannot be read"},
		{"a giant", make([]byte, maxAnswerBytes+1), unread, missing, "more than 65536"},
	} {
		for _, must := range []bool{false, true} {
			q := w.query(leaf)
			q.Staple, q.MustStaple = tt.staple, must
			got := w.check(w.checker(Options{}), q)
			want := tt.want
			if must {
				want = tt.wanted
			}
			t.Run(tt.about, func(t *testing.T) { wantFindings(t, got.Findings, want, detailIf(len(want) > 0, tt.detail)) })
		}
	}
}

func detailIf(wanted bool, detail string) string {
	if !wanted {
		return ""
	}
	return detail
}

func TestABadStapleIsToldBesideWhatTheListSays(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(nil)
	q := w.query(leaf)
	q.Staple = []byte("hello")
	c := w.checker(Options{CRLs: true})
	wantFindings(t, w.check(c, q).Findings, codes{certmedic.RevocationUnknown}, `; the leaf was not revoked, says the list "`)
	w.put("/inter.crl", w.list(w.inter, revoking(leaf, 1)))
	c = w.checker(Options{CRLs: true})
	wantFindings(t, w.check(c, q).Findings, codes{certmedic.Revoked}, "")
	q.MustStaple = true
	wantFindings(t, w.check(c, q).Findings, codes{certmedic.MustStapleMissing, certmedic.Revoked}, "")
}

// TestWhoRevokesIsBelieved judges a leaf that a response calls good, stapled or asked for.
func TestWhoRevokesIsBelieved(t *testing.T) {
	revokes := func(w *world, leaf *x509.Certificate) []byte { return w.list(w.inter, revoking(leaf, 1)) }
	agrees := func(w *world, _ *x509.Certificate) []byte { return w.list(w.inter, nil) }
	broken := func(*world, *x509.Certificate) []byte { return []byte("hello") }
	for _, tt := range []struct {
		about   string
		list    func(w *world, leaf *x509.Certificate) []byte // nil: there is none
		options Options
		want    codes
		asked   int // how often the list was, in two checks
		until   time.Duration
	}{
		{"a list that revokes wins", revokes, Options{CRLs: true, OCSP: true}, codes{certmedic.Revoked}, 1, DefaultMaxAge},
		{"a list that does not agrees", agrees, Options{CRLs: true, OCSP: true}, codes{}, 1, DefaultMaxAge},
		{"a list that is broken takes nothing away", broken, Options{CRLs: true, OCSP: true}, codes{}, 1, time.Minute},
		{"a list that is not there does not either", nil, Options{CRLs: true, OCSP: true}, codes{}, 1, time.Minute},
		{"lists may be left alone", revokes, Options{OCSP: true}, codes{}, 0, DefaultMaxAge},
	} {
		for _, stapled := range []bool{true, false} {
			w := newWorld(t)
			leaf := w.leaf(func(c *x509.Certificate) { c.OCSPServer = []string{w.url + "/ocsp"} })
			w.answer = func(*ocsp.Request) []byte { return w.response(leaf, nil) }
			delete(w.files, "/inter.crl")
			if tt.list != nil {
				w.put("/inter.crl", tt.list(w, leaf))
			}
			q := Query{Path: []*x509.Certificate{leaf, w.inter.Cert}, Now: now}
			asked := 1
			if stapled {
				q.Staple, asked = w.response(leaf, nil), 0
			}
			c := w.checker(tt.options)
			w.check(c, q)
			r := w.check(c, q)
			wantFindings(t, r.Findings, tt.want, "")
			if r.OCSP == nil || r.OCSP.Stapled != stapled || r.OCSP.Status != "good" {
				t.Errorf("%s, stapled %t: the facts are %+v", tt.about, stapled, r.OCSP)
			}
			if w.asked("/inter.crl") != tt.asked || w.asked("/ocsp") != asked {
				t.Errorf("%s, stapled %t: the list was fetched %d times, the responder asked %d times", tt.about, stapled, w.asked("/inter.crl"), w.asked("/ocsp"))
			}
			if want := now.Add(tt.until); stapled && tt.asked > 0 && !r.Until.Equal(want) {
				t.Errorf("%s: it holds until %s, want %s", tt.about, r.Until, want)
			}
		}
	}
}

func TestTimestampsOfAResponseAreBounded(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(nil)
	for count, want := range map[int]int{2: 2, 65: 0} {
		var b cryptobyte.Builder
		b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for range count {
					b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("a timestamp")) })
				}
			})
		})
		q := w.query(leaf)
		q.Staple = w.response(leaf, func(r *ocsp.Response) {
			r.ExtraExtensions = []pkix.Extension{{Id: encoding.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 5}, Value: b.BytesOrPanic()}}
		})
		if r := w.check(w.checker(Options{}), q); len(r.SCTs) != want || r.OCSP == nil {
			t.Errorf("of %d timestamps %d are read, want %d; the facts are %+v", count, len(r.SCTs), want, r.OCSP)
		}
	}
}

func TestAGoodStapleSuffices(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(nil)
	q := w.query(leaf)
	sct := []byte("a timestamp")
	list := append([]byte{4, byte(len(sct) + 4), 0, byte(len(sct) + 2), 0, byte(len(sct))}, sct...)
	q.Staple = w.response(leaf, func(r *ocsp.Response) {
		r.ExtraExtensions = []pkix.Extension{{Id: encoding.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 5}, Value: list}}
	})
	r := w.check(w.checker(Options{CRLs: true}), q)
	if len(r.Findings) > 0 {
		t.Errorf("it has %v", r.Findings)
	}
	if r.OCSP == nil || !r.OCSP.Stapled || r.OCSP.Status != "good" || !r.OCSP.NextUpdate.Equal(now.Add(7*24*time.Hour)) {
		t.Errorf("the facts are %+v", r.OCSP)
	}
	if len(r.SCTs) != 1 || string(r.SCTs[0]) != "a timestamp" {
		t.Errorf("the timestamps are %q", r.SCTs)
	}
	if !r.Until.Equal(now.Add(DefaultMaxAge)) {
		t.Errorf("it holds until %s, want as long as the lists need no refresh", r.Until)
	}
}

func TestResponders(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(func(c *x509.Certificate) {
		c.CRLDistributionPoints, c.OCSPServer = nil, []string{w.url + "/ocsp"}
		c.SerialNumber, _ = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 150))
	})
	status, reason := ocsp.Good, 0
	w.answer = func(r *ocsp.Request) []byte {
		if r.SerialNumber.Cmp(leaf.SerialNumber) != 0 {
			return ocsp.UnauthorizedErrorResponse
		}
		return w.response(leaf, func(r *ocsp.Response) { r.Status, r.RevokedAt, r.RevocationReason = status, now, reason })
	}
	q := Query{Path: []*x509.Certificate{leaf, w.inter.Cert}, Now: now}
	c := w.checker(Options{OCSP: true})
	for range 3 {
		r := w.check(c, q)
		if len(r.Findings) > 0 || r.OCSP == nil || r.OCSP.Stapled || r.OCSP.Status != "good" {
			t.Fatalf("it is not good: %+v", r)
		}
	}
	if w.asked("/ocsp") != 1 {
		t.Errorf("it was asked %d times, want once", w.asked("/ocsp"))
	}
	status, reason = ocsp.Revoked, ocsp.Superseded
	q.Now = now.Add(DefaultMaxAge)
	r := w.check(c, q)
	wantFindings(t, r.Findings, codes{certmedic.Revoked}, "(superseded)")
	if r.OCSP.Status != "revoked" || !r.OCSP.RevokedAt.Equal(now) {
		t.Errorf("the facts are %+v", r.OCSP)
	}
	q.Path = []*x509.Certificate{w.leaf(func(c *x509.Certificate) { c.OCSPServer = leaf.OCSPServer }), w.inter.Cert}
	wantFindings(t, w.check(c, q).Findings, codes{certmedic.RevocationUnknown}, "refused to answer: unauthorized")
}
