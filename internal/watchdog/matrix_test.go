package watchdog

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/prober"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/rules"
)

// site is a TLS server at one address. It presents the first of its certificates that a client takes.
type site struct {
	address string

	mu    sync.Mutex
	shown []tls.Certificate
}

// open listens at a host, on a free port, or on the port of another site.
func open(t *testing.T, host, port string) *site {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		t.Skipf("this machine has no address %s: %v", host, err)
	}
	s := &site{address: l.Addr().String()}
	var served sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); served.Wait() })
	config := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return &tls.Config{Certificates: s.shown}, nil
	}}
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.Copy(io.Discard, tls.Server(conn, config)) // until the client goes
			})
		}
	})
	return s
}

func (s *site) show(pairs ...mint.Pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = nil
	for _, p := range pairs {
		s.shown = append(s.shown, p.TLS())
	}
}

// world is a watchdog over certificates that are stored in files, which real probes look at.
type world struct {
	t     *testing.T
	ca    *mint.CA
	dir   string
	certs []certmedic.Certificate
	nodes []certmedic.NodeStatus
	w     *Watchdog
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := mint.NewCA("Matrix Root")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ca: ca, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(w.dir, "root.pem"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// issue makes a version for shop.test.
func (w *world) issue(leaf mint.Leaf) mint.Pair {
	w.t.Helper()
	leaf.Names = []string{"shop.test"}
	p, err := w.ca.Leaf(leaf)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// store puts a version into a certificate's source.
func (w *world) store(name string, p mint.Pair) {
	w.t.Helper()
	key, err := p.KeyPEM()
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, name+".key"), key, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, name+".pem"), p.FullchainPEM(), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// add adds a certificate that is served at these addresses.
func (w *world) add(name string, sites ...*site) *certmedic.Certificate {
	c := certmedic.Certificate{
		Name: name, Mode: certmedic.ModeObserve,
		Source: certmedic.Source{Kind: certmedic.SourceFiles, Cert: filepath.Join(w.dir, name+".pem"), Key: filepath.Join(w.dir, name+".key")},
	}
	if len(sites) > 0 {
		_, port, _ := net.SplitHostPort(sites[0].address)
		ep := certmedic.Endpoint{Address: "shop.test:" + port, Protocol: "tls", ServerName: "shop.test"}
		for _, s := range sites {
			host, _, _ := net.SplitHostPort(s.address)
			ep.Addresses = append(ep.Addresses, host)
		}
		c.Endpoints = []certmedic.Endpoint{ep}
	}
	w.certs = append(w.certs, c)
	return &w.certs[len(w.certs)-1]
}

// start makes the watchdog, in place of the one before.
func (w *world) start() {
	w.t.Helper()
	p, err := prober.New(prober.Options{Roots: []string{filepath.Join(w.dir, "root.pem")}, Timeout: 5 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	before := w.w
	w.w = New(Options{
		Certificates: w.certs, Engine: rules.New(nil), State: silent{}, Count: silent{}, Log: slog.New(slog.DiscardHandler),
		Reader: disk.Reader{Keys: &disk.KeyCache{}}, Probe: p.Probe, ProbeNow: func(...string) {},
		Nodes:     func(string) []certmedic.NodeStatus { return w.nodes },
		Addresses: func(string) []netip.Addr { return nil },
		Want:      func(string, []remediate.Want) {}, Nudge: func(string) {}, Tell: func(News) {},
	})
	if before != nil {
		w.w.Inherit(before)
	}
}

// look looks at a certificate and returns its matrix.
func (w *world) look(name string) []MatrixRow {
	w.t.Helper()
	w.w.Read(w.t.Context(), name)
	if _, err := w.w.Look(w.t.Context(), name); err != nil {
		w.t.Fatal(err)
	}
	rows, ok := w.w.Matrix(name)
	if !ok {
		w.t.Fatalf("there is no matrix of %q", name)
	}
	return rows
}

// want holds a matrix against lines "node key_type verdict", the node empty as -.
func (w *world) want(about string, rows []MatrixRow, want ...string) {
	w.t.Helper()
	var got []string
	for _, r := range rows {
		node := r.Node
		if node == "" {
			node = "-"
		}
		got = append(got, fmt.Sprintf("%s %s %s", node, r.KeyType, r.Verdict))
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%s: the matrix is %q, want %q (%+v)", about, got, want, rows)
	}
}

func sha(p mint.Pair) certmedic.Fingerprint { return inspect.Facts(p.Cert).SHA256 }

func TestMatrixOfNodes(t *testing.T) {
	w := newWorld(t)
	web1 := open(t, "127.0.0.1", "0")
	_, port, _ := net.SplitHostPort(web1.address)
	web2 := open(t, "127.0.0.2", port)
	old := w.issue(mint.Leaf{NotBefore: time.Now().Add(-48 * time.Hour)})
	fresh := w.issue(mint.Leaf{NotBefore: time.Now().Add(-24 * time.Hour)})
	latest := w.issue(mint.Leaf{})
	c := w.add("shop", web1, web2)
	c.Nodes = []certmedic.Node{{Name: "web1", Addresses: []string{"127.0.0.1"}}, {Name: "web2", Addresses: []string{"127.0.0.2"}}, {Name: "web3", Addresses: []string{"192.0.2.3"}}}
	c.Destinations = []certmedic.Destination{{Name: "nginx", Hosts: []string{"web1", "web2", "web3"}, Files: []certmedic.InstalledFile{{From: certmedic.PartFullchain, To: "/etc/ssl/shop.pem"}}}}
	w.store("shop", fresh)
	w.start()
	done := func(node string, version certmedic.Fingerprint, state certmedic.NodeState) certmedic.NodeStatus {
		return certmedic.NodeStatus{Destination: "nginx", Node: node, Version: version, State: state, Detail: "because"}
	}

	web1.show(fresh)
	web2.show(old)
	w.want("nothing is known of what was installed", w.look("shop"), "web1 ecdsa served", "web2 ecdsa stale", "web3 ecdsa unknown")
	w.nodes = []certmedic.NodeStatus{
		done("web1", sha(fresh), certmedic.NodeDone), done("web2", sha(fresh), certmedic.NodeDone), done("web3", sha(old), certmedic.NodeUnreachable),
	}
	w.want("a node that has it and does not serve it is stale, one that does not have it is behind", w.look("shop"), "web1 ecdsa served", "web2 ecdsa stale", "web3 ecdsa behind")
	w.nodes[1] = done("web2", sha(old), certmedic.NodePutBack)
	rows := w.look("shop")
	w.want("one that serves the old one and has no other is behind too", rows, "web1 ecdsa served", "web2 ecdsa behind", "web3 ecdsa behind")
	if d := rows[1].Deployed; len(d) != 1 || d[0].Version != sha(old) || d[0].State != certmedic.NodePutBack || rows[1].Detail != "because" {
		t.Errorf("of web2 is said %+v", rows[1])
	}
	if v := rows[1].Served; len(v) != 1 || v[0].Version != sha(old) || rows[1].Stored != sha(fresh) || v[0].Count != rows[1].Samples || v[0].Since.IsZero() {
		t.Errorf("of what web2 serves is said %+v", rows[1])
	}
	web1.show(latest)
	web2.show()
	w.want("one that was issued later is no fault of the node, and one that presents nothing says nothing", w.look("shop"), "web1 ecdsa newer", "web2 ecdsa unreachable", "web3 ecdsa behind")
	if got := WorstOf(w.look("shop")); got != certmedic.StatusCritical {
		t.Errorf("the worst is %s", got)
	}
	views := w.w.Views()
	if m := views[0].Matrix; m[VerdictNewer] != 1 || m[VerdictUnreachable] != 1 || m[VerdictBehind] != 1 || len(views[0].Rows) != 3 {
		t.Errorf("the view says %v", m)
	}
}

// Nodes alternate behind one address: the matrix shows both versions, and that this is no change.
func TestMatrixOfALoadBalancer(t *testing.T) {
	w := newWorld(t)
	balancer := open(t, "127.0.0.1", "0")
	old, fresh := w.issue(mint.Leaf{NotBefore: time.Now().Add(-48 * time.Hour)}), w.issue(mint.Leaf{})
	w.add("shop", balancer)
	w.store("shop", fresh)
	w.start()
	balancer.show(old)
	w.want("at first all serve the old one", w.look("shop"), "local ecdsa stale")
	balancer.show(fresh)
	w.want("a version that replaces another is a change", w.look("shop"), "local ecdsa served")
	balancer.show(old)
	rows := w.look("shop")
	w.want("one that comes back shows that nodes alternate", rows, "local ecdsa split")
	balancer.show(fresh)
	rows = w.look("shop")
	w.want("whichever is met", rows, "local ecdsa split")
	if v := rows[0].Served; len(v) != 2 || v[0].Version != sha(fresh) || v[1].Version != sha(old) || v[0].Count+v[1].Count != rows[0].Samples {
		t.Errorf("it serves %+v", rows[0])
	}
	w.start()
	rows, _ = w.w.Matrix("shop")
	w.want("a reload of the configuration forgets nothing", rows, "local ecdsa split")
	for range maxSamples {
		rows = w.look("shop")
	}
	w.want("until the last probes agree", rows, "local ecdsa served")
	if v := rows[0].Served; len(v) != 1 || v[0].Count != maxSamples {
		t.Errorf("it serves %+v", rows[0])
	}
}

// An action moves versions to and fro, which is not nodes that alternate.
func TestMatrixWhileCertmedicActs(t *testing.T) {
	w := newWorld(t)
	web := open(t, "127.0.0.1", "0")
	old, fresh := w.issue(mint.Leaf{NotBefore: time.Now().Add(-48 * time.Hour)}), w.issue(mint.Leaf{})
	w.add("shop", web)
	w.store("shop", fresh)
	w.start()
	a := certmedic.Action{Certificate: "shop", Kind: certmedic.ActionRedeploy, StartedAt: time.Now(), Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRunning}}
	web.show(old)
	w.look("shop")
	w.w.Acted(a)
	for _, p := range []mint.Pair{fresh, old} {
		web.show(p)
		w.look("shop")
	}
	w.want("at work", w.look("shop"), "local ecdsa stale")
	a.EndedAt, a.Outcome.Kind = time.Now(), certmedic.OutcomePutBack
	w.w.Acted(a)
	w.want("it was put back", w.look("shop"), "local ecdsa stale")
}

// A server has certificates of both types of key, which are two certificates here.
func TestMatrixOfBothTypesOfKey(t *testing.T) {
	w := newWorld(t)
	web := open(t, "127.0.0.1", "0")
	ec, rsa := w.issue(mint.Leaf{}), w.issue(mint.Leaf{KeyType: mint.RSA2048})
	w.add("shop", web)
	w.store("shop", ec)
	w.start()
	web.show(ec, rsa)
	rows := w.look("shop")
	w.want("one of them is managed by nobody", rows, "local ecdsa served", "local rsa unknown")
	if !rows[1].Foreign || WorstOf(rows) != certmedic.StatusOK {
		t.Errorf("the other one counts: %+v", rows[1])
	}

	w.add("shop-rsa", web)
	w.store("shop-rsa", rsa)
	w.start()
	w.look("shop-rsa")
	rows = w.look("shop")
	w.want("both are managed", rows, "local ecdsa served", "local rsa served")
	if rows[1].Of != "shop-rsa" || rows[1].Stored != sha(rsa) {
		t.Errorf("the RSA one is %+v", rows[1])
	}
	w.store("shop-rsa", w.issue(mint.Leaf{KeyType: mint.RSA2048}))
	w.want("one was renewed and not loaded", w.look("shop-rsa"), "local ecdsa served", "local rsa stale")
	w.want("which the other one's matrix shows as well", w.look("shop"), "local ecdsa served", "local rsa stale")
}

// Without other hosts, what is installed on this one is read from its files.
func TestMatrixOfThisHost(t *testing.T) {
	w := newWorld(t)
	old, fresh := w.issue(mint.Leaf{NotBefore: time.Now().Add(-48 * time.Hour)}), w.issue(mint.Leaf{})
	c := w.add("shop")
	to := filepath.Join(w.dir, "installed.pem")
	c.Destinations = []certmedic.Destination{
		{Name: "web", Files: []certmedic.InstalledFile{{From: certmedic.PartFullchain, To: to}}}, {Name: "cdn", Push: certmedic.Push{ACM: &certmedic.ACM{}}},
	}
	w.store("shop", fresh)
	w.start()
	for _, row := range []struct {
		about string
		holds []byte // nil: there is no file
		want  string
	}{
		{"there is no file yet", nil, "local ecdsa behind"},
		{"the old version is installed", old.FullchainPEM(), "local ecdsa behind"},
		{"the stored version is installed, and nobody watches who serves it", fresh.FullchainPEM(), "local ecdsa unknown"},
	} {
		if row.holds != nil {
			if err := os.WriteFile(to, row.holds, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		rows := w.look("shop")
		w.want(row.about, rows, row.want)
		if d := rows[0].Deployed; len(d) != 1 || d[0].Destination != "web" {
			t.Errorf("%s: it is installed in %+v", row.about, d)
		}
	}
	if _, ok := w.w.Matrix("nobody"); ok {
		t.Error("there is a matrix of a certificate that is not there")
	}
}

// A destination that only reloads has no version, so that a node does not lack it there.
func TestMatrixOfReloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fresh := w.issue(mint.Leaf{})
	c := w.add("shop")
	c.Nodes = []certmedic.Node{{Name: "web1", Addresses: []string{"192.0.2.1"}}}
	c.Destinations = []certmedic.Destination{{Name: "nginx", Hosts: []string{"web1"}, Reload: []string{"true"}}}
	w.store("shop", fresh)
	w.start()
	w.nodes = []certmedic.NodeStatus{{Destination: "nginx", Node: "web1", State: certmedic.NodeDone, Want: sha(fresh)}}
	rows := w.look("shop")
	w.want("it was reloaded there", rows, "web1 ecdsa unknown")
	if d := rows[0].Deployed; len(d) != 1 || d[0].Known || d[0].State != certmedic.NodeDone {
		t.Errorf("of what is installed there is said %+v", d)
	}
}

func TestAlternates(t *testing.T) {
	for _, row := range []struct {
		about, seen string
		want        bool
	}{
		{"one version", "aaaa", false},
		{"a change", "aabb", false},
		{"two changes", "aabbcc", false},
		{"one comes back", "aba", true},
		{"after a third one", "abca", true},
		{"a probe that failed is no version", "a-a-a", false},
		{"nor does it hide one", "a-b-a", true},
		{"nothing was seen", "", false},
	} {
		track := &track{}
		for i, c := range row.seen {
			version := certmedic.Fingerprint(c)
			if c == '-' {
				version = ""
			}
			track.take(sample{time.Unix(int64(i+1), 0), version})
		}
		if got := alternates(track.from(time.Time{})); got != row.want {
			t.Errorf("%s: %q alternates: %t", row.about, row.seen, got)
		}
	}
}
