package renew_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/acme"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/renew"
	"github.com/certmedic/certmedic/remediate/renew/native"
)

const (
	firstCA  = "https://ca.test/dir"
	secondCA = "https://other.test/dir"
	staging  = "https://staging.test/dir"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func stored() certmedic.Stored {
	return certmedic.Stored{
		Chain: []certmedic.CertFacts{{SHA256: "a1", SPKISHA256: "k1", NotBefore: noon.AddDate(0, -2, 0), NotAfter: noon.AddDate(0, 1, 0), DNSNames: []string{"shop.test"}}},
		Names: []string{"shop.test", "www.shop.test"}, Files: certmedic.StoredFiles{Cert: "/s/cert.pem", Privkey: "/s/privkey.pem"},
	}
}

// way is one that has everything; changes make it another.
func way(changes ...func(*renew.ACME)) renew.ACME {
	order := func(directory, work string) acme.Request {
		return acme.Request{
			Directory: directory, Account: acme.Account{Email: "ops@shop.test"}, KeyType: "ec256", Work: work,
			Challenge: acme.Challenge{HTTP01: &acme.HTTP01{Webroot: "/var/www"}}, Profile: "tlsserver",
		}
	}
	a := renew.ACME{
		Self: "/usr/bin/certmedic", First: renew.CA{Order: order(firstCA, "/w/1"), Staging: staging}, After: 3,
		Next: &renew.CA{Order: order(secondCA, "/w/2")}, Store: native.Store{Folder: "/s"},
		Last:   native.Issuance{Version: "a1", Directory: firstCA, Account: "ops@shop.test"},
		Window: renew.Window{Version: "a1", Start: noon.Add(-time.Hour), End: noon.Add(time.Hour)},
	}
	for _, change := range changes {
		change(&a)
	}
	return a
}

func TestOrder(t *testing.T) {
	t.Parallel()
	names := []string{"shop.test", "www.shop.test"}
	for _, tt := range []struct {
		about  string
		way    renew.ACME
		failed int
		at     time.Time
		want   renew.Order
	}{
		{"within the window, by the account that ordered the stored version", way(), 0, noon, renew.Order{firstCA, "ops@shop.test", names, true}},
		{"after the window it counts", way(), 0, noon.Add(time.Hour), renew.Order{firstCA, "ops@shop.test", names, false}},
		{"before it, too", way(), 0, noon.Add(-2 * time.Hour), renew.Order{firstCA, "ops@shop.test", names, false}},
		{"a window of another version is none", way(func(a *renew.ACME) { a.Window.Version = "b2" }), 0, noon, renew.Order{firstCA, "ops@shop.test", names, false}},
		{"another account ordered it", way(func(a *renew.ACME) { a.Last.Account = "dev@shop.test" }), 0, noon, renew.Order{firstCA, "ops@shop.test", names, false}},
		{"certbot ordered it", way(func(a *renew.ACME) { a.Last = native.Issuance{} }), 0, noon, renew.Order{firstCA, "ops@shop.test", names, false}},
		{"certbot ordered it by the account that was imported", way(func(a *renew.ACME) {
			a.Last, a.ByAccount, a.First.Order.Account = native.Issuance{}, "0123", acme.Account{Import: "/etc/letsencrypt/accounts/x/0123"}
		}), 0, noon, renew.Order{firstCA, "0123", names, true}},
		{"two failures are the first CA's", way(), 2, noon, renew.Order{firstCA, "ops@shop.test", names, true}},
		{"three are the turn of the second, which did not issue the stored version", way(), 3, noon, renew.Order{secondCA, "ops@shop.test", names, false}},
		{"six the first one's again", way(), 6, noon, renew.Order{firstCA, "ops@shop.test", names, true}},
		{"without a second there is no turn", way(func(a *renew.ACME) { a.Next = nil }), 3, noon, renew.Order{firstCA, "ops@shop.test", names, true}},
		{"the configured names come first", way(func(a *renew.ACME) { a.Names = []string{"new.test"} }), 0, noon, renew.Order{firstCA, "ops@shop.test", []string{"new.test"}, true}},
	} {
		got := tt.way.Order(renew.Case{Stored: stored(), Failed: tt.failed, Now: tt.at})
		if got.Directory != tt.want.Directory || got.Account != tt.want.Account || !slices.Equal(got.Names, tt.want.Names) || got.ARI != tt.want.ARI {
			t.Errorf("%s: %+v, want %+v", tt.about, got, tt.want)
		}
	}
}

// asked returns what a command of certmedic's own is asked for.
func asked(t *testing.T, c deploy.Command) native.Request {
	t.Helper()
	var r native.Request
	if err := json.Unmarshal(c.Request, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func phases(p deploy.Plan) (all []deploy.Phase) {
	for _, c := range p.Commands {
		all = append(all, c.Phase)
	}
	return all
}

func TestPlanACME(t *testing.T) {
	t.Parallel()
	plan, err := renew.PlanACME(way(), renew.Case{Stored: stored(), Now: noon, Environ: []string{"A=b"}})
	if err != nil || !slices.Equal(phases(plan), []deploy.Phase{deploy.PhaseRenew}) {
		t.Fatalf("%+v, %v", plan, err)
	}
	c := plan.Commands[0]
	r := asked(t, c)
	if !slices.Equal(c.Argv, []string{"/usr/bin/certmedic", "step", "acme"}) || r.Order.Replaces != "/s/cert.pem" || r.Order.ReuseKey != "" || r.Proof || r.Store.Folder != "/s" {
		t.Errorf("%q is asked for %+v", c.Argv, r)
	}
	for _, part := range []string{firstCA, "shop.test, www.shop.test", "ops@shop.test", "/var/www", "ec256", "ARI"} {
		if notes := strings.Join(plan.Notes, "\n"); !strings.Contains(notes, part) {
			t.Errorf("the notes do not say %q:\n%s", part, notes)
		}
	}

	plan, err = renew.PlanACME(way(), renew.Case{Stored: stored(), Now: noon, Failed: 1, Prove: true})
	if err != nil || !slices.Equal(phases(plan), []deploy.Phase{deploy.PhaseProof, deploy.PhaseRenew}) {
		t.Fatalf("after a failure: %+v, %v", plan, err)
	}
	if r := asked(t, plan.Commands[0]); !r.Proof || r.Order.Directory != staging || r.Order.Replaces != "" || r.Order.Profile != "" || r.Order.Work == "/w/1" {
		t.Errorf("the proof asks for %+v", r)
	}
	for about, c := range map[string]renew.Case{
		"a proof would not show why it failed": {Stored: stored(), Now: noon, Failed: 1},
		"little of the stored version is left": {Stored: stored(), Now: noon.AddDate(0, 0, 21), Failed: 1, Prove: true},
		"the stored version has expired":       {Stored: stored(), Now: noon.AddDate(0, 2, 0), Failed: 1, Prove: true},
	} {
		if plan, err := renew.PlanACME(way(), c); err != nil || !slices.Equal(phases(plan), []deploy.Phase{deploy.PhaseRenew}) {
			t.Errorf("%s: %v, %v", about, phases(plan), err)
		}
	}
	plan, err = renew.PlanACME(way(), renew.Case{Stored: stored(), Now: noon, Failed: 3, Prove: true})
	if err != nil || !slices.Equal(phases(plan), []deploy.Phase{deploy.PhaseRenew}) || asked(t, plan.Commands[0]).Order.Directory != secondCA {
		t.Errorf("the second CA has no staging directory: %+v, %v", plan, err)
	}
	if _, err := renew.PlanACME(way(), renew.Case{Now: noon}); !errors.Is(err, renew.ErrNoWay) {
		t.Errorf("without names: %v", err)
	}
	again, err := renew.PlanACME(way(func(a *renew.ACME) { a.Denied = []certmedic.Fingerprint{"k9"} }), renew.Case{Stored: stored(), Now: noon.Add(9 * time.Hour)})
	first, _ := renew.PlanACME(way(), renew.Case{Stored: stored(), Now: noon})
	if err != nil || again.Basis != first.Basis {
		t.Errorf("the same cure has the basis %s and then %s, %v", first.Basis, again.Basis, err)
	}
}

func TestHooksStandAroundARenewal(t *testing.T) {
	t.Parallel()
	hook := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(hook, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	hooked := way(func(a *renew.ACME) { a.PreHook, a.PostHook = []string{hook, "stop"}, []string{hook, "start"} })
	plan, err := renew.PlanACME(hooked, renew.Case{Stored: stored(), Now: noon, Failed: 1, Prove: true})
	if err != nil || !slices.Equal(phases(plan), []deploy.Phase{deploy.PhasePre, deploy.PhaseProof, deploy.PhaseRenew, deploy.PhasePost}) {
		t.Errorf("%v, %v", phases(plan), err)
	}
	if plan, err = renew.PlanRehearsal(hooked, renew.Case{Stored: stored(), Now: noon}, false); err != nil || !slices.Equal(phases(plan), []deploy.Phase{deploy.PhaseProof}) {
		t.Errorf("a rehearsal without hooks: %v, %v", phases(plan), err)
	}
	if plan, err = renew.PlanRehearsal(hooked, renew.Case{Stored: stored(), Now: noon}, true); err != nil || len(plan.Commands) != 3 {
		t.Errorf("a rehearsal with hooks: %v, %v", phases(plan), err)
	}
	if _, err = renew.PlanRehearsal(way(), renew.Case{Stored: stored(), Now: noon, Failed: 3}, true); !errors.Is(err, renew.ErrNoRehearsal) {
		t.Errorf("a rehearsal at a CA without a staging directory: %v", err)
	}
	if err := os.Chmod(hook, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := renew.PlanACME(hooked, renew.Case{Stored: stored(), Now: noon}); err == nil || !strings.Contains(err.Error(), "may be written by others") {
		t.Errorf("a hook that others may write: %v", err)
	}
}

func TestADeniedKeyIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		denied []certmedic.Fingerprint
		want   string
	}{
		{"the stored key is used again", nil, "/s/privkey.pem"},
		{"unless it is denied", []certmedic.Fingerprint{"k1"}, ""},
	} {
		plan, err := renew.PlanACME(way(func(a *renew.ACME) { a.ReuseKey, a.Denied = true, tt.denied }), renew.Case{Stored: stored(), Now: noon})
		if err != nil {
			t.Fatal(err)
		}
		if r := asked(t, plan.Commands[0]); r.Order.ReuseKey != tt.want || !slices.Equal(r.Order.Denied, tt.denied) {
			t.Errorf("%s: %+v", tt.about, r.Order)
		}
	}
}

func TestExplainACME(t *testing.T) {
	t.Parallel()
	run := certmedic.Run{Name: "acme renew", Result: certmedic.RunExited, ExitCode: 1, Stdout: "order placed\n\n" +
		`certmedic-result: {"directory":"https://ca.test/dir","account":"x","kind":"challenge_failed","failed":["shop.test"],"lines":["challenge_failed: x"]}` + "\n"}
	got := renew.Explain(run)
	if got.Reason != renew.ChallengeFailed || !slices.Equal(got.Failed, []string{"shop.test"}) || !slices.Equal(got.Lines, []string{"challenge_failed: x"}) {
		t.Errorf("%+v", got)
	}
	run.Stdout = "urn:ietf:params:acme:error:rateLimited, retry after 2099-01-01 00:00:00 UTC\n"
	if got := renew.Explain(run); got.Reason != renew.Unknown || !got.Until.IsZero() {
		t.Errorf("what was not its result counts: %+v", got)
	}
}
