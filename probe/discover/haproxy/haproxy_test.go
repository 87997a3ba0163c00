package haproxy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/haproxy"
)

// layout writes files below a new folder and returns it.
func layout(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "@/", dir+"/")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// told renders servers for comparisons, with names relative to the folder. An address whose
// default the server is has a "!", names that are not those of the certificate are quoted.
func told(dir string, servers []conf.Server) string {
	var out []string
	for _, s := range servers {
		var listens []string
		for _, l := range s.Listen {
			mark := ""
			if l.Default {
				mark = "!"
			}
			listens = append(listens, l.Protocol+" "+l.Address+mark)
		}
		names := "its own"
		if !s.ByCertificate {
			names = fmt.Sprintf("%q", s.Names)
		}
		out = append(out, fmt.Sprintf("%s:%d %s %q %v", filepath.Base(s.File), s.Line, names, listens, s.Certificates))
	}
	return strings.ReplaceAll(strings.Join(out, "\n"), dir+"/", "")
}

// debian is the configuration of Debian's package, shortened.
const debian = `global
	log /dev/log	local0
	chroot /var/lib/haproxy
	stats socket /run/haproxy/admin.sock mode 660 level admin
	user haproxy
	daemon

	# Default SSL material locations
	ca-base /etc/ssl/certs
	crt-base @/private

        ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets

defaults
	log	global
	mode	http
        timeout connect 5000
	errorfile 400 /etc/haproxy/errors/400.http
`

var serverRows = []struct{ about, conf, want string }{
	{"as the package ships it, it has no server", "", ""},
	{
		"a file with the key in it, by crt-base",
		"frontend www\n bind :80\n bind *:443 ssl crt a.pem alpn h2,http/1.1\n default_backend b\nbackend b\n server s 10.0.0.1:443 ssl crt client.pem",
		`haproxy.cfg:21 its own ["tls *:443!"] [{private/a.pem private/a.pem}]`,
	},
	{
		"several addresses and kinds of sockets, of all kinds of proxies",
		"listen tcp\n mode tcp\n bind 10.0.0.7:443,:::444,ipv6@:445,[fd00::1]:446,ipv4@:447-449,/run/x.sock,unix@x,abns@x,fd@3,no-port ssl crt a.pem\n" +
			"frontend q\n bind quic4@:443 ssl crt a.pem\n bind quic6@:443 ssl crt a.pem\npeers p\n bind :1024 ssl crt a.pem",
		"haproxy.cfg:21 its own [\"tls 10.0.0.7:443!\" \"tls [::]:444!\" \"tls [::]:445!\" \"tls [fd00::1]:446!\" \"tls *:447!\"] [{private/a.pem private/a.pem}]\n" +
			"haproxy.cfg:23 its own [\"quic *:443!\"] [{private/a.pem private/a.pem}]\nhaproxy.cfg:24 its own [\"quic [::]:443!\"] [{private/a.pem private/a.pem}]",
	},
	{
		"a folder, with keys beside, a bundle and what belongs to others",
		"frontend f\n bind :443 ssl crt first.pem crt @/certs strict-sni",
		"haproxy.cfg:20 its own [\"tls *:443!\"] [{private/first.pem private/first.pem}]\n" +
			"haproxy.cfg:20 its own [\"tls *:443\"] [{certs/a.pem certs/a.pem}]\n" +
			"haproxy.cfg:20 its own [\"tls *:443\"] [{certs/b.crt certs/b.key}]\n" +
			"haproxy.cfg:20 its own [\"tls *:443\"] [{certs/c.pem.ecdsa certs/c.pem.ecdsa} {certs/c.pem.rsa certs/c.pem.rsa}]\n" +
			"haproxy.cfg:20 its own [\"tls *:443\"] [{certs/d.pem certs/d.pem.key}]",
	},
	{
		"the base name of a bundle",
		"frontend f\n bind :443 ssl crt @/certs/c.pem",
		`haproxy.cfg:20 its own ["tls *:443!"] [{certs/c.pem.rsa certs/c.pem.rsa} {certs/c.pem.ecdsa certs/c.pem.ecdsa}]`,
	},
	{
		"a crt-list, with its names",
		"frontend f\n bind :443 ssl crt-list list.txt",
		"haproxy.cfg:20 [\"shop.test\" \"*.shop.test\"] [\"tls *:443!\"] [{private/a.pem private/a.pem}]\n" +
			"haproxy.cfg:20 its own [\"tls *:443\"] [{certs/a.pem certs/a.pem}]\n" +
			"haproxy.cfg:20 [\"b.test\"] [\"tls *:443\"] [{private/b.pem private/b.pem}]",
	},
	{
		"variables, quotes and escapes",
		"global\n setenv DIR /set\n presetenv DIR /other\n presetenv PORT 443\nfrontend f\n" +
			` bind ":${PORT}" ssl crt "$DIR/a b.pem" crt '/x/${DIR}' crt "${GONE}/c.pem" crt "${GONE-/d}/d.pem" crt @store/e crt /f\ g.pem # crt h`,
		"haproxy.cfg:24 its own [\"tls *:443!\"] [{/set/a b.pem /set/a b.pem}]\n" +
			"haproxy.cfg:24 its own [\"tls *:443\"] [{/d/d.pem /d/d.pem}]\nhaproxy.cfg:24 its own [\"tls *:443\"] [{/f g.pem /f g.pem}]",
	},
	{"without ssl, a certificate is not presented", "frontend f\n bind :443 crt a.pem", ""},
	{"a certificate of no proxy", "frontend f\nresolvers r\n bind :443 ssl crt a.pem", ""},
}

