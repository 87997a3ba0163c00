package live

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// serve calls handle for each connection to a new listener on loopback.
func serve(t *testing.T, handle func(net.Conn)) netip.AddrPort {
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
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String())
}

// serveTLS handshakes on each connection and then waits for the client to leave.
func serveTLS(t *testing.T, config *tls.Config) netip.AddrPort {
	t.Helper()
	return serve(t, func(conn net.Conn) { shakeAndWait(conn, config) })
}

func shakeAndWait(conn net.Conn, config *tls.Config) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	server := tls.Server(conn, config)
	if server.Handshake() == nil {
		_, _ = io.Copy(io.Discard, server)
	}
}

// serveAnswer handshakes on each connection, reads a request, answers it and closes.
func serveAnswer(t *testing.T, config *tls.Config, answer string) netip.AddrPort {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		server := tls.Server(conn, config)
		defer server.Close()
		if server.Handshake() == nil {
			readSome(server)
			_, _ = io.WriteString(server, answer)
		}
	})
}

type pki struct{ root, leaf *certtest.Pair }

func newPKI(t *testing.T) pki {
	root := certtest.Issue(t, nil, certtest.CA("Root", time.Now()), nil)
	return pki{root: root, leaf: certtest.Issue(t, root, certtest.Server(time.Now(), "shop.example.com"), nil)}
}

func (p pki) config(edit func(*tls.Config)) *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{p.leaf.TLS(p.root)}}
	if edit != nil {
		edit(c)
	}
	return c
}

func ask(t *testing.T, address netip.AddrPort) Result {
	t.Helper()
	dialer := Dialer{Timeout: 20 * time.Second}
	return dialer.Handshake(t.Context(), Request{Address: address, ServerName: "shop.example.com"})
}

func TestHandshakeReachesTheCertificate(t *testing.T) {
	p := newPKI(t)
	demand := func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }
	tests := []struct {
		name    string
		edit    func(*tls.Config)
		version string
		finding certmedic.FindingCode
	}{
		{"TLS 1.3", nil, "TLS 1.3", ""},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "TLS 1.2", ""},
		{"TLS 1.0, as old servers have it", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, "TLS 1.0", ""},
		{"an insecure cipher suite alone", func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}
		}, "TLS 1.2", ""},
		{"a group that is offered late", func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP521} }, "TLS 1.3", ""},
		{"TLS 1.3 demands a client certificate after the handshake", demand, "TLS 1.3", certmedic.ClientCertRequired},
		{"TLS 1.2 demands a client certificate within the handshake", func(c *tls.Config) {
			demand(c)
			c.MaxVersion = tls.VersionTLS12
		}, "TLS 1.2", certmedic.ClientCertRequired},
		{"asking for a client certificate is not demanding it", func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }, "TLS 1.3", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, serveTLS(t, p.config(tt.edit)))
			if got.Err != nil || got.Stage != certmedic.ProbeDone {
				t.Fatalf("stage %s, error %v", got.Stage, got.Err)
			}
			if len(got.Certs) != 2 || !got.Certs[0].Equal(p.leaf.Cert) {
				t.Errorf("got %d certificates, want the leaf and its root", len(got.Certs))
			}
			if got.TLS == nil || got.TLS.Version != tt.version || got.TLS.Cipher == "" {
				t.Errorf("TLS facts are %+v, want version %s", got.TLS, tt.version)
			}
			if tt.finding == "" && got.Findings != nil || tt.finding != "" && !certmedic.HasFinding(got.Findings, tt.finding) {
				t.Errorf("findings are %v, want %q", got.Findings, tt.finding)
			}
		})
	}
}

func TestGroupIsNamed(t *testing.T) {
	got := ask(t, serveTLS(t, newPKI(t).config(nil)))
	if got.TLS == nil || got.TLS.Group != "X25519MLKEM768" {
		t.Errorf("TLS facts are %+v, want the group X25519MLKEM768", got.TLS)
	}
}

