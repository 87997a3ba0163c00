package fleet_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/acmd"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/testhost"
	"github.com/certmedic/certmedic/remediate/deploy/program"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

// pushPatience bounds the waits for what is to happen soon.
const pushPatience = 30 * time.Second

// pushWorld is a certmedic whose certificate goes to ACM, to a program and to a CDN, which serves it.
type pushWorld struct {
	t       *testing.T
	dir     string
	program string
	ca      *mint.CA
	acm     acmd.Server
	cdn     pushCDN
	stored  []mint.Pair // all versions, the last one is the newest
}

// pushCDN serves what its interface was sent last.
type pushCDN struct {
	mu      sync.Mutex
	pair    tls.Certificate
	refuses bool
}

const pushToken = "t0ken-of-the-cdn"

func (c *pushCDN) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+pushToken {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodGet {
		fmt.Fprintf(w, "serial %x", pushLeaf(c.pair).SerialNumber.Bytes())
		return
	}
	var sent struct{ Crt, Key string }
	err := json.NewDecoder(r.Body).Decode(&sent)
	pair, errPair := tls.X509KeyPair([]byte(sent.Crt), []byte(sent.Key))
	if err != nil || errPair != nil || c.refuses {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, "the certificate is refused")
		return
	}
	c.pair = pair
	w.WriteHeader(http.StatusNoContent)
}

func (c *pushCDN) set(change func(*pushCDN)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// newPushWorld starts the three and a certmedic, with a version that the CDN serves already.
func newPushWorld(t *testing.T) *pushWorld {
	t.Helper()
	program, err := onceProgram()
	bundleMust(t, err)
	root := mint.Must(mint.NewCA("root"))
	w := &pushWorld{t: t, dir: t.TempDir(), program: program, ca: mint.Must(root.Intermediate("issuing"))}
	for _, folder := range []string{"source", "edge", "state"} {
		bundleMust(t, os.Mkdir(filepath.Join(w.dir, folder), 0o700))
	}
	w.store()
	w.cdn.pair = w.stored[0].TLS()

	edge := mint.Must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		w.cdn.mu.Lock()
		defer w.cdn.mu.Unlock()
		pair := w.cdn.pair
		return &pair, nil
	}}))
	go pushServe(edge) // until it is closed
	t.Cleanup(func() { edge.Close() })
	cloud, api := httptest.NewServer(&w.acm), httptest.NewTLSServer(&w.cdn)
	t.Cleanup(func() {
		cloud.Close()
		api.Close()
		for _, complaint := range w.acm.Complaints() {
			t.Error(complaint)
		}
	})
	apiCA := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	for name, data := range map[string]string{"root.pem": string(root.PEM()), "api.pem": string(apiCA), "token": pushToken + "\n", "credentials": acmd.Credentials} {
		w.write(name, data)
	}
	w.write("certmedic.yml", fmt.Sprintf(`state_dir: %[1]s/state
remediation: {mode: auto}
probe: {interval: 1s, roots: %[1]s/root.pem, revocation: "off", ari: false, records: false}
certificates:
  - name: shop
    source: {files: {cert: %[1]s/source/fullchain.pem, key: %[1]s/source/privkey.pem}}
    endpoints: [{address: %[2]q, server_name: shop.test, owned: true}]
    deploy:
      - {name: cloud, acm: {region: %[3]s, endpoint: %[4]q, credentials_file: %[1]s/credentials, tags: {team: payments}}}
      - {name: edge, exec: {command: [cp, "{fullchain}", "{privkey}", %[1]s/edge/]}}
      - name: cdn
        api:
          url: %[5]s/certificates/shop
          method: PUT
          token_file: %[1]s/token
          ca_file: %[1]s/api.pem
          body: '{"crt": {{json .Fullchain}}, "key": {{json .Privkey}}}'
          verify: {url: %[5]s/certificates/shop, matches: "^serial {{.Serial}}$"}
    remediation: {mode: auto, allow: [redeploy]}
`, w.dir, edge.Addr(), acmd.Region, cloud.URL, api.URL))
	w.serve()
	return w
}

func pushServe(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() { // ends with its handshake, which is bounded
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = conn.Read(make([]byte, 1)) // the handshake is what was wanted
		}()
	}
}

func (w *pushWorld) write(name, data string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	bundleMust(w.t, os.WriteFile(path+".new", []byte(data), 0o600))
	bundleMust(w.t, os.Rename(path+".new", path))
}

