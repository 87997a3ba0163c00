package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/probe"
)

// The pace of a standby, and the bounds of a test.
const (
	standbyEvery   = 10 * time.Minute
	standbyLook    = time.Second // between looks at what is stored, in memory
	standbyTimeout = 10 * time.Second
	standbyNames   = 10 // that are asked for
)

// standby serves this host's own copy of a certificate to certmedic itself, so that it is known to be fit before it is needed.
type standby struct {
	cert   config.Certificate
	names  []string // that clients ask for; empty: the first of the certificate
	g      *generation
	tested certmedic.Fingerprint
	at     time.Time
}

func (g *generation) standby(cert config.Certificate) *standby {
	s := &standby{cert: cert, g: g}
	for _, e := range cert.Endpoints {
		name := e.ServerName
		if name == "" {
			name, _, _ = strings.Cut(e.Address, ":")
		}
		if _, err := netip.ParseAddr(name); err != nil && name != "" && !strings.HasPrefix(name, "[") && !slices.Contains(s.names, name) {
			s.names = append(s.names, name)
		}
	}
	s.names = s.names[:min(len(s.names), standbyNames)]
	return s
}

func (s *standby) run(ctx context.Context) {
	for pause(ctx, standbyLook) {
		held, ok := s.g.watchdog.Holds(s.cert.Name)
		leaf, stands := held.Stored.Leaf()
		if now := time.Now(); !ok || !stands || leaf.SHA256 == s.tested && now.Sub(s.at) < standbyEvery {
			continue
		}
		err := s.test(ctx, held.Stored)
		if ctx.Err() != nil {
			return
		}
		s.tested, s.at = leaf.SHA256, time.Now()
		s.g.watchdog.Supplied(s.cert.Name, func(to *watchdog.Supply) {
			to.Tested, to.Unfit = s.at.UTC(), ""
			if err != nil {
				to.Unfit = err.Error()
			}
		})
	}
}

// test serves the stored files on a loopback socket, and looks at them as at any endpoint.
func (s *standby) test(ctx context.Context, stored certmedic.Stored) error {
	ctx, cancel := context.WithTimeout(ctx, standbyTimeout)
	defer cancel()
	version, err := bundle.ReadVersion(s.cert.Name, stored.Files)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(version.Fullchain, version.Privkey)
	clear(version.Privkey)
	if err != nil {
		return fmt.Errorf("loading the stored files as a server does: %w", err)
	}
	address, stop, err := serveOnce(ctx, pair)
	if err != nil {
		return err
	}
	defer stop()
	names := s.names
	if len(names) == 0 && len(stored.Names) > 0 {
		names = []string{strings.Replace(stored.Names[0], "*", "standby", 1)}
	}
	for _, name := range names {
		if err := s.judge(s.look(ctx, address, name), stored.Chain[0].SHA256, name); err != nil {
			return err
		}
	}
	return nil
}

// look makes a handshake. What DNS and authorities say is not asked: this is about the files.
func (s *standby) look(ctx context.Context, address, name string) certmedic.Observation {
	own := s.g.senses.Prober
	p := &probe.Prober{
		Lookup: own.Lookup, Handshake: own.Handshake, Roots: own.Roots, Public: own.Public, Timeout: standbyTimeout, Warn: own.Warn, Crit: own.Crit,
	}
	return p.Probe(ctx, certmedic.Endpoint{Address: address, Protocol: "tls", ServerName: name})
}

// judge says what is wrong with what was served.
func (s *standby) judge(o certmedic.Observation, want certmedic.Fingerprint, name string) error {
	if len(o.Addresses) == 0 {
		return errors.New("nothing was served")
	}
	a := o.Addresses[0]
	leaf, ok := a.Leaf()
	switch {
	case !ok && a.Error != nil:
		return fmt.Errorf("served to itself as %q: %s: %s", name, a.Error.Reason, a.Error.Detail)
	case !ok:
		return fmt.Errorf("served to itself as %q: there was no certificate", name)
	case leaf.SHA256 != want:
		return fmt.Errorf("served to itself as %q: it is version %s, and %s is stored", name, leaf.SHA256.Short(), want.Short())
	}
	for _, f := range a.Findings {
		if f.Severity == certmedic.SeverityCritical && f.Code != certmedic.Expiring {
			return fmt.Errorf("served to itself as %q: %s: %s", name, f.Code, f.Detail)
		}
	}
	return nil
}

// serveOnce serves a pair on a loopback socket until stop, or until ctx ends.
func serveOnce(ctx context.Context, pair tls.Certificate) (address string, stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listening to serve the stored files: %w", err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(standbyTimeout))
				_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}}).HandshakeContext(ctx) // the other side tells
			})
		}
	})
	return listener.Addr().String(), func() {
		_ = listener.Close()
		all.Wait()
	}, nil
}
