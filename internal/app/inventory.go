package app

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

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
		files, _ := filepath.Glob(w.File) // the pattern was checked with the configuration
		for _, file := range files {
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
	unread := func(f certmedic.Finding) bool { return f.Severity == certmedic.SeverityUnknown }
	if !slices.ContainsFunc(findings, unread) {
		return next
	}
	for _, old := range d.certificates {
		same := func(c certmedic.Certificate) bool { return c.Name == old.Name }
		if !slices.ContainsFunc(next.certificates, same) {
			next.certificates = append(next.certificates, old)
		}
	}
	return next
}
