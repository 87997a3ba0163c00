package blackbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/tlsd"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

const shop = "shop.test"

// lab is a handler whose DNS knows shop.test only, under the addresses of its node.
type lab struct {
	t       *testing.T
	node    *tlsd.Node
	port    string
	root    *mint.CA
	issuing *mint.CA
	pair    mint.Pair
	options Options
}

func newLab(t *testing.T, fault tlsd.Fault) *lab {
	t.Helper()
	root := mint.Must(mint.NewCA("Lab Root"))
	issuing := mint.Must(root.Intermediate("Lab Issuing"))
	node, err := tlsd.Start(t.Context(), tlsd.Options{Name: "node", Issuer: issuing})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Stop)
	l := &lab{t: t, node: node, root: root, issuing: issuing, pair: mint.Must(issuing.Leaf(mint.Leaf{Names: []string{shop, "www." + shop}}))}
	_, l.port, _ = net.SplitHostPort(node.Addr())
	if err := node.Serve(l.pair.TLS()); err != nil {
		t.Fatal(err)
	}
	if err := node.SetFault(fault); err != nil {
		t.Fatal(err)
	}
	allow, err := Guard(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.options = Options{Allow: allow, Prober: probe.Prober{
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != shop {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Handshake: (&live.Dialer{Timeout: 2 * time.Second}).Handshake,
		Roots:     []inspect.Roots{{Name: "the lab", Pool: root.Pool()}},
	}}
	return l
}

func (l *lab) target() string { return net.JoinHostPort(shop, l.port) }

// get asks the handler with parameters in pairs.
func (l *lab) get(parameters ...string) (int, string) {
	l.t.Helper()
	return l.getWith(nil, parameters...)
}

func (l *lab) getWith(header http.Header, parameters ...string) (int, string) {
	l.t.Helper()
	query := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	r := httptest.NewRequestWithContext(l.t.Context(), http.MethodGet, "/probe?"+query.Encode(), nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	New(l.options).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// wants fails for each line that the text lacks, and for each that begins with "!" and
// that it has. A line may be the beginning of one.
func wants(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		not := strings.HasPrefix(line, "!")
		line = strings.TrimPrefix(line, "!")
		if has := strings.Contains("\n"+text, "\n"+line); has == not {
			t.Errorf("%q is there: %t, in\n%s", line, has, text)
		}
	}
}

func TestProbeHasBlackboxExportersSeries(t *testing.T) {
	l := newLab(t, tlsd.None)
	status, text := l.get("target", l.target())
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, text)
	}
	leaf := inspect.Facts(l.pair.Cert)
	expiry := strconv.FormatFloat(float64(leaf.NotAfter.Unix()), 'g', -1, 64)
	wants(
		t, text,
		"probe_success 1\n",
		"probe_duration_seconds ",
		"probe_dns_lookup_time_seconds ",
		"probe_ip_protocol 4\n",
		"probe_ip_addr_hash 3.668918509e+09\n",
		"probe_ssl_earliest_cert_expiry "+expiry+"\n",
		"probe_ssl_last_chain_expiry_timestamp_seconds "+expiry+"\n",
		`probe_ssl_last_chain_info{fingerprint_sha256="`+string(leaf.SHA256)+`",issuer="`+leaf.Issuer+`",serialnumber="`+leaf.Serial+
			`",subject="`+leaf.Subject+`",subjectalternative="shop.test,www.shop.test"} 1`+"\n",
		`probe_tls_version_info{version="TLS 1.3"} 1`+"\n",
		`probe_tls_cipher_info{cipher="TLS_`,
		"# HELP probe_success Displays whether or not the probe was a success\n",
		"# HELP probe_ssl_earliest_cert_expiry Returns last SSL chain expiry in unixtime\n",
		`certmedic_served_not_after_timestamp_seconds{address="127.0.0.1:`+l.port+`",certificate="",endpoint="`+l.target()+`"`,
	)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "certmedic_") {
			t.Errorf("promlint: %v", p)
		}
	}
}

func TestProbeLosesNoFactsOverAFault(t *testing.T) {
	for _, row := range []struct {
		about string
		fault tlsd.Fault
		lines []string
	}{
		{"an expired leaf", tlsd.Expired, []string{"probe_success 0\n", "probe_ssl_earliest_cert_expiry ", "probe_ssl_last_chain_info{", "probe_tls_version_info{"}},
		{"another name's leaf", tlsd.WrongName, []string{"probe_success 0\n", "probe_ssl_earliest_cert_expiry ", "probe_ssl_last_chain_expiry_timestamp_seconds "}},
		{
			"an untrusted leaf, of which nothing was ever verified", tlsd.SelfSigned,
			[]string{"probe_success 0\n", "probe_ssl_earliest_cert_expiry ", "!probe_ssl_last_chain_expiry_timestamp_seconds"},
		},
		{"a peer that wants to know us", tlsd.ClientCert, []string{"probe_success 1\n", "probe_ssl_last_chain_info{"}},
		{"a peer without TLS", tlsd.PlainHTTP, []string{"probe_success 0\n", "probe_ip_protocol 4\n", "!probe_ssl", "!probe_tls"}},
	} {
		t.Run(row.about, func(t *testing.T) {
			l := newLab(t, row.fault)
			status, text := l.get("target", l.target())
			if status != http.StatusOK {
				t.Errorf("status %d", status)
			}
			wants(t, text, row.lines...)
		})
	}
}

