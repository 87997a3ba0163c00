package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/internal/prober"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/discover"
	"github.com/certmedic/certmedic/probe/discover/sd"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/resolve"
)

// discoverEvery is how often discovery looks again where the configuration asks for nothing
// sooner. Changes of known files are seen at once by other means; this is for what is new.
// Files with targets are looked at more often, and read when they changed.
const (
	discoverEvery = time.Minute
	targetsEvery  = time.Second

	firstLook = 10 * time.Second // at most; what is found later is watched later
	lookShare = 50               // of its own duration passes at least between two looks: a large host is no load
	maxPause  = 10 * time.Minute // between two looks, however long they take
	settleFor = 10 * time.Second // at most, for files with targets that change all the time
)

// sight is what discovery saw at one look.
type sight struct {
	found   discovered
	at      time.Time     // when it began
	took    time.Duration // without the time in which others were waited for
	targets string        // the state of the files with targets when it began
}

// firstLook lists what there is for a generation, from what was found before.
func (a *App) firstLook(ctx context.Context, g *generation, before discovered) sight {
	senses := g.senses
	if a.offline {
		senses = nil
	}
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	return a.look(ctx, g.config, senses, before)
}

// look has discovery look again, and logs what it has to say that it did not say before.
func (a *App) look(ctx context.Context, c *config.Config, senses *prober.Prober, before discovered) sight {
	s := sight{at: time.Now(), targets: targetFiles(c)}
	waited := a.answers.Waited
	s.found = before.look(ctx, a.discoverOptions(c, senses))
	s.took = time.Since(s.at) - (a.answers.Waited - waited)
	for _, f := range s.found.findings {
		if !slices.Contains(before.findings, f) {
			a.o.Log.Info("discovery", "code", f.Code, "detail", f.Detail)
		}
	}
	if len(s.found.unread()) == 0 && len(before.unread()) > 0 {
		a.o.Log.Info("discovery can read everything again")
	}
	return s
}

// targetFiles tells one state of the files with targets from another.
func targetFiles(c *config.Config) string {
	var state strings.Builder
	for _, d := range c.Discover {
		if d.FileSD == nil {
			continue
		}
		for _, pattern := range d.FileSD.Files {
			files, _ := filepath.Glob(pattern) // it was checked with the configuration
			for _, file := range files {
				if info, err := os.Stat(file); err == nil {
					fmt.Fprintf(&state, "%s %d %d\n", file, info.Size(), info.ModTime().UnixNano())
				}
			}
		}
	}
	return state.String()
}

// rediscover looks again for what there is to watch, and replaces the generation when that
// changed. It waits while an action is at work.
func (a *App) rediscover(ctx context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	g := a.generation()
	if len(g.config.Discover)+len(g.config.WatchFiles()) == 0 || !g.due(time.Now()) || g.acting() {
		return nil
	}
	before := g.saw().found
	now := a.look(ctx, g.config, g.senses, before)
	if ctx.Err() != nil {
		return nil
	}
	noted := now // what is watched has not changed yet
	noted.found.certificates = before.certificates
	g.see(noted)
	if reflect.DeepEqual(g.share(inventory(g.config, now.found.certificates)), g.certificates) {
		return a.tell(notWatched, nil)
	}
	a.o.Log.Info("what is watched changed", "discovered", len(now.found.certificates))
	return a.tell(notWatched, a.replace(g.successor(now)))
}

// due reports whether it is time to look again: the interval is over, or files with targets
// changed. While they are being written nobody looks, for not long.
func (g *generation) due(now time.Time) bool {
	state, seen := targetFiles(g.config), g.saw()
	settled := state == g.targets
	g.targets = state
	pause := max(discoverInterval(g.config), min(lookShare*seen.took, maxPause))
	if !settled {
		pause += settleFor
	}
	return now.Sub(seen.at) >= pause || settled && state != seen.targets
}

// discoverInterval is how often discovery looks again.
func discoverInterval(c *config.Config) time.Duration {
	every := discoverEvery
	for _, d := range c.Discover {
		switch {
		case d.HTTPSD != nil:
			every = min(every, d.HTTPSD.RefreshInterval)
		case d.DNS != nil:
			every = min(every, d.DNS.RefreshInterval)
		}
	}
	return every
}

