// Package sshfake is an ssh server for tests, with this machine's own shell and files behind it, and
// with faults that real servers have at the worst moment. Tests of packages below remediate/remote
// start it by [Start]; no program uses it.
package sshfake

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/certmedic/certmedic/remediate/remote/session"
)

// Server is an ssh server that lets in who has its user's key.
type Server struct {
	Listener   net.Listener
	HostKey    ssh.Signer
	KnownHosts string // a file that knows the server
	UserKey    string // a file with the key that is let in
	Dir        string // where its home is

	user   ssh.PublicKey
	faults atomic.Pointer[Faults]
	alive  context.Context // of the test, and of what it runs
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]bool
}

// Faults say how the server misbehaves towards connections from now on. Requests are counted over
// a server, from 1: those of sftp, and commands.
type Faults struct {
	CutBefore int // the connection ends instead of this request
	CutAfter  int // this request is done, and the connection ends before its answer
	CutBytes  int // the connection ends once so many bytes came from the client
	FailAt    int // this request of sftp is answered with a failure, and not done

	Fail      func(kind byte) bool                     // requests of sftp that are answered with a failure
	Change    func(kind byte, packet []byte)           // changes a request of sftp before it is done
	Before    func(n int)                              // is called before each request
	NoRename  bool                                     // posix-rename@openssh.com is not offered
	Command   func(line string) (status int, did bool) // does a command in place of the shell
	Extension []byte                                   // is sent as standard error of each command, before all else
	Silent    bool                                     // requests that have no channel are not answered, such as those that keep a connection alive

	requests atomic.Int64
}

// Requests returns how many requests there were since the faults were set.
func (f *Faults) Requests() int { return int(f.requests.Load()) }

// Start starts a server on a port of this machine, which ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartWith(t, NewKey(t, ""))
}

// StartWith is [Start] with a host key.
func StartWith(t testing.TB, hostKey ssh.Signer) *Server {
	t.Helper()
	s := &Server{Dir: t.TempDir(), conns: map[net.Conn]bool{}, alive: t.Context()}
	s.faults.Store(&Faults{})
	s.HostKey = hostKey
	user := NewKey(t, filepath.Join(s.Dir, "id"))
	s.UserKey, s.user = filepath.Join(s.Dir, "id"), user.PublicKey()
	var err error
	if s.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.KnownHosts = filepath.Join(s.Dir, "known_hosts")
	s.Know(t, knownhosts.Line([]string{s.Listener.Addr().String()}, s.HostKey.PublicKey()))
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

// NewKey makes a key, and writes it to a file where one is named.
func NewKey(t testing.TB, file string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if file == "" {
		return signer
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err == nil {
		err = os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// Know replaces the known_hosts file of the server.
func (s *Server) Know(t testing.TB, lines ...string) {
	t.Helper()
	var all bytes.Buffer
	for _, line := range lines {
		all.WriteString(line + "\n")
	}
	if err := os.WriteFile(s.KnownHosts, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Host returns how the server is reached.
func (s *Server) Host() session.Host {
	host, port, _ := net.SplitHostPort(s.Listener.Addr().String()) // a listener has both
	n, _ := strconv.Atoi(port)
	return session.Host{Address: host, Port: n, User: "someone", KnownHosts: []string{s.KnownHosts}, KeyFiles: []string{s.UserKey}}
}

// Misbehave sets the faults. It returns them, so that requests can be counted.
func (s *Server) Misbehave(f *Faults) *Faults {
	s.faults.Store(f)
	return f
}

// CutAll ends all connections, as a network does that fails.
func (s *Server) CutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *Server) close() {
	_ = s.Listener.Close()
	s.CutAll()
	s.wg.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(conn)
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

// cutConn is a connection that ends after so many bytes.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Read(p []byte) (int, error) {
	if len(p) > c.left {
		p = p[:c.left]
	}
	if c.left == 0 {
		_ = c.Close()
		return 0, errors.New("cut")
	}
	n, err := c.Conn.Read(p)
	c.left -= n
	return n, err
}

func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	f := s.faults.Load()
	if f.CutBytes > 0 {
		conn = &cutConn{conn, f.CutBytes}
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), s.user.Marshal()) {
			return nil, errors.New("not this key")
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(s.HostKey)
	server, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer server.Close()
	if f.Silent {
		go func() {
			for range requests { // nobody answers
			}
		}()
	} else {
		go ssh.DiscardRequests(requests)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for next := range channels {
		wg.Go(func() { s.channel(next, &peer{f, conn}) })
	}
}

// peer is a connection and how it is treated.
type peer struct {
	*Faults
	conn net.Conn
}

// request counts a request and reports whether the connection ended instead of it.
func (p *peer) request() (n int, cut bool) {
	n = int(p.requests.Add(1))
	if p.Before != nil {
		p.Before(n)
	}
	if n == p.CutBefore {
		_ = p.conn.Close()
	}
	return n, n == p.CutBefore
}

// answered ends the connection where it is to end before the answer to a request.
func (p *peer) answered(n int) (cut bool) {
	if n == p.CutAfter {
		_ = p.conn.Close()
	}
	return n == p.CutAfter
}

func (s *Server) channel(next ssh.NewChannel, p *peer) {
	switch next.ChannelType() {
	case "session":
	case "direct-tcpip":
		forward(next)
		return
	default:
		_ = next.Reject(ssh.UnknownChannelType, "")
		return
	}
	channel, requests, err := next.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	for r := range requests {
		var payload struct{ Text string }
		_ = ssh.Unmarshal(r.Payload, &payload) // of those two kinds only
		switch r.Type {
		case "exec":
			_ = r.Reply(true, nil)
			s.exec(channel, payload.Text, p)
			return
		case "subsystem":
			_ = r.Reply(payload.Text == "sftp", nil)
			s.serveFiles(channel, p)
			return
		default:
			_ = r.Reply(false, nil)
		}
	}
}

// exec runs a command as sshd does: the line goes to the shell.
func (s *Server) exec(channel ssh.Channel, line string, p *peer) {
	n, cut := p.request()
	if cut {
		return
	}
	_, _ = channel.Stderr().Write(p.Extension)
	status, did := 0, false
	if p.Command != nil {
		status, did = p.Command(line)
	}
	if !did {
		cmd := exec.CommandContext(s.alive, "/bin/sh", "-c", line)
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.WaitDelay = 100 * time.Millisecond // timeout(1) has made a group of its own
		cmd.Dir, cmd.Env = s.Dir, []string{"HOME=" + s.Dir, "PATH=/usr/bin:/bin"}
		out, err := cmd.StdoutPipe()
		cmd.Stderr = channel.Stderr()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return
		}
		stop := context.AfterFunc(s.alive, func() { _ = out.Close() }) // a process with a group of its own lives on
		_, _ = io.Copy(channel, out)
		stop()
		_ = cmd.Wait() // its status says how it ended
		status = cmd.ProcessState.ExitCode()
	}
	if p.answered(n) || status < 0 {
		return
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(status)}))
}

// forward connects on, for a client that takes the server as its jump host.
func forward(next ssh.NewChannel) {
	var to struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	if err := ssh.Unmarshal(next.ExtraData(), &to); err != nil {
		_ = next.Reject(ssh.ConnectionFailed, "")
		return
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		_ = next.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer conn.Close()
	channel, requests, err := next.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(conn, channel); _ = conn.Close() })
	_, _ = io.Copy(channel, conn)
	_ = channel.Close()
	wg.Wait()
}
