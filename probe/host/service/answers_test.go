package service_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/host/service/servicetest"
)

// text writes a configuration beside certificates and reads it.
func text(t *testing.T, kind service.Kind, config string) service.Service {
	t.Helper()
	c := servicetest.Case{Files: map[string]string{servicetest.Main(string(kind)): config}}
	return service.Read(kind, servicetest.Write(t, c, string(kind), filepath.Join(t.TempDir(), "conf")))
}

func TestAnswers(t *testing.T) {
	const certificate = "ssl_certificate good.pem; ssl_certificate_key good.key;"
	nginx := `events {} http { ` + certificate + `
server { listen 443 ssl; server_name first.test; }
server { listen 443 ssl default_server; server_name _; }
server { listen 443 ssl; server_name shop.test *.shop.test; }
server { listen 443 ssl; server_name .www.shop.test www.*; }
server { listen 443 ssl; server_name ~^img\d+\.test$ ~^(?=x)y; }
server { listen 127.0.0.1:443 ssl; server_name local.test; }
server { listen [::]:443 ssl; server_name six.test; }
server { listen 8443 quic; listen 8443 ssl; server_name quic.test; }
}`
	apache := "Include @/modules.conf\nListen 443\nSSLEngine on\n" + strings.Repeat("\n", 3) +
		"<VirtualHost *:443>\nServerName a.test\nSSLCertificateFile good.both\n</VirtualHost>\n" +
		"<VirtualHost *:443>\nServerName b.test\nServerAlias *.test ??.example\nSSLCertificateFile good.both\n</VirtualHost>\n" +
		"<VirtualHost 192.0.2.1:443>\nServerName c.test\nSSLCertificateFile good.both\n</VirtualHost>\n"
	haproxy := "frontend f\n bind :443 ssl crt @/other.both crt @/good.both\n bind :8443 ssl crt-list @/list\n"
	for _, row := range []struct {
		about   string
		kind    service.Kind
		config  string
		address string
		name    string
		lines   string // of the servers that answer
	}{
		{"the name itself", service.Nginx, nginx, "192.0.2.1:443", "SHOP.test.", "4"},
		{"a wildcard", service.Nginx, nginx, "192.0.2.1:443", "a.shop.test", "4"},
		{"the longer wildcard, which is the name itself too", service.Nginx, nginx, "192.0.2.1:443", "a.www.shop.test", "5"},
		{"a wildcard at the end", service.Nginx, nginx, "192.0.2.1:443", "www.other", "5"},
		{"a regular expression, and one that is not understood", service.Nginx, nginx, "192.0.2.1:443", "img7.test", "6 6"},
		{"else the default, or what is not understood", service.Nginx, nginx, "192.0.2.1:443", "none.test", "3 6"},
		{"no name", service.Nginx, nginx, "192.0.2.1:443", "", "3"},
		{"an address that a server has for itself", service.Nginx, nginx, "127.0.0.1:443", "shop.test", "7"},
		{"the other family", service.Nginx, nginx, "[2001:db8::1]:443", "shop.test", "8"},
		{"over TCP", service.Nginx, nginx, "192.0.2.1:8443", "", "9"},
		{"nobody is there", service.Nginx, nginx, "192.0.2.1:444", "shop.test", ""},
		{"the first host is the default", service.Apache, apache, "127.0.0.1:443", "none.example.org", "7"},
		{"an alias with a star", service.Apache, apache, "127.0.0.1:443", "x.y.test", "11"},
		{"the first that fits", service.Apache, apache, "127.0.0.1:443", "a.test", "7"},
		{"an alias with a question mark", service.Apache, apache, "127.0.0.1:443", "ab.example", "11"},
		{"a host with the address", service.Apache, apache, "192.0.2.1:443", "a.test", "16"},
		{"the certificate that has the name", service.HAProxy, haproxy, "127.0.0.1:443", "shop.example.test", "2"},
		{"the first of the line", service.HAProxy, haproxy, "127.0.0.1:443", "none.test", "2"},
		{"a line of the list", service.HAProxy, haproxy, "127.0.0.1:8443", "a.w.test", "3"},
		{
			"a name that dovecot has a certificate for", service.Dovecot,
			"protocols = imap\nssl_cert = <@/good.pem\nssl_key = <@/good.key\nlocal_name b.test {\n ssl_cert = <@/other.pem\n ssl_key = <@/other.key\n}\n",
			"127.0.0.1:993", "b.test", "5",
		},
		{"postfix as it is", service.Postfix, "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @/good.both\n", "127.0.0.1:25", "x.test", "1"},
	} {
		t.Run(row.about, func(t *testing.T) {
			c := servicetest.Case{Files: map[string]string{servicetest.Main(string(row.kind)): row.config, "list": "@/other.both\n@/good.both *.w.test\n"}}
			s := service.Read(row.kind, servicetest.Write(t, c, string(row.kind), filepath.Join(t.TempDir(), "conf")))
			var lines []string
			for _, server := range service.Answers(s, row.address, row.name) {
				lines = append(lines, fmt.Sprint(server.Line))
			}
			if got := strings.Join(lines, " "); got != row.lines {
				t.Errorf("lines %q answer, want %q; servers %+v", got, row.lines, s.Servers)
			}
		})
	}
}

