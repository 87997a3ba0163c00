package protocols_test

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/check"
)

// what a server has: a certificate of one type, or both, of which it presents one to
// clients that take any.
type has string

const (
	rsaOnly   has = "RSA"
	ecdsaOnly has = "ECDSA"
	both      has = "RSA and ECDSA"
)

func TestServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hosts := map[string]*host{"mail": w.startMail(), "services": w.startServices(), "databases": w.startDatabases()}
	hosts["databases"].must(`mariadb --execute="CREATE USER monitoring"`) // for any host: it speaks to none without

	t.Run("every protocol", func(t *testing.T) { testEveryProtocol(t, hosts) })
	t.Run("a news server's peer", func(t *testing.T) { testNewsPeer(t, hosts["services"]) })
	t.Run("a database that counts what breaks off", func(t *testing.T) { testPatience(t, hosts) })
	t.Run("quic", func(t *testing.T) { testQUIC(t, hosts["services"]) })
	t.Run("proxies", func(t *testing.T) { testProxies(t, hosts) })
	t.Run("troubles", func(t *testing.T) { testTroubles(t, hosts) })
}

func testEveryProtocol(t *testing.T, hosts map[string]*host) {
	rows := []struct {
		server, target string
		has            has
	}{
		{"postfix", "smtp://mail", both},
		{"postfix, where TLS is demanded", "smtp://mail:587", both},
		{"postfix", "smtps://mail", both},
		{"dovecot", "lmtp://mail", rsaOnly},
		{"dovecot", "imap://mail", rsaOnly},
		{"dovecot", "imaps://mail", rsaOnly},
		{"dovecot", "pop3://mail", rsaOnly},
		{"dovecot", "pop3s://mail", rsaOnly},
		{"dovecot", "sieve://mail", rsaOnly},
		{"vsftpd", "ftp://services", rsaOnly},
		{"vsftpd", "ftps://services", rsaOnly},
		{"slapd", "ldap://services", rsaOnly},
		{"slapd", "ldaps://services", rsaOnly},
		{"inn", "nntp://services", rsaOnly},
		{"inn", "nntps://services", rsaOnly},
		{"inspircd", "irc://services", rsaOnly},
		{"inspircd", "ircs://services", rsaOnly},
		{"prosody", "xmpp://services", ecdsaOnly},
		{"prosody", "xmpps://services", ecdsaOnly},
		{"prosody", "xmpp-server://services", ecdsaOnly},
		{"prosody", "xmpps-server://services", ecdsaOnly},
		{"unbound", "dot://services", ecdsaOnly},
		{"xrdp", "rdp://services", rsaOnly},
		{"nginx", "https://services", both},
		{"nginx", "services", both},
		{"apache", "https://services:8443", both},
		{"haproxy", "https://services:8444", both},
		{"PostgreSQL", "postgres://databases", ecdsaOnly},
		{"MariaDB", "mysql://databases", rsaOnly},
		{"MariaDB", "mariadb://databases", rsaOnly},
	}
	var targets []string
	for _, row := range rows {
		targets = append(targets, row.target)
	}
	results, code := hosts["mail"].check(t, targets...)
	if code != 0 {
		t.Errorf("the exit code is %d", code)
	}
	for _, row := range rows {
		t.Run(row.server+" "+row.target, func(t *testing.T) {
			r := results[row.target]
			expectFine(t, r)
			expectServed(t, r, hosts[nameOf(row.target)], row.has)
		})
	}
}

// nameOf returns the host's name in a target.
func nameOf(target string) string {
	if _, rest, ok := strings.Cut(target, "://"); ok {
		target = rest
	}
	name, _, _ := strings.Cut(target, ":")
	return name
}

func expectFine(t *testing.T, r check.Result) {
	t.Helper()
	if r.Status != certmedic.StatusOK || findings(r) != "" {
		t.Errorf("the status is %q, with the findings\n%s", r.Status, findings(r))
	}
	for _, a := range r.Addresses {
		if a.Stage != certmedic.ProbeDone || a.TLS == nil || a.TLS.Version == "" {
			t.Errorf("%s %s ended at stage %s with %+v", a.Address, a.Variant, a.Stage, a.TLS)
		}
	}
}

// expectServed checks that a result shows what the server has, and nothing else.
func expectServed(t *testing.T, r check.Result, h *host, what has) {
	t.Helper()
	var want []certmedic.Fingerprint
	if what != ecdsaOnly {
		want = append(want, fingerprint(h.rsa))
	}
	if what != rsaOnly {
		want = append(want, fingerprint(h.ecdsa))
	}
	got := served(r)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("it shows %s, want %s: %s", got, want, what)
	}
}

// testNewsPeer asks innd from its own host, which is a peer of it, and not a reader.
func testNewsPeer(t *testing.T, h *host) {
	results, _ := h.check(t, "nntp://127.0.0.1", "--name", h.Name())
	expectFine(t, results["nntp://127.0.0.1"])
	expectServed(t, results["nntp://127.0.0.1"], h, rsaOnly)
}

