package e2e_test

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// badHook is a deploy hook that cannot do its work, and what is to be read about it.
type badHook struct {
	about    string
	hook     string
	mode     fs.FileMode // 0: 0755
	outcome  certmedic.OutcomeKind
	reason   string
	evidence []string // how it ended and what it said, or the detail of a refusal
}

// single lets a hook say when it runs beside another one.
const single = "#!/bin/sh\nexec 9>/run/hook.lock\nflock --nonblock 9 || echo overlap >>" + hookLog + "\n"

func badHooks() []badHook {
	return []badHook{
		{
			"it was written on Windows", "#!/bin/sh\r\nsystemctl reload nginx\r\n", 0,
			certmedic.OutcomeFailed, "exited",
			[]string{"exit code 127", hookFile + ": not found"},
		},
		{
			"its interpreter is not there", "#!/opt/python/bin/python3\nprint()\n", 0,
			certmedic.OutcomeFailed, "exited",
			[]string{"exit code 127", hookFile + ": not found"},
		},
		{
			"it is a program for another machine", foreignProgram(), 0,
			certmedic.OutcomeFailed, "exited",
			[]string{"exit code", hookFile},
		},
		{
			"it hangs", single + "echo 'waiting for nginx' >&2\nsleep 600\n", 0,
			certmedic.OutcomeFailed, "timed_out",
			[]string{"timed out after 3s", "waiting for nginx"},
		},
		{
			"it leaves a daemon behind that keeps its output open", single + "setsid sleep 599 9>&- &\necho 'left alone' >&2\nexit 5\n", 0,
			certmedic.OutcomeFailed, "exited",
			[]string{"exit code 5", "left alone"},
		},
		{
			"it writes 100 MB", single + "head --bytes 100000000 /dev/zero | tr '\\0' x\nyes | head --bytes 100000000 >&2\necho 'no room for nginx' >&2\nexit 9\n", 0,
			certmedic.OutcomeFailed, "exited",
			[]string{"exit code 9", "no room for nginx"},
		},
		{
			"it is killed", single + "echo 'out of memory' >&2\nkill -KILL $$\n", 0,
			certmedic.OutcomeFailed, "exited",
			[]string{"exit code 137", "Killed"}, // as the shell says it that certbot runs hooks by
		},
		{
			"it may not be executed", single + "systemctl reload nginx\n", 0o644,
			certmedic.OutcomeRefused, "nothing_to_run",
			[]string{"not executable"},
		},
		{
			"others may write it", single + "systemctl reload nginx\n", 0o777,
			certmedic.OutcomeRefused, "untrusted_file",
			[]string{hookFile},
		},
	}
}

// foreignProgram returns the beginning of a program for a machine that this is not.
func foreignProgram() string {
	header := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_AARCH64), Version: uint32(elf.EV_CURRENT), Ehsize: 64}
	if runtime.GOARCH == "arm64" {
		header.Machine = uint16(elf.EM_X86_64)
	}
	copy(header.Ident[:], elf.ELFMAG+string(rune(elf.ELFCLASS64))+string(rune(elf.ELFDATA2LSB))+string(rune(elf.EV_CURRENT)))
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, header) // to a buffer
	return b.String()
}

