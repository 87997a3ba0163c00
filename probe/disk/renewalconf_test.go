package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodConf = `# renew_before_expiry = 30 days
version = 5.6.0
archive_dir = /etc/letsencrypt/archive/shop
cert = /etc/letsencrypt/live/shop/cert.pem
privkey = /etc/letsencrypt/live/shop/privkey.pem
chain = /etc/letsencrypt/live/shop/chain.pem
fullchain = /etc/letsencrypt/live/shop/fullchain.pem

# Options used in the renewal process
[renewalparams]
account = 0123
server = https://acme.example.test/directory
authenticator = webroot
installer = None
renew_hook = systemctl reload nginx # a comment
pref_challs = dns-01,
autorenew = False
webroot_path = /var/www/a, "/var/www/b,c", '/d'
[[webroot_map]]
example.com = /var/www/html
[acme_renewal_info]
ari_retry_after = 2026-06-24T18:05:11
`

func TestReadRenewalConf(t *testing.T) {
	for name, text := range map[string]string{
		"as certbot writes it":     goodConf,
		"with Windows line ends":   strings.ReplaceAll(goodConf, "\n", "\r\n"),
		"with a byte order mark":   "\ufeff" + goodConf,
		"indented and spaced out":  strings.ReplaceAll(strings.ReplaceAll(goodConf, "\n", "\n   "), " = ", "\t=  "),
		"without a last line feed": strings.TrimSuffix(goodConf, "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, filepath.Join(t.TempDir(), "renewal", "shop.conf"), text)
			conf, err := ReadRenewalConf(path)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{
				conf.Lineage, conf.Cert, conf.Fullchain, conf.ArchiveDir, conf.Server, conf.Authenticator, conf.Installer,
				conf.RenewHook, strings.Join(conf.Params["webroot_path"].Values, "|"), conf.Params["pref_challs"].String(),
			}
			want := []string{
				"shop", "/etc/letsencrypt/live/shop/cert.pem", "/etc/letsencrypt/live/shop/fullchain.pem",
				"/etc/letsencrypt/archive/shop", "https://acme.example.test/directory", "webroot", "",
				"systemctl reload nginx", "/var/www/a|/var/www/b,c|/d", "dns-01",
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("value %d is %q, want %q", i, got[i], want[i])
				}
			}
			if conf.Autorenew {
				t.Error("autorenew = False was not seen")
			}
			if conf.Line("cert") != 4 || conf.HookLine() != 15 || conf.Line("no such key") != 0 {
				t.Errorf("lines of cert %d, hook %d", conf.Line("cert"), conf.HookLine())
			}
			if len(conf.problems()) != 0 || !conf.Params["pref_challs"].List {
				t.Errorf("problems %q", conf.problems())
			}
		})
	}
}

func TestSplitValue(t *testing.T) {
	for _, row := range []struct{ about, text, want string }{
		{"a bare value keeps quotes inside", `sh -c "nginx -s reload"`, `sh -c "nginx -s reload"`},
		{"quotes around a value go", `"a, b"`, `a, b`},
		{"a quoted value may hold its own quote", `"say "hi""`, `say "hi"`},
		{"a comment may follow without a blank", `abc#def`, `abc`},
		{"a hash inside quotes is no comment", `'a # b' # c`, `a # b`},
		{"nothing is an empty value", ``, ``},
		{"only a comment is an empty value", `# x`, ``},
		{"a lone comma is an empty list", `,`, ``},
		{"items of a list lose their blanks", `a ,  b,`, `a,b`},
		{"an empty item is an error", `a,,b`, `error: empty item in a list`},
		{"an open quote is an error", `"abc`, `error: a quoted value that does not end`},
		{"text behind a quoted value is an error", `"abc" def`, `error: a quoted value that does not end`},
	} {
		t.Run(row.about, func(t *testing.T) {
			setting, err := splitValue(row.text)
			got := setting.String()
			if err != nil {
				got = "error: " + err.Error()
			}
			if got != row.want {
				t.Errorf("%q gives %q, want %q", row.text, got, row.want)
			}
		})
	}
}

