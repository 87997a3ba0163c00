package syslog_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/alerting/syslog"
)

func build(t *testing.T, c syslog.Config) *syslog.Notifier {
	t.Helper()
	n, err := syslog.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func notify(t *testing.T, c syslog.Config, n alerting.Notification) {
	t.Helper()
	if retry, err := build(t, c).Notify(t.Context(), n); retry || err != nil {
		t.Fatalf("retry %v, error %v", retry, err)
	}
}

// record is one by RFC 5424.
type record struct {
	facility, level          int
	at, host, tag, pid, kind string
	data                     [][2]string
	text                     string
}

func (r record) value(name string) string {
	for _, p := range r.data {
		if p[0] == name {
			return p[1]
		}
	}
	return ""
}

var (
	header = regexp.MustCompile(`^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z|-) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) \[certmedic@32473`)
	param  = regexp.MustCompile(`^ ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"`)
)

// read parses a record strictly.
func read(t *testing.T, line string) record {
	t.Helper()
	m := header.FindStringSubmatch(line)
	if m == nil || strings.ContainsAny(line, "\n\r\x00\x1b") || !utf8.ValidString(line) {
		t.Fatalf("%q is no record", line)
	}
	priority, _ := strconv.Atoi(m[1])
	r := record{facility: priority / 8, level: priority % 8, at: m[2], host: m[3], tag: m[4], pid: m[5], kind: m[6]}
	rest := line[len(m[0]):]
	for p := param.FindStringSubmatch(rest); p != nil; p = param.FindStringSubmatch(rest) {
		value := strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\]`, `]`).Replace(p[2])
		r.data, rest = append(r.data, [2]string{p[1], value}), rest[len(p[0]):]
	}
	text, ok := strings.CutPrefix(rest, "] ")
	if !ok {
		t.Fatalf("the structured data of %q does not end", line)
	}
	r.text = text
	return r
}

// datagrams listens for UDP, and hear returns the next record.
func datagrams(t *testing.T) (address string, hear func() string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String(), func() string {
		t.Helper()
		return packet(t, conn)
	}
}

func packet(t *testing.T, conn net.PacketConn) string {
	t.Helper()
	buffer := make([]byte, 65536)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, _, err := conn.ReadFrom(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n])
}

func TestARecord(t *testing.T) {
	address, hear := datagrams(t)
	n := alertingtest.Notification()
	e := &n.Events[0]
	e.Incident.Runbook, e.Certificate.NotAfter = "expired", e.Time.Add(-time.Minute)
	notify(t, syslog.Config{Network: syslog.UDP, Address: address, Facility: "local3", Tag: "watch", RunbookURL: "https://wiki/"}, n)
	r := read(t, hear())
	if r.facility != 19 || r.level != 2 || r.tag != "watch" || r.kind != "firing" || r.at != "2026-03-01T00:00:00.000000Z" {
		t.Errorf("%+v", r)
	}
	if r.text != "firing: shop: sümmary" {
		t.Errorf("text %q", r.text)
	}
	for name, want := range map[string]string{
		"certificate": "shop", "severity": "critical", "status": "firing", "rule": "expired", "dedup_key": "certmedic/shop/e1", "reason": "reason",
		"days_left": "-1", "member": "192.0.2.1:443", "evidence": "hook: exit 1", "runbook": "https://wiki/expired", "serial": "00af",
	} {
		if got := r.value(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestLevels(t *testing.T) {
	address, hear := datagrams(t)
	for _, tt := range []struct {
		kind     alerting.Kind
		severity certmedic.Severity
		want     int
	}{
		{alerting.KindFiring, certmedic.SeverityCritical, 2},
		{alerting.KindUpdate, certmedic.SeverityUnknown, 3},
		{alerting.KindFiring, certmedic.SeverityWarning, 4},
		{alerting.KindFiring, certmedic.SeverityInfo, 6},
		{alerting.KindResolved, certmedic.SeverityCritical, 5},
		{alerting.KindAcknowledged, certmedic.SeverityCritical, 5},
		{alerting.KindRolledBack, certmedic.SeverityInfo, 5},
		{alerting.KindHeartbeat, certmedic.SeverityInfo, 6},
	} {
		n := alertingtest.Notification()
		n.Events[0].Kind, n.Events[0].Severity = tt.kind, tt.severity
		notify(t, syslog.Config{Network: syslog.UDP, Address: address}, n)
		if got := read(t, hear()).level; got != tt.want {
			t.Errorf("%s %s has level %d, want %d", tt.kind, tt.severity, got, tt.want)
		}
	}
}

// evil is what a certificate, a server or a hook may say.
const evil = "a\"] b\\ [x@1 y=\"z\"]\r\n<0>1 - - - - - - injected\x00\x1b[31m\u202e\xff ü"

func TestWhatOthersWroteStaysAValue(t *testing.T) {
	address, hear := datagrams(t)
	n := alertingtest.Notification()
	e := &n.Events[0]
	e.Incident.Summary, e.Incident.Reason, e.Incident.Members = evil, evil, []string{evil}
	e.Incident.Evidence = []certmedic.Evidence{{Source: evil, Line: evil}}
	e.Certificate.Issuer, e.Certificate.Name, n.Conversation = evil, evil, evil
	for _, network := range []string{syslog.UDP, syslog.TCP} { // the longest record differs
		line := ""
		if network == syslog.UDP {
			notify(t, syslog.Config{Network: network, Address: address}, n)
			line = hear()
		} else {
			shown, err := build(t, syslog.Config{Network: network, Address: address}).Preview(n)
			if err != nil {
				t.Fatal(err)
			}
			line = strings.TrimSuffix(string(shown), "\n")
		}
		r := read(t, line)
		const plain = "a\"] b\\ [x@1 y=\"z\"] <0>1 - - - - - - injected\uFFFD ü"
		if r.value("reason") != plain || r.value("member") != plain || r.value("issuer") != plain {
			t.Errorf("reason %q", r.value("reason"))
		}
	}
}

func TestRecordsAreBounded(t *testing.T) {
	n := alertingtest.Notification()
	e := &n.Events[0]
	e.Incident.Summary = strings.Repeat("ü", 5000)
	e.Incident.Members = slices.Repeat([]string{strings.Repeat("é", 400)}, 300)
	for network, most := range map[string]int{syslog.UDP: 2048, syslog.TCP: 8 << 10, syslog.Local: 2048} {
		shown, err := build(t, syslog.Config{Network: network, Address: "127.0.0.1:1"}).Preview(n)
		line := strings.TrimSuffix(string(shown), "\n")
		if err != nil || len(line) > most || !utf8.ValidString(line) {
			t.Errorf("%s: %d bytes, error %v, valid %v", network, len(line), err, utf8.ValidString(line))
		}
		if network != syslog.Local {
			read(t, line)
		}
	}
}

func TestStreamsCountTheirOctets(t *testing.T) {
	config, roots := certificate(t)
	for _, network := range []string{syslog.TCP, syslog.TLS} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if network == syslog.TLS {
			listener = tls.NewListener(listener, config)
		}
		t.Cleanup(func() { _ = listener.Close() })
		heard := make(chan string, 1)
		go func() { heard <- all(listener) }()
		n := alertingtest.Notification()
		n.Events = append(n.Events, n.Events[0])
		notify(t, syslog.Config{Network: network, Address: listener.Addr().String(), Roots: roots}, n)
		in := bufio.NewReader(strings.NewReader(<-heard))
		for range 2 {
			var length int
			if _, err := fmt.Fscanf(in, "%d ", &length); err != nil {
				t.Fatalf("%s: %v", network, err)
			}
			line := make([]byte, length)
			if _, err := io.ReadFull(in, line); err != nil {
				t.Fatalf("%s: %v", network, err)
			}
			read(t, string(line))
		}
		if in.Buffered() > 0 {
			t.Errorf("%s: %d bytes more than two records", network, in.Buffered())
		}
	}
}

// all returns what the first connection says.
func all(listener net.Listener) string {
	conn, err := listener.Accept()
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	said, _ := io.ReadAll(conn) // a missing end shows in what was said
	return string(said)
}

func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

func TestTheSocketOfThisHost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n := alertingtest.Notification()
	n.Events[0].Incident.Reason = evil
	notify(t, syslog.Config{Address: path}, n)
	// The form that journald reads: priority, time, program and process, then text.
	want := regexp.MustCompile(`^<26>[A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8} certmedic\[\d+\]: firing: shop: sümmary certificate="shop" [^\n\x00]*$`)
	if got := packet(t, conn); !want.MatchString(got) {
		t.Errorf("record %q", got)
	}
}

func TestASocketThatIsAStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	heard := make(chan string, 1)
	go func() { heard <- all(listener) }()
	notify(t, syslog.Config{Address: path}, alertingtest.Notification())
	if got := <-heard; !strings.HasPrefix(got, "<26>") || !strings.HasSuffix(got, "\x00") {
		t.Errorf("record %q", got)
	}
}

func TestNobodyThere(t *testing.T) {
	config, _ := certificate(t)
	strange := tls.NewListener(listen(t), config) // no root vouches for it
	go func() { _ = all(strange) }()
	gone := listen(t)
	_ = gone.Close()
	for name, c := range map[string]syslog.Config{
		"no socket":            {Address: filepath.Join(t.TempDir(), "log")},
		"a refused connection": {Network: syslog.TCP, Address: gone.Addr().String()},
		"a stranger's server":  {Network: syslog.TLS, Address: strange.Addr().String()},
	} {
		if retry, err := build(t, c).Notify(t.Context(), alertingtest.Notification()); !retry || err == nil {
			t.Errorf("%s: retry %v, error %v", name, retry, err)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestTheEndOfTheContextEndsWriting(t *testing.T) {
	l := listen(t) // nobody reads
	n := alertingtest.Notification()
	n.Events[0].Incident.Summary = strings.Repeat("long ", 2000)
	n.Events = slices.Repeat(n.Events, 20_000) // more than the kernel buffers
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if retry, err := build(t, syslog.Config{Network: syslog.TCP, Address: l.Addr().String()}).Notify(ctx, n); !retry || err == nil {
		t.Errorf("retry %v, error %v", retry, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]syslog.Config{
		"an unknown network":        {Network: "sctp", Address: "a:1"},
		"a server without address":  {Network: syslog.UDP},
		"an unknown facility":       {Facility: "local9"},
		"a facility without a name": {Facility: "ntp"},
		"a tag with a blank":        {Tag: "a b"},
	} {
		if _, err := syslog.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(evil, "shop", 3)
	f.Add("", "", 0)
	f.Fuzz(func(t *testing.T, text, name string, members int) {
		n := body.Sample()
		for i := range n.Events {
			e := &n.Events[i]
			e.Incident.Summary, e.Incident.Reason, e.Certificate.Name = text, text, name
			e.Incident.Members = slices.Repeat([]string{text}, max(0, members)%400)
			for _, network := range []string{syslog.UDP, syslog.TCP} {
				one := n
				one.Events = n.Events[i : i+1]
				shown, err := build(t, syslog.Config{Network: network, Address: "127.0.0.1:1"}).Preview(one)
				if err != nil {
					t.Fatal(err)
				}
				read(t, strings.TrimSuffix(string(shown), "\n"))
			}
		}
	})
}

func TestACauseIsAValue(t *testing.T) {
	address, hear := datagrams(t)
	n := alertingtest.Notification()
	n.Events[0].Incident = alertingtest.Diagnosed(n.Events[0].Incident)
	notify(t, syslog.Config{Network: syslog.UDP, Address: address, Facility: "daemon", Tag: "certmedic"}, n)
	r := read(t, hear())
	if got := r.value("cause"); !strings.HasSuffix(got, "failed with exit code 1 (hook_failed)") {
		t.Errorf("cause %q", got)
	}
	if !slices.Contains(r.data, [2]string{"fix", "certmedic redeploy shop && echo '<b> & done'"}) {
		t.Errorf("the command of the fix is no value of its own: %v", r.data)
	}
}
