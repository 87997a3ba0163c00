package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

const (
	// DefaultTimeout ends commands that do not bring a timeout of their own.
	DefaultTimeout = time.Minute

	// DefaultMaxOutput is how many bytes of each output stream are kept where a command does
	// not say.
	DefaultMaxOutput = 64 << 10

	killAfter = 5 * time.Second  // between SIGTERM and SIGKILL on the host
	overtime  = 10 * time.Second // how much later than the host's own clock we give a command up

	// usualPath stands in for what sshd gives to the commands of a user, in which services'
	// programs are often missing.
	usualPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	exitTimedOut = 124 // of timeout(1)
	exitKilled   = 137 // of timeout(1) where SIGKILL was needed
)

// Command is a program to run on the host.
type Command struct {
	Name      string        // for people, such as "web@host: reload"
	Argv      []string      // program and arguments; never a shell line
	Env       []string      // added to what sshd, or sudo, gives, "NAME=value"; sshd's PATH is replaced by the usual one
	Timeout   time.Duration // 0 is [DefaultTimeout]
	MaxOutput int           // bytes kept of each stream, its beginning and its end; 0 is [DefaultMaxOutput]
	AsUser    bool          // as the user who logs in, also where the host says Sudo
}

// Run runs a command, under sudo where the host says so, and returns how it ended: for sudoers it
// is "timeout -k 5s 60s COMMAND", with the command's own timeout in seconds. It runs under
// timeout(1) where the host has that, so that it ends in time even when the connection does not
// last; else its channel is closed, and what sshd makes of that is not known. Where the connection
// or ctx ends meanwhile the result is cancelled: whether the command ran has to be looked at.
func (s *Session) Run(ctx context.Context, c Command) certmedic.Run {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	bound, err := s.bound(ctx)
	if err != nil {
		return certmedic.Run{Name: c.Name, Argv: c.Argv, StartedAt: time.Now(), Result: certmedic.RunCancelled, Detail: "not started: " + err.Error()}
	}
	prefix := s.environment(c)
	if len(bound) > 0 {
		prefix = append(prefix, "timeout", "-k", seconds(killAfter), seconds(c.Timeout))
	}
	return s.exec(ctx, c, prefix)
}

// environment returns what stands before a command for its rights and its variables. sudo has a
// PATH of its own, and without variables its rules can name the command itself.
func (s *Session) environment(c Command) []string {
	sudo := s.host.Sudo && !c.AsUser
	switch {
	case sudo && len(c.Env) == 0:
		return []string{"sudo", "-n", "--"}
	case sudo:
		return append([]string{"sudo", "-n", "--", "env"}, c.Env...)
	case slices.ContainsFunc(c.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }):
		return append([]string{"env"}, c.Env...)
	}
	return append([]string{"env", usualPath}, c.Env...)
}

// bound returns the program that bounds commands on the host, looked for once; empty where there
// is none.
func (s *Session) bound(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timeout != nil {
		return s.timeout, nil
	}
	run := s.exec(ctx, Command{Argv: []string{"timeout", "-k", "1", "5", "true"}, Timeout: DefaultTimeout}, []string{"env", usualPath})
	if run.Result == certmedic.RunCancelled {
		return nil, errors.New(run.Detail)
	}
	s.timeout = []string{}
	if run.Succeeded() {
		s.timeout = []string{"timeout"}
	}
	return s.timeout, nil
}

// exec runs a command behind a prefix, neither of them changed.
func (s *Session) exec(ctx context.Context, c Command, prefix []string) certmedic.Run {
	run := certmedic.Run{Name: c.Name, Argv: c.Argv, StartedAt: time.Now()}
	if c.MaxOutput <= 0 {
		c.MaxOutput = DefaultMaxOutput
	}
	line, err := commandLine(c, prefix)
	if err != nil {
		run.Result, run.Detail = certmedic.RunNotStarted, err.Error()
		return run
	}
	p := process{stdout: newKept(c.MaxOutput), stderr: newKept(c.MaxOutput), exited: make(chan exit, 1)}
	if started, err := s.start(&p, line); err != nil {
		run.Result, run.Detail = certmedic.RunNotStarted, err.Error()
		if started || s.Err() != nil {
			run.Result = certmedic.RunCancelled
		}
		return run
	}
	s.wait(ctx, &p, c.Timeout, &run)
	p.close()
	var cutOut, cutErr bool
	run.Stdout, cutOut = p.stdout.text()
	run.Stderr, cutErr = p.stderr.text()
	run.Truncated = cutOut || cutErr
	run.Duration = time.Since(run.StartedAt)
	return run
}

// commandLine makes the one line that goes to the login shell.
func commandLine(c Command, prefix []string) (string, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return "", errors.New("the command is empty")
	}
	for _, v := range c.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" || strings.HasPrefix(name, "-") {
			return "", fmt.Errorf("%q is no variable of an environment", name)
		}
	}
	if len(prefix) > 0 && strings.Contains(c.Argv[0], "=") { // env would take it as a variable
		return "", fmt.Errorf("the program %q has an equals sign in its name", c.Argv[0])
	}
	return Quote(append(slices.Clone(prefix), c.Argv...)...)
}

// wait waits for the end of a command and tells how it was.
func (s *Session) wait(ctx context.Context, p *process, timeout time.Duration, run *certmedic.Run) {
	deadline := time.NewTimer(timeout + overtime)
	defer deadline.Stop()
	select {
	case e := <-p.exited:
		if !e.known { // the end of a channel can be the first that is seen of the end of the connection
			s.lostWithin(outputGrace)
		}
		e.tell(run, timeout)
		if !e.known && s.Err() != nil {
			run.Detail = s.lostDetail()
		}
	case <-deadline.C:
		p.terminate()
		run.Result = certmedic.RunTimedOut
		run.Detail = fmt.Sprintf("still running after %v; its channel was closed, whether it ended is not known", timeout+overtime)
	case <-ctx.Done():
		run.Result, run.Detail = certmedic.RunCancelled, "no longer waited for; whether it ended has to be looked at"
	case <-s.lost.Done():
		run.Result, run.Detail = certmedic.RunCancelled, s.lostDetail()
	}
}

// lostWithin waits a moment for the end of the connection.
func (s *Session) lostWithin(limit time.Duration) {
	select {
	case <-s.lost.Done():
	case <-time.After(limit):
	}
}

func (s *Session) lostDetail() string {
	return fmt.Sprintf("%v; whether it ran to its end has to be looked at", s.Err())
}

// tell puts how a command ended into its run.
func (e exit) tell(run *certmedic.Run, timeout time.Duration) {
	switch {
	case e.signal != "":
		run.Result, run.Signal = certmedic.RunSignaled, "SIG"+e.signal
		run.Detail = "killed by " + run.Signal
	case !e.known:
		run.Result, run.Detail = certmedic.RunCancelled, "its channel was closed without an exit code; whether it ran has to be looked at"
	case (e.code == exitTimedOut || e.code == exitKilled) && time.Since(run.StartedAt) >= timeout:
		run.Result, run.Detail = certmedic.RunTimedOut, fmt.Sprintf("still running after %v, ended on the host", timeout)
	default:
		run.Result, run.ExitCode = certmedic.RunExited, e.code
	}
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s" }
