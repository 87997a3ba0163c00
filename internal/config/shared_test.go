package config_test

import (
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
)

// recipient is the public half of an identity that nobody has.
const recipient = "age1klskc7xh8ysuaru4g4j3zs9eu2rqp97enlxqa7td77ncjfx5ae3qs3y2lq"

// sharing returns a configuration with one certificate.
func sharing(keys string) string {
	return "state_dir: /var/lib/certmedic\ncertificates:\n  - name: shop\n" + keys
}

// TestShared reads both ends of a shared store.
func TestShared(t *testing.T) {
	t.Parallel()
	c, warnings, err := config.Parse("x", []byte(sharing(`    source: {shared: {dir: /srv/certs, name: main, identity_file: /etc/certmedic/age.key, keys_file: /etc/certmedic/publishers.pem}}
  - name: blog
    source: {files: {cert: /a.pem, key: /a.key}}
    publish: {s3: {endpoint: "https://s3.example.com", bucket: certs}, recipients: [`+recipient+`], keep: 5}
`)))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	shop, blog := c.Certificates[0], c.Certificates[1]
	if shop.PublishedName() != "main" || blog.PublishedName() != "blog" || shop.Source.Shared.Interval.String() != "1m0s" || blog.Publish.Keep != 5 || blog.Publish.S3.Prefix == "" {
		t.Errorf("read as %+v and %+v", shop.Source.Shared, blog.Publish)
	}
	built := config.Certificates(c)[0].Source
	if built.Kind != certmedic.SourceShared || built.Folder != "/var/lib/certmedic/shared/shop" {
		t.Errorf("the source is %+v", built)
	}
}

func TestSharedRefuses(t *testing.T) {
	t.Parallel()
	const files = "    source: {files: {cert: /a.pem, key: /a.key}}\n"
	for about, row := range map[string]struct{ keys, want string }{
		"no store":                  {"    source: {shared: {plaintext: true}}\n", "needs one of the keys dir, s3"},
		"two stores":                {"    source: {shared: {dir: /a, s3: {bucket: b}, plaintext: true}}\n", "only one may be there"},
		"a relative folder":         {"    source: {shared: {dir: a, plaintext: true}}\n", `"a" is not an absolute path`},
		"no way to open the key":    {"    source: {shared: {dir: /a}}\n", "needs one of identity_file"},
		"two ways to open the key":  {"    source: {shared: {dir: /a, plaintext: true, passphrase_file: /p}}\n", "needs one of identity_file"},
		"looked at all the time":    {"    source: {shared: {dir: /a, plaintext: true, interval: 1ms}}\n", "must be between 1s and"},
		"a name that is none":       {"    source: {shared: {dir: /a, plaintext: true, name: a/b}}\n", "is no name"},
		"a renewal of what is not":  {"    source: {shared: {dir: /a, plaintext: true}}\n    renew: {command: [x]}\n", "is renewed where it is published"},
		"published again":           {"    source: {shared: {dir: /a, plaintext: true}}\n    publish: {dir: /b, plaintext: true}\n", "are published elsewhere"},
		"published without a key":   {"    source: {files: {cert: /a.pem}}\n    publish: {dir: /b, plaintext: true}\n", "needs a key"},
		"published from a keystore": {"    source: {files: {cert: /a.p12, key: /a.p12, passphrase_file: /p}}\n    publish: {dir: /b, plaintext: true}\n", "in a keystore"},
		"no way to keep the key":    {files + "    publish: {dir: /b}\n", "needs one of recipients"},
		"nothing kept":              {files + "    publish: {dir: /b, plaintext: true, keep: 1}\n", "must be between 2 and 1000"},
		"an identity for nothing":   {files + "    publish: {dir: /b, plaintext: true, identity_file: /i}\n", "is for what is encrypted for recipients"},
		"a secret as a recipient":   {files + "    publish: {dir: /b, recipients: [AGE-SECRET-KEY-1QQQ]}\n", "recipients[0]: is no public key"},
		"two of one name": {
			files + "    publish: {dir: /b, plaintext: true, name: x}\n  - name: x\n    source: {files: {cert: /b.pem, key: /b.key}}\n    publish: {dir: /b, plaintext: true}\n",
			`"x" is published there by certificates[0].publish in line`,
		},
	} {
		_, _, err := config.Parse("x", []byte(sharing(row.keys)))
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: got %v, want %q", about, err, row.want)
		}
	}
}

// TestFollowersNeedAnIdentity holds that a member of a cluster that could not take over is told so.
func TestFollowersNeedAnIdentity(t *testing.T) {
	t.Parallel()
	const cluster = "cluster: {member: m1, dir: {path: /srv/coord}}\n"
	_, warnings, err := config.Parse("x", []byte(cluster+sharing(`    source: {acme: {domains: [shop.example.com], challenge: {http-01: {}}}}
    publish: {dir: /b, recipients: [`+recipient+`]}
`)))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "cannot follow") {
		t.Errorf("got %v, %v", err, warnings)
	}
}
