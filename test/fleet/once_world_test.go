package fleet_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	bundledir "github.com/certmedic/certmedic/internal/bundle/dir"
	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/dnsd"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/port"
	"github.com/certmedic/certmedic/internal/testhost"
)

// onceProgram builds certmedic, once for all tests, and returns its path.
var onceProgram = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".tools", "fleet", "once")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./cmd/certmedic")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building certmedic: %w: %s", err, out)
	}
	return path, nil
})

// onceEnvironment sets what pebble reads from the environment, for all tests.
var onceEnvironment = sync.OnceValue(func() (err error) {
	for name, value := range ca.Environment() {
		err = errors.Join(err, os.Setenv(name, value))
	}
	return err
})

// onceBasis is what all worlds share: a CA behind a front that can strike, an etcd, and the program.
type onceBasis struct {
	program  string
	etcd     *testhost.Host
	ca       *ca.CA
	dns      *dnsd.Server
	webroot  string // of the server of all names
	identity *age.X25519Identity
	signing  ed25519.PrivateKey
}

func newOnceBasis(t *testing.T, life time.Duration) *onceBasis {
	t.Helper()
	bundleMust(t, onceEnvironment())
	program, err := onceProgram()
	bundleMust(t, err)
	b := &onceBasis{program: program, etcd: etcdHost(testhost.New(t)), webroot: t.TempDir(), identity: mint.Must(age.GenerateX25519Identity())}
	startEtcd(t, b.etcd, 2379, "")
	_, b.signing, err = ed25519.GenerateKey(rand.Reader)
	bundleMust(t, err)
	b.dns = mint.Must(dnsd.Start(context.Background(), ""))
	t.Cleanup(b.dns.Stop)
	bundleMust(t, b.dns.Set(dnsd.Any, "A 127.0.0.1"))
	web := mint.Must(port.Free(t.Context(), 0))
	b.ca = mint.Must(ca.Start(context.Background(), ca.Options{Validity: life, HTTPPort: web, Resolver: b.dns.Addr()}))
	t.Cleanup(b.ca.Stop)
	listener := mint.Must(net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(web))))
	server := &http.Server{Handler: http.FileServer(http.Dir(b.webroot)), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // it ends by Close
	t.Cleanup(func() { _ = server.Close() })
	return b
}

// onceWorld is three members of a cluster that have one certificate issued.
type onceWorld struct {
	*onceBasis
	t       *testing.T
	dir     string
	domain  string
	front   *httptest.Server
	members []*onceMember

	mu      sync.Mutex
	points  []string           // the requests to the CA, in order
	strike  func(point string) // called with each, before it is passed on and after it was answered
	ordered int
	issued  int // orders that were finalized
}

// onceMember is a certmedic.
type onceMember struct {
	name  string
	dir   string
	line  *onceLine // to etcd
	log   *os.File
	cmd   *exec.Cmd
	ended chan struct{}
}

