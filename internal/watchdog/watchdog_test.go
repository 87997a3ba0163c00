package watchdog

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

// scene is a certbot tree with one lineage, shop, the endpoints that serve it, and all that
// a watchdog says about them. Its network is a map; its disk is real. Tests run it in a
// bubble of testing/synctest, so that minutes pass at once.
type scene struct {
	t    *testing.T
	tree *disktest.Tree
	cert certmedic.Certificate
	w    *Watchdog

	mu     sync.Mutex
	serves map[string]*x509.Certificate // by endpoint "address/server name"; nil presents nothing
	took   time.Duration                // of a probe
	probes int
	wants  []remediate.Want
	news   []News
	nudges int
	memory map[string]store.Memory
	rules  map[string]rules.State
	ended  []certmedic.Incident
	healed []time.Duration
	reload bool // the next start is a reload
}

// lifetime is what is left of a version at the beginning: days, so that tests can outlive it.
const lifetime = 3 * time.Hour

func newScene(t *testing.T, endpoints ...certmedic.Endpoint) *scene {
	t.Helper()
	if len(endpoints) == 0 {
		endpoints = []certmedic.Endpoint{{Address: "192.0.2.1:443", Protocol: "tls", ServerName: "shop.test"}}
	}
	s := &scene{
		t: t, tree: disktest.New(t), serves: map[string]*x509.Certificate{},
		memory: map[string]store.Memory{}, rules: map[string]rules.State{},
	}
	v := s.tree.Issue("shop", []string{"shop.test"}, disktest.Options{NotAfter: time.Now().Add(lifetime)})
	s.cert = certmedic.Certificate{
		Name: "shop", Mode: certmedic.ModeAuto, Allow: []certmedic.ActionKind{certmedic.ActionRedeploy},
		Source: s.tree.Source("shop"), Endpoints: endpoints,
	}
	for _, ep := range endpoints {
		s.serve(ep, v.Leaf)
	}
	return s
}

func (s *scene) serve(ep certmedic.Endpoint, leaf *x509.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serves[ep.Address+"/"+ep.ServerName] = leaf
}

func (s *scene) ep(n int) certmedic.Endpoint { return s.cert.Endpoints[n] }

// start runs a watchdog on the scene, with what an earlier one kept, until stop.
func (s *scene) start(change func(*Options)) (stop func()) {
	s.t.Helper()
	shipped, err := ruleset.Load(2 * time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	var group sync.WaitGroup
	o := Options{
		Certificates: []certmedic.Certificate{s.cert}, Engine: rules.New(shipped), State: s, Count: s,
		Rules: maps.Clone(s.rules), Memory: maps.Clone(s.memory),
		Reader: disk.Reader{Keys: &disk.KeyCache{}}, Probe: s.probe, Roots: []inspect.Roots{{Name: "test", Pool: s.tree.Roots}},
		Want: s.want, Nudge: s.nudge, Tell: s.tell, Log: slog.New(slog.DiscardHandler),
	}
	o.ProbeNow = func(keys ...string) {
		for _, k := range keys {
			group.Go(func() { s.observe(ctx, k) })
		}
	}
	if change != nil {
		change(&o)
	}
	before := s.w
	s.w = New(o)
	if s.reload {
		s.w.Inherit(before)
	}
	s.w.Start(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.w.Run(ctx) // never fails
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done; group.Wait() })
	s.t.Cleanup(stop)
	return stop
}

// observe probes an endpoint as the scheduler does.
func (s *scene) observe(ctx context.Context, key string) {
	o := s.probe(ctx, s.w.Endpoints()[key])
	if ctx.Err() == nil {
		s.w.Observed(key, o)
	}
}

// round probes every endpoint once.
func (s *scene) round() {
	for _, k := range slices.Sorted(maps.Keys(s.w.Endpoints())) {
		s.observe(s.t.Context(), k)
	}
}

