package discover_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// told renders certificates for comparisons: name, kind of source, endpoints.
func told(certificates []certmedic.Certificate) string {
	var out []string
	for _, c := range certificates {
		line := c.Name + " " + string(c.Source.Kind)
		for _, e := range c.Endpoints {
			line += fmt.Sprintf(" %s/%s/%s", e.Protocol, e.Address, e.ServerName)
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func TestHost(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	tree.Issue("wild", []string{"*.w.example.test"}, disktest.Options{})
	tree.Issue("unused", []string{"unused.example.test"}, disktest.Options{})
	other := t.TempDir()
	alias := filepath.Join(other, "alias.pem")
	if err := os.Symlink(tree.Live("wild", "fullchain"), alias); err != nil {
		t.Fatal(err)
	}
	server := func(listen, names, cert string) string {
		return fmt.Sprintf("server { %s %s ssl_certificate %s; ssl_certificate_key /k.pem; }\n", listen, names, cert)
	}
	conf := filepath.Join(other, "nginx.conf")
	text := "http {\n" +
		server("listen 443 ssl; listen [::]:443 ssl;", "server_name _ ~^x *.shop.example.test www.shop.example.test;", tree.Live("shop", "fullchain")) +
		server("listen [::]:8443 ssl;", "", tree.Archive("shop", "fullchain", 1)) +
		server("listen 10.0.0.7:443 ssl;", "server_name _;", alias) +
		server("listen 127.0.0.1:9443 ssl;", "server_name shop;", "own/a.pem") +
		server("listen 9444 ssl;", "server_name .api.example.test;", "own/b.pem") +
		server("listen 9445 ssl;", "server_name api2.example.test;", "own/b.pem") +
		server("listen 9446 ssl;", "server_name two.example.test;", "own/c.pem; ssl_certificate own/d.pem") + "}"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	result, findings := discover.Host(discover.Options{CertbotDirs: []string{tree.ConfigDir}, NginxConf: conf, Now: time.Now()})
	if len(findings) > 0 {
		t.Errorf("findings %+v", findings)
	}
	want := `shop certbot tls/127.0.0.1:443/www.shop.example.test tls/[::1]:8443/shop.example.test
unused certbot
wild certbot tls/10.0.0.7:443/certmedic.w.example.test
a files tls/127.0.0.1:9443/
api.example.test files tls/127.0.0.1:9444/api.example.test tls/127.0.0.1:9445/api2.example.test
two.example.test files
two.example.test-2 files
127.0.0.1:9446/two.example.test  tls/127.0.0.1:9446/two.example.test`
	if got := told(result.Certificates); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, c := range result.Certificates {
		if c.Name == "a" && (c.Source.Cert != filepath.Join(other, "own/a.pem") || c.Source.Key != "/k.pem") {
			t.Errorf("source of %s: %+v", c.Name, c.Source)
		}
		if c.Mode != certmedic.ModeObserve || len(c.Allow) > 0 {
			t.Errorf("%s may be acted for: %+v", c.Name, c)
		}
	}
}

func TestHostSaysWhatItCannotRead(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	conf := filepath.Join(t.TempDir(), "nginx.conf")
	text := fmt.Sprintf("http { include gone;\nserver { listen 443 ssl; ssl_certificate %s; } }\n}", tree.Live("shop", "fullchain"))
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	dirs := []string{filepath.Join(t.TempDir(), "no-tree"), tree.ConfigDir}
	result, findings := discover.Host(discover.Options{CertbotDirs: dirs, NginxConf: conf, Now: time.Now()})
	if got := told(result.Certificates); got != "shop certbot tls/127.0.0.1:443/shop.example.test" {
		t.Errorf("certificates %s", got)
	}
	var details []string
	for _, f := range findings {
		details = append(details, string(f.Code)+" "+f.Detail)
	}
	for i, part := range []string{"file_missing open ", "file_unreadable " + conf + ":1: include: ", "file_unreadable " + conf + ":3: unexpected"} {
		if i >= len(details) || !strings.HasPrefix(details[i], part) {
			t.Errorf("finding %d does not begin with %q: %q", i, part, details)
		}
	}
}
