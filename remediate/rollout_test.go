package remediate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/remote/session"
	"github.com/certmedic/certmedic/remediate/remote/sshfake"
)

// hosts are other hosts of a world. Each is a folder with the files of a destination, what its service
// has loaded, and a log of its commands; a file "refuse" has the service refuse new files.
type hosts struct {
	w       *world
	t       *testing.T
	names   []string
	servers map[string]*sshfake.Server

	mu     sync.Mutex
	token  uint64
	down   map[string]bool // hosts that do not answer
	hidden map[string]bool // hosts whose addresses nobody knows
	known  []certmedic.NodeStatus
	lowest uint64 // saving with a lower token is refused
}

// newHosts gives a world's certificate other hosts, which all serve the old version.
func newHosts(t *testing.T, names ...string) *hosts {
	t.Helper()
	w := newWorld(t)
	if err := os.RemoveAll(w.path("loaded")); err != nil {
		t.Fatal(err)
	}
	h := &hosts{w: w, t: t, names: names, token: 7, servers: map[string]*sshfake.Server{}, down: map[string]bool{}, hidden: map[string]bool{}}
	for _, name := range names {
		h.servers[name] = sshfake.Start(t)
		w.write(t, "hosts/"+name+"/fullchain.pem", w.read(t, "old/fullchain.pem"))
		w.write(t, "hosts/"+name+"/privkey.pem", w.read(t, "old/privkey.pem"))
		w.write(t, "hosts/"+name+"/loaded", w.read(t, "old/fullchain.pem"))
		w.cert.Destinations = append(w.cert.Destinations, h.destination(name))
		w.cert.Nodes = append(w.cert.Nodes, certmedic.Node{Name: name})
	}
	if err := os.Mkdir(w.path("loaded"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.change = h.see
	return h
}

func (h *hosts) destination(name string) certmedic.Destination {
	sh := func(text string) []string {
		return []string{"/bin/sh", "-c", "cd " + h.w.path("hosts/"+name) + " && " + text}
	}
	return certmedic.Destination{
		Name: "web-" + name, Hosts: []string{name}, Rollout: certmedic.Rollout{Wave: 33},
		Files: []certmedic.InstalledFile{
			{From: certmedic.PartFullchain, To: h.w.path("hosts/" + name + "/fullchain.pem")},
			{From: certmedic.PartPrivkey, To: h.w.path("hosts/" + name + "/privkey.pem")},
		},
		Test:   sh("echo test >> log && { ! test -e refuse || { echo '[emerg] no' >&2; exit 1; }; }"),
		Reload: sh("echo reload >> log && while test -e stall; do sleep 0.05; done; test -e deaf || cp fullchain.pem loaded"),
	}
}

// alsoHere gives the certificate a destination on this host, too, which serves the old version.
func (h *hosts) alsoHere(test string) {
	h.t.Helper()
	h.w.write(h.t, "loaded/192.0.2.1:443", h.w.read(h.t, "old/fullchain.pem"))
	elsewhere := h.w.cert.Destinations
	h.w.withSteps(h.t, test, loadInstalled(), "")
	h.w.cert.Destinations = append(h.w.cert.Destinations, elsewhere...)
	h.w.cert.Nodes = append(h.w.cert.Nodes, certmedic.Node{Name: certmedic.LocalHost})
}

// see adds what the hosts present.
func (h *hosts) see(s *remediate.Sight) {
	for i := range s.Addresses {
		s.Addresses[i].Node = certmedic.LocalHost
	}
	for _, name := range h.names {
		if h.hidden[name] {
			continue
		}
		a := remediate.Served{Address: name + ":443", Node: name, Bound: true, Leaf: h.w.leaf("hosts/" + name + "/loaded")}
		h.mu.Lock()
		if h.down[name] {
			a.Leaf, a.Detail = "", "no answer"
		}
		h.mu.Unlock()
		s.Addresses = append(s.Addresses, a)
	}
}

// Nodes implements [remediate.Nodes].
func (h *hosts) Nodes(context.Context, string) ([]certmedic.NodeStatus, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.known), nil
}

// SaveNodes implements [remediate.Nodes].
func (h *hosts) SaveNodes(_ context.Context, _ string, token uint64, all []certmedic.NodeStatus) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if token < h.lowest {
		return errors.New("a higher token was there")
	}
	h.known, h.lowest = slices.Clone(all), token
	return nil
}

