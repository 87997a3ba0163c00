// Package execx runs child processes that can be trusted: hooks, configuration tests
// and reloads. It is called by whatever acts on a host, and it promises:
//
//   - A command does not run before its process id and start time were handed to the
//     caller's journal. If the watchdog dies in between, the command never runs.
//   - A command outlives the watchdog. Its output goes to files, so that it is never
//     killed by a broken pipe, and [Await] finds it again after a restart.
//   - Nothing it does can hang the watchdog: not a grandchild that keeps the output
//     open, not an ignored signal, not endless output.
//   - How it ended is told exactly: by itself, by a signal, by our timeout, not at all,
//     or unknown because we stopped waiting.
//
// It works on Linux, with /proc and a POSIX /bin/sh.
package execx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

const (
	// DefaultMaxOutput is how many bytes of each output stream are kept where a command
	// does not say.
	DefaultMaxOutput = 64 << 10

	// DefaultTimeout ends commands that do not bring a timeout of their own.
	DefaultTimeout = 10 * time.Minute

	trimEvery  = 50 * time.Millisecond  // how often the output files are kept small
	awaitEvery = 100 * time.Millisecond // how often a survivor is looked at
	termGrace  = time.Second            // between SIGTERM and SIGKILL
	killGrace  = 5 * time.Second        // for the kernel to end what was killed
)

// Command is a program to run.
type Command struct {
	Name    string        // for people: the hook's path, or "web: reload"
	Argv    []string      // program and arguments; never a shell line
	Env     []string      // the whole environment, "NAME=value"; nil is an empty one
	Dir     string        // working directory; empty is the watchdog's own
	Stdin   []byte        // what it reads on its standard input; empty: nothing
	Timeout time.Duration // 0 is [DefaultTimeout]

	// OutputDir receives the files stdout and stderr, mode 0600; it is created with mode
	// 0700. Each run needs its own. Where it is empty a temporary folder is used, which
	// is removed when Run returns.
	OutputDir string
	MaxOutput int64 // bytes kept of each stream, its beginning and its end; 0 is [DefaultMaxOutput]

	// Started is called with the process's id and start time (field 22 of
	// /proc/PID/stat) before the program runs. After an error it never runs.
	Started func(pid int, start uint64) error
}

// Run runs the command and returns how it ended. It returns when the command itself has
// exited; processes that it leaves behind are left alone, because a reload may start a
// daemon. After the timeout the whole process group gets SIGTERM, and a second later
// SIGKILL. When ctx is cancelled Run stops waiting and kills nothing: the command lives
// on, and can be found again by the PID and PIDStart of the result.
func Run(ctx context.Context, c Command) certmedic.Run {
	run := certmedic.Run{Name: c.Name, Argv: c.Argv, StartedAt: time.Now(), OutputDir: c.OutputDir}
	if err := ctx.Err(); err != nil {
		return ended(run, certmedic.RunCancelled, "cancelled before it started")
	}
	program, err := lookPath(c)
	if err != nil {
		return ended(run, certmedic.RunNotStarted, err.Error())
	}
	out, err := openOutput(c.OutputDir, c.MaxOutput)
	if err != nil {
		return ended(run, certmedic.RunNotStarted, err.Error())
	}
	defer out.close()

	p, err := startGated(c, program, out)
	if err != nil {
		return ended(run, certmedic.RunNotStarted, err.Error())
	}
	run.PID, run.PIDStart = p.pid, p.start
	if c.Started != nil {
		if err := c.Started(p.pid, p.start); err != nil {
			p.abandon()
			return ended(run, certmedic.RunNotStarted, fmt.Sprintf("recording its start: %v", err))
		}
	}
	if ctx.Err() != nil {
		p.abandon()
		return ended(run, certmedic.RunCancelled, "cancelled before it started")
	}
	p.release()
	run = wait(ctx, run, p, out, timeoutOf(c))
	return ended(out.readInto(run), run.Result, run.Detail)
}

// process is a started child that is its own group's leader.
type process struct {
	pid    int
	start  uint64
	gate   *os.File      // write end; closing it unwritten makes the child exit unrun
	exited chan struct{} // closed once it was reaped
	cmd    *exec.Cmd
}

