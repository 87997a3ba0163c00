package e2e_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// issued is the folder of what certmedic itself has issued.
const issued = "/var/lib/certmedic/acme/" + name

// newIssuer builds a world whose nginx serves a placeholder from files that certmedic deploys to,
// and whose CA issues certificates of a given life. certmedic has nothing yet.
func newIssuer(t *testing.T, life time.Duration) *world {
	t.Helper()
	w := newWorld(t, setting{})
	w.must(fmt.Sprintf(`cd /etc/pebble && systemctl stop pebble
		sed -i 's/"validityPeriod": [0-9]*/"validityPeriod": %d/' config.json
		systemd-run --quiet --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_AUTHZREUSE=0 --setenv=PEBBLE_WFE_NONCEREJECT=0 `, int(life.Seconds())) + w.tools + `/pebble -config /etc/pebble/config.json
		for try in $(seq 400); do
			curl --silent --fail --cacert cert.pem https://localhost:15000/roots/0 >root.pem && break
			sleep 0.05
		done
		cat root.pem >>/etc/ssl/certs/ca-certificates.crt
		install -d /etc/ssl/shop && cd /etc/ssl/shop
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=placeholder -keyout key.pem -out fullchain.pem 2>/dev/null`)
	w.serveTLS("shop", domain, "/etc/ssl/shop/fullchain.pem", "/etc/ssl/shop/key.pem")
	return w
}

// issueBy starts certmedic with the certificate as its own, and further settings of the source.
func (w *world) issueBy(more string) {
	w.t.Helper()
	w.WriteFile(configFile, fmt.Appendf(nil, `remediation: {mode: auto, max_actions_per_hour: 1000}
probe: {interval: 2s}
certificates:
  - name: %s
    source:
      acme: {directory: "https://localhost:14000/dir", email: ops@example.test, domains: [%s], challenge: {http-01: {webroot: /var/www/html}}%s}
    endpoints: [{address: "%s:443", owned: true}]
    deploy: %s
    remediation: {mode: auto, allow: [redeploy, renew]}
rules: {adjust: {nothing-issued: {for: 5s}}}
alerting:
  receivers: [{name: log, log: {}}, {name: hook, webhook: {url: "%s"}}]
`, name, domain, more, domain, steps, w.alerts.url), 0o644)
	w.start()
}

// current returns the version that certmedic had issued last; empty where there is none.
func (w *world) current() certmedic.Fingerprint {
	w.t.Helper()
	text := w.must("cat " + issued + "/current/cert.pem 2>/dev/null || true")
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return ""
	}
	return fingerprint(block.Bytes)
}

