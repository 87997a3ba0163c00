package live

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// attempt is one connection to which one offer is made.
type attempt struct {
	dialer    *Dialer
	request   *Request
	protocol  Protocol
	offer     offer
	otherALPN bool // the offer's ALPN is not the protocol's own, which was refused

	result      Result
	again       bool // another offer may get further
	alpnRefused bool
	asked       bool // the peer asked for a client certificate
	presented   bool // and one was presented
	deadline    time.Time
}

func (a *attempt) run(ctx context.Context) {
	if a.protocol.QUIC {
		a.runQUIC(ctx)
		return
	}
	start := time.Now()
	conn, err := a.dialer.connect(ctx, a.request)
	connected := time.Now()
	a.result.Connect = connected.Sub(start)
	if err != nil {
		a.fail(certmedic.ProbeConnect, a.explainConnection(err))
		return
	}
	defer conn.Close()
	defer a.bound(ctx, conn)()

	carrier, rest, err := a.startTLS(conn)
	if err != nil {
		a.fail(certmedic.ProbeStartTLS, explainStart(because(ctx, err), time.Since(connected)))
		return
	}
	a.shake(ctx, carrier, rest)
}

func (a *attempt) fail(stage certmedic.ProbeStage, err *certmedic.ProbeError) {
	a.result.Stage, a.result.Err = stage, err
}

// explainConnection says why there is no connection. What dialThrough says of a proxy is
// in words already.
func (a *attempt) explainConnection(err error) *certmedic.ProbeError {
	if a.request.settings().Proxy != nil && !errors.Is(err, context.Canceled) {
		return failure(certmedic.Unreachable, "%s", err)
	}
	return explainConnect(err, a.result.Connect)
}

// bound gives the connection its deadline, that of the phase or of ctx, and ends what is
// done with it when ctx is cancelled, until stop is called.
func (a *attempt) bound(ctx context.Context, conn net.Conn) (stop func() bool) {
	if a.deadline.IsZero() {
		a.deadline = time.Now().Add(a.dialer.timeout())
	}
	if end, ok := ctx.Deadline(); ok && end.Before(a.deadline) {
		a.deadline = end
	}
	_ = conn.SetDeadline(a.deadline)
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// because returns the error, or that ctx was cancelled where a deadline came from that.
func because(ctx context.Context, err error) error {
	if err != nil && isTimeout(err) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// startTLS speaks what comes before the handshake. It returns the connection that carries
// TLS, and the steps of the script that follow the handshake.
func (a *attempt) startTLS(conn net.Conn) (net.Conn, []Step, error) {
	script := a.request.settings().Script
	if !slices.ContainsFunc(script, func(s Step) bool { return s.StartTLS }) {
		carrier, err := a.protocol.start(conn, a.request.ServerName)
		return carrier, script, err
	}
	rest, _, err := runScript(conn, script)
	return conn, rest, err
}

func (a *attempt) shake(ctx context.Context, carrier net.Conn, rest []Step) {
	tap := newTap(carrier, a.offer.capture)
	config := a.offer.config(a.request.sni())
	config.GetClientCertificate = a.certificate
	conn := tls.Client(tap, config)
	start := time.Now()
	err := because(ctx, conn.Handshake())
	a.result.Handshake = time.Since(start)
	a.note(conn.ConnectionState())
	switch {
	case err == nil:
		defer conn.Close()
		a.result.Stage = certmedic.ProbeDone
		a.converse(ctx, conn, rest)
		if a.protocol.end != nil {
			a.protocol.end(conn)
		}
	case a.asked && isRemote(err):
		a.result.Stage = certmedic.ProbeDone
		a.refusedUs(err)
	default:
		a.fail(certmedic.ProbeHandshake, explainHandshake(err, a.result.Handshake, tap.kept))
		a.result.Findings = findingsOf(err)
		a.again, a.alpnRefused = mayLikeOther(err), isALPNRefusal(err)
		a.recover(tap)
	}
}

// note keeps the facts that a connection shows, whether its handshake ended or not.
func (a *attempt) note(state tls.ConnectionState) {
	a.result.TLS = factsOf(&state)
	a.result.Certs = state.PeerCertificates
	a.result.Staple = state.OCSPResponse
	a.result.SCTs = state.SignedCertificateTimestamps
}

func factsOf(state *tls.ConnectionState) *certmedic.TLSFacts {
	if state.Version == 0 {
		return nil
	}
	facts := &certmedic.TLSFacts{Version: tls.VersionName(state.Version)}
	if state.CipherSuite != 0 {
		facts.Cipher = cipherName(state.CipherSuite)
	}
	if state.CurveID != 0 {
		facts.Group = state.CurveID.String()
	}
	return facts
}

// cipherName is tls.CipherSuiteName, which makes all its tables at every call, without
// that for the suites that nearly everybody has.
func cipherName(id uint16) string {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return "TLS_AES_128_GCM_SHA256"
	case tls.TLS_AES_256_GCM_SHA384:
		return "TLS_AES_256_GCM_SHA384"
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return "TLS_CHACHA20_POLY1305_SHA256"
	default:
		return tls.CipherSuiteName(id)
	}
}

// recover reads the certificates from the captured records of a handshake up to TLS 1.2,
// where crypto/tls gave up before it handed them out.
func (a *attempt) recover(tap *tapConn) {
	if !a.offer.capture || len(a.result.Certs) > 0 {
		return
	}
	certs, findings := parseAll(certificatesIn(tap.kept))
	a.result.Certs = certs
	if len(findings) > 0 {
		a.result.Findings = findings
	}
}

// converse does what follows a handshake: the rest of the script, or the request of
// https, or nothing but to learn whether the peer minds who we are. Variants are asked for
// their certificate alone: what a request does is done once.
func (a *attempt) converse(ctx context.Context, conn *tls.Conn, rest []Step) {
	switch {
	case a.request.Variant != certmedic.VariantUsual:
	case len(rest) > 0:
		_, failed, err := runScript(conn, rest)
		if err != nil && a.asked && isRemote(err) {
			a.refusedUs(err)
			return
		}
		a.result.ScriptFailed = failed || err != nil
	case a.protocol.Name == "https":
		a.askHTTP(ctx, conn)
	case a.asked && conn.ConnectionState().Version == tls.VersionTLS13:
		if err := a.awaitRefusal(conn); err != nil {
			a.refusedUs(err)
		}
	}
}
