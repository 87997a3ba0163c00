package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/certmedic/certmedic/internal/ownership"
)

// maxKeyFile bounds what is read of a key or a passphrase, in bytes.
const maxKeyFile = 64 << 10

// login is how we prove who we are. It is closed when nobody is asked to sign any more.
type login struct {
	method ssh.AuthMethod
	agent  net.Conn // nil: none
}

func (l login) close() {
	if l.agent != nil {
		_ = l.agent.Close() // nothing was written that could be lost
	}
}

// loginTo reads the key files of a host and finds its agent.
func loginTo(ctx context.Context, h Host) (login, error) {
	signers, err := keys(h)
	if err != nil {
		return login{}, err
	}
	if h.Agent == "" {
		return login{method: ssh.PublicKeys(signers...)}, nil
	}
	if err := ownership.Check(h.Agent); err != nil {
		return login{}, fmt.Errorf("checking the socket of the agent: %w", err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", h.Agent)
	if err != nil {
		return login{}, fmt.Errorf("asking the agent: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a Unix socket takes one
	}
	ask := agent.NewClient(conn)
	return login{agent: conn, method: ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		more, err := ask.Signers()
		if err != nil && len(signers) == 0 {
			return nil, fmt.Errorf("asking the agent: %w", err)
		}
		return append(signers, more...), nil
	})}, nil
}

// keys reads the private keys of a host.
func keys(h Host) ([]ssh.Signer, error) {
	var signers []ssh.Signer
	for _, file := range h.KeyFiles {
		signer, err := readKey(file, h.PassphraseFile)
		if err != nil {
			return nil, fmt.Errorf("reading the ssh key %q: %w", file, err)
		}
		signers = append(signers, signer)
	}
	return signers, nil
}

func readKey(file, passphraseFile string) (ssh.Signer, error) {
	data, err := readSecret(file)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	var encrypted *ssh.PassphraseMissingError
	if !errors.As(err, &encrypted) {
		return signer, err
	}
	if passphraseFile == "" {
		return nil, errors.New("it is encrypted, and there is no passphrase file")
	}
	passphrase, err := readSecret(passphraseFile)
	if err != nil {
		return nil, fmt.Errorf("reading its passphrase: %w", err)
	}
	first, _, _ := strings.Cut(string(passphrase), "\n")
	return ssh.ParsePrivateKeyWithPassphrase(data, []byte(strings.TrimSuffix(first, "\r")))
}

// readSecret reads a file that others may neither read nor change.
func readSecret(file string) ([]byte, error) {
	if err := ownership.CheckSecret(file); err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(data) > maxKeyFile {
		err = fmt.Errorf("it is larger than %d bytes", maxKeyFile)
	}
	return data, err
}
