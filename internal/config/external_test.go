package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
)

const arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1"

func TestPushes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, text string
		want        certmedic.Destination
	}{
		{
			"ACM by its ARN", "acm: {region: eu-central-1, arn: \"" + arn + "\", tags: {team: payments}, credentials_file: /c, profile: p, endpoint: \"https://vpce.test\", ca_file: /ca}",
			certmedic.Destination{Push: certmedic.Push{Certificate: "shop", ACM: &certmedic.ACM{
				Region: "eu-central-1", ARN: arn, Tags: map[string]string{"team": "payments"}, Endpoint: "https://vpce.test", CredentialsFile: "/c", Profile: "p", CAFile: "/ca",
			}}},
		},
		{
			"an interface, as is usual", "api: {url: \"https://lb.test/cert\"}",
			certmedic.Destination{Push: certmedic.Push{Certificate: "shop", API: &certmedic.API{URL: "https://lb.test/cert", Method: "POST", Expect: []int{200, 201, 204}}}},
		},
		{
			"an interface with all that there is",
			"api: {url: \"http://127.0.0.1:5555/v3\", method: PUT, headers_file: /h, token_file: /t, form: multipart, ca_file: /ca, expect: [202], verify: {url: \"https://lb.test/v\", matches: \"{{.Serial}}\"}}",
			certmedic.Destination{Push: certmedic.Push{Certificate: "shop", API: &certmedic.API{
				URL: "http://127.0.0.1:5555/v3", Method: "PUT", HeadersFile: "/h", TokenFile: "/t", Form: certmedic.FormMultipart, CAFile: "/ca", Expect: []int{202},
				VerifyURL: "https://lb.test/v", VerifyMatches: "{{.Serial}}",
			}}},
		},
		{
			"a command", "exec: {command: [rsync, -e, ssh, \"{fullchain}\", \"{privkey}\", \"edge:/etc/ssl/\"], env: {RSYNC_RSH: ssh}, stdin: json}",
			certmedic.Destination{Push: certmedic.Push{Certificate: "shop", Program: &certmedic.Program{
				Command: []string{"rsync", "-e", "ssh", "{fullchain}", "{privkey}", "edge:/etc/ssl/"}, Env: map[string]string{"RSYNC_RSH": "ssh"}, Stdin: true,
			}}},
		},
		{
			"several processes of HAProxy", "haproxy: {sockets: [/run/a.sock, /run/b-*.sock], certificate: /c.pem}, files: [{from: combined, to: /c.pem}]",
			certmedic.Destination{
				HAProxy: certmedic.HAProxy{Sockets: []string{"/run/a.sock", "/run/b-*.sock"}, Certificate: "/c.pem"},
				Files:   []certmedic.InstalledFile{{From: certmedic.PartCombined, To: "/c.pem"}},
			},
		},
	} {
		c, warnings, err := config.Parse("x", []byte(deployed(row.text)))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", row.about, err, warnings)
			continue
		}
		row.want.Name = "destination-1"
		if got := config.Certificates(c)[0].Destinations[0]; !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s:\n%+v\nwant:\n%+v", row.about, got, row.want)
		}
	}
}

