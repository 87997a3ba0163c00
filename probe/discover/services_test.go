package discover_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover"
	"github.com/certmedic/certmedic/probe/discover/sd"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// write writes a file below a folder and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// combined returns a certificate with its key, as haproxy has them in one file.
func combined(t *testing.T, key crypto.Signer, names ...string) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// expect compares what was found, and wants as many findings as there are beginnings.
func expect(t *testing.T, opts discover.Options, want string, beginnings ...string) {
	t.Helper()
	opts.Now = time.Now()
	result, findings := discover.Find(t.Context(), opts)
	if got := told(result.Certificates); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for i, f := range findings {
		if got := string(f.Code) + " " + f.Detail; i >= len(beginnings) || !strings.HasPrefix(got, beginnings[i]) {
			t.Errorf("finding %d: %s", i, got)
		}
	}
	if len(findings) < len(beginnings) {
		t.Errorf("%d findings, want %q", len(findings), beginnings)
	}
	for _, c := range result.Certificates {
		if c.Mode != certmedic.ModeObserve || len(c.Allow) > 0 {
			t.Errorf("%s may be acted for: %+v", c.Name, c)
		}
	}
}

func TestWhoAnswersForAName(t *testing.T) {
	tree := disktest.New(t)
	for _, name := range []string{"a", "b", "c"} {
		tree.Issue(name, []string{name + ".example.test"}, disktest.Options{})
	}
	use := func(name string) string { return "ssl_certificate " + tree.Live(name, "fullchain") + ";" }
	for _, row := range []struct{ about, conf, want string }{
		{
			"a default server is asked for by a name of its certificate",
			"server { listen 443 ssl; " + use("a") + "}",
			"a certbot tls/127.0.0.1:443/a.example.test\nb certbot\nc certbot",
		},
		{
			"unless another server has that name",
			"server { listen 443 ssl; " + use("a") + "} server { listen 443 ssl; server_name a.example.test; " + use("b") + "}",
			"a certbot\nb certbot tls/127.0.0.1:443/a.example.test\nc certbot",
		},
		{
			"a server without names that is not the default is never reached",
			"server { listen 443 ssl; server_name b.example.test; " + use("b") + "} server { listen 443 ssl; " + use("a") + "}",
			"a certbot\nb certbot tls/127.0.0.1:443/b.example.test\nc certbot",
		},
		{
			"of two servers with one name the first answers",
			"server { listen 443 ssl; server_name x.test; " + use("c") + "} server { listen 443 ssl; server_name x.test; " + use("a") + "}",
			"a certbot\nb certbot\nc certbot tls/127.0.0.1:443/x.test",
		},
		{
			"a wildcard address is not reached where another server has the loopback",
			"server { listen 443 ssl; server_name a.test; " + use("a") + "} server { listen 127.0.0.1:443 ssl; server_name b.test; " + use("b") + "}",
			"a certbot\nb certbot tls/127.0.0.1:443/b.test\nc certbot",
		},
		{
			"what cannot be probed is left out",
			"server { listen 443 quic; listen 8443 quic; listen 8443 ssl; server_name a.test; " + use("a") + "}",
			"a certbot tls/127.0.0.1:8443/a.test\nb certbot\nc certbot",
		},
	} {
		t.Run(row.about, func(t *testing.T) {
			conf := write(t, t.TempDir(), "nginx.conf", "http { "+row.conf+" }")
			expect(t, discover.Options{CertbotDirs: []string{tree.ConfigDir}, NginxConf: conf}, row.want)
		})
	}
	conf := write(t, t.TempDir(), "nginx.conf", "http { server { listen 443 quic; listen 443 ssl; server_name a.test; "+use("a")+" } }")
	expect(t, discover.Options{CertbotDirs: []string{tree.ConfigDir}, NginxConf: conf, Protocols: []string{"tls", "quic"}},
		"a certbot quic/127.0.0.1:443/a.test tls/127.0.0.1:443/a.test\nb certbot\nc certbot")
}

