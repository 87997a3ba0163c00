package fleet_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
	"github.com/certmedic/certmedic/internal/coord/etcd"
	coords3 "github.com/certmedic/certmedic/internal/coord/s3"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/testhost"
)

const (
	coordTTL   = 3 * time.Second
	coordEnds  = coordTTL + 3*time.Second // etcd looks for sessions that ended twice a second, and gives a new leader time
	coordSteps = 150
)

func coordMust(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestCoordS3 holds a real S3 server to what a coordinator relies on.
func TestCoordS3(t *testing.T) {
	t.Parallel()
	c := bucketServer(t)
	profile, err := config.LoadSharedConfigProfile(t.Context(), "default", func(o *config.LoadSharedConfigOptions) {
		o.CredentialsFiles, o.ConfigFiles = []string{c.CredentialsFile}, []string{}
	})
	coordMust(t, err)
	client := awss3.New(awss3.Options{
		BaseEndpoint: &c.Endpoint, UsePathStyle: true, Region: "us-east-1",
		Credentials:                credentials.StaticCredentialsProvider{Value: profile.Credentials},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
	})
	var mu sync.Mutex
	worlds := 0
	coordtest.Test(t, false, func(testing.TB) coordtest.World {
		mu.Lock()
		defer mu.Unlock()
		worlds++
		prefix := fmt.Sprintf("coord/%d", worlds)
		return coordtest.World{
			Open: func(t testing.TB, member string) coord.Engine {
				t.Helper()
				e, err := coords3.Open(t.Context(), client, coords3.Options{Bucket: c.Bucket, Prefix: prefix, Member: member, TTL: coordTTL})
				coordMust(t, err)
				t.Cleanup(func() { _ = e.Close() })
				return e
			},
			TTL: coordTTL, Ends: coordTTL + 5*time.Second, Steps: coordSteps,
		}
	})
}

// etcdHost boots a host that has Debian's etcd.
func etcdHost(network *testhost.Network) *testhost.Host {
	return network.Boot(testhost.Spec{Name: "etcd", Layer: "fleet"})
}

// startEtcd runs etcd, or runs it again with the data that it had, and waits until it answers.
func startEtcd(t *testing.T, h *testhost.Host, port int, options string) {
	t.Helper()
	scheme := "http"
	if strings.Contains(options, "--cert-file") {
		scheme = "https"
	}
	h.Must(t.Context(), fmt.Sprintf(`
		systemctl reset-failed etcd-%[1]d 2>/dev/null || true
		systemd-run --quiet --unit=etcd-%[1]d etcd --data-dir=/var/lib/etcd-%[1]d --name=e \
			--listen-client-urls=%[3]s://0.0.0.0:%[1]d --advertise-client-urls=%[3]s://etcd:%[1]d \
			--listen-peer-urls=http://127.0.0.1:%[2]d --initial-advertise-peer-urls=http://127.0.0.1:%[2]d \
			--initial-cluster=e=http://127.0.0.1:%[2]d %[4]s
		for try in $(seq 300); do
			ss -ltnH "sport = :%[1]d" | grep -q . && exit
			sleep 0.1
		done
		journalctl --no-pager -u etcd-%[1]d >&2; exit 1`, port, port+1, scheme, options))
}

// line is a connection to etcd that can be cut, as a crash cuts it.
type line struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func (l *line) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := l.dial(ctx, "tcp", address)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if l.isCut {
		return nil, errors.Join(errors.New("the line is cut"), conn.Close())
	}
	l.conns = append(l.conns, conn)
	return conn, nil
}

func (l *line) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = cut
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

// lines are those of sessions, each of which can crash.
type lines struct {
	mu sync.Mutex
	of map[coord.Engine]*line
}

func (ls *lines) open(t testing.TB, dial func(ctx context.Context, network, address string) (net.Conn, error), o etcd.Options) coord.Engine {
	t.Helper()
	l := &line{dial: dial}
	o.Dial = l.Dial
	e, err := etcd.New(o)
	coordMust(t, err)
	t.Cleanup(func() { _ = e.Close() })
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.of[e] = l
	return e
}

func (ls *lines) line(e coord.Engine) *line {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.of[e]
}

