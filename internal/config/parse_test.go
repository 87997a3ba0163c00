package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
)

// whole has every key that this version takes, and those that it only warns about.
const whole = `state_dir: /var/lib/certmedic
remediation: {mode: auto, max_actions_per_hour: 10, max_share: 20%, approval_expires: 24h, max_concurrent: 2, windows: [], freeze_file: /etc/certmedic/FREEZE}
probe: {interval: 1m, timeout: 10s, roots: [system, /etc/ssl/corp.pem], concurrency: 256, deploy_grace: 2s, allow_targets: [10.0.0.0/8, "*.example.com"], resolvers: [127.0.0.1, "[::1]:5353"]}
modules:
  tls: {protocol: tls}
  tcp_connect_tls: {prober: tcp, timeout: 5s, tcp: {tls: true, preferred_ip_protocol: ip4, ip_protocol_fallback: false, tls_config: {ca_file: /etc/ssl/corp.pem, min_version: TLS12}}}
  http_2xx: {prober: http, http: {valid_status_codes: [], tls_config: {server_name: a.example.com, insecure_skip_verify: true}}}
discover:
  - certbot: {config_dir: /etc/letsencrypt}
  - nginx:
certificates:
  - name: shop
    labels: {team: payments, tier: 1}
    source: {certbot: {lineage: shop.example.com}}
    endpoints:
      - {address: "shop.example.com:443"}
      - {address: mail.example.com, protocol: smtps}
      - {address: "10.0.0.7:8443", server_name: shop.example.com, owned: true, pins: ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]}
    deploy:
      - name: web
        on: [local]
        files: [{from: fullchain, to: /etc/ssl/shop/fullchain.pem}, {from: privkey, to: /etc/ssl/shop/key.pem, mode: 0640, owner: root:ssl-cert}]
        test: [nginx, -t]
        reload: [systemctl, reload, nginx]
        alive: [systemctl, is-active, --quiet, nginx]
      - reload: [/bin/true]
    renew: {certbot: {args: [], env: {}}}
    rollback: {way: auto}
    remediation: {mode: auto, allow: [redeploy, rollback, renew]}
  - name: plain
    source: {files: {cert: /etc/ssl/plain.pem, key: /etc/ssl/plain.key, chain: /etc/ssl/chain.pem}}
    remediation: {mode: approve}
watch: [{address: api.partner.com}, {address: "api.partner.com:443", server_name: other.partner.com}, {file: /etc/ssl/ca/*.pem}]
rules: {defaults: true, adjust: {renewed-not-served: {severity: critical, for: 1d, ladder: [{do: notify}, {do: redeploy, after: 1m}]}}, files: [/etc/certmedic/rules/*.yml]}
alerting:
  group_wait: 1s
  receivers:
    - {name: ops, webhook: {url: "https://me:secret@monitoring.example.com/webhook", headers_file: /etc/certmedic/headers}}
    - {name: log, log: {}}
  routes: [{match: {severity: critical}, to: [ops, log]}, {to: [log], events: true}]
`

func TestParseOfEveryKey(t *testing.T) {
	t.Parallel()
	c, warnings, err := config.Parse("whole.yml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.String())
	}
	if len(got) > 0 {
		t.Errorf("warnings:\n%s", strings.Join(got, "\n"))
	}
	if mode := c.Certificates[0].Deploy[0].Files[1].Mode; mode != "0640" {
		t.Errorf("the unquoted mode 0640 is read as %q", mode)
	}
	if d := *c.Rules.Adjust["renewed-not-served"].For; d != 24*time.Hour {
		t.Errorf("1d is read as %s", d)
	}
	if c.Rules.Adjust["renewed-not-served"].KeepFiringFor != nil {
		t.Error("an adjustment that is absent is there")
	}
	if c.Discover[1].Nginx == nil {
		t.Error("a section without keys is not there")
	}
	if c.Certificates[0].Labels["tier"] != "1" {
		t.Errorf("a number is no label: %q", c.Certificates[0].Labels)
	}
}

func TestParseReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	const text = `state_dir: relative/path
probe:
  intervall: 1m
  timeout: 5
  concurrency: many
remediation: {mode: autp}
certificates:
  - name: "shop 1"
    source: {shared: {dir: /a}}
    endpoints:
      - {address: "shop.example.com:0"}
      - {server_name: x}
    deploy:
      - reload: systemctl reload nginx
        files:
          - {from: privkey, to: /etc/ssl/key.pem, mode: "0644"}
    remediation: {allow: [redeploy, restart]}
  - source: {files: {cert: /a.pem}}
alerting:
  receivers:
    - {name: chat, slack: {token_file: x, channel: "#certs"}}
  routes:
    - {to: [chat, nobody]}
alerting: {}
`
	want := []string{
		`ten.yml:1:12: state_dir: "relative/path" is not an absolute path`,
		`ten.yml:3:3: probe.intervall: unknown key "intervall", did you mean "interval"?`,
		`ten.yml:4:12: probe.timeout: "5" is not a duration such as 90s, 10m, 72h or 14d`,
		`ten.yml:5:16: probe.concurrency: must be a whole number, not "many"`,
		`ten.yml:6:21: remediation.mode: "autp" is none of observe, plan, approve, auto, did you mean "auto"?`,
		`ten.yml:8:11: certificates[0].name: "shop 1" is no name: it is made of letters, digits and . _ * -`,
		`ten.yml:9:14: certificates[0].source.shared: needs one of identity_file, passphrase_file and plaintext, which opens the private key`,
		`ten.yml:11:19: certificates[0].endpoints[0].address: "0" is no port between 1 and 65535`,
		`ten.yml:12:9: certificates[0].endpoints[1].address: is missing`,
		`ten.yml:14:17: certificates[0].deploy[0].reload: must be a list, not "systemctl reload nginx"`,
		`ten.yml:16:57: certificates[0].deploy[0].files[0].mode: "0644" opens the private key to others; use 0600, or 0640 and a group`,
		`ten.yml:17:37: certificates[0].remediation.allow[1]: "restart" is none of reload, redeploy, rollback, renew`,
		`ten.yml:18:5: certificates[1].name: is missing`,
		`ten.yml:21:40: alerting.receivers[0].slack.token_file: "x" is not an absolute path`,
		`ten.yml:23:19: alerting.routes[0].to[1]: there is no receiver "nobody"`,
		`ten.yml:24:1: alerting: the key is given twice, first in line 19`,
	}
	c, _, err := config.Parse("ten.yml", []byte(text))
	if c != nil {
		t.Error("a configuration with mistakes is returned")
	}
	var problems *config.Errors
	if !errors.As(err, &problems) {
		t.Fatalf("got %v, want *config.Errors", err)
	}
	if err.Error() != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", err, strings.Join(want, "\n"))
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	certificate := func(more string) string {
		return "certificates: [{name: a, source: {files: {cert: /a}}, " + more + "}]"
	}
	receiver := func(more string) string { return "alerting: {receivers: [{name: a, " + more + "}]}" }
	for _, tc := range []struct{ name, text, want string }{
		{"a second document", "state_dir: /a\n---\nstate_dir: /b", "x:2:1: a second document begins here"},
		{"an empty second document", "state_dir: /a\n---\n", "x:2:1: a second document begins here"},
		{"text that is no YAML", "a: b: c", "x:1:4: mapping value is not allowed"},
		{"a list in place of the mapping", "- a", `x:1:1: must be a mapping of keys to values, not a list`},
		{"a key twice", "state_dir: /a\nstate_dir: /b", "x:2:1: state_dir: the key is given twice, first in line 1"},
		{"a key twice in a table", "modules: {a: {}, a: {}}", "modules.a: the key is given twice"},
		{"a merge key", "probe: &p {timeout: 1s}\nmodules: {a: {<<: *p}}", "merge keys"},
		{"an unknown anchor", "probe: *p", `probe: no anchor "p"`},
		{"a YAML tag", "state_dir: !!str /a", "state_dir: YAML tags"},
		{"an unknown key without a near one", "nonsense: 1", `x:1:1: nonsense: unknown key "nonsense"`},
		{"swapped letters", "porbe: {}", `did you mean "probe"?`},
		{"a cluster without a coordinator", "cluster: {member: m1}", "cluster: needs one of the keys etcd, dir, s3"},
		{"a window that is none", "remediation: {windows: [\"Mon 02:00-05:00\", x]}", `x:1:44: remediation.windows[1]: "x" is no window such as`},
		{"a window without a list", "remediation: {windows: \"Mon 02:00-05:00\"}", "remediation.windows: must be a list"},
		{"a window in no time zone", "remediation: {windows: [\"Mon 02:00-05:00 Berlin\"]}", "remediation.windows[0]: \"Mon 02:00-05:00 Berlin\": unknown time zone"},
		{"an interval below a second", "probe: {interval: 999ms}", "must be at least 1s"},
		{"a negative timeout", "probe: {timeout: -1s}", "must be longer than 0s"},
		{"a boolean in quotes", `rules: {defaults: "false"}`, `must be true or false, not "false"`},
		{"a fraction for a number", "probe: {concurrency: 1.5}", `must be a whole number, not "1.5"`},
		{"too much concurrency", "probe: {concurrency: 65537}", "must be between 1 and 65536"},
		{"roots that are no path", "probe: {roots: corp}", `x:1:16: probe.roots: "corp" is none of system, mozilla and an absolute path`},
		{"no roots", "probe: {roots: []}", "needs at least one"},
		{"roots by a name", "probe: {roots: [apple]}", "none of system, mozilla and an absolute path"},
		{"a resolver by name", "probe: {resolvers: [dns.example.com]}", "neither an IP address nor IP:port"},
		{"a target that is a URL", `probe: {allow_targets: ["https://a"]}`, "is no host name"},
		{"a prober that is to come", "modules: {a: {prober: icmp}}", `"icmp" is not supported by this version`},
		{"TCP without TLS", "modules: {a: {prober: tcp}}", "TCP without TLS is not probed"},
		{"tcp for the http prober", "modules: {a: {prober: http, tcp: {tls: true}}}", "is for prober: tcp"},
		{"a client certificate without its key", "modules: {a: {prober: http, http: {tls_config: {cert_file: /a}}}}", "belong together"},
		{"TLS versions upside down", "modules: {a: {prober: http, http: {tls_config: {min_version: TLS13, max_version: TLS12}}}}", "newer than max_version"},
		{"a status code that is none", "modules: {a: {prober: http, http: {valid_status_codes: [2000]}}}", "valid_status_codes[0]: must be between 100 and 599"},
		{"a header's pattern that is none", "modules: {a: {prober: http, http: {fail_if_header_matches: [{header: A, regexp: '('}]}}}", "missing closing )"},
		{"a proxy without a host", "modules: {a: {protocol: tls, proxy_url: 'socks5:'}}", "it is no proxy"},
		{"a module that is not there", "watch: [{address: a, module: corp}]", `watch[0].module: there is no module "corp"`},
		{"a family that is none", "watch: [{address: a, family: ipv4}]", `"ipv4" is none of ip4, ip6`},
		{"an address that is a name", "watch: [{address: a, addresses: [b]}]", `"b" is no IP address`},
		{"a renewal in no way", "certificates: [{name: a, source: {certbot: {lineage: a}}, renew: {}}]", "certificates[0].renew: needs one of the keys certbot, acme, command"},
		{"a renewal in two ways", "certificates: [{name: a, source: {certbot: {lineage: a}}, renew: {certbot: {}, command: [x]}}]", "of which only one"},
		{"a renewal by certbot of what it does not keep", certificate("renew: {certbot: {}}"), "certificates[0].renew.certbot: the source is no lineage of certbot; use command"},
		{"a renewal by a shell line", certificate("renew: {command: [step ca renew]}"), "renew.command[0]: \"step ca renew\" is one word"},
		{"a renewal by an empty command", certificate("renew: {command: []}"), "renew.command: is an empty command"},
		{"an argument that says what is renewed", "certificates: [{name: a, source: {certbot: {lineage: a}}, renew: {certbot: {args: [-v, --cert-name=b]}}}]", `renew.certbot.args[1]: "--cert-name" is for certmedic to give`},
		{"an argument that renews what is not due", "certificates: [{name: a, source: {certbot: {lineage: a}}, renew: {certbot: {args: [--force-renewal]}}}]", "is for certmedic to give"},
		{"a variable that is none", "certificates: [{name: a, source: {certbot: {lineage: a}}, renew: {certbot: {env: {A=B: c}}}}]", `renew.certbot.env: "A=B" is no variable`},
		{"a pin of a watched file", "watch: [{file: /a, pins: [x]}]", "are for addresses, not for files"},
		{"a command of haproxy", "discover: [{haproxy: {command: [haproxy, -vv]}}]", "of haproxy the files are parsed, and no command's output"},
		{"a folder with targets", "discover: [{http_sd: {url: /a}}]", "is no URL of http or https"},
		{"names without a port", "discover: [{dns: {names: [a], type: A}}]", "discover[0].dns.port: must be between 1 and 65535"},
		{"two discoveries in one", "discover: [{nginx: {}, certbot: {}}]", "certbot and nginx, of which only one may be there"},
		{"an empty list element", "discover: [~]", "discover[0]: the list has an empty element"},
		{"a certificate without a source", "certificates: [{name: a}]", "certificates[0].source: is missing"},
		{"a source without a kind", "certificates: [{name: a, source: {}}]", "needs one of the keys certbot, files"},
		{"a source of two kinds", "certificates: [{name: a, source: {files: {cert: /a}, certbot: {lineage: a}}}]", "of which only one"},
		{"certbot without a lineage", "certificates: [{name: a, source: {certbot: }}]", "certbot.lineage: is missing"},
		{"a lineage that leaves its folder", "certificates: [{name: a, source: {certbot: {lineage: ../a}}}]", "is no lineage"},
		{"a name twice", "certificates: [{name: a, source: {files: {cert: /a}}}, {name: a, source: {files: {cert: /b}}}]", "is taken by certificates[0].name in line 1"},
		{"a label of certmedic's own", certificate("labels: {endpoint: x}"), `the label "endpoint" is certmedic's own`},
		{"a label that Prometheus would not take", certificate("labels: {a-b: x}"), "is no label name"},
		{"an address without a port for a name that has none", certificate(`endpoints: [{address: "a:b:c"}]`), "is not host:port"},
		{"an address with a space", certificate(`endpoints: [{address: "a b:443"}]`), "neither a DNS name nor an IP address"},
		{"a protocol that is none", certificate("endpoints: [{address: a, protocol: smpt}]"), `"smpt" is none of`},
		{"an endpoint twice, once with its port", certificate(`endpoints: [{address: a}, {address: "a:443"}]`), "is the same endpoint as"},
		{"a pin that is too short", certificate("endpoints: [{address: a, pins: [sha256/AAAA]}]"), "base64 of 32 bytes"},
		{"a deployment to a host that is not listed", certificate("deploy: [{on: [web1], reload: [x]}]"), `there is no host "web1" under hosts; one that is not listed is written as user@host`},
		{"a deployment nowhere", certificate("deploy: [{on: [], reload: [x]}]"), "needs at least one host"},
		{"a deployment that does nothing", certificate("deploy: [{name: a}]"), "does nothing"},
		{"a file written twice", certificate("deploy: [{files: [{from: cert, to: /o}, {from: chain, to: /x/../o}]}]"), "is written by"},
		{"a file that two certificates write", "certificates: [{name: a, source: {files: {cert: /1}}, deploy: [{files: [{from: cert, to: /a}]}]}, {name: b, source: {files: {cert: /2}}, deploy: [{files: [{from: cert, to: /a}]}]}]", "is written by certificates[0].deploy[0].files[0].to"},
		{"a link whose folder another certificate writes into", "certificates: [{name: a, source: {files: {cert: /1}}, deploy: [{swap: /s, files: [{from: cert, to: /s/a}]}]}, {name: b, source: {files: {cert: /2}}, deploy: [{files: [{from: cert, to: /s/b}]}]}]", "would be lost"},
		{"a file of the source itself", "certificates: [{name: a, source: {files: {cert: /a/../c.pem}}, deploy: [{files: [{from: fullchain, to: /c.pem}]}]}]", "belongs to the source"},
		{"a file of certbot's", "certificates: [{name: a, source: {certbot: {config_dir: /le, lineage: a}}, deploy: [{files: [{from: fullchain, to: /le/live/a/fullchain.pem}]}]}]", "belongs to the source"},
		{"an unknown part", certificate("deploy: [{files: [{from: key, to: /o}]}]"), `"key" is none of`},
		{"a mode that is not octal", certificate("deploy: [{files: [{from: cert, to: /o, mode: 0688}]}]"), "no file mode in octal"},
		{"an owner without a group", certificate("deploy: [{files: [{from: cert, to: /o, owner: root}]}]"), "is not user:group"},
		{"an empty command", certificate("deploy: [{reload: []}]"), "is an empty command"},
		{"a shell line as a command", certificate("deploy: [{reload: [systemctl reload nginx]}]"), "each argument as an element of its own"},
		{"a relative program", certificate("deploy: [{reload: [./reload]}]"), "neither an absolute path nor a plain name"},
		{"a watch for nothing", "watch: [{labels: {a: b}}]", "needs one of the keys address, file"},
		{"a watch for an empty address", `watch: [{address: ""}]`, "the address or file is empty"},
		{"a watched address twice", `watch: [{address: a}, {address: "a:443"}]`, "is the same endpoint as watch[0]"},
		{"a bad pattern", `watch: [{file: "/a[.pem"}]`, "is no pattern"},
		{"a file with a server name", "watch: [{file: /a, server_name: b}]", "are for addresses"},
		{"an unknown severity", "rules: {adjust: {a: {severity: bad}}}", `"bad" is none of info, warning, critical`},
		{"a receiver without a kind", "alerting: {receivers: [{name: a}]}", "needs one of the keys log, slack, pagerduty, webhook"},
		{"a webhook elsewhere than http", receiver("webhook: {url: ftp://a}"), "must begin with http"},
		{"a webhook without a host", receiver("webhook: {url: 'http://'}"), "has no host"},
		{"a route to nobody", "alerting: {routes: [{to: []}]}", "needs at least one receiver"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := config.Parse("x", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if n := strings.Count(err.Error(), "\n") + 1; n != 1 {
				t.Errorf("one mistake, %d problems:\n%s", n, err)
			}
		})
	}
}

