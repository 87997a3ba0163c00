package fetch

import (
	"crypto/tls"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"
)

// Hop is one request of a fetch.
type Hop struct {
	URL        string
	Host       string       // host:port
	Addresses  []netip.Addr // that the host has
	Address    netip.AddrPort
	ServerName string               // sent and verified; of hops over TLS
	TLS        bool                 // whether the hop is made over TLS
	State      *tls.ConnectionState // also of a refused chain; nil where the handshake brought none

	Resolve, Connect, Handshake, Processing, Transfer time.Duration
}

// trip is a hop under way. Connections are made by goroutines of their own, which may
// outlive the request.
type trip struct {
	mu  sync.Mutex
	hop Hop

	connectStart, connectDone, tlsStart, tlsDone, gotConn, firstByte, end time.Time
}

func (t *trip) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		ConnectStart:         func(string, string) { t.stamp(&t.connectStart) },
		ConnectDone:          func(string, string, error) { t.stamp(&t.connectDone) },
		TLSHandshakeStart:    func() { t.stamp(&t.tlsStart) },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { t.stamp(&t.tlsDone) },
		GotConn:              func(httptrace.GotConnInfo) { t.stamp(&t.gotConn) },
		GotFirstResponseByte: func() { t.stamp(&t.firstByte) },
	}
}

func (t *trip) stamp(at *time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*at = time.Now()
}

func (t *trip) keep(state tls.ConnectionState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hop.State = &state
}

// done returns what is known of the hop.
func (t *trip) done() Hop {
	t.mu.Lock()
	defer t.mu.Unlock()
	hop := t.hop
	hop.Connect = between(t.connectStart, t.connectDone)
	hop.Handshake = between(t.tlsStart, t.tlsDone)
	hop.Processing = between(t.gotConn, t.firstByte)
	hop.Transfer = between(t.firstByte, t.end)
	return hop
}

// between returns the time from one moment to another, 0 where one of them never was.
func between(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return max(0, to.Sub(from))
}
