// Package gather makes the Case of a diagnosis: it looks at everything on this host that has to
// do with one certificate. The command diagnose and the daemon call it.
//
// It changes nothing, takes no lock and runs no program. Its parts look at the same time, each
// within bounds; one that takes too long is told as unseen, and the Case is made without it. The
// network is asked only for handshakes with the endpoints, and for what a CA would meet where the
// renewal is what is wrong and the caller lent the means.
package gather

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/reach"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/rules"
)

// Means are what a look is made with.
type Means struct {
	Reader disk.Reader
	Logs   *acmelog.Reader // remembers logs that do not change; nil reads them all
	Probe  func(ctx context.Context, endpoint certmedic.Endpoint) certmedic.Observation

	// Reach tries what a CA will try; nil: nobody asks the network for it.
	Reach func(ctx context.Context, q reach.Question) reach.Answers

	Proc  string                    // where the kernel tells of processes; empty: /proc
	Mains map[service.Kind][]string // main files of services that stand elsewhere than usual
}

// Question says what is looked at.
type Question struct {
	Subject     string // as the person named it; empty: the certificate's name
	Certificate certmedic.Certificate

	Actions []certmedic.Action // of certmedic itself, newest first
	Journal string             // why they could not be seen; empty: they were

	// Observations are those that the caller has made already; nil: the endpoints are probed.
	Observations []certmedic.Observation

	PlaceToken bool // a token may be placed in the webroot, fetched, and removed
}

// ceiling is the most time that what is on this host may take to be looked at.
const ceiling = 2 * time.Second

// Gather looks, and returns what it saw.
func Gather(ctx context.Context, m Means, q Question) diagnose.Case {
	if m.Proc == "" {
		m.Proc = "/proc"
	}
	l := &look{means: m, question: q, proc: m.Proc}
	l.c = diagnose.Case{Now: time.Now(), Subject: q.Subject, Certificate: q.Certificate, Actions: q.Actions}
	if l.c.Subject == "" {
		l.c.Subject = q.Certificate.Name
	}
	if q.Journal != "" {
		l.miss(diagnose.PartJournal, q.Journal)
	}
	l.source()
	l.together(ctx)
	l.join(ctx)
	l.reach(ctx)
	return l.c
}

// look is one look at one certificate.
type look struct {
	means    Means
	question Question
	proc     string

	mu    sync.Mutex // guards the following, and c while parts look at the same time
	c     diagnose.Case
	table process.Table
}

func (l *look) miss(part diagnose.Part, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.c.Unseen = append(l.c.Unseen, diagnose.Unseen{Part: part, Why: why})
}

// source reads what is kept. Everything else depends on it, and it is quick.
func (l *look) source() {
	src := l.question.Certificate.Source
	l.c.Stored = l.means.Reader.Read(src, l.c.Now).Stored
	if l.c.Stored.Lock.State == certmedic.LockUnknown {
		l.miss(diagnose.PartLock, l.c.Stored.Lock.Detail)
	}
	if leaf, ok := l.c.Stored.Leaf(); ok {
		l.c.Due, _ = rules.Renewal{Ages: l.c.Stored.Ages}.Due(leaf)
	}
	if src.Kind != certmedic.SourceCertbot {
		return
	}
	l.c.Conf, _ = disk.ReadRenewalConf(filepath.Join(src.ConfigDir, "renewal", src.Lineage+".conf")) // its mistakes are among the findings of the source
	l.c.Ini, _ = disk.ReadCLIIni(src.ConfigDir)                                                      // and so are its
}

// part is one thing to look at. It returns what puts its result into the Case.
type part struct {
	name diagnose.Part
	look func() (store func())
}