func TestOldPeersAreAskedAgain(t *testing.T) {
	p := newPKI(t)
	old := p.config(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 })
	tests := []struct {
		name      string
		tolerates func(hello *tls.ClientHelloInfo) bool
	}{
		{"a peer that fails on TLS 1.3", func(h *tls.ClientHelloInfo) bool { return !slices.Contains(h.SupportedVersions, tls.VersionTLS13) }},
		{"a peer that fails on post-quantum groups", func(h *tls.ClientHelloInfo) bool { return !slices.Contains(h.SupportedCurves, tls.X25519MLKEM768) }},
		{"a peer that fails on everything after TLS 1.0", func(h *tls.ClientHelloInfo) bool { return slices.Max(h.SupportedVersions) == tls.VersionTLS10 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := &tls.Config{MinVersion: tls.VersionTLS10, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if !tt.tolerates(h) {
					return nil, errors.New("intolerant")
				}
				return old, nil
			}}
			got := ask(t, serveTLS(t, config))
			if got.Err != nil || len(got.Certs) != 2 {
				t.Errorf("error %v, %d certificates", got.Err, len(got.Certs))
			}
		})
	}
}

func TestBrokenCertificates(t *testing.T) {
	p := newPKI(t)
	otherKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	garbage := []byte("\x30\x03garbage")
	tests := []struct {
		name    string
		edit    func(*tls.Config)
		certs   int
		finding certmedic.FindingCode
		detail  string
	}{
		{"garbage above the leaf", func(c *tls.Config) {
			c.Certificates[0].Certificate = [][]byte{p.leaf.Cert.Raw, garbage, p.root.Cert.Raw}
		}, 2, certmedic.NotACertificate, "certificate 2 of 3"},
		{"garbage as the leaf leaves nothing to be taken for it", func(c *tls.Config) {
			c.Certificates[0].Certificate = [][]byte{garbage, p.root.Cert.Raw}
		}, 0, certmedic.NotACertificate, "cannot be parsed"},
		{"garbage from a server that has only TLS 1.3", func(c *tls.Config) {
			c.Certificates[0].Certificate = [][]byte{p.leaf.Cert.Raw, garbage}
			c.MinVersion = tls.VersionTLS13
		}, 0, certmedic.NotACertificate, "cannot be parsed"},
		{"a key that belongs to another certificate", func(c *tls.Config) {
			c.Certificates[0].PrivateKey = otherKey
		}, 2, certmedic.KeyMismatch, "private key belongs to another"},
		{"such a key with TLS 1.2", func(c *tls.Config) {
			c.Certificates[0].PrivateKey = otherKey
			c.MaxVersion = tls.VersionTLS12
		}, 2, certmedic.KeyMismatch, "private key belongs to another"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, serveTLS(t, p.config(tt.edit)))
			if got.Err == nil || got.Err.Reason != certmedic.HandshakeFailed || got.Stage != certmedic.ProbeHandshake {
				t.Errorf("stage %s, error %v", got.Stage, got.Err)
			}
			if len(got.Certs) != tt.certs {
				t.Errorf("got %d certificates, want %d", len(got.Certs), tt.certs)
			}
			if len(got.Findings) != 1 || got.Findings[0].Code != tt.finding || !strings.Contains(got.Findings[0].Detail, tt.detail) {
				t.Errorf("findings are %v, want %s: %s", got.Findings, tt.finding, tt.detail)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	closed := serve(t, readSome)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused := netip.MustParseAddrPort(listener.Addr().String())
	_ = listener.Close()
	refuseNames := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}

	tests := []struct {
		name    string
		address netip.AddrPort
		stage   certmedic.ProbeStage
		reason  certmedic.FindingCode
		detail  string
	}{
		{"nothing listens", unused, certmedic.ProbeConnect, certmedic.Unreachable, "refused"},
		{"the peer closes without a word", closed, certmedic.ProbeHandshake, certmedic.HandshakeFailed, "closed the connection without answering"},
		{"the peer resets without a word", serve(t, reset), certmedic.ProbeHandshake, certmedic.Unreachable, "reset before the peer sent anything"},
		{"the peer speaks HTTP", serve(t, func(c net.Conn) {
			readSome(c)
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad\x1b[31m Request\r\n\r\n")
			readSome(c)
		}), certmedic.ProbeHandshake, certmedic.HandshakeFailed, `does not speak TLS: it sent "HTTP/1.1 400 Bad\x1b[31m Request"`},
		{"the peer greets first, as SMTP does", serve(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "220 mail.example.com ESMTP\r\n")
			readSome(c)
		}), certmedic.ProbeHandshake, certmedic.HandshakeFailed, `it sent "220 mail.example.com ESMTP"`},
		{"the peer answers with an alert", serveTLS(t, refuseNames), certmedic.ProbeHandshake, certmedic.HandshakeFailed, "TLS alert"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, tt.address)
			if got.Err == nil || got.Stage != tt.stage || got.Err.Reason != tt.reason || !strings.Contains(got.Err.Detail, tt.detail) {
				t.Errorf("stage %s, error %+v, want %s, %s: %s", got.Stage, got.Err, tt.stage, tt.reason, tt.detail)
			}
		})
	}
}

