package app_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// memberOf is a member of a cluster in a folder, that looks after what the site has.
func (s *site) memberOf(t *testing.T, name, further string) *daemon {
	t.Helper()
	return s.memberWith(t, name, further, func(*app.Options) {})
}

func (s *site) memberWith(t *testing.T, name, further string, change func(*app.Options)) *daemon {
	t.Helper()
	if err := os.MkdirAll(s.path("shared"), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.path("certmedic.yml"))
	if err != nil {
		t.Fatal(err)
	}
	state := s.path("state-" + name)
	cluster := fmt.Sprintf("cluster: {member: %s, lease: 2s, dir: {path: %s}%s}\n", name, s.path("shared"), further)
	s.write(t, name+".yml", strings.Replace(string(text), "state_dir: "+s.path("state")+"\n", "state_dir: "+state+"\n"+cluster, 1))
	d := s.startWith(t, func(o *app.Options) {
		o.ConfigFile = s.path(name + ".yml")
		change(o)
	})
	d.client = api.NewClient(state)
	return d
}

// until waits for a member's status to be as it is wanted.
func (d *daemon) until(t *testing.T, what string, is func(api.Status) bool) api.Status {
	t.Helper()
	var last api.Status
	for range 600 {
		s, err := d.client.Status(t.Context())
		if err == nil && is(s) {
			return s
		}
		last = s
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("not %s: %+v, log:\n%s", what, last.Cluster, d.log)
	return last
}

func leadOf(s api.Status, name string) certmedic.Lead {
	i := slices.IndexFunc(s.Certificates, func(v watchdog.View) bool { return v.Name == name })
	if i < 0 || s.Certificates[i].Lead == nil {
		return certmedic.Lead{}
	}
	return *s.Certificates[i].Lead
}

// TestOneActs has two members in one cluster: one acts, the other one takes over when that ends, once it saw everything itself.
func TestOneActs(t *testing.T) {
	s := newSite(t)
	first := s.memberOf(t, "m1", "")
	first.until(t, "led by m1", func(s api.Status) bool { return leadOf(s, "shop").Mine })
	second := s.memberOf(t, "m2", "")
	got := second.until(t, "following", func(s api.Status) bool {
		return leadOf(s, "shop").Member == "m1" && len(s.Cluster.Members) == 2
	})
	if got.Cluster.Member != "m2" || got.Cluster.Coordinator != "dir" || got.Cluster.Speaks || got.Cluster.Lost != (time.Time{}) {
		t.Errorf("the cluster is %+v", got.Cluster)
	}
	answer, err := second.client.Act(t.Context(), api.ActionRequest{Certificate: "shop", Action: certmedic.ActionReload, Force: true})
	if err != nil || answer.Action.Outcome.Reason != "not_leader" || !strings.Contains(answer.Action.Outcome.Detail, `m1`) {
		t.Errorf("by hand, on a member that does not act: %+v, %v", answer.Action, err)
	}
	answer, err = first.client.Act(t.Context(), api.ActionRequest{Certificate: "shop", Action: certmedic.ActionReload, Force: true})
	if err != nil || answer.Action.Outcome.Kind == certmedic.OutcomeRefused || answer.Action.Member != "m1" || answer.Action.Token == 0 {
		t.Errorf("by hand, on the one that acts: %+v, %v", answer.Action, err)
	}
	before := answer.Action.Token
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	got = second.until(t, "taken over", func(s api.Status) bool { return leadOf(s, "shop").Mine && len(s.Cluster.Members) == 1 })
	if token := leadOf(got, "shop").Token; token <= before {
		t.Errorf("the token after %d is %d", before, token)
	}
}