func (s *scene) probe(_ context.Context, ep certmedic.Endpoint) certmedic.Observation {
	s.mu.Lock()
	s.probes++
	leaf, took := s.serves[ep.Address+"/"+ep.ServerName], s.took
	s.mu.Unlock()
	time.Sleep(took)
	a := certmedic.AddressObservation{Address: ep.Address, ServerName: ep.ServerName, Protocol: ep.Protocol, Stage: certmedic.ProbeDone}
	if leaf == nil {
		a.Stage, a.Error = certmedic.ProbeConnect, &certmedic.ProbeError{Reason: certmedic.Unreachable, Detail: "connection refused"}
		a.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.Unreachable, "connection refused")}
	} else {
		a.Chain = []certmedic.CertFacts{inspect.Facts(leaf)}
		if time.Now().After(leaf.NotAfter) {
			a.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.Expired, "it ended")}
		}
	}
	return certmedic.Observation{Endpoint: ep, Time: time.Now(), Addresses: []certmedic.AddressObservation{a}}
}

func (s *scene) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *scene) want(_ string, wants []remediate.Want) {
	s.locked(func() { s.wants = slices.Clone(wants) })
}
func (s *scene) nudge(string)                 { s.locked(func() { s.nudges++ }) }
func (s *scene) tell(n News)                  { s.locked(func() { s.news = append(s.news, n) }) }
func (s *scene) Probed(certmedic.Observation) {}
func (s *scene) RuleFailed(rule string)       { s.t.Errorf("rule %q failed", rule) }
func (s *scene) Detected(time.Duration)       {}
func (s *scene) Healed(after time.Duration)   { s.locked(func() { s.healed = append(s.healed, after) }) }

func (s *scene) SaveIncident(in certmedic.Incident) error {
	s.locked(func() { s.ended = append(s.ended, in) })
	return nil
}

func (s *scene) SaveRules(all map[string]rules.State) error {
	s.locked(func() { maps.Copy(s.rules, all) })
	return nil
}

func (s *scene) SaveMemory(all map[string]store.Memory) error {
	s.locked(func() {
		for c, m := range all {
			s.memory[c] = store.Memory{Bound: maps.Clone(m.Bound), Known: maps.Clone(m.Known)}
		}
	})
	return nil
}

// told counts what was told of a kind; for incidents the transition and rule are in it.
func (s *scene) told(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, news := range s.news {
		said := string(news.Kind)
		if news.Kind == NewsIncident {
			said = fmt.Sprintf("%s %s", news.Transition.Kind, news.Transition.Incident.Rule)
		}
		if said == what {
			n++
		}
	}
	return n
}

func (s *scene) wanted() []remediate.Want {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wants)
}

// facts returns what the rules would be asked about now.
func (s *scene) facts() rules.CertificateFacts {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.entries["shop"].facts(time.Now()).Certificate
}

func (s *scene) wantDrift(want bool, undecided string) {
	s.t.Helper()
	c := s.facts()
	if c.Drift != want || !strings.Contains(c.Undecided["certificate.drift"], undecided) || undecided == "" && c.Undecided["certificate.drift"] != "" {
		s.t.Errorf("drift is %v (undecided: %q), want %v (%q)", c.Drift, c.Undecided["certificate.drift"], want, undecided)
	}
}

// seen makes the watchdog know the scene: its source was read, every endpoint probed.
func (s *scene) seen() {
	s.w.Read(s.t.Context(), "shop")
	s.round()
	synctest.Wait()
}

