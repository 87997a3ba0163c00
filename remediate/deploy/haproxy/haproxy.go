// Package haproxy loads a certificate into the running processes of HAProxy over their runtime
// sockets, without a reload: no worker is replaced and no connection is cut (HAProxy management
// guide, "set ssl cert", since 2.1).
//
// certmedic runs it as a step of its own ([Run]), when the files are on disk already, so that a
// restart of HAProxy loads the same. It promises that a transaction which was begun is either
// committed or aborted, that none is committed before every process has taken its content, that
// success means that every process shows the new leaf, that a failure says of each what it has, that
// the key goes to nobody who could not read it before, and that it is in no argument, output or
// error.
//
// A process that has committed cannot be asked for what it had: HAProxy never gives a key back. Who
// runs the step brings it back by running it again with the old files.
package haproxy

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Request says which certificate is loaded from where.
type Request struct {
	Sockets     []string `json:"sockets"`     // of the runtime API of each process; patterns of paths
	Certificate string   `json:"certificate"` // as HAProxy's configuration names it
	Files       []string `json:"files"`       // in PEM, what is loaded: leaf, chain and key, in one file or two
}

const (
	maxPEM    = 1 << 20          // bytes that are read of the files
	maxAnswer = 64 << 10         // bytes that are read of an answer
	patience  = 10 * time.Second // for one command
	mostOf    = 64               // processes
)

// Run carries out a [Request] in JSON, and says to out what each process shows afterwards.
func Run(ctx context.Context, request []byte, out io.Writer) error {
	var q Request
	if err := json.Unmarshal(request, &q); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	if q.Certificate == "" || strings.ContainsAny(q.Certificate, " \t\r\n;\\<") {
		return fmt.Errorf("HAProxy cannot be told the name %q", q.Certificate)
	}
	content, leaf, err := read(q.Files)
	if err != nil {
		return err
	}
	all, err := q.processes()
	if err != nil {
		return fmt.Errorf("looking for the processes of HAProxy: %w", err)
	}
	if err := load(ctx, all, content); err != nil {
		return fmt.Errorf("loading %q: %w", q.Certificate, err)
	}
	for _, p := range all {
		answer, err := p.ask(ctx, "show ssl cert "+q.Certificate+"\n")
		if err != nil {
			return fmt.Errorf("looking at %q over %q: %w", q.Certificate, p.socket, err)
		}
		if shown := field(answer, "SHA1 FingerPrint"); !strings.EqualFold(shown, leaf) {
			return fmt.Errorf("HAProxy shows another leaf of %q over %q than the one that was loaded: %s", q.Certificate, p.socket, shown)
		}
		if _, err := fmt.Fprintf(out, "%s: %s: SHA-1 %s, %s\n", p.socket, q.Certificate, leaf, field(answer, "Status")); err != nil {
			return err
		}
	}
	return nil
}

// process is one process of HAProxy, and how far it has come.
type process struct {
	Request
	socket string
	state  string // for people
}

// How far a process has come.
const (
	untouched = "has what it had"
	begun     = "has begun, and serves what it had"
	committed = "has the new version"
	aborted   = "was aborted, and has what it had"
	unclear   = "may have either version"
)