// together looks at all parts at the same time. One that has not ended at the ceiling is left
// behind: it ends by its own bounds, and nobody reads what it returns.
func (l *look) together(ctx context.Context) {
	parts := []part{
		{diagnose.PartProcesses, l.processes},
		{diagnose.PartServices, l.services},
	}
	if l.question.Certificate.Source.Kind == certmedic.SourceCertbot {
		parts = append(parts,
			part{"the archive", l.archive}, part{"the other lineages", l.others},
			part{diagnose.PartLog, l.log},
		)
	} else if o, name := clientLog(l.question.Certificate.Source); name != "" {
		parts = append(parts, part{diagnose.PartLog, func() func() { return l.otherLog(o, name) }})
	}
	if l.question.Certificate.Source.Kind != certmedic.SourceNone {
		parts = append(parts, part{diagnose.PartJobs, l.jobs})
	}
	var probes sync.WaitGroup
	probes.Go(func() { l.probe(ctx) })
	timer := time.NewTimer(ceiling)
	defer timer.Stop()
	ends := make([]chan func(), len(parts))
	for i, p := range parts {
		ends[i] = make(chan func(), 1)
		go func() { ends[i] <- p.look() }()
	}
	over := false
	for i, p := range parts {
		if store, ok := await(ends[i], timer.C, &over); ok {
			l.mu.Lock()
			store()
			l.mu.Unlock()
		} else {
			l.miss(p.name, "looking took longer than "+ceiling.String())
		}
	}
	probes.Wait()
}

// await waits for a part until the time is over, and takes what is there then.
func await(end <-chan func(), timeout <-chan time.Time, over *bool) (func(), bool) {
	if !*over {
		select {
		case store := <-end:
			return store, true
		case <-timeout:
			*over = true
		}
	}
	select {
	case store := <-end:
		return store, true
	default:
		return nil, false
	}
}

// maxProbes bounds how many endpoints are probed at a time.
const maxProbes = 16

// probe makes the handshakes, unless the caller has made them.
func (l *look) probe(ctx context.Context) {
	observed := l.question.Observations
	if observed == nil {
		endpoints := l.question.Certificate.Endpoints
		observed = make([]certmedic.Observation, len(endpoints))
		turns := make(chan struct{}, maxProbes)
		var wg sync.WaitGroup
		for i, e := range endpoints {
			wg.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				observed[i] = l.ask(ctx, e)
			})
		}
		wg.Wait()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.c.Observations = observed
}

// handshakes is how often an endpoint is asked: a process that was left behind answers now and then.
const handshakes = 3

// ask returns what an endpoint presents, with every other answer that its addresses gave when they
// were asked again.
func (l *look) ask(ctx context.Context, e certmedic.Endpoint) certmedic.Observation {
	all := l.means.Probe(ctx, e)
	for range handshakes - 1 {
		if !slices.ContainsFunc(all.Addresses, certmedic.AddressObservation.Reached) {
			break // asking again would wait again
		}
		for _, later := range l.means.Probe(ctx, e).Addresses {
			if later.Reached() && !slices.ContainsFunc(all.Addresses, func(a certmedic.AddressObservation) bool { return sameAnswer(a, later) }) {
				all.Addresses = append(all.Addresses, later)
			}
		}
	}
	return all
}

func sameAnswer(a, b certmedic.AddressObservation) bool {
	before, _ := a.Leaf()
	after, _ := b.Leaf()
	return a.Address == b.Address && a.Variant == b.Variant && before.SHA256 == after.SHA256
}

func (l *look) jobs() func() {
	jobs, problems := schedule.Look(l.c.Now)
	var locks []diagnose.LockFile
	for _, j := range jobs {
		if info, err := os.Stat(j.Lock); err == nil && j.Lock != "" {
			locks = append(locks, diagnose.LockFile{Path: j.Lock, Since: info.ModTime()})
		}
	}
	return func() {
		l.c.Jobs, l.c.Locks = jobs, locks
		for _, p := range problems {
			l.c.Unseen = append(l.c.Unseen, diagnose.Unseen{Part: diagnose.PartJobs, Why: p})
		}
	}
}

