package live

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/certmedic/certmedic"
)

// noError ends a connection of HTTP/3 (RFC 9114 section 8.1); other protocols do not mind.
const noError quic.ApplicationErrorCode = 0x100

// runQUIC makes the handshake over QUIC (RFC 9000, RFC 9001).
func (a *attempt) runQUIC(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, a.dialer.timeout())
	defer cancel()
	start := time.Now()
	conn, err := a.dialUDP(ctx)
	a.result.Connect = time.Since(start)
	if err != nil {
		a.fail(certmedic.ProbeConnect, explainConnect(err, a.result.Connect))
		return
	}
	defer conn.Close()
	socket := &datagrams{Conn: conn}
	transport := &quic.Transport{Conn: socket}
	defer transport.Close()

	start = time.Now()
	session, state, err := a.dialQUIC(ctx, transport)
	a.result.Handshake = time.Since(start)
	a.note(state)
	if err != nil {
		a.explainQUIC(ctx, remoteError(err), socket)
		return
	}
	defer session.CloseWithError(noError, "") //nolint:errcheck // the facts are there
	a.result.Stage = certmedic.ProbeDone
	if a.asked {
		a.awaitQUICRefusal(ctx, session)
	}
}

func (a *attempt) dialUDP(ctx context.Context) (net.Conn, error) {
	if a.request.settings().Proxy != nil {
		return nil, errors.New("a proxy cannot carry QUIC")
	}
	if a.dialer.Dial != nil {
		return a.dialer.Dial(ctx, "udp", a.request.Address.String())
	}
	return new(net.Dialer).DialUDP(ctx, "udp", netip.AddrPort{}, a.request.Address)
}

// dialQUIC returns the state of TLS also where the handshake failed after the peer had
// shown its certificates.
func (a *attempt) dialQUIC(ctx context.Context, transport *quic.Transport) (*quic.Conn, tls.ConnectionState, error) {
	var state tls.ConnectionState
	config := a.offer.config(a.request.sni())
	config.GetClientCertificate = a.certificate
	config.VerifyConnection = func(s tls.ConnectionState) error {
		state = s
		return nil
	}
	remote := transport.Conn.(*datagrams).RemoteAddr()
	settings := &quic.Config{HandshakeIdleTimeout: a.dialer.timeout(), MaxIncomingStreams: -1, MaxIncomingUniStreams: -1}
	session, err := transport.Dial(ctx, remote, config, settings)
	if err == nil {
		state = session.ConnectionState().TLS
	}
	return session, state, err
}

// explainQUIC says why a handshake over QUIC failed.
func (a *attempt) explainQUIC(ctx context.Context, err error, socket *datagrams) {
	took := a.result.Handshake
	var versions *quic.VersionNegotiationError
	switch {
	case a.asked && isRemote(err):
		a.result.Stage = certmedic.ProbeDone
		a.refusedUs(err)
	case socket.refused.Load():
		a.fail(certmedic.ProbeConnect, failure(certmedic.Unreachable, "the datagrams were refused; nothing answers to UDP there"))
	case isTimeout(err) && ctx.Err() != context.Canceled && !socket.answered.Load():
		a.fail(certmedic.ProbeConnect, failure(certmedic.Timeout, "no answer over QUIC within %s", round(took)))
	case errors.As(err, &versions):
		a.fail(certmedic.ProbeHandshake, failure(certmedic.HandshakeFailed, "the peer speaks only other versions of QUIC: %s", versions.Theirs))
	default:
		a.fail(certmedic.ProbeHandshake, explainHandshake(err, took, nil))
		a.result.Findings = findingsOf(err)
		a.again, a.alpnRefused = mayLikeOther(err), isALPNRefusal(err)
	}
}

// awaitQUICRefusal waits for the end of a connection whose server refuses our certificate,
// as [attempt.awaitRefusal] does.
func (a *attempt) awaitQUICRefusal(ctx context.Context, session *quic.Conn) {
	timer := time.NewTimer(refusalWait(a.result.Handshake))
	defer timer.Stop()
	select {
	case <-session.Context().Done():
		if err := remoteError(context.Cause(session.Context())); isRemote(err) {
			a.refusedUs(err)
		}
	case <-timer.C:
	case <-ctx.Done():
	}
}

// remoteError returns a TLS alert that came over QUIC in the form in which crypto/tls
// reports it over TCP, and other errors as they are.
func remoteError(err error) error {
	var transport *quic.TransportError
	if errors.As(err, &transport) && transport.Remote && transport.ErrorCode.IsCryptoError() {
		return &net.OpError{Op: "remote error", Net: "udp", Err: tls.AlertError(transport.ErrorCode & 0xff)}
	}
	return err
}

// datagrams is a connected UDP socket as quic-go takes it. Only a connected one learns
// that its datagrams were refused (ICMP port unreachable).
type datagrams struct {
	net.Conn
	answered atomic.Bool // something came
	refused  atomic.Bool
}

// ReadFrom reads a datagram of the peer.
func (d *datagrams) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := d.Read(p)
	if n > 0 {
		d.answered.Store(true)
	}
	return n, d.RemoteAddr(), d.note(err)
}

// WriteTo sends a datagram to the peer, whatever the address.
func (d *datagrams) WriteTo(p []byte, _ net.Addr) (int, error) {
	n, err := d.Write(p)
	return n, d.note(err)
}

func (d *datagrams) note(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		d.refused.Store(true)
	}
	return err
}

// SetReadBuffer keeps the system's size: a handshake needs no more, and quic-go prints a
// warning where it does not get what it wants.
func (d *datagrams) SetReadBuffer(int) error { return nil }

// SetWriteBuffer keeps the system's size, as SetReadBuffer does.
func (d *datagrams) SetWriteBuffer(int) error { return nil }
