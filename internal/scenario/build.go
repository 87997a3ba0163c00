package scenario

import (
	"errors"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// build makes the world of a test, as it is when the test begins.
func build(given givenForm, start time.Time) (*world, error) {
	w := &world{start: start, now: start, taken: map[string]bool{}, versions: map[string]*version{}, own: map[string]versionForm{}, fleet: overrides{}}
	var problems []error
	for _, r := range given.Certs {
		problems = append(problems, w.addCert(r))
	}
	problems = append(problems, w.addVersions(given.Versions)...)
	for _, r := range given.Endpoints {
		problems = append(problems, w.addEndpoints(r))
	}
	for _, c := range w.certs {
		for _, e := range c.serves {
			c.config.Endpoints = append(c.config.Endpoints, e.config)
		}
	}
	return w, errors.Join(problems...)
}

func (w *world) addCert(r row[certForm]) error {
	if w.cert(r.key) != nil {
		return r.at.problem("a second certificate named %q", r.key)
	}
	f := r.value
	c := &cert{form: f, lock: certmedic.LockFree, files: f.Files.value, facts: overrides{}}
	c.config = certmedic.Certificate{Name: r.key, Labels: f.Labels, Mode: f.Mode.value, Watched: f.Watched}
	if f.Mode.value == "" {
		c.config.Mode = certmedic.ModeObserve
	}
	for _, kind := range f.Allow {
		c.config.Allow = append(c.config.Allow, kind.value)
	}
	for _, age := range f.Ages {
		c.ages = append(c.ages, age.value)
	}
	w.certs = append(w.certs, c)
	v := issue(r.key, f.Version, w.now)
	w.versions[r.key] = v
	if !f.Watched && (f.Stored == nil || f.Stored.value) {
		c.config.Source = certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: "/etc/letsencrypt", Lineage: r.key}
		c.store(v)
		c.unread = true
	}
	if f.ACME {
		c.config.Source = certmedic.Source{Kind: certmedic.SourceACME, Folder: "/var/lib/certmedic/acme/" + r.key}
		c.unread, c.told = true, c.stored == nil
	}
	problems := append(f.check(), checkVersion(r.at, f.Version))
	if f.ARI != nil {
		problems = append(problems, w.advise(c, v, *f.ARI))
	}
	return errors.Join(problems...)
}

// addVersions takes what the story says about versions that are to come.
func (w *world) addVersions(all table[versionForm]) (problems []error) {
	for _, r := range all {
		switch {
		case w.named(r.key) == nil || w.cert(r.key) != nil:
			problems = append(problems, r.at.problem("%q is no later version of a certificate, such as wild2 of wild", r.key))
			continue
		case w.versions[r.key] != nil:
			problems = append(problems, r.at.problem("version %q was issued before: what is issued does not change", r.key))
			continue
		}
		problems = append(problems, checkVersion(r.at, r.value))
		w.own[r.key] = r.value
	}
	return problems
}

// How many endpoints a test may have, and an endpoint addresses.
const (
	maxEndpoints = 10_000
	maxAddresses = 100
)

var patternVerb = regexp.MustCompile(`%0?[0-9]?d`)

func (w *world) addEndpoints(r row[endpointForm]) error {
	f := r.value
	verbs := patternVerb.FindAllString(f.Pattern, -1)
	switch {
	case f.Pattern == "" && f.Count > 0, f.Pattern != "" && f.Count < 1:
		return r.at.problem("a count and a pattern belong together")
	case f.Pattern != "" && (len(verbs) != 1 || strings.Count(f.Pattern, "%") != 1):
		return r.at.problem("pattern %q has no single number such as %%03d", f.Pattern)
	case len(w.endpoints)+f.Count > maxEndpoints:
		return r.at.problem("a test has at most %d endpoints", maxEndpoints)
	case f.Addresses < 0 || f.Addresses > maxAddresses:
		return r.at.problem("an endpoint has between 1 and %d addresses", maxAddresses)
	}
	if err := f.check(r.at); err != nil {
		return err
	}
	if f.Pattern == "" {
		return w.addEndpoint(r, r.key, defaultAddress(r.key, f.Address))
	}
	for i := range f.Count {
		if err := w.addEndpoint(r, r.key+"-"+fmt.Sprintf(verbs[0], i), fmt.Sprintf(f.Pattern, i)); err != nil {
			return err
		}
	}
	return nil
}

func defaultAddress(name, address string) string {
	if address != "" {
		return address
	}
	return name + ".example.com:443"
}

