package execx_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/execx"
)

// patience bounds waits for things that take milliseconds on an idle machine.
const patience = 20 * time.Second

// TestMain turns the test binary into a watchdog that can be killed, see killable.
func TestMain(m *testing.M) {
	if dir := os.Getenv("EXECX_TEST_DIR"); dir != "" {
		watchdog(dir, os.Getenv("EXECX_TEST_HANG") != "")
		return
	}
	os.Exit(m.Run())
}

// watchdog runs a hook and records its start in dir/journal. With hang it never lets
// the hook go.
func watchdog(dir string, hang bool) {
	execx.Run(context.Background(), execx.Command{
		Argv:      sh(`touch began; sleep 0.5; echo done; echo oops >&2; touch ended`),
		Dir:       dir,
		OutputDir: filepath.Join(dir, "output"),
		Started: func(pid int, start uint64) error {
			err := os.WriteFile(filepath.Join(dir, "new"), fmt.Appendf(nil, "%d %d", pid, start), 0o600)
			if err == nil {
				err = os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "journal"))
			}
			if hang {
				time.Sleep(time.Hour)
			}
			return err
		},
	})
}

func TestRunTellsHowItEnded(t *testing.T) {
	tests := []struct {
		name string
		argv []string
		want certmedic.Run
	}{
		{"success with output on both streams", sh(`echo out; echo err >&2`), certmedic.Run{Result: certmedic.RunExited, Stdout: "out\n", Stderr: "err\n"}},
		{"its own exit code", sh(`exit 3`), certmedic.Run{Result: certmedic.RunExited, ExitCode: 3}},
		{"an exit code that the gate uses too is its own after it ran", sh(`exit 125`), certmedic.Run{Result: certmedic.RunExited, ExitCode: 125}},
		{"a signal that was not ours", sh(`kill -SEGV $$`), certmedic.Run{Result: certmedic.RunSignaled, Signal: "SIGSEGV", Detail: "killed by SIGSEGV"}},
		{"arguments reach it as they are", []string{"printf", "%s|", "a b", "$HOME", "*", "'"}, certmedic.Run{Result: certmedic.RunExited, Stdout: "a b|$HOME|*|'|"}},
		{"nothing to read on its standard input", []string{"cat"}, certmedic.Run{Result: certmedic.RunExited}},
		{"secrets and control characters do not leave it", sh(`printf 'token=abc\001\033[1mx\377\n'`), certmedic.Run{Result: certmedic.RunExited, Stdout: "token=***\n"}},
		{"the gate's descriptor is closed", sh(`test ! -e /proc/$$/fd/3`), certmedic.Run{Result: certmedic.RunExited}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := execx.Run(t.Context(), execx.Command{Name: "hook", Argv: tt.argv, Timeout: patience})
			if got.PID == 0 || got.PIDStart == 0 || got.Name != "hook" || got.StartedAt.IsZero() {
				t.Errorf("incomplete: %+v", got)
			}
			want := tt.want
			want.Name, want.Argv, want.StartedAt, want.Duration = got.Name, tt.argv, got.StartedAt, got.Duration
			want.PID, want.PIDStart = got.PID, got.PIDStart
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Errorf("\n got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestRunDoesNotStartWhatCannotRun(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		command execx.Command
		detail  string
	}{
		{"an empty command", execx.Command{}, "the command is empty"},
		{"a path that is not there", execx.Command{Argv: []string{"/no/such"}}, `no such program: "/no/such"`},
		{"a folder", execx.Command{Argv: []string{dir}}, "is a directory"},
		{"a file without the executable bit", execx.Command{Argv: []string{plain}}, "is not executable"},
		{"a relative path is looked for in the working directory", execx.Command{Argv: []string{"./plain"}, Dir: dir}, "is not executable"},
		{"a name that is not in its own PATH", execx.Command{Argv: []string{"sh"}, Env: []string{"PATH=" + dir}}, `no program "sh" in PATH`},
		{"a name that lies in the working directory only", execx.Command{Argv: []string{"plain"}, Env: []string{"PATH=.:"}, Dir: dir}, `no program "plain" in PATH`},
		{"a working directory that is not there", execx.Command{Argv: sh("true"), Dir: filepath.Join(dir, "gone")}, "starting it"},
		{"an output folder that cannot be", execx.Command{Argv: sh("true"), OutputDir: filepath.Join(plain, "out")}, "folder for its output"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.command.Started = func(int, uint64) error { t.Error("it was started"); return nil }
			got := execx.Run(t.Context(), tt.command)
			if got.Result != certmedic.RunNotStarted || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("%s: %q, want not_started: %q", got.Result, got.Detail, tt.detail)
			}
		})
	}
}