func run(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// TestDriftIsToldAndMended follows a renewal that is not deployed to the end of its incident.
func TestDriftIsToldAndMended(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		if v := s.w.Views()[0]; v.Stage != certmedic.StageServed || v.Status != certmedic.StatusOK {
			t.Fatalf("at the start: stage %q, status %q, %+v", v.Stage, v.Status, v.Findings)
		}
		renewed := s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(time.Second)
		if s.told("renewed") != 1 || s.told("pending renewed-not-served") != 1 || len(s.wanted()) != 0 {
			t.Errorf("within the grace: told %+v, wanted %+v", s.news, s.wants)
		}
		s.wantDrift(true, "")
		time.Sleep(1500 * time.Millisecond)
		if s.told("firing renewed-not-served") != 1 || len(s.wanted()) != 1 || s.wanted()[0].Kind != certmedic.ActionRedeploy {
			t.Fatalf("after the grace: told %+v, wanted %+v", s.news, s.wants)
		}
		v := s.w.Views()[0]
		if v.Stage != certmedic.StageStored || v.Status != certmedic.StatusWarning || v.Drift == nil || len(v.Incidents) != 1 {
			t.Errorf("while it drifts: %+v", v)
		}
		s.serve(s.ep(0), renewed.Leaf)
		s.round()
		synctest.Wait()
		if len(s.wanted()) != 0 {
			t.Errorf("still wanted although served: %+v", s.wanted())
		}
		time.Sleep(5 * time.Second)
		if s.told("resolved renewed-not-served") != 1 || s.told("deployed") != 1 || len(s.ended) != 1 || len(s.healed) != 1 {
			t.Errorf("in the end: told %+v", s.news)
		}
		time.Sleep(time.Hour)
		s.round()
		if s.told("renewed") != 1 || s.told("deployed") != 1 || s.told("firing renewed-not-served") != 1 {
			t.Errorf("told again: %+v", s.news)
		}
	})
}

func TestDriftIsUndecidedUntilEverythingWasSeen(t *testing.T) {
	run(t, func(t *testing.T) {
		a := certmedic.Endpoint{Address: "192.0.2.1:443", ServerName: "shop.test"}
		b := certmedic.Endpoint{Address: "192.0.2.2:443", ServerName: "shop.test"}
		s := newScene(t, a, b)
		old := s.serves["192.0.2.1:443/shop.test"]
		s.start(func(o *Options) { o.ProbeNow = func(...string) {} })
		s.wantDrift(false, "nothing stored")
		s.w.Read(t.Context(), "shop")
		s.wantDrift(false, "not probed yet")
		time.Sleep(time.Millisecond)
		s.observe(t.Context(), key("shop", a.Address))
		s.wantDrift(false, b.Address+" was not probed yet")
		s.observe(t.Context(), key("shop", b.Address))
		s.wantDrift(false, "")

		s.serve(b, nil)
		s.round()
		s.wantDrift(false, b.Address+" presents no certificate")

		// One address drifts: that is known, whatever the other one does.
		renewed := s.tree.Renew("shop")
		time.Sleep(time.Millisecond)
		s.w.Read(t.Context(), "shop")
		s.wantDrift(false, "since the version changed")
		time.Sleep(time.Millisecond)
		s.round()
		s.wantDrift(true, "")
		if c := s.facts(); !slices.Equal(c.Support["certificate.drift"].Members, []string{a.Address}) {
			t.Errorf("members %q", c.Support["certificate.drift"].Members)
		}
		s.serve(a, renewed.Leaf)
		s.serve(b, old)
		time.Sleep(time.Second)
		s.round()
		s.wantDrift(true, "")
		s.serve(b, nil) // what drifted and cannot be reached now is not healed
		time.Sleep(time.Second)
		s.round()
		s.wantDrift(true, "")
		if c := s.facts(); c.DriftAge != time.Second {
			t.Errorf("drift of %s, want that of the address which was lost", c.DriftAge)
		}
	})
}

// TestNothingIsConcludedFromOldObservations shows that a drift from before a deployment is
// not taken for one after it.
func TestNothingIsConcludedFromOldObservations(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(func(o *Options) { o.ProbeNow = func(...string) {} })
		s.seen()
		s.tree.Renew("shop")
		s.w.Read(t.Context(), "shop")
		time.Sleep(time.Second)
		s.round()
		s.wantDrift(true, "")
		release := s.tree.Lock()
		s.w.Read(t.Context(), "shop")
		s.wantDrift(false, "certbot is at work")
		time.Sleep(time.Second)
		release()
		s.w.Read(t.Context(), "shop")
		s.wantDrift(false, "since the version changed")
		time.Sleep(time.Second)
		s.round()
		s.wantDrift(true, "")
	})
}