func (w *world) addEndpoint(r row[endpointForm], short, address string) error {
	f := r.value
	host, port, err := net.SplitHostPort(address)
	if number, bad := strconv.Atoi(port); err != nil || host == "" || bad != nil || number < 1 || number > 65535 {
		return r.at.problem("address %q is not host:port, with a port between 1 and 65535", address)
	}
	if w.taken[short] || w.taken[address] {
		return r.at.problem("a second endpoint %q", address)
	}
	w.taken[short], w.taken[address] = true, true
	e := &endpoint{short: short, findings: f.Findings, tls: orElse(f.TLS.value, "TLS 1.3"), facts: overrides{}}
	e.config = certmedic.Endpoint{Address: address, Protocol: orElse(f.Protocol.value, "tls"), ServerName: f.ServerName, Labels: f.Labels, Owned: f.Owned}
	count := max(1, f.Addresses)
	e.failing = make([]string, count)
	for i := range count {
		e.addresses = append(e.addresses, fmt.Sprintf("10.%d.%d.%d:%s", i, len(w.endpoints)/250, len(w.endpoints)%250+1, port))
	}
	if len(f.Serves) == 0 {
		f.Serves = words{f.Certificate}
	}
	if e.serves, err = w.served(r.at, f.Serves, count); err != nil {
		return err
	}
	if e.of = w.cert(f.Certificate); f.Certificate == "" {
		e.of = w.named(f.Serves[0])
	}
	if e.of == nil {
		return r.at.problem("whose endpoint is it? There is no certificate %q", orElse(f.Certificate, f.Serves[0]))
	}
	e.of.serves = append(e.of.serves, e)
	w.endpoints = append(w.endpoints, e)
	return nil
}

// served returns the versions of the names that an endpoint with so many addresses serves.
func (w *world) served(at place, names words, addresses int) ([]*version, error) {
	if len(names) > 1 && len(names) != addresses {
		return nil, at.problem("%d versions for %d addresses", len(names), addresses)
	}
	var all []*version
	for _, name := range names {
		v, err := w.issued(at, name)
		if err != nil {
			return nil, err
		}
		if v != nil {
			w.keep(name, v)
		}
		all = append(all, v)
	}
	return all, nil
}

// issued returns the version of a name; nil for "none".
func (w *world) issued(at place, name string) (*version, error) {
	if name == "none" {
		return nil, nil
	}
	if w.named(name) == nil {
		return nil, at.problem("%q is neither a certificate nor a later version of one, such as wild2 of wild", name)
	}
	return w.version(name), nil
}

// advise has the CA say when it wants a version to be replaced.
func (w *world) advise(c *cert, v *version, f placed[windowForm]) error {
	if f.value.Start == nil || f.value.End == nil {
		return f.at.problem("a window has a start and an end: {start: +5d, end: +6d}")
	}
	window := &rules.Window{Start: f.value.Start.from(w.start), End: f.value.End.from(w.start)}
	if !window.End.After(window.Start) {
		return f.at.problem("the window ends at %s, before it starts", window.End.Format(time.RFC3339))
	}
	c.dates = append(slices.Clip(c.dates), window.Start, window.End)
	c.tell(func(p *picture, _ time.Time) { p.sim.Window(v.facts.SHA256, window) })
	return nil
}

// tell queues what certmedic is told about a certificate at the next look.
func (c *cert) tell(news func(p *picture, now time.Time)) { c.news = append(c.news, news) }

// at is an address of an endpoint, or all of them.
type at struct {
	endpoint *endpoint
	address  int // -1: all
}

// choose returns the endpoints that a selector such as web-007, web-000..web-149, web-* or
// web means; with /2 behind it their second address.
func (w *world) choose(selector string) ([]at, error) {
	name, number, single := strings.Cut(selector, "/")
	address := -1
	if single {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q: addresses count from 1", selector)
		}
		address = n - 1
	}
	first, last, ranged := strings.Cut(name, "..")
	inside := false
	var chosen []at
	for _, e := range w.endpoints {
		inside = inside || ranged && e.short == first
		glob, _ := path.Match(name, e.short)
		if inside || !ranged && (glob || e.config.Address == name || isOf(e.short, name)) {
			if address >= len(e.addresses) {
				return nil, fmt.Errorf("%q: %s has %d addresses", selector, e.short, len(e.addresses))
			}
			chosen = append(chosen, at{e, address})
		}
		inside = inside && e.short != last
	}
	if len(chosen) == 0 || inside {
		return nil, fmt.Errorf("there is no endpoint %q", selector)
	}
	return chosen, nil
}

// isOf reports whether an endpoint is one of a pattern's.
func isOf(short, pattern string) bool {
	number, ok := strings.CutPrefix(short, pattern+"-")
	_, err := strconv.Atoi(number)
	return ok && err == nil
}