func TestPushesAreRefused(t *testing.T) {
	t.Parallel()
	const api = "api: {url: \"https://lb.test/\", "
	for _, row := range []struct{ about, text, want string }{
		{"two ways", "acm: {region: r}, exec: {command: [x]}", "several of acm, api and exec"},
		{"a way beside files", "acm: {region: r}, files: [{from: cert, to: /a}]", "are no hosts"},
		{"a way beside a command", "exec: {command: [x]}, test: [t]", "are no hosts"},
		{"a way on another host", "on: [root@web1], exec: {command: [x]}", "from this host alone"},
		{"a region that is none", "acm: {region: \"eu central\"}", "is no region"},
		{"no region", "acm: {}", "region: is missing"},
		{"an ARN in another region", "acm: {region: us-east-1, arn: \"" + arn + "\"}", "in the region eu-central-1"},
		{"an ARN of something else", "acm: {region: eu-central-1, arn: \"arn:aws:iam::1:role/x\"}", "no ARN of a certificate"},
		{"a tag of AWS's own", "acm: {region: r, tags: {\"aws:x\": y}}", "is no tag"},
		{"a tag of certmedic's own", "acm: {region: r, tags: {certmedic: y}}", "is no tag"},
		{"an endpoint without TLS", "acm: {region: r, endpoint: \"http://acm.test\"}", "must begin with https://"},
		{"an interface without TLS", "api: {url: \"http://lb.test/\"}", "the private key is sent there"},
		{"a body that cannot be filled in", api + "body: \"{{.Password}}\"}", "can't evaluate field Password"},
		{"a body and a form", api + "body: x, form: json}", "says nothing beside body"},
		{"a status that is no success", api + "expect: [302]}", "between 200 and 299"},
		{"no status", api + "expect: []}", "at least one status"},
		{"a look that shows nothing", api + "verify: {url: \"https://lb.test/\", matches: active}}", "the same for every version"},
		{"a look that is no expression", api + "verify: {url: \"https://lb.test/\", matches: \"({{.Serial}}\"}}", "error parsing regexp"},
		{"a file of secrets somewhere", api + "token_file: x}", "not an absolute path"},
		{"no command", "exec: {}", "command: is missing"},
		{"a command that is a line", "exec: {command: [rsync a b]}", "element of its own"},
		{"a placeholder of nothing", "exec: {command: [rsync, \"{key}\"]}", "no value for {key}"},
		{"a variable of certmedic's own", "exec: {command: [x], env: {CERTMEDIC_NAME: y}}", "is no variable"},
		{"no socket", "haproxy: {certificate: /c}, files: [{from: combined, to: /c}]", "needs socket or sockets"},
		{"socket and sockets", "haproxy: {socket: /s, sockets: [/t], certificate: /c}, files: [{from: combined, to: /c}]", "only one may be there"},
		{"a socket somewhere", "haproxy: {sockets: [s], certificate: /c}, files: [{from: combined, to: /c}]", "not an absolute path"},
		{"a pattern that is none", "haproxy: {sockets: [\"/s[\"], certificate: /c}, files: [{from: combined, to: /c}]", "is no pattern"},
	} {
		_, _, err := config.Parse("x", []byte(deployed(row.text)))
		if err == nil || !strings.Contains(fmt.Sprint(err), row.want) {
			t.Errorf("%s: %v, want an error with %q", row.about, err, row.want)
		}
	}
}

// TestPushesRollBack shows that what is given away can be given in an older version.
func TestPushesRollBack(t *testing.T) {
	t.Parallel()
	text := "certificates: [{name: shop, source: {files: {cert: /stored}}, deploy: [{exec: {command: [x]}}], rollback: {way: deploy-path}, remediation: {allow: [rollback]}}]"
	if _, warnings, err := config.Parse("x", []byte(text)); err != nil || len(warnings) > 0 {
		t.Errorf("%v, %v", err, warnings)
	}
}

// TestSecretsOfPushes shows that files with secrets are looked at, and that nothing secret is shown.
func TestSecretsOfPushes(t *testing.T) {
	t.Parallel()
	for text, mode := range map[string]os.FileMode{
		"acm: {region: r, credentials_file: $F}": 0o644, "api: {url: \"https://lb.test/\", token_file: $F}": 0o644, "api: {url: \"https://lb.test/\", headers_file: $F}": 0o644,
		"acm: {region: r, ca_file: $F}": 0o666, "api: {url: \"https://lb.test/\", ca_file: $F}": 0o666, "exec: {command: [$F]}": 0o777,
	} {
		dir := home(t)
		path := write(t, filepath.Join(dir, "certmedic.yml"), deployed(strings.ReplaceAll(text, "$F", dir+"/file")))
		write(t, dir+"/file", "x")
		for m, ok := range map[os.FileMode]bool{mode: false, 0o700: true} {
			chmod(t, dir+"/file", m)
			if _, _, err := config.Load(path); (err == nil) != ok {
				t.Errorf("%s, mode %o: %v", text, m, err)
			}
		}
	}
	c, _, err := config.Parse("x", []byte(deployed("api: {url: \"https://u:s3cr3t@lb.test/?k=s3cr3t\", body: s3cr3t}}, {exec: {command: [x], env: {P: s3cr3t}}")))
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := c.Effective(); err != nil || strings.Contains(string(shown), "s3cr3t") {
		t.Errorf("%s, %v", shown, err)
	}
}

// TestExamples shows that the examples of the pages about fleets are configurations.
func TestExamples(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"pushes.md": 4, "fleet.md": 4} {
		page, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		examples := 0
		for block := range strings.SplitSeq(string(page), "```yaml\n") {
			text, _, ok := strings.Cut(block, "```")
			if !ok || !strings.Contains(text, "certificates:") {
				continue
			}
			examples++
			if _, warnings, err := config.Parse(name, []byte(text)); err != nil || len(warnings) > 0 {
				t.Errorf("%v, %v in\n%s", err, warnings, text)
			}
		}
		if examples != want {
			t.Errorf("there are %d examples in %s", examples, name)
		}
	}
}
