package gather

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/access"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/script"
	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/host/unit"
	"github.com/certmedic/certmedic/probe/inspect"
)

// join finds what depends on several parts: which processes and servers answer at which address,
// from which files, and whether they may read them.
func (l *look) join(ctx context.Context) {
	l.hooks()
	l.answering()
	l.copies()
	l.spots()
	l.denials()
	l.units(ctx)
	l.refusals()
	l.disks()
	l.holder()
}

// systemdPath is the PATH of a service that sets none, see systemd.exec(5).
const systemdPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// hooks reads the hooks as what starts them would find them.
func (l *look) hooks() {
	src := l.question.Certificate.Source
	path := systemdPath
	for _, j := range l.c.Jobs {
		if j.Client == "certbot" && j.Enabled && !j.Masked && j.Guarded == "" && j.Path != "" {
			path = j.Path
			break
		}
	}
	for _, kind := range []struct {
		name string
		list func(certmedic.Source) ([]disk.Hook, []certmedic.Finding)
	}{{"pre", disk.PreHooks}, {"deploy", disk.DeployHooks}, {"post", disk.PostHooks}} {
		found, findings := kind.list(src)
		e := script.Environment{Path: path, Kind: kind.name, Variables: variables(kind.name)}
		for _, h := range found {
			l.c.Hooks = append(l.c.Hooks, diagnose.Hook{
				Kind: kind.name, Command: h.Command, Source: filepath.Join(src.ConfigDir, h.Source), Script: read(h, e),
			})
		}
		if l.c.Ini.NoDirHooks {
			findings = append(findings, l.switchedOff(kind.name)...)
		}
		for _, f := range findings {
			if file, why, ok := strings.Cut(f.Detail, ": "); ok && f.Code == certmedic.FilePermissions {
				l.c.Hooks = append(l.c.Hooks, diagnose.Hook{Kind: kind.name, Command: file, Source: file, Skipped: why, Script: script.Read(file, e)})
			}
		}
	}
}

// switchedOff returns the hooks of a folder that cli.ini has certbot pass over.
func (l *look) switchedOff(kind string) []certmedic.Finding {
	found, _ := filepath.Glob(filepath.Join(l.question.Certificate.Source.ConfigDir, "renewal-hooks", kind, "*"))
	var all []certmedic.Finding
	for _, file := range found {
		all = append(all, certmedic.NewFinding(certmedic.FilePermissions, file+": no-directory-hooks in "+l.c.Ini.Path+" has certbot pass it over"))
	}
	return all
}

// variables are the names that certbot sets for a hook.
func variables(kind string) []string {
	switch kind {
	case "deploy":
		return []string{"RENEWED_LINEAGE", "RENEWED_DOMAINS"}
	case "post":
		return []string{"RENEWED_DOMAINS", "FAILED_DOMAINS"}
	default:
		return nil
	}
}

// read reads a hook: a script that is called by its path, else the command line itself.
func read(h disk.Hook, e script.Environment) script.Script {
	if h.FromDir {
		return script.Read(h.Path, e)
	}
	if h.Path != "" {
		if s := script.Read(h.Path, e); s.Language != "binary" && s.Language != "" {
			return s
		}
	}
	return script.Parse(h.Command, e)
}

// spots finds the processes that answer at the addresses, and what they see.
func (l *look) spots() {
	own, _ := net.InterfaceAddrs() // without them only the loopback is known to be this host's
	for _, o := range l.c.Observations {
		for _, a := range o.Addresses {
			known := slices.ContainsFunc(l.c.Spots, func(s diagnose.Spot) bool { return s.Address == a.Address })
			at, err := netip.ParseAddrPort(a.Address)
			if known || err != nil {
				continue
			}
			spot := diagnose.Spot{Address: a.Address, Local: isOwn(at.Addr(), own)}
			if spot.Local {
				spot.Processes = l.listening(spot, at, a.Protocol)
				l.hidden(spot)
			}
			l.c.Spots = append(l.c.Spots, spot)
		}
	}
}