// discoverOptions are what a configuration asks discovery for. Without senses nothing is
// executed and nobody is asked.
func (a *App) discoverOptions(c *config.Config, p *prober.Prober) discover.Options {
	o := discover.Options{Now: time.Now(), Reader: disk.Reader{Keys: &a.keys}}
	for _, protocol := range live.Protocols() {
		o.Protocols = append(o.Protocols, protocol.Name)
	}
	for _, d := range c.Discover {
		addPlace(&o, d)
	}
	if a.o.ConfigFile == "" { // then nobody said that there is a tree
		o.CertbotDirs = slices.DeleteFunc(o.CertbotDirs, func(dir string) bool { return !exists(dir) })
	}
	if p != nil {
		o.Means = discover.Means{
			Run: a.printed, Client: sd.NewClient(c.Probe.Timeout), Resolver: names{p.Resolver}, Answers: &a.answers,
			ParseTarget: probe.ParseTarget, Served: a.sockets.served(p),
		}
	}
	return o
}

func addPlace(o *discover.Options, d config.Discover) {
	switch {
	case d.Certbot != nil:
		o.CertbotDirs = append(o.CertbotDirs, d.Certbot.ConfigDir)
	case d.Tree != nil:
		o.Trees = append(o.Trees, d.Tree.Dir)
	case d.Nginx != nil:
		o.NginxConf, o.NginxCommand = serverConf(d.Nginx, "/etc/nginx/nginx.conf"), d.Nginx.Command
	case d.Apache != nil:
		o.ApacheConf, o.ApacheCommand = serverConf(d.Apache, "/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf"), d.Apache.Command
	case d.HAProxy != nil:
		o.HAProxyConf = serverConf(d.HAProxy, "/etc/haproxy/haproxy.cfg")
	case d.Postfix != nil:
		o.PostfixConf = serverConf(d.Postfix, "/etc/postfix/main.cf")
	case d.Dovecot != nil:
		o.DovecotConf = serverConf(d.Dovecot, "/etc/dovecot/dovecot.conf")
	case d.FileSD != nil:
		o.FileSD = append(o.FileSD, d.FileSD.Files...)
	case d.HTTPSD != nil:
		o.HTTPSD = append(o.HTTPSD, sd.Server{URL: string(d.HTTPSD.URL), Refresh: d.HTTPSD.RefreshInterval})
	case d.DNS != nil:
		o.DNS = append(o.DNS, sd.Query{
			Names: d.DNS.Names, Type: d.DNS.Type, Port: uint16(d.DNS.Port), Protocol: d.DNS.Protocol, Refresh: d.DNS.RefreshInterval,
		})
	case d.Listening != nil:
		o.Listening = true
	}
}