// processes returns the processes whose sockets are named, or match, each once. A pattern that
// matches nothing is an error: what it was to reach is not there.
func (q Request) processes() ([]*process, error) {
	var all []*process
	for _, pattern := range q.Sockets {
		paths := []string{pattern}
		if strings.ContainsAny(pattern, `*?[\`) {
			var err error
			if paths, err = filepath.Glob(pattern); err != nil {
				return nil, fmt.Errorf("%q: %w", pattern, err)
			}
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("no socket matches %q", pattern)
		}
		for _, path := range paths {
			if !slices.ContainsFunc(all, func(p *process) bool { return p.socket == path }) {
				all = append(all, &process{Request: q, socket: path, state: untouched})
			}
		}
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("there is no socket")
	case len(all) > mostOf:
		return nil, fmt.Errorf("there are %d sockets, more than %d", len(all), mostOf)
	}
	return all, nil
}

// load replaces the certificate in a transaction of each process: all are begun before the first is
// committed. Where one fails, those that are begun and not committed are aborted.
func load(ctx context.Context, all []*process, content []byte) error {
	for _, do := range []func(*process) error{
		func(p *process) error { return p.begin(ctx, content) },
		func(p *process) error { return p.commit(ctx) },
	} {
		for _, p := range all {
			if err := do(p); err != nil {
				return errors.Join(fmt.Errorf("over %q: %w", p.socket, err), giveUp(ctx, all))
			}
		}
	}
	return nil
}

// giveUp aborts what is begun and not committed, and says of each of several processes what it has.
func giveUp(ctx context.Context, all []*process) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var errs []error
	var states []string
	for _, p := range all {
		if p.state == begun || p.state == unclear {
			errs = append(errs, p.abort(ctx))
		}
		states = append(states, fmt.Sprintf("%s %s", p.socket, p.state))
	}
	if len(all) > 1 {
		errs = append(errs, errors.New(strings.Join(states, "; ")))
	}
	return errors.Join(errs...)
}

// read returns the content of the files as it is sent, and the SHA-1 of their leaf, by which
// HAProxy names it. Only certificates and keys are taken, without the empty line by which
// content ends.
func read(paths []string) (content []byte, leaf string, err error) {
	var certs, keys bytes.Buffer
	for _, path := range paths {
		data, err := readFile(path)
		if err != nil {
			return nil, "", fmt.Errorf("reading %q: %w", path, err)
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			block.Headers = nil
			switch {
			case strings.HasSuffix(block.Type, "PRIVATE KEY"):
				keys.Write(pem.EncodeToMemory(block))
			case block.Type == "CERTIFICATE":
				certs.Write(pem.EncodeToMemory(block))
			}
		}
	}
	pair, err := tls.X509KeyPair(certs.Bytes(), keys.Bytes())
	if err != nil {
		return nil, "", fmt.Errorf("pairing the certificate and the key of %q: %w", paths, err)
	}
	sum := sha1.Sum(pair.Certificate[0])
	return append(certs.Bytes(), keys.Bytes()...), strings.ToUpper(hex.EncodeToString(sum[:])), nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(data) > maxPEM {
		err = fmt.Errorf("it is larger than %d bytes", maxPEM)
	}
	return data, err
}

// begin has a process take the content. Where its answer did not come, it may have.
func (p *process) begin(ctx context.Context, content []byte) error {
	p.state = begun
	answer, err := p.ask(ctx, "set ssl cert "+p.Certificate+" <<\n"+string(content)+"\n")
	if err != nil {
		return err
	}
	if !strings.Contains(answer, "Transaction created") && !strings.Contains(answer, "Transaction updated") {
		p.state = untouched // nothing was begun; another one's transaction is not ours to abort
		return said(answer)
	}
	return nil
}

// commit has a process use what it took.
func (p *process) commit(ctx context.Context) error {
	answer, err := p.ask(ctx, "commit ssl cert "+p.Certificate+"\n")
	switch {
	case err != nil:
		p.state = unclear
		return err
	case !strings.Contains(answer, "Success!"):
		return said(answer)
	}
	p.state = committed
	return nil
}

// abort has a process forget what it took.
func (p *process) abort(ctx context.Context) error {
	_, err := p.ask(ctx, "abort ssl cert "+p.Certificate+"\n")
	if err != nil {
		return fmt.Errorf("aborting over %q: %w", p.socket, err)
	}
	if p.state == begun {
		p.state = aborted
	}
	return nil
}

// said makes an error of an answer.
func said(answer string) error {
	line := strings.Join(strings.Fields(answer), " ")
	if line == "" {
		line = "nothing; has the socket the level admin?"
	}
	return fmt.Errorf("HAProxy said: %s", line)
}

// ask sends one command and returns the whole answer.
func (p *process) ask(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", p.socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if err := p.trusted(conn); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, command); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	return string(answer), err
}

// trusted checks who listens: root, we ourselves, or who owns the files with the key, and so
// may read it in any case.
func (q Request) trusted(conn net.Conn) error {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("it is no Unix socket")
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || failed != nil {
		return fmt.Errorf("asking who listens: %w", errors.Join(err, failed))
	}
	if peer.Uid == 0 || int(peer.Uid) == os.Geteuid() {
		return nil
	}
	for _, path := range q.Files {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != peer.Uid {
			return fmt.Errorf("user %d listens there, to whom %q does not belong", peer.Uid, path)
		}
	}
	return nil
}

// field returns the value of a line "Name: value" of an answer.
func field(answer, name string) string {
	for line := range strings.Lines(answer) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