func TestCoordEtcd(t *testing.T) {
	t.Parallel()
	h := etcdHost(testhost.New(t))
	startEtcd(t, h, 2379, "")
	ls := &lines{of: map[coord.Engine]*line{}}
	var mu sync.Mutex
	worlds := 0
	coordtest.Test(t, false, func(testing.TB) coordtest.World {
		mu.Lock()
		defer mu.Unlock()
		worlds++
		prefix := fmt.Sprintf("/certmedic/%d", worlds)
		return coordtest.World{
			Open: func(t testing.TB, member string) coord.Engine {
				t.Helper()
				return ls.open(t, h.Dial, etcd.Options{Endpoints: []string{"etcd:2379"}, Prefix: prefix, Member: member, TTL: coordTTL})
			},
			Crash: func(e coord.Engine) { ls.line(e).set(true) },
			Mend:  func(e coord.Engine) { ls.line(e).set(false) },
			TTL:   coordTTL, Ends: coordEnds, Steps: coordSteps,
		}
	})
}

// TestCoordEtcdSecured speaks TLS with a client certificate, and then with a user's password.
func TestCoordEtcdSecured(t *testing.T) {
	t.Parallel()
	h := etcdHost(testhost.New(t))
	ca := mint.Must(mint.NewCA("etcd root"))
	server := mint.Must(ca.Leaf(mint.Leaf{Names: []string{"etcd"}}))
	h.WriteFile("/etc/etcd/ca.pem", ca.PEM(), 0o644)
	h.WriteFile("/etc/etcd/server.pem", server.FullchainPEM(), 0o644)
	h.WriteFile("/etc/etcd/server.key", mint.Must(server.KeyPEM()), 0o600)
	startEtcd(t, h, 2379, "--cert-file=/etc/etcd/server.pem --key-file=/etc/etcd/server.key")
	h.Must(t.Context(), `
		export ETCDCTL_API=3 ETCDCTL_CACERT=/etc/etcd/ca.pem ETCDCTL_ENDPOINTS=https://etcd:2379
		etcdctl user add root:admin; etcdctl user grant-role root root
		etcdctl user add certmedic:secret; etcdctl role add certmedic
		etcdctl role grant-permission certmedic --prefix=true readwrite /certmedic/
		etcdctl user grant-role certmedic certmedic
		etcdctl auth enable`)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	secured := etcd.Options{
		Endpoints: []string{"https://etcd:2379"}, Prefix: "/certmedic", Member: "a", TTL: coordTTL, Timeout: 2 * time.Second,
		TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Username: "certmedic", Password: "secret",
	}
	for _, row := range []struct {
		about  string
		change func(o *etcd.Options)
		ok     bool
	}{
		{"the right user", func(*etcd.Options) {}, true},
		{"a wrong password", func(o *etcd.Options) { o.Password = "wrong" }, false},
		{"no user", func(o *etcd.Options) { o.Username, o.Password = "", "" }, false},
		{"a prefix that the user may not write", func(o *etcd.Options) { o.Prefix = "/other" }, false},
		{"roots that did not sign", func(o *etcd.Options) { o.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12} }, false},
		{"no TLS", func(o *etcd.Options) { o.TLS, o.Endpoints = nil, []string{"http://etcd:2379"} }, false},
	} {
		o := secured
		row.change(&o)
		o.Dial = (&line{dial: h.Dial}).Dial
		e, err := etcd.New(o)
		coordMust(t, err)
		start := time.Now()
		l, err := e.Acquire(t.Context(), row.about)
		if (err == nil) != row.ok || errors.Is(err, coord.ErrHeld) {
			t.Errorf("%s: %+v, %v", row.about, l, err)
		}
		if took := time.Since(start); took > 30*time.Second { // of which 2 s are allowed, on an idle machine
			t.Errorf("%s took %s", row.about, took)
		}
		if row.ok {
			if err := e.Join(t.Context(), coord.Member{Name: "a"}); err != nil {
				t.Errorf("%s joins with %v", row.about, err)
			}
			if _, err := e.Put(t.Context(), "order", 0, l.Token, []byte("x")); err != nil {
				t.Errorf("%s writes with %v", row.about, err)
			}
		}
		_ = e.Close()
	}
}

// The environment by which this test binary is a member on a host, see TestCoordMember.
const (
	memberName = "COORD_MEMBER"
	memberLog  = "COORD_LOG"
)

// event is a line that a member writes.
type event struct {
	Member string
	What   string // has, lost, wrote, refused, silent
	Token  uint64
	At     time.Time
}

