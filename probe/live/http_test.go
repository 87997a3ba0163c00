package live

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// askHTTP asks a server for https with the settings.
func askHTTP(t *testing.T, address netip.AddrPort, want *HTTP) Result {
	t.Helper()
	dialer := Dialer{Timeout: 20 * time.Second}
	return dialer.Handshake(t.Context(), Request{
		Address: address, ServerName: "shop.example.com", Protocol: "https",
		Settings: &Settings{HTTP: want},
	})
}

// checkHTTP wants the one finding whose detail holds the text; empty wants none.
func checkHTTP(t *testing.T, about string, got Result, detail string) {
	t.Helper()
	if got.Err != nil || got.Stage != certmedic.ProbeDone || len(got.Certs) == 0 {
		t.Errorf("%s: stage %s, error %+v, %d certificates", about, got.Stage, got.Err, len(got.Certs))
	}
	wrong := len(got.Findings) != 1 || got.Findings[0].Code != certmedic.HTTPStatus || !strings.Contains(got.Findings[0].Detail, detail)
	if detail == "" && len(got.Findings) > 0 || detail != "" && wrong {
		t.Errorf("%s: findings are %v, want %q", about, got.Findings, detail)
	}
}

func TestAnswersToHTTP(t *testing.T) {
	tests := []struct {
		about  string
		answer string
		want   *HTTP
		status int // 0: no facts
		detail string
	}{
		{"an answer is fine", "HTTP/1.1 200 OK\r\n\r\n", nil, 200, ""},
		{"a client's error is fine where nothing is expected", "HTTP/1.1 404 Not Found\r\n\r\n", nil, 404, ""},
		{"a redirect is a fact", "HTTP/1.1 302 Found\r\nLocation: https://a.example/\r\n\r\n", nil, 302, ""},
		{"a server's error", "HTTP/1.1 503 Service \x1b[31mUnavailable\r\n\r\n", nil, 503, `answers "HTTP/1.1 503 Service \x1b[31mUnavailable"`},
		{"a name that is not served there", "HTTP/1.1 421 Misdirected Request\r\n\r\n", nil, 421, "does not serve this name"},
		{"a status that is expected", "HTTP/1.1 503 Busy\r\n\r\n", &HTTP{Statuses: []int{200, 503}}, 503, ""},
		{"a status that is not expected", "HTTP/1.1 204 No Content\r\n\r\n", &HTTP{Statuses: []int{200, 503}}, 204, "not among the statuses that are fine, 200, 503"},
		{"a header that has to match and is absent", "HTTP/1.1 200 OK\r\n\r\n", &HTTP{HeaderMatch: []HeaderPattern{{Header: "X-A", Pattern: regexp.MustCompile("b")}}}, 200, `header "X-A"`},
		{"a header that may be absent", "HTTP/1.1 200 OK\r\n\r\n", &HTTP{HeaderMatch: []HeaderPattern{{Header: "X-A", Pattern: regexp.MustCompile("b"), Optional: true}}}, 200, ""},
		{"a header that must not match", "HTTP/1.1 200 OK\r\nX-A: abc\r\n\r\n", &HTTP{HeaderNotMatch: []HeaderPattern{{Header: "x-a", Pattern: regexp.MustCompile("b")}}}, 200, "must not"},
		{"a body that has to match", "HTTP/1.1 200 OK\r\n\r\nall is well", &HTTP{Match: []*regexp.Regexp{regexp.MustCompile("is well$")}}, 200, ""},
		{"a body that does not match", "HTTP/1.1 200 OK\r\n\r\nall is lost", &HTTP{Match: []*regexp.Regexp{regexp.MustCompile("is well$")}}, 200, `does not match "is well$"`},
		{"a body that must not match", "HTTP/1.1 200 OK\r\n\r\nall is lost", &HTTP{NotMatch: []*regexp.Regexp{regexp.MustCompile("lost")}}, 200, `matches "lost"`},
		{"an interim answer comes first", "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", nil, 200, ""},
		{"interim answers without end", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100), nil, 0, "interim answers have no end"},
		{"no answer", "", nil, 0, "closes the connection before its answer"},
		{"half an answer", "HTTP/1.1 200 OK\r\nServer: a", nil, 0, "closes the connection before its answer"},
		{"another protocol", "220 mail.example.com \x1b[31mESMTP\r\n", nil, 0, `there is no proper answer to HTTP: malformed HTTP`},
		{"a header without end", "HTTP/1.1 200 OK\r\nServer: " + strings.Repeat("a", 100_000), nil, 0, "the header of the answer has no end"},
		{"a body that is cut short", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", &HTTP{}, 0, "closes the connection before"},
		{"a body that is longer than what is read", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("a", 2<<20), &HTTP{NotMatch: []*regexp.Regexp{regexp.MustCompile("b")}}, 200, ""},
	}
	p := newPKI(t)
	for _, tt := range tests {
		got := askHTTP(t, serveAnswer(t, p.config(nil), tt.answer), tt.want)
		checkHTTP(t, tt.about, got, tt.detail)
		if tt.status == 0 && got.HTTP != nil || tt.status != 0 && (got.HTTP == nil || got.HTTP.Status != tt.status || got.HTTP.Version != "HTTP/1.1") {
			t.Errorf("%s: facts are %+v, want status %d", tt.about, got.HTTP, tt.status)
		}
	}
}

