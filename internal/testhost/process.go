package testhost

import (
	"bytes"
	"os/exec"
	"runtime"
	"time"
)

// process is a child that was started by [start]. Its output and error may be read
// once done is closed.
type process struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan struct{}
	err    error
}

// start starts a child and waits for it in a goroutine of its own. That goroutine keeps
// its thread, because the kernel sends a parent-death signal when the thread that
// started the child ends, which must not be before the whole process does.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = &p.stderr
	cmd.WaitDelay = time.Second
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	return p, <-started
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended already
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// output returns what an ended process wrote to its standard error.
func (p *process) output() string { return string(bytes.TrimSpace(p.stderr.Bytes())) }