// TestDatesStayDecidable shows that a certificate which nobody can reach any more still
// expires.
func TestDatesStayDecidable(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		s.serve(s.ep(0), nil)
		s.round()
		c := s.facts()
		if why, ok := c.Undecided["certificate.served_expires_in"]; ok || c.Expired {
			t.Errorf("unreachable: %q, expired %v", why, c.Expired)
		}
		v := s.w.Views()[0].Endpoints[0].Addresses[0]
		if v.LastSeen == nil || v.MatchesStored != nil {
			t.Errorf("view %+v", v)
		}
		time.Sleep(lifetime + time.Minute)
		if s.told("firing expired") != 1 || s.told("firing renewal-overdue") != 1 || s.told("firing unreachable") != 1 {
			t.Errorf("after its end: %+v", s.news)
		}
		if slices.ContainsFunc(s.wanted(), func(w remediate.Want) bool { return w.Kind == certmedic.ActionRedeploy }) {
			t.Errorf("what is stored has ended too, and is wanted to be deployed: %+v", s.wanted())
		}
		time.Sleep(5 * time.Minute)
		if !slices.ContainsFunc(s.wanted(), func(w remediate.Want) bool { return w.Rule == "expired" }) {
			t.Errorf("wanted %+v", s.wanted())
		}
	})
}

func TestDeploymentUnderWayIsNoDrift(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		hung := time.Minute // not the shipped 10, because the lock is asked five times a second
		s.start(func(o *Options) {
			adjusted, err := rules.Adjusted(o.Engine.Rules(), map[string]rules.Adjust{"hook_hung": {For: &hung}})
			if err != nil {
				t.Fatal(err)
			}
			o.Engine = rules.New(adjusted)
		})
		s.seen()
		release := s.tree.Lock()
		renewed := s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(50 * time.Second)
		v := s.w.Views()[0]
		if v.Stage != certmedic.StageDeploying || len(s.wanted()) != 0 || s.told("firing renewed-not-served") != 0 || s.told("firing hook_hung") != 0 {
			t.Errorf("while certbot works: stage %q, wanted %+v, told %+v", v.Stage, s.wanted(), s.news)
		}
		if s.told("renewed") != 1 {
			t.Errorf("the renewal was told %d times", s.told("renewed"))
		}
		time.Sleep(20 * time.Second)
		if s.told("firing hook_hung") != 1 || len(s.wanted()) != 0 {
			t.Errorf("after more than a minute: told %+v, wanted %+v", s.news, s.wanted())
		}
		// The holder is killed: nothing on disk tells.
		s.serve(s.ep(0), renewed.Leaf)
		release()
		time.Sleep(time.Second)
		if v := s.w.Views()[0]; v.Stage != certmedic.StageServed {
			t.Errorf("a second after the lock was free: stage %q", v.Stage)
		}
		if s.told("resolved hook_hung") != 1 || s.told("deployed") != 1 || s.told("firing renewed-not-served") != 0 {
			t.Errorf("in the end: %+v", s.news)
		}
	})
}

// TestGraceBeginsWithTheEndOfTheDeployment shows that a slow deployment which succeeds is no
// drift, and that one which does nothing is, once its grace is over.
func TestGraceBeginsWithTheEndOfTheDeployment(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		release := s.tree.Lock()
		s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(20 * time.Second)
		release()
		time.Sleep(1500 * time.Millisecond)
		if s.told("firing renewed-not-served") != 0 {
			t.Error("fired before the grace was over")
		}
		time.Sleep(1500 * time.Millisecond)
		if s.told("firing renewed-not-served") != 1 {
			t.Errorf("not fired after the grace: %+v", s.news)
		}
	})
}

