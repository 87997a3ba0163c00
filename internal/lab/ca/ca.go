// Package ca runs a real ACME certificate authority (RFC 8555) in process: pebble's
// packages behind an HTTPS server on loopback. Tests, benchmarks and certlab use it.
//
// It validates challenges for real, http-01 on a port of the caller's choice and
// dns-01 through the caller's resolver, and it counts the orders that were placed, so
// that a test can prove that none was placed twice.
//
// Pebble reads some of its settings from the environment only; see [Environment].
package ca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	pebbleca "github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/certmedic/certmedic/internal/lab/mint"
)

const (
	defaultValidity = 90 * 24 * time.Hour
	stopTimeout     = 5 * time.Second

	// newOrderPath is where pebble takes new orders; it does not export the name.
	newOrderPath = "/order-plz"
)

// Environment returns the variables that make pebble quick and predictable: no sleep
// before a validation, no rejection of good nonces, no reuse of authorizations. Pebble
// reads them when [Start] is called. The certlab command sets them for its process, a
// test sets them with t.Setenv; without them a CA works, but an order can take seconds.
func Environment() map[string]string {
	return map[string]string{
		"PEBBLE_VA_NOSLEEP":      "1",
		"PEBBLE_WFE_NONCEREJECT": "0",
		"PEBBLE_AUTHZREUSE":      "0",
	}
}

// Options say how an authority works. The zero value is usable with dns-01 and the
// system's resolver.
type Options struct {
	Listen   string        // host:port of the ACME service; empty: a free port of 127.0.0.1
	Validity time.Duration // of issued leaves, at least a second; 0: 90 days
	HTTPPort int           // where http-01 challenges are fetched; 0: 80
	TLSPort  int           // where tls-alpn-01 challenges are fetched; 0: 443
	Resolver string        // host:port of a DNS server that answers over TCP; empty: the system's
	Log      io.Writer     // what pebble says; nil: nothing
}

// CA is a running certificate authority.
type CA struct {
	directory string
	server    *http.Server
	service   *mint.CA // signs the certificate of the ACME service itself
	root      []byte   // DER of the root that issued leaves chain to
	orders    atomic.Int64
	served    chan struct{}
	release   func() bool
}

// Start runs an authority until Stop is called or ctx ends.
func Start(ctx context.Context, o Options) (*CA, error) {
	o = o.withDefaults()
	service, err := mint.NewCA("certlab ACME service")
	if err != nil {
		return nil, err
	}
	own, err := service.Leaf(mint.Leaf{Names: []string{"localhost", "127.0.0.1", "::1"}})
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("starting the lab CA: %w", err)
	}
	logger := log.New(o.Log, "pebble ", log.LstdFlags)
	handler, root := pebble(o, logger)
	c := &CA{
		directory: "https://" + listener.Addr().String() + wfe.DirectoryPath,
		service:   service,
		root:      root,
		served:    make(chan struct{}),
	}
	c.server = &http.Server{
		Handler:           c.countOrders(handler),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{own.TLS()}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          logger,
	}
	go func() {
		defer close(c.served)
		_ = c.server.ServeTLS(listener, "", "") // always ErrServerClosed: it ends by Stop only
	}()
	c.release = context.AfterFunc(ctx, c.close)
	return c, nil
}

// Directory returns the URL of the ACME directory.
func (c *CA) Directory() string { return c.directory }

// ServicePEM returns the authority to trust when talking to the ACME service itself,
// as certbot wants it in REQUESTS_CA_BUNDLE.
func (c *CA) ServicePEM() []byte { return c.service.PEM() }

// Client returns an HTTP client that trusts the ACME service and nothing else.
func (c *CA) Client() *http.Client { return Client(c.service.Pool()) }

// RootPEM returns the root that issued leaves chain to.
func (c *CA) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.root})
}

// Roots returns a pool with the root that issued leaves chain to.
func (c *CA) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.RootPEM())
	return pool
}

// Orders returns how many orders the authority has accepted.
func (c *CA) Orders() int { return int(c.orders.Load()) }

// Stop ends the service and waits for it. Pebble's validator has no end of its own: one
// idle goroutine of it stays until the process exits.
func (c *CA) Stop() {
	c.release()
	c.close()
	<-c.served
}

// Client returns an HTTP client for an ACME service that the given roots vouch for.
func Client(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
	}
}

func (o Options) withDefaults() Options {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Validity < time.Second {
		o.Validity = defaultValidity
	}
	if o.HTTPPort == 0 {
		o.HTTPPort = 80
	}
	if o.TLSPort == 0 {
		o.TLSPort = 443
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return o
}

// pebble joins pebble's parts as its own command does, and returns the ACME service
// with the root of the chain that it issues from.
func pebble(o Options, logger *log.Logger) (http.Handler, []byte) {
	profiles := map[string]pebbleca.Profile{"default": {
		Description:       "the laboratory's only profile",
		PromoteCommonName: true,
		ValidityPeriod:    uint64(o.Validity / time.Second),
	}}
	store := db.NewMemoryStore()
	authority := pebbleca.New(logger, store, "", "ecdsa", 0, 1, profiles)
	validator := va.New(logger, o.HTTPPort, o.TLSPort, false, o.Resolver, store)
	front := wfe.New(logger, store, validator, authority, []string{"certlab.test"}, false, false, 1, 1)
	return front.Handler(), authority.GetRootCert(0).DER
}

// close ends the service at once or, where requests are under way, after a few seconds.
func (c *CA) close() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := c.server.Shutdown(ctx); err != nil {
		_ = c.server.Close() // the requests that outlived the time are cut off
	}
}

func (c *CA) countOrders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != newOrderPath {
			next.ServeHTTP(w, r)
			return
		}
		answer := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(answer, r)
		if answer.status == http.StatusCreated {
			c.orders.Add(1)
		}
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader passes the status on and remembers it.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
