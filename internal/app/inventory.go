package app

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/probe/discover"
)

// inventory lists everything that is watched: what is configured, the watched files, and
// what discovery finds besides.
func inventory(c *config.Config, found []certmedic.Certificate) []certmedic.Certificate {
	all := config.Certificates(c)
	names, places := map[string]bool{}, map[certmedic.Source]bool{}
	for _, cert := range all {
		names[cert.Name] = true
		if cert.Source.Kind != certmedic.SourceNone {
			places[cert.Source] = true
		}
	}
	for _, w := range c.WatchFiles() {
		for _, file := range watchedFiles(w.File) {
			if !names[file] {
				all = append(all, certmedic.Certificate{
					Name: file, Labels: w.Labels, Watched: true, Mode: certmedic.ModeObserve,
					Source: certmedic.Source{Kind: certmedic.SourceFiles, Cert: file, PassphraseFile: w.Passphrase},
				})
				names[file] = true
			}
		}
	}
	for _, cert := range found {
		kept := cert.Source.Kind != certmedic.SourceNone
		if places[cert.Source] || !kept && names[cert.Name] {
			continue
		}
		places[cert.Source] = kept
		cert.Mode = certmedic.ModeObserve
		cert.Name = unused(names, cert.Name)
		names[cert.Name] = true
		all = append(all, cert)
	}
	return all
}

// watchedFiles returns the files of a pattern that was checked with the configuration; one
// without wildcards is watched even while it is not there.
func watchedFiles(pattern string) []string {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}
	}
	files, _ := filepath.Glob(pattern)
	return files
}

// unused returns the name, or the name with a number that nothing else has.
func unused(names map[string]bool, name string) string {
	free := name
	for n := 2; names[free]; n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	return free
}

// discovered is what discovery found at one time.
type discovered struct {
	certificates []certmedic.Certificate
	findings     []certmedic.Finding
}

// look has discovery look again. While something cannot be read, what was found earlier
// stays: a folder or a server that is away for a moment takes nothing with it.
func (d discovered) look(ctx context.Context, o discover.Options) discovered {
	found, findings := discover.Find(ctx, o)
	next := discovered{found.Certificates, findings}
	if len(next.unread()) > 0 {
		next.certificates = united(d.certificates, next.certificates)
	}
	return next
}

// unread returns what could not be read or asked.
func (d discovered) unread() []certmedic.Finding {
	known := func(f certmedic.Finding) bool { return f.Severity != certmedic.SeverityUnknown }
	return slices.DeleteFunc(slices.Clone(d.findings), known)
}

// united adds what is new to what is old: certificates, and endpoints of those that both
// have. The old ones keep their order and their names.
func united(old, found []certmedic.Certificate) []certmedic.Certificate {
	places := map[identity]int{}
	for i, c := range found {
		places[identityOf(c)] = i
	}
	var all []certmedic.Certificate
	taken := make([]bool, len(found))
	for _, c := range old {
		if i, ok := places[identityOf(c)]; ok {
			taken[i] = true
			name, endpoints := c.Name, c.Endpoints
			c = found[i]
			c.Name, c.Endpoints = name, unitedEndpoints(endpoints, c.Endpoints)
		}
		all = append(all, c)
	}
	for i, c := range found {
		if !taken[i] {
			all = append(all, c)
		}
	}
	return all
}

// unitedEndpoints has the new form of endpoints that both have.
func unitedEndpoints(old, found []certmedic.Endpoint) []certmedic.Endpoint {
	all := slices.Clone(old)
	for _, e := range found {
		same := func(o certmedic.Endpoint) bool { return o.Key() == e.Key() }
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i] = e
		} else {
			all = append(all, e)
		}
	}
	return all
}

// identity tells whether two looks found the same certificate: by where it is kept, for names
// depend on what else was found; by its name where it is kept elsewhere.
type identity struct {
	source certmedic.Source
	name   string
}

func identityOf(c certmedic.Certificate) identity {
	if c.Source.Kind == certmedic.SourceNone {
		return identity{name: c.Name}
	}
	return identity{source: c.Source}
}