// silent leaves out what configurations say of an address at which the processes of other services
// answer: a configuration may be there of a service that does not run.
func (l *look) silent(address string, found []process.Process) {
	kinds := map[string]bool{}
	for _, p := range found {
		kinds[diagnose.KindOf(p)] = true
	}
	if len(kinds) == 0 || kinds["systemd"] { // which listens for a service until a client comes
		return
	}
	l.c.Answering = slices.DeleteFunc(l.c.Answering, func(a diagnose.Answering) bool { return a.Address == address && !kinds[string(a.Kind)] })
	l.c.Used = slices.DeleteFunc(l.c.Used, func(u diagnose.Used) bool {
		return u.Address == address && slices.Contains(service.Kinds(), service.Kind(u.By)) && !kinds[u.By]
	})
}

func isOwn(ip netip.Addr, own []net.Addr) bool {
	return ip.IsLoopback() || slices.ContainsFunc(own, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == ip.Unmap()
	})
}

// hidden tells that what answers may be among the processes that this user may not look into.
func (l *look) hidden(spot diagnose.Spot) {
	if len(spot.Processes) == 0 && l.table.Hidden > 0 && !slices.ContainsFunc(l.c.Unseen, func(u diagnose.Unseen) bool { return u.Part == diagnose.PartProcesses }) {
		l.miss(diagnose.PartProcesses, fmt.Sprintf("%d processes are not this user's to look into: run it as root", l.table.Hidden))
	}
}

// maxProcesses bounds the processes that are looked into for one address.
const maxProcesses = 64

// listening returns the processes that answer at an address, with what started with them.
func (l *look) listening(spot diagnose.Spot, at netip.AddrPort, protocol string) []diagnose.Process {
	network := "tcp"
	if protocol == "quic" {
		network = "udp"
	}
	found := l.table.Listening(network, at)
	for _, p := range slices.Clone(found) {
		found = append(found, l.table.Children(p.PID)...)
		found = append(found, l.table.Behind(p)...)
	}
	l.silent(spot.Address, found)
	var all []diagnose.Process
	for _, p := range found[:min(len(found), maxProcesses)] {
		if slices.ContainsFunc(all, func(o diagnose.Process) bool { return o.PID == p.PID }) {
			continue
		}
		l.named(spot, p)
		l.mounted(spot, p)
		all = append(all, l.looking(p))
	}
	return all
}

// looking says how a process sees the files of the certificate, where its mounts are its own.
func (l *look) looking(p process.Process) diagnose.Process {
	out := diagnose.Process{Process: p, Seen: map[string]process.File{}, Means: map[string]certmedic.CertFacts{}}
	for _, u := range l.c.Used {
		if u.Lead != diagnose.LeadOwn && u.Lead != diagnose.LeadCopy {
			continue
		}
		seen, err := process.Seen(l.proc, p.PID, u.Path)
		if err != nil {
			continue
		}
		out.Seen[u.Path] = seen
		if leaf, ok := leafIn(seen.Content); ok {
			out.Means[u.Path] = leaf
		}
	}
	return out
}

// leafIn returns the first certificate of a PEM file.
func leafIn(data []byte) (certmedic.CertFacts, bool) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			return inspect.Facts(cert), true
		}
	}
	return certmedic.CertFacts{}, false
}

// denials asks whether those who serve may read what they have to.
func (l *look) denials() {
	key := l.c.Stored.Files.Privkey
	for _, s := range l.c.Spots {
		for _, p := range s.Processes {
			if l.isWorker(s, p) {
				continue // its master reads for it
			}
			who := reader(p)
			for _, u := range l.c.Used {
				if u.Address != s.Address && u.Address != "" || u.Lead != diagnose.LeadOwn && u.Lead != diagnose.LeadCopy {
					continue
				}
				l.deny(p, who, u.Path)
				if u.Lead == diagnose.LeadOwn {
					l.deny(p, who, key)
				}
			}
		}
	}
}

