package rollback_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/rollback"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// version is a good version that was issued so many days ago, for 90 days.
func version(name string, age int) rollback.Candidate {
	begin := now.Add(-time.Duration(age) * day)
	return rollback.Candidate{Origin: rollback.FromArchive, Stored: certmedic.Stored{Chain: []certmedic.CertFacts{{
		SHA256: certmedic.Fingerprint(name), SPKISHA256: certmedic.Fingerprint("key of " + name),
		NotBefore: begin, NotAfter: begin.Add(90 * day), DNSNames: []string{"shop.test", "*.shop.test"}, IPAddresses: []string{"192.0.2.1"},
	}}}}
}

// with returns the candidate with one change.
func with(c rollback.Candidate, change func(c *rollback.Candidate, leaf *certmedic.CertFacts)) rollback.Candidate {
	change(&c, &c.Stored.Chain[0])
	return c
}

func found(code certmedic.FindingCode) func(*rollback.Candidate, *certmedic.CertFacts) {
	return func(c *rollback.Candidate, _ *certmedic.CertFacts) {
		c.Problems = []certmedic.Finding{certmedic.NewFinding(code, "because")}
	}
}

func ends(in time.Duration) func(*rollback.Candidate, *certmedic.CertFacts) {
	return func(_ *rollback.Candidate, leaf *certmedic.CertFacts) { leaf.NotAfter = now.Add(in) }
}

func named(names ...string) func(*rollback.Candidate, *certmedic.CertFacts) {
	return func(_ *rollback.Candidate, leaf *certmedic.CertFacts) { leaf.DNSNames = names }
}

// TestRollbackTable is the table of what is chosen and what is refused. Each row changes the
// one candidate "b", which would be good otherwise, or the need.
func TestRollbackTable(t *testing.T) {
	for _, tt := range []struct {
		about  string
		change func(c *rollback.Candidate, leaf *certmedic.CertFacts)
		need   func(n *rollback.Need)
		reason rollback.Reason // empty: it is chosen
	}{
		{"a good older version is chosen", nil, nil, ""},
		{"an expired one is not", ends(-time.Minute), nil, rollback.Expired},
		{"an expired one is not, however dire it is", ends(-time.Minute), dire, rollback.Expired},
		{"one that ends within a day is not", ends(23 * time.Hour), nil, rollback.EndsSoon},
		{"one that ends in a day is", ends(day), nil, ""},
		{"where what is served is invalid, two hours are better than nothing", ends(2 * time.Hour), dire, ""},
		{"less than an hour is nothing", ends(59 * time.Minute), dire, rollback.EndsSoon},
		{"one that is not valid yet is not", func(_ *rollback.Candidate, leaf *certmedic.CertFacts) { leaf.NotBefore = now.Add(time.Second) }, nil, rollback.NotYetValid},
		{"its chain may end first", func(c *rollback.Candidate, _ *certmedic.CertFacts) { c.ChainEnds = now.Add(time.Hour) }, nil, rollback.EndsSoon},
		{"a chain that has ended is of no use", func(c *rollback.Candidate, _ *certmedic.CertFacts) { c.ChainEnds = now.Add(-time.Hour) }, dire, rollback.Expired},
		{"a revoked one is not", found(certmedic.Revoked), nil, rollback.Revoked},
		{"a revoked one is not, however dire it is", found(certmedic.Revoked), dire, rollback.Revoked},
		{"one that its CA recalls is not", func(c *rollback.Candidate, _ *certmedic.CertFacts) { c.Recalled = "there is a page" }, dire, rollback.Recalled},
		{"one that lacks a name is not", named("shop.test"), nil, rollback.NotCovering},
		{"one that the endpoints' names do not match is not", found(certmedic.NameMismatch), nil, rollback.NotCovering},
		{"a wildcard stands for one label", named("shop.test", "*.test"), needs("shop.test", "a.test"), ""},
		{"a wildcard does not stand for two labels", named("*.test"), needs("a.shop.test"), rollback.NotCovering},
		{"a wildcard does not stand for its parent", named("*.shop.test"), needs("shop.test"), rollback.NotCovering},
		{"a wildcard that is needed has to be there", named("shop.test", "a.shop.test"), needs("*.shop.test"), rollback.NotCovering},
		{"a wildcard is for itself", nil, needs("*.shop.test"), ""},
		{"case and a dot at the end say nothing", named("Shop.Test"), needs("shop.TEST."), ""},
		{"an address has to be there as one", named("shop.test", "192.0.2.2"), needs("192.0.2.2"), rollback.NotCovering},
		{"an address may be written otherwise", nil, needs("::ffff:192.0.2.1"), ""},
		{"one with a denied key is not", func(c *rollback.Candidate, _ *certmedic.CertFacts) { c.Denied = true }, dire, rollback.DeniedKey},
		{"one with another one's key is not", found(certmedic.KeyMismatch), nil, rollback.WrongKey},
		{"one whose chain is incomplete is not", found(certmedic.IncompleteChain), nil, rollback.BrokenChain},
		{"one that ends at a root that is not trusted is not", found(certmedic.Untrusted), dire, rollback.BrokenChain},
		{"one that is for no server is not", found(certmedic.WrongUsage), nil, rollback.BrokenChain},
		{"one that cannot be read is not", func(c *rollback.Candidate, _ *certmedic.CertFacts) { c.Broken = "torn" }, nil, rollback.Broken},
		{"one without a certificate is not", func(c *rollback.Candidate, _ *certmedic.CertFacts) { c.Stored.Chain = nil }, nil, rollback.Broken},
		{"who cannot be asked about blocks while the present state is better", unknown, nil, rollback.RevocationUnknown},
		{"who cannot be asked about does not block where nothing is worse", unknown, dire, ""},
		{"the bad version itself is never chosen", nil, func(n *rollback.Need) { n.Bad = "b" }, rollback.TheBadOne},
		{"nor is what the rollback that stands has left", nil, func(n *rollback.Need) { n.Left = "b" }, rollback.TheBadOne},
		{"the bad version is not chosen by hand either", nil, func(n *rollback.Need) { n.Bad, n.Wanted, n.Dire = "b", "b", true }, rollback.TheBadOne},
		{"by hand another one was asked for", nil, func(n *rollback.Need) { n.Wanted = "c" }, rollback.NotWanted},
		{"what was asked for by hand has to be good all the same", ends(-time.Minute), func(n *rollback.Need) { n.Wanted = "b" }, rollback.Expired},
	} {
		t.Run(tt.about, func(t *testing.T) {
			c := version("b", 30)
			if tt.change != nil {
				tt.change(&c, &c.Stored.Chain[0])
			}
			n := rollback.Need{Now: now, Names: []string{"shop.test", "www.shop.test", "192.0.2.1"}, Bad: "bad"}
			if tt.need != nil {
				tt.need(&n)
			}
			best, rejected, ok := rollback.Choose(n, []rollback.Candidate{c})
			if tt.reason == "" {
				if leaf, _ := best.Leaf(); !ok || leaf.SHA256 != "b" || len(rejected) > 0 {
					t.Errorf("not chosen: %v", rejected)
				}
				return
			}
			if ok || len(rejected) != 1 || rejected[0].Reason != tt.reason {
				t.Fatalf("chosen %t, rejected %v, want %s", ok, rejected, tt.reason)
			}
			if rejected[0].Detail == "" || !slices.Contains(rollback.Reasons(), tt.reason) || !strings.Contains(rejected[0].String(), string(tt.reason)) {
				t.Errorf("it does not say why: %q", rejected[0])
			}
		})
	}
}

