package postfix_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/postfix"
)

// layout writes files below a new folder and returns it.
func layout(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "@/", dir+"/")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// told renders servers for comparisons, with names relative to the folder. An address whose
// default the server is has a "!".
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
		out = append(out, fmt.Sprintf("%s:%d %q %q %v", filepath.Base(s.File), s.Line, s.Names, listens, s.Certificates))
	}
	return strings.ReplaceAll(strings.Join(out, "\n"), dir+"/", "")
}

const smtp = "smtp inet n - n - - smtpd\n"

func TestServers(t *testing.T) {
	for _, row := range []struct{ about, main, master, want string }{
		{"without a level there is no TLS", "smtpd_tls_cert_file = @/a.pem\n", smtp, ""},
		{"none is no level", "smtpd_tls_security_level = none\nsmtpd_tls_cert_file = @/a.pem\n", smtp, ""},
		{
			"the key is in the certificate's file where none is named",
			"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = @/a.pem\n", smtp,
			`master.cf:1 [] ["smtp *:25!" "smtp [::]:25!"] [{a.pem a.pem}]`,
		},
		{
			"the old switch counts",
			"smtpd_use_tls = yes\nsmtpd_tls_cert_file = a.pem\nsmtpd_tls_key_file = @/a.key\ninet_protocols = ipv4\n", smtp,
			`master.cf:1 [] ["smtp *:25!"] [{a.pem a.key}]`,
		},
		{
			"chain files come before the others and a key may be in a file before its chain",
			"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = @/old.pem\nsmtpd_tls_chain_files = @/a.key, @/a.pem,\n# between\n  @/both\ninet_interfaces = loopback-only\n", smtp,
			`master.cf:1 [] ["smtp 127.0.0.1:25!" "smtp [::1]:25!"] [{a.pem a.key} {both both}]`,
		},
		{
			"a service has options of its own",
			"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = @/a.pem\ninet_protocols = ipv4\ninet_interfaces = 192.0.2.1, localhost\n",
			"smtps inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes -osmtpd_tls_cert_file=@/b.pem\n" +
				"127.0.0.1:2525 inet n - n - - smtpd\n  -o { smtpd_tls_chain_files = @/a.key @/a.pem }\n10025 inet n - n - - smtpd -o smtpd_tls_security_level=none\n" +
				"submission inet n - n - - smtpd -o smtpd_tls_auth_only=yes\n#587 inet n - n - - smtpd\nsmtp unix - - n - - smtp\n",
			"master.cf:1 [] [\"smtps 192.0.2.1:465!\" \"smtps 127.0.0.1:465!\"] [{b.pem b.pem}]\n" +
				"master.cf:3 [] [\"smtp 127.0.0.1:2525!\"] [{a.pem a.key}]\n" +
				"master.cf:6 [] [\"smtp 192.0.2.1:587!\" \"smtp 127.0.0.1:587!\"] [{a.pem a.pem}]",
		},
		{
			"parameters stand for others, with conditions",
			"dir = @/x\nsmtpd_tls_security_level = ${nothing?encrypt}${dir?{may}:{none}}\nsmtpd_tls_cert_file = ${dir}/$(name:a).pem\nsmtpd_tls_key_file = $smtpd_tls_cert_file\ninet_protocols = ipv6\n", smtp,
			`master.cf:1 [] ["smtp [::]:25!"] [{x/a.pem x/a.pem}]`,
		},
		{
			"a table gives names to certificates",
			"smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @/both\ninet_protocols = ipv4\ntls_server_sni_maps = hash:@/sni\n", smtp,
			"master.cf:1 [] [\"smtp *:25!\"] [{both both}]\nsni:2 [\"b.test\"] [\"smtp *:25\"] [{a.pem a.key}]\nsni:3 [\"*.c.test\"] [\"smtp *:25\"] [{both both}]",
		},
	} {
		t.Run(row.about, func(t *testing.T) {
			dir := layout(t, map[string]string{
				"main.cf": row.main, "master.cf": row.master, "a.key": "a key", "a.pem": "-----BEGIN CERTIFICATE-----", "both": "-----BEGIN CERTIFICATE-----",
				"sni": "# names\nb.test @/a.key, @/a.pem\n.c.test @/both\n",
			})
			servers, err := postfix.Parse(filepath.Join(dir, "main.cf"))
			if got := told(dir, servers); got != row.want || err != nil {
				t.Errorf("got\n%s\nwant\n%s\n%v", got, row.want, err)
			}
		})
	}
}

func TestMistakesHideNothingElse(t *testing.T) {
	dir := layout(t, map[string]string{
		"main.cf":   "smtpd_tls_security_level may\nsmtpd_tls_security_level = may\nsmtpd_tls_cert_file = @/a.pem\ntls_server_sni_maps = lmdb:@/gone\n",
		"master.cf": "smtp inet\n" + smtp,
	})
	servers, err := postfix.Parse(filepath.Join(dir, "main.cf"))
	if len(servers) != 1 {
		t.Errorf("%d servers", len(servers))
	}
	for _, want := range []string{"main.cf:1: missing '='", "master.cf:1: bad field count", "main.cf:4: tls_server_sni_maps: open"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, err := postfix.Parse(filepath.Join(dir, "gone.cf")); err == nil {
		t.Error("no error without a file")
	}
}

func TestParametersThatNameEachOtherEnd(t *testing.T) {
	dir := layout(t, map[string]string{
		"main.cf": "a = $b$b$b\nb = $a$a$a\nsmtpd_tls_security_level = $a\nsmtpd_tls_cert_file = ${a\n", "master.cf": smtp,
	})
	if _, err := postfix.Parse(filepath.Join(dir, "main.cf")); err != nil {
		t.Error(err)
	}
}

func TestRead(t *testing.T) {
	dir := layout(t, map[string]string{
		"main.cf":   "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @/both\ntls_server_sni_maps = @/sni, texthash:@/sni2, mysql:@/db\n",
		"master.cf": smtp + "submission inet n - n - - smtpd -o smtpd_tls_security_level=encrypt\n",
		"both":      "-----BEGIN CERTIFICATE-----", "sni": "b.test @/both\n", "sni2": "c.test @/both\n",
	})
	r := postfix.Read(filepath.Join(dir, "main.cf"))
	var tables []string
	for _, table := range r.Tables {
		tables = append(tables, fmt.Sprintf("%s %s %s %v %v %s:%d", table.Kind, table.Source, table.Made, table.Holds(), table.Files, filepath.Base(table.File), table.Line))
	}
	want := "hash sni sni.db true [both] main.cf:3\ntexthash sni2  false [both] main.cf:3"
	if got := strings.ReplaceAll(strings.Join(tables, "\n"), dir+"/", ""); got != want {
		t.Errorf("tables\n%s\nwant\n%s", got, want)
	}
	level := slices.IndexFunc(r.Directives, func(d conf.Directive) bool { return d.Args[0] == "encrypt" })
	if level < 0 || r.Directives[level].In == nil || r.Directives[level].In.Name != "submission" || r.Directives[level].Line != 2 {
		t.Errorf("directives %+v", r.Directives)
	}
	if len(r.Files) != 4 {
		t.Errorf("files %q", r.Files)
	}
}
