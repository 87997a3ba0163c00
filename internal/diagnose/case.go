package diagnose

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/access"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/reach"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/script"
	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/host/unit"
)

// Case is everything that was seen of one certificate at one moment. What is empty was not
// there; what could not be looked at is in Unseen, and no suspect takes that for absent.
type Case struct {
	Now         time.Time
	Subject     string // as the person named it
	Certificate certmedic.Certificate
	Unseen      []Unseen

	// What is kept.
	Stored   certmedic.Stored
	Versions []Version         // of the archive, the lowest number first
	Conf     *disk.RenewalConf // nil: there is none
	Ini      disk.CLIIni
	Due      time.Time // from when on its replacement is overdue; zero where that is not known
	Others   []Other   // further lineages of the same tree that share a name with it
	Disks    []Disk    // that hold the tree, its logs and its copies
	Holder   *Holder   // who holds the lock; nil where it is free or the kernel does not tell

	// What renews and deploys.
	Hooks   []Hook
	Log     acmelog.Log
	Logged  string        // the name that it has in the log; empty: the lineage's
	Runs    []acmelog.Run // those that say something about this lineage, newest last
	Jobs    []schedule.Job
	Locks   []LockFile         // for whose sake a job ends at once
	Actions []certmedic.Action // of certmedic itself, newest first
	Reach   reach.Answers      // what a CA would meet; empty where nobody asked

	// What serves.
	Observations []certmedic.Observation
	Spots        []Spot
	Used         []Used
	Services     []service.Service
	Refusals     []Refusal
	Answering    []Answering
	Units        []unit.Unit
	Denials      []Denial
}

// Part names what a Case consists of.
type Part string

// The parts that can be out of sight.
const (
	PartLog       Part = "the client's log"
	PartJobs      Part = "what starts renewals"
	PartProcesses Part = "the processes"
	PartServices  Part = "the services' configurations"
	PartUnits     Part = "systemd"
	PartJournal   Part = "certmedic's own journal"
	PartReach     Part = "what a CA would meet"
	PartEndpoints Part = "the endpoints"
	PartLock      Part = "the client's lock"
)

// Unseen is a part that could not be seen, or not all of it, and why.
type Unseen struct {
	Part Part   `json:"part"`
	Why  string `json:"why"`
}

// Version is a version in an archive.
type Version struct {
	Number int
	Path   string // of the file that its leaf was read from
	Leaf   certmedic.CertFacts
	Whole  bool // all four files are there
}

// Other is another lineage that is for some of the same names.
type Other struct {
	Name   string
	Path   string // the folder of its links
	Stored certmedic.Stored
}

// Disk is a file system.
type Disk struct {
	Path   string // a folder on it
	Free   uint64 // bytes that its user may still write
	Inodes bool   // there are inodes left, or it does not count them
}

// Holder is the process that holds the client's lock, and what it waits for.
type Holder struct {
	Process  process.Process
	Children []process.Process // the deepest last
}

// LockFile is a file by which jobs keep out of each other's way.
type LockFile struct {
	Path  string
	Since time.Time
}

// Hook is a hook of the lineage.
type Hook struct {
	Kind    string // pre, deploy or post
	Command string
	Source  string // where it is set, such as "/etc/letsencrypt/renewal/shop.conf:12"
	Skipped string // why certbot passes it over without a word; empty: it does not
	Unread  bool   // nobody looked into it
	Script  script.Script
}

// Spot is an address that an endpoint has, as this host sees it.
type Spot struct {
	Address   string // ip:port
	Local     bool   // it is one of this host's
	Processes []Process
}

// Process is a process that answers at a spot, or a worker of it.
type Process struct {
	process.Process
	Files []process.File                 // that it has open or mapped
	Seen  map[string]process.File        // by path, how it sees the files of [Case.Used]
	Means map[string]certmedic.CertFacts // by path, the leaf that it would read there
}

// Lead says what a file that somebody serves from has to do with the source.
type Lead string

// The leads.
const (
	LeadOwn     Lead = "own"     // it is the source's own, or a link to it
	LeadPinned  Lead = "pinned"  // it is a numbered file of the archive: a renewal never changes it
	LeadOther   Lead = "other"   // it is another lineage's
	LeadCopy    Lead = "copy"    // it is apart from the source, and meant to hold its version
	LeadForeign Lead = "foreign" // it holds somebody else's certificate
	LeadMissing Lead = "missing" // it is not there
)

// Used is a file with a leaf from which somebody serves, or into which a version is copied.
type Used struct {
	Path     string
	By       string // a service such as nginx, or "destination web"
	Address  string // that it is served at; empty: not known
	File     string // where the path is written
	Line     int
	Text     string // that line; empty: not known
	Lead     Lead
	Lineage  string // of LeadOther
	Leaf     certmedic.CertFacts
	Count    int  // certificates in it
	Keystore bool // PKCS#12 or a Java key store
	ModTime  time.Time
	Problem  string // why it could not be read
}

// Answering is the server of a configuration that answers to a name at an address.
type Answering struct {
	Address string
	Name    string
	Kind    service.Kind
	Server  conf.Server
}

// Refusal is a line of a service's own log: it refused its configuration, after the version was
// stored.
type Refusal struct {
	Kind service.Kind
	service.Problem
}

// Denial is what keeps a service from reading a file of the certificate.
type Denial struct {
	Service string
	Who     access.Identity
	Path    string // of the file that it has to read
	access.Denial
}

// unseen reports whether a part, or some of it, was out of sight.
func (c *Case) unseen(part Part) bool {
	for _, u := range c.Unseen {
		if u.Part == part {
			return true
		}
	}
	return false
}
