package fleet_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/testhost"
)

// The names of the proof with five hosts.
const (
	hostsDomain = "shop.fleet.test"
	hostsSudo   = "30s" // remediation.command_timeout, as sudoers has it
)

// hostsTools builds certmedic and the CA, once for all tests, and returns the folder that holds them.
var hostsTools = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".tools", "fleet", "hosts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/", "./cmd/certmedic", "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building certmedic and pebble: %w: %s", err, out)
	}
	return dir, nil
})

// hostsWorld is a host with certmedic and a CA, five with nginx that it deploys to over ssh, and one with
// HAProxy in front of these.
type hostsWorld struct {
	t        *testing.T
	control  *testhost.Host
	balancer *testhost.Host
	webs     []*testhost.Host
	tools    string
	client   *http.Client
}

func newHostsWorld(t *testing.T) *hostsWorld {
	t.Helper()
	network := testhost.New(t)
	tools, err := hostsTools()
	coordMust(t, err)
	w := &hostsWorld{t: t, tools: tools}
	w.control = network.Boot(testhost.Spec{Name: "control", Layer: "fleet", Binds: []string{tools}})
	w.balancer = network.Boot(testhost.Spec{Name: "balancer", Layer: "fleet"})
	w.client = &http.Client{Transport: &http.Transport{DialContext: w.control.Dial, DisableKeepAlives: true}, Timeout: 20 * time.Second}
	w.control.Must(t.Context(), "mkdir -p -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
	public := w.control.ReadFile("/root/.ssh/id_ed25519.pub")
	ca := mint.Must(mint.NewCA("Placeholder"))
	first := mint.Must(ca.Leaf(mint.Leaf{Names: []string{hostsDomain}, NotBefore: time.Now().Add(-24 * time.Hour)}))
	var known, servers strings.Builder
	for n := range 5 {
		name := fmt.Sprintf("web%d", n+1)
		web := network.Boot(testhost.Spec{Name: name, Layer: "fleet"})
		w.webs = append(w.webs, web)
		(&remoteWorld{t: t}).prepare(web, public, first)
		sudoers := string(web.ReadFile("/etc/sudoers.d/deploy"))
		web.WriteFile("/etc/sudoers.d/deploy", []byte(strings.ReplaceAll(sudoers, "30s nginx", hostsSudo+" nginx")), 0o440)
		fmt.Fprintf(&known, "%s %s", web.IP(), web.ReadFile("/etc/ssh/ssh_host_ed25519_key.pub"))
		fmt.Fprintf(&servers, "  server %s %s:443 check inter 200ms\n", name, web.IP())
	}
	w.control.WriteFile(remoteKnown, []byte(known.String()), 0o600)
	w.balancer.WriteFile("/etc/haproxy/haproxy.cfg", []byte("defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 10s\n  timeout server 10s\nlisten shop\n  bind :443\n  balance roundrobin\n"+servers.String()), 0o644)
	w.balancer.Must(t.Context(), "systemctl restart haproxy")
	w.startCA()
	return w
}

// startCA starts pebble beside certmedic, which trusts it.
func (w *hostsWorld) startCA() {
	w.t.Helper()
	w.control.WriteFile("/etc/pebble/config.json", []byte(`{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
		"certificate": "/etc/pebble/cert.pem", "privateKey": "/etc/pebble/key.pem", "httpPort": 80, "tlsPort": 443}}`), 0o644)
	w.control.Must(w.t.Context(), `cd /etc/pebble && mkdir -p /var/www/html && systemctl start nginx
		echo "127.0.0.1 `+hostsDomain+`" >>/etc/hosts
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null
		systemd-run --quiet --unit=pebble --property=StandardOutput=append:/var/log/pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=0 `+w.tools+`/pebble -config /etc/pebble/config.json
		for try in $(seq 400); do
			curl --silent --fail --cacert cert.pem https://localhost:15000/roots/0 >root.pem && break
			sleep 0.05
		done
		cat cert.pem root.pem >roots.pem && test -s root.pem`)
}

// config lists the five hosts, two addresses of the name, and how a version gets to the hosts.
func (w *hostsWorld) config() string {
	var hosts, names, addresses []string
	for _, web := range w.webs {
		hosts = append(hosts, fmt.Sprintf("  - {name: %s, address: %s, user: %s, sudo: true}", web.Name(), web.IP(), remoteUser))
		names, addresses = append(names, web.Name()), append(addresses, `"`+web.IP()+`"`)
	}
	return fmt.Sprintf(`remediation: {mode: auto, max_actions_per_hour: 1000, command_timeout: %s}
probe: {interval: 1s, timeout: 3s, roots: [/etc/pebble/roots.pem], records: false, ari: false, revocation: "off"}
hosts:
%s
certificates:
  - name: shop
    source:
      acme: {directory: "https://localhost:14000/dir", ca_file: /etc/pebble/cert.pem, email: ops@example.test, domains: [%s], challenge: {http-01: {webroot: /var/www/html}}}
    endpoints:
      - {address: "%[3]s:443", addresses: [%[4]s], owned: true}
      - {address: "balancer:443", server_name: %[3]s, owned: true}
    deploy:
      - name: web
        on: [%[5]s]
        rollout: {canary: 1, wave: 50%%, tolerate: 20%%}
        files: [{from: fullchain, to: %[6]s, mode: "0644"}, {from: privkey, to: %[7]s, mode: "0640", owner: "root:www-data"}]
        service: nginx
    remediation: {mode: auto, allow: [redeploy, renew]}
alerting: {receivers: [{name: log, log: {}}]}
`, hostsSudo, strings.Join(hosts, "\n"), hostsDomain, strings.Join(addresses, ", "), strings.Join(names, ", "), remoteCert, remoteKey)
}

func (w *hostsWorld) start() {
	w.t.Helper()
	w.control.WriteFile("/etc/certmedic/certmedic.yml", []byte(w.config()), 0o644)
	w.control.Must(w.t.Context(), "systemd-run --quiet --unit=certmedic --property=StandardError=append:/var/log/certmedic "+w.tools+"/certmedic serve --config /etc/certmedic/certmedic.yml")
}

// certmedic runs a command of certmedic's.
func (w *hostsWorld) certmedic(args string) testhost.Result {
	w.t.Helper()
	r, err := w.control.Sh(w.t.Context(), w.tools+"/certmedic --config /etc/certmedic/certmedic.yml "+args)
	coordMust(w.t, err)
	return r
}

func (w *hostsWorld) get(path string, into any) bool {
	resp, err := w.client.Get("http://localhost:9879" + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK && json.Unmarshal(data, into) == nil
}

// actions returns what was done, newest first, without what was refused.
func (w *hostsWorld) actions(kind certmedic.ActionKind) []certmedic.Action {
	var all, done []certmedic.Action
	w.get("/api/v1/history", &all)
	for _, a := range all {
		if a.Kind == kind && a.Outcome.Kind != certmedic.OutcomeRefused {
			done = append(done, a)
		}
	}
	return done
}

func (w *hostsWorld) await(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			log, _ := w.control.Sh(context.Background(), "tail -n 40 /var/log/certmedic")
			w.t.Fatalf("never: %s\n%.3000s\n%s", what, w.certmedic("history shop").Stdout, log.Stdout)
		}
	}
}