// serverConf returns where a server's configuration is: as configured, else the usual place
// if it is there, else nowhere.
func serverConf(s *config.DiscoverServer, usual ...string) string {
	if s.Config != "" {
		return s.Config
	}
	for _, path := range usual {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// bounds of a command that prints a server's configuration.
const (
	printTimeout = 20 * time.Second
	printBytes   = 32 << 20
)

// printed runs a command that prints something, and returns what. A command is run once in
// [discoverEvery], however often discovery looks.
func (a *App) printed(ctx context.Context, argv []string) ([]byte, error) {
	key := strings.Join(argv, "\x00")
	if p, ok := a.prints[key]; ok && time.Since(p.at) < discoverEvery-time.Second {
		return p.text, p.err
	}
	p := printOut{at: time.Now()}
	r := execx.Run(ctx, execx.Command{
		Name: filepath.Base(argv[0]), Argv: argv, Env: commandEnviron(a.o.Environ), Timeout: printTimeout, MaxOutput: printBytes,
	})
	p.text = []byte(r.Stdout)
	if !r.Succeeded() {
		p.text, p.err = nil, fmt.Errorf("running %q: %s: %s", strings.Join(argv, " "), r.Result, strings.TrimSpace(r.Stderr))
	}
	if a.prints == nil {
		a.prints = map[string]printOut{}
	}
	a.prints[key] = p
	return p.text, p.err
}

// printOut is what a command printed last.
type printOut struct {
	text []byte
	err  error
	at   time.Time
}

// sockets remembers what was found when listening sockets were tried, so that each is
// connected to once an hour and not at every look.
type sockets struct {
	mu    sync.Mutex
	tried map[certmedic.EndpointKey]tried
}

type tried struct {
	served discover.Served
	err    error
	at     time.Time
}

// socketEvery is how often a socket is tried.
const socketEvery = time.Hour

// served makes a handshake for discovery.
func (s *sockets) served(p *prober.Prober) func(context.Context, certmedic.Endpoint) (discover.Served, error) {
	return func(ctx context.Context, ep certmedic.Endpoint) (discover.Served, error) {
		s.mu.Lock()
		t, ok := s.tried[ep.Key()]
		s.mu.Unlock()
		if ok && time.Since(t.at) < socketEvery {
			return t.served, t.err
		}
		t = tried{at: time.Now()}
		t.served, t.err = shake(ctx, p, ep)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.tried == nil {
			s.tried = map[certmedic.EndpointKey]tried{}
		}
		s.tried[ep.Key()] = t
		return t.served, t.err
	}
}

func shake(ctx context.Context, p *prober.Prober, ep certmedic.Endpoint) (discover.Served, error) {
	address, err := netip.ParseAddrPort(ep.Address)
	if err != nil {
		return discover.Served{}, err
	}
	r := p.Handshake(ctx, live.Request{Address: address, Host: ep.Address, ServerName: ep.ServerName, Protocol: ep.Protocol, Fast: true})
	if len(r.Certs) == 0 {
		return discover.Served{}, errors.New("no certificate was presented")
	}
	leaf := inspect.Facts(r.Certs[0])
	return discover.Served{SHA256: leaf.SHA256, Names: leaf.DNSNames}, nil
}

// names lets discovery look names up as probes do.
type names struct{ resolver *resolve.Resolver }

// LookupSRV returns the SRV records of a name, which is taken as it is.
func (n names) LookupSRV(ctx context.Context, _, _, name string) (string, []*net.SRV, error) {
	targets, err := n.resolver.SRV(ctx, name)
	var out []*net.SRV
	for _, t := range targets {
		out = append(out, &net.SRV{Target: t.Host, Port: t.Port, Priority: t.Priority, Weight: t.Weight})
	}
	return name, out, err
}

// LookupMX returns the MX records of a name.
func (n names) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	answer, err := n.resolver.Query(ctx, dns.Fqdn(name), dns.TypeMX)
	var out []*net.MX
	for _, rr := range answer.Records {
		if mx, ok := rr.(*dns.MX); ok {
			out = append(out, &net.MX{Host: mx.Mx, Pref: mx.Preference})
		}
	}
	return out, err
}

// Found is what there is on this host.
type Found struct {
	Certificates []certmedic.Certificate
	Servers      []string // whose configuration is there to be read, such as "nginx"
	Findings     []certmedic.Finding
}

// Discover looks at this host with the defaults, for `config init`. With sockets it connects
// to those that listen, to see which of them speak TLS.
func Discover(ctx context.Context, sockets bool) (Found, error) {
	c := config.Default()
	if sockets {
		c.Discover = append(c.Discover, config.Discover{Listening: &config.DiscoverListening{}})
	}
	p, err := newProber(c, nil)
	if err != nil {
		return Found{}, err
	}
	defer p.Close()
	o := new(App).discoverOptions(c, p)
	found := discovered{}.look(ctx, o)
	f := Found{Certificates: found.certificates, Findings: found.findings}
	for _, server := range []struct{ name, conf string }{{"nginx", o.NginxConf}, {"apache", o.ApacheConf}, {"haproxy", o.HAProxyConf}, {"postfix", o.PostfixConf}, {"dovecot", o.DovecotConf}} {
		if server.conf != "" {
			f.Servers = append(f.Servers, server.name)
		}
	}
	return f, nil
}
