package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// service is one of several that serve the certificate on one host. Its copy lies in a folder of
// its name below /etc/ssl.
type service struct {
	name     string            // as certmedic knows what is usual for it
	reloaded string            // what the journal says when it was reloaded
	ports    map[string]string // by the protocol that certmedic speaks there
}

// services returns them in the order in which they are deployed to, which is that of no alphabet.
func services() []service {
	return []service{
		{"postfix", "refreshing the Postfix mail system", map[string]string{"25": "smtp", "465": "smtps"}},
		{"nginx", "Reloaded nginx.service", map[string]string{"443": "https"}},
		{"haproxy", "Reloaded haproxy.service", map[string]string{"9443": "https"}},
		{"dovecot", "SIGHUP received - reloading configuration", map[string]string{"143": "imap", "993": "imaps"}},
		{"apache", "Reloaded apache2.service", map[string]string{"8443": "https"}},
	}
}

// destination returns where a service has its copy, in YAML.
func (s service) destination() string {
	files := `{from: fullchain, to: /etc/ssl/%[1]s/fullchain.pem}, {from: privkey, to: /etc/ssl/%[1]s/key.pem}`
	if s.name == "haproxy" {
		files = `{from: combined, to: /etc/ssl/%[1]s/shop.pem}`
	}
	return fmt.Sprintf("{name: %[1]s, service: %[1]s, files: ["+files+"]}", s.name)
}

// newStack is a world whose host has all services, each with a copy of the certificate. Where
// certmedic does not run yet, its configuration can still be changed.
func newStack(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, setting{layer: "stack"})
	w.copyTree("testdata/stack")
	w.must(`for s in nginx apache postfix dovecot; do install -d /etc/ssl/$s; cp ` + live + `/fullchain.pem /etc/ssl/$s/; cp ` + live + `/privkey.pem /etc/ssl/$s/key.pem; done
		install -d /etc/ssl/haproxy; (umask 077; cat ` + live + `/fullchain.pem ` + live + `/privkey.pem >/etc/ssl/haproxy/shop.pem)
		a2enmod -q ssl
		systemctl reload nginx`)
	return w
}

// watchServices has certmedic watch every port of services, and deploy to destinations, in YAML.
func (w *world) watchServices(watched []service, destinations ...string) {
	w.t.Helper()
	var endpoints []string
	for _, s := range watched {
		for port, protocol := range s.ports {
			endpoints = append(endpoints, fmt.Sprintf(`{address: "%s:%s", protocol: %s}`, domain, port, protocol))
		}
	}
	w.WriteFile(configFile, fmt.Appendf(nil, `remediation: {mode: auto}
probe: {interval: 2s}
certificates:
  - name: %s
    source: {certbot: {lineage: %s}}
    endpoints: [%s]
    deploy: [%s]
    remediation: {mode: auto, allow: [redeploy]}
alerting:
  receivers: [{name: log, log: {}}, {name: hook, webhook: {url: "%s"}}]
`, name, domain, strings.Join(endpoints, ", "), strings.Join(destinations, ", "), w.alerts.url), 0o644)
	w.start()
	served := regexp.MustCompile(`(?m)^certmedic_served_matches_stored{.* 1$`)
	w.await("every endpoint is known to serve the stored version", patience, 100*time.Millisecond, func() bool {
		page, _ := w.get("/metrics")
		return len(served.FindAll(page, -1)) == len(endpoints)
	})
}

