package remediate_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/remote"
	"github.com/certmedic/certmedic/remediate/remote/session"
)

// plan asks what a rule's wish would do now.
func (h *hosts) plan(kind certmedic.ActionKind) (deploy.Plan, guard.Decision) {
	h.t.Helper()
	j, err := h.w.journal()
	if err != nil {
		h.t.Fatal(err)
	}
	p, d, err := h.w.remediator(j, h.options).Plan(h.t.Context(), remediate.Request{Certificate: shop, Kind: kind})
	if err != nil {
		h.t.Fatal(err)
	}
	return p, d
}

// later moves what was tried on the hosts into the past.
func (h *hosts) later() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.known {
		h.known[i].Tried = h.known[i].Tried.Add(-time.Hour)
	}
}

// TestWhatTheFirstRefuses holds that the hosts behind one that refused a version do not get it by the
// next attempt either, until that one takes it.
func TestWhatTheFirstRefuses(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b", "c")
	h.w.write(t, "hosts/a/refuse", "")
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomePutBack)
	if p, d := h.plan(certmedic.ActionRedeploy); d.Reason != guard.Backoff {
		t.Errorf("right after a host refused it: %+v, for %q", d, p.Hosts)
	}
	h.later()
	if p, d := h.plan(certmedic.ActionRedeploy); !d.Allowed() || !slices.Equal(p.Hosts, []string{"a"}) {
		t.Errorf("later: %+v, for %q", d, p.Hosts)
	}
	h.mu.Lock()
	h.known[0].Attempts = guard.MaxAttempts
	h.mu.Unlock()
	if p, d := h.plan(certmedic.ActionRedeploy); d.Reason != guard.Exhausted {
		t.Errorf("when that one was given up: %+v, for %q", d, p.Hosts)
	}
	h.w.cert.Destinations[0].Test = h.w.cert.Destinations[1].Test
	if p, d := h.plan(certmedic.ActionRedeploy); !d.Allowed() || len(p.Hosts) != 3 {
		t.Errorf("once the configuration is another one: %+v, for %q", d, p.Hosts)
	}
}

// TestToleratedRefusal holds that a host which refuses a version, as may be, holds nobody up who gets it
// later.
func TestToleratedRefusal(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b", "c")
	for i := range h.w.cert.Destinations {
		h.w.cert.Destinations[i].Rollout.Tolerated = 50
	}
	h.w.write(t, "hosts/b/refuse", "")
	h.set(h.down, "c", true)
	h.act(remediate.Request{})
	h.want(map[string]string{"a": "stored done", "b": "old put_back", "c": "old unreachable"})
	h.set(h.down, "c", false)
	h.later()
	if p, d := h.plan(certmedic.ActionRedeploy); !d.Allowed() || !slices.Equal(p.Hosts, []string{"b", "c"}) {
		t.Errorf("when both are due: %+v, for %q", d, p.Hosts)
	}
}

// TestAnotherVersionIsAnotherCure holds that a host which was given up for one version gets the next
// one.
func TestAnotherVersionIsAnotherCure(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a")
	h.w.write(t, "hosts/a/refuse", "")
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomePutBack)
	h.mu.Lock()
	h.known[0].Attempts, h.known[0].Want = guard.MaxAttempts, h.w.leaf("old/cert.pem")
	h.mu.Unlock()
	if _, d := h.plan(certmedic.ActionRedeploy); !d.Allowed() {
		t.Errorf("given up for another version: %+v", d)
	}
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomePutBack)
	if h.known[0].Attempts != 1 {
		t.Errorf("the first attempt with this version is counted as the %dth", h.known[0].Attempts)
	}
}

// begin deploys the stored version to the first host, and leaves it open there, as a connection does that
// is lost.
func (h *hosts) begin() {
	h.t.Helper()
	s, err := h.dial(h.t.Context(), h.names[0])
	if err != nil {
		h.t.Fatal(err)
	}
	defer s.Close()
	order := remote.Order{Certificate: shop, Version: h.w.leaf("stored/cert.pem"), Token: 7, Destination: h.w.cert.Destinations[0]}
	for _, f := range order.Destination.Files {
		order.Files = append(order.Files, remote.File{InstalledFile: f, Data: h.w.bytes("stored/" + string(f.From) + ".pem")})
	}
	if d := remote.Deploy(h.t.Context(), s, order); d.Outcome.Reason != remote.ReasonInstalled {
		h.t.Fatal(d.Outcome)
	}
}

