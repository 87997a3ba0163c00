package app

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/probe/discover"
)

// inventory lists everything that is watched: what is configured, the watched files, and
// what discovery finds besides.
func inventory(c *config.Config) ([]certmedic.Certificate, []certmedic.Finding) {
	all := config.Certificates(c)
	names, places := map[string]bool{}, map[certmedic.Source]bool{}
	for _, cert := range all {
		names[cert.Name], places[cert.Source] = true, true
	}
	for _, pattern := range c.WatchFiles() {
		files, _ := filepath.Glob(pattern) // the pattern was checked with the configuration
		for _, file := range files {
			if !names[file] {
				all = append(all, certmedic.Certificate{
					Name: file, Watched: true, Mode: certmedic.ModeObserve, Source: certmedic.Source{Kind: certmedic.SourceFiles, Cert: file},
				})
				names[file] = true
			}
		}
	}
	found, findings := discover.Host(discoverOptions(c))
	for _, cert := range found.Certificates {
		if places[cert.Source] {
			continue
		}
		places[cert.Source] = true
		cert.Mode = certmedic.ModeObserve
		cert.Name = unused(names, cert.Name)
		names[cert.Name] = true
		all = append(all, cert)
	}
	return all, findings
}

// unused returns the name, or the name with a number that nothing else has.
func unused(names map[string]bool, name string) string {
	free := name
	for n := 2; names[free]; n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	return free
}

func discoverOptions(c *config.Config) discover.Options {
	o := discover.Options{Now: time.Now()}
	for _, d := range c.Discover {
		switch {
		case d.Certbot != nil:
			o.CertbotDirs = append(o.CertbotDirs, d.Certbot.ConfigDir)
		case d.Nginx != nil:
			o.NginxConf = d.Nginx.Config
		}
	}
	return o
}

// Discover looks at this host with the defaults, for `config init`.
func Discover() ([]certmedic.Certificate, []certmedic.Finding) {
	found, findings := discover.Host(discoverOptions(config.Default()))
	return found.Certificates, findings
}