func TestHTTPFacts(t *testing.T) {
	p := newPKI(t)
	got := askHTTP(t, serveAnswer(t, p.config(nil), "HTTP/1.1 307 Away\r\nLocation: /b\r\nContent-Length: 5\r\n\r\nabcde"), &HTTP{Match: []*regexp.Regexp{regexp.MustCompile("x")}})
	f := got.HTTP
	if f == nil || f.Location != "/b" || f.Length != 5 || f.BodyBytes != 5 || !f.BodyFailed || f.Processing <= 0 || f.Transfer <= 0 {
		t.Errorf("facts are %+v", f)
	}
}

func TestRequestOfHTTP(t *testing.T) {
	tests := []struct {
		about   string
		request Request
		want    HTTP
		line    string
		host    string
	}{
		{"the usual one", Request{ServerName: "shop.example.com"}, HTTP{}, "GET /", "shop.example.com"},
		{"the port of the target is told", Request{ServerName: "shop.example.com", Host: "shop.example.com:8443"}, HTTP{}, "GET /", "shop.example.com:8443"},
		{"the name of the certificate counts", Request{ServerName: "shop.example.com", Host: "10.0.0.7:443"}, HTTP{}, "GET /", "shop.example.com"},
		{"without a name it is the host", Request{Host: "[2001:db8::1]:443"}, HTTP{}, "GET /", "[2001:db8::1]"},
		{"a method with a path, a query and a body", Request{ServerName: "a.example"}, HTTP{Method: "POST", Path: "/x?y=1", Body: "b"}, "POST /x?y=1 b", "a.example"},
		{"a header Host of the settings wins", Request{ServerName: "a.example"}, HTTP{Header: http.Header{"host": {"b.example"}}}, "GET /", "b.example"},
	}
	p := newPKI(t)
	for _, tt := range tests {
		seen := make(chan *http.Request, 1)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.RequestURI += strings.TrimRight(" "+string(body), " ")
			seen <- r
		}))
		server.TLS = p.config(nil)
		server.StartTLS()
		tt.request.Address = netip.MustParseAddrPort(server.Listener.Addr().String())
		tt.request.Protocol, tt.request.Settings = "https", &Settings{HTTP: &tt.want}
		if tt.request.Host == "" {
			tt.request.Host = net.JoinHostPort(tt.request.ServerName, "443")
		}
		dialer := Dialer{Timeout: 20 * time.Second}
		if got := dialer.Handshake(t.Context(), tt.request); got.Err != nil || got.HTTP == nil {
			t.Fatalf("%s: %+v", tt.about, got)
		}
		r := <-seen
		if line := r.Method + " " + r.RequestURI; line != tt.line || r.Host != tt.host || r.UserAgent() != "certmedic" {
			t.Errorf("%s: %q for %q by %q, want %q for %q", tt.about, line, r.Host, r.UserAgent(), tt.line, tt.host)
		}
		server.Close()
	}
}

func TestHTTPIsNotAskedOfWhoDemandsACertificate(t *testing.T) {
	p := newPKI(t)
	address := serveAnswer(t, p.config(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), "HTTP/1.1 200 OK\r\n\r\n")
	got := askHTTP(t, address, nil)
	if got.HTTP != nil || len(got.Findings) != 1 || got.Findings[0].Code != certmedic.ClientCertRequired {
		t.Errorf("facts %+v, findings %v", got.HTTP, got.Findings)
	}
}

func TestADemandThatIsMadeInHTTPIsNoFault(t *testing.T) {
	p := newPKI(t)
	answer := "HTTP/1.1 400 Bad Request\r\n\r\nNo required SSL certificate was sent"
	address := serveAnswer(t, p.config(func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }), answer)
	got := askHTTP(t, address, nil)
	if len(got.Findings) != 1 || got.Findings[0].Code != certmedic.ClientCertRequired {
		t.Errorf("findings %v", got.Findings)
	}
	if got = askHTTP(t, serveAnswer(t, p.config(nil), answer), nil); len(got.Findings) != 0 {
		t.Errorf("a bad request without a demand has the findings %v", got.Findings)
	}
}

