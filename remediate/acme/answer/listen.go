package answer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-acme/lego/v4/challenge/http01"
	"github.com/go-acme/lego/v4/challenge/tlsalpn01"
	"github.com/miekg/dns"
)

const clientTimeout = 10 * time.Second // of one connection

// TakenError says that somebody else listens where the CA will look.
type TakenError struct {
	Address string
	By      string // program and process, as far as this host tells
}

// Error names the address and who has it.
func (e *TakenError) Error() string {
	return fmt.Sprintf("%q is taken by %s", e.Address, e.By)
}

// listen has an address from now on, so that nobody takes it while an order is placed.
func listen(address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &TakenError{Address: address, By: holder(address)}
	}
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return listener, nil
}

// HTTP answers http-01 by itself (RFC 8555, section 8.3). Everything else there is not found.
type HTTP struct {
	server *http.Server
	ended  chan struct{}

	mu      sync.RWMutex
	answers map[string]string // by path
}

// ListenHTTP listens at host:port until Close. The error is a [*TakenError] where somebody else
// does.
func ListenHTTP(address string) (*HTTP, error) {
	listener, err := listen(address)
	if err != nil {
		return nil, err
	}
	h := &HTTP{answers: map[string]string{}, ended: make(chan struct{})}
	h.server = &http.Server{Handler: h, ReadTimeout: clientTimeout, WriteTimeout: clientTimeout, IdleTimeout: clientTimeout, MaxHeaderBytes: 16 << 10}
	go func() {
		defer close(h.ended)
		_ = h.server.Serve(listener) // it ends by Close only
	}()
	return h, nil
}

// ServeHTTP gives the answer that belongs to the path.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.RLock()
	keyAuth, known := h.answers[r.URL.Path]
	h.mu.RUnlock()
	if !known || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write([]byte(keyAuth)) // a CA that is gone says so itself
}

// Present gives the answer from now on.
func (h *HTTP) Present(_, token, keyAuth string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[http01.ChallengePath(token)] = keyAuth
	return nil
}

// CleanUp gives the answer no longer.
func (h *HTTP) CleanUp(_, token, _ string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.answers, http01.ChallengePath(token))
	return nil
}

// Close ends the listening.
func (h *HTTP) Close() error {
	err := h.server.Close()
	<-h.ended
	return err
}

// TLS answers tls-alpn-01 by itself (RFC 8737). It speaks no other protocol.
type TLS struct {
	listener net.Listener
	ended    sync.WaitGroup

	mu    sync.RWMutex
	certs map[string]*tls.Certificate // by the server name that the CA sends
}

// ListenTLS listens at host:port until Close. The error is a [*TakenError] where somebody else
// does.
func ListenTLS(address string) (*TLS, error) {
	listener, err := listen(address)
	if err != nil {
		return nil, err
	}
	t := &TLS{certs: map[string]*tls.Certificate{}}
	t.listener = tls.NewListener(listener, &tls.Config{
		GetCertificate: t.certificate, NextProtos: []string{tlsalpn01.ACMETLS1Protocol}, MinVersion: tls.VersionTLS12,
	})
	t.ended.Go(t.serve)
	return t, nil
}

// serve shakes hands, which is all that the CA wants, until the listener is closed.
func (t *TLS) serve() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.ended.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(clientTimeout))
			_ = conn.(*tls.Conn).Handshake() // a stranger's failure is his own
		})
	}
}

func (t *TLS) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if cert, ok := t.certs[strings.ToLower(hello.ServerName)]; ok {
		return cert, nil
	}
	return nil, errors.New("no challenge is answered for this name")
}

// Present gives the answer from now on.
func (t *TLS) Present(name, _, keyAuth string) error {
	cert, err := tlsalpn01.ChallengeCert(name, keyAuth)
	if err != nil {
		return fmt.Errorf("making the answer: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.certs[serverName(name)] = cert
	return nil
}

// CleanUp gives the answer no longer.
func (t *TLS) CleanUp(name, _, _ string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.certs, serverName(name))
	return nil
}

// Close ends the listening, and waits for handshakes under way.
func (t *TLS) Close() error {
	err := t.listener.Close()
	t.ended.Wait()
	return err
}

// serverName is what the CA asks for: for an address its name in the reverse zone (RFC 8738,
// section 6).
func serverName(name string) string {
	if reverse, err := dns.ReverseAddr(name); err == nil {
		return strings.TrimSuffix(reverse, ".")
	}
	return strings.ToLower(name)
}
