package session_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/remote/session"
	"github.com/certmedic/certmedic/remediate/remote/sshfake"
)

// dial connects to a server and closes the session with the test.
func dial(t *testing.T, h session.Host) *session.Session {
	t.Helper()
	s, err := session.Dial(t.Context(), h, session.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestHostKeys(t *testing.T) {
	server := sshfake.Start(t)
	address := server.Listener.Addr().String()
	key, other := server.HostKey.PublicKey(), sshfake.NewKey(t, "").PublicKey()
	for _, row := range []struct {
		about string
		lines []string
		want  string // part of the error; empty: it is let in
	}{
		{"a host that is known", []string{knownhosts.Line([]string{address}, key)}, ""},
		{"a host whose name is hashed", []string{knownhosts.HashHostname(knownhosts.Normalize(address)) + strings.TrimPrefix(knownhosts.Line([]string{address}, key), knownhosts.Normalize(address))}, ""},
		{"one of two keys", []string{knownhosts.Line([]string{address}, other), knownhosts.Line([]string{address}, key)}, ""},
		{"a host that is not known: the line to add is shown", []string{"# nobody"}, knownhosts.Line([]string{address}, key)},
		{"another host", []string{knownhosts.Line([]string{"192.0.2.1"}, key)}, "is not in"},
		{"another key", []string{knownhosts.Line([]string{address}, other)}, "has another one"},
		{"a revoked key", []string{knownhosts.Line([]string{address}, key), "@revoked * " + strings.SplitN(knownhosts.Line([]string{address}, key), " ", 2)[1]}, "revokes"},
		{"an authority did not sign it", []string{"@cert-authority " + knownhosts.Line([]string{address}, other)}, "has no key of a type"},
	} {
		t.Run(row.about, func(t *testing.T) {
			server.Know(t, row.lines...)
			s, err := session.Dial(t.Context(), server.Host(), session.Limits{})
			if err == nil {
				s.Close()
			}
			switch {
			case row.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case row.want != "" && (!errors.Is(err, session.ErrHostKey) || !strings.Contains(err.Error(), row.want)):
				t.Errorf("got %v, want an error about the key with %q", err, row.want)
			}
		})
	}
}

func TestAuthority(t *testing.T) {
	server := sshfake.Start(t)
	authority := sshfake.NewKey(t, "")
	host, _, _ := net.SplitHostPort(server.Listener.Addr().String())
	for _, row := range []struct {
		about, principal string
		in               bool
	}{
		{"a key that the authority signed for this host", host, true},
		{"a key that it signed for another host", "192.0.2.1", false},
	} {
		t.Run(row.about, func(t *testing.T) {
			cert := &ssh.Certificate{
				Key: server.HostKey.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{row.principal}, ValidBefore: ssh.CertTimeInfinity,
			}
			if err := cert.SignCert(strings.NewReader(strings.Repeat("x", 1000)), authority); err != nil {
				t.Fatal(err)
			}
			signer, err := ssh.NewCertSigner(cert, server.HostKey)
			if err != nil {
				t.Fatal(err)
			}
			signed := sshfake.StartWith(t, signer)
			signed.Know(t, "@cert-authority "+knownhosts.Line([]string{signed.Listener.Addr().String()}, authority.PublicKey()))
			s, err := session.Dial(t.Context(), signed.Host(), session.Limits{})
			if err == nil {
				s.Close()
			}
			if (err == nil) != row.in || err != nil && !errors.Is(err, session.ErrHostKey) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	server := sshfake.Start(t)
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain, err := os.ReadFile(server.UserKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParseRawPrivateKey(plain)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	encrypted := write("encrypted", string(pem.EncodeToMemory(block)), 0o600)
	open := write("open", string(plain), 0o644)
	passphrase := write("passphrase", "open sesame\nnot this\n", 0o600)
	wrong := write("wrong", "sesame\n", 0o600)
	stranger := filepath.Join(dir, "stranger")
	sshfake.NewKey(t, stranger)
	socket := serveAgent(t, private)

	for _, row := range []struct {
		about string
		keys  []string
		pass  string
		agent string
		want  string // part of the error; empty: it is let in
	}{
		{"a key file", []string{server.UserKey}, "", "", ""},
		{"the second of two key files", []string{stranger, server.UserKey}, "", "", ""},
		{"an encrypted key file with its passphrase", []string{encrypted}, passphrase, "", ""},
		{"an encrypted key file without", []string{encrypted}, "", "", "encrypted"},
		{"an encrypted key file with another passphrase", []string{encrypted}, wrong, "", "reading the ssh key"},
		{"a key of the agent", nil, "", socket, ""},
		{"an agent that is not there", nil, "", filepath.Join(dir, "none"), "agent"},
		{"a key file that others may read", []string{open}, "", "", "chmod o-rwx"},
		{"a key that the host does not know", []string{stranger}, "", "", session.ErrLogin.Error()},
	} {
		t.Run(row.about, func(t *testing.T) {
			h := server.Host()
			h.KeyFiles, h.PassphraseFile, h.Agent = row.keys, row.pass, row.agent
			s, err := session.Dial(t.Context(), h, session.Limits{})
			if err == nil {
				s.Close()
			}
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

// serveAgent starts an ssh-agent that holds a key.
func serveAgent(t *testing.T, private any) string {
	t.Helper()
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(keyring, conn); _ = conn.Close() }()
		}
	}()
	return socket
}

func TestJumpHosts(t *testing.T) {
	jump, second, target := sshfake.Start(t), sshfake.Start(t), sshfake.Start(t)
	h := target.Host()
	h.Via = []session.Host{jump.Host(), second.Host()}
	if run := dial(t, h).Run(t.Context(), session.Command{Argv: []string{"true"}}); !run.Succeeded() {
		t.Errorf("over two jump hosts a command ended with %+v", run)
	}
	second.Know(t, "# nobody")
	if _, err := session.Dial(t.Context(), h, session.Limits{}); !errors.Is(err, session.ErrHostKey) || !strings.Contains(err.Error(), "by way of") {
		t.Errorf("a jump host that is not known was believed: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	server := sshfake.Start(t)
	for _, row := range []struct{ about, address string }{
		{"nobody listens", "127.0.0.1:1"},
		{"nobody answers", silent.Addr().String()},
	} {
		h := server.Host()
		host, port, _ := net.SplitHostPort(row.address)
		h.Address = host
		h.Port, _ = net.LookupPort("tcp", port)
		start := time.Now()
		_, err := session.Dial(t.Context(), h, session.Limits{Dial: 200 * time.Millisecond, Handshake: 200 * time.Millisecond})
		if !errors.Is(err, session.ErrUnreachable) || time.Since(start) > 10*time.Second {
			t.Errorf("%s: %v after %v", row.about, err, time.Since(start))
		}
	}
}

func TestCheck(t *testing.T) {
	good := session.Host{Address: "web1", User: "deploy", KnownHosts: []string{"/k"}, KeyFiles: []string{"/i"}}
	for _, row := range []struct {
		about  string
		change func(h *session.Host)
		wrong  bool
	}{
		{"a host by name", func(*session.Host) {}, false},
		{"a host by IPv6 address", func(h *session.Host) { h.Address = "2001:db8::7" }, false},
		{"a link-local address with its zone", func(h *session.Host) { h.Address = "fe80::1%eth0" }, false},
		{"a port in the address", func(h *session.Host) { h.Address = "web1:22" }, true},
		{"an address that looks like an option", func(h *session.Host) { h.Address = "-oProxyCommand=x" }, true},
		{"no address", func(h *session.Host) { h.Address = "" }, true},
		{"no user", func(h *session.Host) { h.User = "" }, true},
		{"no known_hosts", func(h *session.Host) { h.KnownHosts = nil }, true},
		{"no key", func(h *session.Host) { h.KeyFiles = nil }, true},
		{"a port that is none", func(h *session.Host) { h.Port = 70000 }, true},
		{"a jump host that has jump hosts", func(h *session.Host) { j := *h; j.Via = []session.Host{*h}; h.Via = []session.Host{j} }, true},
		{"a relative sftp server", func(h *session.Host) { h.SFTPServer = "sftp-server" }, true},
	} {
		h := good
		row.change(&h)
		if err := h.Check(); (err != nil) != row.wrong {
			t.Errorf("%s: %v", row.about, err)
		}
	}
}

func TestRun(t *testing.T) {
	server := sshfake.Start(t)
	s := dial(t, server.Host())
	for _, row := range []struct {
		about   string
		command session.Command
		want    certmedic.Run
	}{
		{"output and exit code", session.Command{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 7"}}, certmedic.Run{Result: certmedic.RunExited, ExitCode: 7, Stdout: "out\n", Stderr: "err\n"}},
		{"arguments arrive as they are", session.Command{Argv: []string{"printf", "%s|", "a b", "$HOME", "it's", "`x`", "*", "", "\\n"}}, certmedic.Run{Result: certmedic.RunExited, Stdout: "a b|$HOME|it's|`x`|*||\\n|"}},
		{"variables arrive as they are", session.Command{Argv: []string{"sh", "-c", `printf %s "$A"`}, Env: []string{"A=$(x) 'y'"}}, certmedic.Run{Result: certmedic.RunExited, Stdout: "$(x) 'y'"}},
		{"secrets are hidden", session.Command{Argv: []string{"echo", "password=hunter2"}}, certmedic.Run{Result: certmedic.RunExited, Stdout: "password=***\n"}},
		{"much output is cut", session.Command{Argv: []string{"sh", "-c", "seq 100000; echo end"}, MaxOutput: 40}, certmedic.Run{Result: certmedic.RunExited, Truncated: true}},
		{"a program that is not there", session.Command{Argv: []string{"/nowhere/x"}}, certmedic.Run{Result: certmedic.RunExited, ExitCode: 127}},
		{"a command that is killed", session.Command{Argv: []string{"sh", "-c", "kill -9 $$"}}, certmedic.Run{Result: certmedic.RunExited, ExitCode: 137}},
		{"a command that does not end is ended", session.Command{Argv: []string{"sleep", "60"}, Timeout: 300 * time.Millisecond}, certmedic.Run{Result: certmedic.RunTimedOut}},
		{"what it leaves running is not waited for", session.Command{Argv: []string{"sh", "-c", "sleep 2 </dev/null >/dev/null 2>&1 & echo started"}}, certmedic.Run{Result: certmedic.RunExited, Stdout: "started\n"}},
		{"no command", session.Command{}, certmedic.Run{Result: certmedic.RunNotStarted}},
		{"a newline in an argument", session.Command{Argv: []string{"echo", "a\nb"}}, certmedic.Run{Result: certmedic.RunNotStarted}},
		{"an option instead of a variable", session.Command{Argv: []string{"true"}, Env: []string{"-S=x"}}, certmedic.Run{Result: certmedic.RunNotStarted}},
	} {
		t.Run(row.about, func(t *testing.T) {
			got := s.Run(t.Context(), row.command)
			if got.Result != row.want.Result || got.ExitCode != row.want.ExitCode || got.Truncated != row.want.Truncated {
				t.Errorf("got %+v", got)
			}
			if row.want.Stdout != "" && got.Stdout != row.want.Stdout || row.want.Stderr != "" && got.Stderr != row.want.Stderr {
				t.Errorf("it wrote %q and %q", got.Stdout, got.Stderr)
			}
			if row.want.Truncated && (!strings.HasPrefix(got.Stdout, "1\n2\n") || !strings.HasSuffix(got.Stdout, "end\n")) {
				t.Errorf("beginning or end is missing: %q", got.Stdout)
			}
		})
	}
}

func TestSudo(t *testing.T) {
	server := sshfake.Start(t)
	lines := make(chan string, 10)
	server.Misbehave(&sshfake.Faults{Command: func(line string) (int, bool) {
		lines <- line
		return 0, true
	}})
	h := server.Host()
	h.Sudo = true
	s := dial(t, h)
	s.Run(t.Context(), session.Command{Argv: []string{"nginx", "-t"}})
	<-lines // it looks whether there is a timeout
	if got, want := <-lines, "sudo -n -- timeout -k 5s 60s nginx -t"; got != want {
		t.Errorf("it ran %q, want %q", got, want)
	}
	s.Run(t.Context(), session.Command{Argv: []string{"nginx", "-t"}, Env: []string{"A=1 2"}})
	if got, want := <-lines, "sudo -n -- env 'A=1 2' timeout -k 5s 60s nginx -t"; got != want {
		t.Errorf("it ran %q, want %q", got, want)
	}
	s.Run(t.Context(), session.Command{Argv: []string{"getent", "group", "x"}, AsUser: true})
	if got := <-lines; strings.Contains(got, "sudo") {
		t.Errorf("it ran %q, and not as the user", got)
	}
}

func TestSudoSaysWhy(t *testing.T) {
	server := sshfake.Start(t)
	server.Misbehave(&sshfake.Faults{
		Extension: []byte("sudo: a password is required\n"), Command: func(string) (int, bool) { return 1, true },
	})
	h := server.Host()
	h.Sudo, h.SFTPServer = true, "/usr/lib/openssh/sftp-server"
	if _, err := dial(t, h).Files(t.Context()); err == nil || !strings.Contains(err.Error(), "a password is required") {
		t.Errorf("got %v", err)
	}
}

func TestLostConnection(t *testing.T) {
	t.Run("a command whose connection is cut is told as cancelled", func(t *testing.T) {
		server := sshfake.Start(t)
		s := dial(t, server.Host())
		s.Run(t.Context(), session.Command{Argv: []string{"true"}})
		go func() {
			time.Sleep(200 * time.Millisecond)
			server.CutAll()
		}()
		if run := s.Run(t.Context(), session.Command{Argv: []string{"sleep", "2"}}); run.Result != certmedic.RunCancelled || s.Err() == nil {
			t.Errorf("got %+v, and the session says %v", run, s.Err())
		}
		if run := s.Run(t.Context(), session.Command{Argv: []string{"true"}}); run.Result != certmedic.RunCancelled {
			t.Errorf("on a session that is lost a command ended with %+v", run)
		}
	})
	t.Run("a host that does not answer any more is given up", func(t *testing.T) {
		server := sshfake.Start(t)
		server.Misbehave(&sshfake.Faults{Silent: true})
		s, err := session.Dial(t.Context(), server.Host(), session.Limits{Keepalive: 20 * time.Millisecond, Silence: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if run := s.Run(t.Context(), session.Command{Argv: []string{"sleep", "3"}}); run.Result != certmedic.RunCancelled || !strings.Contains(run.Detail, "did not answer") {
			t.Errorf("got %+v", run)
		}
	})
	t.Run("when nobody waits any more the command is cancelled", func(t *testing.T) {
		s := dial(t, sshfake.Start(t).Host())
		s.Run(t.Context(), session.Command{Argv: []string{"true"}})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if run := s.Run(ctx, session.Command{Argv: []string{"sleep", "2"}}); run.Result != certmedic.RunCancelled {
			t.Errorf("got %+v", run)
		}
	})
}
