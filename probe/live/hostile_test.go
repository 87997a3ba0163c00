package live

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// message is a handshake message (RFC 5246 section 7.4).
func message(kind uint8, body []byte) []byte {
	var b cryptobyte.Builder
	b.AddUint8(kind)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(body) })
	return b.BytesOrPanic()
}

// records are the plain TLS records that carry a payload.
func records(kind uint8, payload []byte) []byte {
	var b cryptobyte.Builder
	for part := range slices.Chunk(payload, 16<<10) {
		b.AddUint8(kind)
		b.AddUint16(tls.VersionTLS12)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(part) })
	}
	return b.BytesOrPanic()
}

// serverHello chooses TLS 1.2 and a suite that needs nothing but a certificate.
func serverHello() []byte {
	var b cryptobyte.Builder
	b.AddUint16(tls.VersionTLS12)
	b.AddBytes(make([]byte, 32)) // random
	b.AddUint8(0)                // no session
	b.AddUint16(tls.TLS_RSA_WITH_AES_128_CBC_SHA)
	b.AddUint8(0) // no compression
	return message(2, b.BytesOrPanic())
}

func certificateMessage(ders ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, der := range ders {
			b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(der) })
		}
	})
	return message(messageCertificate, b.BytesOrPanic())
}

// says reads the hello and answers it with the bytes.
func says(t *testing.T, stream ...[]byte) netip.AddrPort {
	return serve(t, func(c net.Conn) {
		readSome(c)
		_, _ = c.Write(slices.Concat(stream...))
		readSome(c)
	})
}

// repeats reads the hello, says something, and then the same again until nobody listens.
func repeats(t *testing.T, once []byte, again []byte) netip.AddrPort {
	return serve(t, func(c net.Conn) {
		readSome(c)
		_, err := c.Write(once)
		again := bytes.Repeat(again, 1+4096/len(again))
		for err == nil {
			_, err = c.Write(again)
		}
	})
}

func TestHostilePeers(t *testing.T) {
	p := newPKI(t)
	leaf := p.leaf.Cert.Raw
	hello := records(recordHandshake, serverHello())
	withChain := func(ders ...[]byte) netip.AddrPort {
		return serveTLS(t, p.config(func(c *tls.Config) { c.Certificates[0].Certificate = ders; c.MaxVersion = tls.VersionTLS12 }))
	}
	tests := []struct {
		about   string
		address netip.AddrPort
		certs   int
		detail  string // of the error; empty: there is none
	}{
		{"a certificate of 1 MB", says(t, hello, records(recordHandshake, certificateMessage(make([]byte, 1<<20)))), 0, "exceeds maximum"},
		{"a certificate of 1 MB above a good leaf", says(t, hello, records(recordHandshake, certificateMessage(leaf, make([]byte, 1<<20)))), 1, "exceeds maximum"},
		{"100 certificates", withChain(slices.Repeat([][]byte{leaf}, 100)...), 100, ""},
		{"no certificate", says(t, hello, records(recordHandshake, certificateMessage())), 0, "the server sent no certificate"},
		{"bytes after the end of a certificate", withChain(append(slices.Clone(leaf), 0)), 0, "failed to parse certificate"},
		{"80,000 certificates of no bytes", says(t, hello, records(recordHandshake, certificateMessage(append([][]byte{leaf}, make([][]byte, 80_000)...)...))), 1, "breaks the rules of TLS"},
		{"a certificate that nobody reads to its end", repeats(t, slices.Concat(hello, records(recordHandshake, []byte{11, 3, 0xff, 0xff, 3, 0xff, 0xfc})), records(recordHandshake, make([]byte, 1))), 0, "breaks the rules of TLS"},
		{"a compressed certificate that was not asked for", says(t, hello, records(recordHandshake, message(25, make([]byte, 50)))), 0, "unexpected"},
		{"hellos without end", repeats(t, nil, hello), 0, "unexpected"},
		{"empty records without end", repeats(t, hello, []byte{recordHandshake, 3, 3, 0, 0}), 0, "breaks the rules of TLS"},
		{"warnings without end", repeats(t, nil, []byte{21, 3, 3, 0, 2, 1, 112}), 0, "too many ignored records"},
		{"a record that is too long", says(t, []byte{recordHandshake, 3, 3, 0xff, 0xff}), 0, "oversized record"},
		{"a certificate and then a reset", serve(t, func(c net.Conn) {
			readSome(c)
			_, _ = c.Write(slices.Concat(hello, records(recordHandshake, certificateMessage(leaf))))
			time.Sleep(50 * time.Millisecond)
			_ = c.(*net.TCPConn).SetLinger(0)
		}), 1, "reset during the handshake"},
	}
	for _, tt := range tests {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		got := ask(t, tt.address)
		runtime.ReadMemStats(&after)
		if tt.detail == "" && got.Err != nil || tt.detail != "" && (got.Err == nil || !strings.Contains(got.Err.Detail, tt.detail)) {
			t.Errorf("%s: stage %s, error %+v, want %q", tt.about, got.Stage, got.Err, tt.detail)
		}
		if len(got.Certs) != tt.certs || len(got.Certs) > 0 && !got.Certs[0].Equal(p.leaf.Cert) {
			t.Errorf("%s: %d certificates, want %d with the leaf first", tt.about, len(got.Certs), tt.certs)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("%s: took %s", tt.about, took)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%s: %d MB were allocated", tt.about, used>>20)
		}
		if len(got.Findings) > maxBroken {
			t.Errorf("%s: %d findings", tt.about, len(got.Findings))
		}
	}
}

