package remediate_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
)

// TestAliveForAWhile shows that a service which dies a moment after its reload is noticed, and
// that the journal has one run of the command that was asked again and again.
func TestAliveForAWhile(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, alive string
		want         certmedic.OutcomeKind
		most         int // of the runs of alive
	}{
		{"it lives on", "", certmedic.OutcomeHealed, 21},
		{"it dies soon", "[ $(grep -c alive log) -lt 3 ]\n", certmedic.OutcomePutBack, 4},
	} {
		t.Run(row.about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withSteps(t, "", loadInstalled(), row.alive+"r=$?; [ -e back ] && exit 0; [ $r = 0 ] || touch back; exit $r")
			w.cert.Destinations[0].AliveFor = 1200 * time.Millisecond
			a := w.act(t, remediate.Request{})
			wantOutcome(t, a, row.want)
			asked, journaled := 0, 0
			for _, word := range w.log(t) {
				if word == "alive" {
					asked++
				}
			}
			for _, r := range a.Runs {
				if r.Name == "web: alive" {
					journaled++
				}
			}
			if row.want == certmedic.OutcomeHealed && (asked < 3 || asked > 4) || journaled != 1 {
				t.Errorf("alive was asked %d times, and the journal has it %d times", asked, journaled)
			}
			w.wantTidy(t)
		})
	}
}

// TestPrepareIsUndone shows that a map which was made of the new files is made again of the old
// ones, also where nothing had loaded it yet.
func TestPrepareIsUndone(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, test, prepare string
		want                 certmedic.OutcomeKind
		log                  []string
	}{
		{"all goes well", "", "", certmedic.OutcomeHealed, []string{"prepare", "test", "reload", "alive"}},
		{"the test fails", "exit 1", "", certmedic.OutcomePutBack, []string{"prepare", "test", "prepare"}},
		{"the map cannot be made", "", "[ $(grep -c prepare log) -gt 1 ]", certmedic.OutcomePutBack, []string{"prepare", "prepare"}},
	} {
		w := newWorld(t)
		w.withSteps(t, row.test, loadInstalled(), "")
		w.cert.Destinations[0].Prepare = [][]string{{w.script(t, "bin/prepare", "echo prepare >> log; cp installed/privkey.pem map\n"+row.prepare)}}
		a := w.act(t, remediate.Request{})
		wantOutcome(t, a, row.want)
		if log := w.log(t); !slices.Equal(log, row.log) {
			t.Errorf("%s: %q ran, want %q", row.about, log, row.log)
		}
		if w.read(t, "map") != w.read(t, "installed/privkey.pem") {
			t.Errorf("%s: the map is not made of what is installed", row.about)
		}
	}
}

// TestOtherwise shows that a reload stands in for a socket that refuses, and that both are in
// the journal.
func TestOtherwise(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, self string
		runs        []string
	}{
		{"the socket takes it", "echo step $2 >> log; [ -f \"$3\" ] || exit 1\n" + loadInstalled(), []string{"web: test", "web: reload", "web: alive"}},
		{"the socket refuses", "echo step $2 >> log; exit 1", []string{"web: test", "web: reload", "web: reload (otherwise)", "web: alive"}},
	} {
		w := newWorld(t)
		w.withSteps(t, "", loadInstalled(), "")
		d := &w.cert.Destinations[0]
		d.HAProxy = certmedic.HAProxy{Sockets: []string{"/run/haproxy.sock"}, Certificate: d.Files[0].To}
		self := w.script(t, "bin/certmedic", row.self)
		j, err := w.journal()
		if err != nil {
			t.Fatal(err)
		}
		r := w.remediator(j, func(o *remediate.Options) { o.Self = self })
		a, err := r.Act(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy})
		if err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, a, certmedic.OutcomeHealed)
		var names []string
		for _, run := range a.Runs {
			names = append(names, run.Name)
		}
		if !slices.Equal(names, row.runs) || !strings.Contains(w.read(t, "log"), "step haproxy") {
			t.Errorf("%s: the runs are %q, want %q; log %q", row.about, names, row.runs, w.log(t))
		}
		w.wantTidy(t)
	}
}
