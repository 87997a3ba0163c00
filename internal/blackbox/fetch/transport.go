package fetch

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// transport makes every hop over a connection of its own. It belongs to one fetch, whose
// hops are made one after the other.
type transport struct {
	fetcher  *Fetcher
	settings Settings
	first    string // the host that the settings' Host and ServerName are for
	trips    []*trip
	bases    []*http.Transport
}

// RoundTrip makes one hop. The request goes to the address that was checked, so that a
// second lookup cannot lead elsewhere.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	trip := &trip{hop: Hop{URL: request.URL.Redacted()}}
	t.trips = append(t.trips, trip)
	if err := t.aim(request, trip); err != nil {
		if request.Body != nil {
			_ = request.Body.Close() // nothing was read of it
		}
		return nil, err
	}
	out := request.Clone(httptrace.WithClientTrace(request.Context(), trip.trace()))
	if out.Host == "" {
		out.Host = request.URL.Host
	}
	out.URL.Host = trip.hop.Address.String()
	response, err := t.base(trip).RoundTrip(out)
	if err != nil {
		return nil, err
	}
	response.Request = request
	return response, nil
}

// aim chooses the address of a hop and has it checked.
func (t *transport) aim(request *http.Request, trip *trip) error {
	hop := &trip.hop
	switch request.URL.Scheme {
	case "http":
	case "https":
		hop.TLS = true
	default:
		return fmt.Errorf("%q is neither http nor https", request.URL.Scheme)
	}
	host := request.URL.Hostname()
	port, err := portOf(request.URL.Port(), hop.TLS)
	if err != nil {
		return err
	}
	hop.Host = net.JoinHostPort(host, strconv.Itoa(int(port)))
	hop.ServerName = t.serverName(request, host)
	if err := t.lookup(request.Context(), hop, host); err != nil {
		return err
	}
	address, ok := t.fetcher.Choose(hop.Addresses)
	if !ok {
		return fmt.Errorf("%q has no address of the wanted family", host)
	}
	hop.Address = netip.AddrPortFrom(address, port)
	return t.fetcher.Allow(host, address)
}

// lookup sets the addresses of a hop. An IP address is its own.
func (t *transport) lookup(ctx context.Context, hop *Hop, host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		hop.Addresses = []netip.Addr{ip.Unmap()}
		return nil
	}
	start := time.Now()
	addresses, err := t.fetcher.Lookup(ctx, strings.TrimSuffix(host, "."))
	hop.Addresses, hop.Resolve = addresses, time.Since(start)
	return err
}

// serverName is the name for TLS: of the first host what the settings say, of any other
// its own.
func (t *transport) serverName(request *http.Request, host string) string {
	name := host
	if request.URL.Host == t.first {
		switch own := t.settings.Header.Get("Host"); {
		case t.fetcher.ServerName != "":
			name = t.fetcher.ServerName
		case own != "":
			name = withoutPort(own)
		}
	}
	return strings.TrimSuffix(name, ".")
}

func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

func portOf(port string, overTLS bool) (uint16, error) {
	if port == "" && overTLS {
		return 443, nil
	}
	if port == "" {
		return 80, nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return 0, fmt.Errorf("port %q is not between 1 and 65535", port)
	}
	return uint16(number), nil
}

// base returns the transport for one hop.
func (t *transport) base(trip *trip) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!t.settings.NoHTTP2)
	base := &http.Transport{
		DialContext:            new(net.Dialer).DialContext,
		TLSClientConfig:        t.config(trip),
		DisableKeepAlives:      true,
		DisableCompression:     true, // lengths are those of what is sent
		MaxResponseHeaderBytes: maxHeader,
		Protocols:              protocols,
	}
	if live := t.fetcher.Live; live != nil && live.Proxy != nil {
		setProxy(base, live.Proxy)
	}
	t.bases = append(t.bases, base)
	return base
}

// setProxy has hops made through a proxy. One that is itself spoken to over TLS is wrapped
// here, because the transport would take the settings that are meant for the hop's host.
func setProxy(base *http.Transport, proxy *url.URL) {
	if proxy.Scheme != "https" {
		base.Proxy = http.ProxyURL(proxy)
		return
	}
	plain := *proxy
	plain.Scheme = "http"
	if plain.Port() == "" {
		plain.Host = net.JoinHostPort(plain.Hostname(), "443")
	}
	base.Proxy = http.ProxyURL(&plain)
	base.DialContext = (&tls.Dialer{Config: &tls.Config{ServerName: proxy.Hostname()}}).DialContext
}

// config is for handshakes that end whatever the chain is: the state is kept first, and
// judged then.
func (t *transport) config(trip *trip) *tls.Config {
	name := trip.hop.ServerName
	config := &tls.Config{
		InsecureSkipVerify: true, // Verify does
		ServerName:         name,
		MinVersion:         tls.VersionTLS10,
		VerifyConnection: func(state tls.ConnectionState) error {
			trip.keep(state)
			return t.fetcher.Verify(state, name)
		},
	}
	if live := t.fetcher.Live; live != nil {
		config.MaxVersion, config.Certificates = live.MaxVersion, live.Certificates
	}
	return config
}

// ended stamps the end of the last hop, whose body was read.
func (t *transport) ended() {
	last := t.trips[len(t.trips)-1]
	last.stamp(&last.end)
}

func (t *transport) hops() []Hop {
	hops := make([]Hop, 0, len(t.trips))
	for _, trip := range t.trips {
		hops = append(hops, trip.done())
	}
	return hops
}

func (t *transport) close() {
	for _, base := range t.bases {
		base.CloseIdleConnections()
	}
}