// copyTree copies a folder onto the host.
func (w *world) copyTree(folder string) {
	w.t.Helper()
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		w.WriteFile(strings.TrimPrefix(path, folder), data, 0o644)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestFiveServicesOfOneCertificate renews the certificate of nginx, apache, haproxy, postfix and
// dovecot, which are reloaded in the order of the configuration, while a visitor of the web
// servers never meets an error; and then once more, while nginx refuses its configuration.
func TestFiveServicesOfOneCertificate(t *testing.T) {
	t.Parallel()
	w := newStack(t)
	w.must("postconf -e max_use=1; systemctl start apache2 haproxy postfix dovecot") // each client of postfix meets a new process
	var destinations, order []string
	for _, s := range services() {
		destinations = append(destinations, s.destination())
		order = append(order, s.name)
	}
	w.watchServices(services(), destinations...)
	visits := w.visit("443", "8443", "9443")
	reloaded := len(w.reloads())

	version, _ := w.renew()
	w.awaitOutcome(1, certmedic.OutcomeHealed)
	w.checkServed(version, services())
	if got := w.reloads()[reloaded:]; !slices.Equal(got, order) {
		t.Errorf("services were reloaded in the order %q, want that of the configuration, %q", got, order)
	}

	w.WriteFile("/etc/nginx/conf.d/broken.conf", []byte("server { listen 8080; nonsense on; }\n"), 0o644)
	sums := "cd /etc/ssl && sha256sum */* && stat --format '%n %a %U:%G' */*; ls -A /etc/ssl/*"
	before := w.must(sums)
	w.renew()
	w.awaitOutcome(2, certmedic.OutcomePutBack)
	w.must("touch /etc/certmedic/FREEZE") // what follows is to be seen before the next attempt
	w.awaitEvidence("hook-failed", "nginx: test", "exit code 1", `unknown directive "nonsense" in /etc/nginx/conf.d/broken.conf:1`)
	if after := w.must(sums); after != before {
		t.Errorf("the old files are not back. Before:\n%s\nafter:\n%s", before, after)
	}
	w.checkServed(version, services())
	for _, got := range w.reloads()[reloaded+len(order):] {
		if got != "postfix" { // it reads its files for each process that it starts, and is reloaded where one of them saw the new ones
			t.Errorf("%s was reloaded although nginx refuses its configuration", got)
		}
	}

	w.must("rm /etc/nginx/conf.d/broken.conf")
	if r := w.certmedic("redeploy", name, "--yes"); r.Code != 0 {
		w.fatalf("a redeployment by hand exits %d once nginx's configuration is mended:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	w.checkServed(w.stored(), services())
	visits.end()
}

// TestServicesThatNeedNoReload deploys to postfix by a map of names, which has to be made anew, and
// to haproxy over its runtime socket: the process that served before goes on to serve. A
// deployment that cannot be completed puts the map back, too.
func TestServicesThatNeedNoReload(t *testing.T) {
	t.Parallel()
	w := newStack(t)
	w.must(`cd /etc/postfix
		install -m 600 /etc/pebble/key.pem /etc/ssl/nobody.key
		postconf -e max_use=1 smtpd_tls_cert_file=/etc/pebble/cert.pem smtpd_tls_key_file=/etc/ssl/nobody.key tls_server_sni_maps=hash:/etc/postfix/sni
		echo ` + domain + ` /etc/ssl/postfix/key.pem /etc/ssl/postfix/fullchain.pem >sni
		postmap -F hash:/etc/postfix/sni
		systemctl start haproxy postfix`)
	watched := []service{services()[0], services()[2]}
	hot := strings.TrimSuffix(watched[1].destination(), "}") + ", haproxy: {socket: /run/haproxy/admin.sock, certificate: /etc/ssl/haproxy/shop.pem}}"
	w.watchServices(watched, strings.TrimSuffix(watched[0].destination(), "}")+", maps: [hash:/etc/postfix/sni]}", hot)
	visits := w.visit("9443")
	process, reloaded := w.haproxyProcess(), len(w.reloads())

	version, _ := w.renew()
	w.awaitOutcome(1, certmedic.OutcomeHealed)
	w.checkServed(version, watched)
	if got := w.haproxyProcess(); got != process {
		t.Errorf("process %s of haproxy serves, it was %s", got, process)
	}
	if got := w.reloads()[reloaded:]; slices.Contains(got, "haproxy") {
		t.Errorf("haproxy was reloaded: %q", got)
	}

	w.must("echo nonsense >>/etc/haproxy/haproxy.cfg")
	w.renew()
	w.awaitOutcome(2, certmedic.OutcomePutBack)
	w.must("touch /etc/certmedic/FREEZE")
	w.awaitEvidence("hook-failed", "haproxy: test", "exit code 1", "nonsense")
	w.checkServed(version, watched)
	w.must("sed -i '/nonsense/d' /etc/haproxy/haproxy.cfg")
	if r := w.certmedic("redeploy", name, "--yes"); r.Code != 0 {
		w.fatalf("a redeployment by hand exits %d once haproxy's configuration is mended:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	w.checkServed(w.stored(), watched)
	visits.end()
	if got := w.haproxyProcess(); got != process {
		t.Errorf("process %s of haproxy serves, it was %s", got, process)
	}
	w.must("systemctl restart haproxy") // which finds the same on disk
	w.checkServed(w.stored(), watched)
}

// haproxyProcess returns the id of the process of haproxy that serves, as it says itself.
func (w *world) haproxyProcess() string {
	w.t.Helper()
	info := w.must(`python3 -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("/run/haproxy/admin.sock")
s.sendall(b"show info\n")
while data := s.recv(65536): print(data.decode(), end="")'`)
	found := regexp.MustCompile(`(?m)^Pid: (\d+)$`).FindStringSubmatch(info)
	if found == nil {
		w.t.Fatalf("haproxy does not say its process id:\n%s", info)
	}
	return found[1]
}

// reloads returns the services that were reloaded, in that order, as the journal has it.
func (w *world) reloads() []string {
	w.t.Helper()
	var all []string
	for line := range strings.Lines(w.must("journalctl --sync; journalctl --output cat")) {
		for _, s := range services() {
			if strings.Contains(line, s.reloaded) {
				all = append(all, s.name)
			}
		}
	}
	return all
}

// checkServed has OpenSSL connect to services in their protocols, verify the chain, and find the
// version.
func (w *world) checkServed(version certmedic.Fingerprint, all []service) {
	w.t.Helper()
	for _, s := range all {
		for port, protocol := range s.ports {
			how := "-connect localhost:" + port
			if protocol == "smtp" || protocol == "imap" {
				how += " -starttls " + protocol
			}
			got := strings.Fields(w.must(`openssl s_client -CAfile /etc/pebble/root.pem -verify_return_error -servername ` + domain + ` ` + how + ` </dev/null 2>/dev/null |
				openssl x509 -outform DER | sha256sum`))[0]
			if certmedic.Fingerprint(got) != version {
				w.t.Errorf("%s serves %s on port %s, want %s", s.name, certmedic.Fingerprint(got).Short(), port, version.Short())
			}
		}
	}
}

// visitor is a client that asks web servers for a page, again and again.
type visitor struct {
	w      *world
	stop   context.CancelFunc
	done   chan struct{}
	client http.Client

	mu       sync.Mutex
	answers  int
	failures []string
}

// visit starts a visitor of ports of the host, which trusts nobody but the CA. It ends with
// the test at the latest.
func (w *world) visit(ports ...string) *visitor {
	w.t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(w.ReadFile("/etc/pebble/root.pem")) {
		w.t.Fatal("the CA's root is no PEM")
	}
	ctx, stop := context.WithCancel(context.Background())
	v := &visitor{w: w, stop: stop, done: make(chan struct{})}
	v.client = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return w.Dial(ctx, network, "localhost:"+port)
		},
	}}
	go func() {
		defer close(v.done)
		for ctx.Err() == nil {
			for _, port := range ports {
				v.ask(ctx, port)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	w.t.Cleanup(func() { stop(); <-v.done })
	return v
}

func (v *visitor) ask(ctx context.Context, port string) {
	err := v.get(ctx, port)
	if ctx.Err() != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.answers++; err != nil {
		v.failures = append(v.failures, fmt.Sprintf("%s: port %s: %v", time.Now().Format(time.RFC3339Nano), port, err))
	}
}

func (v *visitor) get(ctx context.Context, port string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+domain+":"+port+"/", nil)
	if err != nil {
		return err
	}
	response, err := v.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	return nil
}

// end ends the visits, all of which must have been answered well.
func (v *visitor) end() {
	v.w.t.Helper()
	v.stop()
	<-v.done
	if v.answers < 50 || len(v.failures) > 0 {
		v.w.t.Errorf("%d of %d visits failed:\n%s", len(v.failures), v.answers, strings.Join(v.failures, "\n"))
	}
}