func (h *hosts) dial(ctx context.Context, node string) (*session.Session, error) {
	h.mu.Lock()
	down := h.down[node]
	h.mu.Unlock()
	if down {
		return nil, fmt.Errorf("connecting to %q: %w: no route to host", node, session.ErrUnreachable)
	}
	return session.Dial(ctx, h.servers[node].Host(), session.Limits{})
}

func (h *hosts) options(o *remediate.Options) {
	o.Nodes, o.Dial = h, h.dial
	o.Confirm = func(context.Context, string) (uint64, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.token, nil
	}
}

func (h *hosts) set(states map[string]bool, name string, to bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	states[name] = to
}

// act asks by hand.
func (h *hosts) act(q remediate.Request) certmedic.Action {
	h.t.Helper()
	j, err := h.w.journal()
	if err != nil {
		h.t.Fatal(err)
	}
	if q.Certificate = shop; q.Kind == "" {
		q.Kind = certmedic.ActionRedeploy
	}
	a, err := h.w.remediator(j, h.options).Act(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// holds reports which version a host has in its files and presents: "old", "stored", or "torn".
func (h *hosts) holds(name string) string {
	for _, version := range []string{"old", "stored"} {
		if string(h.w.bytes("hosts/"+name+"/fullchain.pem")) == string(h.w.bytes(version+"/fullchain.pem")) &&
			string(h.w.bytes("hosts/"+name+"/privkey.pem")) == string(h.w.bytes(version+"/privkey.pem")) &&
			h.w.leaf("hosts/"+name+"/loaded") == h.w.leaf(version+"/fullchain.pem") {
			return version
		}
	}
	return "torn"
}

// want checks what each host holds and how it stands, such as "stored done".
func (h *hosts) want(want map[string]string) {
	h.t.Helper()
	h.mu.Lock()
	states := map[string]certmedic.NodeState{}
	for _, n := range h.known {
		states[n.Node] = n.State
	}
	h.mu.Unlock()
	for name, is := range want {
		if got := strings.TrimSpace(h.holds(name) + " " + string(states[name])); got != is {
			h.t.Errorf("host %s is %q, want %q", name, got, is)
		}
	}
}

// log returns the commands that ran on a host.
func (h *hosts) log(name string) string {
	return strings.Join(strings.Fields(string(h.w.bytes("hosts/"+name+"/log"))), " ")
}

// tidy checks that no deployment left anything on the hosts but tokens.
func (h *hosts) tidy() {
	h.t.Helper()
	for _, name := range h.names {
		for _, pattern := range []string{h.w.path("hosts/" + name + "/.certmedic*"), h.servers[name].Dir + "/.certmedic-remote/*/*/*"} {
			if left, _ := filepath.Glob(pattern); len(left) > 0 {
				h.t.Errorf("on %s there is left: %q", name, left)
			}
		}
	}
}

func TestRollout(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b", "c")
	a := h.act(remediate.Request{})
	wantOutcome(t, a, certmedic.OutcomeHealed, "3 of 3 hosts are done")
	h.want(map[string]string{"a": "stored done", "b": "stored done", "c": "stored done"})
	h.tidy()
	if len(a.Nodes) != 3 || a.Nodes[0].Version != a.Version || a.Token != 7 || a.Nodes[0].Wave != 0 || a.Nodes[2].Wave == 0 {
		t.Errorf("the action has the nodes %+v", a.Nodes)
	}
	if again := h.act(remediate.Request{}); again.Outcome.Reason != string(guard.NoNeed) {
		t.Errorf("once all is done: %+v", again.Outcome)
	}
}

// TestCanaryFails holds that what the first host refuses nobody else gets.
func TestCanaryFails(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b", "c")
	h.w.write(t, "hosts/a/refuse", "")
	a := h.act(remediate.Request{})
	wantOutcome(t, a, certmedic.OutcomePutBack, "0 of 3 hosts are done", "a (", "did not take it, and is as it was", "b, c was left alone")
	h.want(map[string]string{"a": "old put_back", "b": "old", "c": "old"})
	h.tidy()
	if h.log("b")+h.log("c") != "" || len(a.Outcome.Evidence) == 0 {
		t.Errorf("on the others there ran %q, evidence %+v", h.log("b")+h.log("c"), a.Outcome.Evidence)
	}
}

// TestNotServed holds that a host whose commands succeed, and which serves the old version on, is put
// back, too.
func TestNotServed(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b")
	h.w.write(t, "hosts/a/deaf", "")
	a := h.act(remediate.Request{})
	wantOutcome(t, a, certmedic.OutcomePutBack, "a:443 still serves", "b was left alone")
	h.want(map[string]string{"a": "old put_back", "b": "old"})
	h.tidy()
}

// TestUnreachable holds that a host that cannot be reached stops nobody, stays open, and is brought up
// to date when it is back.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b", "c")
	h.set(h.down, "b", true)
	r, stop := h.w.running(t, h.options)
	r.Want(shop, drift())
	await(t, "the hosts that answer are done", func() bool { return h.holds("a") == "stored" && h.holds("c") == "stored" && len(h.w.ended(t)) == 1 })
	first := h.w.ended(t)[0]
	wantOutcome(t, first, certmedic.OutcomeUnverified, "2 of 3 hosts are done", "b (", "could not be reached")
	if first.Outcome.Reason != "nodes_unreachable" {
		t.Errorf("reason %q", first.Outcome.Reason)
	}
	h.want(map[string]string{"a": "stored done", "b": "old unreachable", "c": "stored done"})
	await(t, "it was tried again", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.known[1].Attempts > 1 })
	if n := len(h.w.ended(t)); n != 1 {
		t.Errorf("%d actions for a host that does not answer", n)
	}
	touched := h.log("a") + h.log("c")
	h.set(h.down, "b", false)
	await(t, "the host that is back has it", func() bool { return h.holds("b") == "stored" && len(h.w.ended(t)) == 2 })
	wantOutcome(t, h.w.ended(t)[0], certmedic.OutcomeHealed, "1 of 1 hosts are done")
	stop()
	h.want(map[string]string{"a": "stored done", "b": "stored done", "c": "stored done"})
	h.tidy()
	if h.log("a")+h.log("c") != touched {
		t.Errorf("the others were touched again: %q, %q", h.log("a"), h.log("c"))
	}
}

