package remediate_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/renew"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// holdLock holds a lock as a certbot does, until its input ends.
func holdLock(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return err
	}
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // its end is all that matters
	return os.Remove(path)
}

// certbotRuns has a certbot hold its lock until it is told to end.
func (w *world) certbotRuns(t *testing.T) (end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "hold", w.path(".certbot.lock"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "held\n" {
		t.Errorf("the holder said %q: %v", line, err)
	}
	return func() { _, _ = stdin.Close(), cmd.Wait() }
}

// TestTakingBackWaitsForCertbot shows that certbot is not kept from renewing by a rollback that came
// to nothing, however long it is at work itself while that is taken back.
func TestTakingBackWaitsForCertbot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "[ -e second ] || { touch second; exit 3; }\n"+loadStored())
		w.withLineage(t)
		w.write(t, "way", string(rollback.WayPinned))
		conf := w.read(t, "renewal/shop.conf")
		j, err := w.journal()
		if err != nil {
			t.Fatal(err)
		}
		const hookEnded, tries = 5, 8 // the records of a try are two
		end := func() {}
		j.after = func(n int) {
			switch n {
			case hookEnded:
				end = w.certbotRuns(t)
			case hookEnded + 2*tries:
				end()
			}
		}
		q := byHand()
		q.Certificate = shop
		a, err := w.remediator(j, nil).Act(t.Context(), q)
		end()
		if err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, a, certmedic.OutcomePutBack, "the lineage is as it was", "served as before")
		if number, highest := w.leads(); number != 2 || highest != 2 || w.read(t, "renewal/shop.conf") != conf {
			t.Errorf("the links lead to %d of %d, the configuration is\n%s", number, highest, w.read(t, "renewal/shop.conf"))
		}
		if n := len(a.Runs); n > 5 {
			t.Errorf("the journal has %d runs, each try on its own", n)
		}
		w.wantTidy(t)
	})
}

// TestAPinIsWhatTheDiskSays shows that certbot renews again in the end also where the loan knows nothing
// of a pin, as one has it that stood before a rollback which could not be taken back.
func TestAPinIsWhatTheDiskSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withHooks(t, "[ -e fail ] && rm fail && exit 3\n"+loadStored())
	w.withLineage(t)
	w.write(t, "way", string(rollback.WayPinned))
	conf := w.read(t, "renewal/shop.conf")
	wantOutcome(t, w.act(t, byHand()), certmedic.OutcomeHealed)
	l, _ := w.loan(t)
	l.Pinned = false
	if err := (loans{w}).SaveLoan(l); err != nil {
		t.Fatal(err)
	}
	w.write(t, "way", string(rollback.WayAppend))
	w.renew(t, 4)
	w.bad(t, "stored")
	w.write(t, "fail", "")
	wantOutcome(t, w.act(t, byHand()), certmedic.OutcomePutBack)
	if !strings.Contains(w.read(t, "renewal/shop.conf"), "autorenew = False") {
		t.Error("what was taken back is more than what was done")
	}
	w.renew(t, 6)
	w.untilRepaid(t)
	if aside, _ := filepath.Glob(w.path("archive/shop/*.certmedic")); w.read(t, "renewal/shop.conf") != conf || len(aside) > 0 {
		t.Errorf("%q is aside, and the configuration is\n%s", aside, w.read(t, "renewal/shop.conf"))
	}
	w.wantTidy(t)
}

