package remote_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/remote"
	"github.com/certmedic/certmedic/remediate/remote/sshfake"
)

func TestDeploy(t *testing.T) {
	for _, row := range []struct {
		about, version string
		change         func(w *world, o *remote.Order)
		noRename       bool
		spoil          func(kind byte, packet []byte)
		kind           certmedic.OutcomeKind
		reason, detail string // the latter is a part
		holds          string
	}{
		{about: "a version that the service takes is in place, for somebody to look at", version: "good", kind: certmedic.OutcomeUnverified, reason: remote.ReasonInstalled, holds: "good"},
		{about: "a version that its test refuses is put back", version: "bad", kind: certmedic.OutcomePutBack, reason: "exited", detail: "no service had loaded", holds: "old"},
		{about: "a version that it does not load is put back, and the old one loaded", version: "heavy", kind: certmedic.OutcomePutBack, reason: "exited", detail: "are back and loaded", holds: "old"},
		{
			about: "a service that dies of it gets the old version again", version: "good", kind: certmedic.OutcomeFailed, reason: "exited", detail: "the old files are back, but", holds: "old",
			change: func(_ *world, o *remote.Order) { o.Destination.Alive = []string{"false"} },
		},
		{
			about: "a reload alone touches no file", version: "good", kind: certmedic.OutcomeUnverified, reason: remote.ReasonInstalled, holds: "old",
			change: func(_ *world, o *remote.Order) { o.Files = nil },
		},
		{
			about: "a folder that others may write is refused", version: "good", kind: certmedic.OutcomeFailed, reason: "stage", detail: "may be written by others", holds: "old",
			change: func(w *world, _ *remote.Order) {
				real, err := filepath.EvalSymlinks(filepath.Join(w.dir, "tls"))
				w.do(err)
				w.do(os.Chmod(real, 0o777))
				w.do(os.Chmod(w.dir, 0o777))
			},
		},
		{
			about: "a folder for backups that others may read is refused", version: "good", kind: certmedic.OutcomeFailed, reason: "enter", detail: "0700", holds: "old",
			change: func(w *world, _ *remote.Order) { w.do(os.MkdirAll(filepath.Join(w.state, "x"), 0o755)) },
		},
		{
			about: "a server that cannot replace a file at once is refused", version: "good", kind: certmedic.OutcomeFailed, reason: "stage", detail: "posix-rename", holds: "old",
			noRename: true,
		},
		{
			about: "what arrives otherwise than it was sent is not installed", version: "good", kind: certmedic.OutcomeFailed, reason: "stage", detail: "not what was written", holds: "old",
			spoil: func(kind byte, packet []byte) {
				if kind == sshfake.KindWrite && strings.Contains(string(packet), "cert good") {
					packet[len(packet)-1] ^= 1
				}
			},
		},
		{
			about: "a step of certmedic's own is refused", version: "good", kind: certmedic.OutcomeFailed, reason: "order", holds: "old",
			change: func(_ *world, o *remote.Order) { o.Destination.Signal.PIDFile = "/run/x.pid" },
		},
		{
			about: "a path that is not clean is refused", version: "good", kind: certmedic.OutcomeFailed, reason: "order", holds: "old",
			change: func(w *world, o *remote.Order) { o.Files[0].To = w.dir + "/tls/../x" },
		},
		{
			about: "an owner whom the host does not know is refused", version: "good", kind: certmedic.OutcomeFailed, reason: "stage", detail: "nosuchuser", holds: "old",
			change: func(_ *world, o *remote.Order) { o.Files[0].Owner = "nosuchuser" },
		},
	} {
		for _, swap := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, swap %v", row.about, swap), func(t *testing.T) {
				w := newWorld(t, swap)
				o := w.order(row.version, 7)
				if row.change != nil {
					row.change(w, &o)
				}
				w.server.Misbehave(&sshfake.Faults{NoRename: row.noRename, Change: row.spoil})
				d := w.deploy(o)
				if d.Outcome.Kind != row.kind || d.Outcome.Reason != row.reason || !strings.Contains(d.Outcome.Detail, row.detail) {
					t.Errorf("the outcome is %+v", d.Outcome)
				}
				if err := d.Keep(t.Context()); err != nil {
					t.Errorf("keeping it: %v", err)
				}
				if row.reason == "enter" {
					return
				}
				w.holds(row.holds)
			})
		}
	}
}

