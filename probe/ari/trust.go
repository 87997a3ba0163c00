package ari

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// trusting connects to servers that any of several sets of roots vouches for: one host may
// have certificates of a public CA and of its owner's.
type trusting struct {
	net.Dialer
	roots []*x509.CertPool // none: those of the system
}

func (t *trusting) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %q: %w", address, err)
	}
	plain, err := t.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if len(t.roots) > 0 {
		config.InsecureSkipVerify = true // in favour of the following
		config.VerifyConnection = func(s tls.ConnectionState) error { return t.verify(s.PeerCertificates, host) }
	}
	conn := tls.Client(plain, config)
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("handshake with %q: %w", address, err), plain.Close())
	}
	return conn, nil
}

// verify accepts a chain for a host that leads to a root of any set.
func (t *trusting) verify(chain []*x509.Certificate, host string) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	var errs []error
	for _, pool := range t.roots {
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: host})
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
