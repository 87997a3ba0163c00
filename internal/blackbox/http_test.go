package blackbox

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/blackbox/fetch"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/tlsd"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

// web is a lab with web servers on 127.0.0.1: one over TLS for shop.test, and a plain one
// that redirects to it.
type web struct {
	*lab
	secure, plain *httptest.Server

	mu    sync.Mutex
	asked []string // "METHOD host path authorization" of each request to the secure one
}

func (w *web) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

func newWeb(t *testing.T, certificate tls.Certificate) *web {
	t.Helper()
	w := &web{lab: newLab(t, tlsd.None)}
	if certificate.Leaf == nil {
		certificate = w.pair.TLS()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = append(w.asked, r.Method+" "+r.Host+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		rw.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		_, _ = rw.Write([]byte("all is well\n"))
	})
	mux.HandleFunc("/missing", http.NotFound)
	mux.Handle("/moved", http.RedirectHandler("/found", http.StatusFound))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	w.secure = httptest.NewUnstartedServer(mux)
	w.secure.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	w.secure.EnableHTTP2 = true
	w.secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.secure.StartTLS()
	t.Cleanup(w.secure.Close)
	w.plain = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metadata" {
			http.Redirect(rw, r, "http://169.254.169.254/latest", http.StatusFound)
			return
		}
		http.Redirect(rw, r, w.url("/"), http.StatusMovedPermanently)
	}))
	t.Cleanup(w.plain.Close)
	return w
}

func portOf(server *httptest.Server) string {
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	return port
}

func (w *web) url(path string) string {
	return "https://" + net.JoinHostPort(shop, portOf(w.secure)) + path
}

// probe asks with a module of the http prober.
func (w *web) probe(settings fetch.Settings, target string, more ...string) (int, string) {
	return w.probeWith(Module{HTTP: settings}, target, more...)
}

func (w *web) probeWith(module Module, target string, more ...string) (int, string) {
	module.Prober, module.Fallback = ProberHTTP, true
	w.options.Modules = map[string]Module{"web": module}
	return w.get(append([]string{"target", target, "module", "web"}, more...)...)
}

func TestHTTPHasBlackboxExportersSeries(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	_, text := w.probe(fetch.Settings{}, w.url("/"))
	leaf := inspect.Facts(w.pair.Cert)
	expiry := strconv.FormatFloat(float64(leaf.NotAfter.Unix()), 'g', -1, 64)
	wants(
		t, text,
		"probe_success 1\n", "probe_http_status_code 200\n", "probe_http_version 2\n", "probe_http_ssl 1\n", "probe_http_redirects 0\n",
		"probe_http_content_length 12\n", "probe_http_uncompressed_body_length 12\n",
		"probe_http_last_modified_timestamp_seconds 1.136214245e+09\n", "probe_failed_due_to_regex 0\n", "probe_ip_protocol 4\n",
		`probe_http_duration_seconds{phase="connect"}`, `probe_http_duration_seconds{phase="processing"}`, `probe_http_duration_seconds{phase="resolve"}`,
		`probe_http_duration_seconds{phase="tls"}`, `probe_http_duration_seconds{phase="transfer"}`,
		"probe_ssl_earliest_cert_expiry "+expiry+"\n", "probe_ssl_last_chain_expiry_timestamp_seconds "+expiry+"\n",
		`probe_ssl_last_chain_info{fingerprint_sha256="`+string(leaf.SHA256)+`"`,
		`probe_tls_version_info{version="TLS 1.3"} 1`, `probe_tls_group_info{group="X25519MLKEM768",id="4588"} 1`,
		`certmedic_served_not_after_timestamp_seconds{address="127.0.0.1:`+portOf(w.secure)+`"`,
	)
	if asked := w.requests(); len(asked) != 1 {
		t.Errorf("one probe made the requests %q", asked)
	}
}