// actor is a member that acts while it may.
type actor struct {
	engine *etcd.Engine
	keeper *coord.Keeper
	log    *os.File
	mu     sync.Mutex
	last   coord.Lease
}

// TestCoordMember is no test of its own: it is the member that other tests run on a host.
func TestCoordMember(t *testing.T) {
	name := os.Getenv(memberName)
	if name == "" {
		return
	}
	log, err := os.OpenFile(os.Getenv(memberLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	coordMust(t, err)
	engine, err := etcd.New(etcd.Options{Endpoints: []string{"etcd:2379"}, Prefix: "/certmedic", Member: name, TTL: coordTTL})
	coordMust(t, err)
	a := &actor{engine: engine, log: log}
	a.keeper = coord.NewKeeper(engine, coordTTL, func(l coord.Lease, held bool) {
		a.mu.Lock()
		a.last = l
		a.mu.Unlock()
		a.say(map[bool]string{true: "has", false: "lost"}[held], l.Token)
	})
	a.keeper.Want([]string{"shop"})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // it is killed before
	defer cancel()
	go a.keeper.Run(ctx)
	for ctx.Err() == nil {
		a.act(ctx)
		time.Sleep(20 * time.Millisecond)
	}
}

func (a *actor) say(what string, token uint64) {
	line, err := json.Marshal(event{os.Getenv(memberName), what, token, time.Now()})
	if err == nil {
		_, _ = a.log.Write(append(line, '\n'))
	}
}

// act writes with a lease that was confirmed, and with one that was lost in order to be refused: it reads the
// revision anew, so that nothing but the token can keep it off.
func (a *actor) act(ctx context.Context) {
	a.mu.Lock()
	l := a.last
	a.mu.Unlock()
	if l.Token == 0 {
		return
	}
	_, err := a.keeper.Confirm(ctx, "shop")
	held := err == nil
	if err != nil && !errors.Is(err, coord.ErrLost) {
		a.say("silent", l.Token)
		return
	}
	r, _, err := a.engine.Get(ctx, "order")
	if err != nil || !held && r.Token <= l.Token {
		return
	}
	_, err = a.engine.Put(ctx, "order", r.Revision, l.Token, []byte(os.Getenv(memberName)))
	switch {
	case err == nil:
		a.say("wrote", l.Token)
	case errors.Is(err, coord.ErrStale) && !held:
		a.say("refused", l.Token)
	}
}

// cluster is an etcd and two members, each on a host of its own.
type cluster struct {
	t     *testing.T
	etcd  *testhost.Host
	hosts map[string]*testhost.Host
	logs  string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	network := testhost.New(t)
	c := &cluster{t: t, etcd: etcdHost(network), hosts: map[string]*testhost.Host{}, logs: t.TempDir()}
	coordMust(t, os.MkdirAll(c.logs, 0o700))
	copyFile(t, os.Args[0], filepath.Join(c.logs, "fleet.test"))
	startEtcd(t, c.etcd, 2379, "")
	for _, member := range []string{"m1", "m2"} {
		c.hosts[member] = network.Boot(testhost.Spec{Name: member, Binds: []string{c.logs}})
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, e := range c.events() {
				t.Logf("%s %s %s %d", e.At.Format("05.000"), e.Member, e.What, e.Token)
			}
		}
	})
	return c
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	coordMust(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o700)
	coordMust(t, err)
	_, err = io.Copy(out, in)
	coordMust(t, errors.Join(err, out.Close()))
}

func (c *cluster) start(member string) {
	c.t.Helper()
	c.hosts[member].Must(c.t.Context(), fmt.Sprintf(
		"systemctl reset-failed member 2>/dev/null || true; systemd-run --quiet --unit=member --setenv=%s=%s --setenv=%s=%s/log %s/fleet.test -test.run=^TestCoordMember$ -test.timeout=10m",
		memberName, member, memberLog, c.logs, c.logs))
}

func (c *cluster) signal(member, signal string) {
	c.t.Helper()
	c.hosts[member].Must(c.t.Context(), "systemctl kill --signal="+signal+" member")
}

// events returns what the members wrote, in the order in which they did.
func (c *cluster) events() []event {
	f, err := os.Open(filepath.Join(c.logs, "log"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var all []event
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			all = append(all, e)
		}
	}
	return all
}

