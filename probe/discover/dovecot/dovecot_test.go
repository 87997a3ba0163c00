package dovecot_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/dovecot"
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

// told renders servers for comparisons. An address whose default the server is has a "!".
func told(servers []conf.Server) string {
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
	return strings.Join(out, "\n")
}

const certificate = "ssl_cert = </a.pem\nssl_key = </a.key\n"

func TestServers(t *testing.T) {
	imap := "listen = *\nprotocols = imap\n"
	for _, row := range []struct{ about, conf, want string }{
		{"without a certificate there is no server", imap + "ssl = yes\n", ""},
		{"TLS is off", imap + certificate + "ssl = no\n", ""},
		{"a value without < is no file", imap + "ssl_cert = /a.pem\n", ""},
		{
			"both families, one server for each protocol",
			"protocols = imap pop3\n" + certificate,
			"dovecot.conf:2 [] [\"imap *:143!\" \"imap [::]:143!\" \"imaps *:993!\" \"imaps [::]:993!\"] [{/a.pem /a.key}]\n" +
				"dovecot.conf:2 [] [\"pop3 *:110!\" \"pop3 [::]:110!\" \"pop3s *:995!\" \"pop3s [::]:995!\"] [{/a.pem /a.key}]",
		},
		{
			"listeners are moved, switched off and added",
			imap + certificate + "service imap-login {\n inet_listener imap {\n port = 0\n }\n inet_listener imaps {\n address = 127.0.0.1, ::1\n }\n" +
				" inet_listener proxied {\n port = 10993\n ssl = yes\n haproxy = yes\n }\n inet_listener other {\n port = 1993\n ssl = yes\n }\n}\n" +
				"service pop3-login {\n inet_listener x {\n port = 1\n }\n}\n",
			`dovecot.conf:3 [] ["imaps 127.0.0.1:993!" "imaps [::1]:993!" "imaps *:1993!"] [{/a.pem /a.key}]`,
		},
		{
			"names and addresses have certificates of their own, the key that of all where they name none",
			imap + "local_name b.test *.c.test {\n ssl_cert = </b.pem # b\n}\n" + certificate + "local 192.0.2.0/24 {\n ssl_cert = </d.pem\n ssl_key = </d.key\n}\nlocal_name e.test {\n ssl_min_protocol = TLSv1.3\n}\n",
			"dovecot.conf:6 [] [\"imap *:143!\" \"imaps *:993!\"] [{/a.pem /a.key}]\n" +
				"dovecot.conf:4 [\"b.test\" \"*.c.test\"] [\"imap *:143\" \"imaps *:993\"] [{/b.pem /a.key}]\n" +
				"dovecot.conf:9 [] [\"imap 192.0.2.0:143!\" \"imaps 192.0.2.0:993!\"] [{/d.pem /d.key}]",
		},
		{
			"protocols have certificates of their own",
			"listen = *\nprotocols = imap pop3\n" + certificate + "protocol pop3 {\n ssl_cert = </p.pem\n ssl_key = </p.key\n}\n",
			"dovecot.conf:3 [] [\"imap *:143!\" \"imaps *:993!\"] [{/a.pem /a.key}]\n" +
				"dovecot.conf:6 [] [\"pop3 *:110!\" \"pop3s *:995!\"] [{/p.pem /p.key}]",
		},
		{
			"one certificate for each kind of key",
			imap + certificate + "ssl_alt_cert = </b.pem\nssl_alt_key = \"</b.key\"\n",
			`dovecot.conf:3 [] ["imap *:143!" "imaps *:993!"] [{/a.pem /a.key} {/b.pem /b.key}]`,
		},
		{
			"the settings of 2.4",
			"dovecot_config_version = 2.4.0\nprotocols {\n imap = yes\n pop3 = no\n lmtp = no\n}\nlisten = *\nssl_server_cert_file = /a.pem\nssl_server_key_file = /a.key\n" +
				"local_name b.test {\n ssl_server {\n cert_file = /b.pem\n key_file = /b.key\n }\n}\n",
			"dovecot.conf:8 [] [\"imap *:143!\" \"imaps *:993!\"] [{/a.pem /a.key}]\n" +
				"dovecot.conf:12 [\"b.test\"] [\"imap *:143\" \"imaps *:993\"] [{/b.pem /b.key}]",
		},
		{
			"mail over LMTP and Sieve",
			"listen = *\nprotocols = lmtp\nprotocols = $protocols sieve\n" + certificate + "service lmtp {\n inet_listener lmtp {\n port = 24\n }\n unix_listener lmtp {\n }\n}\n",
			"dovecot.conf:4 [] [\"sieve *:4190!\"] [{/a.pem /a.key}]\ndovecot.conf:4 [] [\"lmtp *:24!\"] [{/a.pem /a.key}]",
		},
		{
			"other files",
			imap + "!include conf.d/*.conf\n!include_try gone.conf\n",
			`ssl.conf:1 [] ["imap *:143!" "imaps *:993!"] [{/a.pem /a.key}]`,
		},
	} {
		t.Run(row.about, func(t *testing.T) {
			dir := layout(t, map[string]string{"dovecot.conf": row.conf, "conf.d/ssl.conf": certificate})
			servers, err := dovecot.Parse(filepath.Join(dir, "dovecot.conf"))
			if got := told(servers); got != row.want || err != nil {
				t.Errorf("got\n%s\nwant\n%s\n%v", got, row.want, err)
			}
		})
	}
}

func TestMistakesHideNothingElse(t *testing.T) {
	dir := layout(t, map[string]string{"dovecot.conf": "}\nssl yes\n!include gone\n!inclde x\nservice x { y = z }\nprotocols = imap\n" + certificate + "service imap {\n"})
	path := filepath.Join(dir, "dovecot.conf")
	servers, err := dovecot.Parse(path)
	if len(servers) != 1 {
		t.Errorf("%d servers", len(servers))
	}
	for _, want := range []string{":1: unexpected", ":2: expecting", ":3: include: nothing matches", ":4: unknown directive", ":5: garbage", `:9: the section "service" does not end`} {
		if err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, err := dovecot.Parse(path + ".gone"); err == nil {
		t.Error("no error without a file")
	}
}

func TestFilesThatIncludeThemselvesEnd(t *testing.T) {
	dir := layout(t, map[string]string{"dovecot.conf": strings.Repeat("!include dovecot.conf\n", 500) + strings.Repeat("local ::1 {\n"+certificate+"}\n", 50)})
	if _, err := dovecot.Parse(filepath.Join(dir, "dovecot.conf")); err == nil || !strings.Contains(err.Error(), "include each other") {
		t.Errorf("error %v", err)
	}
}
