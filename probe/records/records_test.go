package records_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/dnsd"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
	"github.com/certmedic/certmedic/probe/records"
	"github.com/certmedic/certmedic/probe/resolve"
)

// zone is a DNS server's content: records by name.
type zone map[string][]string

// lab starts a DNS server that vouches for signed.test, and a checker that asks it.
func lab(t *testing.T, z zone) (*dnsd.Server, *records.Checker) {
	t.Helper()
	server, err := dnsd.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.Sign("signed.test", true)
	for name, data := range z {
		if err := server.Set(name, data...); err != nil {
			t.Fatal(err)
		}
	}
	r := &resolve.Resolver{Servers: []string{server.Addr()}, HostsFile: filepath.Join(t.TempDir(), "none"), Timeout: 10 * time.Second, Attempts: 1}
	return server, &records.Checker{Query: r.Query}
}

// issued are certificates of one authority: what a server presents.
type issued struct {
	root, middle, leaf *certtest.Pair
	now                time.Time
}

func issue(t *testing.T, organisation string, names ...string) issued {
	t.Helper()
	i := issued{now: time.Now()}
	root, middle := certtest.CA("Root", i.now), certtest.CA("Middle", i.now)
	if organisation != "" {
		middle.Subject.Organization = []string{organisation}
	}
	i.root = certtest.Issue(t, nil, root, nil)
	i.middle = certtest.Issue(t, i.root, middle, nil)
	i.leaf = certtest.Issue(t, i.middle, certtest.Server(i.now, names...), nil)
	return i
}

func (i issued) query(host string) records.Query {
	return records.Query{
		Host: host, Port: 443, Names: []string{host}, Now: i.now,
		Presented: []*x509.Certificate{i.leaf.Cert, i.middle.Cert},
		Paths:     [][]*x509.Certificate{{i.leaf.Cert, i.middle.Cert, i.root.Cert}},
	}
}

// tlsa returns the data of a TLSA record for a certificate.
func tlsa(usage, selector, matching int, c *x509.Certificate) string {
	content := c.Raw
	if selector == 1 {
		content = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(content)
		content = sum[:]
	case 2:
		sum := sha512.Sum512(content)
		content = sum[:]
	}
	return fmt.Sprintf("TLSA %d %d %d %x", usage, selector, matching, content)
}

// expect compares findings with "code: part of the detail", or with nothing for "".
func expect(t *testing.T, findings []certmedic.Finding, want string) {
	t.Helper()
	if want == "" {
		if len(findings) > 0 {
			t.Errorf("found %v, want nothing", findings)
		}
		return
	}
	code, part, _ := strings.Cut(want, ": ")
	if len(findings) != 1 || string(findings[0].Code) != code || !strings.Contains(findings[0].Detail, part) {
		t.Errorf("found %v, want %s", findings, want)
	}
}

