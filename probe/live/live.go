package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"time"

	"github.com/certmedic/certmedic"
)

// DefaultTimeout bounds each phase where the [Dialer] sets no other time.
const DefaultTimeout = 10 * time.Second

// Dialer connects and handshakes. The zero Dialer is ready to use, and any number of
// goroutines may share one.
type Dialer struct {
	Timeout time.Duration // of each phase (connect, handshake); 0 is [DefaultTimeout]

	// Dial connects to an ip:port. Nil uses the operating system.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Request says whom to ask for what.
type Request struct {
	Address    netip.AddrPort
	Host       string // host:port, told to a proxy instead of Address, and sent as HTTP's Host
	ServerName string // sent as SNI (RFC 6066) when it is a DNS name
	Protocol   string // a name of [Protocols]; empty is "tls"

	// Variant restricts what is offered: no name, or one type of key. The types of key are
	// told apart by the cipher suites of TLS 1.2, because crypto/tls offers all of TLS 1.3's.
	Variant certmedic.Variant

	// Fast offers X25519 first and no post-quantum group, which costs less on both sides. A
	// server that refuses that gets the full offer.
	Fast bool

	Settings *Settings // nil: the usual ones
}

// Settings are how handshakes are made, shared by many requests.
type Settings struct {
	MinVersion, MaxVersion uint16            // of TLS, as in crypto/tls; 0: any
	Certificates           []tls.Certificate // presented to servers that ask for one
	Proxy                  *url.URL          // http, https (CONNECT), socks5 or socks5h; nil: none
	HTTP                   *HTTP             // the request after a handshake of https; nil: GET of /
	Script                 []Step            // spoken instead of the protocol's own beginning, and what follows TLS
}

// Step is one step of a script, in the form of blackbox_exporter's query_response.
type Step struct {
	Expect   *regexp.Regexp // a line that has to come; nil: none is waited for
	Send     string         // sent with a newline, ${1} being what Expect captured; empty: nothing
	StartTLS bool           // the TLS handshake begins after this step
}

// HTTP is the request that follows a handshake of https, and what its answer has to be.
type HTTP struct {
	Method    string // empty: GET
	Path      string // with its query; empty: /
	Header    http.Header
	Body      string
	Redirects int            // how many are followed; 0: none, they are facts
	Statuses  []int          // that are fine; empty: all below 500 but 421 (RFC 9110 section 15.5.20)
	Match     *regexp.Regexp // that the body has to match; nil: any
	NotMatch  *regexp.Regexp // that the body must not match; nil: none
}

// Result holds the facts of one handshake, also of one that failed.
type Result struct {
	Stage    certmedic.ProbeStage  // how far it got; "done" when the peer's identity is complete
	Err      *certmedic.ProbeError // why it got no further; nil when done
	TLS      *certmedic.TLSFacts   // nil before the peer has chosen them
	Certs    []*x509.Certificate   // as presented, leaf first; without those that cannot be parsed
	Findings []certmedic.Finding   // what only the handshake shows, such as client_certificate_required
	Staple   []byte                // the OCSP response that came with the handshake (RFC 6066), DER
	SCTs     [][]byte              // that came with the handshake (RFC 6962 section 3.3.1)
	HTTP     *certmedic.HTTPFacts  // the answer to HTTP; nil where none was asked for, or none came

	Connect   time.Duration
	Handshake time.Duration
}

// Handshake connects and shakes hands. A peer that refuses the first offer without
// showing a certificate is asked again with older ones, each time over a new
// connection. It returns when ctx ends at the latest, and leaves nothing behind.
func (d *Dialer) Handshake(ctx context.Context, r Request) Result {
	protocol, err := ParseProtocol(r.Protocol)
	if err != nil {
		return Result{Stage: certmedic.ProbeConnect, Err: &certmedic.ProbeError{Reason: certmedic.HandshakeFailed, Detail: err.Error()}}
	}
	var first Result
	for i, o := range offers() {
		result, again := d.attempt(ctx, r, configFor(r, protocol, o), o.capture)
		if i == 0 {
			first = result
		}
		if result.Err == nil || len(result.Certs) > 0 {
			return result
		}
		if !again || ctx.Err() != nil {
			break
		}
	}
	return first
}

// offer is what one attempt offers to the peer.
type offer struct {
	maxVersion uint16
	groups     []tls.CurveID // nil offers Go's defaults
	capture    bool          // keep the plain records, to read certificates that crypto/tls rejects
}

// offers returns the offers in the order in which they are tried. The second helps peers
// that fail on the large ClientHello of a post-quantum key share or on TLS 1.3, the third
// peers that fail on every version that they do not know.
func offers() []offer {
	classic := []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	return []offer{
		{maxVersion: tls.VersionTLS13},
		{maxVersion: tls.VersionTLS12, groups: classic, capture: true},
		{maxVersion: tls.VersionTLS10, groups: classic, capture: true},
	}
}

func configFor(r Request, protocol Protocol, o offer) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // facts first; package inspect verifies
		ServerName:         r.ServerName,
		MinVersion:         tls.VersionTLS10,
		MaxVersion:         o.maxVersion,
		CurvePreferences:   o.groups,
		CipherSuites:       allCipherSuites(),
		NextProtos:         protocol.ALPN,
	}
}