// store has the source hold a new version.
func (w *pushWorld) store() mint.Pair {
	w.t.Helper()
	begins := time.Now().Add(time.Duration(len(w.stored)-10) * time.Minute).Truncate(time.Second)
	pair := mint.Must(w.ca.Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: begins}))
	w.stored = append(w.stored, pair)
	w.write("source/privkey.pem", string(mint.Must(pair.KeyPEM())))
	w.write("source/fullchain.pem", string(pair.FullchainPEM()))
	return pair
}

// serve runs the daemon until the test ends.
func (w *pushWorld) serve() {
	w.t.Helper()
	log := mint.Must(os.Create(filepath.Join(w.dir, "log")))
	cmd := exec.Command(w.program, "--config", filepath.Join(w.dir, "certmedic.yml"), "serve", "--web.listen-address", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir}
	bundleMust(w.t, cmd.Start())
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			w.t.Errorf("the daemon ends with %v", err)
		}
		_ = log.Close()
		if w.t.Failed() {
			w.t.Logf("the daemon's log:\n%s", mint.Must(os.ReadFile(log.Name())))
		}
	})
}

func (w *pushWorld) certmedic(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), pushPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.program, append([]string{"--config", filepath.Join(w.dir, "certmedic.yml")}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *pushWorld) await(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(pushPatience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			history, _ := w.certmedic("history", "shop")
			w.t.Fatalf("after %s it is not so that %s; the history:\n%s", pushPatience, what, history)
		}
	}
}

// everywhere reports whether a version is at ACM, at the edge and at the CDN.
func (w *pushWorld) everywhere(pair mint.Pair) bool {
	w.cdn.mu.Lock()
	serves := pushLeaf(w.cdn.pair).Equal(pair.Cert)
	w.cdn.mu.Unlock()
	there := w.acm.Certificates()
	cert, _ := os.ReadFile(filepath.Join(w.dir, "edge/fullchain.pem")) // not there yet, it is not the version
	key, _ := os.ReadFile(filepath.Join(w.dir, "edge/privkey.pem"))
	return serves && len(there) == 1 && string(there[0].Leaf) == string(pair.CertPEM()) &&
		string(cert) == string(pair.FullchainPEM()) && string(key) == string(mint.Must(pair.KeyPEM()))
}

