package live

import (
	"bytes"
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/certmedic/certmedic"
)

// serveQUIC accepts connections and leaves them alone.
func serveQUIC(t *testing.T, config *tls.Config) netip.AddrPort {
	t.Helper()
	listener, err := quic.ListenAddr("127.0.0.1:0", config, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return netip.MustParseAddrPort(listener.Addr().String())
}

// serveUDP answers each datagram by what answer makes of it.
func serveUDP(t *testing.T, answer func([]byte) []byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if reply := answer(buffer[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

func askQUIC(t *testing.T, address netip.AddrPort, timeout time.Duration, edit func(*Request)) Result {
	t.Helper()
	dialer := Dialer{Timeout: timeout}
	r := Request{Address: address, ServerName: "shop.example.com", Protocol: "quic"}
	if edit != nil {
		edit(&r)
	}
	return dialer.Handshake(t.Context(), r)
}

func TestQUICReachesTheCertificate(t *testing.T) {
	p := newPKI(t)
	h3 := func(edit func(*tls.Config)) *tls.Config {
		return p.config(func(c *tls.Config) {
			c.NextProtos = []string{"h3"}
			if edit != nil {
				edit(c)
			}
		})
	}
	tests := []struct {
		about   string
		config  *tls.Config
		fast    bool
		group   string
		finding certmedic.FindingCode
	}{
		{"the usual offer", h3(nil), false, "X25519MLKEM768", ""},
		{"the fast offer", h3(nil), true, "CurveP256", ""},
		{"a server that demands a hybrid", h3(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768} }), true, "X25519MLKEM768", ""},
		{"a server that demands a client certificate", h3(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), true, "CurveP256", certmedic.ClientCertRequired},
		{"a server that speaks another protocol", h3(func(c *tls.Config) { c.NextProtos = []string{"doq"} }), true, "CurveP256", ""},
	}
	for _, tt := range tests {
		got := askQUIC(t, serveQUIC(t, tt.config), 20*time.Second, func(r *Request) { r.Fast = tt.fast })
		if got.Err != nil || got.Stage != certmedic.ProbeDone || len(got.Certs) != 2 || !got.Certs[0].Equal(p.leaf.Cert) {
			t.Errorf("%s: stage %s, error %+v, %d certificates", tt.about, got.Stage, got.Err, len(got.Certs))
			continue
		}
		if got.TLS.Version != "TLS 1.3" || got.TLS.Cipher == "" || got.TLS.Group != tt.group {
			t.Errorf("%s: facts are %+v, want the group %s", tt.about, got.TLS, tt.group)
		}
		if tt.finding == "" && got.Findings != nil || tt.finding != "" && !certmedic.HasFinding(got.Findings, tt.finding) {
			t.Errorf("%s: findings are %v, want %q", tt.about, got.Findings, tt.finding)
		}
	}
}

// versionNegotiation answers a long header (RFC 9000 section 17.2) with a version that
// nobody speaks.
func versionNegotiation(datagram []byte) []byte {
	const version = 5 // where the connection IDs begin
	destination := datagram[version : version+1+int(datagram[version])]
	source := datagram[version+len(destination):]
	source = source[:1+int(source[0])]
	reply := append([]byte{0x80, 0, 0, 0, 0}, source...)
	reply = append(reply, destination...)
	return append(reply, 0x1a, 0x2a, 0x3a, 0x4a)
}

func TestQUICFailures(t *testing.T) {
	p := newPKI(t)
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused := netip.MustParseAddrPort(closed.LocalAddr().String())
	_ = closed.Close()
	const short = 200 * time.Millisecond
	garbage := serveQUIC(t, p.config(func(c *tls.Config) {
		c.NextProtos = []string{"h3"}
		c.Certificates[0].Certificate = [][]byte{p.leaf.Cert.Raw, []byte("\x30\x03garbage")}
	}))
	tests := []struct {
		about   string
		address netip.AddrPort
		timeout time.Duration
		edit    func(*Request)
		stage   certmedic.ProbeStage
		reason  certmedic.FindingCode
		detail  string
	}{
		{"nothing listens", unused, 20 * time.Second, nil, certmedic.ProbeConnect, certmedic.Unreachable, "refused"},
		{"nobody answers", serveUDP(t, func([]byte) []byte { return nil }), short, nil, certmedic.ProbeConnect, certmedic.Timeout, "no answer over QUIC within"},
		{"the answers are garbage", serveUDP(t, func(b []byte) []byte { return bytes.Repeat([]byte{0x40}, len(b)) }), short, nil, certmedic.ProbeHandshake, certmedic.Timeout, "did not end within"},
		{"another version of QUIC", serveUDP(t, versionNegotiation), 20 * time.Second, nil, certmedic.ProbeHandshake, certmedic.HandshakeFailed, "only other versions of QUIC"},
		{"a proxy", unused, short, func(r *Request) { r.Settings = &Settings{Proxy: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}} }, certmedic.ProbeConnect, certmedic.Unreachable, "a proxy cannot carry QUIC"},
		{"a type of key", unused, short, func(r *Request) { r.Variant = certmedic.VariantRSA }, certmedic.ProbeConnect, certmedic.HandshakeFailed, "types of key are told apart by TLS 1.2"},
		{"a broken certificate", garbage, 20 * time.Second, nil, certmedic.ProbeHandshake, certmedic.HandshakeFailed, "failed to parse certificate"},
	}
	for _, tt := range tests {
		got := askQUIC(t, tt.address, tt.timeout, tt.edit)
		if got.Err == nil || got.Stage != tt.stage || got.Err.Reason != tt.reason || !strings.Contains(got.Err.Detail, tt.detail) {
			t.Errorf("%s: stage %s, error %+v, want %s, %s: %s", tt.about, got.Stage, got.Err, tt.stage, tt.reason, tt.detail)
		}
	}
	if got := askQUIC(t, garbage, 20*time.Second, nil); !certmedic.HasFinding(got.Findings, certmedic.NotACertificate) {
		t.Errorf("a broken certificate has the findings %v", got.Findings)
	}
}

func TestQUICIsCancelled(t *testing.T) {
	address := serveUDP(t, func([]byte) []byte { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	dialer := Dialer{Timeout: time.Hour}
	got := dialer.Handshake(ctx, Request{Address: address, Protocol: "quic"})
	if got.Err == nil || got.Err.Reason != certmedic.Timeout || !strings.Contains(got.Err.Detail, "cancelled") {
		t.Errorf("error %+v", got.Err)
	}
}

// TestQUICLeavesNothingBehind looks at the stacks of all goroutines for quic-go's, and
// at what it prints.
func TestQUICLeavesNothingBehind(t *testing.T) {
	var printed bytes.Buffer
	log.SetOutput(&printed)
	defer log.SetOutput(os.Stderr)
	quiet := serveUDP(t, func([]byte) []byte { return nil })
	listener, err := quic.ListenAddr("127.0.0.1:0", newPKI(t).config(func(c *tls.Config) { c.NextProtos = []string{"h3"} }), nil)
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddrPort(listener.Addr().String())
	printed.Reset() // the listener's own
	for range 3 {
		askQUIC(t, address, 20*time.Second, nil)
		askQUIC(t, quiet, 10*time.Millisecond, nil)
	}
	_ = listener.Close()
	if printed.Len() > 0 {
		t.Errorf("quic-go prints %q", printed.String())
	}
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(left, "quic-go") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("goroutines are left:\n%s", left)
		}
	}
}
