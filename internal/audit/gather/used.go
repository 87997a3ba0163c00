package gather

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/probe/host/access"
)

// places is where the certificates of this host are kept.
type places struct {
	live, archive map[string]int // folders, to the index of their lineage
	versions      map[certmedic.Fingerprint]int
}

func (l *look) places() places {
	p := places{live: map[string]int{}, archive: map[string]int{}, versions: map[certmedic.Fingerprint]int{}}
	for i := range l.f.Lineages {
		one := &l.f.Lineages[i]
		p.live[one.Folder] = i
		if one.Client == "certbot" {
			archive := filepath.Join(one.Tree, "archive", one.Name)
			if one.Conf != nil && one.Conf.ArchiveDir != "" {
				archive = filepath.Clean(one.Conf.ArchiveDir)
			}
			p.archive[archive] = i
		}
		for _, version := range one.Stored.Known {
			p.versions[version] = i
		}
	}
	return p
}

// seenFile is what a file that services read holds, and where it leads.
type seenFile struct {
	lead    audit.Lead
	lineage audit.ID
	stale   bool
	ocsp    bool
	known   bool
}

// maxUsed bounds the files of services that are looked at.
const maxUsed = 20_000

// used finds which certificates services read, and whether they may.
func (l *look) used() func() {
	p := l.places()
	seen := map[string]seenFile{}
	var all []audit.Used
	for i, s := range l.f.Services {
		for _, server := range s.Servers {
			for _, pair := range server.Certificates {
				if len(all) == maxUsed || !filepath.IsAbs(pair.Cert) {
					continue
				}
				file, ok := seen[pair.Cert]
				if !ok {
					file = l.file(p, pair.Cert)
					seen[pair.Cert] = file
				}
				all = append(all, audit.Used{
					Service: i, Path: pair.Cert, Key: pair.Key, Place: audit.Place{File: server.File, Line: server.Line}, Names: server.Names,
					Lead: file.lead, Lineage: file.lineage, Stale: file.stale, OCSP: file.ocsp, Known: file.known,
				})
			}
		}
	}
	denials := l.denials(all)
	return func() { l.f.Used, l.f.Denials = all, denials }
}

// file says what a file has to do with the lineages: by the way that leads to it, else by what it
// holds.
func (l *look) file(p places, path string) seenFile {
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return seenFile{lead: audit.LeadMissing, lineage: l.named(p, path)}
	}
	if lead, i, ok := p.way(path); ok {
		one := &l.f.Lineages[i]
		return seenFile{lead: lead, lineage: one.ID(), ocsp: len(one.Leaf.OCSP) > 0, known: len(one.Stored.Chain) > 0}
	}
	items, err := l.means.Reader.ReadPath(path, l.f.Now)
	if err != nil || len(items) == 0 || len(items[0].Certs) == 0 {
		return seenFile{lead: audit.LeadForeign}
	}
	leaf, _ := items[0].Stored.Leaf()
	file := seenFile{lead: audit.LeadForeign, ocsp: len(items[0].Certs[0].OCSPServer) > 0, known: true}
	if i, ok := p.versions[leaf.SHA256]; ok {
		one := &l.f.Lineages[i]
		file.lead, file.lineage, file.stale = audit.LeadCopy, one.ID(), one.Cert().SHA256 != leaf.SHA256
	}
	return file
}

// named returns the lineage in whose folder a path is, whether it is there or not.
func (l *look) named(p places, path string) audit.ID {
	if i, ok := p.live[filepath.Dir(path)]; ok {
		return l.f.Lineages[i].ID()
	}
	return audit.ID{}
}

// maxLinks bounds the links on the way to a file, as the kernel does.
const maxLinks = 40

// way follows the links to a file until one of its names is a lineage's.
func (p places) way(path string) (audit.Lead, int, bool) {
	for range maxLinks {
		if lead, i, ok := p.at(path); ok {
			return lead, i, true
		}
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = filepath.Clean(target)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return p.at(target)
	}
	return "", 0, false
}

func (p places) at(path string) (audit.Lead, int, bool) {
	folder := filepath.Dir(path)
	if i, ok := p.live[folder]; ok {
		return audit.LeadOwn, i, true
	}
	if i, ok := p.archive[folder]; ok {
		return audit.LeadPinned, i, true
	}
	return "", 0, false
}

// denials asks whether services that read keys when they have given up root may do so.
func (l *look) denials(used []audit.Used) []audit.Denial {
	var all []audit.Denial
	type question struct {
		service int
		key     string
	}
	var asked []question
	for _, u := range used {
		q := question{u.Service, u.Key}
		if u.Key == "" || u.Lead == audit.LeadMissing || slices.Contains(asked, q) || len(asked) > maxEntries/10 {
			continue
		}
		asked = append(asked, q)
		for _, user := range l.f.Services[u.Service].Users {
			if who, err := access.Lookup(user); err == nil && who.UID != 0 && !l.means.Strangers {
				all = append(all, l.deny(u, user, who)...)
			}
		}
	}
	return all
}

func (l *look) deny(u audit.Used, user string, who access.Identity) []audit.Denial {
	denied, err := access.Reads(who, u.Key)
	if err != nil || len(denied) == 0 {
		return nil // what is missing is told by what names it
	}
	return []audit.Denial{{Service: u.Service, User: user, Path: u.Key, Place: u.Place, Denial: denied[0]}}
}