// orders returns how many certificates the CA issued.
func (w *hostsWorld) orders() int {
	w.t.Helper()
	return strings.Count(string(w.control.ReadFile("/var/log/pebble")), "Issued certificate serial")
}

// stored returns the version that certmedic had issued last.
func (w *hostsWorld) stored() certmedic.Fingerprint {
	r, err := w.control.Sh(w.t.Context(), "openssl x509 -in /var/lib/certmedic/acme/shop/current/cert.pem -outform der | sha256sum")
	if err != nil || r.Code != 0 {
		return ""
	}
	return certmedic.Fingerprint(strings.Fields(r.Stdout)[0])
}

// served returns the version that each host presents, in their order.
func (w *hostsWorld) served(n int) (leaf certmedic.Fingerprint) {
	conn, err := w.webs[n-1].Dial(w.t.Context(), "tcp", "localhost:443")
	if err != nil {
		return ""
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // what is served is the question
	if err := client.HandshakeContext(w.t.Context()); err != nil {
		return ""
	}
	return remoteFingerprint(client.ConnectionState().PeerCertificates[0].Raw)
}

// print tells whether anything of a host was touched: its files, and the workers of its nginx.
func (w *hostsWorld) print(n int) string {
	w.t.Helper()
	return w.webs[n-1].Must(w.t.Context(), "stat -c '%i %Y %Z' "+remoteCert+" "+remoteKey+" && pgrep -P $(cat /run/nginx.pid) | sort")
}

// nodes returns how each host stands, as a command tells it, such as "web1 done".
func (w *hostsWorld) nodes(a certmedic.Action) string {
	var all []string
	for _, n := range a.Nodes {
		all = append(all, n.Node+" "+string(n.State))
	}
	return strings.Join(all, ", ")
}

// wantVersions checks what each host serves.
func (w *hostsWorld) wantVersions(want map[int]certmedic.Fingerprint) {
	w.t.Helper()
	for n, version := range want {
		if got := w.served(n); got != version {
			w.t.Errorf("web%d serves %s, want %s", n, got.Short(), version.Short())
		}
	}
}

// TestFiveHosts has one certificate issued once and brought to five hosts: a canary first, then waves. One
// host has a broken configuration, one is unplugged, one serves something else later on: each is brought up
// to date by itself, and nothing else is touched.
func TestFiveHosts(t *testing.T) {
	t.Parallel()
	w := newHostsWorld(t)
	w.start()
	w.await("the first version is everywhere", func() bool {
		done := w.actions(certmedic.ActionRedeploy)
		return len(done) > 0 && done[0].Outcome.Kind == certmedic.OutcomeHealed
	})
	first := w.stored()
	w.wantVersions(map[int]certmedic.Fingerprint{1: first, 2: first, 3: first, 4: first, 5: first})
	if a := w.actions(certmedic.ActionRedeploy)[0]; w.nodes(a) != "web1 done, web2 done, web3 done, web4 done, web5 done" || a.Nodes[0].Wave != 0 || a.Nodes[1].Wave != 1 || a.Nodes[4].Wave != 2 {
		t.Errorf("the roll-out went %+v", a.Nodes)
	}
	if n := w.orders(); n != 1 {
		t.Errorf("the CA issued %d certificates", n)
	}
	w.someFail(first)
	w.oneStale()
	if n := w.orders(); n != 2 {
		t.Errorf("the CA issued %d certificates, for two versions", n)
	}
}

// someFail rolls a second version out while one host refuses it and another one is unplugged.
func (w *hostsWorld) someFail(first certmedic.Fingerprint) {
	t := w.t
	t.Helper()
	w.webs[2].WriteFile("/etc/nginx/conf.d/other.conf", []byte("server { listen 444 ssl; ssl_certificate /none; }\n"), 0o644)
	broken := w.print(3)
	w.webs[4].Cut()
	if r := w.certmedic("renew shop --force --yes"); w.orders() != 2 {
		t.Fatalf("a forced renewal: %d %s %s", r.Code, r.Stdout, r.Stderr)
	}
	second := w.stored()
	w.await("three hosts have the second version", func() bool {
		return w.served(1) == second && w.served(2) == second && w.served(4) == second
	})
	w.await("a roll-out ended", func() bool {
		done := w.actions(certmedic.ActionRedeploy)
		return done[0].Version == second && done[0].Outcome.Kind != certmedic.OutcomeRunning
	})
	w.wantVersions(map[int]certmedic.Fingerprint{3: first})
	rolled := w.actions(certmedic.ActionRedeploy)
	for _, a := range rolled {
		if a.Version == second {
			rolled = []certmedic.Action{a} // the earliest, at last
		}
	}
	if got, want := w.nodes(rolled[0]), "web1 done, web2 done, web3 put_back, web4 done, web5 unreachable"; got != want || !strings.Contains(rolled[0].Outcome.Detail, "web3") {
		t.Errorf("the roll-out went %q, want %q: %+v", got, want, rolled[0].Outcome)
	}
	if w.print(3) == "" || strings.Fields(broken)[6] != strings.Fields(w.print(3))[6] {
		t.Errorf("nginx of the host that refused was touched")
	}
	if r := w.certmedic("matrix shop"); r.Code == 0 {
		t.Errorf("the matrix finds nothing wrong:\n%s", r.Stdout)
	}
	healthy := map[int]string{1: w.print(1), 2: w.print(2), 4: w.print(4)}
	w.webs[2].Must(t.Context(), "rm /etc/nginx/conf.d/other.conf")
	w.webs[4].Heal()
	w.await("the others have it, too", func() bool { return w.served(3) == second && w.served(5) == second })
	w.await("nothing is open", func() bool { return w.actions(certmedic.ActionRedeploy)[0].Outcome.Kind == certmedic.OutcomeHealed })
	for n, before := range healthy {
		if now := w.print(n); now != before {
			t.Errorf("web%d was touched:\n%s\nthen\n%s", n, before, now)
		}
	}
	if r := w.certmedic("matrix shop"); r.Code != 0 {
		t.Errorf("the matrix finds something wrong:\n%s", r.Stdout)
	}
}

// oneStale has one host serve another certificate behind certmedic's back.
func (w *hostsWorld) oneStale() {
	t := w.t
	t.Helper()
	second := w.stored()
	others := map[int]string{1: w.print(1), 3: w.print(3), 4: w.print(4), 5: w.print(5)}
	before := len(w.actions(certmedic.ActionRedeploy))
	w.webs[1].Must(t.Context(), `cd /etc/ssl/shop && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -subj /CN=`+hostsDomain+` -keyout privkey.pem -out fullchain.pem 2>/dev/null && systemctl reload nginx`)
	w.await("the stale host is healed", func() bool {
		done := w.actions(certmedic.ActionRedeploy)
		return len(done) > before && done[0].Outcome.Kind == certmedic.OutcomeHealed && w.served(2) == second
	})
	if a := w.actions(certmedic.ActionRedeploy)[0]; !strings.HasPrefix(a.Outcome.Detail, "1 of 1 hosts") {
		t.Errorf("the action says %q", a.Outcome.Detail)
	}
	for n, was := range others {
		if now := w.print(n); now != was {
			t.Errorf("web%d was touched:\n%s\nthen\n%s", n, was, now)
		}
	}
}