// redirects is a server whose /N redirects to /N-1 on another name, and whose /0 is the end.
func redirects(t *testing.T, p pki) netip.AddrPort {
	mux := http.NewServeMux()
	var port string
	mux.HandleFunc("/{n}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscan(r.PathValue("n"), &n)
		if n == 0 {
			_, _ = io.WriteString(w, r.Method+" "+r.Host+" "+r.Header.Get("X-Secret"))
			return
		}
		http.Redirect(w, r, fmt.Sprintf("https://hop%d.example.com:%s/%d", n-1, port, n-1), http.StatusFound)
	})
	server := httptest.NewUnstartedServer(mux)
	server.TLS = p.config(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port = target.Port()
	return netip.MustParseAddrPort(server.Listener.Addr().String())
}

func TestRedirects(t *testing.T) {
	p := newPKI(t)
	address := redirects(t, p)
	loopback := func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{address.Addr()}, nil }
	refuse := func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("not allowed there") }
	tests := []struct {
		about    string
		redirect func(context.Context, string) ([]netip.Addr, error)
		follow   int
		status   int
		followed int
		detail   string
	}{
		{"none is followed unless that is wanted", loopback, 0, 302, 0, ""},
		{"none is followed where nobody says to which addresses", nil, 5, 302, 0, ""},
		{"all are followed", loopback, 5, 200, 3, ""},
		{"so many and no more", loopback, 2, 302, 2, ""},
		{"one that is not allowed", refuse, 5, 302, 1, "after a redirect to hop2.example.com:" + fmt.Sprint(address.Port()) + ": there is no proper answer to HTTP: not allowed there"},
	}
	for _, tt := range tests {
		dialer := Dialer{Timeout: 20 * time.Second, Redirect: tt.redirect}
		want := &HTTP{Path: "/3", Method: "POST", Redirects: tt.follow, Header: http.Header{"X-Secret": {"s3cret"}}}
		if tt.status == 200 {
			want.Match = []*regexp.Regexp{regexp.MustCompile(`^GET hop0\.example\.com:\d+ $`)} // the secret stays at home
		}
		got := dialer.Handshake(t.Context(), Request{
			Address: address, ServerName: "shop.example.com", Protocol: "https", Settings: &Settings{HTTP: want},
		})
		checkHTTP(t, tt.about, got, tt.detail)
		if f := got.HTTP; f == nil || f.Status != tt.status || f.Redirects != tt.followed || !strings.HasSuffix(f.Location, "/2") {
			t.Errorf("%s: facts are %+v, want status %d after %d", tt.about, f, tt.status, tt.followed)
		}
	}
}

func TestRedirectsThatAreNotFollowed(t *testing.T) {
	p := newPKI(t)
	for _, location := range []string{"", "ftp://a.example/", "https://", "file:///etc/passwd", "//[::1", "https://a.example:70000/"} {
		dialer := Dialer{Timeout: 20 * time.Second, Redirect: func(context.Context, string) ([]netip.Addr, error) {
			t.Errorf("%q is followed", location)
			return nil, nil
		}}
		got := dialer.Handshake(t.Context(), Request{
			Address:    serveAnswer(t, p.config(nil), "HTTP/1.1 301 Moved\r\nLocation: "+location+"\r\n\r\n"),
			ServerName: "shop.example.com", Protocol: "https",
			Settings: &Settings{HTTP: &HTTP{Redirects: 3}},
		})
		if got.HTTP == nil || got.HTTP.Status != 301 {
			t.Errorf("%q: facts are %+v", location, got.HTTP)
		}
	}
}

func TestRedirectToPlainHTTP(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer plain.Close()
	p := newPKI(t)
	dialer := Dialer{Timeout: 20 * time.Second, Redirect: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	got := dialer.Handshake(t.Context(), Request{
		Address:  serveAnswer(t, p.config(nil), "HTTP/1.1 308 Away\r\nLocation: "+plain.URL+"\r\n\r\n"),
		Protocol: "https", Settings: &Settings{HTTP: &HTTP{Redirects: 1}},
	})
	if got.HTTP == nil || got.HTTP.Status != http.StatusTeapot || len(got.Findings) > 0 {
		t.Errorf("facts are %+v, findings %v", got.HTTP, got.Findings)
	}
}

func TestASilentServerOfHTTPEndsInTime(t *testing.T) {
	address := serveTLS(t, newPKI(t).config(nil))
	dialer := Dialer{Timeout: 300 * time.Millisecond}
	got := dialer.Handshake(t.Context(), Request{Address: address, Protocol: "https"})
	checkHTTP(t, "a server that says nothing", got, "no answer to HTTP within")
}
