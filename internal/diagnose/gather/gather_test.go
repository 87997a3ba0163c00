package gather

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
	"github.com/certmedic/certmedic/probe/host/reach"
	"github.com/certmedic/certmedic/probe/inspect"
)

// house is a tree with the lineage shop, renewed once, that an endpoint serves the first or the
// second version of.
type house struct {
	*testing.T
	tree     *disktest.Tree
	versions []disktest.Version
}

func newHouse(t *testing.T) house {
	tree := disktest.New(t)
	h := house{t, tree, []disktest.Version{tree.Issue("shop", []string{"shop.test"}, disktest.Options{})}}
	h.versions = append(h.versions, tree.Renew("shop"))
	return h
}

func (h house) source() certmedic.Source { return h.tree.Source("shop") }

// question asks about the lineage; it is served as the version of that number at an address.
func (h house) question(number int) Question {
	e := certmedic.Endpoint{Address: "192.0.2.1:443", Protocol: "tls", ServerName: "shop.test"}
	a := certmedic.AddressObservation{
		Address: "192.0.2.1:443", ServerName: "shop.test", Protocol: "tls", Stage: certmedic.ProbeDone,
		Chain: []certmedic.CertFacts{inspect.Facts(h.versions[number-1].Leaf)},
	}
	return Question{
		Certificate:  certmedic.Certificate{Name: "shop", Source: h.source(), Endpoints: []certmedic.Endpoint{e}},
		Observations: []certmedic.Observation{{Endpoint: e, Time: time.Now(), Addresses: []certmedic.AddressObservation{a}}},
	}
}

func (h house) write(path, text string) string {
	h.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
	return path
}