// TestStaleNodeAlone holds that of several hosts only that one is touched which serves another version.
func TestStaleNodeAlone(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b", "c")
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed)
	h.w.write(t, "hosts/b/loaded", h.w.read(t, "old/fullchain.pem"))
	before := map[string]string{"a": h.inode("a"), "c": h.inode("c")}
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed, "1 of 1 hosts are done")
	h.want(map[string]string{"b": "stored done"})
	for name, was := range before {
		if now := h.inode(name); now != was || h.log(name) != "test reload" {
			t.Errorf("%s was touched: %s, then %s; %q", name, was, now, h.log(name))
		}
	}
}

func (h *hosts) inode(name string) string {
	info, err := os.Stat(h.w.path("hosts/" + name + "/fullchain.pem"))
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprint(info.Sys())
}

// TestHashesTell holds that a host of which no address is known is judged by its files.
func TestHashesTell(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b")
	h.hidden["a"], h.hidden["b"] = true, true
	a := h.act(remediate.Request{})
	wantOutcome(t, a, certmedic.OutcomeHealed, "2 of 2 hosts are done", "the files tell")
	h.want(map[string]string{"a": "stored done", "b": "stored done"})
	if again := h.act(remediate.Request{}); again.Outcome.Kind != certmedic.OutcomeRefused {
		t.Errorf("once all is done: %+v", again.Outcome)
	}
}

