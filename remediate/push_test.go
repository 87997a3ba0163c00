package remediate_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// cdn is an address behind which something else than a host serves.
const cdn = "192.0.2.9:443"

// pushing plays the steps that give a version away: it has the addresses of a destination present it,
// unless a file "refuse" names the step.
const pushing = `echo "$2" >>log
grep -q '"token":' "$3" || exit 9
file=$(sed -n 's/.*"Fullchain":"\([^"]*\)".*/\1/p' "$3")
grep -q "$2" refuse 2>/dev/null && { echo "it refuses" >&2; exit 1; }
[ "$2" = api ] && [ -e loaded/` + cdn + ` ] && cp "$file" loaded/` + cdn + `
cp "$file" "given-$2"
exit 0
`

// withPushes gives the certificate an interface and then a program, besides what it has.
func (w *world) withPushes(t *testing.T) (change func(*remediate.Options)) {
	t.Helper()
	self := w.script(t, "bin/certmedic", pushing)
	w.cert.Destinations = append(w.cert.Destinations,
		certmedic.Destination{Name: "cdn", Push: certmedic.Push{Certificate: shop, API: &certmedic.API{URL: "https://cdn.test/cert", Method: "PUT", VerifyURL: "https://cdn.test/cert"}}},
		certmedic.Destination{Name: "edge", Push: certmedic.Push{Certificate: shop, Program: &certmedic.Program{Command: []string{"true"}}}},
	)
	w.write(t, "refuse", "")
	for _, part := range []string{"cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"} {
		w.write(t, "kept/1/"+part, w.read(t, "old/"+part))
	}
	return func(o *remediate.Options) { o.Self = self }
}

// actAs asks by hand, without a daemon, with options of one's own.
func (w *world) actAs(t *testing.T, q remediate.Request, change func(*remediate.Options)) certmedic.Action {
	t.Helper()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	q.Certificate = shop
	if q.Kind == "" {
		q.Kind = certmedic.ActionRedeploy
	}
	a, err := w.remediator(j, change).Act(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestPushesComeLast shows that nothing is given away before the hosts have the version, and what is
// given back where a push does not succeed.
func TestPushesComeLast(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, test, refuse string
		want                certmedic.OutcomeKind
		log                 []string
		detail              []string
		everywhere          string // the folder whose version is everywhere afterwards
	}{
		{"all goes well", "", "", certmedic.OutcomeHealed, []string{"test", "reload", "alive", "api", "program"}, nil, "stored"},
		{"the test of the service fails", "exit 1", "", certmedic.OutcomePutBack, []string{"test"}, nil, "old"},
		{
			"the second push fails", "", "program", certmedic.OutcomeFailed,
			[]string{"test", "reload", "alive", "api", "program", "test", "reload", "alive", "api", "program"},
			[]string{`"edge: push" ended with exit code 1`, "the old files are back", `"cdn" was given `, `"edge" has the new version, or may have it: "edge: push (put back)" ended with exit code 1`},
			"old",
		},
		{
			"the second push fails once", "", "program once", certmedic.OutcomePutBack,
			[]string{"test", "reload", "alive", "api", "program", "test", "reload", "alive", "api", "program"},
			[]string{`"cdn" was given `, `"edge" was given `, "again and served as before"},
			"old",
		},
	} {
		t.Run(row.about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "192.0.2.1:443", cdn)
			w.withSteps(t, row.test, "cp installed/fullchain.pem loaded/192.0.2.1:443\n", "")
			change := w.withPushes(t)
			if refuse, once := strings.CutSuffix(row.refuse, " once"); once {
				w.script(t, "bin/certmedic", strings.Replace(pushing, "exit 1;", "true >refuse; exit 1;", 1))
				row.refuse = refuse
			}
			w.write(t, "refuse", row.refuse)
			a := w.actAs(t, remediate.Request{}, change)
			wantOutcome(t, a, row.want, row.detail...)
			if log := w.log(t); !slices.Equal(log, row.log) {
				t.Errorf("%q ran, want %q", log, row.log)
			}
			if !w.serves(t, row.everywhere) {
				t.Errorf("what is served is not what is in %q", row.everywhere)
			}
			if !w.installed(t, row.everywhere) {
				t.Errorf("what is installed is not what is in %q", row.everywhere)
			}
			w.wantTidy(t)
		})
	}
}

// TestGivenBefore shows that what is given back is what was given last, whatever is served, and that it
// is said where nothing is known of that.
func TestGivenBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "192.0.2.1:443", "192.0.2.2:443")
	change := w.withPushes(t)
	w.cert.Destinations = w.cert.Destinations[1:] // the program alone
	w.write(t, "loaded/192.0.2.2:443", w.read(t, "stored/fullchain.pem"))
	w.write(t, "refuse", "program")
	a := w.actAs(t, remediate.Request{}, change)
	wantOutcome(t, a, certmedic.OutcomeFailed, `"edge" has the new version, or may have it: no version before is known`)

	w.write(t, "refuse", "")
	stored := map[string]string{}
	for _, part := range []string{"cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"} {
		stored[part] = w.read(t, "stored/"+part)
		w.write(t, "stored/"+part, w.read(t, "old/"+part))
	}
	wantOutcome(t, w.actAs(t, remediate.Request{Force: true}, change), certmedic.OutcomeUnverified)
	for part, data := range stored {
		w.write(t, "stored/"+part, data)
	}
	w.script(t, "bin/certmedic", strings.Replace(pushing, "exit 1;", "true >refuse; exit 1;", 1))
	w.write(t, "refuse", "program")
	old := w.leaf("old/cert.pem")
	wantOutcome(t, w.actAs(t, remediate.Request{}, change), certmedic.OutcomePutBack, fmt.Sprintf(`"edge" was given %s again`, old.Short()))
	if got := w.leaf("given-program"); got != old {
		t.Errorf("the edge has %s, want %s", got.Short(), old.Short())
	}
}