func TestDANE(t *testing.T) {
	i := issue(t, "", "www.signed.test")
	other := issue(t, "", "www.signed.test")
	expired := certtest.Server(i.now.AddDate(-1, 0, 0), "elsewhere.test")
	own := certtest.Issue(t, nil, expired, nil)
	old := certtest.Issue(t, i.middle, certtest.Server(i.now.AddDate(-1, 0, 0), "www.signed.test"), nil)
	misnamed := certtest.Issue(t, i.middle, certtest.Server(i.now, "elsewhere.test"), nil)

	leafPin := strings.TrimPrefix(tlsa(3, 1, 1, i.leaf.Cert), "TLSA ")
	alone := func(q *records.Query, leaf *certtest.Pair) {
		q.Presented[0], q.Paths = leaf.Cert, nil
	}
	untrusted := func(q *records.Query) { q.Paths = nil }
	smtp := func(q *records.Query) { q.Port = 25 }
	tests := []struct {
		about   string
		records []string
		change  func(*records.Query)
		want    string
		vouched bool
	}{
		{"no TLSA records, no DANE", nil, nil, "", false},
		{"the leaf's key", []string{tlsa(3, 1, 1, i.leaf.Cert)}, nil, "", true},
		{"the leaf by SHA-512", []string{tlsa(3, 0, 2, i.leaf.Cert)}, nil, "", true},
		{"the leaf's key in full", []string{tlsa(3, 1, 0, i.leaf.Cert)}, nil, "", true},
		{"one of several is enough", []string{tlsa(3, 1, 1, other.leaf.Cert), tlsa(3, 0, 1, i.leaf.Cert)}, nil, "", true},
		{"an expired, misnamed, self-signed leaf is right when its key is pinned", []string{tlsa(3, 1, 1, own.Cert)}, func(q *records.Query) { alone(q, own) }, "", true},
		{"another key: the record to publish is told", []string{tlsa(3, 1, 1, other.leaf.Cert)}, nil, `dane_mismatch: publish "` + leafPin + `"`, false},
		{"another key: the records are told", []string{tlsa(3, 1, 1, other.leaf.Cert)}, nil, "dane_mismatch: (3 1 1 ", false},
		{"the hash of another part", []string{strings.Replace(tlsa(3, 1, 1, i.leaf.Cert), "3 1 1", "3 0 1", 1)}, nil, "dane_mismatch: 3 0 1", false},

		{"an authority of the owner's own", []string{tlsa(2, 0, 1, i.middle.Cert)}, untrusted, "", true},
		{"an authority by its key", []string{tlsa(2, 1, 2, i.middle.Cert)}, untrusted, "", true},
		{"an authority that is not presented", []string{tlsa(2, 0, 1, i.root.Cert)}, nil, "dane_mismatch: 2 0 1", false},
		{"an authority that the record itself holds", []string{tlsa(2, 0, 0, i.root.Cert)}, untrusted, "", true},
		{"an authority that is presented, but is another's", []string{tlsa(2, 0, 1, other.middle.Cert)}, func(q *records.Query) { q.Presented = append(q.Presented, other.middle.Cert) }, "dane_mismatch: unknown authority", false},
		{"the leaf is no authority", []string{tlsa(2, 1, 1, i.leaf.Cert)}, nil, "dane_mismatch: 2 1 1", false},
		{"below an authority dates matter", []string{tlsa(2, 1, 1, i.middle.Cert)}, func(q *records.Query) { alone(q, old) }, "dane_mismatch: expired", false},
		{"below an authority names matter", []string{tlsa(2, 1, 1, i.middle.Cert)}, func(q *records.Query) { alone(q, misnamed) }, "dane_mismatch: elsewhere.test", false},

		{"a leaf that is trusted as well", []string{tlsa(1, 1, 1, i.leaf.Cert)}, nil, "", false},
		{"a leaf that should be trusted as well", []string{tlsa(1, 1, 1, i.leaf.Cert)}, untrusted, "dane_mismatch: public root", false},
		{"an authority on the trusted path", []string{tlsa(0, 0, 1, i.root.Cert)}, nil, "", false},
		{"an authority that should be trusted as well", []string{tlsa(0, 0, 1, i.middle.Cert)}, untrusted, "dane_mismatch: public root", false},
		{"an authority that is on no path", []string{tlsa(0, 0, 1, other.root.Cert)}, nil, "dane_mismatch: 0 0 1", false},

		{"records that nobody can use are none", []string{"TLSA 4 1 1 aa", "TLSA 3 2 1 aa", "TLSA 3 1 3 aa", "TLSA 3 1 1 aa"}, nil, "", false},
		{"records that nobody can use do not hide others", []string{"TLSA 9 9 9 aa", tlsa(3, 1, 1, other.leaf.Cert)}, nil, "dane_mismatch: 3 1 1", false},
		{"mail servers know no public authorities", []string{tlsa(0, 0, 1, other.root.Cert), tlsa(1, 0, 1, other.leaf.Cert)}, smtp, "", false},
		{"mail servers know the usages 2 and 3", []string{tlsa(3, 0, 1, other.leaf.Cert)}, smtp, `dane_mismatch: "_25._tcp.www.signed.test"`, false},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			q := i.query("www.signed.test")
			if tt.change != nil {
				tt.change(&q)
			}
			_, checker := lab(t, zone{
				"www.signed.test": {"A 127.0.0.1"},
				fmt.Sprintf("_%d._tcp.www.signed.test", q.Port): tt.records,
			})
			r := checker.Check(t.Context(), q)
			expect(t, r.Findings, tt.want)
			if r.Vouched != tt.vouched {
				t.Errorf("vouched is %v", r.Vouched)
			}
		})
	}
}

