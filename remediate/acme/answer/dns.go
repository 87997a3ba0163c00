package answer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/providers/dns/acmedns"
	"github.com/go-acme/lego/v4/providers/dns/cloudflare"
	"github.com/go-acme/lego/v4/providers/dns/desec"
	"github.com/go-acme/lego/v4/providers/dns/digitalocean"
	"github.com/go-acme/lego/v4/providers/dns/exec"
	"github.com/go-acme/lego/v4/providers/dns/gandiv5"
	"github.com/go-acme/lego/v4/providers/dns/hetzner"
	"github.com/go-acme/lego/v4/providers/dns/httpreq"
	"github.com/go-acme/lego/v4/providers/dns/pdns"
	"github.com/go-acme/lego/v4/providers/dns/rfc2136"
	"github.com/go-acme/lego/v4/providers/dns/route53"
	"github.com/miekg/dns"

	"github.com/certmedic/certmedic/internal/ownership"
)

const (
	queryTimeout = 5 * time.Second
	maxSettings  = 64 << 10 // bytes of a file of settings
)

// DNSOptions say who sets TXT records, and how to tell that they are there.
type DNSOptions struct {
	Provider  string        // one of [Providers]
	EnvFile   string        // NAME=value lines for the provider, as lego documents them; empty: it needs none
	Resolvers []string      // IP or IP:port, asked for the record; empty: the servers of its zone
	Wait      time.Duration // fixed, instead of asking; 0: ask
}

// DNS answers dns-01 by TXT records (RFC 8555, section 8.4).
type DNS struct {
	provider challenge.Provider
	o        DNSOptions
}

// Providers returns the names of the DNS providers, sorted.
func Providers() []string {
	return []string{
		"acme-dns", "cloudflare", "desec", "digitalocean", "exec", "gandiv5",
		"hetzner", "httpreq", "pdns", "rfc2136", "route53",
	}
}

// OpenDNS makes a provider ready. lego's providers read their settings from the environment:
// exactly the names of the file are set in that of this process, and stay. The resolvers too are
// those of the whole process.
func OpenDNS(o DNSOptions) (*DNS, error) {
	o.Resolvers = slices.Clone(o.Resolvers)
	for i, resolver := range o.Resolvers {
		if _, _, err := net.SplitHostPort(resolver); err != nil {
			o.Resolvers[i] = net.JoinHostPort(strings.Trim(resolver, "[]"), "53")
		}
	}
	settings, err := readSettings(o.EnvFile)
	if err != nil {
		return nil, err
	}
	if o.Provider == "exec" {
		if err := trusted(settings[exec.EnvPath]); err != nil {
			return nil, err
		}
	}
	for name, value := range settings {
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("setting %q: %w", name, err)
		}
	}
	if len(o.Resolvers) > 0 {
		_ = dns01.AddRecursiveNameservers(o.Resolvers)(nil) // it always succeeds
	}
	provider, err := newProvider(o.Provider)
	if err != nil {
		return nil, fmt.Errorf("setting up the DNS provider %q: %w", o.Provider, err)
	}
	return &DNS{provider: provider, o: o}, nil
}

// newProvider returns a lego provider that is set up by the environment. They are named one by
// one, so that the others and their libraries stay out of the program.
func newProvider(name string) (challenge.Provider, error) {
	switch name {
	case "acme-dns":
		return acmedns.NewDNSProvider()
	case "cloudflare":
		return cloudflare.NewDNSProvider()
	case "desec":
		return desec.NewDNSProvider()
	case "digitalocean":
		return digitalocean.NewDNSProvider()
	case "exec":
		return exec.NewDNSProvider()
	case "gandiv5":
		return gandiv5.NewDNSProvider()
	case "hetzner":
		return hetzner.NewDNSProvider()
	case "httpreq":
		return httpreq.NewDNSProvider()
	case "pdns":
		return pdns.NewDNSProvider()
	case "rfc2136":
		return rfc2136.NewDNSProvider()
	case "route53":
		return route53.NewDNSProvider()
	}
	return nil, errors.New("there is no such provider")
}

var settingName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// readSettings reads NAME=value lines. Empty lines and those that begin with # are left out;
// quotes around a value are too.
func readSettings(file string) (map[string]string, error) {
	settings := map[string]string{}
	if file == "" {
		return settings, nil
	}
	if err := ownership.CheckSecret(file); err != nil {
		return nil, fmt.Errorf("reading the provider's settings: %w", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the provider's settings: %w", err)
	}
	if len(data) > maxSettings {
		return nil, fmt.Errorf("reading the provider's settings: %q is too large", file)
	}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || !settingName.MatchString(name) {
			return nil, fmt.Errorf("reading the provider's settings: %s:%d: not NAME=value", file, number)
		}
		settings[name] = unquoted(value)
	}
	return settings, nil
}

