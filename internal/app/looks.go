package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/diagnose/gather"
	"github.com/certmedic/certmedic/internal/netguard"
	"github.com/certmedic/certmedic/internal/prober"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/probe/discover"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/reach"
	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/records"
)

// Looks is what a command needs that looks at certificates without a daemon. End it with Close.
type Looks struct {
	Certificates []certmedic.Certificate // those that `serve` would watch
	Means        gather.Means
	Prober       *prober.Prober
}

// LookOptions say how [Look] looks.
type LookOptions struct {
	ConfigFile string        // empty: there is none
	Timeout    time.Duration // of the resolution of a name, and again of each address
	Offline    bool          // nothing is asked but this host and the endpoints
	Listening  bool          // the listening sockets of this host are tried, unless offline
}

// Look lists what a daemon of this configuration would watch. It runs no command and takes no
// lock: of services whose configuration a command would print, the files are read.
func Look(ctx context.Context, c *config.Config, o LookOptions) (*Looks, error) {
	named, err := modules(c)
	if err != nil {
		return nil, err
	}
	settings := *c
	settings.Probe.Timeout = o.Timeout
	p, err := newProber(&settings, named)
	if err != nil {
		return nil, err
	}
	a := &App{o: Options{ConfigFile: o.ConfigFile}}
	options := a.discoverOptions(c, nil)
	options.Listening = options.Listening || o.Listening
	if !o.Offline {
		options.Means = discover.Means{Served: a.sockets.served(p)}
	}
	options.FileSD, options.HTTPSD, options.DNS = nil, nil, nil // targets of others, which are not kept here
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	l := &Looks{Prober: p, Certificates: inventory(c, discovered{}.look(ctx, options).certificates)}
	l.Means = gather.Means{Reader: disk.Reader{Keys: &a.keys}, Probe: p.Probe, Mains: mains(options)}
	if !o.Offline {
		l.Means.Reach = l.reach(c)
	}
	return l, nil
}

// Close ends what was being fetched.
func (l *Looks) Close() { l.Prober.Close() }

// Journal returns the newest actions for a certificate from the state folder of a daemon that does
// not run. It makes nothing else of the state, and so is quick. Where there is no state yet there
// is none.
func Journal(c *config.Config, certificate string, limit int) ([]certmedic.Action, error) {
	s, err := store.OpenRead(c.StateDir, time.Second)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	actions, err := history(s, certificate, limit)
	return actions, errors.Join(err, s.Close())
}

// mains are the main files of services as discovery was told.
func mains(o discover.Options) map[service.Kind][]string {
	all := map[service.Kind][]string{}
	for kind, main := range map[service.Kind]string{
		service.Nginx: o.NginxConf, service.Apache: o.ApacheConf, service.HAProxy: o.HAProxyConf, service.Postfix: o.PostfixConf, service.Dovecot: o.DovecotConf,
	} {
		if main != "" {
			all[kind] = append(all[kind], main)
		}
	}
	return all
}

// reach tries what a CA will try, by the configuration's resolvers and roots.
func (l *Looks) reach(c *config.Config) func(context.Context, reach.Question) reach.Answers {
	return func(ctx context.Context, q reach.Question) reach.Answers {
		client := directoryClient(c)
		defer client.CloseIdleConnections()
		return reach.Try(ctx, reach.Means{Lookup: l.addresses, CAA: l.forbids, Client: client}, q)
	}
}

func (l *Looks) addresses(ctx context.Context, name string) ([]string, error) {
	found, err := l.Prober.Resolver.Lookup(ctx, name)
	var all []string
	for _, ip := range found {
		all = append(all, ip.String())
	}
	return all, err
}

// forbids asks whether CAA records let the CA issue that issued the certificate of that name
// before.
func (l *Looks) forbids(ctx context.Context, name string, _ bool) (string, error) {
	issued := l.issued(name)
	if len(issued) == 0 {
		return "", nil
	}
	checker := records.Checker{Query: l.Prober.Resolver.Query}
	r := checker.Check(ctx, records.Query{Host: "127.0.0.1", Names: []string{name}, Presented: issued, Now: time.Now()}) // an address has no DANE
	i := slices.IndexFunc(r.Findings, func(f certmedic.Finding) bool { return f.Code == certmedic.CAAForbids })
	if i < 0 {
		return "", nil
	}
	return r.Findings[i].Detail, nil
}

// issued returns the chain of a stored certificate for the name.
func (l *Looks) issued(name string) []*x509.Certificate {
	for _, c := range l.Certificates {
		content := l.Means.Reader.Read(c.Source, time.Now())
		if len(content.Certs) > 0 && slices.Contains(inspect.Facts(content.Certs[0]).DNSNames, name) {
			return content.Certs
		}
	}
	return nil
}

// directoryClient asks CAs: the roots of this system and those of the configuration vouch for them. It
// connects to no address that nobody means.
func directoryClient(c *config.Config) *http.Client {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range slices.Concat(acmeCAFiles(c), c.Probe.Roots) {
		if data, err := os.ReadFile(file); err == nil && filepath.IsAbs(file) { // "system" and "mozilla" are no files
			pool.AppendCertsFromPEM(data)
		}
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if to, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil && netguard.Sensitive(to.Addr()) {
			_ = conn.Close()
			return nil, fmt.Errorf("%s: addresses of this kind are not asked", to)
		}
		return conn, nil
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
	}}
}
