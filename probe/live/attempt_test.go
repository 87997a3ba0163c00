package live

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// converses answers a line by a line, over TLS once that was asked for.
func converses(t *testing.T, config *tls.Config) netip.AddrPort {
	t.Helper()
	return serve(t, func(c net.Conn) {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, "220 ready\n")
		if line, _ := bufio.NewReader(c).ReadString('\n'); line != "STARTTLS\n" {
			return
		}
		_, _ = io.WriteString(c, "220 go\n")
		server := tls.Server(c, config)
		defer server.Close()
		line, _ := bufio.NewReader(server).ReadString('\n')
		_, _ = io.WriteString(server, "250 you said "+line)
	})
}

func TestScripts(t *testing.T) {
	p := newPKI(t)
	before := []Step{{Expect: regexp.MustCompile("^220 ready"), Send: "STARTTLS"}, {Expect: regexp.MustCompile("^220"), StartTLS: true}}
	never := []Step{{Expect: regexp.MustCompile("^999")}}
	after := func(answer string) []Step {
		return []Step{{Send: "hello"}, {Expect: regexp.MustCompile(answer)}}
	}
	starts := converses(t, p.config(nil))
	tests := []struct {
		about   string
		address netip.AddrPort
		script  []Step
		stage   certmedic.ProbeStage
		failed  bool
	}{
		{"all of it before TLS", starts, before, certmedic.ProbeDone, false},
		{"some before and some after", starts, append(before[:2:2], after("^250 you said hello$")...), certmedic.ProbeDone, false},
		{"what is expected after TLS does not come", starts, append(before[:2:2], after("^500")...), certmedic.ProbeDone, true},
		{"what is expected before TLS does not come", serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "500 no\n") }), append(never, before...), certmedic.ProbeStartTLS, false},
		{"all of it after TLS", serveAnswer(t, p.config(nil), "250 fine\n"), after("^250 fine"), certmedic.ProbeDone, false},
	}
	for _, tt := range tests {
		dialer := Dialer{Timeout: 20 * time.Second}
		got := dialer.Handshake(t.Context(), Request{Address: tt.address, Settings: &Settings{Script: tt.script}})
		if got.Stage != tt.stage || (got.Err == nil) != (tt.stage == certmedic.ProbeDone) || got.ScriptFailed != tt.failed {
			t.Errorf("%s: stage %s, error %+v, failed %v", tt.about, got.Stage, got.Err, got.ScriptFailed)
		}
		if (len(got.Certs) == 2) != (tt.stage == certmedic.ProbeDone) {
			t.Errorf("%s: %d certificates", tt.about, len(got.Certs))
		}
	}
}

// Some servers ask for a client certificate only once they have read the request, by a
// renegotiation (RFC 5246 section 7.4.1.1). crypto/tls cannot be such a server.
func TestRenegotiationForAClientCertificate(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl to be a server that renegotiates")
	}
	p := newPKI(t)
	files := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(p.leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(files, "cert.pem"), "CERTIFICATE", p.leaf.Cert.Raw)
	writePEM(t, filepath.Join(files, "key.pem"), "PRIVATE KEY", key)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	server := exec.CommandContext(ctx, openssl, "s_server", "-tls1_2", "-accept", "127.0.0.1:0", "-naccept", "1",
		"-cert", filepath.Join(files, "cert.pem"), "-key", filepath.Join(files, "key.pem"))
	commands, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Wait() }()
	defer server.Process.Kill() //nolint:errcheck // it may have ended
	lines := bufio.NewScanner(output)
	var address netip.AddrPort
	for !address.IsValid() && lines.Scan() {
		var text string
		if _, err := fmt.Sscanf(lines.Text(), "ACCEPT %s", &text); err == nil {
			address = netip.MustParseAddrPort(text)
		}
	}
	go func() {
		for lines.Scan() {
			switch lines.Text() {
			case "GET / HTTP/1.1":
				_, _ = io.WriteString(commands, "R\n") // renegotiates, and asks for a certificate
			case "SSL_do_handshake -> 1":
				_, _ = io.WriteString(commands, "HTTP/1.1 403 Forbidden\n\n")
			}
		}
	}()
	dialer := Dialer{Timeout: 20 * time.Second}
	got := dialer.Handshake(t.Context(), Request{Address: address, Protocol: "https"})
	if got.Err != nil || len(got.Certs) != 1 || got.HTTP == nil || got.HTTP.Status != 403 {
		t.Errorf("error %+v, %d certificates, HTTP %+v, findings %v", got.Err, len(got.Certs), got.HTTP, got.Findings)
	}
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