func unquoted(value string) string {
	if n := len(value); n >= 2 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
		return value[1 : n-1]
	}
	return value
}

// trusted checks the program of the exec provider.
func trusted(program string) error {
	if !strings.HasPrefix(program, "/") {
		return fmt.Errorf("%s has to be the absolute path of a program, in the file of settings; it is %q", exec.EnvPath, program)
	}
	if err := ownership.Check(program); err != nil {
		return fmt.Errorf("the program of %s: %w", exec.EnvPath, err)
	}
	return nil
}

// Present sets the record.
func (d *DNS) Present(name, token, keyAuth string) error {
	return d.provider.Present(name, token, keyAuth)
}

// CleanUp removes the record. Some providers know only what they set themselves, since they were
// opened.
func (d *DNS) CleanUp(name, token, keyAuth string) error {
	return d.provider.CleanUp(name, token, keyAuth)
}

// Close does nothing: a provider holds nothing open.
func (d *DNS) Close() error { return nil }

// sequential is what lego calls providers that keep one record for a name.
type sequential interface{ Sequential() time.Duration }

// Beside reports whether several records can stand beside each other under one name.
func (d *DNS) Beside() bool {
	_, one := d.provider.(sequential)
	return !one
}

// Pause returns how long to wait before another record takes the place of one.
func (d *DNS) Pause() time.Duration {
	if one, ok := d.provider.(sequential); ok {
		return one.Sequential()
	}
	return 0
}

// Record returns the name of the record for a name, where its aliases lead.
func (d *DNS) Record(name, keyAuth string) string {
	return dns01.GetChallengeInfo(name, keyAuth).EffectiveFQDN
}

// Await waits until the record is seen, as long as its provider says that it may take.
func (d *DNS) Await(ctx context.Context, name, keyAuth string) error {
	if d.o.Wait > 0 {
		return sleep(ctx, d.o.Wait)
	}
	timeout, interval := dns01.DefaultPropagationTimeout, dns01.DefaultPollingInterval
	if p, ok := d.provider.(challenge.ProviderTimeout); ok {
		timeout, interval = p.Timeout()
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	info := dns01.GetChallengeInfo(name, keyAuth)
	for {
		err := d.seen(ctx, info)
		if err == nil {
			return nil
		}
		if sleep(ctx, max(interval, 100*time.Millisecond)) != nil {
			return fmt.Errorf("not seen within %s: %w", timeout, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// seen asks every server for the record.
func (d *DNS) seen(ctx context.Context, info dns01.ChallengeInfo) error {
	servers := d.o.Resolvers
	if len(servers) == 0 {
		var err error
		if servers, err = authorities(ctx, info.EffectiveFQDN); err != nil {
			return err
		}
	}
	for _, server := range servers {
		if err := ask(ctx, server, info, len(d.o.Resolvers) > 0); err != nil {
			return err
		}
	}
	return nil
}

// authorities returns the servers of the zone that a name is in. The system's resolvers are not
// asked for the record itself: they may remember that it was not there.
func authorities(ctx context.Context, fqdn string) ([]string, error) {
	zone, err := dns01.FindZoneByFqdn(fqdn)
	if err != nil {
		return nil, fmt.Errorf("finding the zone of %q: %w", fqdn, err)
	}
	found, err := new(net.Resolver).LookupNS(ctx, zone)
	if err != nil {
		return nil, fmt.Errorf("finding the servers of %q: %w", zone, err)
	}
	var servers []string
	for _, ns := range found {
		servers = append(servers, net.JoinHostPort(strings.TrimSuffix(ns.Host, "."), "53"))
	}
	return servers, nil
}

// ask asks one server for the record, over TCP where its answer does not fit.
func ask(ctx context.Context, server string, info dns01.ChallengeInfo, recursive bool) error {
	query := new(dns.Msg).SetQuestion(info.EffectiveFQDN, dns.TypeTXT)
	query.RecursionDesired = recursive
	query.SetEdns0(1232, false)
	client := &dns.Client{Timeout: queryTimeout}
	response, _, err := client.ExchangeContext(ctx, query, server)
	if err == nil && response.Truncated {
		client.Net = "tcp"
		response, _, err = client.ExchangeContext(ctx, query, server)
	}
	if err != nil {
		return fmt.Errorf("asking %s for %q: %w", server, info.EffectiveFQDN, err)
	}
	for _, record := range response.Answer {
		if txt, ok := record.(*dns.TXT); ok && strings.Join(txt.Txt, "") == info.Value {
			return nil
		}
	}
	return fmt.Errorf("%s answers %s without the record to %q", server, dns.RcodeToString[response.Rcode], info.EffectiveFQDN)
}