// TestPinnedTwice shows that a second pin that comes to nothing leaves the first one as it was, and
// that one which is served is taken back with the first.
func TestPinnedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withHooks(t, "[ -e fail ] && rm fail && exit 3\n"+loadStored())
	w.withLineage(t)
	w.write(t, "way", string(rollback.WayPinned))
	conf := w.read(t, "renewal/shop.conf")
	wantOutcome(t, w.act(t, byHand()), certmedic.OutcomeHealed)
	first, _ := w.loan(t)

	w.renew(t, 5) // by force, and once more for a better one to roll back to
	w.renew(t, 6)
	w.bad(t, "stored")
	w.write(t, "fail", "")
	archive, pinned := w.inArchive(t), w.read(t, "renewal/shop.conf")
	wantOutcome(t, w.act(t, byHand()), certmedic.OutcomePutBack, "0.sh", "the lineage is as it was")
	if number, _ := w.leads(); number != 6 || !slices.Equal(w.inArchive(t), archive) || w.read(t, "renewal/shop.conf") != pinned {
		t.Errorf("the links lead to %d, the archive holds %q, the configuration is\n%s", number, w.inArchive(t), w.read(t, "renewal/shop.conf"))
	}
	if l, _ := w.loan(t); l != first {
		t.Errorf("the loan is %+v", l)
	}

	wantOutcome(t, w.act(t, byHand()), certmedic.OutcomeHealed)
	if number, _ := w.leads(); number != 5 {
		t.Errorf("the links lead to %d", number)
	}
	w.renew(t, 8)
	w.untilRepaid(t)
	if left := w.inArchive(t); slices.ContainsFunc(left, func(name string) bool { return strings.HasSuffix(name, ".certmedic") }) || w.read(t, "renewal/shop.conf") != conf {
		t.Errorf("the archive holds %q, the configuration is\n%s", left, w.read(t, "renewal/shop.conf"))
	}
	w.wantTidy(t)
}

func (w *world) inArchive(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(w.path("archive/shop"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestReloadsAloneGoByTheLineage shows that deploy steps which install nothing are no way to another
// version: what their services read is the lineage, which is changed before they reload.
func TestReloadsAloneGoByTheLineage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about, test string
		want        certmedic.OutcomeKind
		number      int
		log         []string
	}{
		{"it comes to be served", "", certmedic.OutcomeHealed, 3, []string{"test", "reload", "alive"}},
		{"its service refuses it", "[ -e second ] || { touch second; exit 3; }", certmedic.OutcomePutBack, 2, []string{"test", "test", "reload", "alive"}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withSteps(t, tt.test, loadStored(), "")
			w.withLineage(t)
			w.cert.Destinations[0].Files = nil
			wantOutcome(t, w.bidden(t), tt.want)
			if number, highest := w.leads(); number != tt.number || highest != tt.number || !slices.Equal(w.log(t), tt.log) {
				t.Errorf("the links lead to %d of %d, and %q was run", number, highest, w.log(t))
			}
			if l, stands := w.loan(t); stands != (tt.want == certmedic.OutcomeHealed) || stands && l.Way != rollback.WayAppend {
				t.Errorf("the loan is %+v", l)
			}
			w.wantTidy(t)
		})
	}
}

// TestWhatARollbackSwitchedOffIsRenewed shows that certbot is told to renew what the way of a rollback
// keeps it from, and not what its owner keeps it from.
func TestWhatARollbackSwitchedOffIsRenewed(t *testing.T) {
	t.Parallel()
	for about, owners := range map[string]string{"a rollback switched it off": "", "its owner did, before that": "autorenew = False\n"} {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		w.withLineage(t)
		w.write(t, "renewal/shop.conf", w.read(t, "renewal/shop.conf")+owners)
		w.write(t, "way", string(rollback.WayPinned))
		wantOutcome(t, w.act(t, byHand()), certmedic.OutcomeHealed)
		plan := w.planned(t, func(o *remediate.Options) {
			o.Renewal = func(certmedic.Certificate) (renew.Way, error) {
				return renew.Way{Certbot: &renew.Certbot{Lineage: shop, ConfigDir: w.dir, Off: true}}, nil
			}
		})
		if forced := slices.Contains(plan.Commands[0].Argv, "--force-renewal"); forced != (owners == "") {
			t.Errorf("%s: certbot is run as %q", about, plan.Commands[0].Argv)
		}
	}
}
