package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/certmedic/certmedic/internal/redact"
)

// The kinds of failures to connect that callers tell apart, beside [ErrHostKey].
var (
	ErrUnreachable = errors.New("the host cannot be reached")
	ErrLogin       = errors.New("the host does not let us in")
)

// Session is a connection to one host. Its methods may be called by several goroutines, and fail
// once the connection is lost or closed.
type Session struct {
	host  Host
	chain []*ssh.Client // the jump hosts, the host last

	lost context.Context // done when the connection is lost or closed; its cause says why
	end  context.CancelCauseFunc
	wg   sync.WaitGroup // the keeper of the connection

	mu        sync.Mutex // guards files and timeout, also while they are looked for
	files     *sftp.Client
	timeout   []string // what bounds a command on the host; nil: not looked for yet
	closeOnce sync.Once
}

// errClosed is the cause of a session that was closed in order.
var errClosed = errors.New("the session was closed")

// Dial connects to a host, over its jump hosts, and logs in. The context bounds the dialling only;
// the session lasts until [Session.Close]. The error is, or wraps, [ErrUnreachable], [ErrHostKey],
// [ErrLogin], or says what is wrong with a file on this side.
func Dial(ctx context.Context, h Host, l Limits) (*Session, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	l = l.orDefaults()
	s := &Session{host: h}
	s.lost, s.end = context.WithCancelCause(context.Background())
	for _, hop := range append(slices.Clone(h.Via), h) {
		client, err := s.hop(ctx, hop, l)
		if err != nil {
			s.Close()
			if hop.endpoint() != h.endpoint() {
				return nil, fmt.Errorf("connecting to %q by way of %q: %w", h, hop, err)
			}
			return nil, fmt.Errorf("connecting to %q: %w", h, err)
		}
		s.chain = append(s.chain, client)
	}
	s.wg.Go(func() { s.keep(l) })
	s.wg.Go(func() { s.end(fmt.Errorf("the connection ended: %w", ended(s.client().Wait()))) })
	return s, nil
}

// hop connects to the next host of the chain, from the last one that is connected.
func (s *Session) hop(ctx context.Context, h Host, l Limits) (*ssh.Client, error) {
	trust, err := trustOf(h)
	if err != nil {
		return nil, err
	}
	handshake, cancel := context.WithTimeout(ctx, l.Dial+l.Handshake)
	defer cancel()
	login, err := loginTo(handshake, h)
	if err != nil {
		return nil, err
	}
	defer login.close()
	conn, err := s.dial(handshake, h, l.Dial)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrUnreachable, redact.Plain(err.Error()))
	}
	stop := context.AfterFunc(handshake, func() { _ = conn.Close() }) // a connection within another has no deadlines
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, h.endpoint(), &ssh.ClientConfig{
		User: h.User, Auth: []ssh.AuthMethod{login.method}, HostKeyCallback: trust.check, HostKeyAlgorithms: trust.algorithms,
	})
	if err != nil {
		return nil, handshakeFailed(handshake, errors.Join(err, conn.Close()), h)
	}
	return ssh.NewClient(c, channels, requests), nil
}

func (s *Session) dial(ctx context.Context, h Host, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if len(s.chain) == 0 {
		return (&net.Dialer{}).DialContext(ctx, "tcp", h.endpoint())
	}
	return s.client().DialContext(ctx, "tcp", h.endpoint())
}

// handshakeFailed sorts the error of a handshake.
func handshakeFailed(ctx context.Context, err error, h Host) error {
	switch {
	case errors.Is(err, ErrHostKey):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%w: no end of the handshake: %w", ErrUnreachable, ctx.Err())
	case contains(err, "unable to authenticate"):
		return fmt.Errorf("%w as %q: none of our keys is accepted", ErrLogin, h.User)
	case contains(err, "no common algorithm for host key"):
		return fmt.Errorf("%w: %q has no key of a type that known_hosts has: %s", ErrHostKey, h, redact.Plain(err.Error()))
	}
	return fmt.Errorf("%w: %s", ErrUnreachable, redact.Plain(err.Error()))
}

// Host returns the description by which the session was dialled.
func (s *Session) Host() Host { return s.host }

// Err returns nil while the connection stands, and then why it does not.
func (s *Session) Err() error { return context.Cause(s.lost) }

// Close ends the connection and waits for what belongs to it. It can be called more than once.
func (s *Session) Close() {
	s.fail(errClosed)
	s.wg.Wait()
}

// fail ends the connection; whoever waits for an answer of the host gets an error.
func (s *Session) fail(why error) {
	s.closeOnce.Do(func() {
		s.end(why)
		for _, client := range slices.Backward(s.chain) {
			_ = client.Close() // what was asked and not answered is unknown either way
		}
	})
}

func (s *Session) client() *ssh.Client { return s.chain[len(s.chain)-1] }

// keep asks the host from time to time whether it is still there, and ends the connection where it
// does not answer.
func (s *Session) keep(l Limits) {
	tick := time.NewTicker(l.Keepalive)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.lost.Done():
			s.fail(s.Err())
			return
		}
		if !s.answers(l.Silence) {
			s.fail(fmt.Errorf("the host did not answer for %v", l.Silence))
			return
		}
	}
}

func (s *Session) answers(limit time.Duration) bool {
	answered := make(chan bool, 1)
	go func() { // ends with the connection
		_, _, err := s.client().SendRequest("keepalive@openssh.com", true, nil)
		answered <- err == nil
	}()
	select {
	case ok := <-answered:
		return ok
	case <-s.lost.Done():
		return true // another reason ended it
	case <-time.After(limit):
		return false
	}
}

// Within calls fn, which waits for answers of the host. Where it takes longer than limit, or ctx
// ends meanwhile, the connection is given up, so that fn returns.
func (s *Session) Within(ctx context.Context, limit time.Duration, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the host took longer than %v", limit))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.fail(context.Cause(ctx)) })
	defer stop()
	err := fn()
	switch {
	case errors.Is(err, sftp.ErrSSHFxConnectionLost): // of the sftp server at least, which is not started again
		s.lostWithin(outputGrace)
		s.fail(errors.New("the connection to the sftp server ended"))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s.lostWithin(outputGrace)
	}
	if err != nil && s.Err() != nil {
		return fmt.Errorf("%w: %w", s.Err(), err)
	}
	return err
}

// contains reports whether an error of the ssh package, which has no kinds, says something.
func contains(err error, words string) bool { return strings.Contains(err.Error(), words) }

func ended(err error) error {
	if err == nil {
		return errors.New("closed by the host")
	}
	return err
}
