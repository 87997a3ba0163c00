// Package schedule finds what starts an ACME client on a host: systemd timers with their units
// and drop-ins, cron tables and folders, snap's timers, and services that renew by themselves.
// It says when each is due, when it last ran, and with which environment.
//
// internal/diagnose asks it why nothing renews, internal/audit what will. It reads files, and
// systemd's stamps in /var/lib/systemd/timers; package unit knows what systemd itself says.
// It executes nothing. What it does not understand it says so, and leaves unknown.
package schedule

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/certmedic/certmedic/probe/host/unit"
)

// Kind says what starts a job.
type Kind string

// The kinds.
const (
	Timer Kind = "timer" // a systemd timer
	Cron  Kind = "cron"
	Snap  Kind = "snap"
	Loop  Kind = "loop" // a service that never ends and renews by itself, such as Caddy
)

// Job is one thing that renews certificates.
type Job struct {
	Kind     Kind
	Client   string // certbot, acme.sh, lego, dehydrated, getssl, step, certmedic...
	Name     string // the unit, or the table
	Command  string // as written, the first that runs the client
	Schedule string // as written
	File     string
	Line     int

	User     string
	Path     string // PATH of what it runs
	Enabled  bool   // it starts by itself: for a timer, a link in a .wants folder or a preset of its package
	Masked   bool
	Guarded  string   // a condition that keeps it from running here, such as `test ... -a \! -d /run/systemd/system`; empty: none
	Quiet    bool     // -q: only errors are told
	Force    bool     // --force-renewal: every run orders
	DryRun   bool     // it only rehearses
	Hooks    []string // that are given on its command line
	Sends    string   // MAILTO, OnFailure=, or where its output goes, such as >/dev/null; empty: nowhere known
	Script   string   // the script that runs the client; empty: the command itself does
	Lock     string   // a file that is there, for whose sake the script ends before it runs the client; empty: there is none
	LockLine int      // of the script

	Last    time.Time     // when it last ran, as stamps tell; zero: not known
	Every   time.Duration // the longest time between two runs, delays included; 0: not known
	Problem string        // why it cannot run, such as a program that is missing, or why Every is not known
}

// Look finds the jobs of this host. What could not be read is told beside them.
func Look(now time.Time) (jobs []Job, problems []string) { return lookBelow("", now) }

func lookBelow(root string, now time.Time) ([]Job, []string) {
	l := &looker{root: root, now: now, tree: unit.Tree{Root: root}}
	l.systemd = l.runsSystemd()
	l.timers()
	l.loops()
	l.cron()
	slices.SortStableFunc(l.jobs, func(a, b Job) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return l.jobs, l.problems
}

// looker gathers jobs.
type looker struct {
	root     string // of the tree that is looked at; empty: /
	now      time.Time
	tree     unit.Tree
	systemd  bool // is process 1
	jobs     []Job
	problems []string
}

// runsSystemd reports whether systemd is process 1, as cron lines ask it; in a tree that does
// not run, whether it would be.
func (l *looker) runsSystemd() bool {
	if l.exists("/run/systemd/system") {
		return true
	}
	to, err := os.Readlink(l.root + "/sbin/init")
	return err == nil && filepath.Base(to) == "systemd" && !l.exists("/proc/1")
}
