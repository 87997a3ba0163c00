// Package haproxy loads a certificate into a running HAProxy over its runtime socket, without
// a reload: no worker is replaced and no connection is cut (HAProxy management guide, "set ssl
// cert", since 2.1).
//
// certmedic runs it as a step of its own ([Run]), when the files are on disk already, so that a
// restart of HAProxy loads the same. It promises that a transaction which was begun is either
// committed or aborted, that success means that HAProxy shows the new leaf, that the key goes
// to nobody who could not read it before, and that it is in no argument, output or error.
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
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Request says which certificate is loaded from where.
type Request struct {
	Socket      string   `json:"socket"`      // of the runtime API
	Certificate string   `json:"certificate"` // as HAProxy's configuration names it
	Files       []string `json:"files"`       // in PEM, what is loaded: leaf, chain and key, in one file or two
}

const (
	maxPEM    = 1 << 20          // bytes that are read of the files
	maxAnswer = 64 << 10         // bytes that are read of an answer
	patience  = 10 * time.Second // for one command
)

// Run carries out a [Request] in JSON, and says to out what HAProxy shows afterwards.
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
	if err := q.load(ctx, content); err != nil {
		return fmt.Errorf("loading %q over %q: %w", q.Certificate, q.Socket, err)
	}
	answer, err := q.ask(ctx, "show ssl cert "+q.Certificate+"\n")
	if err != nil {
		return fmt.Errorf("looking at %q over %q: %w", q.Certificate, q.Socket, err)
	}
	if shown := field(answer, "SHA1 FingerPrint"); !strings.EqualFold(shown, leaf) {
		return fmt.Errorf("HAProxy shows another leaf of %q than the one that was loaded: %s", q.Certificate, shown)
	}
	_, err = fmt.Fprintf(out, "%s: SHA-1 %s, %s\n", q.Certificate, leaf, field(answer, "Status"))
	return err
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

// load replaces the certificate in a transaction of HAProxy's. What was begun and cannot be
// committed is aborted, also where the answer did not come.
func (q Request) load(ctx context.Context, content []byte) error {
	answer, err := q.ask(ctx, "set ssl cert "+q.Certificate+" <<\n"+string(content)+"\n")
	if err == nil && !strings.Contains(answer, "Transaction created") && !strings.Contains(answer, "Transaction updated") {
		return said(answer) // nothing was begun; another one's transaction is not ours to abort
	}
	if err == nil {
		answer, err = q.ask(ctx, "commit ssl cert "+q.Certificate+"\n")
		if err == nil && strings.Contains(answer, "Success!") {
			return nil
		}
	}
	if err == nil {
		err = said(answer)
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if _, failed := q.ask(after, "abort ssl cert "+q.Certificate+"\n"); failed != nil {
		err = errors.Join(err, fmt.Errorf("aborting: %w", failed))
	}
	return err
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
func (q Request) ask(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", q.Socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if err := q.trusted(conn); err != nil {
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