// TestBalancerSuspects holds that an address of no host, such as a load balancer's, which serves another
// version, has those hosts looked after whose own addresses nobody knows.
func TestBalancerSuspects(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b")
	h.hidden["b"] = true
	h.w.change = func(s *remediate.Sight) {
		h.see(s)
		s.Addresses = append(s.Addresses, remediate.Served{Address: "balancer:443", Bound: true, Leaf: h.w.leaf("hosts/b/loaded")})
	}
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed)
	h.w.write(t, "hosts/b/loaded", h.w.read(t, "old/fullchain.pem"))
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed, "1 of 1 hosts are done", "every bound address (2)")
	if h.log("a") != "test reload" || h.log("b") != "test reload test reload" {
		t.Errorf("on a there ran %q, on b %q", h.log("a"), h.log("b"))
	}
}

// TestRolloutRestarts ends certmedic in the middle of a roll-out. The next one finishes the host that
// was at work, and goes on.
func TestRolloutRestarts(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b", "c")
	h.w.write(t, "hosts/b/stall", "")
	r, stop := h.w.running(t, h.options)
	r.Want(shop, drift())
	await(t, "the second host is at work", func() bool { return strings.HasSuffix(h.log("b"), "reload") })
	stop()
	if running := h.w.actions(t)[0]; running.Outcome.Kind != certmedic.OutcomeRunning {
		t.Fatalf("certmedic ended, and the action is %+v", running.Outcome)
	}
	h.want(map[string]string{"a": "stored done"})
	if err := os.Remove(h.w.path("hosts/b/stall")); err != nil {
		t.Fatal(err)
	}
	h.token = 8 // of a new lease
	r, stop = h.w.running(t, h.options)
	r.Want(shop, drift())
	await(t, "every host has it", func() bool {
		return h.holds("b") == "stored" && h.holds("c") == "stored" && len(h.w.ended(t)) >= 2
	})
	stop()
	h.want(map[string]string{"a": "stored done", "b": "stored done", "c": "stored done"})
	h.tidy()
	if h.log("a") != "test reload" {
		t.Errorf("on the host that was done there ran %q", h.log("a"))
	}
}

// TestRolloutRestartsWithoutVersion holds that what was begun is put back where the version is not to be
// had any more.
func TestRolloutRestartsWithoutVersion(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a")
	h.w.write(t, "hosts/a/stall", "")
	r, stop := h.w.running(t, h.options)
	r.Want(shop, drift())
	await(t, "the host is at work", func() bool { return strings.HasSuffix(h.log("a"), "reload") })
	stop()
	if err := os.Remove(h.w.path("hosts/a/stall")); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"cert", "chain", "fullchain", "privkey"} {
		h.w.write(t, "stored/"+part+".pem", h.w.read(t, "old/"+part+".pem"))
	}
	_, stop = h.w.running(t, h.options)
	await(t, "what was begun is put back", func() bool { return h.holds("a") == "old" && len(h.w.ended(t)) == 1 })
	stop()
	if got := h.w.ended(t)[0].Outcome; got.Kind != certmedic.OutcomeUnverified || !strings.Contains(got.Detail, "not stored any more") {
		t.Errorf("outcome %+v", got)
	}
	h.tidy()
}