func TestModulesDecide(t *testing.T) {
	for _, row := range []struct {
		about  string
		fault  tlsd.Fault
		module Module
		host   string // of the request's hostname
		lines  []string
	}{
		{"who skips verification has success with an untrusted leaf", tlsd.SelfSigned, Module{InsecureSkipVerify: true, Fallback: true}, "", []string{"probe_success 1\n"}},
		{"other roots trust others", tlsd.None, Module{Roots: []inspect.Roots{{Name: "nobody"}}, Fallback: true}, "", []string{"probe_success 0\n"}},
		{"a version that is too old is no success", tlsd.OldTLS, Module{MinVersion: tls.VersionTLS12, Fallback: true}, "", []string{"probe_success 0\n", `probe_tls_version_info{version="TLS 1.0"} 1`}},
		{
			"the settings of handshakes may say so too", tlsd.OldTLS,
			Module{Live: &live.Settings{MinVersion: tls.VersionTLS12}, Fallback: true},
			"",
			[]string{"probe_success 0\n", `probe_tls_version_info{version="TLS 1.0"} 1`},
		},
		{"any version is one without a minimum", tlsd.OldTLS, Module{Fallback: true}, "", []string{"probe_success 1\n"}},
		{"the hostname is verified", tlsd.None, Module{Fallback: true}, "www.shop.test", []string{"probe_success 1\n"}},
		{"a hostname that is not covered fails", tlsd.None, Module{Fallback: true}, "blog.test", []string{"probe_success 0\n", "certmedic_finding{"}},
		{"the module's own name goes before the hostname", tlsd.None, Module{ServerName: shop, Fallback: true}, "blog.test", []string{"probe_success 1\n"}},
		{"without fallback the other family does not decide", tlsd.None, Module{PreferIP: IP6}, "", []string{"probe_success 0\n", "probe_ip_protocol 0\n", "!probe_ssl", "certmedic_probe_success{"}},
		{"the preferred family needs no fallback", tlsd.None, Module{PreferIP: IP4}, "", []string{"probe_success 1\n"}},
		{"the protocol is the module's", tlsd.None, Module{Protocol: "https", PreferIP: IP4}, "", []string{"probe_success 1\n"}},
	} {
		t.Run(row.about, func(t *testing.T) {
			l := newLab(t, row.fault)
			l.options.Modules = map[string]Module{"mine": row.module}
			_, text := l.get("target", l.target(), "module", "mine", "hostname", row.host)
			wants(t, text, row.lines...)
		})
	}
}

func TestProbeRefusesWhatItCannotDo(t *testing.T) {
	l := newLab(t, tlsd.None)
	for _, row := range []struct {
		about      string
		header     string
		parameters []string
		status     int
		body       string
	}{
		{"no target", "", nil, 400, "Target parameter is missing\n"},
		{"an unknown module", "", []string{"target", "shop.test", "module", "x"}, 400, "Unknown module \"x\"\n"},
		{"a timeout that is no number", "soon", []string{"target", "shop.test"}, 500, "Failed to parse timeout from Prometheus header: "},
		{"a timeout that is no time", "NaN", []string{"target", "shop.test"}, 500, "Failed to parse timeout from Prometheus header: "},
		{"a target that is none is a failed probe", "", []string{"target", "no host"}, 200, "# HELP probe_dns"},
		{"a name without addresses is a failed probe", "", []string{"target", "blog.test"}, 200, "# HELP certmedic_finding"},
	} {
		header := http.Header{}
		if row.header != "" {
			header.Set("X-Prometheus-Scrape-Timeout-Seconds", row.header)
		}
		status, body := l.getWith(header, row.parameters...)
		if status != row.status || !strings.HasPrefix(body, row.body) {
			t.Errorf("%s: status %d, body %q", row.about, status, body)
		}
		if status == http.StatusOK {
			wants(t, body, "probe_success 0\n")
		}
	}
}

func TestTimeoutOf(t *testing.T) {
	for _, row := range []struct {
		about, header string
		module, want  time.Duration
	}{
		{"nobody says how long", "", 0, 119500 * time.Millisecond},
		{"the scraper says, less the margin", "10", 0, 9500 * time.Millisecond},
		{"the module is shorter", "10", 5 * time.Second, 5 * time.Second},
		{"the module is longer", "3.5", 5 * time.Second, 3 * time.Second},
		{"too little for a margin is used whole", "0.4", 0, 400 * time.Millisecond},
	} {
		if got, err := timeoutOf(row.header, row.module); err != nil || got != row.want {
			t.Errorf("%s: %s, %v, want %s", row.about, got, err, row.want)
		}
	}
}

