package remediate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
)

// withSwap gives the certificate deploy steps that replace the folder of its files as a whole.
func (w *world) withSwap(t *testing.T, test, reload, alive string) {
	t.Helper()
	w.withSteps(t, test, reload, alive)
	if err := os.Rename(w.path("installed"), w.path("folder")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("folder", w.path("installed")); err != nil {
		t.Fatal(err)
	}
	w.cert.Destinations[0].Swap = w.path("installed")
}

// wantFolders checks what the link leads to, and that no other folder is left.
func (w *world) wantFolders(t *testing.T, about, target string) {
	t.Helper()
	if got, err := os.Readlink(w.path("installed")); err != nil || got != target {
		t.Errorf("%s: the link says %q, want %q (%v)", about, got, target, err)
	}
	var want []string
	if target != "folder" {
		want = []string{w.path(target)}
	}
	if got, _ := filepath.Glob(w.path("installed.certmedic-*")); !slices.Equal(got, want) {
		t.Errorf("%s: there are the folders %q, want %q", about, got, want)
	}
}

func TestSwapIsDeployedAndPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSwap(t, "", loadInstalled(), "[ -e broken ] && cmp -s installed/fullchain.pem stored/fullchain.pem && exit 1; exit 0")
	w.write(t, "broken", "")
	wantOutcome(t, w.act(t, remediate.Request{}), certmedic.OutcomePutBack)
	if !w.installed(t, "old") || !w.serves(t, "old") {
		t.Error("the old version is not back")
	}
	w.wantFolders(t, "put back", "folder")
	if err := os.Remove(w.path("broken")); err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, w.act(t, remediate.Request{}), certmedic.OutcomeHealed)
	if !w.installed(t, "stored") || !w.serves(t, "stored") {
		t.Error("the stored version is not in place")
	}
	w.wantFolders(t, "deployed", "installed.certmedic-1")
	w.wantTidy(t)
}

// TestKillWhileFoldersAreSwapped kills certmedic at the records of its journal around which
// folders are staged and links are led elsewhere; with CERTMEDIC_CHAOS=1 at every one.
func TestKillWhileFoldersAreSwapped(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, 8)
	for n := 1; n <= 9; n++ {
		for _, edge := range []string{"before", "after"} {
			if telling := n <= 3 || n == 9; !telling && os.Getenv("CERTMEDIC_CHAOS") == "" {
				continue
			}
			w, when := newWorld(t), fmt.Sprint(edge, " ", n)
			w.withSwap(t, alone+done, alone+loadInstalled()+done, alone+done)
			group.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				testKillSwap(t, w, when)
			})
		}
	}
}

func testKillSwap(t *testing.T, w *world, when string) {
	cmd := w.start(t, when)
	err := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("%s: it was to be killed, but %v: %s", when, err, cmd.Stderr)
		return
	}
	if !w.installed(t, "old") && !w.installed(t, "stored") {
		t.Errorf("%s: right after the kill there is a mix of versions", when)
	}
	if err := w.recover(); err != nil {
		t.Errorf("%s: %v", when, err)
		return
	}
	switch {
	case w.serves(t, "stored") && w.installed(t, "stored"):
		w.wantFolders(t, when, "installed.certmedic-1")
	case w.serves(t, "old") && w.installed(t, "old"):
		w.wantFolders(t, when, "folder")
	default:
		t.Errorf("%s: neither all old nor all new", when)
	}
	w.wantTidy(t)
	a := w.act(t, remediate.Request{})
	if !w.serves(t, "stored") || a.Outcome.Kind != certmedic.OutcomeHealed && a.Outcome.Reason != "no_need" {
		t.Errorf("%s: it could not be healed afterwards: %+v", when, a.Outcome)
	}
	w.wantTidy(t)
}
