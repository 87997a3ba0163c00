package guard

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Blast is how far actions reach that are not proven yet, and how far they may.
type Blast struct {
	Unproven int  // certificates beside this one whose newest action did not heal, or not yet
	Running  int  // of these, those whose action is still at work
	Proven   bool // some action healed
	Waiting  int  // certificates that rules want something for now
	Most     int  // certificates whose actions may be unproven at a time; 0: any number
}

// blastFor is how long an action counts, and fewestUnproven how many certificates may be unproven
// at a time however few there are: so that a small house is healed, too.
const (
	blastFor       = time.Hour
	fewestUnproven = 3
)

// MostUnproven returns the number of certificates whose actions may be unproven at a time: a share
// (0.2 is a fifth) of those that certmedic may act for, but at least three.
func MostUnproven(share float64, certificates int) int {
	return max(fewestUnproven, int(share*float64(certificates)))
}

// Reach derives from the journal, newest first, how far the actions of the last hour reach beside
// those for one certificate. One that is at work counts however long ago it began.
func Reach(history []certmedic.Action, certificate string, now time.Time) Blast {
	var b Blast
	newest := map[string]bool{}
	for _, a := range history {
		running := a.Outcome.Kind == certmedic.OutcomeRunning
		if a.Kind.Rehearses() || !running && (!Acted(a) || now.Sub(a.StartedAt) > blastFor) {
			continue
		}
		healed := proven(a)
		b.Proven = b.Proven || healed
		if newest[a.Certificate] || a.Certificate == certificate {
			continue
		}
		newest[a.Certificate] = true
		if running {
			b.Running++
		}
		if !healed {
			b.Unproven++
		}
	}
	return b
}

// blast keeps actions from reaching far before they are proven. Where more certificates want one
// than may be unproven, a single one goes first.
func blast(c Case) Decision {
	b := c.Blast
	switch {
	case b.Most <= 0:
	case b.Unproven >= b.Most:
		return refuse(BlastRadius, "of the certificates that were acted for in the last hour %d are not healed, and no more than %d may be at a time (max_share)", b.Unproven, b.Most)
	case b.Waiting > b.Most && b.Running > 0 && !b.Proven:
		return refuse(BlastRadius, "%d certificates are to be acted for, more than the %d that may be at a time (max_share), and nothing healed yet: one goes first, and it is at work", b.Waiting, b.Most)
	}
	return Decision{}
}