// ended returns the actions that have ended, oldest first.
func (w *pushWorld) ended() []certmedic.Action {
	w.t.Helper()
	out, err := w.certmedic("history", "shop", "--json")
	var all []certmedic.Action
	if err != nil || json.Unmarshal([]byte(out), &all) != nil {
		return nil // the daemon is not there yet
	}
	all = slices.DeleteFunc(all, func(a certmedic.Action) bool {
		return a.Outcome.Kind == certmedic.OutcomeRunning || a.Outcome.Kind == certmedic.OutcomeRefused
	})
	slices.SortFunc(all, func(a, b certmedic.Action) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// TestPushes has a new version go to ACM, to a program and to a CDN, sees the first two get back what
// they had while the CDN refuses the next one, and everything healed when it does not.
func TestPushes(t *testing.T) {
	t.Parallel()
	w := newPushWorld(t)
	w.await("the daemon answers", func() bool { _, err := w.certmedic("history", "shop"); return err == nil })
	second := w.store()
	w.await("the second version is everywhere", func() bool { return w.everywhere(second) })
	w.await("that healed", func() bool { return len(w.ended()) == 1 && w.ended()[0].Outcome.Kind == certmedic.OutcomeHealed })
	if there := w.acm.Certificates()[0]; there.Imports != 1 || there.Tags["certmedic"] != "shop" || there.Tags["team"] != "payments" {
		t.Errorf("ACM has %+v", there)
	}
	w.await("the version is kept", func() bool {
		out, err := w.certmedic("snapshots", "shop")
		return err == nil && strings.Contains(out, pushShort(second))
	})

	w.cdn.set(func(c *pushCDN) { c.refuses = true })
	third := w.store()
	w.await("the third version was tried", func() bool { return len(w.ended()) > 1 })
	tried := w.ended()[1]
	if tried.Outcome.Kind != certmedic.OutcomePutBack || !w.everywhere(second) {
		t.Errorf("the outcome is %+v, and the second version is everywhere: %v", tried.Outcome, w.everywhere(second))
	}
	for _, want := range []string{`"cdn: push" ended with exit code 1`, `"cloud" was given ` + pushShort(second), `"edge" was given`} {
		if !strings.Contains(tried.Outcome.Detail, want) {
			t.Errorf("the outcome does not say %q: %s", want, tried.Outcome.Detail)
		}
	}
	if line := fmt.Sprint(tried.Outcome.Evidence); !strings.Contains(line, "status 422: the certificate is refused") {
		t.Errorf("the evidence is %s", line)
	}
	if plan, _ := w.certmedic("redeploy", "shop", "--dry-run"); !strings.Contains(plan, "imports it into ACM in "+acmd.Region) || !strings.Contains(plan, "by PUT") {
		t.Errorf("the plan is\n%s", plan)
	}

	w.cdn.set(func(c *pushCDN) { c.refuses = false })
	w.await("the third version is everywhere", func() bool { return w.everywhere(third) })
	w.await("that healed", func() bool { all := w.ended(); return all[len(all)-1].Outcome.Kind == certmedic.OutcomeHealed })
	w.checkSecrets()
}

// checkSecrets looks for keys and tokens in what the daemon leaves, says and tells.
func (w *pushWorld) checkSecrets() {
	w.t.Helper()
	history, err := w.certmedic("history", "shop", "--json")
	bundleMust(w.t, err)
	texts := map[string]string{"the history": history}
	bundleMust(w.t, filepath.WalkDir(filepath.Join(w.dir, "state"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.Contains(path, "/snapshots/") { // where versions are kept, with their keys
			return err
		}
		data, err := os.ReadFile(path)
		texts[path] = string(data)
		return err
	}))
	texts["the log"] = string(mint.Must(os.ReadFile(filepath.Join(w.dir, "log"))))
	for where, text := range texts {
		for _, pair := range w.stored {
			line := strings.Split(string(mint.Must(pair.KeyPEM())), "\n")[1]
			if strings.Contains(text, line) || strings.Contains(text, pushToken) {
				w.t.Errorf("%s holds a secret", where)
			}
		}
	}
}

// TestProcessesOfHAProxy loads a version into two real processes of HAProxy, neither of which ends for
// that; and sees none of them change where one of them does not know the certificate.
func TestProcessesOfHAProxy(t *testing.T) {
	t.Parallel()
	network := testhost.New(t)
	program, err := onceProgram()
	bundleMust(t, err)
	h := network.Boot(testhost.Spec{Name: "lb", Layer: "fleet", Binds: []string{filepath.Dir(program)}})
	issuing := mint.Must(mint.Must(mint.NewCA("root")).Intermediate("issuing"))
	versions := make([]mint.Pair, 3)
	for i := range versions {
		versions[i] = mint.Must(issuing.Leaf(mint.Leaf{Names: []string{"shop.test"}}))
	}
	install := func(pair mint.Pair) {
		h.WriteFile("/etc/ssl/shop.pem", append(pair.FullchainPEM(), mint.Must(pair.KeyPEM())...), 0o600)
	}
	install(versions[0])
	h.WriteFile("/etc/ssl/other.pem", append(versions[0].FullchainPEM(), mint.Must(versions[0].KeyPEM())...), 0o600)
	for n, cert := range []string{"shop", "shop", "other"} {
		h.WriteFile(fmt.Sprintf("/etc/ha%d.cfg", n+1), fmt.Appendf(nil, `global
    stats socket /run/admin-%[1]d.sock mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend web
    bind :844%[1]d ssl crt /etc/ssl/%[2]s.pem
    http-request return status 200
`, n+1, cert), 0o644)
	}
	h.Must(t.Context(), "for n in 1 2; do haproxy -D -p /run/ha$n.pid -f /etc/ha$n.cfg; done")
	load := func() (testhost.Result, error) {
		h.WriteFile("/run/request.json", []byte(`{"sockets":["/run/admin-*.sock"],"certificate":"/etc/ssl/shop.pem","files":["/etc/ssl/shop.pem"]}`), 0o600)
		return h.Run(t.Context(), program, "step", "haproxy", "/run/request.json")
	}
	serves := func(want mint.Pair) {
		t.Helper()
		for _, address := range []string{"localhost:8441", "localhost:8442"} {
			if got := pushServed(t, h, address); got != pushFingerprint(want) {
				t.Errorf("%s serves %s, want %s", address, got.Short(), pushShort(want))
			}
		}
	}
	processes := h.Must(t.Context(), "cat /run/ha*.pid; pgrep -x haproxy")

	install(versions[1])
	r, err := load()
	if err != nil || r.Code != 0 || strings.Count(r.Stdout, "Used") != 2 {
		t.Fatalf("loading ends with %d, %v:\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	serves(versions[1])
	if now := h.Must(t.Context(), "cat /run/ha*.pid; pgrep -x haproxy"); now != processes {
		t.Errorf("the processes are\n%s\nthey were\n%s", now, processes)
	}

	h.Must(t.Context(), "haproxy -D -p /run/ha3.pid -f /etc/ha3.cfg")
	install(versions[2])
	r, err = load()
	if err != nil || r.Code == 0 || !strings.Contains(r.Stderr, "/run/admin-1.sock was aborted") || !strings.Contains(r.Stderr, "/run/admin-3.sock has what it had") {
		t.Errorf("with a process that does not know it, loading ends with %d, %v:\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	serves(versions[1])

	h.Must(t.Context(), "kill $(cat /run/ha3.pid); while [ -e /run/admin-3.sock ] && kill -0 $(cat /run/ha3.pid) 2>/dev/null; do sleep 0.05; done; rm -f /run/admin-3.sock")
	if r, err = load(); err != nil || r.Code != 0 { // nothing was left open
		t.Errorf("without it, loading ends with %d, %v:\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	serves(versions[2])
}

// pushServed returns the version that an address of a host presents.
func pushServed(t *testing.T, h *testhost.Host, address string) certmedic.Fingerprint {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", address)
	if err != nil {
		return ""
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{ServerName: "shop.test", InsecureSkipVerify: true}) // what is served is the question
	if err := client.HandshakeContext(ctx); err != nil {
		return ""
	}
	return pushSum(client.ConnectionState().PeerCertificates[0].Raw)
}

func pushSum(der []byte) certmedic.Fingerprint {
	sum := sha256.Sum256(der)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

func pushFingerprint(p mint.Pair) certmedic.Fingerprint { return pushSum(p.Cert.Raw) }

func pushShort(p mint.Pair) string { return pushFingerprint(p).Short() }

func pushLeaf(pair tls.Certificate) *x509.Certificate {
	return mint.Must(x509.ParseCertificate(pair.Certificate[0]))
}

// TestPushByRsync has rsync bring a version to another host, over ssh, as the documentation shows it.
func TestPushByRsync(t *testing.T) {
	t.Parallel()
	network := testhost.New(t)
	built, err := onceProgram()
	bundleMust(t, err)
	here := network.Boot(testhost.Spec{Name: "here", Layer: "fleet", Binds: []string{filepath.Dir(built)}})
	edge := network.Boot(testhost.Spec{Name: "edge", Layer: "fleet"})
	key := here.Must(t.Context(), "install -d -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519 && cat /root/.ssh/id_ed25519.pub")
	edge.WriteFile("/root/.ssh/authorized_keys", []byte(key), 0o600)
	edge.Must(t.Context(), "chmod 700 /root/.ssh; install -d -m 700 /etc/ssl/shop; systemctl start ssh")
	here.WriteFile("/root/.ssh/known_hosts", []byte(edge.IP()+" "+edge.Must(t.Context(), "cat /etc/ssh/ssh_host_ed25519_key.pub")), 0o600)

	pair := mint.Must(mint.Must(mint.Must(mint.NewCA("root")).Intermediate("issuing")).Leaf(mint.Leaf{Names: []string{"shop.test"}}))
	private := mint.Must(pair.KeyPEM())
	here.WriteFile("/etc/shop/fullchain.pem", pair.FullchainPEM(), 0o600)
	here.WriteFile("/etc/shop/privkey.pem", private, 0o600)
	order := version.Order{
		Certificate: "shop", Work: "/run/work", Files: certmedic.StoredFiles{Cert: "/etc/shop/fullchain.pem", Fullchain: "/etc/shop/fullchain.pem", Privkey: "/etc/shop/privkey.pem"},
	}
	for _, cert := range pair.Chain {
		order.Chain = append(order.Chain, pushSum(cert.Raw))
	}
	command := []string{"rsync", "--chmod=F600", "-e", "ssh -o BatchMode=yes", "{fullchain}", "{privkey}", "root@" + edge.IP() + ":/etc/ssl/shop/"}
	request := mint.Must(json.Marshal(program.Request{Order: order, To: certmedic.Program{Command: command}}))
	here.WriteFile("/run/request.json", request, 0o600)
	r, err := here.Run(t.Context(), built, "step", "program", "/run/request.json")
	if err != nil || r.Code != 0 {
		t.Fatalf("it ends with %d, %v:\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	if got := string(edge.ReadFile("/etc/ssl/shop/fullchain.pem")) + string(edge.ReadFile("/etc/ssl/shop/privkey.pem")); got != string(pair.FullchainPEM())+string(private) {
		t.Errorf("the other host has\n%s", got)
	}
	if modes := edge.Must(t.Context(), "stat -c %a /etc/ssl/shop/*"); modes != "600\n600\n" {
		t.Errorf("the modes are %q", modes)
	}
	here.Must(t.Context(), "test ! -e /run/work")
}