func TestServers(t *testing.T) {
	for _, row := range serverRows {
		t.Run(row.about, func(t *testing.T) {
			dir := layout(t, map[string]string{
				"haproxy.cfg": debian + row.conf,
				"list.txt":    "# names\na.pem [alpn h2 ssl-min-ver TLSv1.2] shop.test !x.shop.test *.shop.test # more\n\n@/certs/a.pem *\nb.pem b.test\n",
				"certs/.x":    "", "certs/a.pem": "", "certs/a.pem.ocsp": "", "certs/a.pem.issuer": "", "certs/b.crt": "", "certs/b.key": "",
				"certs/c.pem.ecdsa": "", "certs/c.pem.rsa": "", "certs/d.pem": "", "certs/d.pem.key": "", "certs/sub/e.pem": "",
			})
			servers, err := haproxy.Parse(filepath.Join(dir, "haproxy.cfg"))
			if err != nil {
				t.Fatal(err)
			}
			if got := told(dir, servers); got != row.want {
				t.Errorf("got\n%s\nwant\n%s", got, row.want)
			}
		})
	}
}

func TestTheFolderBeside(t *testing.T) {
	dir := layout(t, map[string]string{
		"haproxy.cfg":   debian + "frontend f\n",
		"conf.d/b.cfg":  "bind :1 ssl crt a.pem\nfrontend b\n bind :444 ssl crt b.pem\n",
		"conf.d/a.cfg":  "frontend a\n bind :443 ssl crt a.pem\n",
		"conf.d/c.old":  "frontend c\n bind :445 ssl crt c.pem\n",
		"conf.d/readme": "'",
	})
	servers, err := haproxy.Parse(filepath.Join(dir, "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	want := "a.cfg:2 its own [\"tls *:443!\"] [{private/a.pem private/a.pem}]\nb.cfg:3 its own [\"tls *:444!\"] [{private/b.pem private/b.pem}]"
	if got := told(dir, servers); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	const good = "\nfrontend f\n bind :443 ssl crt a.pem\n"
	for _, row := range []struct{ about, conf, want string }{
		{"a quote that does not end", "global\n log 'x" + good, `haproxy.cfg:2: the quote does not end`},
		{"a variable that grows", "global\n setenv A aaaa\n" + strings.Repeat(" setenv A \"$A$A\"\n", 100) + "frontend x\n bind :1 ssl crt" + good, `haproxy.cfg:104: "crt" without a path`},
		{"crt at the end", "frontend x\n bind :1 ssl crt" + good, `haproxy.cfg:2: "crt" without a path`},
		{"a crt-list that is missing", "frontend x\n bind :1 ssl crt-list gone" + good, `haproxy.cfg:2: crt-list: `},
	} {
		t.Run(row.about, func(t *testing.T) {
			dir := layout(t, map[string]string{"haproxy.cfg": row.conf})
			servers, err := haproxy.Parse(filepath.Join(dir, "haproxy.cfg"))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %s", err, row.want)
			}
			if len(servers) != 1 {
				t.Errorf("%d servers survived the mistake, want 1", len(servers))
			}
		})
	}
	if _, err := haproxy.Parse(filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("a missing main file gave no error")
	}
}
