package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
)

// fromACME is a certificate that certmedic itself has issued, with further keys.
func fromACME(more string) string {
	return "certificates: [{name: a, source: {acme: {domains: [a.test], challenge: {http-01: {webroot: /w}}" + more + "}}}]"
}

// validated is one whose names are validated in a way of their own.
func validated(domains, challenge string) string {
	return fmt.Sprintf("certificates: [{name: a, source: {acme: {domains: %s, challenge: %s}}}]", domains, challenge)
}

func TestACME(t *testing.T) {
	t.Parallel()
	c, warnings, err := config.Parse("x", []byte(`state_dir: /var/lib/certmedic
certificates:
  - name: shop
    source:
      acme:
        email: ops@shop.test
        domains: [shop.test, "*.shop.test", bücher.test]
        key_type: rsa2048
        challenge: {dns-01: {provider: exec, env_file: /etc/certmedic/dns.env, resolvers: ["127.0.0.1:53"], wait: 10s}}
        eab: {key_id: k1, key_file: /etc/certmedic/eab.key}
        fallback: {directory: https://other.test/dir}
        pre_hook: [/bin/true]
    remediation: {mode: auto, allow: [renew]}
  - name: plain
    source: {files: {cert: /etc/ssl/a.pem, key: /etc/ssl/a.key}}
    renew: {acme: {directory: https://ca.test/dir, challenge: {tls-alpn-01: {}}}}
    remediation: {allow: [renew]}
`))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	all := config.Certificates(c)
	first, second := c.Certificates[0].ACME(), c.Certificates[1].ACME()
	if want := (certmedic.Source{Kind: certmedic.SourceACME, Directory: "https://acme-v02.api.letsencrypt.org/directory", Folder: "/var/lib/certmedic/acme/shop"}); all[0].Source != want {
		t.Errorf("the source is %+v, want %+v", all[0].Source, want)
	}
	if want := (certmedic.Source{Kind: certmedic.SourceFiles, Directory: "https://ca.test/dir", Cert: "/etc/ssl/a.pem", Key: "/etc/ssl/a.key"}); all[1].Source != want {
		t.Errorf("the source is %+v, want %+v", all[1].Source, want)
	}
	if got := first.StagingDirectory(); got != "https://acme-staging-v02.api.letsencrypt.org/directory" || first.Fallback.After != 3 || first.Challenge.DNS01.Wait != 10*time.Second {
		t.Errorf("%s, %+v, %+v", got, first.Fallback, first.Challenge.DNS01)
	}
	if second.StagingDirectory() != "" || second.KeyType != "ec256" || second.Challenge.TLSALPN01.Listen != ":443" {
		t.Errorf("%+v", second)
	}
}

func TestACMERefuses(t *testing.T) {
	t.Parallel()
	http := "{http-01: {webroot: /w}}"
	for _, tc := range []struct{ about, text, want string }{
		{"no names", "certificates: [{name: a, source: {acme: {challenge: {http-01: {}}}}}]", "source.acme.domains: needs at least one name"},
		{"no challenge", "certificates: [{name: a, source: {acme: {domains: [a.test]}}}]", "acme.challenge: is missing"},
		{"a challenge of no kind", validated("[a.test]", "{}"), "needs one of the keys http-01, tls-alpn-01, dns-01"},
		{"two challenges", validated("[a.test]", "{http-01: {}, tls-alpn-01: {}}"), "of which only one"},
		{"a directory without TLS", fromACME(", directory: http://ca.test/dir"), "is no URL of an ACME directory"},
		{"a directory with a password", fromACME(", directory: https://me:x@ca.test/dir"), "is no URL of an ACME directory"},
		{"an email that is none", fromACME(", email: ops"), `"ops" is no email address`},
		{"a kind of key that is none", fromACME(", key_type: rsa1024"), `"rsa1024" is none of`},
		{"rehearsals at the directory itself", fromACME(", directory: https://ca.test/dir, staging: https://ca.test/dir"), "a rehearsal there costs what it should save"},
		{"the first CA as the second", fromACME(", directory: https://ca.test/dir, fallback: {directory: https://ca.test/dir}"), "is the first CA"},
		{"a second CA after nothing", fromACME(", fallback: {directory: https://ca.test/dir, after: 0}"), "fallback.after: has to be at least 1"},
		{"an account of elsewhere with an email", fromACME(", email: a@b.test, import_account: /a"), "the account is there already"},
		{"a shell line as a hook", fromACME(", pre_hook: [systemctl stop nginx]"), "acme.pre_hook[0]"},
		{"a name that is none", validated("[a b.test]", http), "neither a DNS name nor an IP address"},
		{"a name that no CA knows", validated("[localhost]", http), "neither a DNS name nor an IP address"},
		{"a name twice", validated("[a.test, A.test]", http), "is there twice"},
		{"a wildcard over HTTP", validated(`["*.a.test"]`, http), "by dns-01 only"},
		{"an address by DNS", validated("[192.0.2.1]", "{dns-01: {provider: exec}}"), "cannot be validated by dns-01"},
		{"too many names", validated("["+strings.Repeat("a.test,", 101)+"]", http), "101 names are more than the 100"},
		{"a provider that is not built in", validated("[a.test]", "{dns-01: {provider: godaddy}}"), `"godaddy" is none of`},
		{"a resolver by name", validated("[a.test]", "{dns-01: {provider: exec, resolvers: [dns.test]}}"), "neither an IP address nor IP:port"},
		{"a webroot and a listener", validated("[a.test]", `{http-01: {webroot: /w, listen: ":80"}}`), "exclude each other"},
		{"a listener without a port", validated("[a.test]", "{tls-alpn-01: {listen: 127.0.0.1}}"), "is not host:port"},
		{"a listener at a name", validated("[a.test]", "{tls-alpn-01: {listen: 'a.test:443'}}"), "is not host:port"},
		{"a listener at no port", validated("[a.test]", "{http-01: {listen: ':99999'}}"), "is no port"},
		{"a name that is no folder", strings.Replace(fromACME(""), "name: a", "name: ..", 1), "must not begin with a dot"},
		{"a renewal of what renews itself", strings.Replace(fromACME(""), "}}}]", "}}, renew: {command: [x]}}]", 1), "source.acme says how it is renewed"},
		{"what nobody trusts in place of the files", "certificates: [{name: a, source: {files: {cert: /a, key: /b}}, renew: {acme: {directory: 'https://acme-staging-v02.api.letsencrypt.org/directory', challenge: {http-01: {}}}}}]", "renew.acme.directory: nobody trusts"},
		{"what nobody trusts from the second CA", fromACME(", fallback: {directory: 'https://acme-staging-v02.api.letsencrypt.org/directory'}"), "fallback.directory: nobody trusts"},
		{"files without a key", "certificates: [{name: a, source: {files: {cert: /a}}, renew: {acme: {challenge: {http-01: {}}}}}]", "source.files needs a key"},
	} {
		_, _, err := config.Parse("x", []byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.about, err, tc.want)
		}
	}
}

func TestSecretsOfACME(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	env, file := filepath.Join(dir, "dns.env"), filepath.Join(dir, "certmedic.yml")
	text := fmt.Sprintf("state_dir: %s\n%s", dir, validated("[a.test]", fmt.Sprintf("{dns-01: {provider: exec, env_file: %s}}", env)))
	for path, content := range map[string]string{env: "A=b", file: text} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := config.Load(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(env, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := config.Load(file); err == nil || !strings.Contains(err.Error(), "challenge.dns-01.env_file") {
		t.Errorf("credentials that others may read: %v", err)
	}
}
