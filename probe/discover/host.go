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
	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/listening"
	"github.com/certmedic/certmedic/probe/disk"
)

// host gathers certificates and what they are bound to.
type host struct {
	now          time.Time
	reader       disk.Reader
	protocols    []string
	certificates []certmedic.Certificate
	stored       []kept
	taken        map[string]bool                // names of certificates
	places       map[string]int                 // of the certificate that owns a folder or a file
	versions     map[certmedic.Fingerprint]int  // of the certificate that a leaf is a version of
	issued       map[certmedic.Fingerprint]bool // versions that a tree holds
	claims       map[asked]claim
	findings     []certmedic.Finding
}

// kept is what the source of a certificate holds.
type kept struct {
	names []string
	key   string // the kind of key, such as ec
}

// asked is what a client can ask for.
type asked struct{ address, protocol, name string }

// claim says which certificate a client is given, and where that is written.
type claim struct {
	place int // negative: it depends on the client
	at    string
}

func newHost(opts Options) *host {
	protocols := opts.Protocols
	if len(protocols) == 0 {
		protocols = []string{"tls"}
	}
	return &host{
		now: opts.Now, reader: opts.Reader, protocols: protocols,
		taken: map[string]bool{}, places: map[string]int{}, versions: map[certmedic.Fingerprint]int{}, issued: map[certmedic.Fingerprint]bool{}, claims: map[asked]claim{},
	}
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

// addClient adds the certificates of another client's tree.
func (h *host) addClient(dir string) {
	client, found, findings := disk.Tree(dir)
	h.findings = append(h.findings, findings...)
	if client == "" {
		h.report(certmedic.FileMissing, fmt.Errorf("%s: no tree of a client that is known", dir))
	}
	for _, f := range found {
		place := h.add(f.Name, f.Source)
		h.places[f.Source.Cert] = place
		h.places[resolved(f.Source.Cert)] = place
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

// add appends what a tree holds, and returns its place. Files of the same versions that are
// found elsewhere are copies of it.
func (h *host) add(name string, src certmedic.Source) int {
	stored := h.reader.Read(src, h.now).Stored
	place := h.addRead(name, src, stored)
	for _, version := range stored.Known {
		h.issued[version] = true
	}
	return place
}

// addRead appends a certificate under a name that no other has, and returns its place.
func (h *host) addRead(name string, src certmedic.Source, stored certmedic.Stored) int {
	place := len(h.certificates)
	h.certificates = append(h.certificates, certmedic.Certificate{Name: h.unique(name), Source: src, Mode: certmedic.ModeObserve})
	k := kept{names: stored.Names}
	if leaf, ok := stored.Leaf(); ok {
		k.key = strings.TrimRight(leaf.KeyType, "0123456789")
	}
	h.stored = append(h.stored, k)
	for _, version := range stored.Known {
		if _, ok := h.versions[version]; !ok {
			h.versions[version] = place
		}
	}
	return place
}

func (h *host) unique(name string) string {
	free := name
	for n := 2; h.taken[free]; n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	h.taken[free] = true
	return free
}

// bindServers binds the servers of one service. Those that say for which names they are go
// first: another server answers only for what they leave.
func (h *host) bindServers(servers []conf.Server) {
	listens := map[string]bool{}
	places := make([]int, len(servers))
	for i, s := range servers {
		for _, l := range s.Listen {
			listens[l.Address] = true
		}
		for _, pair := range s.Certificates {
			places[i] = h.placeOf(s, pair)
		}
	}
	for _, named := range []bool{true, false} {
		for i, s := range servers {
			if len(s.Certificates) == 1 && (ownName(s) != "") == named {
				h.bind(places[i], s, listens)
			}
		}
	}
	for i, s := range servers {
		if len(s.Certificates) > 1 {
			h.watchServer(places[i], s, listens)
		}
	}
}

// watchServer adds the endpoints of a server with several certificates for the same clients:
// what it serves is looked at, but is a version of none that could be named.
func (h *host) watchServer(place int, s conf.Server, listens map[string]bool) {
	for _, l := range s.Listen {
		address := probeAddress(l.Address, listens)
		names := h.namesFor(place, s, l)
		if address != "" && len(names) > 0 {
			h.watch(certmedic.Endpoint{Address: address, Protocol: l.Protocol, ServerName: names[0]})
		}
	}
}

// placeOf returns the certificate that a pair of files belongs to: a lineage when the
// file is in its live/, leads into its archive or is a copy of one of its versions, else
// one of its own.
func (h *host) placeOf(server conf.Server, pair conf.Pair) int {
	folder := filepath.Dir(pair.Cert)
	file := resolved(pair.Cert)
	for _, key := range []string{pair.Cert, file, folder, resolved(folder), filepath.Dir(file)} {
		if place, ok := h.places[key]; ok {
			return place
		}
	}
	src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: pair.Cert, Key: pair.Key}
	stored := h.reader.Read(src, h.now).Stored
	if leaf, ok := stored.Leaf(); ok && h.issued[leaf.SHA256] {
		h.places[pair.Cert] = h.versions[leaf.SHA256]
		return h.versions[leaf.SHA256]
	}
	base := filepath.Base(pair.Cert)
	name := cmp.Or(plainName(server.Names), strings.TrimSuffix(base, filepath.Ext(base)))
	place := h.addRead(name, src, stored)
	h.places[pair.Cert] = place
	return place
}

// bind adds a server's addresses to a certificate's endpoints. Listens are the addresses of
// all servers of the service.
func (h *host) bind(place int, s conf.Server, listens map[string]bool) {
	at := fmt.Sprintf("%s:%d", s.File, s.Line)
	for _, l := range s.Listen {
		address := probeAddress(l.Address, listens)
		if address == "" || !slices.Contains(h.protocols, l.Protocol) {
			continue
		}
		for _, name := range h.namesFor(place, s, l) {
			if h.claim(asked{address, l.Protocol, name}, claim{place, at}) {
				endpoint := certmedic.Endpoint{Address: address, Protocol: l.Protocol, ServerName: name}
				h.certificates[place].Endpoints = append(h.certificates[place].Endpoints, endpoint)
				break
			}
		}
	}
}

// namesFor returns the names by which a client gets a server, the best first. One that has
// none answers as the default of an address, to all names that no other server has.
func (h *host) namesFor(place int, s conf.Server, l conf.Listen) []string {
	if own := ownName(s); own != "" {
		return []string{own}
	}
	if !s.ByCertificate && !l.Default {
		return nil
	}
	return h.certificateNames(place)
}

// certificateNames returns names that a certificate is for; one that is empty where it is
// for none that a client could ask for.
func (h *host) certificateNames(place int) []string {
	var out []string
	for _, name := range h.stored[place].names {
		if plain := plainName([]string{name}); plain != "" {
			out = append(out, plain)
		}
	}
	if wild := underWildcard(h.stored[place].names); wild != "" {
		out = append(out, wild)
	}
	if len(out) == 0 {
		out = []string{""}
	}
	return out
}

// claim records that a client is given a certificate, unless it is given another one
// already. Two certificates of one line, of different kinds of keys, are given to different
// clients: neither of them is bound.
func (h *host) claim(what asked, by claim) bool {
	other, ok := h.claims[what]
	if !ok {
		h.claims[what] = by
		return true
	}
	if other.place < 0 || other.place == by.place || other.at != by.at {
		return false
	}
	if h.stored[other.place].key != h.stored[by.place].key {
		h.claims[what] = claim{place: -1, at: by.at}
		c := &h.certificates[other.place]
		c.Endpoints = slices.DeleteFunc(c.Endpoints, func(e certmedic.Endpoint) bool {
			return asked{e.Address, e.Protocol, e.ServerName} == what
		})
	}
	return false
}

// addSocket binds a socket to the certificate that it serves a version of.
func (h *host) addSocket(s listening.Socket) {
	e := s.Endpoint
	place, ours := h.versions[s.Leaf.SHA256]
	if !ours {
		e.ServerName = cmp.Or(plainName(s.Leaf.Names), underWildcard(s.Leaf.Names))
		h.watch(e)
		return
	}
	c := &h.certificates[place]
	if slices.ContainsFunc(c.Endpoints, func(o certmedic.Endpoint) bool { return o.Address == e.Address }) {
		return
	}
	for _, e.ServerName = range h.certificateNames(place) {
		if h.claim(asked{e.Address, e.Protocol, e.ServerName}, claim{place: place}) {
			c.Endpoints = append(c.Endpoints, e)
			return
		}
	}
}

// watch adds an endpoint whose certificate is kept elsewhere, once.
func (h *host) watch(e certmedic.Endpoint) {
	if !slices.Contains(h.protocols, e.Protocol) {
		return
	}
	name, address := e.ServerName, e.Address
	if host, _, _ := net.SplitHostPort(e.Address); name != "" && !strings.EqualFold(name, host) {
		address += "/" + name
	} else if net.ParseIP(host) == nil {
		name = host
	}
	what := asked{e.Address, e.Protocol, name}
	if _, ok := h.claims[what]; ok {
		return
	}
	h.claims[what] = claim{place: len(h.certificates)}
	h.certificates = append(h.certificates, certmedic.Certificate{
		Name: h.unique(address), Labels: e.Labels, Endpoints: []certmedic.Endpoint{e}, Mode: certmedic.ModeObserve, Watched: true,
	})
	h.stored = append(h.stored, kept{})
}