func dire(n *rollback.Need) { n.Dire = true }

func needs(names ...string) func(*rollback.Need) {
	return func(n *rollback.Need) { n.Names = names }
}

func unknown(c *rollback.Candidate, _ *certmedic.CertFacts) {
	c.Unknown = "its list could not be fetched"
}

func TestTheNewestGoodOneIsChosen(t *testing.T) {
	kept := with(version("good", 40), func(c *rollback.Candidate, _ *certmedic.CertFacts) { c.Origin = rollback.FromSnapshot })
	all := []rollback.Candidate{
		version("oldest", 60), version("good", 40), kept, version("bad", 1), with(version("revoked", 20), found(certmedic.Revoked)), version("expired", 95),
	}
	best, rejected, ok := rollback.Choose(rollback.Need{Now: now, Names: []string{"shop.test"}, Bad: "bad"}, all)
	if leaf, _ := best.Leaf(); !ok || leaf.SHA256 != "good" || best.Origin != rollback.FromSnapshot {
		t.Errorf("chosen %+v, rejected %v; want the kept copy of the newest good one", best, rejected)
	}
	var why []string
	for _, r := range rejected {
		why = append(why, string(r.Version)+" "+string(r.Reason))
	}
	if want := []string{"bad is_the_bad_one", "revoked revoked", "expired expired"}; !slices.Equal(why, want) {
		t.Errorf("rejected %q, want %q", why, want)
	}
	if _, _, ok := rollback.Choose(rollback.Need{Now: now}, nil); ok {
		t.Error("chosen where there is none")
	}
}