func TestDANEIsOnlyWhatDNSSECVouchesFor(t *testing.T) {
	i := issue(t, "", "mx.signed.test")
	wrong := []string{"TLSA 3 1 1 " + strings.Repeat("ab", 32)}
	right := []string{tlsa(3, 1, 1, i.leaf.Cert)}
	here := []string{"A 127.0.0.1"}
	tests := []struct {
		about, host string
		zone        zone
		fails       string // the name for which the server fails
		want        string
		vouched     bool
	}{
		{"a zone that is not signed", "mx.plain.test", zone{"mx.plain.test": here, "_443._tcp.mx.plain.test": wrong}, "", "", false},
		{
			"where a signed alias leads comes first", "mail.signed.test",
			zone{"mail.signed.test": {"CNAME mx.signed.test."}, "mx.signed.test": here, "_443._tcp.mx.signed.test": right, "_443._tcp.mail.signed.test": wrong},
			"", "", true,
		},
		{
			"records of the host itself come second", "mail.signed.test",
			zone{"mail.signed.test": {"CNAME mx.signed.test."}, "mx.signed.test": here, "_443._tcp.mail.signed.test": wrong},
			"", `dane_mismatch: "_443._tcp.mail.signed.test"`, false,
		},
		{
			"an alias out of the signed zone leaves the host's own records", "mail.signed.test",
			zone{"mail.signed.test": {"CNAME mx.plain.test."}, "mx.plain.test": here, "_443._tcp.mx.plain.test": wrong, "_443._tcp.mail.signed.test": right},
			"", "", true,
		},
		{
			"records that are an alias themselves", "mx.signed.test",
			zone{"mx.signed.test": here, "_443._tcp.mx.signed.test": {"CNAME key.signed.test."}, "key.signed.test": right},
			"", "", true,
		},
		{
			"records that are an alias out of the signed zone", "mx.signed.test",
			zone{"mx.signed.test": here, "_443._tcp.mx.signed.test": {"CNAME key.plain.test."}, "key.plain.test": wrong},
			"", "", false,
		},
		{"records that nobody can look up", "mx.signed.test", zone{"mx.signed.test": here}, "_443._tcp.mx.signed.test", `dns_failed: "_443._tcp.mx.signed.test"`, false},
		{"a zone without DNSSEC whose server does not know the type", "mx.plain.test", zone{"mx.plain.test": here}, "_443._tcp.mx.plain.test", "", false},
		{"the host itself cannot be looked up", "mx.signed.test", zone{"_443._tcp.mx.signed.test": wrong}, "mx.signed.test", "", false},
		{
			"a host whose alias leads out of the signed zone, and whose records nobody can look up", "mail.signed.test",
			zone{"mail.signed.test": {"CNAME mx.plain.test."}, "mx.plain.test": here},
			"_443._tcp.mail.signed.test", "", false,
		},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			server, checker := lab(t, tt.zone)
			if tt.fails != "" {
				server.Fail(tt.fails, dnsd.ServFail)
			}
			q := i.query("mx.signed.test")
			q.Host, q.Names = tt.host, nil
			r := checker.Check(t.Context(), q)
			expect(t, r.Findings, tt.want)
			if r.Vouched != tt.vouched {
				t.Errorf("vouched is %v", r.Vouched)
			}
		})
	}
}

func TestHostsThatDNSDoesNotKnowAreNotAskedFor(t *testing.T) {
	checker := records.Checker{Query: func(_ context.Context, name string, _ uint16) (resolve.Answer, error) {
		t.Errorf("%s is asked for", name)
		return resolve.Answer{}, errors.New("no answer")
	}}
	for _, host := range []string{"127.0.0.1", "2001:db8::1", "localhost", "mx.localhost.", "mx"} {
		expect(t, checker.Check(t.Context(), issue(t, "Let's Encrypt", host).query(host)).Findings, "")
	}
}

func TestTooManyRecordsAreNotCompared(t *testing.T) {
	i := issue(t, "", "www.signed.test")
	answer := resolve.Answer{Authenticated: true}
	for n := range 1000 {
		answer.Records = append(answer.Records, &dns.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Certificate: fmt.Sprintf("%064x", n)})
	}
	answer.Records = append(answer.Records, &dns.TLSA{Usage: 3, Selector: 0, MatchingType: 0, Certificate: hex.EncodeToString(i.leaf.Cert.Raw)})
	checker := records.Checker{Query: func(_ context.Context, _ string, kind uint16) (resolve.Answer, error) {
		if kind == dns.TypeCAA {
			return resolve.Answer{}, nil
		}
		return answer, nil
	}}
	expect(t, checker.Check(t.Context(), i.query("www.signed.test")).Findings, "dane_mismatch: and 59 more")
}

