package nginx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/nginx"
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
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// told renders servers for comparisons, with names relative to the folder, and protocols
// other than tls before their addresses.
func told(dir string, servers []conf.Server) string {
	var out []string
	for _, s := range servers {
		var listens []string
		for _, l := range s.Listen {
			listens = append(listens, strings.TrimPrefix(l.Protocol+" "+l.Address, "tls "))
		}
		out = append(out, fmt.Sprintf("%s:%d %q %q %v", s.File, s.Line, s.Names, listens, s.Certificates))
	}
	return strings.ReplaceAll(strings.Join(out, "\n"), dir+"/", "")
}

var serverRows = []struct{ about, conf, want string }{
	{
		"a plain server",
		`http { server { listen 443 ssl http2; server_name a.test www.a.test; ssl_certificate a.pem; ssl_certificate_key a.key; } }`,
		`nginx.conf:1 ["a.test" "www.a.test"] ["*:443"] [{a.pem a.key}]`,
	},
	{
		"addresses of every form",
		"http { server { listen [::]:443 ssl; listen 0.0.0.0:8443 ssl; listen 10.0.0.7 ssl; listen localhost:1-9 ssl;\n" +
			"listen [::1] ssl; listen unix:/run/x.sock ssl; listen 80; } }",
		`nginx.conf:1 [] ["[::]:443" "*:8443" "10.0.0.7:80" "localhost:1" "[::1]:80"] []`,
	},
	{
		"a server without TLS does not count",
		`http { server { listen 80; ssl_certificate a.pem; } server { } }`,
		``,
	},
	{
		"QUIC beside TCP, and alone",
		"http { server { listen 443 quic reuseport; listen 443 ssl; ssl_certificate a.pem; }\nserver { listen [::]:443 quic; } }",
		"nginx.conf:1 [] [\"quic *:443\" \"*:443\"] [{a.pem }]\nnginx.conf:2 [] [\"quic [::]:443\"] []",
	},
	{
		"mail servers, by their protocol, else by their port",
		"mail { ssl_certificate m.pem; starttls on; server { listen 143; }\nserver { listen 995 ssl; }\nserver { listen 2525; protocol smtp; starttls only; }\n" +
			"server { listen 110; starttls off; }\nserver { listen 4711; }\nserver { listen 465; ssl on; } }",
		"nginx.conf:1 [] [\"imap *:143\"] [{m.pem }]\nnginx.conf:2 [] [\"pop3s *:995\"] [{m.pem }]\n" +
			"nginx.conf:3 [] [\"smtp *:2525\"] [{m.pem }]\nnginx.conf:6 [] [\"smtps *:465\"] [{m.pem }]",
	},
	{
		"a server that refuses every handshake presents no certificate",
		"http { server { listen 1 ssl default_server; ssl_reject_handshake on; }\nserver { listen 1 ssl; ssl_certificate a.pem; } }",
		"nginx.conf:2 [] [\"*:1\"] [{a.pem }]",
	},
	{
		"a certificate of http is inherited, a server's own replaces it",
		"http { ssl_certificate h.pem; ssl_certificate_key h.key;\nserver { listen 1 ssl; }\n" +
			"server { listen 2 ssl; ssl_certificate s.pem; ssl_certificate_key s.key; } }",
		"nginx.conf:2 [] [\"*:1\"] [{h.pem h.key}]\nnginx.conf:3 [] [\"*:2\"] [{s.pem s.key}]",
	},
	{
		"what comes later in http is inherited too",
		"http { server { listen 1 ssl; } ssl_certificate h.pem; }",
		`nginx.conf:1 [] ["*:1"] [{h.pem }]`,
	},
	{
		"ssl of one server holds for the whole address",
		"http { server { listen 443; server_name b.test; ssl_certificate b.pem; }\nserver { listen *:443 ssl; } }",
		"nginx.conf:1 [\"b.test\"] [\"*:443\"] [{b.pem }]\nnginx.conf:2 [] [\"*:443\"] []",
	},
	{
		"the old switch",
		"http { ssl on; server { listen 443; ssl_certificate a.pem; } server { listen 444; ssl off; } }",
		`nginx.conf:1 [] ["*:443"] [{a.pem }]`,
	},
	{
		"two kinds of keys",
		`http { server { listen 1 ssl; ssl_certificate r.pem; ssl_certificate e.pem; ssl_certificate_key r.key; ssl_certificate_key e.key; } }`,
		`nginx.conf:1 [] ["*:1"] [{r.pem r.key} {e.pem e.key}]`,
	},
	{
		"values that are no files are left out",
		`http { server { listen 1 ssl; ssl_certificate $host.pem; ssl_certificate data:$x; ssl_certificate "a b.pem"; ssl_certificate_key engine:x:y; } }`,
		`nginx.conf:1 [] ["*:1"] [{a b.pem }]`,
	},
	{
		"quotes, comments, escapes, variables and braces where they do not count",
		"# } {\nevents {}\nhttp { log_format x '{\"a\": \"$b\"}'; # server {\n map $a ${b} { '}' \"{;\"; }\n" +
			" server { listen 1 ssl; server_name \"~^(?<n>\\w{2})\\.a$\" b\\;c.test; location ~ \"^/\\d{3}\" { return 200 ${x}y; } } }",
		`nginx.conf:5 ["~^(?<n>\\w{2})\\.a$" "b\\;c.test"] ["*:1"] []`,
	},
	{
		"Lua is passed over",
		"http { init_by_lua_block { local a = {'}', \"\\\"}\"} -- it's }\n }\nserver { listen 1 ssl; } }",
		`nginx.conf:3 [] ["*:1"] []`,
	},
	{
		"servers of an upstream are none, those of stream are",
		"http { upstream u { server 10.0.0.1; } } stream { server { listen 853 ssl; ssl_certificate d.pem; } }",
		`nginx.conf:1 [] ["*:853"] [{d.pem }]`,
	},
}

