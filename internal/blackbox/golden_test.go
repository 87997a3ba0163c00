package blackbox

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/certmedic/certmedic/internal/blackbox/fetch"
	"github.com/certmedic/certmedic/internal/lab/tlsd"
	"github.com/certmedic/certmedic/probe/live"
)

// never is what blackbox_exporter shows for a date that it does not know.
const never = -62135596800

// TestSameAsBlackboxExporter probes the same servers with the real blackbox_exporter and
// compares: all of its series have to be among ours, with its type, help and labels, and
// with its values where these do not depend on the moment.
func TestSameAsBlackboxExporter(t *testing.T) {
	binary := blackboxExporter()
	if binary == "" {
		t.Skip("there is no blackbox_exporter: set CERTMEDIC_BLACKBOX to the path of one")
	}
	w := newWeb(t, tls.Certificate{})
	peer := startPeer(t, binary, w)
	expired := startNode(t, w, tlsd.Expired)
	mail := startMail(t, w.pair.TLS())
	base := Module{ServerName: shop, Fallback: true, Series: []string{SeriesBlackbox}}
	web := base
	web.Prober = ProberHTTP
	once, unverified, starttls := web, base, base
	once.HTTP = fetch.Settings{NoRedirects: true}
	unverified.InsecureSkipVerify = true
	starttls.Live = &live.Settings{Script: []live.Step{
		{Expect: regexp.MustCompile("^220 "), Send: "EHLO prober"},
		{Expect: regexp.MustCompile("^250 STARTTLS"), Send: "STARTTLS"},
		{Expect: regexp.MustCompile("^220"), StartTLS: true},
		{Send: "EHLO prober"},
		{Expect: regexp.MustCompile("^250 (.*)"), Send: "QUIT"},
	}}
	deaf := starttls
	deaf.Live = &live.Settings{Script: []live.Step{{Expect: regexp.MustCompile("^SSH-2.0"), StartTLS: true}}}
	w.options.Modules = map[string]Module{"tls": base, "unverified": unverified, "starttls": starttls, "deaf": deaf, "web": web, "once": once}
	secure := "https://127.0.0.1:" + portOf(w.secure)
	for _, row := range []struct{ about, module, target string }{
		{"a good chain", "tls", "127.0.0.1:" + w.port},
		{"an expired leaf", "tls", expired},
		{"an expired leaf that is not verified", "unverified", expired},
		{"a port where nobody listens", "tls", "127.0.0.1:1"},
		{"a mail server that begins TLS when asked", "starttls", mail},
		{"a server that does not say what is expected", "deaf", mail},
		{"https that answers 200", "web", secure + "/"},
		{"https that answers 404", "web", secure + "/missing"},
		{"https that redirects", "web", secure + "/moved"},
		{"https that redirects without being followed", "once", secure + "/moved"},
		{"https that redirects for ever", "web", secure + "/round"},
		{"http that redirects without being followed", "once", w.plain.URL},
	} {
		t.Run(row.about, func(t *testing.T) {
			theirs := families(t, peer.ask(t, row.module, row.target))
			_, text := w.get("module", row.module, "target", row.target)
			compare(t, theirs, families(t, text))
		})
	}
}