func TestOtherTransports(t *testing.T) {
	i := issue(t, "", "www.signed.test")
	_, checker := lab(t, zone{"www.signed.test": {"A 127.0.0.1"}, "_8443._udp.www.signed.test": {tlsa(3, 1, 1, i.leaf.Cert)}})
	q := i.query("www.signed.test")
	q.Port, q.Transport = 8443, "udp"
	if r := checker.Check(t.Context(), q); !r.Vouched {
		t.Errorf("the records for QUIC are not found: %+v", r)
	}
}

func TestCAA(t *testing.T) {
	const le, private = "Let's Encrypt", "Corp Internal PKI"
	tests := []struct {
		about  string
		issuer string
		leaf   string // its DNS name
		asked  string
		zone   zone
		want   string
	}{
		{"no records allow everybody", le, "www.shop.test", "www.shop.test", zone{}, ""},
		{"the issuer is named", le, "www.shop.test", "www.shop.test", zone{"www.shop.test": {`CAA 0 issue "letsencrypt.org"`}}, ""},
		{"the issuer is named with parameters, in capitals", le, "shop.test", "shop.test", zone{"shop.test": {`CAA 128 ISSUE " LetsEncrypt.org ; validationmethods=dns-01"`}}, ""},
		{"one of the brands of the issuer is named", "DigiCert Inc", "shop.test", "shop.test", zone{"shop.test": {`CAA 0 issue "rapidssl.com"`}}, ""},
		{"another is named", le, "shop.test", "shop.test", zone{"shop.test": {`CAA 0 issue "digicert.com; account=7"`}}, `caa_forbids: "shop.test" allows only "digicert.com; account=7"; the next renewal by "Let's Encrypt" will be refused: add the record 0 issue "letsencrypt.org"`},
		{"the parent's records count where there are none", le, "a.b.shop.test", "a.b.shop.test", zone{"shop.test": {`CAA 0 issue "pki.goog"`}}, `caa_forbids: "shop.test"`},
		{"the nearest records count", le, "a.b.shop.test", "a.b.shop.test", zone{"b.shop.test": {`CAA 0 issue "letsencrypt.org"`}, "shop.test": {`CAA 0 issue "pki.goog"`}}, ""},
		{"records behind an alias count", le, "www.shop.test", "www.shop.test", zone{"www.shop.test": {"CNAME edge.test."}, "edge.test": {`CAA 0 issue "pki.goog"`}}, `caa_forbids: "www.shop.test"`},
		{"the parent of an alias's target does not count", le, "www.shop.test", "www.shop.test", zone{"www.shop.test": {"CNAME www.edge.test."}, "www.edge.test": {}, "edge.test": {`CAA 0 issue "pki.goog"`}}, ""},
		{"nobody is allowed", le, "shop.test", "shop.test", zone{"shop.test": {`CAA 0 issue ";"`}}, "caa_forbids: allows nobody"},
		{"what is no domain allows nobody", private, "shop.test", "shop.test", zone{"shop.test": {`CAA 0 issue "%%%%%"`}}, "caa_forbids: allows nobody"},
		{"properties of other kinds do not restrict", le, "shop.test", "shop.test", zone{"shop.test": {`CAA 0 iodef "mailto:a@shop.test"`, `CAA 0 issuewild ";"`}}, ""},
		{"a wildcard goes by its own property", le, "*.shop.test", "www.shop.test", zone{"shop.test": {`CAA 0 issue "letsencrypt.org"`, `CAA 0 issuewild "pki.goog"`}}, `caa_forbids: 0 issuewild "letsencrypt.org"`},
		{"a wildcard goes by the other where there is none of its own", le, "*.shop.test", "www.shop.test", zone{"shop.test": {`CAA 0 issue "pki.goog"`}}, `caa_forbids: 0 issue "letsencrypt.org"`},
		{"for a wildcard the records of the name that is asked for do not count", le, "*.shop.test", "www.shop.test", zone{"www.shop.test": {`CAA 0 issue "pki.goog"`}}, ""},
		{"a critical property that nobody knows", le, "shop.test", "shop.test", zone{"shop.test": {`CAA 0 issue "letsencrypt.org"`, `CAA 128 tbs "x"`}}, `caa_forbids: critical property "tbs"`},
		{"a property that nobody knows and that may be ignored", le, "shop.test", "shop.test", zone{"shop.test": {`CAA 0 tbs "x"`}}, ""},
		{"a critical property of a later standard", le, "shop.test", "shop.test", zone{"shop.test": {`CAA 128 issuemail "x.test"`}}, ""},
		{"an authority that is not known may go by any name", private, "shop.test", "shop.test", zone{"shop.test": {`CAA 0 issue "digicert.com"`}}, ""},
		{"an authority that is not known is refused with all others", private, "shop.test", "shop.test", zone{"shop.test": {`CAA 0 issue ";"`}}, `caa_forbids: "Corp Internal PKI"`},
		{"a name that the leaf does not have is not renewed", le, "other.test", "shop.test", zone{"shop.test": {`CAA 0 issue ";"`}}, ""},
		{"an IP address", le, "127.0.0.1", "127.0.0.1", zone{dnsd.Any: {`CAA 0 issue ";"`}}, ""},
		{"strings are escaped", le, "shop.test", "shop.test", zone{"shop.test": {`CAA 0 issue "evil.test; \027[31m\226\128\174"`}}, `caa_forbids: "evil.test; \x1b[31m\u202e"`},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			_, checker := lab(t, tt.zone)
			q := issue(t, tt.issuer, tt.leaf).query("127.0.0.1")
			q.Names = []string{tt.asked, tt.asked}
			expect(t, checker.Check(t.Context(), q).Findings, tt.want)
		})
	}
}