func TestConfMistakesHaveLines(t *testing.T) {
	for _, row := range []struct{ about, text, want string }{
		{"a line that is nothing", "cert = /a\nnonsense\n", "renewal/x.conf:2: neither a section, a comment nor key = value"},
		{"a key that is there twice", "cert = /a\ncert = /b\n", `renewal/x.conf:2: key "cert" is there twice`},
		{"a section that is there twice", "[a]\n[a]\n", `renewal/x.conf:2: section "a" is there twice`},
		{"a heading that is not closed", "\n[renewalparams\n", "renewal/x.conf:2: section heading without a closing bracket"},
		{"a heading with uneven brackets", "[a]\n[[b]\n", "renewal/x.conf:2: malformed section heading"},
		{"a section nested too deeply", "[[b]]\n", `renewal/x.conf:1: section "b" is nested too deeply`},
		{"triple quotes that are not closed", "a = '''x\ny\n", `renewal/x.conf:1: "a": the triple quotes are never closed`},
		{"bytes of another kind of file", "\x00\x01\x02", "renewal/x.conf:1: neither a section, a comment nor key = value"},
	} {
		t.Run(row.about, func(t *testing.T) {
			path := writeFile(t, filepath.Join(t.TempDir(), "renewal", "x.conf"), row.text)
			conf, err := ReadRenewalConf(path)
			if err == nil || err.Error() != row.want {
				t.Errorf("error is %v, want %s", err, row.want)
			}
			if conf == nil {
				t.Error("what could be read was lost")
			}
		})
	}
}

func TestTripleQuotedHook(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "renewal", "x.conf"),
		"[renewalparams]\nrenew_hook = '''sh -c \"echo 'x'\"''' # both quotes\ndeploy_hook = lost\nother = \"\"\"a\nb\"\"\"\n")
	conf, err := ReadRenewalConf(path)
	if err != nil {
		t.Fatal(err)
	}
	if conf.RenewHook != `sh -c "echo 'x'"` || conf.Params["other"].String() != "a\nb" {
		t.Errorf("hook %q, other %q", conf.RenewHook, conf.Params["other"])
	}
	if conf.Line("renewalparams.other") != 4 {
		t.Errorf("line of other is %d", conf.Line("renewalparams.other"))
	}
}

func TestReadCLIIni(t *testing.T) {
	for _, row := range []struct {
		about, text, hook string
		line              int
		noDirs            bool
	}{
		{"no hook", "max-log-backups = 0\n", "", 0, false},
		{"with dashes", "# x\ndeploy-hook = systemctl reload nginx\n", "systemctl reload nginx", 2, false},
		{"with underscores and a colon", "deploy_hook: /bin/x\n", "/bin/x", 1, false},
		{"by its old name, quoted", "renew-hook = \"/bin/x y\"\n", "/bin/x y", 1, false},
		{"the new name wins", "renew-hook = old\ndeploy-hook = new\n", "new", 2, false},
		{"a lone key means true", "no-directory-hooks\n", "", 0, true},
		{"said explicitly, Windows line ends", "no_directory_hooks = true\r\n", "", 0, true},
		{"switched off", "no-directory-hooks = false\n", "", 0, false},
		{"a comment behind the value", "deploy-hook = a b ; c\n", "a b", 1, false},
	} {
		t.Run(row.about, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "cli.ini"), row.text)
			ini, err := ReadCLIIni(dir)
			if err != nil {
				t.Fatal(err)
			}
			if ini.DeployHook != row.hook || ini.DeployHookLine != row.line || ini.NoDirHooks != row.noDirs {
				t.Errorf("got %+v", ini)
			}
		})
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "cli.ini"), "logs-dir = /srv/log\nserver = https://ca.test/dir\n")
	if ini, err := ReadCLIIni(dir); err != nil || ini.LogsDir != "/srv/log" || ini.Server != "https://ca.test/dir" {
		t.Errorf("of its folders and its CA it says %+v, %v", ini, err)
	}
	if ini, err := ReadCLIIni(t.TempDir()); err != nil || ini.DeployHook != "" {
		t.Errorf("a missing cli.ini gave %+v, %v", ini, err)
	}
}

func FuzzConfigObj(f *testing.F) {
	f.Add([]byte(goodConf))
	f.Add([]byte("[a\n=\n[[[x]]]\na='''"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if sections, _ := configObj("x", data); sections[""] == nil {
			t.Error("the top section is gone")
		}
	})
}