// gateScript waits for a line on descriptor 3 and then becomes the program, under the
// same process id. PWD and its like are what a shell adds to the environment; they are
// taken out again by name where the command's environment does not have them.
const gateScript = `read -r CERTMEDIC_GATE <&3 || exit 125; unset CERTMEDIC_GATE%s; exec "$@" 3<&-`

// startGated starts the gate in front of the program, with its own process group.
func startGated(c Command, program string, out *output) (*process, error) {
	gateRead, gateWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("opening its start gate: %w", err)
	}
	defer gateRead.Close()

	script := fmt.Sprintf(gateScript, shellLeftovers(c.Env))
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "sh", program}, c.Argv[1:]...)...)
	cmd.Env = append([]string{}, c.Env...) // never nil: that would inherit ours
	cmd.Dir = c.Dir
	cmd.Stdout, cmd.Stderr = out.stdout.file, out.stderr.file
	if len(c.Stdin) > 0 {
		in, err := input(c.Stdin)
		if err != nil {
			return nil, errors.Join(err, gateWrite.Close())
		}
		defer in.Close()
		cmd.Stdin = in
	}
	cmd.ExtraFiles = []*os.File{gateRead}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting it: %w", errors.Join(err, gateWrite.Close()))
	}
	p := &process{pid: cmd.Process.Pid, gate: gateWrite, exited: make(chan struct{}), cmd: cmd}
	go p.reap()
	stat, err := readStat(p.pid)
	if err != nil {
		p.abandon()
		return nil, fmt.Errorf("reading its start time: %w", err)
	}
	p.start = stat.start
	return p, nil
}

// reap owns the child: it waits for it as long as it lives, also after Run has stopped
// waiting, so that no zombie stays. It ends with the child.
func (p *process) reap() {
	_ = p.cmd.Wait() // how it ended is read from ProcessState
	close(p.exited)
}

func (p *process) release() {
	// When this fails the child is dead already, and waiting for it tells how it died.
	_, _ = p.gate.WriteString("go\n")
	_ = p.gate.Close()
}

// abandon ends a child that was not released; it has run nothing.
func (p *process) abandon() {
	_ = p.gate.Close()
	select {
	case <-p.exited:
	case <-time.After(termGrace):
		endGroup(p.pid)
	}
}

// wait waits for the process and keeps its output files small meanwhile.
func wait(ctx context.Context, run certmedic.Run, p *process, out *output, timeout time.Duration) certmedic.Run {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.exited:
			return exited(run, p.cmd.ProcessState)
		case <-tick.C:
			out.trim()
		case <-deadline.C:
			return timedOut(run, p, timeout)
		case <-ctx.Done():
			run.Result, run.Detail = certmedic.RunCancelled, "no longer waited for; it was left running"
			return run
		}
	}
}

func exited(run certmedic.Run, state *os.ProcessState) certmedic.Run {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		run.Result, run.Signal = certmedic.RunSignaled, unix.SignalName(status.Signal())
		run.Detail = "killed by " + run.Signal
		return run
	}
	run.Result, run.ExitCode = certmedic.RunExited, state.ExitCode()
	return run
}

func timedOut(run certmedic.Run, p *process, timeout time.Duration) certmedic.Run {
	select {
	case <-p.exited: // in the same instant: it ended by itself
		return exited(run, p.cmd.ProcessState)
	default:
	}
	run.Result = certmedic.RunTimedOut
	run.Detail = fmt.Sprintf("still running after %v, ended with its process group", timeout)
	if !endGroup(p.pid) {
		run.Detail = fmt.Sprintf("still running after %v, and not gone after SIGKILL", timeout)
	}
	return run
}

// ended completes a run whose end is known.
func ended(run certmedic.Run, result certmedic.RunResult, detail string) certmedic.Run {
	run.Result, run.Detail = result, detail
	run.Duration = time.Since(run.StartedAt)
	return run
}

func timeoutOf(c Command) time.Duration {
	if c.Timeout <= 0 {
		return DefaultTimeout
	}
	return c.Timeout
}