func TestModes(t *testing.T) {
	w := newWorld(t, false)
	w.write("key.pem", "key old", 0o644)
	o := w.order("good", 1)
	extra := w.path("chain.pem")
	o.Files = append(o.Files, remote.File{InstalledFile: certmedic.InstalledFile{From: certmedic.PartCombined, To: extra}, Data: []byte("x")})
	o.Files[0].Mode = "0604"
	d := w.deploy(o)
	if d.Outcome.Reason != remote.ReasonInstalled {
		t.Fatalf("the outcome is %+v", d.Outcome)
	}
	for _, row := range []struct {
		about, name string
		want        os.FileMode
	}{
		{"a mode that is configured", "cert.pem", 0o604},
		{"a key is not for others, whatever was there", "key.pem", 0o640},
		{"a new file with a key", "chain.pem", 0o600},
	} {
		if got := w.mode(row.name); got != row.want {
			t.Errorf("%s: %04o, want %04o", row.about, got, row.want)
		}
	}
	d.PutBack(t.Context(), certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "not_served", Detail: "not served"})
	if w.mode("key.pem") != 0o644 || w.mode("cert.pem") != 0o644 {
		t.Errorf("put back, the files have the modes %04o and %04o", w.mode("key.pem"), w.mode("cert.pem"))
	}
	if _, err := os.Stat(extra); err == nil {
		t.Error("a file that was not there before is still there")
	}
	if d.Outcome.Kind != certmedic.OutcomePutBack || d.Outcome.Reason != "not_served" {
		t.Errorf("the outcome is %+v", d.Outcome)
	}
	w.holds("old")
}

func TestLinksAreFollowed(t *testing.T) {
	w := newWorld(t, false)
	w.do(os.Mkdir(filepath.Join(w.dir, "real"), 0o755))
	w.do(os.Rename(w.path("cert.pem"), filepath.Join(w.dir, "real", "c.pem")))
	w.do(os.Symlink("../real/c.pem", w.path("cert.pem")))
	d := w.deploy(w.order("good", 1))
	w.do(d.Keep(t.Context()))
	if link, err := os.Readlink(w.path("cert.pem")); err != nil || link != "../real/c.pem" {
		t.Errorf("the link says %q, %v", link, err)
	}
	w.holds("good")
}

func TestFence(t *testing.T) {
	w := newWorld(t, false)
	w.do(w.deploy(w.order("first", 8)).Keep(t.Context()))
	faults := w.server.Misbehave(&sshfake.Faults{})
	d := w.deploy(w.order("late", 7))
	if d.Outcome.Kind != certmedic.OutcomeRefused || d.Outcome.Reason != remote.ReasonFenced {
		t.Errorf("a lower token has the outcome %+v", d.Outcome)
	}
	w.holds("first")
	if got := w.tokens(); got != "[8]" {
		t.Errorf("the host knows the tokens %s", got)
	}
	if faults.Requests() == 0 {
		t.Error("the host was not asked")
	}
	w.do(w.deploy(w.order("same", 8)).Keep(t.Context()))
	w.do(w.deploy(w.order("next", 9)).Keep(t.Context()))
	w.holds("next")
	if got := w.tokens(); got != "[9]" {
		t.Errorf("the host knows the tokens %s", got)
	}
	other := w.order("other", 1)
	other.Certificate = "mail"
	w.do(w.deploy(other).Keep(t.Context()))
	w.holds("other")
}

func TestSwapKeepsOneFolder(t *testing.T) {
	w := newWorld(t, true)
	for n := range 4 {
		w.do(w.deploy(w.order(fmt.Sprint("v", n), 1)).Keep(t.Context()))
	}
	folders, err := filepath.Glob(filepath.Join(w.dir, "tls.certmedic-remote-*"))
	w.do(err)
	if len(folders) != 2 {
		t.Errorf("there are %v", folders)
	}
	w.holds("v3")
	w.do(os.WriteFile(w.path("other.pem"), nil, 0o600))
	if d := w.deploy(w.order("v4", 1)); !strings.Contains(d.Outcome.Detail, "would be lost") {
		t.Errorf("a folder with somebody else's file was replaced: %+v", d.Outcome)
	}
	w.holds("v3")
}

func TestNewFilesWithoutPosixRename(t *testing.T) {
	w := newWorld(t, false)
	w.do(os.Remove(w.path("cert.pem")))
	w.do(os.Remove(w.path("key.pem")))
	w.server.Misbehave(&sshfake.Faults{NoRename: true})
	w.do(w.deploy(w.order("good", 1)).Keep(t.Context()))
	w.holds("good")
}

func TestSomebodyElseChangedIt(t *testing.T) {
	w := newWorld(t, false)
	d := w.deploy(w.order("good", 1))
	w.write("cert.pem", "cert elsewhere", 0o644)
	d.PutBack(t.Context(), certmedic.Outcome{Detail: "not served"})
	if got := w.read("cert.pem"); got != "cert elsewhere" {
		t.Errorf("what somebody else wrote became %q", got)
	}
	if got := w.read("key.pem"); got != "key old" {
		t.Errorf("the other file holds %q", got)
	}
	if len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "somebody else") {
		t.Errorf("the notes are %q", d.Notes)
	}
	w.clean()
}

func TestHashes(t *testing.T) {
	w := newWorld(t, false)
	got, err := remote.Hashes(t.Context(), w.dial(), []string{w.path("cert.pem"), w.path("none.pem")})
	w.do(err)
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte("cert old"))); got[w.path("none.pem")] != "" || got[w.path("cert.pem")] != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