// TestOpenDeploymentIsEnded holds that what was begun on a host and not ended, because the connection was
// lost, is ended also where the host serves the version already.
func TestOpenDeploymentIsEnded(t *testing.T) {
	t.Parallel()
	for _, state := range []certmedic.NodeState{certmedic.NodeUnreachable, certmedic.NodeRunning} {
		h := newHosts(t, "a")
		h.begin()
		h.known = []certmedic.NodeStatus{{
			Destination: "web-a", Node: "a", State: state, Want: h.w.leaf("stored/cert.pem"), Token: 7, Attempts: 1, Tried: time.Now().Add(-time.Hour),
		}}
		wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed, "1 of 1 hosts are done")
		h.want(map[string]string{"a": "stored done"})
		h.tidy()
	}
}

// TestReloadOfWhatIsOpen holds that a reload which went on with what was open on a host ends that, too.
func TestReloadOfWhatIsOpen(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a")
	h.w.write(t, "hosts/a/deaf", "")
	h.begin()
	wantOutcome(t, h.act(remediate.Request{Kind: certmedic.ActionReload}), certmedic.OutcomePutBack, "the old files are back")
	h.want(map[string]string{"a": "old put_back"})
	h.tidy()
}

// TestHostIsTakenOut ends certmedic in the middle of a roll-out, and takes the host that is at work out of
// the configuration: what was begun there is put back, and nothing else is claimed.
func TestHostIsTakenOut(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about string
		take  func(h *hosts)
	}{
		{"the host", func(h *hosts) {
			h.w.cert.Destinations, h.w.cert.Nodes = slices.Delete(h.w.cert.Destinations, 1, 2), slices.Delete(h.w.cert.Nodes, 1, 2)
		}},
		{"every host", func(h *hosts) { h.w.cert.Destinations, h.w.cert.Nodes = nil, nil }},
		{"the certificate", func(h *hosts) { h.w.cert.Name = "other" }},
	} {
		t.Run(row.about, func(t *testing.T) {
			t.Parallel()
			h := newHosts(t, "a", "b", "c")
			h.w.write(t, "hosts/b/stall", "")
			r, stop := h.w.running(t, h.options)
			r.Want(shop, drift())
			await(t, "the second host is at work", func() bool { return strings.HasSuffix(h.log("b"), "reload") })
			stop()
			if err := os.Remove(h.w.path("hosts/b/stall")); err != nil {
				t.Fatal(err)
			}
			row.take(h)
			_, stop = h.w.running(t, h.options)
			await(t, "the action is ended", func() bool { return len(h.w.ended(t)) == 1 })
			stop()
			a := h.w.ended(t)[0]
			wantOutcome(t, a, certmedic.OutcomeUnverified, "b (", "put back")
			if h.w.read(t, "hosts/b/fullchain.pem") != h.w.read(t, "old/fullchain.pem") || h.holds("a") != "stored" || h.holds("c") != "old" {
				t.Errorf("the hosts hold %s, %s, %s", h.holds("a"), h.holds("b"), h.holds("c"))
			}
			for _, n := range append(a.Nodes, h.known...) {
				if n.State == certmedic.NodeRunning {
					t.Errorf("still said to be at work: %+v", n)
				}
			}
			h.tidy()
		})
	}
}

// TestStaleIsNotDone holds that a host which was done, serves another version again, and was left alone
// because another one refused it, is not counted among those that are done.
func TestStaleIsNotDone(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b")
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed)
	for _, name := range h.names {
		h.w.write(t, "hosts/"+name+"/loaded", h.w.read(t, "old/fullchain.pem"))
	}
	h.w.write(t, "hosts/a/refuse", "")
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomePutBack, "0 of 2 hosts are done", "b (it serves another version again) was left alone")
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[1].State != certmedic.NodeWaiting {
		t.Errorf("the one that was left alone is %s", h.known[1].State)
	}
}

// TestNoHostToTouch holds that nothing is begun where every host serves the version, and what serves
// another one is none of them.
func TestNoHostToTouch(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a")
	h.w.change = func(s *remediate.Sight) {
		h.see(s)
		s.Addresses = append(s.Addresses, remediate.Served{Address: "balancer:443", Bound: true, Leaf: h.w.leaf("old/cert.pem")})
	}
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeUnverified, "1 of 1 hosts are done")
	if _, d := h.plan(certmedic.ActionRedeploy); d.Reason != guard.NothingToRun || !strings.Contains(d.Detail, "no host") {
		t.Errorf("%+v", d)
	}
}

