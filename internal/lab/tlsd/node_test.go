package tlsd_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/tlsd"
)

// pki is a root with one intermediate, as most authorities have it.
type pki struct{ root, issuing *mint.CA }

func newPKI(t *testing.T) pki {
	t.Helper()
	root := mint.Must(mint.NewCA("Lab Root"))
	return pki{root: root, issuing: mint.Must(root.Intermediate("Lab Issuing"))}
}

func (p pki) leaf() mint.Pair {
	return mint.Must(p.issuing.Leaf(mint.Leaf{Names: []string{"shop.test"}}))
}

func start(t *testing.T, o tlsd.Options) *tlsd.Node {
	t.Helper()
	node, err := tlsd.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Stop)
	return node
}

// dial makes a handshake that is verified against the roots.
func dial(addr string, roots *x509.CertPool) (*x509.Certificate, error) {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", addr, &tls.Config{ServerName: "shop.test", RootCAs: roots})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func write(t *testing.T, dir string, pair mint.Pair) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem")
	if err := os.WriteFile(cert, pair.FullchainPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, mint.Must(pair.KeyPEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestNodeKeepsTheOldLeafUntilReload(t *testing.T) {
	lab, dir := newPKI(t), t.TempDir()
	old, renewed := lab.leaf(), lab.leaf()
	cert, key := write(t, dir, old)
	node := start(t, tlsd.Options{Name: "web", CertFile: cert, KeyFile: key})
	serves := func(when string, want mint.Pair) {
		t.Helper()
		got, err := dial(node.Addr(), lab.root.Pool())
		if err != nil || !got.Equal(want.Cert) {
			t.Errorf("%s: another leaf is served (%v)", when, err)
		}
	}

	serves("at first", old)
	write(t, dir, renewed)
	serves("renewed on disk", old)
	if err := node.SetFault(tlsd.Stale); err != nil {
		t.Fatal(err)
	}
	if err := node.Reload(); err != nil {
		t.Fatal(err)
	}
	serves("reloaded while stale", old)
	if err := node.SetFault(tlsd.None); err != nil {
		t.Fatal(err)
	}
	serves("no longer stale, not reloaded", old)
	if err := node.Reload(); err != nil {
		t.Fatal(err)
	}
	serves("reloaded", renewed)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := node.Reload(); err == nil {
		t.Error("a reload without a key file succeeds")
	}
	serves("after a reload that failed", renewed)
	if node.Reloads() != 3 {
		t.Errorf("%d reloads were counted, want 3", node.Reloads())
	}
}

func TestNodeAnswersWithItsName(t *testing.T) {
	lab := newPKI(t)
	node := start(t, tlsd.Options{Name: "web 1"})
	if err := node.Serve(lab.leaf().TLS()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: lab.root.Pool(), ServerName: "shop.test"}}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	answer, err := client.Get("https://" + node.Addr() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || string(body) != "web 1\n" {
		t.Errorf("status %d, body %q, %v", answer.StatusCode, body, err)
	}
}

func TestCertificateFaultsAreSeenByAVerifyingClient(t *testing.T) {
	lab := newPKI(t)
	node := start(t, tlsd.Options{Issuer: lab.issuing})
	if err := node.Serve(lab.leaf().TLS()); err != nil {
		t.Fatal(err)
	}
	for fault, words := range map[tlsd.Fault]string{
		tlsd.Expired:             "expired or is not yet valid",
		tlsd.NotYetValid:         "expired or is not yet valid",
		tlsd.WrongName:           "valid for somebody-else.invalid, not shop.test",
		tlsd.SelfSigned:          "unknown authority",
		tlsd.MissingIntermediate: "unknown authority",
		tlsd.OldTLS:              "protocol version",
	} {
		if err := node.SetFault(fault); err != nil {
			t.Fatal(err)
		}
		_, err := dial(node.Addr(), lab.root.Pool())
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", fault, err, words)
		}
	}
	if err := node.SetFault(tlsd.None); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(node.Addr(), lab.root.Pool()); err != nil {
		t.Errorf("after all faults: %v", err)
	}
}

func TestConnectionFaultsAreSeenByARawClient(t *testing.T) {
	lab := newPKI(t)
	node := start(t, tlsd.Options{})
	if err := node.Serve(lab.leaf().TLS()); err != nil {
		t.Fatal(err)
	}
	talk := func(fault tlsd.Fault, say string) ([]byte, error) {
		t.Helper()
		if err := node.SetFault(fault); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", node.Addr())
		if err != nil {
			return nil, err // a reset can be quicker than the end of connect
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(150 * time.Millisecond))
		_, _ = io.WriteString(conn, say)
		return io.ReadAll(conn)
	}
	const record = "\x16\x03\x01\x00\x01\x01" // the shortest thing that looks like a ClientHello

	for _, fault := range []tlsd.Fault{tlsd.Stall, tlsd.StallHandshake} {
		if said, err := talk(fault, record); len(said) > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: it said %q and ended with %v", fault, said, err)
		}
	}
	if _, err := talk(tlsd.Reset, ""); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v", err)
	}
	if said, _ := talk(tlsd.Garbage, record); !bytes.Contains(said, []byte("this is not TLS")) {
		t.Errorf("garbage: %q", said)
	}
	if said, _ := talk(tlsd.PlainHTTP, record); !bytes.HasPrefix(said, []byte("HTTP/1.1 400 ")) {
		t.Errorf("plain_http: %q", said)
	}
}