func TestHAProxyTakesTheCertificateWithTheName(t *testing.T) {
	s := text(t, service.HAProxy, "frontend f\n bind :443 ssl crt @/other.both crt @/good.both\n")
	for name, want := range map[string]string{"shop.example.test": "good.both", "x.test": "other.both", "": "other.both"} {
		got := service.Answers(s, "127.0.0.1:443", name)
		if len(got) != 1 || filepath.Base(got[0].Certificates[0].Cert) != want {
			t.Errorf("%q: %+v, want %s", name, got, want)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, row := range []struct {
		kind   service.Kind
		config string
		want   string // NAME=VALUES@WHERE:LINE
	}{
		{
			service.Nginx, "events {}\nhttp {\nssl_protocols TLSv1.2 TLSv1.3;\nserver {\nlisten 443 ssl; ssl_stapling on; ssl_certificate good.pem; ssl_certificate_key good.key;\n}\n}",
			"ssl_protocols=TLSv1.2 TLSv1.3@:3, ssl_stapling=on@server at :4:5",
		},
		{
			service.Apache, "Include @/modules.conf\nSSLProtocol all -SSLv3\nListen 443\n<VirtualHost *:443>\nSSLUseStapling on\n</VirtualHost>\n",
			"SSLProtocol=all -SSLv3@:2, SSLUseStapling=on@VirtualHost *:443:5",
		},
		{
			service.HAProxy, "global\n ssl-default-bind-options ssl-min-ver TLSv1.2\nfrontend www\n bind :443 ssl crt @/good.both ssl-min-ver TLSv1.0\n",
			"ssl-default-bind-options=ssl-min-ver TLSv1.2@:2, ssl-min-ver=TLSv1.0@bind :443 in frontend www:4",
		},
		{
			service.Postfix, "smtpd_tls_mandatory_protocols = >=TLSv1.2\n",
			"smtpd_tls_mandatory_protocols=>=TLSv1.2@:1",
		},
		{
			service.Dovecot, "ssl_min_protocol = TLSv1\nlocal_name a.test {\n ssl_min_protocol = TLSv1.3\n}\n",
			"ssl_min_protocol=TLSv1@:1, ssl_min_protocol=TLSv1.3@local_name a.test:3",
		},
	} {
		s := text(t, row.kind, row.config)
		var out []string
		for _, setting := range s.Settings {
			if strings.Contains(row.want, setting.Name+"=") {
				where := strings.ReplaceAll(setting.Where, s.Conf, "")
				out = append(out, fmt.Sprintf("%s=%s@%s:%d", setting.Name, strings.Join(setting.Values, " "), where, setting.Line))
			}
		}
		if got := strings.Join(out, ", "); got != row.want {
			t.Errorf("%s: %s, want %s", row.kind, got, row.want)
		}
	}
}

func TestWhatIsKnownOfAService(t *testing.T) {
	s := text(t, service.Nginx, "user www;\npid /run/n.pid;\nevents {}\nhttp { server { listen 443 ssl; ssl_certificate /c/$ssl_server_name.pem; ssl_certificate_key /k/$ssl_server_name.key; } }")
	if s.PIDFile != "/run/n.pid" || len(s.Users) != 1 || s.Users[0] != "www" || s.Units[0] != "nginx.service" || len(s.Files) != 1 {
		t.Errorf("nginx: %+v", s)
	}
	s = text(t, service.Apache, "Include @/modules.conf\n")
	if filepath.Base(s.PIDFile) != "apache.pid" || s.Users[0] != "root" || len(s.Files) != 2 {
		t.Errorf("apache: %+v", s)
	}
	s = text(t, service.Postfix, "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @/good.both\ntls_server_sni_maps = hash:@/good.pem\n")
	if s.PIDFile != "/var/spool/postfix/pid/master.pid" || len(s.Maps) != 1 || !s.Maps[0].Holds || !s.Maps[0].ModTime.IsZero() || s.Maps[0].Line != 3 {
		t.Errorf("postfix: %+v", s)
	}
	for _, kind := range service.Kinds() {
		gone := service.Read(kind, filepath.Join(t.TempDir(), "gone"))
		if len(gone.Problems) != 1 || !gone.Problems[0].Sure {
			t.Errorf("%s: %+v", kind, gone.Problems)
		}
		if len(service.Mains(kind)) == 0 {
			t.Errorf("no main file of %s", kind)
		}
	}
}

func TestFoundReadsWhatIsThere(t *testing.T) {
	for _, s := range service.Found() {
		if _, err := os.Stat(s.Conf); err != nil {
			t.Error(err)
		}
	}
}