// TestGivenOnce holds that what is no host is given a version one time, whichever hosts get it too, and
// also where certmedic ended in between.
func TestGivenOnce(t *testing.T) {
	t.Parallel()
	t.Run("this host alone is behind", func(t *testing.T) {
		t.Parallel()
		h := newHosts(t, "a")
		h.alsoHere("")
		h.w.write(t, "hosts/a/loaded", h.w.read(t, "stored/fullchain.pem"))
		change := h.w.withPushes(t)
		h.w.actAs(t, remediate.Request{}, func(o *remediate.Options) { h.options(o); change(o) })
		if log := strings.Join(h.w.log(t), " "); log != "test reload alive api program" {
			t.Errorf("there ran %q", log)
		}
	})
	t.Run("certmedic ends after it", func(t *testing.T) {
		t.Parallel()
		h := newHosts(t, "a")
		change := h.w.withPushes(t)
		both := func(o *remediate.Options) { h.options(o); change(o) }
		a := h.w.actAs(t, remediate.Request{}, both)
		wantOutcome(t, a, certmedic.OutcomeHealed)
		a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeRunning}
		j, err := h.w.journal()
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Record(a); err != nil {
			t.Fatal(err)
		}
		h.w.actAs(t, remediate.Request{}, both)
		wantOutcome(t, h.w.actions(t)[1], certmedic.OutcomeHealed)
		if log := strings.Join(h.w.log(t), " "); log != "api program" {
			t.Errorf("there ran %q", log)
		}
	})
}

// TestThisHostWithoutTheLease holds that what was begun on this host is ended after a restart also where
// another member acts by now, which ends only what is on other hosts.
func TestThisHostWithoutTheLease(t *testing.T) {
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
	_, stop = h.w.running(t, func(o *remediate.Options) {
		h.options(o)
		o.Confirm = func(context.Context, string) (uint64, error) { return 0, errors.New("another member acts") }
	})
	await(t, "the action is ended", func() bool { return len(h.w.ended(t)) == 1 })
	stop()
	wantOutcome(t, h.w.ended(t)[0], certmedic.OutcomeUnverified, "another member acts")
	if !h.w.installed(t, "old") {
		t.Error("the files of this host are left half done")
	}
	h.w.wantTidy(t)
}

// TestLoanOfSome holds that a rollback stands which some hosts took: else the next redeploy would bring
// them the version that was left.
func TestLoanOfSome(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b")
	h.w.cert.Allow = append(h.w.cert.Allow, certmedic.ActionRollback)
	wantOutcome(t, h.act(remediate.Request{}), certmedic.OutcomeHealed)
	h.w.bring(t, "old", "kept/1")
	h.w.bad(t, "stored")
	h.w.change = func(s *remediate.Sight) { h.see(s); h.w.judge(s) }
	h.w.write(t, "hosts/b/refuse", "")
	a := h.act(remediate.Request{Kind: certmedic.ActionRollback})
	wantOutcome(t, a, certmedic.OutcomeUnverified, "1 of 2 hosts are done", "b (", "did not take it")
	h.want(map[string]string{"a": "old done", "b": "stored put_back"})
	if l, stands, err := (loans{h.w}).Loan(shop); err != nil || !stands || l.Version != a.Version {
		t.Errorf("the loan is %+v, stands %v, %v", l, stands, err)
	}
}

// TestManyDoNotAnswer holds that hosts which do not answer are not waited for one after the other.
func TestManyDoNotAnswer(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a", "b", "c", "d", "e")
	for _, name := range h.names[:4] {
		h.down[name] = true
	}
	var mu sync.Mutex
	begun, together := 0, make(chan struct{})
	a := h.w.actAs(t, remediate.Request{}, func(o *remediate.Options) {
		h.options(o)
		o.Dial = func(ctx context.Context, node string) (*session.Session, error) {
			mu.Lock()
			if begun++; begun == 5 {
				close(together)
			}
			first := begun == 1
			mu.Unlock()
			if !first {
				select {
				case <-together:
				case <-time.After(10 * time.Second):
					t.Errorf("while %s does not answer nobody else is asked", node)
				}
			}
			return h.dial(ctx, node)
		}
	})
	wantOutcome(t, a, certmedic.OutcomeUnverified, "1 of 5 hosts are done", "could not be reached")
	h.want(map[string]string{"a": "old unreachable", "b": "old unreachable", "d": "old unreachable", "e": "stored done"})
	for _, n := range h.known {
		if n.State == certmedic.NodeUnreachable && n.Attempts != 1 {
			t.Errorf("%s was tried %d times", n.Node, n.Attempts)
		}
	}
}

// TestNobodyGivesUpWhatIsOpen holds that a host on which something is open is tried however often that
// was in vain: it would stay half done.
func TestNobodyGivesUpWhatIsOpen(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "a")
	p, _ := h.plan(certmedic.ActionRedeploy)
	h.known = []certmedic.NodeStatus{{
		Destination: "web-a", Node: "a", State: certmedic.NodeRunning, Want: p.Version, Basis: p.Basis, Attempts: guard.MaxAttempts, Tried: time.Now().Add(-time.Hour),
	}}
	if _, d := h.plan(certmedic.ActionRedeploy); !d.Allowed() {
		t.Errorf("%+v", d)
	}
}
