package session

import (
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// outputGrace is how long the output of a command that has ended is waited for: what it leaves
// running may keep it open.
const outputGrace = 500 * time.Millisecond

// process is a command on the host and its channel (RFC 4254, section 6).
type process struct {
	channel        ssh.Channel
	stdout, stderr *kept // without stdout the channel itself is read
	exited         chan exit
	output         sync.WaitGroup
}

// exit is how a command ended.
type exit struct {
	known  bool // the host told
	code   int
	signal string // without "SIG"
}

// start begins a command. With an error started says whether it may run all the same.
func (s *Session) start(p *process, line string) (started bool, err error) {
	return s.request(p, "exec", line)
}

func (s *Session) startSubsystem(p *process, name string) (started bool, err error) {
	return s.request(p, "subsystem", name)
}

func (s *Session) request(p *process, kind, what string) (started bool, err error) {
	channel, requests, err := s.client().OpenChannel("session", nil)
	if err != nil {
		return false, fmt.Errorf("opening a channel: %w", err)
	}
	p.channel = channel
	if p.stdout != nil {
		p.output.Go(func() { _, _ = io.Copy(p.stdout, channel) }) // its end is the end of the output
	}
	p.output.Go(func() { _, _ = io.Copy(p.stderr, channel.Stderr()) })
	go p.listen(requests) // ends with the channel
	ok, err := channel.SendRequest(kind, true, ssh.Marshal(struct{ What string }{what}))
	if err == nil && !ok {
		p.close()
		return false, fmt.Errorf("the host refuses the request %q", kind)
	}
	if err != nil {
		p.close()
		return true, fmt.Errorf("starting it: %w", err)
	}
	if p.stdout != nil {
		_ = channel.CloseWrite() // fails where the command has ended already
	}
	return true, nil
}

// listen takes the host's word on how the command ended.
func (p *process) listen(requests <-chan *ssh.Request) {
	var e exit
	for r := range requests {
		var status struct{ Code uint32 }
		var signal struct {
			Name       string
			CoreDumped bool
			Message    string
			Language   string
		}
		switch {
		case r.Type == "exit-status" && ssh.Unmarshal(r.Payload, &status) == nil:
			e = exit{known: true, code: int(status.Code)}
			p.tell(e)
		case r.Type == "exit-signal" && ssh.Unmarshal(r.Payload, &signal) == nil:
			e = exit{known: true, signal: signal.Name}
			p.tell(e)
		}
		if r.WantReply {
			_ = r.Reply(false, nil) // fails only with the connection
		}
	}
	p.tell(e)
}

// tell says how it ended, once.
func (p *process) tell(e exit) {
	select {
	case p.exited <- e:
	default:
	}
}

// terminate asks the host to end the command; many do not.
func (p *process) terminate() {
	_, _ = p.channel.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{"TERM"}))
}

// close takes what is left of the output and ends the channel.
func (p *process) close() {
	all := make(chan struct{})
	go func() { // ends with the channel
		p.output.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-time.After(outputGrace):
	}
	_ = p.channel.Close() // the connection may have ended before
}
