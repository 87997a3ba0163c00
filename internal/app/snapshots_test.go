package app_test

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
)

// allow opts in to redeployments.
func (s *site) allow(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(s.path("certmedic.yml"))
	if err != nil {
		t.Fatal(err)
	}
	allowed := strings.Replace(string(text), "    deploy:", "    remediation: {mode: approve, allow: [redeploy]}\n    deploy:", 1)
	s.write(t, "certmedic.yml", "remediation: {mode: approve}\n"+allowed)
}

// kept returns how many good versions of shop are kept.
func (d *daemon) kept(t *testing.T) int {
	t.Helper()
	all, err := d.client.Snapshots(t.Context(), "shop")
	if err != nil {
		t.Error(err)
	}
	return len(all)
}

func TestGoodVersionsAreKeptUntilTheirKeyIsDenied(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.allow(t)
	d := s.start(t)
	waitFor(t, "the first version to be kept", func() bool { return d.kept(t) == 1 })
	s.renew(t)
	if err := s.node.Reload(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the second version to be kept", func() bool { return d.kept(t) == 2 })
	all, err := d.client.Snapshots(t.Context(), "shop")
	if err != nil || all[0].Broken != "" || len(all[0].Verified) != 1 || all[0].Files != nil {
		t.Fatalf("%+v %v", all, err)
	}
	if _, err := d.client.Snapshots(t.Context(), "nobody"); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("a certificate that is not there: %v", err)
	}

	look, err := d.client.Deny(t.Context(), api.DenyRequest{Key: "shop", DryRun: true})
	if err != nil || look.Known || len(look.Kept) != 1 || len(look.Stored) != 1 || len(look.Served) != 1 || d.kept(t) != 2 {
		t.Errorf("a dry run: %+v %v", look, err)
	}
	if _, err := d.client.Deny(t.Context(), api.DenyRequest{Key: "shop", Expect: certmedic.Fingerprint(strings.Repeat("0", 64))}); err == nil {
		t.Error("another key was denied than the one that was shown")
	}
	done, err := d.client.Deny(t.Context(), api.DenyRequest{Key: "shop", By: "ann", Why: "stolen"})
	if err != nil || done.Known || len(done.Kept) != 1 || done.Entry.Certificate != "shop" || done.Entry.SPKI != look.Entry.SPKI {
		t.Errorf("%+v %v", done, err)
	}
	if d.kept(t) != 1 {
		t.Errorf("%d versions are kept", d.kept(t))
	}
	waitFor(t, "the rule", func() bool {
		open, err := d.client.Incidents(t.Context(), "shop", 10)
		return err == nil && len(open) > 0 && open[0].Rule == "key-denied-in-use"
	})
	act := api.ActionRequest{Certificate: "shop", Action: certmedic.ActionRedeploy, Force: true}
	if answer, err := d.client.Act(t.Context(), act); err != nil || answer.Action.Outcome.Reason != "key_denied" {
		t.Errorf("a denied key by hand and force: %+v %v", answer.Action, err)
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	s.testDenied(t, done.Entry.SPKI)
}

// testDenied shows what is left of a denial without a daemon.
func (s *site) testDenied(t *testing.T, spki certmedic.Fingerprint) {
	t.Helper()
	c, _, err := app.Load(s.path("certmedic.yml"))
	if err != nil {
		t.Fatal(err)
	}
	offline, err := app.OpenOffline(c, true, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer offline.Close()
	again, err := offline.Deny(t.Context(), api.DenyRequest{Key: "shop", By: "bob"})
	if err != nil || !again.Known || again.Entry.SPKI != spki || strings.Contains(again.Entry.By, "ann") {
		t.Errorf("denied once more: %+v %v", again, err)
	}
	if all, err := offline.Denied(); err != nil || len(all) != 1 || all[0].Why != "stolen" {
		t.Errorf("the list: %+v %v", all, err)
	}
	if all, err := offline.Snapshots("shop"); err != nil || len(all) != 1 {
		t.Errorf("kept: %+v %v", all, err)
	}
	if _, err := offline.Deny(t.Context(), api.DenyRequest{Key: "nobody"}); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("neither a certificate nor a key: %v", err)
	}
}

func TestNothingIsKeptWithoutOptIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.start(t)
	waitFor(t, "the first look", d.served(t))
	if d.kept(t) != 0 {
		t.Error("a copy of a key was made that nobody asked for")
	}
	if _, err := os.Stat(s.path("state/snapshots")); err == nil {
		t.Error("there is a folder for copies that nobody asked for")
	}
}

// A list that cannot be read stops nobody from watching, and denies every key.
func TestABrokenDenyListDeniesEverything(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := os.Mkdir(s.path("state"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "state/denied-keys.json", "[{")
	d := s.start(t)
	status, err := api.NewClient(s.path("state")).Status(t.Context())
	if err != nil || !slices.ContainsFunc(status.Degraded, func(why string) bool { return strings.Contains(why, "denied keys") }) {
		t.Errorf("degraded %q, %v", status.Degraded, err)
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
}