func TestRunGivesExactlyTheEnvironment(t *testing.T) {
	t.Setenv("EXECX_LEAK", "1")
	for _, env := range [][]string{nil, {"A=1", "RENEWED_DOMAINS=a b", "PATH=/usr/bin:/bin"}, {"SHLVL=7"}} {
		got := execx.Run(t.Context(), execx.Command{Argv: []string{"/usr/bin/env"}, Env: env, Timeout: patience})
		lines := strings.Fields(strings.ReplaceAll(got.Stdout, "a b", "a_b"))
		slices.Sort(lines)
		want := strings.Fields(strings.ReplaceAll(strings.Join(env, "\n"), "a b", "a_b"))
		slices.Sort(want)
		if !slices.Equal(lines, want) {
			t.Errorf("environment is %q, want %q", lines, want)
		}
	}
}

func TestRunTimesOut(t *testing.T) {
	tests := []struct {
		name, script string
	}{
		{"a command that hangs", `sleep 100 & echo $! >child; wait`},
		{"a command that ignores SIGTERM", `trap '' TERM; sleep 100 & echo $! >child; wait; sleep 100`},
		{"a command that ends on SIGTERM while its child does not", `(trap '' TERM; sleep 100; sleep 100) & echo $! >child; wait`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			got := execx.Run(t.Context(), execx.Command{Argv: sh(tt.script), Dir: dir, Timeout: 300 * time.Millisecond})
			if got.Result != certmedic.RunTimedOut || !strings.Contains(got.Detail, "after 300ms") {
				t.Errorf("%s: %q, want timed_out", got.Result, got.Detail)
			}
			if execx.Alive(got.PID, got.PIDStart) {
				t.Error("the command lives on")
			}
			child := strings.TrimSpace(readFile(t, filepath.Join(dir, "child")))
			eventually(t, "the child to be dead", func() bool { return !running(child) })
		})
	}
}

func TestRunDoesNotWaitForGrandchildrenThatKeepTheOutput(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now()
	got := execx.Run(t.Context(), execx.Command{Argv: sh(`sleep 60 & echo $! >child; echo reloaded`), Dir: dir, Timeout: patience})
	child := strings.TrimSpace(readFile(t, filepath.Join(dir, "child")))
	if !got.Succeeded() || got.Stdout != "reloaded\n" || time.Since(begin) > patience {
		t.Errorf("got %+v", got)
	}
	if !running(child) {
		t.Error("the daemon that it left behind was ended")
	}
	if out, err := exec.Command("kill", child).CombinedOutput(); err != nil {
		t.Errorf("kill: %v: %s", err, out)
	}
}

func TestRunBoundsTheOutput(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "output")
	got := execx.Run(t.Context(), execx.Command{
		Argv:      sh(`echo first; head -c 100000000 /dev/zero | tr '\0' 'x'; echo; echo last`),
		OutputDir: dir, MaxOutput: 1000, Timeout: time.Minute,
	})
	if !got.Succeeded() || !got.Truncated {
		t.Fatalf("result %s, exit code %d, truncated %v: %s", got.Result, got.ExitCode, got.Truncated, got.Detail)
	}
	if len(got.Stdout) > 1100 || !strings.HasPrefix(got.Stdout, "first\nxxx") || !strings.HasSuffix(got.Stdout, "xxx\nlast\n") {
		t.Errorf("%d bytes: %.20q ... %q", len(got.Stdout), got.Stdout, got.Stdout[max(0, len(got.Stdout)-20):])
	}
	info, err := os.Stat(filepath.Join(dir, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 1000 || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has %d bytes and mode %v", info.Size(), info.Mode())
	}
}