func (b *onceBasis) world(t *testing.T, name string) *onceWorld {
	t.Helper()
	w := &onceWorld{onceBasis: b, t: t, dir: t.TempDir(), domain: name + ".shop.test"}
	w.front = w.newFront()
	t.Cleanup(w.front.Close)
	bundleMust(t, os.Mkdir(w.path("shared"), 0o700))
	w.write("front.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.front.Certificate().Raw}))
	w.write("root.pem", b.ca.RootPEM())
	w.write("age.key", []byte(b.identity.String()))
	w.write("sign.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: mint.Must(x509.MarshalPKCS8PrivateKey(b.signing))}))
	for _, member := range []string{"m1", "m2", "m3"} {
		m := &onceMember{name: member, dir: w.path(member), line: newOnceLine(t, b.etcd)}
		bundleMust(t, os.Mkdir(m.dir, 0o700))
		m.log = mint.Must(os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600))
		w.write(member+"/certmedic.yml", []byte(w.config(m, name)))
		w.members = append(w.members, m)
	}
	t.Cleanup(w.end)
	return w
}

func (w *onceWorld) path(name string) string { return filepath.Join(w.dir, name) }

func (w *onceWorld) write(name string, data []byte) {
	w.t.Helper()
	bundleMust(w.t, os.WriteFile(w.path(name), data, 0o600))
}

func (w *onceWorld) config(m *onceMember, prefix string) string {
	return fmt.Sprintf(`state_dir: %[1]s/state
remediation: {mode: auto, max_actions_per_hour: 1000}
probe: {interval: 1s, roots: [%[2]s/root.pem], records: false, ari: false, revocation: "off"}
cluster: {member: %[3]s, lease: %[4]s, etcd: {endpoints: ["http://%[5]s"], prefix: /%[6]s}}
certificates:
  - name: shop
    source: {acme: {directory: "%[7]s/dir", ca_file: %[2]s/front.pem, domains: [%[8]s], challenge: {http-01: {webroot: %[9]s}}}}
    publish: {dir: %[2]s/shared, recipients: [%[10]s], identity_file: %[2]s/age.key, sign_key_file: %[2]s/sign.key, interval: 1s}
    remediation: {mode: auto, allow: [renew]}
`, m.dir, w.dir, m.name, onceLease, m.line.address(), prefix, w.front.URL, w.domain, w.webroot, w.identity.Recipient())
}

// newFront stands before the CA, counts, and strikes.
func (w *onceWorld) newFront() *httptest.Server {
	to := mint.Must(url.Parse(w.ca.Directory()))
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: to.Scheme, Host: to.Host})
			r.Out.Host = r.In.Host // what the CA names is reached through here
		},
		Transport:      w.ca.Client().Transport,
		ModifyResponse: func(r *http.Response) error { w.count(r); return nil },
		ErrorHandler:   func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) },
	}
	return httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		what, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		w.at("before " + what)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), oncePatience)
		defer cancel()
		proxy.ServeHTTP(rw, r.WithContext(ctx)) // the CA gets all of it, whoever dies
		w.at("after " + what)
	}))
}

func (w *onceWorld) count(r *http.Response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch path := r.Request.URL.Path; {
	case path == "/order-plz" && r.StatusCode == http.StatusCreated:
		w.ordered++
	case strings.HasPrefix(path, "/finalize-order/") && r.StatusCode == http.StatusOK:
		w.issued++
	}
}

// at notes a point, and strikes.
func (w *onceWorld) at(point string) {
	w.mu.Lock()
	w.points = append(w.points, point)
	strike := w.strike
	w.mu.Unlock()
	if strike != nil {
		strike(point)
	}
}

func (w *onceWorld) counts() (ordered, issued int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ordered, w.issued
}

// start runs a member, or runs it again.
func (w *onceWorld) start(m *onceMember) {
	w.t.Helper()
	cmd := exec.Command(w.program, "--config", filepath.Join(m.dir, "certmedic.yml"), "serve", "--web.listen-address", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = m.log, m.log
	bundleMust(w.t, cmd.Start())
	m.cmd, m.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(m.ended)
	}()
}

// end ends what runs, and tells what the members said where something is wrong.
func (w *onceWorld) end() {
	for _, m := range w.members {
		if m.cmd != nil {
			m.kill(true)
		}
		_ = m.log.Close()
		if w.t.Failed() {
			said, _ := os.ReadFile(m.log.Name())
			w.t.Logf("%s said:\n%s", m.name, said[max(0, len(said)-6000):])
		}
	}
	if w.t.Failed() {
		w.t.Logf("the CA was asked %q", w.points)
	}
}

// children returns the processes that a process started.
func children(pid int) (all []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			all = append(all, n)
		}
	}
	return all
}

// kill kills a member at once, with what it started where all is true, as when its host dies.
func (m *onceMember) kill(all bool) {
	pid := m.cmd.Process.Pid
	_ = syscall.Kill(pid, syscall.SIGSTOP) // so that it starts nothing more
	victims := []int{pid}
	if all {
		victims = append(children(pid), pid)
	}
	for _, victim := range victims {
		_ = syscall.Kill(victim, syscall.SIGKILL)
	}
	<-m.ended
}