func TestBinding(t *testing.T) {
	run(t, func(t *testing.T) {
		ours := certmedic.Endpoint{Address: "192.0.2.1:443", ServerName: "shop.test"}
		theirs := certmedic.Endpoint{Address: "192.0.2.2:443", ServerName: "shop.test"}
		declared := certmedic.Endpoint{Address: "192.0.2.3:443", ServerName: "shop.test", Owned: true}
		s := newScene(t, ours, theirs, declared)
		foreign := disktest.New(t).Issue("other", []string{"other.test"}, disktest.Options{}).Leaf
		first := s.serves["192.0.2.1:443/shop.test"]
		s.serve(theirs, foreign)
		s.serve(declared, foreign)
		stop := s.start(nil)
		s.seen()
		bound := func() map[string]bool {
			t.Helper()
			sight, err := s.w.Look(t.Context(), "shop")
			if err != nil {
				t.Fatal(err)
			}
			all := map[string]bool{}
			for _, a := range sight.Addresses {
				all[a.Address] = a.Bound
			}
			return all
		}
		want := map[string]bool{"192.0.2.1:443": true, "192.0.2.2:443": false, "192.0.2.3:443": true}
		if got := bound(); !maps.Equal(got, want) {
			t.Errorf("bound %v, want %v", got, want)
		}

		// An older version that the archive still has binds, too, and it is remembered.
		s.tree.Renew("shop")
		s.serve(theirs, first)
		time.Sleep(time.Second)
		s.seen()
		s.serve(theirs, foreign)
		s.serve(ours, foreign)
		want["192.0.2.2:443"] = true
		if got := bound(); !maps.Equal(got, want) {
			t.Errorf("after it served an older version: %v", got)
		}
		stop()
		s.start(nil)
		s.seen()
		if got := bound(); !maps.Equal(got, want) {
			t.Errorf("after a restart: %v", got)
		}
	})
}

func TestSameAddressWithTwoNames(t *testing.T) {
	run(t, func(t *testing.T) {
		a := certmedic.Endpoint{Address: "192.0.2.1:443", ServerName: "shop.test"}
		b := certmedic.Endpoint{Address: "192.0.2.1:443", ServerName: "www.shop.test"}
		s := newScene(t, a, b)
		s.start(nil)
		if n := len(s.w.Endpoints()); n != 2 {
			t.Fatalf("%d endpoints", n)
		}
		s.seen()
		renewed := s.tree.Renew("shop")
		s.serve(a, renewed.Leaf)
		s.w.Changed("shop")
		time.Sleep(time.Second)
		s.wantDrift(true, "")
		c := s.facts()
		if got := c.Support["certificate.drift"].Members; len(got) != 1 || !strings.Contains(got[0], "www.shop.test") {
			t.Errorf("members %q, want the one with the old version", got)
		}
		if v := s.w.Views()[0]; v.Stage != certmedic.StageLoaded {
			t.Errorf("stage %q, want loaded: one of two serves it", v.Stage)
		}
	})
}

// TestVanishedSource shows that a source which goes away is told and loses nothing, and that
// a new version which comes back in its place is a renewal.
func TestVanishedSource(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		live := s.tree.ConfigDir + "/live"
		if err := os.Rename(live, live+".away"); err != nil {
			t.Fatal(err)
		}
		s.w.Changed("shop")
		time.Sleep(time.Minute)
		if s.told("firing lineage-broken") != 1 || len(s.wanted()) != 0 {
			t.Errorf("told %+v, wanted %+v", s.news, s.wanted())
		}
		s.wantDrift(false, "nothing stored")
		if c := s.facts(); c.ServedExpiresIn <= 0 || c.Undecided["certificate.served_expires_in"] != "" {
			t.Errorf("what is served is not known any more: %+v", c)
		}
		if err := os.Rename(live+".away", live); err != nil {
			t.Fatal(err)
		}
		s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(time.Minute)
		if s.told("renewed") != 1 || s.told("resolved lineage-broken") != 1 || s.told("firing renewed-not-served") != 1 {
			t.Errorf("after it came back: %+v", s.news)
		}
	})
}