func TestRunWithoutItsJournalEntryRunsNothing(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	got := execx.Run(t.Context(), execx.Command{
		Argv:    []string{"touch", marker},
		Started: func(int, uint64) error { return errors.New("disk full") },
	})
	if got.Result != certmedic.RunNotStarted || !strings.Contains(got.Detail, "disk full") {
		t.Errorf("%s: %q", got.Result, got.Detail)
	}
	wantMissing(t, marker)
}

func TestRunCancelledBeforeTheReleaseRunsNothing(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	ctx, cancel := context.WithCancel(t.Context())
	got := execx.Run(ctx, execx.Command{
		Argv:    []string{"touch", marker},
		Started: func(int, uint64) error { cancel(); return nil },
	})
	if got.Result != certmedic.RunCancelled {
		t.Errorf("%s: %q", got.Result, got.Detail)
	}
	wantMissing(t, marker)
}

func TestRunCancelledLeavesTheCommandAlone(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for !exists(filepath.Join(dir, "began")) && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	got := execx.Run(ctx, execx.Command{
		Argv: sh(`touch began; while [ ! -e go ]; do sleep 0.02; done; echo done`),
		Dir:  dir, OutputDir: filepath.Join(dir, "output"), Timeout: patience,
	})
	if got.Result != certmedic.RunCancelled || !execx.Alive(got.PID, got.PIDStart) {
		t.Fatalf("%s, alive %v", got.Result, execx.Alive(got.PID, got.PIDStart))
	}
	if execx.Alive(got.PID, got.PIDStart+1) {
		t.Error("a process with another start time counts as the same")
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := execx.Await(t.Context(), got, time.Now().Add(patience))
	if again.Result != certmedic.RunCancelled || again.Stdout != "done\n" {
		t.Errorf("%s: %q, stdout %q", again.Result, again.Detail, again.Stdout)
	}
}

func TestAwaitEndsASurvivorAtItsDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	dir := t.TempDir()
	got := execx.Run(ctx, execx.Command{Argv: sh(`sleep 100`), OutputDir: dir})
	if got.PID == 0 {
		t.Skip("cancelled before it started")
	}
	got = execx.Await(t.Context(), got, time.Now())
	if got.Result != certmedic.RunTimedOut {
		t.Errorf("%s: %q", got.Result, got.Detail)
	}
	if execx.Alive(got.PID, got.PIDStart) {
		t.Error("it lives on")
	}
}

func TestAHookOutlivesAKilledWatchdog(t *testing.T) {
	dir := t.TempDir()
	pid, start := killable(t, dir, "began")
	run := certmedic.Run{PID: pid, PIDStart: start, OutputDir: filepath.Join(dir, "output"), StartedAt: time.Now()}
	got := execx.Await(t.Context(), run, time.Now().Add(patience))
	if got.Result != certmedic.RunCancelled || got.Stdout != "done\n" || got.Stderr != "oops\n" {
		t.Errorf("%s: %q, stdout %q, stderr %q", got.Result, got.Detail, got.Stdout, got.Stderr)
	}
	if !exists(filepath.Join(dir, "ended")) {
		t.Error("Await returned before the hook's end")
	}
}

func TestAHookNeverRunsWhenTheWatchdogIsKilledBeforeItsRelease(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("EXECX_TEST_HANG", "1")
	pid, start := killable(t, dir, "journal")
	eventually(t, "the gate to be gone", func() bool { return !execx.Alive(pid, start) })
	wantMissing(t, filepath.Join(dir, "began"))
}

// killable starts a watchdog, kills it with SIGKILL when the file is there, and returns
// what it has journaled.
func killable(t *testing.T, dir, file string) (pid int, start uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EXECX_TEST_DIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, file, func() bool { return exists(filepath.Join(dir, file)) })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the watchdog was not killed")
	}
	if _, err := fmt.Sscan(readFile(t, filepath.Join(dir, "journal")), &pid, &start); err != nil {
		t.Fatal(err)
	}
	return pid, start
}

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func running(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func wantMissing(t *testing.T, path string) {
	t.Helper()
	if exists(path) {
		t.Errorf("%s exists: the command ran", path)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