func TestHAProxy(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	dir := t.TempDir()
	copied, err := os.ReadFile(tree.Live("shop", "fullchain"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "certs/1-shop.pem", string(copied))
	write(t, dir, "certs/2-twin.rsa.pem", combined(t, rsaKey(t), "twin.example.test"))
	write(t, dir, "certs/3-twin.ec.pem", combined(t, ecKey(t), "twin.example.test"))
	write(t, dir, "certs/4-again.pem", combined(t, ecKey(t), "shop.example.test", "again.example.test"))
	conf := write(t, dir, "haproxy.cfg", "frontend f\n bind :443,[::]:443 ssl crt "+dir+"/certs\n")
	tree.Renew("shop") // the copy is now an older version
	expect(t, discover.Options{CertbotDirs: []string{tree.ConfigDir}, HAProxyConf: conf},
		"shop certbot tls/127.0.0.1:443/shop.example.test\n2-twin.rsa files\n3-twin.ec files\n4-again files tls/127.0.0.1:443/again.example.test")
}

func TestMail(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("mail", []string{"mail.example.test"}, disktest.Options{})
	tree.Issue("imap", []string{"imap.example.test"}, disktest.Options{})
	dir := t.TempDir()
	main := write(t, dir, "main.cf", "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = "+tree.Live("mail", "fullchain")+"\nsmtpd_tls_key_file = "+tree.Live("mail", "privkey")+"\n")
	write(t, dir, "master.cf", "smtp inet n - n - - smtpd\nsmtps inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n")
	dovecot := write(t, dir, "dovecot.conf", "protocols = imap\nssl_cert = <"+tree.Live("mail", "fullchain")+"\nssl_key = <"+tree.Live("mail", "privkey")+
		"\nlocal_name imap.example.test {\n ssl_cert = <"+tree.Live("imap", "fullchain")+"\n ssl_key = <"+tree.Live("imap", "privkey")+"\n}\n")
	opts := discover.Options{
		CertbotDirs: []string{tree.ConfigDir}, PostfixConf: main, DovecotConf: dovecot, Protocols: []string{"smtp", "smtps", "imap", "imaps"},
	}
	expect(t, opts, "imap certbot imap/127.0.0.1:143/imap.example.test imaps/127.0.0.1:993/imap.example.test\n"+
		"mail certbot smtp/127.0.0.1:25/mail.example.test smtps/127.0.0.1:465/mail.example.test imap/127.0.0.1:143/mail.example.test imaps/127.0.0.1:993/mail.example.test")
	opts.PostfixConf = filepath.Join(dir, "gone.cf")
	opts.DovecotConf = ""
	expect(t, opts, "imap certbot\nmail certbot", "file_unreadable reading postfix's configuration")
}

func TestTreesOfOtherClients(t *testing.T) {
	dir := t.TempDir()
	text := combined(t, ecKey(t), "shop.example.test")
	write(t, dir, "acme/shop.example.test_ecc/shop.example.test.conf", "Le_Domain='shop.example.test'\n")
	write(t, dir, "acme/shop.example.test_ecc/fullchain.cer", text)
	write(t, dir, "acme/shop.example.test_ecc/shop.example.test.key", text)
	installed := write(t, dir, "installed.pem", text)
	conf := write(t, dir, "nginx.conf", "http { server { listen 443 ssl; ssl_certificate "+installed+"; } }")
	expect(t, discover.Options{Trees: []string{dir + "/acme"}, NginxConf: conf},
		"shop.example.test_ecc files tls/127.0.0.1:443/shop.example.test")
	expect(t, discover.Options{Trees: []string{t.TempDir()}}, "", "file_missing "+os.TempDir())
}

func TestCommands(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	cert := tree.Live("shop", "fullchain")
	dir := t.TempDir()
	nginx := write(t, dir, "nginx.conf", "http { server { listen 1 ssl; ssl_certificate "+cert+"; } }")
	apache := write(t, dir, "httpd.conf", "Listen 2\nSSLEngine on\n<IfDefine X>\n<VirtualHost *:2>\nServerName x.test\nSSLCertificateFile "+cert+"\n</VirtualHost>\n</IfDefine>\n")
	opts := discover.Options{
		CertbotDirs: []string{tree.ConfigDir}, NginxConf: nginx, NginxCommand: []string{"nginx", "-T"}, ApacheConf: apache, ApacheCommand: []string{"apachectl", "-S"},
	}
	t.Run("without the means nothing is run", func(t *testing.T) {
		expect(t, opts, "shop certbot tls/127.0.0.1:1/shop.example.test")
	})
	t.Run("what they print counts", func(t *testing.T) {
		opts.Run = func(_ context.Context, argv []string) ([]byte, error) {
			return []byte(map[string]string{
				"nginx -T":     "# configuration file /nowhere/nginx.conf:\nhttp { server { listen 3 ssl; ssl_certificate " + cert + "; } }\n",
				"apachectl -S": "VirtualHost configuration:\n*:2 x.test (" + apache + ":4)\nDefine: X\n",
			}[strings.Join(argv, " ")]), nil
		}
		expect(t, opts, "shop certbot tls/127.0.0.1:3/shop.example.test tls/127.0.0.1:2/x.test")
	})
	t.Run("what fails is told, and the files are read", func(t *testing.T) {
		opts.Run = func(_ context.Context, argv []string) ([]byte, error) {
			return nil, fmt.Errorf("running %s: exit code 1", argv[0])
		}
		expect(t, opts, "shop certbot tls/127.0.0.1:1/shop.example.test",
			"file_unreadable running nginx: exit code 1", "file_unreadable running apachectl: exit code 1")
	})
	t.Run("Host has no means", func(t *testing.T) {
		opts.Run = func(context.Context, []string) ([]byte, error) {
			t.Error("a command was run")
			return nil, nil
		}
		if result, _ := discover.Host(opts); told(result.Certificates) != "shop certbot tls/127.0.0.1:1/shop.example.test" {
			t.Errorf("got %s", told(result.Certificates))
		}
	})
}

// target takes targets as they are.
func target(text string) (certmedic.Endpoint, error) {
	if !strings.Contains(text, ":") {
		return certmedic.Endpoint{}, fmt.Errorf("target %q: no port", text)
	}
	return certmedic.Endpoint{Address: text, Protocol: "tls"}, nil
}

// records answers every lookup of SRV with one target.
type records struct{}

func (records) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", []*net.SRV{{Target: "d.test.", Port: 853}}, nil
}

