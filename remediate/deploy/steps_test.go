package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/deploy/haproxy"
	"github.com/certmedic/certmedic/remediate/deploy/signal"
)

func TestPhases(t *testing.T) {
	v := newVersion(t)
	mail := []string{"postmap", "-F", "hash:/etc/postfix/sni"}
	three := []certmedic.Destination{
		{Name: "a", Prepare: [][]string{mail, {"second"}}, Test: []string{"t", "a"}, Reload: []string{"r"}, Alive: []string{"alive"}, AliveFor: time.Second},
		{Name: "b", Prepare: [][]string{mail}, Signal: certmedic.Signal{PIDFile: "/run/b.pid", Name: "USR1"}},
		{
			Name: "c", HAProxy: certmedic.HAProxy{Sockets: []string{"/run/c.sock"}, Certificate: "/c.pem"}, Reload: []string{"r"},
			Alive: []string{"alive"}, AliveFor: time.Minute,
			Files: []certmedic.InstalledFile{{From: certmedic.PartPrivkey, To: "/c.pem.key"}, {From: certmedic.PartFullchain, To: "/c.pem"}, {From: certmedic.PartChain, To: "/chain.pem"}},
		},
	}
	plan, err := deploy.Steps(three, v.Stored, []string{"X=1"}, true)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range plan.Commands {
		got = append(got, c.Name+": "+strings.Join(c.Argv, " "))
		if len(c.Env) != 1 || c.Own != (len(c.Request) > 0) {
			t.Errorf("command %+v", c)
		}
	}
	want := []string{
		"a: prepare: postmap -F hash:/etc/postfix/sni", "a: prepare: second", "b: prepare: postmap -F hash:/etc/postfix/sni",
		"a: test: t a", "a: reload: r", "b: reload: certmedic step signal", "c: reload: certmedic step haproxy", "a: alive: alive",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("commands %q, want %q", got, want)
	}
	var kill signal.Request
	var load haproxy.Request
	if err := json.Unmarshal(plan.Commands[5].Request, &kill); err != nil || kill != (signal.Request{PIDFile: "/run/b.pid", Signal: "USR1"}) {
		t.Errorf("the signal is %+v, %v", kill, err)
	}
	if err := json.Unmarshal(plan.Commands[6].Request, &load); err != nil || !slices.Equal(load.Sockets, []string{"/run/c.sock"}) || load.Certificate != "/c.pem" || !slices.Equal(load.Files, []string{"/c.pem", "/c.pem.key"}) {
		t.Errorf("what is loaded is %+v, %v", load, err)
	}
	if other := plan.Commands[6].Otherwise; !slices.Equal(other, []string{"r"}) {
		t.Errorf("where the socket refuses, %q is run", other)
	}
	if alive := plan.Commands[7]; alive.For != time.Minute {
		t.Errorf("alive is asked for %s, want the longest that is configured", alive.For)
	}
	if len(slices.Compact(slices.Sorted(slices.Values(plan.Locks)))) != 4 {
		t.Errorf("locks %q, want one for each way to reload, and one for the socket", plan.Locks)
	}
}

// TestServices shows that every known service is complete, and that nothing is restarted that
// may not be.
func TestServices(t *testing.T) {
	for _, name := range []string{"nginx", "apache", "haproxy", "postfix", "dovecot"} {
		s, ok := deploy.ServiceNamed(name)
		if !ok || s.Unit == "" || len(s.Test) == 0 || len(s.Reload) == 0 || len(s.Alive) == 0 || strings.Contains(strings.Join(s.Reload, " "), "restart") {
			t.Errorf("%s is %+v", name, s)
		}
	}
	if _, ok := deploy.ServiceNamed("sendmail"); ok {
		t.Error("a service that nobody knows is known")
	}
	if s := deploy.Unit("x.service", true); !slices.Equal(s.Reload, []string{"systemctl", "reload-or-restart", "x.service"}) {
		t.Errorf("a unit that may be restarted is %+v", s)
	}
}

// TestProgramsOfPrepareAreChecked shows that what others may write is not run before the test.
func TestProgramsOfPrepareAreChecked(t *testing.T) {
	v := newVersion(t)
	path := script(t, "#!/bin/sh\n")
	d := certmedic.Destination{Name: "d", Prepare: [][]string{{"true"}, {path}}}
	if _, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Errorf("error %v", err)
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := deploy.Steps([]certmedic.Destination{swapped(filepath.Join(open))}, v.Stored, nil, false); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Errorf("a link in a folder that others may write: %v", err)
	}
}
