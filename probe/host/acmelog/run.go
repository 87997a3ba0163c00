package acmelog

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/redact"
)

// Client names who wrote a log.
type Client string

// The clients whose logs are known.
const (
	Certbot Client = "certbot"
	Lego    Client = "lego"
	ACMESh  Client = "acme.sh"
)

// Line is a line of a log, and where it stands. Its text is bounded and redacted.
type Line struct {
	File   string
	Number int // from 1
	Text   string
}

// Evidence returns the line as people are shown it: "FILE:NUMBER", and its text.
func (l Line) Evidence() certmedic.Evidence {
	return certmedic.Evidence{Source: fmt.Sprintf("%s:%d", l.File, l.Number), Line: l.Text}
}

// Run is one run of a client.
type Run struct {
	Client    Client
	Version   string    // as the log tells; empty where it does not
	Started   time.Time // of its first line; in the host's zone, as logs have none
	Ended     time.Time // of its last line
	Arguments []string  // as the log tells
	DryRun    bool
	Quiet     bool // it was told to say nothing but errors, so nobody saw its warnings
	Forced    bool // --force-renewal
	Finished  bool // its end is in the log; else it was ended, or goes on
	Hooks     []Hook
	Renewals  []Renewal // what became of each lineage that the log names
	Notes     []Note    // what was wrong with the run as a whole
	First     Line      // its first line
	Last      Line      // its last line
}

// Hook is one command of a run that certbot started around a renewal.
type Hook struct {
	Kind     string // pre, deploy or post; manual-auth or manual-cleanup; reload, of acme.sh
	Command  string // redacted
	Lineage  string // where the log tells whose it was
	Skipped  bool   // a dry run left it out
	Ended    bool   // the client went on after it; certbot writes nothing after a post-hook, which counts as ended
	Failed   bool
	ExitCode int    // of one that failed; negative: the signal that ended it
	Stderr   string // bounded and redacted
	At       Line   // where it was started
	Result   Line   // where its failure stands; zero where it has none
}

// Result is how a run ended for one lineage.
type Result string

// The results.
const (
	Renewed Result = "renewed"
	Failed  Result = "failed"
	NotDue  Result = "not_due"
	Broken  Result = "broken" // its configuration was not taken
	Begun   Result = "begun"  // the log ends before it tells how that went
)

// Renewal is what a run did for one lineage.
type Renewal struct {
	Lineage string
	Tree    string // certbot's configuration folder, where the log tells
	Result  Result
	Stored  bool            // a new version was stored, also where what came after that failed
	Cause   certmedic.Cause // why it failed; empty where it did not, unknown where the text is not known
	Detail  string          // what the client or the CA said, bounded, without its traceback
	Until   time.Time       // a CA's "retry after"; zero where there is none
	At      Line            // the telling line
}

// Note is something else that went wrong in a run: another one held the lock, the links of a
// lineage were mended without hooks, the CA could not be asked about renewals.
type Note struct {
	Cause  certmedic.Cause // unknown where it is none by itself
	Detail string
	At     Line
}

// Log is what was found, newest run last. It is read by many and changed by nobody.
type Log struct {
	Folder  string
	Runs    []Run
	Oldest  time.Time // when the oldest run that was read began; zero where there is none
	None    bool      // there is no log, as where the client never ran
	Problem string    // why it could not be read, or not all of it; empty where it was
}

// Of returns the runs that say something about a lineage, newest last: its renewals, or
// hooks that were run for it. lineageFolder is that of its links, as hooks get it. Where several
// trees of certbot write one log, runs for a lineage of the same name in another tree are left
// out, as long as the log names this one at all: in a container trees have other names.
func (l Log) Of(lineage, lineageFolder string) []Run {
	mine := l.inTree(filepath.Dir(filepath.Dir(lineageFolder)))
	var runs []Run
	for _, run := range l.Runs {
		renewed := slices.ContainsFunc(run.Renewals, func(r Renewal) bool { return r.Lineage == lineage && mine(r) })
		foreign := slices.ContainsFunc(run.Renewals, func(r Renewal) bool { return r.Lineage == lineage && !mine(r) })
		hooked := slices.ContainsFunc(run.Hooks, func(h Hook) bool { return h.Lineage == lineage })
		if renewed || hooked && !foreign {
			runs = append(runs, run)
		}
	}
	return runs
}

// inTree returns whether a renewal is of a tree, as far as the log tells trees apart.
func (l Log) inTree(tree string) func(Renewal) bool {
	for _, run := range l.Runs {
		if slices.ContainsFunc(run.Renewals, func(r Renewal) bool { return r.Tree == tree }) {
			return func(r Renewal) bool { return r.Tree == tree || r.Tree == "" }
		}
	}
	return func(Renewal) bool { return true }
}

// The bounds of texts that are kept, in bytes.
const (
	maxText   = 500
	maxOutput = 4096
)

// told returns a text as it may be kept and shown: bounded, without secrets, valid UTF-8.
func told(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	return redact.Plain(redact.Text(text))
}