func allCipherSuites() []uint16 {
	var ids []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, suite.ID)
	}
	return ids
}

// attempt makes one connection and one handshake, and says whether another offer may
// get further.
func (d *Dialer) attempt(ctx context.Context, r Request, config *tls.Config, capture bool) (Result, bool) {
	start := time.Now()
	conn, err := d.connect(ctx, r.Address)
	connected := time.Since(start)
	if err != nil {
		return Result{Stage: certmedic.ProbeConnect, Err: explainConnect(err, connected), Connect: connected}, false
	}
	defer conn.Close()

	tap := &tapConn{Conn: conn, limit: tapForExplaining}
	if capture {
		tap.limit = tapForCertificates
	}
	result, again := d.shake(ctx, tap, config)
	result.Connect = connected
	return result, again
}

func (d *Dialer) connect(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	dial := d.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return dial(ctx, "tcp", address.String())
}

func (d *Dialer) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return DefaultTimeout
}

func (d *Dialer) shake(ctx context.Context, tap *tapConn, config *tls.Config) (Result, bool) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	asked := false // for a client certificate; crypto/tls asks this once it trusts the peer's signature
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return &tls.Certificate{}, nil
	}
	conn := tls.Client(tap, config)
	start := time.Now()
	err := conn.HandshakeContext(ctx)
	took := time.Since(start)

	state := conn.ConnectionState()
	result := Result{Stage: certmedic.ProbeDone, TLS: factsOf(state), Certs: state.PeerCertificates, Handshake: took}
	if err == nil {
		defer conn.Close()
		if asked && state.Version == tls.VersionTLS13 && refusesAnonymous(ctx, conn, took) {
			result.Findings = clientCertificateRequired()
		}
		return result, false
	}
	if asked && isRemote(err) {
		result.Findings = clientCertificateRequired()
		return result, false
	}
	result.Stage = certmedic.ProbeHandshake
	result.Err = explainHandshake(err, took, tap.bytes)
	result.Findings = findingsOf(err)
	if len(result.Certs) == 0 {
		result.recover(tap)
	}
	return result, mayLikeOlder(err)
}

// recover reads the certificates from the captured records of a handshake up to TLS 1.2,
// where crypto/tls gave up before it handed them out.
func (r *Result) recover(tap *tapConn) {
	if tap.limit != tapForCertificates {
		return
	}
	certs, findings := parseAll(certificatesIn(tap.bytes))
	r.Certs = certs
	if len(findings) > 0 {
		r.Findings = findings
	}
}

func factsOf(state tls.ConnectionState) *certmedic.TLSFacts {
	if state.Version == 0 {
		return nil
	}
	facts := &certmedic.TLSFacts{Version: tls.VersionName(state.Version)}
	if state.CipherSuite != 0 {
		facts.Cipher = tls.CipherSuiteName(state.CipherSuite)
	}
	if state.CurveID != 0 {
		facts.Group = state.CurveID.String()
	}
	return facts
}

func clientCertificateRequired() []certmedic.Finding {
	return []certmedic.Finding{certmedic.NewFinding(certmedic.ClientCertRequired, "the server demands a client certificate; what it serves was read without one")}
}

// bounds of the wait for a TLS 1.3 server's answer to an empty client certificate.
const (
	minRefusalWait = 250 * time.Millisecond
	maxRefusalWait = 2 * time.Second
)

// refusesAnonymous waits for the alert that a TLS 1.3 server sends only after the
// client has finished the handshake (RFC 8446 section 4.4.2.4). A server that says
// nothing, or something else, asked for a certificate without demanding it.
func refusesAnonymous(ctx context.Context, conn *tls.Conn, roundTrip time.Duration) bool {
	wait := min(max(minRefusalWait, 2*roundTrip), maxRefusalWait)
	deadline := time.Now().Add(wait)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if conn.SetReadDeadline(deadline) != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 1))
	return n == 0 && err != nil && isRemote(err)
}