func TestIssuedServedAndRenewedOnSchedule(t *testing.T) {
	t.Parallel()
	w := newIssuer(t, time.Minute)
	orders := w.orders()
	w.issueBy(", key_type: ec384, pre_hook: [/bin/sh, -c, 'echo pre >>/var/log/hook'], post_hook: [/bin/sh, -c, 'echo post >>/var/log/hook']")

	const versions = 4 // the first one, and three renewals, each at half of its life
	seen := map[certmedic.Fingerprint]bool{}
	for n := range versions {
		w.await(fmt.Sprintf("version %d is served", n+1), 2*time.Minute, 100*time.Millisecond, func() bool {
			version := w.current()
			return version != "" && !seen[version] && w.served(domain) == version
		})
		seen[w.current()] = true
	}
	pair := func(file string) []byte { return w.ReadFile(path.Join(issued, "current", file)) }
	if _, err := tls.X509KeyPair(pair("fullchain.pem"), pair("privkey.pem")); err != nil {
		t.Errorf("the stored pair: %v", err)
	}
	if got, want := w.must("cd "+issued+" && stat --format '%a' . versions current/privkey.pem current/fullchain.pem"), "700\n700\n600\n644\n"; got != want {
		t.Errorf("the folder has the modes\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(w.must("openssl x509 -in "+issued+"/current/cert.pem -noout -text"), "384 bit") {
		t.Error("the key is not of the configured kind")
	}
	renewals := 0
	for _, a := range w.actions() {
		if a.Kind == certmedic.ActionRenew && a.Outcome.Kind != certmedic.OutcomeRefused {
			renewals++
			if a.By != "renewal-time" && a.By != "expired" && a.By != "expiry-imminent" || a.Outcome.Kind == certmedic.OutcomeFailed {
				t.Errorf("a renewal by %s ended %s: %s", a.By, a.Outcome.Kind, a.Outcome.Detail)
			}
		}
	}
	if got := w.orders() - orders; got != renewals || renewals < versions {
		t.Errorf("%d renewals took %d orders, for at least %d versions", renewals, got, versions)
	}
	if hooks := w.must("cat /var/log/hook"); !strings.HasPrefix(hooks, strings.Repeat("pre\npost\n", versions)) {
		t.Errorf("around the renewals it went\n%s", hooks)
	}
}

// slowly has nginx answer the CA's question for a challenge after three seconds.
const slowly = `cat >/usr/local/bin/slow.py <<'EOT'
import http.server, time
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        time.sleep(3)
        super().do_GET()
http.server.ThreadingHTTPServer(("127.0.0.1", 8081), lambda *a: Handler(*a, directory="/var/www/html")).serve_forever()
EOT
systemd-run --quiet --unit=slow python3 /usr/local/bin/slow.py
echo 'location /.well-known/ { proxy_pass http://127.0.0.1:8081; }' >/etc/nginx/acme.conf
sed -i '/server_name _;/a include /etc/nginx/acme.conf;' /etc/nginx/sites-enabled/default && systemctl reload nginx
for try in $(seq 100); do curl --silent --output /dev/null http://127.0.0.1:8081/ && break; sleep 0.1; done`

func TestKilledInTheMiddleOfAnOrder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about string
		who   string // is killed
	}{
		{"the daemon alone, and the order goes on", "main"},
		{"everything, and the order is finished later", "all"},
	} {
		t.Run(tt.who, func(t *testing.T) {
			t.Parallel()
			w := newIssuer(t, 90*24*time.Hour)
			w.must(slowly)
			orders := w.orders()
			w.issueBy("")
			w.await("an order is placed", patience, 50*time.Millisecond, func() bool { return w.orders() == orders+1 })
			w.must("systemctl kill --signal=KILL --kill-who=" + tt.who + " certmedic")
			w.await(tt.about, 3*time.Minute, 200*time.Millisecond, func() bool {
				version := w.current()
				return version != "" && w.served(domain) == version
			})
			w.stays("one order was placed", rounds, func() bool { return w.orders() == orders+1 })
			if left := w.must("ls -A " + issued); !strings.Contains(left, "current") || strings.Contains(left, "storing") {
				t.Errorf("the folder holds\n%s", left)
			}
		})
	}
}

func TestFailedIssuanceIsToldAndNotRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	w := newIssuer(t, 90*24*time.Hour)
	w.must("echo 'location /.well-known/ { return 404; }' >/etc/nginx/acme.conf && sed -i '/server_name _;/a include /etc/nginx/acme.conf;' /etc/nginx/sites-enabled/default && systemctl reload nginx")
	orders := w.orders()
	w.issueBy("")

	a := w.awaitOutcome(1, certmedic.OutcomeFailed)
	if a.Kind != certmedic.ActionRenew || a.Outcome.Reason != "challenge_failed" {
		t.Errorf("it is %s that failed because of %s: %s", a.Kind, a.Outcome.Reason, a.Outcome.Detail)
	}
	w.awaitIncident("nothing-issued", certmedic.StateFiring)
	if r := w.certmedic("history", "--json"); !strings.Contains(r.Stdout, domain) || !strings.Contains(r.Stdout, "404") {
		t.Errorf("the history does not name the CA's words:\n%s", r.Stdout)
	}
	w.stays("nothing more is ordered for now", 20*time.Second, func() bool { return w.orders() == orders+1 })
	if r := w.certmedic("renew", name, "--plan"); !strings.Contains(r.Stdout, "asks https://localhost:14000/dir for "+domain) || w.orders() != orders+1 {
		t.Errorf("the plan is\n%s%s", r.Stdout, r.Stderr)
	}

	w.must("echo >/etc/nginx/acme.conf && systemctl reload nginx") // its owner mends it, and does not want to wait
	w.certmedic("renew", name, "--yes")
	w.awaitServed(w.current())
	w.awaitIncident("nothing-issued", certmedic.StateResolved)
}
