package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

// expiredName is served from a version that has expired.
const expiredName = "expired.example.test"

// prometheusConfig scrapes certmedic and asks its rules as fast as certmedic judges.
const prometheusConfig = `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [certmedic.rules.yml]
scrape_configs: [{job_name: certmedic, static_configs: [{targets: ["127.0.0.1:9879"]}]}]
`

func TestPrometheusRaisesTheSameAlerts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("exit 1\n")
	root := mint.Must(mint.NewCA("Another Root"))
	w.WriteFile("/etc/ssl/minted/root.pem", root.PEM(), 0o644)
	w.must("cat /etc/ssl/minted/root.pem >>/etc/ssl/certs/ca-certificates.crt")
	w.serveMinted(root, time.Now().Add(-time.Hour))
	w.set("", `probe: {interval: 1s}
watch: [{address: "127.0.0.1:443", server_name: `+expiredName+`}, {address: "127.0.0.1:444", server_name: `+domain+`}]
rules: {adjust: {unreachable: {for: 3s, keep_firing_for: 2s}}}
`+w.alerts.told())
	w.start()
	w.startPrometheus()
	names := w.alertNames()

	const watched = "127.0.0.1:443/" + expiredName
	bad := []string{"CertmedicExpired  " + watched, "CertmedicExpiryImminent  " + watched, "CertmedicRenewalOverdue  " + watched}
	drift, unreachable := "CertmedicRenewedNotServed "+name+" ", "CertmedicUnreachable  127.0.0.1:444/"+domain
	w.awaitSameAlerts(names, append(bad, unreachable)...)
	w.renew()
	w.awaitSameAlerts(names, append(bad, drift, unreachable)...)

	w.serveMinted(root, time.Now().Add(80*24*time.Hour))
	w.awaitSameAlerts(names, unreachable) // nginx has loaded everything anew
	w.WriteFile("/etc/nginx/conf.d/late.conf", fmt.Appendf(nil, "server { listen 444 ssl; ssl_certificate %s/fullchain.pem; ssl_certificate_key %s/privkey.pem; }\n", live, live), 0o644)
	w.must("nginx -t -q && systemctl reload nginx")
	w.awaitSameAlerts(names)
}

// serveMinted has nginx serve a certificate of another CA that ends then.
func (w *world) serveMinted(root *mint.CA, end time.Time) {
	w.t.Helper()
	leaf := mint.Must(root.Leaf(mint.Leaf{Names: []string{expiredName}, NotAfter: end}))
	w.WriteFile("/etc/ssl/minted/cert.pem", leaf.FullchainPEM(), 0o644)
	w.WriteFile("/etc/ssl/minted/key.pem", mint.Must(leaf.KeyPEM()), 0o600)
	w.serveTLS("minted", expiredName, "/etc/ssl/minted/cert.pem", "/etc/ssl/minted/key.pem")
}

// startPrometheus starts Debian's Prometheus with the rules that certmedic exports.
func (w *world) startPrometheus() {
	w.t.Helper()
	if err := shareProgram(w.tools, "prometheus", "usr/bin/prometheus"); err != nil {
		w.t.Fatal(err)
	}
	w.WriteFile("/etc/prometheus/prometheus.yml", []byte(prometheusConfig), 0o644)
	w.must("certmedic rules export >/etc/prometheus/certmedic.rules.yml 2>/dev/null && systemd-run --quiet --unit=prometheus " + w.tools +
		"/prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/var/lib/prometheus --web.listen-address=127.0.0.1:9090")
	w.await("Prometheus is ready", patience, 100*time.Millisecond, func() bool { return w.askPrometheus("/-/ready", nil) == nil })
}

// shareProgram puts a program of a Debian package of its own name into a folder that hosts
// share.
func shareProgram(dir, name, program string) error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	if out, err := exec.Command(filepath.Join(root, "scripts", "unpack"), name, program, name).CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking %s: %w: %s", name, err, out)
	}
	err = os.Link(filepath.Join(root, ".tools", name, program), filepath.Join(dir, name))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("sharing %s: %w", name, err)
	}
	return nil
}

// askPrometheus asks Prometheus for a page, and decodes it where into is not nil.
func (w *world) askPrometheus(path string, into any) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:9090"+path, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: w.Dial, DisableKeepAlives: true}}
	resp, err := client.Do(request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// alertNames returns the name of the alert that each exported rule has.
func (w *world) alertNames() map[string]string {
	w.t.Helper()
	var exported []struct {
		Rule   string
		Alerts []struct{ Alert string }
	}
	r := w.certmedic("rules", "export", "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &exported); err != nil {
		w.fatalf("certmedic rules export --json: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	names := map[string]string{}
	for _, e := range exported {
		if len(e.Alerts) > 0 {
			names[e.Rule] = e.Alerts[0].Alert
		}
	}
	return names
}

// awaitSameAlerts waits until certmedic says that exactly these fire, and then until
// Prometheus says so.
func (w *world) awaitSameAlerts(names map[string]string, want ...string) {
	w.t.Helper()
	want = slices.Sorted(slices.Values(want))
	ours, within := w.awaitAlerts(want, patience, func() []string { return w.incidentsAsAlerts(names) })
	if !within {
		w.fatalf("certmedic's incidents are %q, want %q; Prometheus's alerts are %q", ours, want, w.alertsFiring())
	}
	if theirs, within := w.awaitAlerts(want, patience, w.alertsFiring); !within {
		w.fatalf("Prometheus's alerts are %q, certmedic's incidents %q", theirs, ours)
	}
}

// awaitAlerts waits until alerts are as wanted, and returns the last ones.
func (w *world) awaitAlerts(want []string, limit time.Duration, alerts func() []string) (got []string, within bool) {
	deadline := time.Now().Add(limit)
	for got = alerts(); !slices.Equal(got, want); got = alerts() {
		if time.Now().After(deadline) {
			return got, false
		}
		time.Sleep(200 * time.Millisecond)
	}
	return got, true
}

// incidentsAsAlerts returns what fires by certmedic, as alerts are named, sorted.
func (w *world) incidentsAsAlerts(names map[string]string) []string {
	w.t.Helper()
	var all []certmedic.Incident
	r := w.certmedic("incidents", "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil {
		w.fatalf("certmedic incidents --json: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	var firing []string
	for _, in := range all {
		if in.State != certmedic.StateFiring || names[in.Rule] == "" {
			continue
		}
		certificate, endpoint := in.Subject.Certificate, in.Subject.Endpoint
		if certificate != name { // only watched: named by its endpoint alone
			certificate, endpoint = "", certificate
		}
		firing = append(firing, fmt.Sprintf("%s %s %s", names[in.Rule], certificate, endpoint))
	}
	slices.Sort(firing)
	return firing
}

// alertsFiring returns what fires by Prometheus, sorted, each once: an alert whose severity was
// raised is there twice.
func (w *world) alertsFiring() []string {
	w.t.Helper()
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	if err := w.askPrometheus("/api/v1/alerts", &answer); err != nil {
		w.fatalf("asking Prometheus: %v", err)
	}
	var firing []string
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			firing = append(firing, fmt.Sprintf("%s %s %s", a.Labels["alertname"], a.Labels["certificate"], a.Labels["endpoint"]))
		}
	}
	slices.Sort(firing)
	return slices.Compact(firing)
}