func TestTornPairSettlesOrIsToldOnce(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		dir := t.TempDir()
		cert, privkey := dir+"/cert.pem", dir+"/key.pem"
		copyFile(t, s.tree.Archive("shop", "fullchain", 1), cert)
		copyFile(t, s.tree.Archive("shop", "privkey", 1), privkey)
		s.cert.Source = certmedic.Source{Kind: certmedic.SourceFiles, Cert: cert, Key: privkey}
		s.start(nil)
		s.seen()
		renewed := s.tree.Renew("shop")
		s.serve(s.ep(0), renewed.Leaf)
		copyFile(t, s.tree.Archive("shop", "fullchain", 2), cert)
		s.w.Changed("shop")
		time.Sleep(time.Second)
		copyFile(t, s.tree.Archive("shop", "privkey", 2), privkey) // a second later it fits again
		time.Sleep(10 * time.Second)
		if s.told("firing key-mismatch") != 0 || s.told("renewed") != 1 || s.told("deployed") != 1 {
			t.Errorf("told %+v", s.news)
		}
		copyFile(t, s.tree.Archive("shop", "privkey", 1), privkey)
		s.w.Changed("shop")
		time.Sleep(10 * time.Second)
		if s.told("firing key-mismatch") != 1 {
			t.Errorf("told %+v", s.news)
		}
		n := 0
		for _, f := range s.w.Views()[0].Findings {
			if f.Code == certmedic.KeyMismatch {
				n++
			}
		}
		if n != 1 {
			t.Errorf("the mismatch is found %d times: %+v", n, s.w.Views()[0].Findings)
		}
		sight, err := s.w.Look(t.Context(), "shop")
		if err != nil || !certmedic.HasFinding(sight.Problems, certmedic.KeyMismatch) {
			t.Errorf("the remediator is not told: %+v, %v", sight.Problems, err)
		}
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLookIsFresh(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(func(o *Options) { o.ProbeNow = func(...string) {} })
		s.seen()
		renewed := s.tree.Renew("shop") // nobody told the watchdog
		sight, err := s.w.Look(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		leaf, _ := sight.Stored.Leaf()
		if leaf.SHA256 != renewed.Fingerprint || len(sight.Addresses) != 1 || sight.Addresses[0].Leaf == renewed.Fingerprint || sight.Addresses[0].Dire {
			t.Errorf("sight %+v", sight)
		}
		s.serve(s.ep(0), renewed.Leaf)
		if sight, err = s.w.Look(t.Context(), "shop"); err != nil || sight.Addresses[0].Leaf != renewed.Fingerprint {
			t.Errorf("sight %+v, %v", sight, err)
		}
		if _, err := s.w.Look(t.Context(), "nobody"); err == nil {
			t.Error("a certificate that is not there can be looked at")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.w.Look(ended, "shop"); err == nil {
			t.Error("a look that was cut short is taken for one")
		}
	})
}

func TestExpiringIsNotDire(t *testing.T) {
	e := newEntry(&certmedic.Certificate{Endpoints: []certmedic.Endpoint{{Address: "a:1"}}}, store.Memory{}, rules.State{})
	for code, dire := range map[certmedic.FindingCode]bool{certmedic.Expiring: false, certmedic.Expired: true} {
		o := certmedic.Observation{Endpoint: e.cert.Endpoints[0], Addresses: []certmedic.AddressObservation{{
			Address: "192.0.2.1:1", Findings: []certmedic.Finding{{Code: code, Severity: certmedic.SeverityCritical}},
		}}}
		if got := e.sight([]certmedic.Observation{o}).Addresses[0].Dire; got != dire {
			t.Errorf("%s: dire %v", code, got)
		}
	}
}

// TestIncidentsSurviveARestart shows that what fires goes on firing, is not told anew, and
// is wanted again once it was seen again.
func TestIncidentsSurviveARestart(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		stop := s.start(nil)
		s.seen()
		s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(10 * time.Second)
		if s.told("firing renewed-not-served") != 1 {
			t.Fatal("nothing fires")
		}
		stop()
		s.locked(func() { s.news, s.wants = nil, nil })
		s.start(nil)
		if v := s.w.Views()[0]; len(v.Incidents) != 1 || v.Incidents[0].State != certmedic.StateFiring {
			t.Errorf("incidents after the restart: %+v", v.Incidents)
		}
		time.Sleep(time.Second)
		s.seen()
		if s.told("firing renewed-not-served") != 0 || s.told("step renewed-not-served") != 0 || len(s.wanted()) != 1 {
			t.Errorf("told %+v, wanted %+v", s.news, s.wanted())
		}
	})
}