func TestServers(t *testing.T) {
	for _, row := range serverRows {
		t.Run(row.about, func(t *testing.T) {
			dir := layout(t, map[string]string{"nginx.conf": row.conf})
			servers, err := nginx.Parse(filepath.Join(dir, "nginx.conf"))
			if err != nil {
				t.Fatal(err)
			}
			if got := told(dir, servers); got != row.want {
				t.Errorf("got\n%s\nwant\n%s", got, row.want)
			}
		})
	}
}

func TestIncludes(t *testing.T) {
	dir := layout(t, map[string]string{
		"nginx.conf":          "http {\n include conf.d/*.conf;\n include sites/none*.conf;\n include sites/one;\n}\n",
		"conf.d/b.conf":       "server { listen 2 ssl; include snippets/tls.conf; }",
		"conf.d/a.conf":       "server { listen 1 ssl; server_name a; }",
		"conf.d/c.txt":        "server { listen 3 ssl; }",
		"snippets/tls.conf":   "ssl_certificate tls/x.pem; ssl_certificate_key /abs/x.key;",
		"sites/one":           "\n\nserver { listen 4 ssl; }",
		"sites/not-in-config": "}}}}",
	})
	servers, err := nginx.Parse(filepath.Join(dir, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	want := "conf.d/a.conf:1 [\"a\"] [\"*:1\"] []\nconf.d/b.conf:1 [] [\"*:2\"] [{tls/x.pem /abs/x.key}]\nsites/one:3 [] [\"*:4\"] []"
	if got := told(dir, servers); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDefaultServers(t *testing.T) {
	dir := layout(t, map[string]string{"nginx.conf": "http {\n" +
		"server { listen 1 ssl; listen 2 ssl; listen 3 ssl; listen 3 quic; }\n" +
		"server { listen 1 ssl; listen 2 ssl default_server; }\n" +
		"server { listen 3 ssl default_server; ssl_reject_handshake on; } }"})
	servers, err := nginx.Parse(filepath.Join(dir, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range servers {
		for _, l := range s.Listen {
			got = append(got, fmt.Sprintf("%d %s %s %t", s.Line, l.Protocol, l.Address, l.Default))
		}
	}
	want := "2 tls *:1 true, 2 tls *:2 false, 2 tls *:3 false, 2 quic *:3 true, 3 tls *:1 false, 3 tls *:2 true"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

const dump = `nginx: the configuration file /nowhere/nginx.conf syntax is ok
# configuration file /nowhere/nginx.conf:
include modules/*.conf;
http {
    include /nowhere/mime.types;
    include conf.d/*.conf;
}
# configuration file /nowhere/mime.types:
types { text/html html; }

# configuration file /nowhere/conf.d/a.conf:
server { listen 443 ssl; server_name a.test; include snippets/tls.conf; }
# configuration file /nowhere/snippets/tls.conf:
ssl_certificate a.pem;
# configuration file /nowhere/conf.d/b.conf:
# configuration file that is a comment
server { listen 443 ssl; server_name b.test; include snippets/tls.conf; }
`

func TestDump(t *testing.T) {
	servers, err := nginx.ParseDump([]byte(dump))
	if err != nil {
		t.Fatal(err)
	}
	want := "conf.d/a.conf:1 [\"a.test\"] [\"*:443\"] [{a.pem }]\nconf.d/b.conf:2 [\"b.test\"] [\"*:443\"] [{a.pem }]"
	if got := told("/nowhere", servers); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := nginx.ParseDump([]byte("nginx: [emerg] unexpected end of file\n")); err == nil {
		t.Error("an output without a configuration gave no error")
	}
	if _, err := nginx.ParseDump([]byte("# configuration file /a:\ninclude /etc/passwd;")); err == nil || !strings.Contains(err.Error(), "/etc/passwd: not in the output") {
		t.Errorf("a file that is not in the output: %v", err)
	}
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	const good = "\nhttp { server { listen 1 ssl; } }"
	for _, row := range []struct{ about, conf, more, want string }{
		{"a block that does not end", "http {\n server {", "", `nginx.conf:2: the block "server" does not end`},
		{"a directive that does not end", "\nuser nginx", "", `nginx.conf:2: the directive "user" does not end`},
		{"a brace too many", "events {}\n}", "", `nginx.conf:2: unexpected "}"`},
		{"a quote that does not end", "a;\nb 'c;\n", "", `nginx.conf:2: the quote that begins here does not end`},
		{"an included file that is missing", "include gone.conf;" + good, "", `nginx.conf:1: include: `},
		{"a mistake in an included file", "include more.conf;" + good, "x {\n", `more.conf:1: the block "x" does not end`},
		{"a file that includes itself", "include more.conf;" + good, "\ninclude more.conf;", `more.conf:2: files include each other more than 16 deep`},
		{"a folder in a file's place", "include /;" + good, "", "not a regular file"},
		{"Lua that does not end", "a_by_lua_block {\n", "", "nginx.conf:1: the block that begins here does not end"},
		{"blocks without end", strings.Repeat("a {", 200), "", "blocks are nested more than 100 deep"},
	} {
		t.Run(row.about, func(t *testing.T) {
			dir := layout(t, map[string]string{"nginx.conf": row.conf, "more.conf": row.more})
			servers, err := nginx.Parse(filepath.Join(dir, "nginx.conf"))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %s", err, row.want)
			}
			if strings.Contains(row.conf, good) && len(servers) != 1 {
				t.Errorf("%d servers survived the mistake, want 1", len(servers))
			}
		})
	}
	if _, err := nginx.Parse(filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("a missing main file gave no error")
	}
}

func FuzzParseDump(f *testing.F) {
	f.Add(dump)
	f.Add("# configuration file a:\nhttp { server { listen [::]:443 ssl; ssl_certificate \"a\\\"b\"; } a_by_lua_block { -- } include a; }")
	f.Fuzz(func(t *testing.T, output string) {
		servers, _ := nginx.ParseDump([]byte(output))
		for _, s := range servers {
			if len(s.Listen) == 0 || s.Line < 1 {
				t.Errorf("a server without an address or a place: %+v", s)
			}
		}
	})
}
