package session

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/internal/redact"
)

// ErrHostKey says that a host could not be told from somebody who pretends to be it: its key is
// not in known_hosts, is another one than there, or is revoked.
var ErrHostKey = errors.New("the host's key is not to be trusted")

// trust is what known_hosts says of one host.
type trust struct {
	check      ssh.HostKeyCallback
	algorithms []string // those of the keys that are known; the server is asked for no others
}

// trustOf reads the known_hosts files of a host. Nobody else may write them.
func trustOf(h Host) (trust, error) {
	for _, file := range h.KnownHosts {
		if err := ownership.Check(file); err != nil {
			return trust{}, fmt.Errorf("checking known_hosts: %w", err)
		}
	}
	check, err := knownhosts.New(h.KnownHosts...)
	if err != nil {
		return trust{}, fmt.Errorf("reading known_hosts: %w", err)
	}
	authorities, err := authorities(h.KnownHosts)
	if err != nil {
		return trust{}, fmt.Errorf("reading known_hosts: %w", err)
	}
	t := trust{algorithms: plainAlgorithms()}
	known := knownFor(check, h.endpoint())
	if len(known) > 0 {
		t.algorithms = algorithmsOf(known, authorities)
	}
	t.check = func(address string, remote net.Addr, key ssh.PublicKey) error {
		return explain(check(address, remote, key), h, key)
	}
	return t, nil
}

// knownFor returns the keys of a host, asked for with a key that nobody has.
func knownFor(check ssh.HostKeyCallback, address string) []knownhosts.KnownKey {
	var mismatch *knownhosts.KeyError
	if errors.As(check(address, nowhere{}, nobody{}), &mismatch) {
		return mismatch.Want
	}
	return nil
}

// nobody is a key that no file holds.
type nobody struct{}

func (nobody) Type() string                        { return "nobody" }
func (nobody) Marshal() []byte                     { return nil }
func (nobody) Verify([]byte, *ssh.Signature) error { return errors.New("nobody signs") }

// nowhere stands for an address that is not known yet.
type nowhere struct{}

func (nowhere) Network() string { return "tcp" }
func (nowhere) String() string  { return "0.0.0.0:0" }

// line is a place in a file.
type line struct {
	file string
	at   int // from 1
}

// authorities returns the lines that name an authority instead of a host's key, because
// [knownhosts.KnownKey] does not tell them apart.
func authorities(files []string) (map[line]bool, error) {
	marked := map[line]bool{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		scanner := bufio.NewScanner(f)
		for n := 1; scanner.Scan(); n++ {
			if strings.HasPrefix(strings.Trim(scanner.Text(), " \t"), "@cert-authority") {
				marked[line{name, n}] = true
			}
		}
		if err := scanner.Err(); err != nil {
			return nil, err
		}
	}
	return marked, nil
}

// algorithmsOf returns the algorithms for which the server can show a key that is known. An
// authority may have signed a key of any type.
func algorithmsOf(known []knownhosts.KnownKey, authorities map[line]bool) []string {
	var all []string
	for _, k := range known {
		if authorities[line{k.Filename, k.Line}] {
			all = append(all,
				ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
				ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01)
			continue
		}
		if k.Key.Type() == ssh.KeyAlgoRSA {
			all = append(all, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256) // never with SHA-1
			continue
		}
		all = append(all, k.Key.Type())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// plainAlgorithms are those for a host of which nothing is known: it shall show a key, for the
// line that would make it known.
func plainAlgorithms() []string {
	return []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
}

// explain turns a refusal into a sentence that says what to do.
func explain(err error, h Host, key ssh.PublicKey) error {
	if err == nil {
		return nil
	}
	var revoked *knownhosts.RevokedError
	var mismatch *knownhosts.KeyError
	shown := key.Type() + " " + ssh.FingerprintSHA256(key)
	switch {
	case errors.As(err, &revoked):
		return fmt.Errorf("%w: %q shows the key %s, which %s:%d revokes", ErrHostKey, h, shown, revoked.Revoked.Filename, revoked.Revoked.Line)
	case errors.As(err, &mismatch) && len(mismatch.Want) == 0:
		return fmt.Errorf("%w: %q is not in %s and shows the key %s; if that is its key, as `ssh-keygen -lf` says on the host, add the line: %s",
			ErrHostKey, h, strings.Join(h.KnownHosts, ", "), shown, knownhosts.Line([]string{h.endpoint()}, key))
	case errors.As(err, &mismatch):
		return fmt.Errorf("%w: %q shows the key %s, and %s:%d has another one", ErrHostKey, h, shown, mismatch.Want[0].Filename, mismatch.Want[0].Line)
	}
	return fmt.Errorf("%w: %q: %s", ErrHostKey, h, redact.Plain(err.Error()))
}