func TestObserveModeWantsNothing(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.cert.Mode = certmedic.ModeObserve
		s.start(nil)
		s.seen()
		s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(time.Minute)
		if s.told("firing renewed-not-served") != 1 || len(s.wanted()) != 0 {
			t.Errorf("told %+v, wanted %+v", s.news, s.wanted())
		}
	})
}

func TestReadNudgesTheRemediator(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		before := s.nudges
		s.w.Changed("shop")
		synctest.Wait()
		time.Sleep(time.Second)
		if s.nudges != before+1 {
			t.Errorf("%d nudges", s.nudges-before)
		}
		s.w.Changed("nobody") // is passed over
	})
}

// TestActionIsPartOfThePicture shows how the last action's outcome comes back as facts.
func TestActionIsPartOfThePicture(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		renewed := s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(3 * time.Second)
		s.w.Acted(certmedic.Action{
			ID: "1", Certificate: "shop", Kind: certmedic.ActionRedeploy, Version: renewed.Fingerprint,
			Outcome: certmedic.Outcome{Kind: certmedic.OutcomeFailed, Evidence: []certmedic.Evidence{{Source: "x.sh", Line: "exit code 3"}}},
			Runs:    []certmedic.Run{{Name: "x.sh", Result: certmedic.RunExited, ExitCode: 3}},
		})
		time.Sleep(time.Second)
		if c := s.facts(); c.HookExitCode != 3 || c.Remediation != "failed" || s.told("firing hook-failed") != 1 {
			t.Errorf("exit code %d, remediation %q, told %+v", c.HookExitCode, c.Remediation, s.news)
		}
		s.w.Acted(certmedic.Action{
			ID: "2", Certificate: "shop", Version: renewed.Fingerprint,
			Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: reasonExhausted, Detail: "6 attempts"},
		})
		if c := s.facts(); c.Remediation != "gave_up" || s.told("firing remediation-failed") != 1 {
			t.Errorf("remediation %q, told %+v", c.Remediation, s.news)
		}
		s.serve(s.ep(0), renewed.Leaf)
		time.Sleep(time.Second)
		s.round()
		time.Sleep(time.Minute)
		if s.told("resolved remediation-failed") != 1 {
			t.Errorf("somebody else healed it: %+v", s.news)
		}
	})
}

func TestKnownVersionsAreBounded(t *testing.T) {
	e := newEntry(&certmedic.Certificate{}, store.Memory{}, rules.State{})
	now := time.Now()
	for i := range 3 * maxKnown {
		v := certmedic.Fingerprint(fmt.Sprint("version", i))
		e.hold(certmedic.Stored{Known: []certmedic.Fingerprint{v}}, nil, now.Add(time.Duration(i)*time.Second))
	}
	if _, ok := e.memory.Known[certmedic.Fingerprint(fmt.Sprint("version", 3*maxKnown-1))]; !ok || len(e.memory.Known) > maxKnown {
		t.Errorf("%d versions are known, the newest: %v", len(e.memory.Known), ok)
	}
}
