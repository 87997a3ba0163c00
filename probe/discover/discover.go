// Package discover finds out what there is to watch on a host by reading files:
// certbot's trees and nginx's configuration. It is called where no certificates are
// configured, and to write a first configuration. It executes nothing and changes
// nothing; what it cannot read becomes a finding and hides nothing else.
package discover

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover/nginx"
	"github.com/certmedic/certmedic/probe/disk"
)

// Options say where to look. What is empty is not looked for.
type Options struct {
	CertbotDirs []string  // certbot's configuration folders, such as /etc/letsencrypt
	NginxConf   string    // nginx's main file, such as /etc/nginx/nginx.conf
	Now         time.Time // the time of the reads
}

// Result is what there is to watch.
type Result struct {
	// Certificates are the lineages, in the order of the trees and their names, and then
	// the pairs of files that nginx uses besides them. Each is bound to the endpoints on
	// this host that use it; one that no discovered service uses has none.
	Certificates []certmedic.Certificate
}

// Host looks at this host. Folders and files that are not there are findings, so name
// only those that are meant to be.
//
// A server that has several certificates is bound to none of them: which one it
// presents depends on the client, so another one would be no drift.
func Host(opts Options) (Result, []certmedic.Finding) {
	h := &host{now: opts.Now, taken: map[string]bool{}, places: map[string]int{}}
	for _, dir := range opts.CertbotDirs {
		h.addTree(dir)
	}
	if opts.NginxConf != "" {
		h.addNginx(opts.NginxConf)
	}
	return Result{Certificates: h.certificates}, h.findings
}

type host struct {
	now          time.Time
	certificates []certmedic.Certificate
	names        [][]string // of each certificate, as stored
	taken        map[string]bool
	places       map[string]int // of the certificate that owns a folder or a file
	findings     []certmedic.Finding
}

func (h *host) addTree(dir string) {
	lineages, findings := disk.Lineages(dir)
	h.findings = append(h.findings, findings...)
	for _, lineage := range lineages {
		src := certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: dir, Lineage: lineage}
		place := h.add(lineage, src)
		for _, folder := range lineageFolders(src) {
			h.places[folder] = place
			h.places[resolved(folder)] = place
		}
	}
}

// lineageFolders returns where a lineage's links and versions are.
func lineageFolders(src certmedic.Source) []string {
	live := filepath.Join(src.ConfigDir, "live", src.Lineage)
	archive := filepath.Join(src.ConfigDir, "archive", src.Lineage)
	conf, _ := disk.ReadRenewalConf(filepath.Join(src.ConfigDir, "renewal", src.Lineage+".conf"))
	if conf == nil { // its finding is that of the lineage
		return []string{live, archive}
	}
	if conf.Fullchain != "" {
		live = filepath.Dir(conf.Fullchain)
	}
	return []string{live, filepath.Clean(cmp.Or(conf.ArchiveDir, archive))}
}

// resolved follows every link of a path; a path that leads nowhere stays as it is.
func resolved(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return filepath.Clean(path)
}

// add appends a certificate under a name that no other has, and returns its place.
func (h *host) add(name string, src certmedic.Source) int {
	unique := name
	for n := 2; h.taken[unique]; n++ {
		unique = fmt.Sprintf("%s-%d", name, n)
	}
	h.taken[unique] = true
	h.certificates = append(h.certificates, certmedic.Certificate{Name: unique, Source: src, Mode: certmedic.ModeObserve})
	h.names = append(h.names, disk.Read(src, h.now).Names)
	return len(h.certificates) - 1
}

func (h *host) addNginx(conf string) {
	servers, err := nginx.Parse(conf)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			h.findings = append(h.findings, certmedic.NewFinding(certmedic.FileUnreadable, strings.TrimSpace(line)))
		}
	}
	for _, server := range servers {
		for _, pair := range server.Certificates {
			place := h.placeOf(server, pair)
			if len(server.Certificates) == 1 {
				h.bind(place, server)
			}
		}
	}
}

// placeOf returns the certificate that a pair of files belongs to: a lineage when the
// file is in its live/ or leads into its archive, else one of its own.
func (h *host) placeOf(server nginx.Server, pair nginx.Pair) int {
	folder := filepath.Dir(pair.Cert)
	for _, key := range []string{pair.Cert, folder, resolved(folder), filepath.Dir(resolved(pair.Cert))} {
		if place, ok := h.places[key]; ok {
			return place
		}
	}
	file := filepath.Base(pair.Cert)
	name := cmp.Or(plainName(server.Names), strings.TrimSuffix(file, filepath.Ext(file)))
	place := h.add(name, certmedic.Source{Kind: certmedic.SourceFiles, Cert: pair.Cert, Key: pair.Key})
	h.places[pair.Cert] = place
	return place
}

// bind adds a server's addresses to a certificate's endpoints.
func (h *host) bind(place int, server nginx.Server) {
	c := &h.certificates[place]
	name := cmp.Or(plainName(server.Names), underWildcard(server.Names), plainName(h.names[place]), underWildcard(h.names[place]))
	for _, address := range probeAddresses(server.Listen) {
		endpoint := certmedic.Endpoint{Address: address, Protocol: "tls", ServerName: name}
		same := func(e certmedic.Endpoint) bool { return e.Address == address && e.ServerName == name }
		if !slices.ContainsFunc(c.Endpoints, same) {
			c.Endpoints = append(c.Endpoints, endpoint)
		}
	}
}

// probeAddresses turns listening addresses into ones to connect to on this host. The
// wildcard of IPv6 is reached through the loopback of its own family, because it takes
// no IPv4 by default, and is left out where the one of IPv4 is there too.
func probeAddresses(listens []string) []string {
	var out []string
	for _, listen := range listens {
		host, port, err := net.SplitHostPort(listen)
		if err != nil {
			continue
		}
		switch ip := net.ParseIP(host); {
		case host == "*" || host == "":
			host = "127.0.0.1"
		case ip != nil && ip.Equal(net.IPv6unspecified):
			if slices.Contains(listens, "*:"+port) {
				continue
			}
			host = "::1"
		}
		if address := net.JoinHostPort(host, port); !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	return out
}

// plainName returns the first name that a client could ask for as it is: no wildcard,
// regular expression, variable or catch-all.
func plainName(names []string) string {
	for _, name := range names {
		name = strings.TrimPrefix(name, ".") // nginx's .example.com is example.com too
		if strings.Contains(name, ".") && !strings.ContainsAny(name, "*~$") && net.ParseIP(name) == nil {
			return name
		}
	}
	return ""
}

// underWildcard returns a name that the first wildcard covers.
func underWildcard(names []string) string {
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, "*."); ok {
			return "certmedic." + rest
		}
	}
	return ""
}