// testQUIC has a server of quic-go, because the nginx of Debian 12 has no HTTP/3.
func testQUIC(t *testing.T, h *host) {
	socket, err := h.ListenPacket("udp", "services:4443")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	listener, err := quic.Listen(socket, &tls.Config{Certificates: []tls.Certificate{h.ecdsa.TLS()}, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	results, code := h.check(t, "quic://services:4443")
	r := results["quic://services:4443"]
	expectFine(t, r)
	expectServed(t, r, h, ecdsaOnly)
	if code != 0 {
		t.Errorf("the exit code is %d", code)
	}
}

// testProxies asks for a server under a name that only the proxies' host knows.
func testProxies(t *testing.T, hosts map[string]*host) {
	services := hosts["services"]
	services.must(`echo "` + services.IP() + ` inside.example.test" >>/etc/hosts`)
	for _, row := range []struct{ about, proxy, target string }{
		{"tinyproxy, by CONNECT", "http://services:3128", "https://inside.example.test"},
		{"dante, by SOCKS5", "socks5://services:1080", "https://inside.example.test"},
		{"STARTTLS through tinyproxy", "http://services:3128", "ldap://inside.example.test"},
		{"STARTTLS through dante", "socks5h://services:1080", "ldap://inside.example.test"},
	} {
		t.Run(row.about, func(t *testing.T) {
			results, _ := hosts["mail"].check(t, row.target, "--name", "services", "--proxy", row.proxy)
			what := both
			if strings.HasPrefix(row.target, "ldap:") {
				what = rsaOnly
			}
			expectFine(t, results[row.target])
			expectServed(t, results[row.target], services, what)
		})
	}
	results, code := hosts["mail"].check(t, "https://inside.example.test:81", "--proxy", "http://services:3128")
	if r := results["https://inside.example.test:81"]; code != 3 || !strings.Contains(findings(r), `the proxy "services:3128"`) {
		t.Errorf("where the proxy cannot reach the server the exit code is %d and the findings are\n%s", code, findings(r))
	}
}

// testPatience probes MariaDB more often than it lets a host break off connections: blocked,
// the host would cut off everybody on it.
func testPatience(t *testing.T, hosts map[string]*host) {
	hosts["databases"].must(`mariadb --execute="SET GLOBAL max_connect_errors=3; FLUSH HOSTS"`)
	for i := range 8 {
		results, code := hosts["services"].check(t, "mysql://databases")
		if code != 0 {
			t.Fatalf("probe %d has the exit code %d and the findings\n%s", i+1, code, findings(results["mysql://databases"]))
		}
	}
}

// testTroubles checks what a person reads where a server does not do it.
func testTroubles(t *testing.T, hosts map[string]*host) {
	hosts["services"].must("systemctl stop inspircd")
	hosts["databases"].must(`mariadb --execute="DROP USER monitoring; FLUSH PRIVILEGES"`)
	for _, row := range []struct {
		about, target string
		status        certmedic.Status
		code          int
		want          []string // what the findings say
	}{
		{"a server without STARTTLS is told from one that is down", "smtp://mail:2501", certmedic.StatusUnknown, 3, []string{"starttls_failed: the server does not offer STARTTLS"}},
		{"an expired certificate behind STARTTLS", "smtp://mail:2502", certmedic.StatusCritical, 2, []string{"expired: "}},
		{"an expired RSA certificate beside a good ECDSA one", "smtp://mail:2503", certmedic.StatusCritical, 2, []string{"expired: "}},
		{"a server that was stopped", "irc://services", certmedic.StatusUnknown, 3, []string{"unreachable: "}},
		{"a server of another protocol", "imap://mail:25", certmedic.StatusUnknown, 3, []string{"starttls_failed: "}},
		{"TLS where the server begins in plain text", "smtps://mail:25", certmedic.StatusUnknown, 3, []string{"handshake_failed: "}},
		{"a database that speaks to no stranger", "mysql://databases", certmedic.StatusUnknown, 3, []string{"starttls_failed: ", "is not allowed to connect"}},
	} {
		t.Run(row.about, func(t *testing.T) {
			results, code := hosts["services"].check(t, row.target)
			r := results[row.target]
			if r.Status != row.status || code != row.code {
				t.Errorf("the status is %q with exit code %d, want %q with %d", r.Status, code, row.status, row.code)
			}
			for _, want := range row.want {
				if !strings.Contains(findings(r), want) {
					t.Errorf("the findings do not say %q:\n%s", want, findings(r))
				}
			}
		})
	}
	t.Run("what is expired keeps its facts", func(t *testing.T) { testExpired(t, hosts["mail"]) })
}

func testExpired(t *testing.T, mail *host) {
	results, _ := mail.check(t, "smtp://mail:2502", "smtp://mail:2503")
	for _, a := range results["smtp://mail:2502"].Addresses {
		leaf, ok := a.Leaf()
		if !ok || leaf.SHA256 != fingerprint(mail.expired) || !leaf.NotAfter.Equal(mail.expired.Cert.NotAfter) {
			t.Errorf("of an expired certificate there is %+v", leaf)
		}
	}
	want := map[certmedic.Fingerprint]bool{fingerprint(mail.expired): true, fingerprint(mail.ecdsa): false}
	for _, a := range results["smtp://mail:2503"].Addresses {
		leaf, _ := a.Leaf()
		expired, known := want[leaf.SHA256]
		if told := certmedic.HasFinding(a.Findings, certmedic.Expired); !known || told != expired {
			t.Errorf("%s: that %s is expired is told: %v, want %v", a.Variant, leaf.SHA256.Short(), told, expired)
		}
		delete(want, leaf.SHA256)
	}
	if len(want) > 0 {
		t.Error(fmt.Sprint("not looked at: ", want))
	}
}