// TestThisHostIsTheFirst holds that the part on this host comes before all others, with its own way back,
// and that it is left alone where it needs nothing.
func TestThisHostIsTheFirst(t *testing.T) {
	t.Parallel()
	t.Run("it takes it", func(t *testing.T) {
		t.Parallel()
		h := newHosts(t, "a", "b")
		h.alsoHere("")
		a := h.act(remediate.Request{})
		wantOutcome(t, a, certmedic.OutcomeHealed, "3 of 3 hosts are done", "every bound address (3)")
		h.want(map[string]string{"a": "stored done", "b": "stored done"})
		if !h.w.installed(t, "stored") || len(a.Changes) != 2 || a.Nodes[0].Node != certmedic.LocalHost || a.Nodes[0].Version != a.Version || a.Nodes[1].Wave == 0 {
			t.Errorf("this host: %+v, %+v", a.Nodes, a.Changes)
		}
		h.w.write(t, "hosts/b/loaded", h.w.read(t, "old/fullchain.pem"))
		wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed, "1 of 1 hosts are done")
		h.w.write(t, "loaded/192.0.2.1:443", h.w.read(t, "old/fullchain.pem"))
		h.set(h.down, "b", true)
		wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeUnverified, "1 of 1 hosts are done", "b:443 presented no certificate")
		if log := fmt.Sprint(h.w.log(t), h.log("a")); log != "[test reload alive test reload alive]test reload" {
			t.Errorf("here and on a there ran %q", log)
		}
		if !h.w.installed(t, "stored") || h.w.leaf("loaded/192.0.2.1:443") != h.w.leaf("stored/fullchain.pem") {
			t.Error("what another host does not serve had this one put back")
		}
		h.w.wantTidy(t)
	})
	t.Run("it refuses it", func(t *testing.T) {
		t.Parallel()
		h := newHosts(t, "a", "b")
		h.alsoHere("exit 1")
		a := h.act(remediate.Request{})
		wantOutcome(t, a, certmedic.OutcomePutBack, "local (", "a, b was left alone")
		h.want(map[string]string{"a": "old", "b": "old"})
		if !h.w.installed(t, "old") || h.log("a") != "" {
			t.Errorf("on a there ran %q", h.log("a"))
		}
	})
	t.Run("certmedic ends meanwhile", func(t *testing.T) {
		t.Parallel()
		h := newHosts(t, "a")
		h.alsoHere("while test -e stall; do sleep 0.05; done")
		h.w.write(t, "stall", "")
		r, stop := h.w.running(t, h.options)
		r.Want(shop, drift())
		await(t, "this host is at work", func() bool { return len(h.w.log(t)) > 0 })
		stop()
		if err := os.Remove(h.w.path("stall")); err != nil {
			t.Fatal(err)
		}
		r, stop = h.w.running(t, h.options)
		r.Want(shop, drift())
		await(t, "every host has it", func() bool {
			return h.holds("a") == "stored" && h.w.serves(t, "stored") && h.w.ended(t)[0].Outcome.Kind == certmedic.OutcomeHealed
		})
		stop()
		if !h.w.installed(t, "stored") {
			t.Error("the files of this host are not the new ones")
		}
		h.tidy()
		h.w.wantTidy(t)
	})
}

// TestSeveralDestinationsOfAHost holds that what a host has of a certificate is one: where one destination
// refuses it, the others of that host are put back, too.
func TestSeveralDestinationsOfAHost(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a")
	second := h.destination("a")
	second.Name, second.Test = "mail", []string{"/bin/sh", "-c", "exit 3"}
	for i := range second.Files {
		second.Files[i].To += ".mail"
	}
	h.w.cert.Destinations = append(h.w.cert.Destinations, second)
	a := h.act(remediate.Request{})
	wantOutcome(t, a, certmedic.OutcomePutBack, "exit code 3")
	h.want(map[string]string{"a": "old put_back"})
	if _, err := os.Stat(second.Files[0].To); !os.IsNotExist(err) {
		t.Errorf("a file that was not there is: %v", err)
	}
	h.tidy()
}

// TestRollbackElsewhere holds that an older version gets to the hosts in the same way, and that a loan
// stands also where one of them could not be reached.
func TestRollbackElsewhere(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b")
	h.w.cert.Allow = append(h.w.cert.Allow, certmedic.ActionRollback)
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed)
	h.w.bring(t, "old", "kept/1")
	h.w.bad(t, "stored")
	h.w.change = func(s *remediate.Sight) { h.see(s); h.w.judge(s) }
	h.set(h.down, "b", true)
	a := h.act(remediate.Request{Kind: certmedic.ActionRollback})
	wantOutcome(t, a, certmedic.OutcomeUnverified, "1 of 2 hosts are done", "b (", "could not be reached")
	h.want(map[string]string{"a": "old done", "b": "stored unreachable"})
	if l, stands, err := (loans{h.w}).Loan(shop); err != nil || !stands || l.Version != a.Version {
		t.Errorf("the loan is %+v, stands %v, %v", l, stands, err)
	}
	h.set(h.down, "b", false)
	wantOutcome(t, h.act(remediate.Request{Kind: certmedic.ActionRollback}), certmedic.OutcomeHealed, "1 of 1 hosts are done")
	h.want(map[string]string{"a": "old done", "b": "old done"})
	h.tidy()
}