func TestCAAOfALeafThatIsItsOwnIssuer(t *testing.T) {
	now := time.Now()
	own := certtest.Issue(t, nil, certtest.Server(now, "shop.test"), nil)
	_, checker := lab(t, zone{"shop.test": {`CAA 0 issue ";"`}})
	q := records.Query{Host: "shop.test", Port: 443, Names: []string{"shop.test"}, Presented: []*x509.Certificate{own.Cert}, Now: now}
	expect(t, checker.Check(t.Context(), q).Findings, "")
}

func TestALookupThatFailsSaysNothingOfCAA(t *testing.T) {
	for _, name := range []string{"www.shop.test", "shop.test"} {
		server, checker := lab(t, zone{"www.shop.test": {}, "shop.test": {`CAA 0 issue "pki.goog"`}})
		server.Fail(name, dnsd.ServFail)
		q := issue(t, "Let's Encrypt", "www.shop.test").query("www.shop.test")
		expect(t, checker.Check(t.Context(), q).Findings, "")
	}
}

func TestUntil(t *testing.T) {
	i := issue(t, "Let's Encrypt", "www.signed.test")
	answers := func(ttl time.Duration, secure bool, aliases ...string) func(context.Context, string, uint16) (resolve.Answer, error) {
		return func(_ context.Context, _ string, kind uint16) (resolve.Answer, error) {
			if kind == dns.TypeA {
				return resolve.Answer{Authenticated: secure, TTL: 5 * time.Minute, Aliases: aliases}, nil
			}
			return resolve.Answer{Authenticated: secure, TTL: ttl}, nil
		}
	}
	failing := func(context.Context, string, uint16) (resolve.Answer, error) {
		return resolve.Answer{}, errors.New("no answer")
	}
	tests := []struct {
		about string
		query func(context.Context, string, uint16) (resolve.Answer, error)
		host  string
		want  time.Duration
	}{
		{"as long as the answers hold, addresses aside", answers(10*time.Minute, true), "www.signed.test", 10 * time.Minute},
		{"as long as the host's aliases hold", answers(10*time.Minute, true, "a.signed.test"), "www.signed.test", 5 * time.Minute},
		{"an hour at most", answers(48*time.Hour, false), "www.signed.test", time.Hour},
		{"a minute at least", answers(0, true), "www.signed.test", time.Minute},
		{"a minute after a failure", failing, "www.signed.test", time.Minute},
		{"an hour where there is nothing to ask", failing, "127.0.0.1", time.Hour},
	}
	for _, tt := range tests {
		checker := records.Checker{Query: tt.query}
		if r := checker.Check(t.Context(), i.query(tt.host)); !r.Until.Equal(i.now.Add(tt.want)) {
			t.Errorf("%s: it is kept for %v", tt.about, r.Until.Sub(i.now))
		}
	}
	checker := records.Checker{Query: failing}
	if r := checker.Check(t.Context(), records.Query{Host: "www.signed.test", Now: i.now}); len(r.Findings) > 0 || !r.Until.After(i.now) {
		t.Errorf("nothing was presented: %+v", r)
	}
}