func TestParseKeepsPasswordsOutOfErrors(t *testing.T) {
	t.Parallel()
	text := "alerting: {receivers: [{name: a, webhook: {url: 'https://me:secret@host:port/'}}]}"
	if _, _, err := config.Parse("x", []byte(text)); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error without the password", err)
	}
}

func TestParseOfAlmostNothing(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"an empty file": "", "a comment": "# nothing yet\n", "a key without a value": "probe:\n", "a byte order mark": "\ufeffprobe: {}\n",
	} {
		c, warnings, err := config.Parse("x", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Remediation.Mode != certmedic.ModeObserve || c.Probe.Interval != time.Minute || len(c.Discover) != 0 {
			t.Errorf("%s: the defaults are not there: %+v", name, c)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0].Message, "nothing is watched") {
			t.Errorf("%s: nothing warns that nothing is watched: %v", name, warnings)
		}
	}
}

func TestParseOfAliases(t *testing.T) {
	t.Parallel()
	c, _, err := config.Parse("x", []byte("watch: [{address: a, labels: &l {team: x}}, {address: b, labels: *l}]"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Watch[1].Labels["team"] != "x" {
		t.Errorf("the alias is lost: %+v", c.Watch[1])
	}
}

func TestEveryIncidentReachesSomebody(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"without receivers the log is told", "{}", "log"},
		{"without routes every receiver is told", "alerting: {receivers: [{name: a, log: {}}, {name: b, log: {}}]}", "a b"},
		{"routes are left as they are", "alerting: {receivers: [{name: a, log: {}}, {name: b, log: {}}], routes: [{to: [b]}]}", "b"},
	} {
		c, _, err := config.Parse("x", []byte(tc.text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Alerting.Routes[0].To, " "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	c, _, err := config.Parse("x", []byte("rules:\n  adjust:\n    a: {severity: info}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"rules.adjust.a":          "x:3:5",
		"rules.adjust.a.severity": "x:3:19",
		"rules.adjust.a.for":      "x:3:5", // not there: the mapping around it
		"watch[0].address":        "x:1:1",
	} {
		if got := c.Position(key).String(); got != want {
			t.Errorf("%s is at %s, want %s", key, got, want)
		}
	}
}

func TestEffectiveIsTheSameConfiguration(t *testing.T) {
	t.Parallel()
	c, _, err := config.Parse("whole.yml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Effective()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(first), "secret") || !strings.Contains(string(first), "https://xxxxx@monitoring.example.com/xxxxx") {
		t.Errorf("the password is not masked:\n%s", first)
	}
	again, _, err := config.Parse("effective.yml", first)
	if err != nil {
		t.Fatalf("what is shown cannot be read: %v\n%s", err, first)
	}
	second, err := again.Effective()
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(second) {
		t.Errorf("what is shown differs when it is read again:\n%s\n%s", first, second)
	}
}

func TestEffectiveMasksSecrets(t *testing.T) {
	t.Parallel()
	const text = `modules:
  web: {prober: http, http: {proxy_url: "http://bob:hunter2@proxy:3128", headers: {Authorization: Bearer hunter2, x-token: hunter2, user-agent: lab}, body: "pin=hunter2"}}
  mail: {prober: tcp, tcp: {query_response: [{expect: ^220, send: PASS hunter2}, {starttls: true}]}}
  through: {proxy_url: "socks5://hunter2@proxy:1080"}
discover: [{http_sd: {url: "https://sd.example.com/targets?token=hunter2&hunter2"}}]
certificates: [{name: shop, source: {certbot: {lineage: shop}}, renew: {certbot: {args: [-v], env: {TOKEN: hunter2}}}}]
alerting: {receivers: [{name: a, webhook: {url: "https://hook.example.com/services/hunter2?key=hunter2"}}]}
`
	c, _, err := config.Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	shown, err := c.Effective()
	if err != nil {
		t.Fatal(err)
	}
	inJSON, err := config.ToJSON(shown)
	if err != nil {
		t.Fatal(err)
	}
	if all := string(shown) + string(inJSON) + c.Discover[0].HTTPSD.URL.String(); strings.Contains(all, "hunter2") {
		t.Errorf("a secret is shown:\n%s", all)
	}
	for _, line := range []string{
		"Authorization: <secret>\n", "x-token: <secret>\n", "user-agent: lab\n", "body: <secret>\n", "send: <secret>\n", "expect: ^220\n",
		"http://xxxxx@proxy:3128\n", "https://sd.example.com/targets?token=xxxxx&xxxxx\n", "method: GET\n", "starttls: true\n", "TOKEN: <secret>\n",
	} {
		if !strings.Contains(string(shown), line) {
			t.Errorf("there is no %q in\n%s", line, shown)
		}
	}
	web, mail := c.Modules["web"].HTTP, c.Modules["mail"].TCP
	if c.Certificates[0].Renew.Certbot.Env["TOKEN"] != "hunter2" {
		t.Error("showing the configuration changed a variable")
	}
	if web.Body != "pin=hunter2" || web.Headers["x-token"] != "hunter2" || mail.QueryResponse[0].Send != "PASS hunter2" {
		t.Errorf("showing the configuration changed it: %+v, %+v", web, mail)
	}
}

func TestDefaultCanBeShownAndRead(t *testing.T) {
	t.Parallel()
	text, err := config.Default().Effective()
	if err != nil {
		t.Fatal(err)
	}
	c, warnings, err := config.Parse("default.yml", text)
	if err != nil || len(warnings) != 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	if len(c.Discover) != 6 || c.Remediation.Mode != certmedic.ModeObserve {
		t.Errorf("the default does not discover and observe: %+v", c)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("a: &x [*x]\n"))
	f.Add([]byte("watch: [{address: \"[::1]\"}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := config.Parse("fuzz", data)
		var problems *config.Errors
		switch {
		case err != nil && (!errors.As(err, &problems) || len(problems.Problems) == 0):
			t.Fatalf("an error without a problem: %v", err)
		case err != nil:
			return
		}
		text, err := c.Effective()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := config.Parse("effective", text); err != nil {
			t.Fatalf("what is shown cannot be read: %v\n%s", err, text)
		}
	})
}