// blackboxExporter returns the path of a program to compare with, or "".
func blackboxExporter() string {
	candidates := []string{os.Getenv("CERTMEDIC_BLACKBOX")}
	for _, name := range []string{"prometheus-blackbox-exporter", "blackbox_exporter"} {
		found, _ := exec.LookPath(name) // empty where there is none
		candidates = append(candidates, filepath.Join("..", "..", ".tools", "bin", name), found)
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); path != "" && err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// peer is a running blackbox_exporter.
type peer struct{ url string }

func startPeer(t *testing.T, binary string, w *web) peer {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, w.root.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "blackbox.yml")
	if err := os.WriteFile(config, []byte(peerConfig(root)), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close() // the exporter takes the port over
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, binary, "--config.file="+config, "--web.listen-address="+address)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = command.Wait() })
	p := peer{"http://" + address}
	for range 200 {
		if response, err := http.Get(p.url + "/-/healthy"); err == nil {
			_ = response.Body.Close()
			return p
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("blackbox_exporter does not answer")
	return p
}

func peerConfig(root string) string {
	verified := fmt.Sprintf("{ca_file: %q, server_name: %s}", root, shop)
	return `modules:
  tls: {prober: tcp, tcp: {tls: true, tls_config: ` + verified + `}}
  unverified: {prober: tcp, tcp: {tls: true, tls_config: {insecure_skip_verify: true}}}
  starttls:
    prober: tcp
    tcp:
      tls_config: ` + verified + `
      query_response:
      - {expect: "^220 ", send: "EHLO prober"}
      - {expect: "^250 STARTTLS", send: "STARTTLS"}
      - {expect: "^220", starttls: true}
      - {send: "EHLO prober"}
      - {expect: "^250 (.*)", send: "QUIT"}
  deaf: {prober: tcp, tcp: {tls_config: ` + verified + `, query_response: [{expect: "^SSH-2.0", starttls: true}]}}
  web: {prober: http, http: {tls_config: ` + verified + `}}
  once: {prober: http, http: {follow_redirects: false, tls_config: ` + verified + `}}
`
}

func (p peer) ask(t *testing.T, module, target string) string {
	t.Helper()
	response, err := http.Get(p.url + "/probe?" + url.Values{"module": {module}, "target": {target}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", response.Status, text, err)
	}
	return string(text)
}

func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return all
}

// compare fails for each of their series that is not among ours.
func compare(t *testing.T, theirs, ours map[string]*dto.MetricFamily) {
	t.Helper()
	moment := regexp.MustCompile(`_duration_seconds$|_lookup_time_seconds$`)
	for name, family := range theirs {
		own, ok := ours[name]
		if !ok && family.Metric[0].GetGauge().GetValue() != never {
			t.Errorf("%s is missing", name)
		}
		if !ok {
			continue
		}
		if own.GetType() != family.GetType() || own.GetHelp() != family.GetHelp() {
			t.Errorf("%s is %s %q, theirs is %s %q", name, own.GetType(), own.GetHelp(), family.GetType(), family.GetHelp())
		}
		for _, metric := range family.Metric {
			want := metric.GetGauge().GetValue()
			value, found := find(own, metric.Label)
			same := value == want || want == never || moment.MatchString(name)
			if !found || !same {
				t.Errorf("%s%v is %v (there: %t), theirs is %v", name, metric.Label, value, found, want)
			}
		}
	}
}

// find returns the value of the series that has at least these labels.
func find(family *dto.MetricFamily, labels []*dto.LabelPair) (float64, bool) {
	for _, metric := range family.Metric {
		has := map[string]string{}
		for _, l := range metric.Label {
			has[l.GetName()] = l.GetValue()
		}
		all := true
		for _, l := range labels {
			value, ok := has[l.GetName()]
			all = all && ok && value == l.GetValue()
		}
		if all {
			return metric.GetGauge().GetValue(), true
		}
	}
	return math.NaN(), false
}

// startNode starts another TLS server of the lab and returns its host:port.
func startNode(t *testing.T, w *web, fault tlsd.Fault) string {
	t.Helper()
	node, err := tlsd.Start(t.Context(), tlsd.Options{Name: "other", Issuer: w.issuing})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Stop)
	if err := node.Serve(w.pair.TLS()); err != nil {
		t.Fatal(err)
	}
	if err := node.SetFault(fault); err != nil {
		t.Fatal(err)
	}
	return node.Addr()
}

// startMail starts a server that speaks as much SMTP as it takes to begin TLS (RFC 3207),
// and returns its host:port.
func startMail(t *testing.T, certificate tls.Certificate) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go speakMail(conn, certificate)
		}
	}()
	return listener.Addr().String()
}

func speakMail(conn net.Conn, certificate tls.Certificate) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond)) // fails only on closed connections
	_, _ = fmt.Fprint(conn, "220 mail.test ESMTP\r\n")
	if readLine(conn) != "EHLO prober" {
		return
	}
	_, _ = fmt.Fprint(conn, "250-mail.test\r\n250 STARTTLS\r\n")
	if readLine(conn) != "STARTTLS" {
		return
	}
	_, _ = fmt.Fprint(conn, "220 go ahead\r\n")
	secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
	if readLine(secure) == "EHLO prober" {
		_, _ = fmt.Fprint(secure, "250 mail.test\r\n")
		readLine(secure)
	}
}

// readLine reads byte by byte, so that nothing of a following handshake is taken.
func readLine(conn net.Conn) string {
	var line []byte
	one := make([]byte, 1)
	for len(line) < 512 {
		if _, err := conn.Read(one); err != nil || one[0] == '\n' {
			break
		}
		line = append(line, one[0])
	}
	return strings.TrimSuffix(string(line), "\r")
}