// FuzzTLSA compares arbitrary records with what is served: a record that has the leaf's
// very data vouches for it, and none other of usage 3 does.
func FuzzTLSA(f *testing.F) {
	now := time.Now()
	root := certtest.Issue(f, nil, certtest.CA("Root", now), nil)
	leaf := certtest.Issue(f, root, certtest.Server(now, "www.signed.test"), nil)
	for usage := range 4 {
		_, data, _ := strings.Cut(tlsa(usage, 0, 0, root.Cert), " 0 0 ")
		raw, _ := hex.DecodeString(data)
		f.Add(uint8(usage), uint8(0), uint8(0), raw)
	}
	f.Add(uint8(3), uint8(1), uint8(0), leaf.Cert.RawSubjectPublicKeyInfo)
	f.Add(uint8(200), uint8(9), uint8(9), []byte(nil))
	q := records.Query{Host: "www.signed.test", Port: 443, Presented: []*x509.Certificate{leaf.Cert, root.Cert}, Now: now}
	f.Fuzz(func(t *testing.T, usage, selector, matching uint8, data []byte) {
		record := &dns.TLSA{Usage: usage, Selector: selector, MatchingType: matching, Certificate: hex.EncodeToString(data)}
		r := check(t, q, dns.TypeTLSA, record)
		if usage != 3 || selector > 1 || matching > 2 {
			return
		}
		if fits := strings.EqualFold(tlsa(3, int(selector), int(matching), leaf.Cert), fmt.Sprintf("TLSA 3 %d %d %x", selector, matching, data)); fits != r.Vouched {
			t.Errorf("3 %d %d %x is vouched for: %v", selector, matching, data, r.Vouched)
		}
	})
}

// FuzzCAA judges by arbitrary records: what it says is fit to be shown.
func FuzzCAA(f *testing.F) {
	f.Add(uint8(0), "issue", "letsencrypt.org")
	f.Add(uint8(128), "issue", "a.test; \x1b[31m")
	f.Add(uint8(128), "\x00\u202e", ";")
	now := time.Now()
	authority := certtest.CA("R1", now)
	authority.Subject.Organization = []string{"Let's Encrypt"}
	root := certtest.Issue(f, nil, authority, nil)
	leaf := certtest.Issue(f, root, certtest.Server(now, "www.signed.test"), nil)
	q := records.Query{Host: "www.signed.test", Port: 443, Names: []string{"www.signed.test"}, Presented: []*x509.Certificate{leaf.Cert}, Now: now}
	f.Fuzz(func(t *testing.T, flag uint8, tag, value string) {
		r := check(t, q, dns.TypeCAA, &dns.CAA{Flag: flag, Tag: tag, Value: value})
		if strings.EqualFold(tag, "issue") && value == "letsencrypt.org" && len(r.Findings) > 0 {
			t.Errorf("found %v, where the issuer is named", r.Findings)
		}
	})
}

// check makes a check in which the one record is the answer to every question of its
// type, and sees that findings can be shown.
func check(t *testing.T, q records.Query, kind uint16, record dns.RR) records.Result {
	checker := records.Checker{Query: func(_ context.Context, _ string, asked uint16) (resolve.Answer, error) {
		if asked != kind {
			return resolve.Answer{Authenticated: true}, nil
		}
		return resolve.Answer{Authenticated: true, Records: []dns.RR{record}}, nil
	}}
	r := checker.Check(t.Context(), q)
	for _, f := range r.Findings {
		if strings.ContainsFunc(f.Detail, func(r rune) bool { return r < ' ' || r > '~' }) || len(f.Detail) > 1000 {
			t.Errorf("%q cannot be shown", f.Detail)
		}
	}
	return r
}