func TestHTTPModulesDecide(t *testing.T) {
	re := func(s string) []*regexp.Regexp { return []*regexp.Regexp{regexp.MustCompile(s)} }
	header := func(name, s string, missing bool) []fetch.HeaderMatch {
		return []fetch.HeaderMatch{{Header: name, Regexp: regexp.MustCompile(s), AllowMissing: missing}}
	}
	w := newWeb(t, tls.Certificate{})
	for _, row := range []struct {
		about    string
		path     string
		settings fetch.Settings
		lines    []string
	}{
		{"404 is no success", "/missing", fetch.Settings{}, []string{"probe_success 0\n", "probe_http_status_code 404\n", "probe_ssl_earliest_cert_expiry "}},
		{"unless it is valid", "/missing", fetch.Settings{ValidStatusCodes: []int{404}}, []string{"probe_success 1\n"}},
		{"200 is no success where it is not valid", "/", fetch.Settings{ValidStatusCodes: []int{404}}, []string{"probe_success 0\n"}},
		{"redirects are followed", "/moved", fetch.Settings{}, []string{"probe_success 1\n", "probe_http_redirects 1\n", "probe_http_status_code 200\n"}},
		{"unless they are not to be", "/moved", fetch.Settings{NoRedirects: true}, []string{"probe_success 0\n", "probe_http_redirects 1\n", "probe_http_status_code 302\n"}},
		{"a redirect may be what is wanted", "/moved", fetch.Settings{NoRedirects: true, ValidStatusCodes: []int{302}}, []string{"probe_success 1\n"}},
		{"redirects end", "/round", fetch.Settings{}, []string{"probe_success 0\n", "probe_http_redirects 11\n"}},
		{"HTTP/1.1 where HTTP/2 is not offered", "/", fetch.Settings{NoHTTP2: true}, []string{"probe_success 1\n", "probe_http_version 1.1\n"}},
		{"a version that is not valid", "/", fetch.Settings{ValidVersions: []string{"HTTP/1.1"}}, []string{"probe_success 0\n", "probe_http_version 2\n"}},
		{"TLS where there must be none", "/", fetch.Settings{FailIfSSL: true}, []string{"probe_success 0\n", "probe_http_ssl 1\n"}},
		{"a body that must not match", "/", fetch.Settings{FailIfBodyMatches: re("all .. well")}, []string{"probe_success 0\n", "probe_failed_due_to_regex 1\n"}},
		{"a body that matches", "/", fetch.Settings{FailIfBodyNotMatches: re("all .. well")}, []string{"probe_success 1\n", "probe_failed_due_to_regex 0\n"}},
		{"a body that does not", "/", fetch.Settings{FailIfBodyNotMatches: re("broken")}, []string{"probe_success 0\n", "probe_failed_due_to_regex 1\n"}},
		{"expressions are not tried after another failure", "/missing", fetch.Settings{FailIfBodyNotMatches: re("broken")}, []string{"probe_success 0\n", "probe_failed_due_to_regex 0\n"}},
		{"a header that must not match", "/", fetch.Settings{FailIfHeaderMatches: header("content-type", "text", false)}, []string{"probe_success 0\n", "probe_failed_due_to_regex 1\n"}},
		{"a header that does not match", "/", fetch.Settings{FailIfHeaderNotMatches: header("Content-Type", "json", false)}, []string{"probe_success 0\n"}},
		{"a header that is missing", "/", fetch.Settings{FailIfHeaderNotMatches: header("X-Lab", "x", false)}, []string{"probe_success 0\n", "probe_failed_due_to_regex 1\n"}},
		{"a header that may be missing", "/", fetch.Settings{FailIfHeaderNotMatches: header("X-Lab", "x", true)}, []string{"probe_success 1\n"}},
	} {
		t.Run(row.about, func(t *testing.T) {
			_, text := w.probe(row.settings, w.url(row.path))
			wants(t, text, row.lines...)
		})
	}
}

func TestHTTPSendsWhatTheModuleSays(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	settings := fetch.Settings{Method: "POST", Body: "hello", Header: http.Header{"Authorization": {"Bearer lab"}}}
	_, text := w.probe(settings, w.url("/post"))
	wants(t, text, "probe_success 1\n")
	if want := "POST " + shop + ":" + portOf(w.secure) + " /post Bearer lab"; !slices.Equal(w.requests(), []string{want}) {
		t.Errorf("asked %q, want %q", w.requests(), want)
	}
}

func TestHTTPFollowsFromPlainToTLS(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	_, text := w.probe(fetch.Settings{FailIfNotSSL: true}, w.plain.URL)
	wants(t, text, "probe_success 1\n", "probe_http_ssl 1\n", "probe_http_redirects 1\n", "probe_ssl_earliest_cert_expiry ")
	_, text = w.probe(fetch.Settings{NoRedirects: true, FailIfNotSSL: true, ValidStatusCodes: []int{301}}, strings.TrimPrefix(w.plain.URL, "http://"))
	wants(t, text, "probe_success 0\n", "probe_http_ssl 0\n", "probe_http_status_code 301\n", "!probe_ssl", "!probe_tls")
}