// await waits for an event after the first so many, and returns it.
func (c *cluster) await(after int, about string, is func(e event) bool) event {
	c.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		all := c.events()
		if i := slices.IndexFunc(all[min(after, len(all)):], is); i >= 0 {
			return all[after+i]
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("after a minute it is not so that %s", about)
		}
	}
}

func (c *cluster) awaitWhat(after int, member, what string) event {
	c.t.Helper()
	return c.await(after, member+" "+what, func(e event) bool { return e.Member == member && e.What == what })
}

// check holds that no write was taken after one with a higher token, and no token had by two.
func (c *cluster) check() {
	c.t.Helper()
	var highest uint64
	owner := map[uint64]string{}
	for _, e := range c.events() {
		if e.What == "has" {
			if other := owner[e.Token]; other != "" && other != e.Member {
				c.t.Errorf("%s and %s had the token %d", e.Member, other, e.Token)
			}
			owner[e.Token] = e.Member
		}
		if e.What == "wrote" && e.Token < highest {
			c.t.Errorf("%s wrote with the token %d after one wrote with %d", e.Member, e.Token, highest)
		}
		if e.What == "wrote" {
			highest = max(highest, e.Token)
		}
	}
}

// TestCoordTakeOver has two members lose their lease in every way, one after the other.
func TestCoordTakeOver(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.start("m1")
	c.awaitWhat(0, "m1", "wrote")
	c.start("m2")
	time.Sleep(2 * coordTTL) // m2 has tried

	t.Log("m1 is stopped past its lease and comes back")
	from, start := len(c.events()), time.Now()
	c.signal("m1", "STOP")
	taken := c.awaitWhat(from, "m2", "has")
	c.awaitWhat(from, "m2", "wrote")
	t.Logf("taken over from a member that stands still after %s, with leases of %s", taken.At.Sub(start), coordTTL)
	from = len(c.events())
	c.signal("m1", "CONT")
	c.awaitWhat(from, "m1", "lost")
	c.awaitWhat(from, "m1", "refused")
	for _, e := range c.events()[from:] {
		if e.Member == "m1" && e.What == "wrote" {
			t.Errorf("m1, which came back, wrote with the token %d", e.Token)
		}
	}

	t.Log("m2 is cut off")
	from, start = len(c.events()), time.Now()
	c.hosts["m2"].Cut()
	lost := c.awaitWhat(from, "m2", "lost")
	taken = c.awaitWhat(from, "m1", "has")
	t.Logf("a member that is cut off lets go after %s, and is taken over from after %s", lost.At.Sub(start), taken.At.Sub(start))
	if !lost.At.Before(taken.At) {
		t.Errorf("m2 knew at %s that it lost what m1 has since %s", lost.At, taken.At)
	}
	c.awaitWhat(from, "m1", "wrote")
	from = len(c.events())
	c.hosts["m2"].Heal()
	c.awaitWhat(from, "m2", "refused")

	t.Log("etcd is killed and comes back at once")
	c.etcd.Must(t.Context(), "systemctl kill --signal=KILL etcd-2379")
	startEtcd(t, c.etcd, 2379, "")
	from = len(c.events())
	c.await(from, "somebody writes", func(e event) bool { return e.What == "wrote" })

	t.Log("etcd is killed and comes back after the leases ended")
	from = len(c.events())
	c.etcd.Must(t.Context(), "systemctl kill --signal=KILL etcd-2379")
	gone := c.await(from, "the holder lets go", func(e event) bool { return e.What == "lost" })
	startEtcd(t, c.etcd, 2379, "")
	again := c.await(from, "somebody has the lease", func(e event) bool { return e.What == "has" })
	if again.Token <= gone.Token {
		t.Errorf("after etcd was away the token %d follows %d", again.Token, gone.Token)
	}
	c.await(from, "somebody writes", func(e event) bool { return e.What == "wrote" && e.Token == again.Token })

	t.Log("the holder is killed")
	from, start = len(c.events()), time.Now()
	c.signal(again.Member, "KILL")
	other := map[string]string{"m1": "m2", "m2": "m1"}[again.Member]
	taken = c.awaitWhat(from, other, "has")
	t.Logf("taken over from a member that was killed after %s", taken.At.Sub(start))
	c.awaitWhat(from, other, "wrote")
	from = len(c.events())
	c.start(again.Member)
	c.awaitWhat(from, other, "wrote")
	c.check()
}