func (l *look) processes() func() {
	table, err := process.Look(l.proc)
	return func() {
		l.table = table
		if err != nil {
			l.c.Unseen = append(l.c.Unseen, diagnose.Unseen{Part: diagnose.PartProcesses, Why: err.Error()})
		}
	}
}

func (l *look) services() func() {
	found := service.Found()
	for _, kind := range service.Kinds() {
		for _, main := range l.means.Mains[kind] {
			if !slices.ContainsFunc(found, func(s service.Service) bool { return s.Conf == main }) {
				found = append(found, service.Read(kind, main))
			}
		}
	}
	return func() { l.c.Services = found }
}

// archive reads the leaves of the versions.
func (l *look) archive() func() {
	found, err := disk.Archive(l.question.Certificate.Source)
	var versions []diagnose.Version
	for _, a := range slices.Backward(found[:min(len(found), maxVersions)]) {
		v := diagnose.Version{Number: a.Number, Path: a.Source.Cert, Whole: len(a.Missing) == 0}
		if v.Leaf, _ = l.means.Reader.Read(certmedic.Source{Kind: certmedic.SourceFiles, Cert: a.Source.Cert}, l.c.Now).Stored.Leaf(); v.Leaf.SHA256 != "" {
			versions = append(versions, v)
		}
	}
	return func() {
		l.c.Versions = versions
		if err != nil {
			l.c.Unseen = append(l.c.Unseen, diagnose.Unseen{Part: "the archive", Why: err.Error()})
		}
	}
}

// The bounds of what is read beside the lineage.
const (
	maxVersions = 50
	maxOthers   = 5000
)

// others reads the further lineages of the tree that share a name.
func (l *look) others() func() {
	src := l.question.Certificate.Source
	names, _ := disk.Lineages(src.ConfigDir) // what is wrong with the tree is no matter of this lineage
	names = slices.DeleteFunc(names, func(n string) bool { return n == src.Lineage })
	var all []diagnose.Other
	for _, name := range names[:min(len(names), maxOthers)] {
		other := certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: src.ConfigDir, Lineage: name}
		live := filepath.Join(src.ConfigDir, "live", name)
		leaf, ok := l.means.Reader.Read(certmedic.Source{Kind: certmedic.SourceFiles, Cert: filepath.Join(live, "cert.pem")}, l.c.Now).Stored.Leaf()
		if ok && slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return slices.Contains(l.c.Stored.Names, n) }) {
			all = append(all, diagnose.Other{Name: name, Path: live, Stored: l.means.Reader.Read(other, l.c.Now).Stored})
		}
	}
	return func() { l.c.Others = all }
}

// reach tries what a CA will try, where the renewal is what is wrong.
func (l *look) reach(ctx context.Context) {
	if !diagnose.WantsRenewal(l.c) {
		return
	}
	if l.means.Reach == nil {
		l.miss(diagnose.PartReach, "it was not tried (offline)")
		return
	}
	q := reach.Question{Names: l.c.Stored.Names, Directory: l.c.Stored.Directory, Place: l.question.PlaceToken, Webroots: map[string]string{}}
	if l.c.Conf != nil {
		q.Challenge = challenge(l.c.Conf)
		if roots := l.c.Conf.Params["webroot_path"].Values; len(roots) > 0 && l.c.Conf.Authenticator == "webroot" {
			for _, name := range q.Names {
				q.Webroots[name] = roots[len(roots)-1]
			}
		}
	}
	l.c.Reach = l.means.Reach(ctx, q)
	if !l.question.PlaceToken && len(q.Webroots) > 0 {
		l.miss(diagnose.PartReach, "no token was placed in the webroot: --place-token does so")
	}
}

// challenge returns by what a lineage proves its names.
func challenge(conf *disk.RenewalConf) string {
	switch name := conf.Authenticator; {
	case name == "webroot" || name == "standalone" || name == "nginx" || name == "apache":
		return "http-01"
	case len(name) > 4 && name[:4] == "dns-":
		return "dns-01"
	default:
		return ""
	}
}