// footprint is everything about a tree that a look could change.
func (h house) footprint() string {
	var b strings.Builder
	err := filepath.Walk(h.source().ConfigDir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return b.String()
}

func TestGatherChangesNothing(t *testing.T) {
	h := newHouse(t)
	h.tree.SetHook("10-web", "#!/bin/sh\nsystemctl reload nginx\n")
	before := h.footprint()
	c := Gather(t.Context(), Means{}, h.question(1))
	if after := h.footprint(); after != before {
		t.Errorf("the tree was\n%s\nand is\n%s", before, after)
	}
	if len(c.Versions) != 2 || c.Versions[1].Number != 2 || c.Subject != "shop" || c.Due.IsZero() || c.Conf == nil {
		t.Errorf("it saw %+v", c)
	}
	if len(c.Hooks) != 1 || c.Hooks[0].Kind != "deploy" || len(c.Hooks[0].Script.Reloads) != 1 {
		t.Errorf("it saw the hooks %+v", c.Hooks)
	}
	if r := diagnose.Decide(c); r.Cause == certmedic.CauseNone || r.ExitCode() == 0 {
		t.Errorf("an old version is served, and it says %s", r.Cause)
	}
}

func TestGatherFindsTheHookThatIsPassedOver(t *testing.T) {
	h := newHouse(t)
	path := h.tree.SetHook("10-web", "#!/bin/sh\nsystemctl reload nginx\n")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	r := diagnose.Decide(Gather(t.Context(), Means{}, h.question(1)))
	if r.Cause != certmedic.CauseHookSkipped || r.Evidence[0].Source != path || !strings.Contains(r.Fix, "chmod 0755 "+path) {
		t.Errorf("%s: %+v, %s", r.Cause, r.Evidence, r.Fix)
	}
}

func TestGatherReadsTheLog(t *testing.T) {
	h := newHouse(t)
	h.tree.SetHook("10-web", "#!/bin/sh\nexit 3\n")
	now := time.Now().Format("2006-01-02 15:04:05")
	conf, err := disk.ReadRenewalConf(h.tree.Conf("shop"))
	if err != nil {
		t.Fatal(err)
	}
	h.write(filepath.Join(conf.LogsDir, "letsencrypt.log"), strings.NewReplacer("NOW", now, "LIVE", filepath.Dir(h.tree.Live("shop", "cert"))).Replace(`NOW,001:DEBUG:certbot._internal.main:certbot version: 2.1.0
NOW,001:DEBUG:certbot._internal.main:Arguments: ['-q']
NOW,001:INFO:certbot.compat.misc:Running deploy-hook command: HOOK
NOW,001:WARNING:certbot.display.ops:Hook 'deploy-hook' reported error code 3
NOW,001:DEBUG:certbot._internal.display.obj:Notifying user: Congratulations, all renewals succeeded: 
NOW,001:DEBUG:certbot._internal.display.obj:Notifying user:   LIVE/fullchain.pem (success)
NOW,001:DEBUG:certbot._internal.renewal:no renewal failures
`))
	r := diagnose.Decide(Gather(t.Context(), Means{}, h.question(1)))
	if r.Cause != certmedic.CauseHookFailed || !strings.HasSuffix(r.Evidence[0].Source, "letsencrypt.log:4") {
		t.Errorf("%s: %+v", r.Cause, r.Evidence)
	}
}

func TestGatherSeesTheOtherLineage(t *testing.T) {
	h := newHouse(t)
	other := h.tree.Issue("shop-0001", []string{"shop.test"}, disktest.Options{})
	h.tree.Issue("blog", []string{"blog.test"}, disktest.Options{})
	h.versions = append(h.versions, other)
	c := Gather(t.Context(), Means{}, h.question(3))
	if len(c.Others) != 1 || c.Others[0].Name != "shop-0001" {
		t.Fatalf("the others are %+v", c.Others)
	}
	if r := diagnose.Decide(c); r.Cause != certmedic.CauseDuplicateLineage {
		t.Errorf("%s", r.Cause)
	}
}

func TestTheNetworkIsAskedOnlyForARenewal(t *testing.T) {
	h := newHouse(t)
	asked := []reach.Question{}
	m := Means{Reach: func(_ context.Context, q reach.Question) reach.Answers {
		asked = append(asked, q)
		return reach.Answers{All: []reach.Answer{{Name: "shop.test", Cause: certmedic.CauseCAAForbids, Evidence: certmedic.Evidence{Source: "DNS", Line: "no"}}}}
	}}
	Gather(t.Context(), m, h.question(2))
	Gather(t.Context(), m, h.question(1))
	if len(asked) > 0 {
		t.Errorf("it was asked though the renewal is fine: %+v", asked)
	}
	if err := os.Remove(h.tree.Live("shop", "privkey")); err != nil {
		t.Fatal(err)
	}
	c := Gather(t.Context(), m, h.question(2))
	if len(asked) != 1 || !slices.Equal(asked[0].Names, []string{"shop.test"}) || len(c.Reach.All) != 1 {
		t.Errorf("for a broken lineage it was asked %+v", asked)
	}
	if c := Gather(t.Context(), Means{}, h.question(2)); !slices.ContainsFunc(c.Unseen, func(u diagnose.Unseen) bool { return u.Part == diagnose.PartReach }) {
		t.Errorf("offline, it is not told what was not seen: %+v", c.Unseen)
	}
}

func TestLeads(t *testing.T) {
	h := newHouse(t)
	h.tree.Issue("shop-0001", []string{"shop.test"}, disktest.Options{})
	h.tree.Issue("blog", []string{"blog.test"}, disktest.Options{})
	dir := t.TempDir()
	copied := func(name, from string) string {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		return h.write(filepath.Join(dir, name), string(data))
	}
	linked := filepath.Join(dir, "linked.pem")
	if err := os.Symlink(h.tree.Live("shop", "fullchain"), linked); err != nil {
		t.Fatal(err)
	}
	l := &look{question: h.question(1)}
	l.c.Now = time.Now()
	l.source()
	for _, row := range []struct {
		about, path string
		want        diagnose.Lead
	}{
		{"the lineage's link", h.tree.Live("shop", "fullchain"), diagnose.LeadOwn},
		{"a link to it", linked, diagnose.LeadOwn},
		{"a numbered file", h.tree.Archive("shop", "fullchain", 1), diagnose.LeadPinned},
		{"another lineage", h.tree.Live("shop-0001", "fullchain"), diagnose.LeadOther},
		{"a copy", copied("copy.pem", h.tree.Archive("shop", "fullchain", 1)), diagnose.LeadCopy},
		{"another certificate", copied("blog.pem", h.tree.Live("blog", "fullchain")), diagnose.LeadForeign},
		{"nothing", filepath.Join(dir, "none.pem"), diagnose.LeadMissing},
	} {
		l.c.Used = nil
		l.use(diagnose.Used{Path: row.path, By: "nginx", Address: "192.0.2.1:443"})
		if len(l.c.Used) != 1 || l.c.Used[0].Lead != row.want {
			t.Errorf("%s: %+v, want %s", row.about, l.c.Used, row.want)
		}
	}
}

// BenchmarkGather looks at one of 500 lineages. Diagnose has to answer within 2 s.
func BenchmarkGather(b *testing.B) {
	tree := disktest.New(b)
	for i := range 500 {
		name := fmt.Sprintf("site%03d.test", i)
		tree.Issue(name, []string{name}, disktest.Options{})
		tree.Renew(name)
	}
	q := Question{Certificate: certmedic.Certificate{Name: "x", Source: tree.Source("site042.test")}, Observations: []certmedic.Observation{}}
	for b.Loop() {
		start := time.Now()
		c := Gather(b.Context(), Means{}, q)
		diagnose.Decide(c)
		if took := time.Since(start); took > ceiling {
			b.Errorf("it took %v: %+v", took, c.Unseen)
		}
	}
}

// TestWhoeverAnswersNowAndThenIsSeen asks a server of which every other answer comes from a process that was left behind.
func TestWhoeverAnswersNowAndThenIsSeen(t *testing.T) {
	asked := 0
	c := Gather(t.Context(), Means{Proc: t.TempDir(), Probe: func(_ context.Context, e certmedic.Endpoint) certmedic.Observation {
		asked++
		leaf := certmedic.CertFacts{SHA256: []certmedic.Fingerprint{"new", "old"}[asked%2]}
		return certmedic.Observation{Endpoint: e, Addresses: []certmedic.AddressObservation{{Address: "192.0.2.1:443", Chain: []certmedic.CertFacts{leaf}}}}
	}}, Question{Subject: "shop", Certificate: certmedic.Certificate{Name: "shop", Endpoints: []certmedic.Endpoint{{Address: "shop.test:443"}}}})
	if len(c.Observations) != 1 || len(c.Observations[0].Addresses) != 2 || asked != 3 {
		t.Errorf("asked %d times, saw %+v", asked, c.Observations)
	}
}
