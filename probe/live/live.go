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
	Timeout time.Duration // of each phase (connect, all that follows); 0 is [DefaultTimeout]

	// Dial connects to an ip:port, or to a proxy's host:port, over "tcp", or "udp" for QUIC.
	// Nil uses the operating system.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Redirect returns the addresses of a host that an HTTP redirect names, or an error
	// when it is not to be asked. Nil follows no redirects.
	Redirect func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Request says whom to ask for what.
type Request struct {
	Address    netip.AddrPort
	Host       string // host:port, told to a proxy instead of Address, and sent as HTTP's Host
	ServerName string // sent as SNI (RFC 6066) when it is a DNS name
	Protocol   string // a name of [Protocols]; empty is "tls"
	Path       string // what https is asked for, with its query; empty: the path of Settings.HTTP

	// Variant restricts what is offered: no name, or one type of key. The types of key are
	// told apart by the cipher suites of TLS 1.2, because crypto/tls offers all of TLS 1.3's.
	Variant certmedic.Variant

	// Fast offers the group of key exchange that costs least, P-256, and no other. A server
	// that refuses that gets the full offer.
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
	Redirects int              // how many are followed; 0: none, they are facts
	Statuses  []int            // that are fine; empty: all below 500 but 421 (RFC 9110 section 15.5.20)
	Match     []*regexp.Regexp // each of which the body has to match
	NotMatch  []*regexp.Regexp // none of which the body must match

	HeaderMatch    []HeaderPattern // each of which has to match
	HeaderNotMatch []HeaderPattern // none of which must match
}

// HeaderPattern is what a header of an answer is held against.
type HeaderPattern struct {
	Header   string
	Pattern  *regexp.Regexp
	Optional bool // an answer without the header is fine
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

	// ScriptFailed says that the peer did not say, after the handshake, what the script
	// expects.
	ScriptFailed bool

	Connect   time.Duration // to connect, to a proxy and through it where there is one
	Handshake time.Duration // of TLS alone, without what comes before and after it
}

// Handshake connects, shakes hands and asks what the request wants to be asked. A peer
// that refuses the first offer without showing a certificate is asked again with others,
// each time over a new connection. It returns when ctx ends at the latest, and leaves
// nothing behind.
func (d *Dialer) Handshake(ctx context.Context, r Request) Result {
	protocol, err := ParseProtocol(r.Protocol)
	if err != nil {
		return Result{Stage: certmedic.ProbeConnect, Err: failure(certmedic.HandshakeFailed, "%s", err)}
	}
	offers, err := offersFor(&r, protocol)
	if err != nil {
		return Result{Stage: certmedic.ProbeConnect, Err: failure(certmedic.HandshakeFailed, "%s", err)}
	}
	var first Result
	for i, o := range offers {
		a := d.try(ctx, &r, protocol, o)
		if i == 0 {
			first = a.result
		}
		if a.result.Err == nil || len(a.result.Certs) > 0 {
			return a.result
		}
		if !a.again || ctx.Err() != nil {
			break
		}
	}
	return first
}

// try makes an offer, and makes it with another ALPN to a peer that refuses ours.
func (d *Dialer) try(ctx context.Context, r *Request, protocol Protocol, o offer) *attempt {
	a := &attempt{dialer: d, request: r, protocol: protocol, offer: o}
	a.run(ctx)
	if !a.alpnRefused {
		return a
	}
	o.alpn = alpnInstead(protocol)
	other := &attempt{dialer: d, request: r, protocol: protocol, offer: o, otherALPN: true}
	other.run(ctx)
	if other.result.Err != nil && len(other.result.Certs) == 0 {
		return a
	}
	return other
}

func (r *Request) settings() Settings {
	if r.Settings == nil {
		return Settings{}
	}
	return *r.Settings
}

// sni is the name to send, empty for none.
func (r *Request) sni() string {
	if r.Variant == certmedic.VariantNoSNI {
		return ""
	}
	return r.ServerName
}

// target is the host:port that is asked, as a proxy is told it.
func (r *Request) target() string {
	if r.Host != "" {
		return r.Host
	}
	return r.Address.String()
}

func (d *Dialer) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return DefaultTimeout
}

// connect makes the connection of a request, straight or through a proxy.
func (d *Dialer) connect(ctx context.Context, r *Request) (net.Conn, error) {
	proxy := r.settings().Proxy
	system := net.Dialer{Timeout: d.timeout(), KeepAlive: -1} // a probe is over before the first would be sent
	if proxy == nil && d.Dial == nil {
		return system.DialContext(ctx, "tcp", r.Address.String()) // DialTCP binds a port first, for which it searches long
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	dial := d.Dial
	if dial == nil {
		dial = system.DialContext
	}
	if proxy != nil {
		return dialThrough(ctx, proxy, r.target(), dial)
	}
	return dial(ctx, "tcp", r.Address.String())
}