func readSome(c net.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, _ = c.Read(make([]byte, 4096))
}

// reset makes the close that follows a reset.
func reset(c net.Conn) {
	readSome(c)
	_ = c.(*net.TCPConn).SetLinger(0)
}

func TestTimeouts(t *testing.T) {
	stall := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	trickle := serve(t, func(c net.Conn) {
		for range 10_000 { // a byte of a handshake record at a time
			if _, err := c.Write([]byte{22}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
			_, _ = c.Write([]byte{3})
		}
	})
	dialer := Dialer{Timeout: 50 * time.Millisecond}
	got := dialer.Handshake(t.Context(), Request{Address: stall})
	if got.Err == nil || got.Err.Reason != certmedic.Timeout || got.Stage != certmedic.ProbeHandshake {
		t.Errorf("a peer that stalls: stage %s, error %+v", got.Stage, got.Err)
	}
	if got := dialer.Handshake(t.Context(), Request{Address: trickle}); got.Err == nil {
		t.Error("a peer that trickles: no error")
	}

	dialer = Dialer{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, Timeout: time.Millisecond}
	if got := dialer.Handshake(t.Context(), Request{Address: stall}); got.Err == nil || got.Err.Reason != certmedic.Timeout || got.Stage != certmedic.ProbeConnect {
		t.Errorf("a connection that is not answered: stage %s, error %+v", got.Stage, got.Err)
	}
}

func TestEndedContextEndsTheProbe(t *testing.T) {
	stall := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	dialer := Dialer{Timeout: time.Hour}
	if got := dialer.Handshake(ctx, Request{Address: stall}); got.Err == nil || got.Err.Reason != certmedic.Timeout {
		t.Errorf("error %+v", got.Err)
	}
}

func TestOffersToThePeer(t *testing.T) {
	p := newPKI(t)
	tests := []struct {
		request Request
		sni     string
		alpn    []string
	}{
		{Request{ServerName: "shop.example.com"}, "shop.example.com", nil},
		{Request{ServerName: "shop.example.com", Protocol: "https"}, "shop.example.com", []string{"http/1.1"}},
		{Request{ServerName: "192.0.2.1", Protocol: "imaps"}, "", nil},
		{Request{ServerName: "2001:db8::1"}, "", nil},
	}
	for _, tt := range tests {
		hellos := make(chan *tls.ClientHelloInfo, 1)
		config := p.config(func(c *tls.Config) {
			c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				hellos <- h
				return nil, nil
			}
		})
		tt.request.Address = serveAnswer(t, config, "HTTP/1.1 200 OK\r\n\r\n")
		dialer := Dialer{}
		if got := dialer.Handshake(t.Context(), tt.request); got.Err != nil {
			t.Fatalf("%+v: %+v", tt.request, got.Err)
		}
		hello := <-hellos
		if hello.ServerName != tt.sni || !slices.Equal(hello.SupportedProtos, tt.alpn) {
			t.Errorf("%+v: SNI %q, ALPN %v, want %q, %v", tt.request, hello.ServerName, hello.SupportedProtos, tt.sni, tt.alpn)
		}
	}
}

func TestProtocols(t *testing.T) {
	for _, p := range Protocols() {
		if got, err := ParseProtocol(p.Name); err != nil || got.Port != p.Port || p.Port == 0 {
			t.Errorf("%q is %+v, %v", p.Name, got, err)
		}
	}
	if _, err := ParseProtocol("gopher"); err == nil || !strings.Contains(err.Error(), `"gopher" is not supported`) {
		t.Errorf("gopher: %v, want that it is not supported", err)
	}
	dialer := Dialer{}
	if got := dialer.Handshake(t.Context(), Request{Protocol: "gopher"}); got.Err == nil {
		t.Error("an unknown protocol has no error")
	}
}

func FuzzCertificatesIn(f *testing.F) {
	f.Add([]byte{22, 3, 3, 0, 10, 11, 0, 0, 6, 0, 0, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		total := 0
		for _, der := range certificatesIn(stream) {
			total += len(der)
		}
		if total > len(stream) {
			t.Errorf("%d bytes of certificates in a stream of %d", total, len(stream))
		}
	})
}
