package audit

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/access"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/script"
	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/host/unit"
)

// Facts are everything that was seen of a host at one moment. What is empty was not there; what
// could not be looked at is in Unseen.
type Facts struct {
	Now    time.Time
	Root   string // the mounted tree that was looked at; empty: this host
	Unseen []Unseen

	Trees     []Tree
	Lineages  []Lineage
	Hooks     []Hook
	Clients   Clients
	Jobs      []schedule.Job
	Units     []unit.Unit // of timers and services, as systemd itself says
	Processes process.Table
	Services  []service.Service
	Used      []Used
	Denials   []Denial
	Elsewhere []Mention // lines of timers and cron that reload something, besides hooks
	Logs      []Log
	Own       Own
	Disks     []Disk
	Clock     Clock
}

// Part names what the facts consist of.
type Part string

// The parts that can be out of sight.
const (
	PartLineages  Part = "the lineages"
	PartJobs      Part = "what starts renewals"
	PartServices  Part = "the services' configurations"
	PartProcesses Part = "the processes"
	PartUnits     Part = "systemd"
	PartLogs      Part = "the client's logs"
	PartOwners    Part = "who owns files"
	PartOwn       Part = "certmedic's own state"
	PartClock     Part = "the clock"
	PartDisks     Part = "the disks"
)

// Unseen is a part that could not be seen, or not all of it, and why.
type Unseen struct {
	Part Part   `json:"part"`
	Why  string `json:"why"`
}

// Sees reports whether all of a part was seen.
func (f *Facts) Sees(part Part) bool {
	return !slices.ContainsFunc(f.Unseen, func(u Unseen) bool { return u.Part == part })
}

// Tree is a tree of certbot.
type Tree struct {
	Dir       string
	Ini       disk.CLIIni
	Backups   Setting // max-log-backups of cli.ini; no line where it is not set
	Orphans   []string
	Misplaced []string // files in renewal-hooks/ itself, or in folders below deploy/ and its like
	Hooked    bool     // there are files in the folders of hooks
	Folders   []access.Facts
	Writable  []Writable // that certbot reads or runs
}

// Setting is a value and where it is set.
type Setting struct {
	Value  string
	Place  Place
	Absent bool // it names a file that is not there
}

// Writable is a file that others can change, or put another one into its place.
type Writable struct {
	Path    string // of the file that is believed
	Problem string // such as `"/etc/x" may be written by others (mode 0666, owner root:root)`
	Fix     string
}

// Lineage is a certificate that an ACME client keeps. What only certbot has is empty for others.
type Lineage struct {
	Client string // certbot, acme.sh, lego, ...
	Tree   string
	Name   string
	Folder string // of the files that services read, such as live/NAME
	Conf   *disk.RenewalConf
	Broken []string // why certbot skips it
	Odd    []string // what else is wrong with its links and files
	Stored certmedic.Stored
	Leaf   Leaf
	Due    time.Time // from when on its replacement is overdue; zero where that is not known
	Key    access.Facts

	Account     Account
	Webroots    []Webroot
	Credentials []Credential
	Attempt     acmelog.Attempt // the last one that the log tells of; zero where it tells of none
}

// ID tells lineages apart. The zero value is of none.
type ID struct{ Tree, Name string }

// ID returns what tells the lineage from others.
func (l *Lineage) ID() ID { return ID{l.Tree, l.Name} }

// Cert returns the facts of the stored leaf; empty ones where there is none.
func (l *Lineage) Cert() certmedic.CertFacts {
	leaf, _ := l.Stored.Leaf()
	return leaf
}

// Param returns a setting of certbot for the lineage; empty where it is not set.
func (l *Lineage) Param(key string) string {
	if l.Conf == nil {
		return ""
	}
	if text := l.Conf.Params[key].String(); text != "None" {
		return text
	}
	return ""
}

// at returns the place of a key of [renewalparams], or of the configuration as a whole.
func (l *Lineage) at(key string) Place {
	if l.Conf == nil {
		return Place{File: l.Folder}
	}
	return Place{l.Conf.Path, l.Conf.Line("renewalparams." + key)}
}

// Leaf is what an audit wants to know of a certificate beyond its facts.
type Leaf struct {
	Signature  string   // such as SHA256-RSA
	Weak       bool     // the signature uses MD5 or SHA-1
	OCSP       []string // URLs of responders
	MustStaple bool     // RFC 7633
}

// Account is the account at the CA that a lineage is renewed with.
type Account struct {
	ID      string
	Path    string
	Missing bool
}

// Webroot is a folder into which certbot writes what the CA fetches.
type Webroot struct {
	Path    string
	Place   Place
	Problem string // why nothing can be written there; empty: it can
}

// Credential is a file with what a DNS plugin needs to log in.
type Credential struct {
	Path    string
	Place   Place
	Missing bool
	Facts   access.Facts
}

// Hook is a hook, and the lineages for which it is run.
type Hook struct {
	Kind     string // pre, deploy or post
	Command  string
	Place    Place  // where it is set, or the file itself
	Skipped  string // why certbot passes it over without a word; empty: it does not
	FromDir  bool
	Script   script.Script
	Lineages []ID
	Writable []Writable
}