// reader returns as whom a process reads its certificates. The services that are known read them
// as root, before they give that up, so that what they are now says nothing about it.
func reader(p diagnose.Process) access.Identity {
	if slices.Contains(service.Kinds(), service.Kind(diagnose.KindOf(p.Process))) {
		return access.Identity{Name: "root", Label: p.Label}
	}
	return access.Identity{
		Name: p.Name, UID: p.UID, GIDs: p.GIDs, Label: p.Label,
		Capabilities: &p.Capabilities, UserIDs: p.UserIDs, GroupIDs: p.GroupIDs,
	}
}

// isWorker reports whether a process was started by another one of the same spot.
func (l *look) isWorker(s diagnose.Spot, p diagnose.Process) bool {
	return slices.ContainsFunc(s.Processes, func(o diagnose.Process) bool { return o.PID == p.Parent })
}

func (l *look) deny(p diagnose.Process, who access.Identity, path string) {
	if path == "" {
		return
	}
	denied, err := access.ReadsIn(p.Root, who, path)
	if err != nil {
		return // what is missing is told by what names it
	}
	for _, d := range denied {
		denial := diagnose.Denial{Service: diagnose.KindOf(p.Process), Who: who, Path: path, Denial: d}
		same := func(o diagnose.Denial) bool {
			return o.Service == denial.Service && o.Denial.Path == d.Path && o.By == d.By
		}
		if !slices.ContainsFunc(l.c.Denials, same) {
			l.c.Denials = append(l.c.Denials, denial)
		}
	}
}

// units asks systemd about the services that answer, or should.
func (l *look) units(ctx context.Context) {
	var names []string
	add := func(name string) {
		if strings.HasSuffix(name, ".service") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, s := range l.c.Spots {
		for _, p := range s.Processes {
			add(p.Unit)
		}
	}
	for _, a := range l.c.Answering {
		for _, s := range l.c.Services {
			if s.Kind == a.Kind {
				for _, name := range s.Units {
					add(name)
				}
			}
		}
	}
	if len(names) == 0 {
		return
	}
	units, err := unit.Ask(ctx, names)
	if err != nil && !errors.Is(err, unit.ErrNone) {
		l.miss(diagnose.PartUnits, err.Error())
	} else if err != nil {
		l.miss(diagnose.PartUnits, "there is no systemd to ask")
	}
	l.c.Units = units
}

// refusals reads what services wrote into their own logs since the version was stored.
func (l *look) refusals() {
	for _, s := range l.c.Services {
		for _, p := range service.Refusals(s, l.c.Stored.Since) {
			l.c.Refusals = append(l.c.Refusals, diagnose.Refusal{Kind: s.Kind, Problem: p})
		}
	}
}

// disks asks how much space is left where the client writes.
func (l *look) disks() {
	src := l.question.Certificate.Source
	if src.Kind != certmedic.SourceCertbot {
		return
	}
	for _, path := range []string{filepath.Join(src.ConfigDir, "archive"), l.logFolder(), "/var/lib/letsencrypt"} {
		var st syscall.Statfs_t
		if path == "" || syscall.Statfs(path, &st) != nil {
			continue
		}
		l.c.Disks = append(l.c.Disks, diagnose.Disk{Path: path, Free: st.Bavail * uint64(st.Bsize), Inodes: st.Files == 0 || st.Ffree > 0})
	}
}

// holder finds who holds the lock, and what that waits for.
func (l *look) holder() {
	pid := l.c.Stored.Lock.PID
	if l.c.Stored.Lock.State != certmedic.LockHeld {
		return
	}
	if info, err := os.Stat(l.c.Stored.Lock.Path); err == nil && pid == 0 { // out of sight, as in another container
		l.c.Stored.Lock.Since = info.ModTime() // certbot makes the file when it begins
	}
	if p, ok := l.table.Process(pid); ok {
		l.c.Holder = &diagnose.Holder{Process: p, Children: l.table.Children(pid)}
	}
}
