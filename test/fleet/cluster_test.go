package fleet_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/testhost"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/fence"
)

const (
	clusterLease    = 3 * time.Second
	clusterPatience = 90 * time.Second // on a slow machine; what it took is told
)

// clusterWorld is three members of a cluster that look after a certificate in files, which they install where a service loads it.
type clusterWorld struct {
	t       *testing.T
	dir     string
	program string
	ca      *mint.CA
	service *service
	members []*clusterMember
}

// clusterMember is a certmedic in a process of its own, with a line to etcd that can be cut.
type clusterMember struct {
	name   string
	dir    string
	line   *onceLine
	client *api.Client
	log    *os.File
	cmd    *exec.Cmd
	ended  chan struct{}
}

// service loads what is installed when it is told to, and not before.
type service struct {
	listener net.Listener
	dir      string

	mu     sync.Mutex
	pair   *tls.Certificate
	marked time.Time // of the file by which it is told
}

func newService(t *testing.T, dir string) *service {
	t.Helper()
	s := &service{dir: dir}
	s.load()
	s.listener = mint.Must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.present}))
	t.Cleanup(func() { _ = s.listener.Close() })
	go func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				_ = conn.(*tls.Conn).Handshake() // whoever asked has what they want
			}()
		}
	}()
	return s
}

func (s *service) load() {
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem"))
	if err == nil { // else it goes on with the old ones
		s.pair = &pair
	}
}

func (s *service) present(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if info, err := os.Stat(filepath.Join(s.dir, "reload")); err == nil && !info.ModTime().Equal(s.marked) {
		s.marked = info.ModTime()
		s.load()
	}
	if s.pair == nil {
		return nil, errors.New("nothing is installed")
	}
	return s.pair, nil
}

// serves returns the version that the service serves.
func (s *service) serves() certmedic.Fingerprint {
	pair, err := s.present(nil)
	if err != nil {
		return ""
	}
	return remoteFingerprint(pair.Certificate[0])
}

// newClusterWorld has members that are not started yet. Of further, %s is the name of the member.
func newClusterWorld(t *testing.T, etcd *testhost.Host, watch string, shard bool) *clusterWorld {
	t.Helper()
	w := &clusterWorld{t: t, dir: t.TempDir(), program: mint.Must(onceProgram()), ca: mint.Must(mint.NewCA("cluster root"))}
	coordMust(t, os.Mkdir(w.path("served"), 0o700))
	w.write("root.pem", w.ca.PEM())
	w.write("test.sh", []byte("#!/bin/sh\nwhile [ -e hold ]; do sleep 0.05; done\n[ ! -e fail ]\n"))
	coordMust(t, os.Chmod(w.path("test.sh"), 0o700))
	w.store()
	for _, file := range []string{"cert.pem", "key.pem"} {
		w.write("served/"+file, mint.Must(os.ReadFile(w.path(file))))
	}
	w.service = newService(t, w.path("served"))
	prefix := strings.ToLower(filepath.Base(w.dir)) + t.Name()
	for _, name := range []string{"m1", "m2", "m3"} {
		m := &clusterMember{name: name, dir: w.path(name), line: newOnceLine(t, etcd), client: api.NewClient(w.path(name + "/state"))}
		coordMust(t, os.Mkdir(m.dir, 0o700))
		m.log = mint.Must(os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600))
		w.write(name+"/certmedic.yml", []byte(w.config(m, prefix, watch, shard)))
		w.members = append(w.members, m)
	}
	t.Cleanup(w.end)
	return w
}

func (w *clusterWorld) config(m *clusterMember, prefix, watch string, shard bool) string {
	return fmt.Sprintf(`state_dir: %[1]s/state
remediation: {mode: auto, max_actions_per_hour: 1000}
probe: {interval: 1s, roots: [%[2]s/root.pem], records: false, ari: false, revocation: "off"}
cluster: {member: %[3]s, lease: %[4]s, shard: %[8]t, etcd: {endpoints: ["http://%[5]s"], prefix: /%[6]s}}
certificates:
  - name: shop
    source: {files: {cert: %[2]s/cert.pem, key: %[2]s/key.pem}}
    endpoints: [{address: "%[7]s", server_name: shop.test, owned: true}]
    deploy:
      - name: web
        files: [{from: fullchain, to: %[2]s/served/cert.pem}, {from: privkey, to: %[2]s/served/key.pem}]
        test: [env, -C, %[2]s, ./test.sh]
        reload: [touch, %[2]s/served/reload]
    renew: {command: ["false"]}
    remediation: {mode: auto, allow: [redeploy, reload, renew]}
%[9]s`, m.dir, w.dir, m.name, clusterLease, m.line.address(), prefix, w.service.listener.Addr(), shard, watch)
}