// Clients are what is installed to renew certificates.
type Clients struct {
	Known    bool     // a certbot was found, and where its plugins are
	Certbot  []string // where
	Plugins  []string // that certbot knows besides its own, such as nginx and dns-cloudflare
	Packages []string // the folders that were looked into
}

// Lead says what a file that a service reads has to do with a lineage.
type Lead string

// The leads.
const (
	LeadOwn     Lead = "own"     // it is the lineage's, or a link to it
	LeadPinned  Lead = "pinned"  // it is a numbered file of the archive
	LeadCopy    Lead = "copy"    // it is apart, and holds a version of it
	LeadForeign Lead = "foreign" // it holds something else
	LeadMissing Lead = "missing" // it is not there
)

// Used is a certificate's file that a service reads.
type Used struct {
	Service int // index into [Facts.Services]
	Path    string
	Key     string // file of its key; may be the same
	Place   Place
	Names   []string // of the server that reads it
	Lead    Lead
	Lineage ID   // zero where it has nothing to do with any
	Stale   bool // a copy of an earlier version
	OCSP    bool // its leaf names a responder
	Known   bool // it could be read
}

// Denial is what keeps a service from reading a key.
type Denial struct {
	Service int
	User    string
	Path    string
	Place   Place
	access.Denial
}

// Mention is a line that says reload, restart or their like.
type Mention struct {
	Text  string
	Place Place
}

// Log is what is known of the logs of a tree.
type Log struct {
	Tree    string
	Folder  string
	Missing bool
	Found   acmelog.Log
	Rotated *Rotation // by logrotate; nil: it is not
}

// Rotation is what logrotate does with logs.
type Rotation struct {
	Place Place
	Keeps time.Duration // how far back the logs go; 0: not known
}

// Own is what certmedic itself knows and does on this host.
type Own struct {
	File         string // its configuration; empty: there is none
	Problem      string // why that is not taken
	Certificates []certmedic.Certificate
	Discovers    []string // trees of certbot whose lineages it looks for itself
	Receivers    []Receiver
	Escalates    Place // where messages of severity critical go to others, or later to more people
	Unit         string
	Running      bool
	Exporters    []string // other units that watch certificates
	Actions      []certmedic.Action
	Snapshots    int
	Broken       int // snapshots that cannot be used
	Exercises    []Exercise
	Declared     map[string]Setting // by key of `audit:`
}

// Receiver is a way to tell people.
type Receiver struct {
	Name  string
	Kind  string
	Place Place
}

// Exercise is a test of a receiver, or a drill.
type Exercise struct {
	Kind     string // test or drill
	Receiver string
	Time     time.Time
}

// Disk is a file system.
type Disk struct {
	Path        string // a folder on it
	Free, Total uint64 // bytes
	Inodes      bool   // there are inodes left, or it does not count them
}

// Clock is what is known of the host's clock.
type Clock struct {
	Known     bool     // the kernel was asked
	Synced    bool     // somebody keeps it right
	Services  []string // units that would, as far as they start by themselves
	Installed []string
}

// lineage returns a lineage by its ID.
func (f *Facts) lineage(id ID) (*Lineage, bool) {
	i := slices.IndexFunc(f.Lineages, func(l Lineage) bool { return l.ID() == id })
	if i < 0 {
		return nil, false
	}
	return &f.Lineages[i], true
}

// hooksOf returns the hooks of some kinds that are run for a lineage.
func (f *Facts) hooksOf(l *Lineage, kinds ...string) []*Hook {
	var all []*Hook
	for i := range f.Hooks {
		h := &f.Hooks[i]
		if h.Skipped == "" && slices.Contains(kinds, h.Kind) && slices.Contains(h.Lineages, l.ID()) {
			all = append(all, h)
		}
	}
	return all
}

// runs reports whether a job starts by itself here.
func runs(j schedule.Job) bool {
	return j.Enabled && !j.Masked && j.Guarded == "" && !unable(j) && !j.DryRun
}

// unable reports whether a job is sure not to run: what is wrong with it can also be that its
// times are not understood here.
func unable(j schedule.Job) bool {
	return j.Problem != "" && !strings.Contains(j.Problem, "not understood")
}

// jobsOf returns what renews the certificates of a client.
func (f *Facts) jobsOf(client string) []schedule.Job {
	return slices.DeleteFunc(slices.Clone(f.Jobs), func(j schedule.Job) bool { return j.Client != client || !runs(j) })
}

// own returns the certificate of certmedic's configuration that is kept in a lineage.
func (f *Facts) own(l *Lineage) (certmedic.Certificate, bool) {
	i := slices.IndexFunc(f.Own.Certificates, func(c certmedic.Certificate) bool {
		s := c.Source
		return s.Kind == certmedic.SourceCertbot && s.Lineage == l.Name && filepath.Clean(s.ConfigDir) == l.Tree
	})
	if i < 0 {
		return certmedic.Certificate{}, false
	}
	return f.Own.Certificates[i], true
}

// every returns the longest time between two runs of the jobs of a client; 0 where it is not
// known.
func (f *Facts) every(client string) (schedule.Job, time.Duration) {
	var best schedule.Job
	for _, j := range f.jobsOf(client) {
		if j.Every > 0 && (best.Every == 0 || j.Every < best.Every) {
			best = j
		}
	}
	return best, best.Every
}
