package signal_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic/remediate/deploy/signal"
)

// service is a process that writes the name of each signal that it gets to a file.
type service struct {
	pid int
	log string
}

func start(t *testing.T, uid int) service {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	if err := os.WriteFile(log, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("/bin/sh", "-c", "trap 'echo HUP' HUP; trap 'echo USR1' USR1; echo ready; while :; do sleep 0.02; done")
	cmd.Stdout, cmd.Dir = out, "/"
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	s := service{pid: cmd.Process.Pid, log: log}
	s.await(t, "ready")
	return s
}

func (s service) has(t *testing.T, word string) bool {
	t.Helper()
	data, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(data), word)
}

func (s service) await(t *testing.T, word string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !s.has(t, word); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q did not come within 20 s", word)
		}
	}
}

func pidFile(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "service.pid")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, path, name string) (string, error) {
	t.Helper()
	request, err := json.Marshal(signal.Request{PIDFile: path, Signal: name})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = signal.Run(t.Context(), request, &out)
	return out.String(), err
}

func TestSignal(t *testing.T) {
	t.Parallel()
	s := start(t, 0)
	path := pidFile(t, strconv.Itoa(s.pid)+"\nmore lines\n", 0o644)
	for _, name := range []string{"HUP", "USR1"} {
		out, err := run(t, path, name)
		if err != nil || !strings.Contains(out, strconv.Itoa(s.pid)) {
			t.Fatalf("%s: %q, %v", name, out, err)
		}
		s.await(t, name)
	}
}

func TestNobodyElseIsSignalled(t *testing.T) {
	t.Parallel()
	s := start(t, 0)
	pid := strconv.Itoa(s.pid)
	earlier := pidFile(t, pid, 0o644)
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(earlier, past, past); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link.pid")
	if err := os.Symlink(pidFile(t, pid, 0o644), link); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ about, path, signal, want string }{
		{"a process that began after the file was written", earlier, "HUP", "taken over the number"},
		{"a file that others may write", pidFile(t, pid, 0o666), "HUP", "may write it"},
		{"a link", link, "HUP", "symbolic link"},
		{"a file that is missing", filepath.Join(t.TempDir(), "none"), "HUP", "no such file"},
		{"a folder", t.TempDir(), "HUP", "not a regular file"},
		{"an empty file", pidFile(t, "", 0o644), "HUP", "does not hold"},
		{"the init process", pidFile(t, "1", 0o644), "HUP", "does not hold"},
		{"a process group", pidFile(t, "-"+pid, 0o644), "HUP", "does not hold"},
		{"a process that is gone", pidFile(t, "4194303", 0o644), "HUP", "no such process"},
		{"a signal that ends processes", pidFile(t, pid, 0o644), "KILL", "none of"},
		{"two signals", pidFile(t, pid, 0o644), "HUP USR1", "none of"},
		{"no signal", pidFile(t, pid, 0o644), "", "none of"},
	} {
		if _, err := run(t, row.path, row.signal); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want an error with %q", row.about, err, row.want)
		}
	}
	time.Sleep(100 * time.Millisecond)
	if s.has(t, "HUP") || s.has(t, "USR1") {
		t.Error("it was signalled all the same")
	}
	if err := signal.Run(t.Context(), []byte("{"), &strings.Builder{}); err == nil {
		t.Error("a request that is cut off is taken")
	}
}

// TestOthersPointAtNobody shows that a user who may write a pid file cannot have another
// user's process signalled, but its own.
func TestOthersPointAtNobody(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	const other = 65534
	ours, theirs := start(t, 0), start(t, other)
	for _, row := range []struct {
		about string
		s     service
		ok    bool
	}{{"root's process", ours, false}, {"the user's own", theirs, true}} {
		path := pidFile(t, strconv.Itoa(row.s.pid), 0o644)
		if err := os.Chown(path, other, other); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, path, "HUP"); (err == nil) != row.ok {
			t.Errorf("%s: %v", row.about, err)
		}
	}
}