func (w *clusterWorld) path(name string) string { return filepath.Join(w.dir, name) }

func (w *clusterWorld) write(name string, data []byte) {
	w.t.Helper()
	coordMust(w.t, os.WriteFile(w.path(name), data, 0o600))
}

// store has the source hold a new version, and returns it.
func (w *clusterWorld) store() certmedic.Fingerprint {
	w.t.Helper()
	pair := mint.Must(w.ca.Leaf(mint.Leaf{Names: []string{"shop.test"}}))
	w.write("key.pem", mint.Must(pair.KeyPEM()))
	w.write("cert.pem", pair.FullchainPEM())
	return remoteFingerprint(pair.Cert.Raw)
}

func (w *clusterWorld) start(all ...*clusterMember) {
	w.t.Helper()
	for _, m := range all {
		m.cmd, m.ended = exec.Command(w.program, "--config", filepath.Join(m.dir, "certmedic.yml"), "serve", "--web.listen-address", "127.0.0.1:0"), make(chan struct{})
		m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
		coordMust(w.t, m.cmd.Start())
		go func() {
			_ = m.cmd.Wait()
			close(m.ended)
		}()
	}
}

func (m *clusterMember) signal(s syscall.Signal) { _ = syscall.Kill(m.cmd.Process.Pid, s) }

func (m *clusterMember) kill() {
	m.signal(syscall.SIGKILL)
	<-m.ended
}

// end ends what runs, and tells what the members said where something is wrong.
func (w *clusterWorld) end() {
	for _, m := range w.members {
		if m.cmd != nil {
			m.kill()
		}
		_ = m.log.Close()
		if w.t.Failed() {
			said, _ := os.ReadFile(m.log.Name())
			w.t.Logf("%s said:\n%s", m.name, said[max(0, len(said)-6000):])
		}
	}
}