// TestProvenByWhatGotIt shows that, where nothing is bound, the word of what got the version counts, if
// it was asked.
func TestProvenByWhatGotIt(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about string
		from  int
		want  certmedic.OutcomeKind
		says  string
	}{
		{"an interface that shows what it has", 0, certmedic.OutcomeHealed, "what got the version shows it"},
		{"a program", 1, certmedic.OutcomeUnverified, "no address is bound"},
	} {
		w := newWorld(t)
		change := w.withPushes(t)
		w.cert.Destinations = w.cert.Destinations[row.from : row.from+1]
		if err := os.Remove(w.path("loaded/192.0.2.1:443")); err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, w.actAs(t, remediate.Request{Force: true}, change), row.want, row.says)
	}
}

// TestInterruptedPush shows that a deployment which certmedic's end interrupted before everything was
// given away is put back, although what is served already is the new version.
func TestInterruptedPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSteps(t, "", loadInstalled(), "")
	change := w.withPushes(t)
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	a := w.actAs(t, remediate.Request{}, change)
	wantOutcome(t, a, certmedic.OutcomeHealed)
	// As if it had ended right before the last push, with the old files at hand.
	a.Runs = a.Runs[:len(a.Runs)-1]
	a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	for i, c := range a.Changes {
		w.write(t, fmt.Sprintf("run/%s/backup/file%d", a.ID, i), w.read(t, strings.Replace(strings.TrimPrefix(c.Path, w.dir+"/"), "installed", "old", 1)))
	}
	if err := j.Record(a); err != nil {
		t.Fatal(err)
	}
	w.write(t, "log", "")
	if _, err := w.remediator(j, change).Act(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionReload}); err != nil {
		t.Fatal(err)
	}
	ended := w.actions(t)
	first := ended[len(ended)-1]
	wantOutcome(t, first, certmedic.OutcomeFailed, "the old files are back", `"cdn" has the new version, or may have it: no version before is known`)
	if !w.installed(t, "old") {
		t.Error("the old files are not back")
	}
}

// TestPushesInPlans shows how people see them, and that they are part of what is approved.
func TestPushesInPlans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	change := w.withPushes(t)
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	q := remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy, ByHand: true}
	plan, decision, err := w.remediator(j, change).Plan(t.Context(), q)
	if err != nil || !decision.Allowed() {
		t.Fatalf("%+v, %v", decision, err)
	}
	var about []string
	for _, c := range plan.Pushes {
		about = append(about, c.Name+": "+c.About)
		if c.Phase != deploy.PhasePush {
			t.Errorf("its phase is %q", c.Phase)
		}
	}
	if want := []string{"cdn: push: sends it to https://cdn.test/cert by PUT", "edge: push: gives it to true"}; !slices.Equal(about, want) {
		t.Errorf("the plan says %q, want %q", about, want)
	}
	before := plan.Hash
	w.cert.Destinations[0].Push.API.URL = "https://cdn.test/other"
	if plan, _, err = w.remediator(j, change).Plan(t.Context(), q); err != nil || plan.Hash == before {
		t.Errorf("with another address the plan has the same hash, %v", err)
	}
}

// TestPushesAfterHosts shows that nothing is given away before all hosts have the version, that the hosts
// keep it where a push does not succeed, and that a host of its own is mended without giving anything
// again.
func TestPushesAfterHosts(t *testing.T) {
	t.Parallel()
	h := newHosts(t, "web1", "web2", "web3")
	change := h.w.withPushes(t)
	h.w.write(t, "loaded/"+cdn, h.w.read(t, "old/fullchain.pem"))
	act := func() certmedic.Action {
		h.w.write(t, "log", "")
		return h.w.actAs(t, remediate.Request{}, func(o *remediate.Options) { h.options(o); change(o) })
	}
	for _, step := range []struct {
		about, refuse, host string
		want                certmedic.OutcomeKind
		says                string
		log                 []string
	}{
		{"a host refuses it", "", "refuse", certmedic.OutcomeUnverified, "did not take it", nil},
		{"the program fails", "program", "", certmedic.OutcomeFailed, `they keep the version, but "edge: push" ended with exit code 1`, []string{"api", "program"}},
		{"all goes well", "", "", certmedic.OutcomeHealed, "", []string{"api", "program"}},
		{"a host serves the old one", "", "stale", certmedic.OutcomeHealed, "", nil},
	} {
		h.w.write(t, "refuse", step.refuse)
		switch step.host {
		case "refuse":
			h.w.write(t, "hosts/web3/refuse", "")
		case "stale":
			h.w.write(t, "hosts/web3/loaded", h.w.read(t, "old/fullchain.pem"))
		default:
			h.w.write(t, "hosts/web3/loaded", h.w.read(t, "hosts/web1/loaded"))
			if err := os.RemoveAll(h.w.path("hosts/web3/refuse")); err != nil {
				t.Fatal(err)
			}
			h.w.write(t, "loaded/"+cdn, h.w.read(t, "old/fullchain.pem")) // which needs it
		}
		a := act()
		wantOutcome(t, a, step.want, step.says)
		if log := h.w.log(t); !slices.Equal(log, step.log) {
			t.Errorf("%s: %q ran, want %q", step.about, log, step.log)
		}
	}
	if !h.w.serves(t, "stored") {
		t.Error("the new version is not served behind the interface")
	}
}
