package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a child may take to end after SIGTERM.
const stopTimeout = 10 * time.Second

// child is a program that runs beside the story, in a process group of its own, so that
// Ctrl-C reaches the story only and the story ends its children in order.
type child struct {
	name    string
	logPath string
	process *os.Process
	ended   chan struct{} // closed when it has ended
	result  error         // how it ended; read it after ended is closed
}

// spawn starts a program whose output goes to a file. A story that is killed takes its
// children with it.
func spawn(name, logPath string, argv ...string) (*child, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	command := exec.Command(argv[0], argv[1:]...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &child{name: name, logPath: logPath, process: command.Process, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.result = command.Wait()
	}()
	return c, nil
}

// alive returns an error with the end of its output when the child has ended.
func (c *child) alive() error {
	select {
	case <-c.ended:
		return fmt.Errorf("%s ended by itself (%v): %s", c.name, c.result, tail(c.logPath))
	default:
		return nil
	}
}

// stop ends the child: SIGTERM, and SIGKILL when it takes too long, which is an error.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	if err := c.process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	select {
	case <-c.ended:
		return nil
	case <-time.After(stopTimeout):
	}
	err := c.process.Kill()
	<-c.ended
	return errors.Join(fmt.Errorf("%s did not stop within %s and was killed", c.name, stopTimeout), err)
}

// await tries a condition until it holds, for at most timeout, and gives up early when
// the child ends. What failed last is part of the error.
func (c *child) await(ctx context.Context, timeout time.Duration, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		last := condition()
		if last == nil {
			return nil
		}
		if err := c.alive(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", c.name, ctx.Err(), last)
		case <-time.After(pollInterval):
		}
	}
}

// tail returns the last lines of a file on one line.
func tail(path string) string {
	const most = 1000 // bytes
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	content = bytes.TrimSpace(content)
	content = content[max(0, len(content)-most):]
	return strings.ReplaceAll(string(content), "\n", " | ")
}