// await waits until it holds, and returns how long that took.
func (w *clusterWorld) await(what string, holds func() bool) time.Duration {
	w.t.Helper()
	start := time.Now()
	for !holds() {
		if time.Since(start) > clusterPatience {
			w.t.Fatalf("after %s it is not so that %s", clusterPatience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(start)
}

// status asks a member, which may not run, or not answer.
func (m *clusterMember) status() (api.Status, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := m.client.Status(ctx)
	return s, err == nil
}

// lead returns who acts for the certificate, as a member knows.
func (m *clusterMember) lead() certmedic.Lead {
	s, ok := m.status()
	i := slices.IndexFunc(s.Certificates, func(v watchdog.View) bool { return v.Name == "shop" })
	if !ok || i < 0 || s.Certificates[i].Lead == nil {
		return certmedic.Lead{}
	}
	return *s.Certificates[i].Lead
}

// leader returns the member that acts, by its own account; nil where none does.
func (w *clusterWorld) leader(of ...*clusterMember) *clusterMember {
	for _, m := range of {
		if l := m.lead(); l.Mine {
			return m
		}
	}
	return nil
}

// others returns the members without one.
func (w *clusterWorld) others(than *clusterMember) []*clusterMember {
	return slices.DeleteFunc(slices.Clone(w.members), func(m *clusterMember) bool { return m == than })
}

// did returns the actions of a member, newest first, that did something or tried.
func (m *clusterMember) did(t *testing.T) []certmedic.Action {
	t.Helper()
	all, err := m.client.History(t.Context(), "shop", 100)
	coordMust(t, err)
	return slices.DeleteFunc(all, func(a certmedic.Action) bool { return a.Outcome.Kind == certmedic.OutcomeRefused })
}

// token returns the token that the place of the files knows.
func (w *clusterWorld) token() uint64 {
	data, err := os.ReadFile(w.path("served/" + fence.Name))
	if err != nil {
		return 0
	}
	known := map[string]uint64{}
	coordMust(w.t, json.Unmarshal(data, &known))
	return known["shop"]
}

// deployed has a new version be served by whoever acts, and by nobody else.
func (w *clusterWorld) deployed(about string, by *clusterMember) time.Duration {
	w.t.Helper()
	before := map[*clusterMember]int{}
	running := slices.DeleteFunc(slices.Clone(w.members), func(m *clusterMember) bool { _, ok := m.status(); return !ok })
	for _, m := range running {
		before[m] = len(m.did(w.t))
	}
	version := w.store()
	took := w.await(about+": the new version is served", func() bool { return w.service.serves() == version })
	w.await(about+": the action has ended", func() bool {
		all := by.did(w.t)
		return len(all) > before[by] && all[0].Outcome.Kind == certmedic.OutcomeHealed
	})
	a := by.did(w.t)[0]
	if a.Member != by.name || a.Token == 0 || a.Token != w.token() {
		w.t.Errorf("%s: %s acted as %q with the token %d, the files know %d", about, by.name, a.Member, a.Token, w.token())
	}
	for _, m := range running {
		if n := len(m.did(w.t)); m != by && n != before[m] {
			w.t.Errorf("%s: %s acted, too: %+v", about, m.name, m.did(w.t)[0])
		}
	}
	return took
}

// TestClusterActs has three members look after one certificate on one etcd, and takes from them, one after the other, the one that acts, the
// time of one that is paused in the middle of an action, and etcd.
func TestClusterActs(t *testing.T) {
	t.Parallel()
	etcd := etcdHost(testhost.New(t))
	startEtcd(t, etcd, 2379, "")
	w := newClusterWorld(t, etcd, "", false)
	w.start(w.members...)
	var first *clusterMember
	w.await("somebody acts", func() bool { first = w.leader(w.members...); return first != nil })
	t.Logf("a new version was served after %s", w.deployed("three members", first))
	token := w.token()

	start := time.Now()
	first.kill()
	rest := w.others(first)
	var second *clusterMember
	w.await("another one acts", func() bool { second = w.leader(rest...); return second != nil })
	t.Logf("after kill -9 of the one that acts another one did after %s, with a lease of %s and rounds of 1 s", time.Since(start), clusterLease)
	w.deployed("after kill -9", second)
	if now := w.token(); now <= token {
		t.Errorf("the token after %d is %d", token, now)
	}
	w.start(first)
	w.await("the one that was killed follows", func() bool { return first.lead().Member == second.name })

	third := w.pausedInTheMiddle(second)
	w.withoutEtcd(third)
}

// pausedInTheMiddle stops the member that acts while it tests what it installed, lets another one take over and install what is newer, and
// lets the first go on with a test that failed: it must not put back what it replaced. It returns who acts.
func (w *clusterWorld) pausedInTheMiddle(paused *clusterMember) *clusterMember {
	t := w.t
	t.Helper()
	w.write("hold", nil)
	w.write("fail", nil)
	older := w.store()
	w.await("it has installed the version", func() bool {
		data, err := os.ReadFile(w.path("served/cert.pem"))
		return err == nil && remoteFingerprintPEM(t, data) == older
	})
	paused.signal(syscall.SIGSTOP)
	var next *clusterMember
	w.await("another one acts", func() bool { next = w.leader(w.others(paused)...); return next != nil })
	coordMust(t, os.Remove(w.path("hold")))
	time.Sleep(time.Second) // in which the test that the paused one began fails
	coordMust(t, os.Remove(w.path("fail")))
	newest := w.store()
	w.await("the newest is served", func() bool { return w.service.serves() == newest })
	token, files := w.token(), w.stat()
	paused.signal(syscall.SIGCONT)
	w.await("the paused one follows", func() bool { return paused.lead().Member == next.name })
	answer, err := paused.client.Act(t.Context(), api.ActionRequest{Certificate: "shop", Action: certmedic.ActionRedeploy, Force: true})
	coordMust(t, err)
	if a := answer.Action; a.Outcome.Reason != "not_leader" || !strings.Contains(a.Outcome.Detail, strconv.Quote(next.name)) {
		t.Errorf("by hand the one that was paused is told %+v", a.Outcome)
	}
	w.await("its action has ended", func() bool { return paused.did(t)[0].Outcome.Kind != certmedic.OutcomeRunning })
	if a := paused.did(t)[0]; a.Token >= token {
		t.Errorf("the paused one acted with %d, the other one with %d", a.Token, token)
	}
	if now := w.stat(); w.token() != token || now != files || w.service.serves() != newest {
		t.Errorf("the one that was paused changed what the other one installed: %s to %s", files, now)
	}
	t.Logf("the action of the paused one ended: %s (%s)", paused.did(t)[0].Outcome.Detail, paused.did(t)[0].Outcome.Kind)
	return next
}

// stat tells one state of the installed files from another.
func (w *clusterWorld) stat() (state string) {
	for _, name := range []string{"cert.pem", "key.pem"} {
		info, err := os.Stat(w.path("served/" + name))
		coordMust(w.t, err)
		state += fmt.Sprintf("%s %d %d;", name, info.Sys().(*syscall.Stat_t).Ino, info.ModTime().UnixNano())
	}
	return state
}

// withoutEtcd cuts all members off from etcd: they watch on, the one that acted last brings what is stored to where it is served,
// and nothing is ordered.
func (w *clusterWorld) withoutEtcd(last *clusterMember) {
	t := w.t
	t.Helper()
	for _, m := range w.members {
		m.line.cut(true)
	}
	for _, m := range w.members {
		took := w.await(m.name+" knows", func() bool { s, ok := m.status(); return ok && s.Cluster.Trouble != "" })
		t.Logf("%s knew after %s that etcd cannot be asked", m.name, took)
	}
	time.Sleep(clusterLease + time.Second) // every lease is over
	w.deployed("without etcd", last)
	for _, m := range w.members {
		s, _ := m.status()
		if i := slices.IndexFunc(s.Certificates, func(v watchdog.View) bool { return v.Name == "shop" }); i < 0 || time.Since(s.Certificates[i].Endpoints[0].Time) > 30*time.Second {
			t.Errorf("%s does not watch any more", m.name)
		}
		answer, err := m.client.Act(t.Context(), api.ActionRequest{Certificate: "shop", Action: certmedic.ActionRenew})
		coordMust(t, err)
		if reason := answer.Action.Outcome.Reason; reason != "coordinator_lost" {
			t.Errorf("%s is asked to renew: %+v", m.name, answer.Action.Outcome)
		}
	}
	for _, m := range w.members {
		m.line.cut(false)
	}
	var back *clusterMember
	took := w.await("somebody acts again", func() bool {
		i := slices.IndexFunc(w.members, func(m *clusterMember) bool { l := m.lead(); return l.Mine && l.Lost.IsZero() })
		if i >= 0 {
			back = w.members[i]
		}
		return i >= 0
	})
	t.Logf("with etcd back somebody acted after %s", took)
	w.deployed("with etcd again", back)
}

// TestClusterShares has three members share out forty endpoints, kills one, and starts it again: every endpoint is always somebody's,
// and is probed again.
func TestClusterShares(t *testing.T) {
	t.Parallel()
	etcd := etcdHost(testhost.New(t))
	startEtcd(t, etcd, 2379, "")
	const endpoints = 40
	watch, names := watchLines(endpoints)
	w := newClusterWorld(t, etcd, "", true)
	for _, m := range w.members {
		file := filepath.Join(m.dir, "certmedic.yml")
		text := mint.Must(os.ReadFile(file))
		coordMust(t, os.WriteFile(file, append(text, strings.ReplaceAll(watch, "ADDRESS", w.service.listener.Addr().String())...), 0o600))
	}
	for i, name := range names {
		names[i] = w.service.listener.Addr().String() + "/" + name
	}
	names = append(names, "shop")
	slices.Sort(names)
	w.start(w.members...)
	t.Logf("everything was watched by one after %s", w.shared(names, time.Time{}, w.members...))
	first := w.members[0]
	s, _ := first.status()
	start := time.Now()
	first.kill()
	w.shared(names, start, w.members[1:]...)
	t.Logf("after kill -9 of one its %d of %d were probed by the others after %s, with a lease of %s", len(s.Certificates), len(names), time.Since(start), clusterLease)
	start = time.Now()
	w.start(first)
	w.shared(names, start, w.members...)
	t.Logf("it had its share again after %s", time.Since(start))
}

func watchLines(n int) (yaml string, names []string) {
	yaml = "watch:\n"
	for i := range n {
		names = append(names, fmt.Sprintf("n%02d.test", i))
		yaml += fmt.Sprintf("  - {address: \"ADDRESS\", server_name: %s}\n", names[i])
	}
	return yaml, names
}

// shared waits until members watch everything between them, each thing once, and each was probed after a moment.
func (w *clusterWorld) shared(names []string, after time.Time, by ...*clusterMember) time.Duration {
	w.t.Helper()
	return w.await("everything is watched by one", func() bool {
		var all []string
		for _, m := range by {
			s, ok := m.status()
			if !ok || len(s.Certificates) == 0 {
				return false
			}
			for _, v := range s.Certificates {
				all = append(all, v.Name)
				if !v.Endpoints[0].Time.After(after) {
					return false
				}
			}
		}
		slices.Sort(all)
		return slices.Equal(all, names)
	})
}

func remoteFingerprintPEM(t *testing.T, text []byte) certmedic.Fingerprint {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%q is no PEM", text)
	}
	return remoteFingerprint(block.Bytes)
}

// TestClusterStorm does to members what happens to hosts, in an order that a seed gives, while new versions are stored: the token at the files never
// goes back, no token is two members', and in the end the newest version is served. With CERTMEDIC_CHAOS=1 there are more of it.
func TestClusterStorm(t *testing.T) {
	t.Parallel()
	seed, rounds := uint64(time.Now().UnixNano()), 4
	if os.Getenv("CERTMEDIC_CHAOS") == "1" {
		rounds = 60
	}
	if text := os.Getenv("CLUSTER_SEED"); text != "" {
		seed = mint.Must(strconv.ParseUint(text, 10, 64))
	}
	t.Logf("CLUSTER_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	etcd := etcdHost(testhost.New(t))
	startEtcd(t, etcd, 2379, "")
	w := newClusterWorld(t, etcd, "", false)
	w.start(w.members...)
	w.await("somebody acts", func() bool { return w.leader(w.members...) != nil })
	highest := uint64(0)
	for range rounds {
		m := w.members[random.IntN(len(w.members))]
		rest := clusterLease/2 + time.Duration(random.Int64N(int64(clusterLease)))
		w.store()
		time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond) // somewhere in the middle of an action
		switch random.IntN(3) {
		case 0:
			m.kill()
			time.Sleep(rest)
			w.start(m)
		case 1:
			m.signal(syscall.SIGSTOP)
			time.Sleep(rest)
			m.signal(syscall.SIGCONT)
		default:
			m.line.cut(true)
			time.Sleep(rest)
			m.line.cut(false)
		}
		if now := w.token(); now < highest {
			t.Errorf("the token at the files went back from %d to %d", highest, now)
		} else {
			highest = now
		}
	}
	newest := w.store()
	t.Logf("after %d blows the newest version was served after %s", rounds, w.await("the newest version is served", func() bool { return w.service.serves() == newest }))
	whose := map[uint64]string{}
	for _, m := range w.members {
		w.await(m.name+" answers", func() bool { _, ok := m.status(); return ok })
		for _, a := range m.did(t) {
			if other := whose[a.Token]; other != "" && other != a.Member || a.Token == 0 {
				t.Errorf("%s and %s acted with the token %d", other, a.Member, a.Token)
			}
			whose[a.Token] = a.Member
		}
	}
	if w.token() < highest {
		t.Errorf("the token at the files went back from %d to %d", highest, w.token())
	}
	t.Logf("%d tokens were acted with, the highest %d", len(whose), w.token())
}
