package live

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// origin is a TLS server that a name stands for which only the proxy can resolve.
const origin = "shop.internal.example.com:443"

// httpProxy is a small proxy for CONNECT to the origin, for one user.
func httpProxy(t *testing.T, origins map[string]netip.AddrPort) netip.AddrPort {
	return serve(t, func(conn net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		user, password, _ := basicAuth(request)
		switch address, known := origins[request.Host]; {
		case user != "watcher" || password != "s3cret":
			_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
		case request.Method != http.MethodConnect || !known:
			_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad\x1b Gateway\r\nContent-Length: 5\r\n\r\nsorry")
		default:
			tie(conn, address, "HTTP/1.1 200 Connection established\r\n\r\n")
		}
	})
}

func basicAuth(r *http.Request) (user, password string, ok bool) {
	r.Header.Set("Authorization", r.Header.Get("Proxy-Authorization"))
	return r.BasicAuth()
}

// tie joins a client with a server, after a greeting that comes together with what the
// server says first.
func tie(client net.Conn, address netip.AddrPort, greeting string) {
	server, err := net.Dial("tcp", address.String())
	if err != nil {
		return
	}
	defer server.Close()
	_ = server.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // for servers that speak first
	first := make([]byte, 1024)
	n, _ := server.Read(first)
	_ = server.SetReadDeadline(time.Time{})
	if _, err := client.Write(append([]byte(greeting), first[:n]...)); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// socksProxy is a small SOCKS5 proxy (RFC 1928) to the origins, for one user (RFC 1929).
func socksProxy(t *testing.T, origins map[string]netip.AddrPort) netip.AddrPort {
	return serve(t, func(conn net.Conn) {
		read := func(n int) []byte {
			part := make([]byte, n)
			_, _ = io.ReadFull(conn, part)
			return part
		}
		methods := read(int(read(2)[1]))
		if !strings.Contains(string(methods), "\x02") {
			_, _ = conn.Write([]byte{5, 0xff})
			return
		}
		_, _ = conn.Write([]byte{5, 2})
		user := string(read(int(read(2)[1])))
		password := string(read(int(read(1)[0])))
		if user != "watcher" || password != "s3cret" {
			_, _ = conn.Write([]byte{1, 1})
			return
		}
		_, _ = conn.Write([]byte{1, 0})
		name := string(read(int(read(5)[4])))
		port := binary.BigEndian.Uint16(read(2))
		address, known := origins[fmt.Sprintf("%s:%d", name, port)]
		if !known {
			_, _ = conn.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0}) // host unreachable
			return
		}
		tie(conn, address, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
	})
}

func proxyURL(scheme, user string, address netip.AddrPort) *url.URL {
	login, password, _ := strings.Cut(user, ":")
	return &url.URL{Scheme: scheme, User: url.UserPassword(login, password), Host: address.String()}
}

func TestProxies(t *testing.T) {
	p := newPKI(t)
	smtp := talk{"<220 mail\r\n", smtpEHLO, smtpOffers, ">STARTTLS\r\n", "<220 go\r\n"}
	origins := map[string]netip.AddrPort{
		origin: serveTLS(t, p.config(nil)),
		"mail.internal.example.com:25": serve(t, func(conn net.Conn) {
			if smtp.peer(conn) == nil {
				shakeAndWait(conn, p.config(nil))
			}
		}),
	}
	proxies := map[string]netip.AddrPort{"http": httpProxy(t, origins), "socks5": socksProxy(t, origins)}
	proxies["socks5h"] = proxies["socks5"]
	tests := []struct {
		name                         string
		scheme, user, host, protocol string
		words                        string // of the error
	}{
		{"CONNECT", "http", "watcher:s3cret", origin, "tls", ""},
		{"CONNECT to a server that speaks first", "http", "watcher:s3cret", "mail.internal.example.com:25", "smtp", ""},
		{"CONNECT with another password", "http", "watcher:guess", origin, "tls", `asks for another user and password: "407 Proxy Authentication Required"`},
		{"CONNECT to where the proxy does not go", "http", "watcher:s3cret", "elsewhere.example.com:443", "tls", `refused CONNECT to "elsewhere.example.com:443": "502 Bad\x1b Gateway"`},
		{"SOCKS5", "socks5", "watcher:s3cret", origin, "tls", ""},
		{"SOCKS5 to a server that speaks first", "socks5h", "watcher:s3cret", "mail.internal.example.com:25", "smtp", ""},
		{"SOCKS5 with another password", "socks5", "watcher:guess", origin, "tls", "authentication failed"},
		{"SOCKS5 to where the proxy does not go", "socks5h", "watcher:s3cret", "elsewhere.example.com:443", "tls", `cannot connect to "elsewhere.example.com:443": host unreachable`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proxy := proxyURL(tt.scheme, tt.user, proxies[tt.scheme])
			dialer := Dialer{Timeout: 20 * time.Second}
			got := dialer.Handshake(t.Context(), Request{Address: netip.MustParseAddrPort("192.0.2.1:443"), Host: tt.host, ServerName: "shop.example.com", Protocol: tt.protocol, Settings: &Settings{Proxy: proxy}})
			if tt.words == "" {
				if got.Err != nil || len(got.Certs) != 2 {
					t.Errorf("error %+v, %d certificates", got.Err, len(got.Certs))
				}
				return
			}
			prefix := fmt.Sprintf("the proxy %q: ", proxy.Host)
			if got.Stage != certmedic.ProbeConnect || got.Err == nil || got.Err.Reason != certmedic.Unreachable ||
				!strings.HasPrefix(got.Err.Detail, prefix) || !strings.Contains(got.Err.Detail, tt.words) || strings.Contains(got.Err.Detail, "guess") {
				t.Errorf("stage %s, error %+v, want %s", got.Stage, got.Err, tt.words)
			}
		})
	}
}