// hugeRSA is a certificate with a key that crypto/tls refuses to verify by. Its number is
// no product of primes that anybody knows: nobody signs by it here.
func hugeRSA(t *testing.T, p pki) []byte {
	number := new(big.Int).Lsh(big.NewInt(1), 16383)
	template := certtest.Server(time.Now(), "shop.example.com")
	template.SerialNumber = big.NewInt(7)
	public := &rsa.PublicKey{N: number.Add(number, big.NewInt(1)), E: 65537}
	der, err := x509.CreateCertificate(nil, &template, p.root.Cert, public, p.root.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestRSA16384(t *testing.T) {
	p := newPKI(t)
	huge := p.config(func(c *tls.Config) { c.Certificates[0].Certificate = [][]byte{hugeRSA(t, p), p.root.Cert.Raw} })
	for _, fast := range []bool{true, false} {
		dialer := Dialer{Timeout: 20 * time.Second}
		got := dialer.Handshake(t.Context(), Request{Address: serveTLS(t, huge), ServerName: "shop.example.com", Fast: fast})
		if len(got.Certs) != 2 || got.Certs[0].PublicKey.(*rsa.PublicKey).N.BitLen() != 16384 {
			t.Errorf("fast %v: %d certificates, error %+v", fast, len(got.Certs), got.Err)
		}
		if got.Err == nil || !strings.Contains(got.Err.Detail, "RSA key larger than 8192 bits") {
			t.Errorf("fast %v: error %+v", fast, got.Err)
		}
	}
}

func TestControlCharactersInNames(t *testing.T) {
	p := newPKI(t)
	const name = "shop\x00\x1b[31m.example.com"
	template := certtest.Server(time.Now())
	template.Subject.CommonName = name
	evil := certtest.Issue(t, p.root, template, nil)
	got := ask(t, serveTLS(t, p.config(func(c *tls.Config) { c.Certificates[0] = evil.TLS() })))
	if got.Err != nil || len(got.Certs) != 1 || got.Certs[0].Subject.CommonName != name {
		t.Errorf("error %+v, certificates %v", got.Err, got.Certs)
	}
}

// slowly sends a whole handshake's first flight, a few bytes at a time.
func TestAByteAtATimeEndsInTime(t *testing.T) {
	flight := slices.Concat(records(recordHandshake, serverHello()), records(recordHandshake, certificateMessage(make([]byte, 60_000))))
	address := serve(t, func(c net.Conn) {
		readSome(c)
		for _, b := range flight {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
		_, _ = io.Copy(io.Discard, c)
	})
	dialer := Dialer{Timeout: 300 * time.Millisecond}
	start := time.Now()
	got := dialer.Handshake(t.Context(), Request{Address: address})
	if got.Err == nil || got.Err.Reason != certmedic.Timeout || got.Stage != certmedic.ProbeHandshake {
		t.Errorf("stage %s, error %+v", got.Stage, got.Err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
}

func FuzzParseAll(f *testing.F) {
	f.Add([]byte{0x30, 3, 2, 1, 1}, 3)
	f.Fuzz(func(t *testing.T, der []byte, times int) {
		raw := slices.Repeat([][]byte{der}, max(1, min(times, 50)))
		certs, findings := parseAll(raw)
		if len(certs) == 0 && len(findings) == 0 || len(certs) > len(raw) || len(findings) > maxBroken {
			t.Errorf("%d certificates and %d findings of %d", len(certs), len(findings), len(raw))
		}
	})
}

func FuzzAnswerToHTTP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 302 Found\r\nLocation: https://a.example/\r\nContent-Length: 2\r\n\r\nab"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		client, server := net.Pipe()
		defer client.Close()
		go func() {
			defer server.Close()
			_, _ = server.Read(make([]byte, 4096))
			_, _ = server.Write(stream)
		}()
		a := &attempt{dialer: &Dialer{}, request: &Request{Host: "a.example:443", Settings: &Settings{HTTP: &HTTP{Redirects: 2}}}}
		a.askHTTP(t.Context(), client)
		if a.result.HTTP == nil && len(a.result.Findings) == 0 {
			t.Error("neither an answer nor a finding")
		}
		for _, f := range a.result.Findings {
			if strings.ContainsFunc(f.Detail, func(r rune) bool { return r < ' ' }) {
				t.Errorf("a control character in %q", f.Detail)
			}
		}
	})
}