// TestChosenMeetsEveryRule holds for any candidates: what is chosen meets every rule, nothing
// better was passed over, and who is not chosen is told.
func TestChosenMeetsEveryRule(t *testing.T) {
	chosen := 0
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := rollback.Need{
			Now: now, Dire: r.IntN(2) == 0, Names: []string{one(r, "shop.test", "a.shop.test")},
			Bad: "v0", Wanted: certmedic.Fingerprint(one(r, "", "", "v", "v1")),
		}
		all := make([]rollback.Candidate, r.IntN(6))
		for i := range all {
			all[i] = anyCandidate(r)
		}
		best, rejected, ok := rollback.Choose(n, slices.Clone(all))
		good := slices.DeleteFunc(slices.Clone(all), func(c rollback.Candidate) bool { return !meets(n, c) })
		if ok != (len(good) > 0) || len(good)+len(rejected) != len(all) {
			t.Fatalf("seed %d: chosen %t with %d good ones of %d and %d rejected", seed, ok, len(good), len(all), len(rejected))
		}
		if !ok {
			continue
		}
		chosen++
		passedOver := slices.ContainsFunc(good, func(c rollback.Candidate) bool {
			return c.Stored.Chain[0].NotBefore.After(best.Stored.Chain[0].NotBefore)
		})
		if !meets(n, best) || passedOver {
			t.Fatalf("seed %d: %+v was chosen", seed, best)
		}
	}
	if chosen < 1000 {
		t.Errorf("one was chosen %d times, too few to prove anything", chosen)
	}
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func anyCandidate(r *rand.Rand) rollback.Candidate {
	c := version(one(r, "v0", "v1", "v2", "w"), r.IntN(97)-2)
	leaf := &c.Stored.Chain[0]
	leaf.DNSNames = one(r, []string{"shop.test"}, []string{"*.shop.test"}, []string{"shop.test", "*.shop.test"}, nil)
	leaf.NotAfter = leaf.NotAfter.Add(time.Duration(r.IntN(2100)-2000) * time.Hour)
	c.Origin = one(r, rollback.FromArchive, rollback.FromSnapshot)
	sometimes := func() bool { return r.IntN(10) == 0 }
	if sometimes() {
		c.Problems = []certmedic.Finding{certmedic.NewFinding(one(r, certmedic.FindingCodes()...), "because")}
	}
	if sometimes() {
		c.ChainEnds = now.Add(time.Duration(r.IntN(60)-30) * time.Hour)
	}
	c.Denied = sometimes()
	for _, text := range []*string{&c.Broken, &c.Unknown, &c.Recalled} {
		if sometimes() {
			*text = "because"
		}
	}
	return c
}

// meets says the rules once more, in the plainest words.
func meets(n rollback.Need, c rollback.Candidate) bool {
	leaf := c.Stored.Chain[0]
	end := leaf.NotAfter
	if !c.ChainEnds.IsZero() && c.ChainEnds.Before(end) {
		end = c.ChainEnds
	}
	least := 24 * time.Hour
	if n.Dire {
		least = time.Hour
	}
	covered := slices.Contains(leaf.DNSNames, n.Names[0]) || n.Names[0] == "a.shop.test" && slices.Contains(leaf.DNSNames, "*.shop.test")
	return leaf.SHA256 != n.Bad && (n.Left == "" || leaf.SHA256 != n.Left) && strings.HasPrefix(string(leaf.SHA256), string(n.Wanted)) && c.Broken == "" && !c.Denied &&
		c.Recalled == "" && (c.Unknown == "" || n.Dire) && len(c.Problems) == 0 && !leaf.NotBefore.After(now) && end.Sub(now) >= least && covered
}

func TestDeadline(t *testing.T) {
	for _, tt := range []struct {
		about      string
		life, left time.Duration
		want       time.Duration // from now
	}{
		{"a day before a usual one ends", 90 * day, 20 * day, 19 * day},
		{"no longer than thirty days", 90 * day, 80 * day, 30 * day},
		{"a tenth of its lifetime before a short one ends", 6 * day, 3 * day, 3*day - 6*day/10},
		{"half of what is left, where that is less", 90 * day, 30 * time.Hour, 15 * time.Hour},
		{"at least an hour before the end", 5 * time.Hour, 4 * time.Hour, 3 * time.Hour},
		{"an hour before the end, where two are left", 90 * day, 2 * time.Hour, time.Hour},
		{"what ends within the hour is overdue at once", 90 * day, 50 * time.Minute, -10 * time.Minute},
	} {
		leaf := certmedic.CertFacts{NotBefore: now.Add(tt.left - tt.life), NotAfter: now.Add(tt.left)}
		until := rollback.Deadline(leaf, now)
		if got := until.Sub(now); got != tt.want {
			t.Errorf("%s: %s from now, want %s", tt.about, got, tt.want)
		}
		loan := rollback.Loan{Until: until}
		if loan.Left(now) != tt.want || loan.Overdue(now) != (tt.want <= 0) || !loan.Overdue(until) {
			t.Errorf("%s: left %s, overdue %t", tt.about, loan.Left(now), loan.Overdue(now))
		}
	}
}