func TestProxiesThatFail(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused := netip.MustParseAddrPort(listener.Addr().String())
	_ = listener.Close()
	p := newPKI(t)
	says := func(words string) netip.AddrPort {
		return serve(t, func(conn net.Conn) {
			readSome(conn)
			_, _ = io.WriteString(conn, words)
		})
	}
	tests := []struct {
		name, scheme string
		address      netip.AddrPort
		words        string
	}{
		{"nothing listens", "http", unused, "nothing listens there"},
		{"nothing listens for SOCKS5", "socks5", unused, "nothing listens there"},
		{"closed", "http", says(""), "closed the connection without an answer"},
		{"closed for SOCKS5", "socks5", says(""), "closed the connection without an answer"},
		{"no HTTP", "http", says("SSH-2.0-x\r\n\r\n"), "does not answer CONNECT as HTTP proxies do"},
		{"no SOCKS5", "socks5", says("HTTP/1.1 400 Bad Request\r\n\r\n"), "protocol version"},
		{"a header without end", "http", says("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxPlainTotal)), "too much plain text"},
		{"a certificate that nobody trusts", "https", serveTLS(t, p.config(nil)), "certificate"},
		{"an unknown scheme", "gopher", unused, `its scheme is "gopher"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			conn, err := dialThrough(ctx, &url.URL{Scheme: tt.scheme, Host: tt.address.String()}, origin, new(net.Dialer).DialContext)
			if conn != nil || err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("connection %v, error %v, want %s", conn, err, tt.words)
			}
		})
	}
}

func TestProxyThatStalls(t *testing.T) {
	stall := serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	for _, scheme := range []string{"http", "https", "socks5"} {
		proxy := &url.URL{Scheme: scheme, Host: stall.String()}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := dialThrough(ctx, proxy, origin, new(net.Dialer).DialContext); err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("%s: error %v, want no answer", scheme, err)
		}
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := dialThrough(ctx, proxy, origin, new(net.Dialer).DialContext); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want that it was cancelled", scheme, err)
		}
	}
}

func TestProxyAddress(t *testing.T) {
	tests := []struct{ proxy, want string }{
		{"http://proxy.example.com", "proxy.example.com:80"},
		{"https://proxy.example.com", "proxy.example.com:443"},
		{"socks5h://[2001:db8::1]", "[2001:db8::1]:1080"},
		{"http://u:p@proxy.example.com:3128", "proxy.example.com:3128"},
	}
	for _, tt := range tests {
		proxy, err := url.Parse(tt.proxy)
		if err != nil {
			t.Fatal(err)
		}
		if got := proxyAddress(proxy); got != tt.want {
			t.Errorf("%s is %s, want %s", tt.proxy, got, tt.want)
		}
	}
}

func FuzzConnectTunnel(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n220 mail\r\n"))
	f.Add([]byte("HTTP/1.1 407 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		conn, err := connectTunnel(memoryConn{said: strings.NewReader(string(said))}, &url.URL{Scheme: "http", Host: "proxy"}, origin)
		if (conn == nil) == (err == nil) {
			t.Fatalf("connection %v and error %v", conn, err)
		}
	})
}
