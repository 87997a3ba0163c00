package live

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	socks "golang.org/x/net/proxy"
)

// dialFunc connects to an address, as [Dialer.Dial] does.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Dial implements a dialer of x/net/proxy, which asks for it and calls DialContext.
func (f dialFunc) Dial(network, address string) (net.Conn, error) {
	return f(context.Background(), network, address)
}

// DialContext connects.
func (f dialFunc) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return f(ctx, network, address)
}

// dialThrough connects to host, a host:port, by way of a proxy: HTTP CONNECT (RFC 9110
// section 9.3.6) for http and https, SOCKS5 (RFC 1928) for socks5 and socks5h. It is the
// proxy that resolves the host's name. The proxy itself is reached by dial. Errors say
// that it was the proxy, are escaped, and never have its password.
func dialThrough(ctx context.Context, proxy *url.URL, host string, dial func(ctx context.Context, network, address string) (net.Conn, error)) (net.Conn, error) {
	var conn net.Conn
	var err error
	start := time.Now()
	switch proxy.Scheme {
	case "http", "https":
		conn, err = dialCONNECT(ctx, proxy, host, dial)
	case "socks5", "socks5h":
		conn, err = dialSOCKS(ctx, proxy, host, dial)
	default:
		err = wrong("its scheme is %q; supported are http, https, socks5 and socks5h", proxy.Scheme)
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	if err != nil {
		// The cause is told and not wrapped: that the proxy cannot be reached says nothing
		// about the endpoint.
		return nil, fmt.Errorf("the proxy %q: %s", proxy.Host, explainProxy(err, time.Since(start)))
	}
	return conn, nil
}

func explainProxy(err error, took time.Duration) string {
	var own *wrongError
	switch {
	case errors.As(err, &own):
		return own.detail
	case isEnd(err):
		return "it closed the connection without an answer"
	default:
		return explainConnect(err, took).Detail
	}
}

func dialSOCKS(ctx context.Context, proxy *url.URL, host string, dial dialFunc) (net.Conn, error) {
	var auth *socks.Auth
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		auth = &socks.Auth{User: proxy.User.Username(), Password: password}
	}
	dialer, err := socks.SOCKS5("tcp", proxyAddress(proxy), auth, dial)
	if err != nil {
		return nil, err
	}
	conn, err := dialer.(socks.ContextDialer).DialContext(ctx, "tcp", host)
	var op *net.OpError
	if !errors.As(err, &op) {
		return conn, err
	}
	if why, ok := strings.CutPrefix(op.Err.Error(), "unknown error "); ok { // one of the replies of RFC 1928 section 6
		return nil, wrong("it cannot connect to %q: %s", host, printable(why))
	}
	return nil, op.Err
}

func dialCONNECT(ctx context.Context, proxy *url.URL, host string, dial dialFunc) (net.Conn, error) {
	raw, err := dial(ctx, "tcp", proxyAddress(proxy))
	if err != nil {
		return nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(end)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	conn, err := connectTunnel(raw, proxy, host)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	_ = raw.SetDeadline(time.Time{})
	return conn, nil
}

// connectTunnel asks the proxy at the other end for a tunnel to host.
func connectTunnel(conn net.Conn, proxy *url.URL, host string) (net.Conn, error) {
	if proxy.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: proxy.Hostname()})
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: host}, Host: host, Header: http.Header{"User-Agent": {"certmedic"}}}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		login := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+login)
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	source := &boundedReader{from: conn, left: maxPlainTotal}
	in := bufio.NewReader(source)
	answer, err := http.ReadResponse(in, request)
	switch {
	case source.err != nil:
		return nil, source.err
	case err != nil:
		return nil, wrong("it does not answer CONNECT as HTTP proxies do: %s", quoted(err.Error()))
	case answer.StatusCode == http.StatusProxyAuthRequired:
		return nil, wrong("it asks for another user and password: %s", quoted(answer.Status))
	case answer.StatusCode != http.StatusOK:
		return nil, wrong("it refused CONNECT to %q: %s", host, quoted(answer.Status))
	}
	return &tunnel{Conn: conn, in: in}, nil
}

// proxyAddress returns the host:port of a proxy, with the usual port where it has none.
func proxyAddress(proxy *url.URL) string {
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[proxy.Scheme]
	}
	if port == "" {
		port = "1080"
	}
	return net.JoinHostPort(proxy.Hostname(), port)
}

// tunnel is a connection through a proxy. What the server at its end said first may have
// come together with the proxy's answer.
type tunnel struct {
	net.Conn
	in *bufio.Reader
}

// Read reads what came with the proxy's answer, and then from the connection.
func (t *tunnel) Read(p []byte) (int, error) {
	if n := t.in.Buffered(); n > 0 {
		return t.in.Read(p[:min(len(p), n)])
	}
	return t.Conn.Read(p)
}
