package redact_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/certmedic/certmedic/internal/redact"
)

const (
	body    = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgR7mm0tJ0yGWDlxQm"
	private = "-----BEGIN PRIVATE KEY-----\n" + body + "\n" + body + "\nq3f=\n-----END PRIVATE KEY-----"
)

func TestText(t *testing.T) {
	tests := []struct {
		name, in, want string
	}{
		{"ordinary output stays as it is", "nginx: [emerg] host not found in upstream \"app\" in /etc/nginx/nginx.conf:12", "nginx: [emerg] host not found in upstream \"app\" in /etc/nginx/nginx.conf:12"},
		{"a private key is removed", "a\n" + private + "\nb", "a\n[private key]\nb"},
		{"an encrypted key is a private key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nabc\n-----END ENCRYPTED PRIVATE KEY-----", "[private key]"},
		{"a key whose end is missing is removed to the end", "a " + private[:80], "a [private key]"},
		{"a key whose begin is missing is removed from the beginning", private[40:] + "\nb", "[cut block]\nb"},
		{"lines of a key without any armour are hidden", "a\n" + body + "\nb", "a\n***\nb"},
		{"a certificate is named", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n", "[certificate]\n"},
		{"a key with escaped newlines, as in JSON", `{"k":"-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n"}`, `{"k":"[private key]\n"}`},
		{"a certificate and a key after each other", "-----BEGIN CERTIFICATE-----\na\n-----END CERTIFICATE-----\n" + private, "[certificate]\n[private key]"},
		{"a checksum is not a key", strings.Repeat("0af9", 16), strings.Repeat("0af9", 16)},
		{"a bearer header", "> Authorization: Bearer abc.def-1", "> Authorization: Bearer ***"},
		{"a basic header inside a quoted argument", `curl -H "authorization: Basic dXNlcjpwdw==" https://a`, `curl -H "authorization: Basic ***" https://a`},
		{"a bearer token alone", "sent Bearer abcdef0123", "sent Bearer ***"},
		{"words about basic authentication", "basic authentication failed", "basic authentication failed"},
		{"an assignment", "DB_PASSWORD=hunter2 TOKEN=x1 nginx -t", "DB_PASSWORD=*** TOKEN=** nginx -t"},
		{"AWS's variables", "AWS_SECRET_ACCESS_KEY=wJalr/XUtn+FEMI", "AWS_SECRET_ACCESS_KEY=***"},
		{"a query parameter", "GET /hook?token=abc&x=1", "GET /hook?token=***&x=1"},
		{"a JSON member with blanks in it", `{"password": "a b, c", "x": 1}`, `{"password": "***", "x": 1}`},
		{"a YAML line", "passphrase: open sesame", "passphrase: *** sesame"},
		{"a flag", "mysql --password hunter2 -h db", "mysql --password *** -h db"},
		{"a password for openssl", "openssl pkcs12 -export -in a.pem -passout pass:hunter2 -out x", "openssl pkcs12 -export -in a.pem -passout pass:*** -out x"},
		{"a password for keytool", "keytool -importkeystore -deststorepass hunter2 -destkeystore k.jks", "keytool -importkeystore -deststorepass *** -destkeystore k.jks"},
		{"a password in quotes", "keytool -storepass 'hunter2' -list", "keytool -storepass '***' -list"},
		{"a password for sshpass", "sshpass -p hunter2 ssh -p 22 web2", "sshpass -p *** ssh -p 22 web2"},
		{"a password for MySQL", `mysql -uroot -phunter2 -e "ALTER INSTANCE RELOAD TLS"`, `mysql -uroot -p*** -e "ALTER INSTANCE RELOAD TLS"`},
		{"a password for curl", "curl -sS -u bob:hunter2 https://a", "curl -sS -u bob:*** https://a"},
		{"a header with a key", `curl -H "X-Auth-Key: 9d8f7a6s" https://a`, `curl -H "X-Auth-Key: ***" https://a`},
		{"a file with a password", "openssl pkcs12 -export -passout file:/root/pw", "openssl pkcs12 -export -passout file:/root/pw"},
		{"-p that is no password", "ssh -p 2222 web2; mkdir -p /x", "ssh -p 2222 web2; mkdir -p /x"},
		{"a JWT", "got eyJhbGciOiJI.eyJzdWIiOiIx.c2ln ok", "got *** ok"},
		{"a Slack token", "xoxb-123-abc", "***"},
		{"a Slack webhook", "https://hooks.slack.com/services/T1/B2/xyz", "https://hooks.slack.com/services/***"},
		{"a PagerDuty routing key", "routing_key: R0ABCDEFGHIJKLMNOPQRSTUVWXYZ0123", "routing_key: ***"},
		{"a URL with a password", "https://bob:pw@db.example.com/x", "https://***@db.example.com/x"},
		{"an address of a mailbox is not a URL", "mailto bob@example.com", "mailto bob@example.com"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := redact.Text(tt.in); got != tt.want {
				t.Errorf("Text(%q)\n got %q\nwant %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	tests := []struct {
		name, in, want string
	}{
		{"newlines and tabs stay", "a\n\tb", "a\n\tb"},
		{"carriage returns and NULs go", "a\r\n\x00b\x7f", "a\nb"},
		{"colours go with their parameters", "\x1b[1;31mred\x1b[0m", "red"},
		{"a title sequence goes with its title", "\x1b]0;evil\x07ok", "ok"},
		{"invalid UTF-8 is replaced", "a\xff\xfeb", "a\uFFFDb"},
		{"marks that turn the direction of text go", "a\u202egnp.exe", "agnp.exe"},
		{"a C1 control goes", "a\u009bb", "ab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := redact.Plain(tt.in); got != tt.want {
				t.Errorf("Plain(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestTruncate(t *testing.T) {
	tests := []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"äöüß", 3, "äö…"},
		{"äöü", 5, "äöü"},
		{"abc", 0, ""},
		{"abc", -1, ""},
		{"", 0, ""},
	}
	for _, tt := range tests {
		if got := redact.Truncate(tt.in, tt.n); got != tt.want {
			t.Errorf("Truncate(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{private, "token=x", "a://b@c", "-----END -----", "-----BEGIN -----", "Bearer 1234567=", "\x1b]\xff", "eyJaaaaa.bbbbb."} {
		f.Add(seed, 10)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		got := redact.Text(s)
		if len(got) > len(s) {
			t.Errorf("grew from %d to %d bytes: %q", len(s), len(got), got)
		}
		if utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("valid text became invalid: %q", got)
		}
		if strings.Contains(got, "-----BEGIN PRIVATE KEY-----") {
			t.Errorf("a key stayed: %q", got)
		}
		if plain := redact.Plain(s); !utf8.ValidString(plain) || strings.ContainsAny(plain, "\x00\x1b\r") {
			t.Errorf("not plain: %q", plain)
		}
		if cut := redact.Truncate(s, n); utf8.RuneCountInString(cut) > max(n, 0) {
			t.Errorf("Truncate(%d) = %q", n, cut)
		}
	})
}