func TestProbeAsksATargetInOneWayOnly(t *testing.T) {
	l := newLab(t, tlsd.None)
	l.options.Prober.KeyTypes = true
	_, text := l.get("target", l.target())
	wants(t, text, "probe_success 1\n")
	if n := l.node.Connections(); n != 1 {
		t.Errorf("the node has seen %d connections, want 1", n)
	}
}

func TestProbeFetchesNothingThatAnUnverifiedCertificateNames(t *testing.T) {
	l := newLab(t, tlsd.MissingIntermediate)
	l.options.Prober.Issuers = func(context.Context, []*x509.Certificate, time.Time) ([]*x509.Certificate, []string, error) {
		t.Error("issuers are fetched")
		return nil, nil, errors.New("not found")
	}
	_, text := l.get("target", l.target())
	wants(t, text, "probe_success 0\n", "probe_ssl_earliest_cert_expiry ")
	if !strings.Contains(text, `code="incomplete_chain"`) {
		t.Errorf("the chain is not incomplete:\n%s", text)
	}
}

func TestEveryHandshakeIsTheModules(t *testing.T) {
	settings := &live.Settings{Proxy: &url.URL{Scheme: "socks5", Host: "proxy:1080"}}
	var got live.Request
	k := &recorder{
		answer:    &answer{request: request{module: Module{Prober: ProberHTTP, Live: settings}}, kept: map[string]live.Result{}},
		handshake: func(_ context.Context, r live.Request) live.Result { got = r; return live.Result{} },
	}
	for _, variant := range []certmedic.Variant{certmedic.VariantUsual, certmedic.VariantRSA} {
		k.shake(t.Context(), live.Request{Address: netip.MustParseAddrPort("192.0.2.1:443"), Host: "shop.test:443", Protocol: "https", Variant: variant})
		if got.Settings != settings || got.Protocol != "tls" || got.Host != "192.0.2.1:443" {
			t.Errorf("variant %q is asked with %+v", variant, got)
		}
	}
}

func TestProbeEndsInTime(t *testing.T) {
	l := newLab(t, tlsd.Stall)
	l.options.Prober.Handshake = new(live.Dialer).Handshake
	l.options.Modules = map[string]Module{"short": {Timeout: 50 * time.Millisecond, Fallback: true}}
	_, text := l.get("target", l.target(), "module", "short")
	wants(t, text, "probe_success 0\n", `certmedic_finding{address="127.0.0.1:`+l.port+`",certificate="",code="timeout"`)
}

func TestProbeBoundsWhatIsInFlight(t *testing.T) {
	l := newLab(t, tlsd.None)
	h := New(l.options)
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/probe?target=shop.test", nil)
	r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "0.01")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", w.Code)
	}
}

func TestDebugTellsTheWholeStory(t *testing.T) {
	l := newLab(t, tlsd.Expired)
	_, text := l.get("target", l.target(), "debug", "true")
	from := 0
	for _, part := range []string{
		"Logs for the probe:\n", "code=expired", "probe failed",
		"\n\n\nMetrics that would have been returned:\n", "probe_success 0\n",
		"\n\n\nModule configuration:\n", "protocol: tls\n", `- the lab`, "Certificates that were presented:\n", "-----BEGIN CERTIFICATE-----\n",
	} {
		at := strings.Index(text[from:], part)
		if at < 0 {
			t.Fatalf("after %d characters there is no %q in\n%s", from, part, text)
		}
		from += at
	}
}

func TestRefusedAddressesAreNotDialled(t *testing.T) {
	l := newLab(t, tlsd.None)
	allow, err := Guard([]string{"blog.test"})
	if err != nil {
		t.Fatal(err)
	}
	l.options.Allow = allow
	_, text := l.get("target", l.target(), "debug", "true")
	wants(t, text, "probe_success 0\n")
	if !strings.Contains(text, "is not among the allowed targets") {
		t.Errorf("the refusal is not told:\n%s", text)
	}
	if n := l.node.Connections(); n != 0 {
		t.Errorf("the node has seen %d connections", n)
	}
}

func TestAProxyIsToldTheCheckedAddress(t *testing.T) {
	l := newLab(t, tlsd.None)
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host)
		tunnel(rw, r.Host)
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	l.options.Modules = map[string]Module{"mine": {Fallback: true, Live: &live.Settings{Proxy: address}}}
	_, text := l.get("target", l.target(), "module", "mine")
	wants(t, text, "probe_success 1\n")
	if want := "CONNECT 127.0.0.1:" + l.port; len(asked) != 1 || asked[0] != want {
		t.Errorf("the proxy was asked %q, want %q", asked, want)
	}
}
