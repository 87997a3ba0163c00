// Package gather makes the [audit.Facts] of a host: it looks at every ACME client's
// certificates there, at what renews, deploys and reads them, and at what certmedic itself knows.
// The command audit calls it.
//
// It changes nothing, takes no lock of a client and runs no program. Its parts look at the same
// time, each within bounds; one that takes too long is told as unseen, and the facts are made
// without it.
package gather

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/host/unit"
)

// Means are what a look is made with.
type Means struct {
	Reader disk.Reader
	Proc   string                    // where the kernel tells of processes; empty: /proc
	Mains  map[service.Kind][]string // main files of services that stand elsewhere than usual
	Trees  []string                  // of certbot, besides /etc/letsencrypt
	Others []string                  // of other clients, besides where these have them

	// Root is the mounted tree that this process has been confined to; empty: this host. In a tree
	// nothing runs: what would be asked of the kernel, or of systemd, is told as unseen.
	Root string

	// Strangers says that this process cannot tell the users of the tree apart: those of its files
	// that are not its own user's all look the same.
	Strangers bool

	// Own says what certmedic itself knows, and why not all of that could be seen. Nil: nobody asks.
	Own func(context.Context) (own audit.Own, unseen string)
}

// ceiling is the most time that a part may take to be looked at.
const ceiling = 20 * time.Second

// Gather looks, and returns what it saw.
func Gather(ctx context.Context, m Means) audit.Facts {
	if m.Proc == "" {
		m.Proc = "/proc"
	}
	l := &look{means: m, f: audit.Facts{Now: time.Now(), Root: m.Root}}
	if m.Root != "" {
		for _, p := range []audit.Part{audit.PartProcesses, audit.PartUnits, audit.PartClock} {
			l.miss(p, "nothing runs in a mounted tree")
		}
	}
	if m.Strangers {
		l.miss(audit.PartOwners, "without root, who owns the files of the tree cannot be told")
	}
	parts := []part{
		{audit.PartLineages, l.lineages},
		{audit.PartJobs, l.jobs},
		{audit.PartServices, l.services},
		{"what is installed", l.clients},
	}
	if m.Root == "" {
		parts = append(parts, part{audit.PartProcesses, l.processes})
	}
	if m.Own != nil {
		parts = append(parts, part{audit.PartOwn, l.own(ctx)})
	}
	l.together(parts)
	l.together([]part{{"the hooks", l.hooks}, {"what services read", l.used}, {audit.PartLogs, l.logs}, {audit.PartDisks, l.disks}, {"timers", l.elsewhere}})
	l.watchers()
	if m.Root == "" {
		l.units(ctx)
		l.clock()
	}
	return l.f
}

// look is one look at a host.
type look struct {
	means Means
	f     audit.Facts
}

func (l *look) miss(part audit.Part, why string) {
	if len(l.f.Unseen) < maxUnseen {
		l.f.Unseen = append(l.f.Unseen, audit.Unseen{Part: part, Why: why})
	}
}

// maxUnseen bounds what is told to be unseen.
const maxUnseen = 50

// part is one thing to look at. It may read what earlier parts found, and returns what puts its
// own result into the facts.
type part struct {
	name audit.Part
	look func() (store func())
}

// together looks at all parts at the same time. One that has not ended at the ceiling is left
// behind, and nobody reads what it returns.
func (l *look) together(parts []part) { l.within(ceiling, parts) }

func (l *look) within(most time.Duration, parts []part) {
	over := time.Now().Add(most)
	ends := make([]chan func(), len(parts))
	for i, p := range parts {
		ends[i] = make(chan func(), 1)
		go func() { ends[i] <- p.look() }()
	}
	stores := make([]func(), len(parts))
	for i := range parts {
		stores[i] = await(ends[i], time.Until(over))
	}
	for i, store := range stores {
		if store == nil {
			l.miss(parts[i].name, "looking took longer than "+most.String())
			continue
		}
		store()
	}
}

// await waits for a part, and takes what is there when the time is over.
func await(end <-chan func(), most time.Duration) func() {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case store := <-end:
		return store
	case <-timer.C:
	}
	select {
	case store := <-end:
		return store
	default:
		return nil
	}
}

func (l *look) own(ctx context.Context) func() func() {
	return func() func() {
		own, unseen := l.means.Own(ctx)
		return func() {
			l.f.Own = own
			if unseen != "" {
				l.miss(audit.PartOwn, unseen)
			}
		}
	}
}

func (l *look) jobs() func() {
	jobs, problems := schedule.Look(l.f.Now)
	return func() {
		l.f.Jobs = jobs
		for _, p := range problems {
			l.miss(audit.PartJobs, p)
		}
	}
}

func (l *look) services() func() {
	found := service.Found()
	for _, kind := range service.Kinds() {
		for _, main := range l.means.Mains[kind] {
			known := false
			for _, s := range found {
				known = known || s.Conf == main
			}
			if !known {
				found = append(found, service.Read(kind, main))
			}
		}
	}
	return func() { l.f.Services = found }
}

func (l *look) processes() func() {
	table, err := process.Look(l.means.Proc)
	return func() {
		l.f.Processes = table
		switch {
		case err != nil:
			l.miss(audit.PartProcesses, err.Error())
		case table.Hidden > 0:
			l.miss(audit.PartProcesses, "only root sees what others' processes hold: run it as root")
		}
	}
}

// units asks systemd about the timers.
func (l *look) units(ctx context.Context) {
	var names []string
	for _, j := range l.f.Jobs {
		if j.Kind == schedule.Timer || j.Kind == schedule.Snap {
			names = append(names, j.Name)
		}
	}
	if len(names) == 0 {
		return
	}
	units, err := unit.Ask(ctx, names)
	switch {
	case errors.Is(err, unit.ErrNone):
		l.miss(audit.PartUnits, "there is no systemd to ask")
	case err != nil:
		l.miss(audit.PartUnits, err.Error())
	}
	l.f.Units = units
}

// timeServices keep clocks right.
var timeServices = []string{"systemd-timesyncd.service", "chrony.service", "chronyd.service", "ntpsec.service", "ntp.service", "ntpd.service", "openntpd.service"}

// clock asks the kernel whether anybody keeps its clock right, see adjtimex(2).
func (l *look) clock() {
	const timeError = 5
	state, err := unix.Adjtimex(&unix.Timex{})
	if err != nil {
		l.miss(audit.PartClock, "asking the kernel: "+err.Error())
		return
	}
	l.f.Clock = audit.Clock{Known: true, Synced: state != timeError, Services: starting(timeServices)}
}

// starting returns those units that start by themselves.
func starting(names []string) []string {
	var all []string
	for _, name := range names {
		if len((unit.Tree{}).Starters(name)) > 0 {
			all = append(all, name)
		}
	}
	return all
}

// exporters watch certificates for Prometheus.
var exporters = []string{
	"prometheus-blackbox-exporter.service", "blackbox_exporter.service", "blackbox-exporter.service", "ssl_exporter.service", "ssl-exporter.service",
	"x509-certificate-exporter.service", "node-cert-exporter.service", "cert-exporter.service",
}

// watchers finds what watches certificates here.
func (l *look) watchers() {
	l.f.Own.Exporters = starting(exporters)
	if own := starting([]string{"certmedic.service"}); len(own) > 0 {
		l.f.Own.Unit = own[0]
	}
}
