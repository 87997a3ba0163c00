package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/probe/live"
)

// newFetcher returns a fetcher for which every host is this one, and that allows and
// trusts all of them.
func newFetcher() *Fetcher {
	return &Fetcher{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Choose: func(all []netip.Addr) (netip.Addr, bool) { return all[0], true },
		Allow:  func(string, netip.Addr) error { return nil },
		Verify: func(tls.ConnectionState, string) error { return nil },
	}
}

func serve(t *testing.T, handler http.HandlerFunc) (port string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	_, port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return port
}

func fetched(t *testing.T, f *Fetcher, target string, s Settings) Result {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return f.Do(t.Context(), u, s)
}

func TestEveryHopIsLookedUpOnceAndChecked(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "shop.test") {
			http.Redirect(w, r, "http://"+strings.Replace(r.Host, "shop", "blog", 1)+"/x", http.StatusFound)
		}
	})
	f := newFetcher()
	looked, checked := []string{}, []string{}
	lookup := f.Lookup
	f.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		looked = append(looked, host)
		return lookup(ctx, host)
	}
	f.Allow = func(host string, address netip.Addr) error {
		checked = append(checked, host+" "+address.String())
		return nil
	}
	result := fetched(t, f, "http://shop.test:"+port+"/", Settings{})
	if !result.Success || result.Redirects != 1 || len(result.Hops) != 2 || result.Hops[1].Host != "blog.test:"+port {
		t.Errorf("the result is %+v", result)
	}
	if got := strings.Join(looked, " "); got != "shop.test blog.test" {
		t.Errorf("looked up: %s", got)
	}
	if got := strings.Join(checked, ", "); got != "shop.test 127.0.0.1, blog.test 127.0.0.1" {
		t.Errorf("checked: %s", got)
	}
}

func TestARefusedHopIsNotDialled(t *testing.T) {
	reached := 0
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		reached++
		http.Redirect(w, r, "http://blog.test/", http.StatusFound)
	})
	f := newFetcher()
	f.Allow = func(host string, _ netip.Addr) error {
		if host == "blog.test" {
			return errors.New("not that one")
		}
		return nil
	}
	result := fetched(t, f, "http://shop.test:"+port+"/", Settings{})
	if result.Success || reached != 1 || !strings.Contains(strings.Join(result.Failures, " "), "not that one") {
		t.Errorf("reached %d times, the result is %+v", reached, result)
	}
}

func TestRedirectsStayWithinHTTP(t *testing.T) {
	for _, location := range []string{"file:///etc/passwd", "gopher://shop.test/", "http://shop.test:99999/"} {
		port := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		})
		if result := fetched(t, newFetcher(), "http://shop.test:"+port+"/", Settings{}); result.Success || len(result.Failures) == 0 {
			t.Errorf("%s: the result is %+v", location, result)
		}
	}
}

func TestCookiesAreKeptOverRedirects(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("seen"); err != nil {
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "yes"})
			http.Redirect(w, r, "/", http.StatusFound)
		}
	})
	if result := fetched(t, newFetcher(), "http://shop.test:"+port+"/", Settings{}); !result.Success || result.Redirects != 1 {
		t.Errorf("the result is %+v", result)
	}
}

func TestBodiesAreCountedWhole(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = w.Write(make([]byte, maxMatched/2))
		}
	})
	result := fetched(t, newFetcher(), "http://shop.test:"+port+"/", Settings{})
	if !result.Success || result.BodyLength != 3*maxMatched/2 || result.ContentLength != -1 {
		t.Errorf("success %t, length %d of %d", result.Success, result.BodyLength, result.ContentLength)
	}
}

func TestBrokenAnswersAreFailures(t *testing.T) {
	for _, row := range []struct{ about, answer string }{
		{"no HTTP at all", "220 mail.test ESMTP\r\n"},
		{"a body that ends too soon", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"},
		{"a header that is too long", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n"},
		{"nothing", ""},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte(row.answer))
			_ = conn.Close()
		}()
		result := fetched(t, newFetcher(), "http://"+listener.Addr().String()+"/", Settings{})
		_ = listener.Close()
		if result.Success || len(result.Failures) == 0 {
			t.Errorf("%s: the result is %+v", row.about, result)
		}
	}
}

func TestProxiesOverTLSAreVerified(t *testing.T) {
	asked := 0
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	proxy.Config.ErrorLog = log.New(io.Discard, "", 0)
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	f := newFetcher()
	f.Live = &live.Settings{Proxy: &url.URL{Scheme: "https", Host: proxy.Listener.Addr().String()}}
	for _, target := range []string{"http://shop.test/", "https://shop.test/"} {
		result := fetched(t, f, target, Settings{})
		if result.Success || asked > 0 || !strings.Contains(strings.Join(result.Failures, " "), "failed to verify certificate") {
			t.Errorf("%s: a proxy that nobody trusts was asked %d times, the result is %+v", target, asked, result)
		}
	}
}

func TestWithHost(t *testing.T) {
	own := Settings{Header: http.Header{"Host": {"shop.test"}, "X-Lab": {"1"}}}
	if _, err := own.WithHost("blog.test"); err == nil {
		t.Error("two hosts are taken")
	}
	same, err := own.WithHost("shop.test")
	if err != nil || same.Header.Get("X-Lab") != "1" {
		t.Errorf("the same host: %v, %v", same.Header, err)
	}
	given, err := Settings{}.WithHost("blog.test")
	if err != nil || given.Header.Get("Host") != "blog.test" {
		t.Errorf("a host where there was none: %v, %v", given.Header, err)
	}
	if len(own.Header) != 2 {
		t.Errorf("the module's own header was changed: %v", own.Header)
	}
}