func TestSlowNodeOutlastsAnImpatientClient(t *testing.T) {
	lab := newPKI(t)
	node := start(t, tlsd.Options{Pace: 10 * time.Millisecond})
	if err := node.Serve(lab.leaf().TLS()); err != nil {
		t.Fatal(err)
	}
	if err := node.SetFault(tlsd.Slow); err != nil {
		t.Fatal(err)
	}
	dialer := &net.Dialer{Timeout: 200 * time.Millisecond}
	_, err := tls.DialWithDialer(dialer, "tcp", node.Addr(), &tls.Config{ServerName: "shop.test", RootCAs: lab.root.Pool()})
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("the handshake of about 2000 bytes ended with %v", err)
	}
}

func TestClientCertificateIsDemanded(t *testing.T) {
	lab := newPKI(t)
	node := start(t, tlsd.Options{})
	if err := node.Serve(lab.leaf().TLS()); err != nil {
		t.Fatal(err)
	}
	if err := node.SetFault(tlsd.ClientCert); err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", node.Addr(), &tls.Config{ServerName: "shop.test", RootCAs: lab.root.Pool()})
	if err == nil { // TLS 1.3 tells the client with its first read
		_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a client certificate: %v", err)
	}
}

func TestGroupSharesOnePort(t *testing.T) {
	lab := newPKI(t)
	nodes, err := tlsd.StartGroup(t.Context(), tlsd.Options{Name: "web"}, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	if err != nil {
		t.Fatal(err)
	}
	ports := map[string]bool{}
	for _, node := range nodes {
		t.Cleanup(node.Stop)
		_, port, _ := net.SplitHostPort(node.Addr())
		ports[port] = true
		if err := node.Serve(lab.leaf().TLS()); err != nil {
			t.Fatal(err)
		}
		if _, err := dial(node.Addr(), lab.root.Pool()); err != nil {
			t.Errorf("%s: %v", node.Addr(), err)
		}
	}
	if len(nodes) != 3 || len(ports) != 1 {
		t.Errorf("%d nodes on %d ports, want 3 on 1", len(nodes), len(ports))
	}
}

func TestStopCutsStalledConnections(t *testing.T) {
	node := start(t, tlsd.Options{})
	if err := node.SetFault(tlsd.Stall); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", node.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	node.Stop()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after Stop the connection ended with %v", err)
	}
}

func TestUnknownFaultIsRefused(t *testing.T) {
	if _, err := tlsd.ParseFault("sleepy"); err == nil {
		t.Error("an unknown fault was taken")
	}
	if fault, err := tlsd.ParseFault("none"); err != nil || fault != tlsd.None {
		t.Errorf("none: %q, %v", fault, err)
	}
}