func TestHTTPKeepsTheFactsOfARefusedChain(t *testing.T) {
	pair := mint.Must(mint.SelfSigned(mint.Leaf{Names: []string{shop}, NotAfter: time.Now().Add(-time.Hour)}))
	w := newWeb(t, pair.TLS())
	settings := fetch.Settings{Header: http.Header{"Authorization": {"Bearer lab"}}}
	_, text := w.probe(settings, w.url("/"))
	wants(
		t, text, "probe_success 0\n", "probe_http_status_code 0\n", "probe_http_ssl 0\n", "probe_ssl_earliest_cert_expiry ", "probe_ssl_last_chain_info{",
		`probe_tls_version_info{version="TLS 1.3"} 1`, "!probe_ssl_last_chain_expiry_timestamp_seconds", "certmedic_finding{",
	)
	if asked := w.requests(); len(asked) != 0 {
		t.Errorf("a server whose chain was refused was asked %q", asked)
	}
	_, text = w.probeWith(Module{InsecureSkipVerify: true}, w.url("/"))
	wants(t, text, "probe_success 1\n", "probe_http_status_code 200\n", "!probe_ssl_last_chain_expiry_timestamp_seconds")
}

func TestHTTPHostnameIsHostAndServerName(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	target := "https://127.0.0.1:" + portOf(w.secure) + "/"
	_, text := w.probe(fetch.Settings{}, target)
	wants(t, text, "probe_success 0\n", "probe_ssl_earliest_cert_expiry ")
	_, text = w.probe(fetch.Settings{}, target, "hostname", shop)
	wants(t, text, "probe_success 1\n")
	if asked := w.requests(); !slices.Equal(asked, []string{"GET " + shop + " / "}) {
		t.Errorf("asked %q", asked)
	}
	status, body := w.probe(fetch.Settings{Header: http.Header{"Host": {"blog.test"}}}, target, "hostname", shop)
	want := "host header defined both in module configuration (blog.test) and with URL-parameter 'hostname' (shop.test)\n"
	if status != http.StatusBadRequest || body != want {
		t.Errorf("two hosts: status %d, body %q", status, body)
	}
}

func TestHTTPTellsWhyThereIsNoAnswer(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	for _, row := range []struct {
		about, target, why string
	}{
		{"a redirect to metadata is refused", w.plain.URL + "/metadata", "169.254.169.254 is a link-local, multicast or metadata address"},
		{"a redirect cannot leave http", "https://" + shop + ":" + portOf(w.secure) + "/%zz", "invalid URL escape"},
		{"no host", "https://:443/", "has no host"},
		{"a host without addresses", "https://blog.test/", "no such host"},
		{"TLS to a server without it", "https://" + strings.TrimPrefix(w.plain.URL, "http://"), "server gave HTTP response to HTTPS client"},
		{"a port that is none", "http://shop.test:0/", "is not between 1 and 65535"},
	} {
		_, text := w.probe(fetch.Settings{}, row.target, "debug", "true")
		if !strings.Contains(text, row.why) || !strings.Contains(text, "\nprobe_success 0\n") {
			t.Errorf("%s: there is no %q in\n%s", row.about, row.why, text)
		}
	}
}

func TestHTTPEndsInTime(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	if err := w.node.SetFault(tlsd.StallHandshake); err != nil {
		t.Fatal(err)
	}
	_, text := w.probeWith(Module{Timeout: 50 * time.Millisecond}, "https://"+w.target()+"/")
	wants(t, text, "probe_success 0\n", "probe_timeout_seconds 0.05\n", "certmedic_finding{")
}

func TestHTTPGoesThroughAProxyToTheCheckedAddress(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	var connected []string
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		connected = append(connected, r.Method+" "+r.Host)
		tunnel(rw, r.Host)
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(strings.Replace(proxy.URL, "http://", "http://lab:open-sesame@", 1))
	if err != nil {
		t.Fatal(err)
	}
	address.RawQuery = "token=open-sesame"
	_, text := w.probeWith(Module{Live: &live.Settings{Proxy: address}}, w.url("/"), "debug", "true")
	if !strings.Contains(text, "\nprobe_success 1\n") || strings.Contains(text, "open-sesame") {
		t.Errorf("through a proxy:\n%s", text)
	}
	if want := "CONNECT 127.0.0.1:" + portOf(w.secure); len(connected) != 1 || connected[0] != want {
		t.Errorf("the proxy was asked %q, want %q", connected, want)
	}
}

