package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/certmedic/certmedic/internal/bundle/s3"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/dir"
	"github.com/certmedic/certmedic/internal/coord/etcd"
	coords3 "github.com/certmedic/certmedic/internal/coord/s3"
)

// open opens the coordinator. It is tried again until it succeeds.
func (c *cluster) open(ctx context.Context) (coord.Engine, error) {
	switch s := c.setting; {
	case s.Etcd != nil:
		return c.openEtcd(*s.Etcd)
	case s.S3 != nil:
		client, err := s3.Client(ctx, bucketOf(*s.S3))
		if err != nil {
			return nil, err
		}
		return coords3.Open(ctx, client, coords3.Options{Bucket: s.S3.Bucket, Prefix: s.S3.Prefix, Member: c.self.Name, TTL: c.ttl})
	case s.Dir != nil:
		e, warning, err := dir.Open(ctx, dir.Options{Dir: s.Dir.Path, Member: c.self.Name, TTL: c.ttl})
		if warning != "" {
			c.log.Warn("the shared folder", "path", s.Dir.Path, "but", warning)
		}
		return e, err
	}
	return nil, errors.New("no coordinator is configured")
}

func (c *cluster) openEtcd(e config.Etcd) (coord.Engine, error) {
	o := etcd.Options{Endpoints: e.Endpoints, Prefix: e.Prefix, Member: c.self.Name, TTL: c.ttl, Username: e.Username}
	var err error
	if o.Password, err = readPassword(e.PasswordFile); err != nil {
		return nil, err
	}
	if strings.HasPrefix(e.Endpoints[0], "https:") {
		if o.TLS, err = tlsFor(e.CAFile, e.CertFile, e.KeyFile); err != nil {
			return nil, err
		}
	}
	return etcd.New(o)
}

// readPassword reads the only line of a file; no file has no password.
func readPassword(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading a password: %w", err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

// tlsFor returns how a server is verified, and what is presented to it. What is not named is as usual.
func tlsFor(caFile, certFile, keyFile string) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		data, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("reading roots: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("reading roots: %q holds no certificate in PEM", caFile)
		}
	}
	if certFile != "" {
		// It is read at each connection, as it is renewed.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(certFile, keyFile)
			if err != nil {
				return nil, fmt.Errorf("reading the client certificate: %w", err)
			}
			return &pair, nil
		}
	}
	return t, nil
}