// TestReloadElsewhere holds that a reload reaches the host that serves another version than its files
// hold, alone, and installs nothing.
func TestReloadElsewhere(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b")
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed)
	before := h.inode("b")
	h.w.write(t, "hosts/b/loaded", h.w.read(t, "old/fullchain.pem"))
	wantOutcome(t, h.act(remediate.Request{Kind: certmedic.ActionReload}), certmedic.OutcomeHealed, "1 of 1 hosts are done")
	if h.inode("b") != before || h.log("a") != "test reload" || h.log("b") != "test reload test reload" {
		t.Errorf("on a there ran %q, on b %q", h.log("a"), h.log("b"))
	}
	h.want(map[string]string{"a": "stored done", "b": "stored done"})
}

// TestLowerTokenIsRefused holds that a certmedic that another one took over from changes nothing on any
// host, not even on one that it did not know of.
func TestLowerTokenIsRefused(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b")
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed)
	h.token, h.lowest = 6, 0
	a := h.act(remediate.Request{Force: true})
	wantOutcome(t, a, certmedic.OutcomeFailed, "seen a higher token")
	if a.Outcome.Reason != "fenced" || h.log("a") != "test reload" || h.log("b") != "test reload" {
		t.Errorf("reason %q; %q, %q", a.Outcome.Reason, h.log("a"), h.log("b"))
	}
}

// TestRolloutPlan holds what people are shown: which hosts, which files and commands, and only those
// that would be touched.
func TestRolloutPlan(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b")
	j, err := h.w.journal()
	if err != nil {
		t.Fatal(err)
	}
	r := h.w.remediator(j, h.options)
	plan := func() (hosts []string, hash string) {
		p, _, err := r.Plan(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy, ByHand: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Files) > 0 || len(p.Elsewhere[0].Files) != 2 || len(p.Elsewhere[0].Commands) != 2 || p.Elsewhere[0].Files[0].SHA256 == "" {
			t.Errorf("the plan is %+v", p)
		}
		return p.Hosts, p.Hash
	}
	hosts, hash := plan()
	if !slices.Equal(hosts, []string{"a", "b"}) {
		t.Errorf("the plan is for %q", hosts)
	}
	h.w.write(t, "hosts/a/loaded", h.w.read(t, "stored/fullchain.pem"))
	hosts, other := plan()
	if !slices.Equal(hosts, []string{"b"}) || other == hash {
		t.Errorf("once a serves it the plan is for %q, and its hash is another one: %v", hosts, other != hash)
	}
}

// TestRehearsalElsewhere holds that a rehearsal runs the commands on every host, and installs nothing.
func TestRehearsalElsewhere(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, refuse string
		want          certmedic.OutcomeKind
	}{
		{"every host takes it", "", certmedic.OutcomeRehearsed},
		{"one refuses its configuration", "b", certmedic.OutcomeFailed},
	} {
		h := newHosts(t, "a", "b")
		if row.refuse != "" {
			h.w.write(t, "hosts/"+row.refuse+"/refuse", "")
		}
		j, err := h.w.journal()
		if err != nil {
			t.Fatal(err)
		}
		r := h.w.remediator(j, func(o *remediate.Options) { h.options(o); o.Rehearsals = j })
		for _, part := range []string{"cert", "chain", "fullchain", "privkey"} {
			h.w.write(t, "stored/"+part+".pem", h.w.read(t, "old/"+part+".pem"))
		}
		a, err := r.Rehearse(t.Context(), remediate.RehearsalRequest{Certificate: shop, Kind: certmedic.RehearseHooks, ByHand: true})
		if err != nil {
			t.Fatal(err)
		}
		if a.Outcome.Kind != row.want || !strings.HasPrefix(h.log("a"), "test reload") {
			t.Errorf("%s: %+v, on a there ran %q", row.about, a.Outcome, h.log("a"))
		}
	}
}

// ended returns the actions that did something and have ended, newest first.
func (w *world) ended(t *testing.T) []certmedic.Action {
	t.Helper()
	return slices.DeleteFunc(w.actions(t), func(a certmedic.Action) bool { return !guard.Acted(a) })
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