// actor returns the member that orders just now; nil where none does.
func (w *onceWorld) actor() *onceMember {
	for _, m := range w.members {
		if m.cmd == nil {
			continue
		}
		select {
		case <-m.ended:
			continue
		default:
		}
		for _, child := range children(m.cmd.Process.Pid) {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child))
			if err == nil && strings.Contains(string(line), "\x00step\x00acme\x00") {
				return m
			}
		}
	}
	return nil
}

// stored returns the version that a member has; empty where it has none.
func (m *onceMember) stored(t *testing.T) certmedic.Fingerprint {
	t.Helper()
	folder := filepath.Join(m.dir, "state", "acme", "shop", "current")
	text, err := os.ReadFile(filepath.Join(folder, "fullchain.pem"))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	bundleMust(t, err)
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s has %q", m.name, text)
	}
	return remoteFingerprint(block.Bytes)
}

// whole refuses a copy whose parts do not belong together.
func (m *onceMember) whole(t *testing.T) {
	t.Helper()
	folder, err := os.Readlink(filepath.Join(m.dir, "state", "acme", "shop", "current"))
	if err != nil {
		return
	}
	folder = filepath.Join(m.dir, "state", "acme", "shop", folder)
	if _, err := tls.LoadX509KeyPair(filepath.Join(folder, "fullchain.pem"), filepath.Join(folder, "privkey.pem")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s has a torn version: %v", m.name, err)
	}
}

// published returns what is published, verified as a consumer does; ok is false where nothing is.
func (w *onceWorld) published() (m bundle.Manifest, ok bool) {
	w.t.Helper()
	store, err := bundledir.OpenReader(w.path("shared"))
	bundleMust(w.t, err)
	b, err := bundle.Latest(w.t.Context(), store, "shop", bundle.Trust{
		Keys: []ed25519.PublicKey{w.signing.Public().(ed25519.PublicKey)}, Opener: bundle.Opener{IdentityFile: w.path("age.key")},
	})
	if errors.Is(err, bundle.ErrNotFound) {
		return bundle.Manifest{}, false
	}
	bundleMust(w.t, err)
	return b.Manifest, true
}

// await waits until it holds, and returns how long that took.
func (w *onceWorld) await(what string, holds func() bool) time.Duration {
	w.t.Helper()
	start := time.Now()
	for !holds() {
		if time.Since(start) > oncePatience {
			w.t.Fatalf("after %s it is not so that %s", oncePatience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(start)
}

// onceLine is the way of one member to etcd, which can be cut.
type onceLine struct {
	listener net.Listener

	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func newOnceLine(t *testing.T, etcd *testhost.Host) *onceLine {
	t.Helper()
	l := &onceLine{listener: mint.Must(net.Listen("tcp", "127.0.0.1:0"))}
	t.Cleanup(func() {
		_ = l.listener.Close()
		l.cut(true)
	})
	go func() {
		for {
			conn, err := l.listener.Accept()
			if err != nil {
				return
			}
			go l.carry(conn, etcd)
		}
	}()
	return l
}

func (l *onceLine) address() string { return l.listener.Addr().String() }

func (l *onceLine) carry(conn net.Conn, etcd *testhost.Host) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	far, err := etcd.Dial(ctx, "tcp", "etcd:2379")
	if err != nil {
		return
	}
	defer far.Close()
	l.mu.Lock()
	refused := l.isCut
	l.conns = append(l.conns, conn, far)
	l.mu.Unlock()
	if refused {
		return
	}
	go func() {
		_, _ = io.Copy(far, conn)
		_ = far.Close()
	}()
	_, _ = io.Copy(conn, far)
}

// cut has nothing pass any more, or lets it pass again.
func (l *onceLine) cut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = cut
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}
