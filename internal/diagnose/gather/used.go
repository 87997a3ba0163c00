package gather

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/probe/disk/keystore"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/service"
)

// answering finds which server of which configuration answers for each endpoint at each address,
// and which files it reads.
func (l *look) answering() {
	for _, o := range l.c.Observations {
		for _, a := range o.Addresses {
			name := a.ServerName
			if name == "" {
				name, _, _ = net.SplitHostPort(o.Endpoint.Address)
			}
			for _, s := range l.c.Services {
				for _, server := range service.Answers(s, a.Address, name) {
					l.answers(diagnose.Answering{Address: a.Address, Name: name, Kind: s.Kind, Server: server})
				}
			}
		}
	}
}

func (l *look) answers(a diagnose.Answering) {
	l.c.Answering = append(l.c.Answering, a)
	for _, pair := range a.Server.Certificates {
		l.use(diagnose.Used{Path: pair.Cert, By: string(a.Kind), Address: a.Address, File: a.Server.File, Line: a.Server.Line})
	}
}

// copies finds the files into which versions are copied: by certmedic's own steps and by hooks.
func (l *look) copies() {
	for _, d := range l.question.Certificate.Destinations {
		if !d.Local() {
			continue
		}
		for _, f := range d.Files {
			if f.From.HasLeaf() {
				l.use(diagnose.Used{Path: f.To, By: "destination " + d.Name})
			}
		}
	}
	for _, h := range l.c.Hooks {
		for _, c := range h.Script.Copies {
			if filepath.IsAbs(c.To) && h.Kind == "deploy" && h.Skipped == "" && !strings.ContainsAny(c.To, "$*?`:") {
				l.use(diagnose.Used{Path: c.To, By: "the hook", File: h.Script.Path, Line: c.Line, Text: c.Text})
			}
		}
	}
}

// named finds files of the certificate, or their folder, on the command line of a process: so are
// servers told of them whose configuration is not known here.
func (l *look) named(spot diagnose.Spot, p process.Process) {
	if slices.Contains(service.Kinds(), service.Kind(diagnose.KindOf(p))) {
		return // its configuration says more
	}
	for _, arg := range p.Argv {
		if _, value, ok := strings.Cut(arg, "="); ok {
			arg = value
		}
		arg = strings.TrimSuffix(arg, "/")
		if l.liveFolder() == "." || arg != l.liveFolder() && filepath.Dir(arg) != l.liveFolder() {
			continue
		}
		l.use(diagnose.Used{
			Path: l.c.Stored.Files.Fullchain, By: p.Name, Address: spot.Address,
			File: filepath.Join(l.proc, strconv.Itoa(p.PID), "cmdline"), Text: strings.Join(p.Argv, " "),
		})
	}
}

// use adds a file with what it holds, once for each address. A copy that a service is known to
// read is not told a second time for the hook that makes it.
func (l *look) use(u diagnose.Used) {
	for _, o := range l.c.Used {
		if o.Path == u.Path && (o.Address == u.Address || u.Address == "") {
			return
		}
	}
	info, err := os.Stat(u.Path)
	if err == nil && info.IsDir() {
		return
	}
	if err != nil {
		u.Lead, u.Problem = diagnose.LeadMissing, err.Error()
		if u.Address == "" {
			return // of what nobody is known to read nothing follows
		}
		l.c.Used = append(l.c.Used, u)
		return
	}
	u.ModTime = info.ModTime()
	l.open(&u)
	u.Lead, u.Lineage = l.lead(u)
	if u.Address == "" && u.Lead != diagnose.LeadCopy {
		return
	}
	l.c.Used = append(l.c.Used, u)
}

// open reads the leaf that a file holds.
func (l *look) open(u *diagnose.Used) {
	items, err := l.means.Reader.ReadPath(u.Path, l.c.Now)
	if err != nil {
		u.Problem = err.Error()
		return
	}
	for _, item := range items {
		if leaf, ok := item.Stored.Leaf(); ok && (u.Leaf.SHA256 == "" || l.isOurs(leaf)) {
			u.Leaf, u.Count = leaf, len(item.Stored.Chain)
		}
	}
	data, err := os.ReadFile(u.Path)
	if err == nil {
		u.Keystore = keystore.Detect(data) != keystore.None
		clear(data)
	}
}

// isOurs reports whether a leaf is a version of the certificate.
func (l *look) isOurs(leaf certmedic.CertFacts) bool {
	if slices.Contains(l.c.Stored.Known, leaf.SHA256) {
		return true
	}
	own, ok := l.c.Stored.Leaf()
	return ok && own.Issuer == leaf.Issuer && sameNames(own, leaf)
}

func sameNames(a, b certmedic.CertFacts) bool {
	return slices.Equal(slices.Sorted(slices.Values(a.DNSNames)), slices.Sorted(slices.Values(b.DNSNames)))
}

// maxLinks bounds the links on the way to a file, as the kernel does.
const maxLinks = 40

// lead says what a file has to do with the source, by the way that leads to it.
func (l *look) lead(u diagnose.Used) (lead diagnose.Lead, lineage string) {
	src := l.question.Certificate.Source
	for path, n := u.Path, 0; n < maxLinks; n++ {
		if lead, lineage, known := l.leadOf(src, path); known {
			return lead, lineage
		}
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	if target, err := filepath.EvalSymlinks(u.Path); err == nil {
		if lead, lineage, known := l.leadOf(src, target); known {
			return lead, lineage
		}
	}
	if l.isOurs(u.Leaf) {
		return diagnose.LeadCopy, ""
	}
	return diagnose.LeadForeign, ""
}

// leadOf judges one name on the way to a file.
func (l *look) leadOf(src certmedic.Source, path string) (diagnose.Lead, string, bool) {
	folder := filepath.Dir(path)
	switch {
	case path == src.Cert && src.Cert != "", folder == l.liveFolder() && src.Kind != certmedic.SourceFiles:
		return diagnose.LeadOwn, "", true
	case src.Kind != certmedic.SourceCertbot:
		return "", "", false
	}
	within, name := filepath.Base(filepath.Dir(folder)), filepath.Base(folder)
	if filepath.Dir(filepath.Dir(folder)) != filepath.Clean(src.ConfigDir) {
		return "", "", false
	}
	switch {
	case within == "archive" && name == src.Lineage:
		return diagnose.LeadPinned, "", true
	case (within == "archive" || within == "live") && name != src.Lineage:
		return diagnose.LeadOther, name, true
	}
	return "", "", false
}