func (records) LookupMX(context.Context, string) ([]*net.MX, error) {
	return nil, errors.New("no such name")
}

func TestServiceDiscovery(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.json", `[{"targets": ["a.test:443", "b.test:443"], "labels": {"team": "x", "__server_name": "b.test"}}]`)
	write(t, dir, "b.yml", "- targets: ['b.test:443', b.test, '192.0.2.1:443']\n")
	write(t, dir, "c.yml", "- target: []\n")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`[{"targets": ["c.test:443", "b.test:443"]}]`))
	}))
	defer server.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	opts := discover.Options{
		FileSD: []string{dir + "/*.json", dir + "/*.yml", dir + "/none.yml", dir + "/none*"},
		HTTPSD: []sd.Server{{URL: server.URL}, {URL: gone.URL}},
		DNS:    []sd.Query{{Names: []string{"_x._tcp.test"}}, {Names: []string{"x.test"}, Type: "MX"}},
	}
	expect(t, opts, "")
	opts.Means = discover.Means{Client: server.Client(), ParseTarget: target, Resolver: records{}}
	expect(t, opts, "192.0.2.1:443  tls/192.0.2.1:443/\na.test:443/b.test  tls/a.test:443/b.test\nb.test:443  tls/b.test:443/\n"+
		"c.test:443  tls/c.test:443/\nd.test:853  tls/d.test:853/",
		"file_unreadable "+dir+"/c.yml:1: unknown key", "file_missing file_sd: no file matches", "unreachable http_sd", `file_unreadable service discovery: target "b.test"`,
		`dns_failed looking up "x.test"`)
	result, _ := discover.Find(t.Context(), opts)
	for _, c := range result.Certificates {
		if !c.Watched || c.Source.Kind != certmedic.SourceNone {
			t.Errorf("%s is not a watched endpoint: %+v", c.Name, c)
		}
	}
	if labels := result.Certificates[1].Endpoints[0].Labels; len(labels) != 1 || labels["team"] != "x" {
		t.Errorf("labels %v", labels)
	}
}

func TestListeningSockets(t *testing.T) {
	tree := disktest.New(t)
	old := tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	tree.Renew("shop")
	second := tree.Issue("mail", []string{"mail.example.test"}, disktest.Options{})
	conf := write(t, t.TempDir(), "nginx.conf", "http { server { listen 443 ssl; server_name www.test; ssl_certificate "+tree.Live("shop", "fullchain")+"; } }")
	row := func(port int) string {
		return fmt.Sprintf("   0: 00000000:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 %d 1 0 100 0 0 10 0\n", port, port)
	}
	proc := t.TempDir()
	write(t, proc, "net/tcp", "sl\n"+row(80)+row(443)+row(993)+row(8443)+row(9443))
	if err := os.MkdirAll(filepath.Join(proc, strconv.Itoa(os.Getpid()), "fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	leaves := map[string]discover.Served{
		"tls 127.0.0.1:443":   {SHA256: old.Fingerprint},
		"imaps 127.0.0.1:993": {SHA256: second.Fingerprint},
		"tls 127.0.0.1:8443":  {SHA256: old.Fingerprint},
		"tls 127.0.0.1:9443":  {SHA256: "of another", Names: []string{"*.other.test"}},
	}
	opts := discover.Options{CertbotDirs: []string{tree.ConfigDir}, NginxConf: conf, Listening: true, Proc: proc, Protocols: []string{"tls", "imaps"}}
	bound := "mail certbot\nshop certbot tls/127.0.0.1:443/www.test"
	expect(t, opts, bound)
	opts.Served = func(_ context.Context, e certmedic.Endpoint) (discover.Served, error) {
		leaf, ok := leaves[e.Protocol+" "+e.Address]
		if !ok {
			return leaf, errors.New("no TLS")
		}
		return leaf, nil
	}
	expect(t, opts, "mail certbot imaps/127.0.0.1:993/mail.example.test\n"+
		"shop certbot tls/127.0.0.1:443/www.test tls/127.0.0.1:8443/shop.example.test\n"+
		"127.0.0.1:9443/certmedic.other.test  tls/127.0.0.1:9443/certmedic.other.test")
}