// TestBadHooks puts one bad hook after the other in the place of a deployment that waits. Each is
// tried as another cure, ends within its bounds, and is told by name; nothing runs twice at a
// time; and the hook that works in the end, without a first line that names a shell, heals.
func TestBadHooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("exit 1\n")
	w.watch(plan{
		mode: certmedic.ModeAuto, limits: "command_timeout: 3s, max_actions_per_hour: 100",
		adjust: "remediation-blocked: {for: 1s}",
	})
	old := w.served(domain)
	version, _ := w.renew()
	w.awaitOutcome(1, certmedic.OutcomeFailed)

	for _, h := range badHooks() {
		w.tryHook(h)
		if w.served(domain) != old {
			t.Errorf("%s, and another version is served", h.about)
		}
	}
	w.must("test $(du --summarize --block-size=1M /var/lib/certmedic | cut -f1) -lt 10")
	if left := w.must("pgrep --full --exact 'sleep 600' || true"); left != "" {
		t.Errorf("of the hook that hung %s still runs", left)
	}
	if left := w.must("pgrep --full --exact 'sleep 599' || true"); left == "" {
		t.Error("a daemon that a hook started was ended")
	}

	w.placeHook("systemctl reload nginx\n", 0o755)
	w.awaitServed(version)
	w.awaitIncident("hook-failed", certmedic.StateResolved)
	w.awaitIncident("remediation-blocked", certmedic.StateResolved)
	if log := w.must("cat " + hookLog); strings.Contains(log, "overlap") {
		t.Errorf("a hook ran beside another one:\n%s", log)
	}
	if n := strings.TrimSpace(w.must("systemctl show --property NRestarts --value certmedic")); n != "0" {
		t.Errorf("certmedic was restarted %s times", n)
	}
}

// placeHook replaces the hook in one step, so that no half of it is ever run.
func (w *world) placeHook(script string, mode fs.FileMode) {
	w.t.Helper()
	w.WriteFile("/root/hook", []byte(script), mode)
	w.must("mv /root/hook " + hookFile)
}

// tryHook places a bad hook and checks what comes of it.
func (w *world) tryHook(h badHook) {
	w.t.Helper()
	placed := time.Now()
	w.placeHook(h.hook, cmp.Or(h.mode, 0o755))
	var a certmedic.Action
	w.await(fmt.Sprintf("certmedic tried a hook of which %s", h.about), patience, 100*time.Millisecond, func() bool {
		all := w.actions()
		a = all[0]
		return a.StartedAt.After(placed) && a.Outcome.Kind != certmedic.OutcomeRunning
	})
	took := time.Since(placed)
	said := w.said(a.ID)
	w.t.Logf("%s: %s (%s) after %s: %q", h.about, a.Outcome.Kind, a.Outcome.Reason, took.Round(100*time.Millisecond), said)
	if a.Outcome.Kind != h.outcome || a.Outcome.Reason != h.reason {
		w.t.Errorf("%s: the action ended %s (%s), want %s (%s)", h.about, a.Outcome.Kind, a.Outcome.Reason, h.outcome, h.reason)
	}
	for _, part := range h.evidence {
		if !strings.Contains(said, part) {
			w.t.Errorf("%s: the history says %q, without %q", h.about, said, part)
		}
	}
	if took > 20*time.Second {
		w.t.Errorf("%s: that took %s", h.about, took)
	}
	rule := "hook-failed"
	if h.outcome == certmedic.OutcomeRefused {
		rule = "remediation-blocked"
	}
	w.awaitIncident(rule, certmedic.StateFiring)
	for _, part := range h.evidence {
		w.await(fmt.Sprintf("the incidents say %q of a hook of which %s", part, h.about), patience, 200*time.Millisecond, func() bool {
			return strings.Contains(w.certmedic("incidents").Stdout, part)
		})
	}
	if _, err := w.get("/-/ready"); err != nil {
		w.t.Errorf("%s: certmedic is not ready: %v", h.about, err)
	}
}

// said returns what the history tells a person on the host about how an action ended.
func (w *world) said(id string) string {
	w.t.Helper()
	outcome := w.recorded(id).Outcome
	lines := []string{outcome.Detail}
	for _, e := range outcome.Evidence {
		lines = append(lines, e.Line)
	}
	return strings.Join(lines, "\n")
}

// recorded returns an action as the history tells it to a person on the host, with what its
// commands wrote.
func (w *world) recorded(id string) certmedic.Action {
	w.t.Helper()
	var history []certmedic.Action
	r := w.certmedic("history", "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &history); err != nil || r.Code != 0 {
		w.fatalf("certmedic history --json: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	at := slices.IndexFunc(history, func(a certmedic.Action) bool { return a.ID == id })
	if at < 0 {
		w.fatalf("the history does not have the action %s", id)
	}
	return history[at]
}
