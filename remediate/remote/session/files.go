package session

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pkg/sftp"

	"github.com/certmedic/certmedic/internal/redact"
)

// startLimit bounds the start of an sftp server.
const startLimit = 15 * time.Second

// Files returns a client of the host's sftp server, started on the first call. With Sudo the
// server itself runs as root, so that everything it does can be one rename; the login user needs
// the right to run it: USER ALL=(root) NOPASSWD: /usr/lib/openssh/sftp-server. The client ends
// with the session.
func (s *Session) Files(ctx context.Context) (*sftp.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files != nil {
		return s.files, nil
	}
	server, err := s.sftpServer(ctx)
	if err != nil {
		return nil, err
	}
	err = s.Within(ctx, startLimit, func() error {
		s.files, err = s.startFiles(server)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("starting the sftp server on %q: %w", s.host, err)
	}
	return s.files, nil
}

// sftpServer returns the program that is started under sudo; empty: the subsystem of sshd is asked.
func (s *Session) sftpServer(ctx context.Context) (string, error) {
	if !s.host.Sudo || s.host.SFTPServer != "" {
		return s.host.SFTPServer, nil
	}
	places := []string{ // Debian, Fedora, BSD, Arch
		"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server",
	}
	for _, place := range places {
		run := s.exec(ctx, Command{Name: "looking for the sftp server", Argv: []string{"test", "-x", place}, Timeout: startLimit}, nil)
		if run.Succeeded() {
			return place, nil
		}
		if s.Err() != nil {
			return "", s.Err()
		}
	}
	return "", fmt.Errorf("looking for the sftp server on %q: none of %s is there; name it in the configuration", s.host, strings.Join(places, ", "))
}

func (s *Session) startFiles(server string) (*sftp.Client, error) {
	p := process{stderr: newKept(4 << 10), exited: make(chan exit, 1)}
	var err error
	if s.host.Sudo {
		var line string
		if line, err = Quote("sudo", "-n", "--", server); err == nil {
			_, err = s.start(&p, line)
		}
	} else {
		_, err = s.startSubsystem(&p, "sftp")
	}
	if err != nil {
		return nil, err
	}
	files, err := sftp.NewClientPipe(p.channel, p.channel, sftp.UseConcurrentReads(false))
	if err == nil {
		return files, nil
	}
	select { // so that all of what it said is there
	case <-p.exited:
	case <-time.After(outputGrace):
	}
	p.close()
	return nil, fmt.Errorf("%w: %s", err, said(p.stderr))
}

// said returns the last line of what a program wrote to its standard error.
func said(stderr *kept) string {
	text, _ := stderr.text()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return redact.Truncate(last, 200)
	}
	return "it said nothing"
}