// tunnel joins the client's connection with one to the address.
func tunnel(rw http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	here, _, err := rw.(http.Hijacker).Hijack()
	if err != nil {
		_ = there.Close()
		return
	}
	_, _ = fmt.Fprint(here, "HTTP/1.1 200 OK\r\n\r\n")
	go pipe(here, there)
	pipe(there, here)
}

func pipe(to, from net.Conn) {
	defer func() { _ = to.Close() }()
	_, _ = from.(*net.TCPConn).WriteTo(to)
}

func TestOldVersionsAreRefusedWhereTheModuleSaysSo(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	if err := w.node.SetFault(tlsd.OldTLS); err != nil {
		t.Fatal(err)
	}
	target := "https://" + w.target() + "/"
	_, text := w.probe(fetch.Settings{}, target)
	wants(t, text, "probe_success 1\n", `probe_tls_version_info{version="TLS 1.0"} 1`)
	_, text = w.probeWith(Module{MinVersion: tls.VersionTLS12}, target)
	wants(t, text, "probe_success 0\n", "probe_http_status_code 0\n", `probe_tls_version_info{version="TLS 1.0"} 1`)
}

func TestSSLSeriesWhereTheModuleAsksForThem(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	_, text := w.probeWith(Module{Series: []string{SeriesSSL}}, w.url("/"))
	wants(t, text, "ssl_probe_success 1\n", `ssl_prober{prober="https"} 1`, "ssl_cert_not_after{", `ssl_verified_cert_not_after{chain_no="0",`, "!probe_success")
	w.options.Modules = map[string]Module{"both": {Fallback: true, Series: []string{SeriesBlackbox, SeriesSSL}}}
	_, text = w.get("target", w.target(), "module", "both")
	wants(t, text, "probe_success 1\n", "ssl_probe_success 1\n", `ssl_prober{prober="tcp"} 1`, `ssl_tls_version_info{version="TLS 1.3"} 1`, "ssl_ocsp_response_stapled 0\n")
}

func TestPasswordsInTargetsAreNotShown(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	target := strings.Replace(w.url("/"), "https://", "https://lab:open-sesame@", 1)
	_, text := w.probe(fetch.Settings{}, target, "debug", "true")
	if strings.Contains(text, "open-sesame") || !strings.Contains(text, "\nprobe_success 1\n") {
		t.Errorf("the story of a target with a password:\n%s", text)
	}
	if asked := w.requests(); len(asked) != 1 || !strings.HasSuffix(asked[0], " Basic bGFiOm9wZW4tc2VzYW1l") {
		t.Errorf("asked %q", asked)
	}
}

func TestDebugMasksSecrets(t *testing.T) {
	w := newWeb(t, tls.Certificate{})
	module := Module{
		HTTP: fetch.Settings{Body: "password=open-sesame", Header: http.Header{"X-Token": {"open-sesame"}, "Accept": {"text/html"}}},
		Live: &live.Settings{Script: []live.Step{{Send: "PASS open-sesame"}}},
	}
	_, text := w.probeWith(module, w.url("/"), "debug", "true")
	if strings.Contains(text, "open-sesame") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	for _, line := range []string{"    X-Token: <secret>\n", "    Accept: text/html\n", "  body: <secret>\n", "  - send: <secret>\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("there is no %q in\n%s", line, text)
		}
	}
}

func TestTheUsualModuleIsBlackboxExporters(t *testing.T) {
	l := newLab(t, tlsd.None)
	target := "https://" + l.target()
	if _, text := l.get("target", target); strings.Contains(text, "probe_http_ssl") {
		t.Errorf("without a module http_2xx HTTP was asked:\n%s", text)
	}
	l.options.Modules = map[string]Module{"http_2xx": {Prober: ProberHTTP, Roots: l.options.Prober.Roots, Fallback: true}}
	_, text := l.get("target", target)
	wants(t, text, "probe_success 1\n", "probe_http_ssl 1\n", "probe_http_status_code 200\n")
}
