package remediate

import (
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/guard"
)

// admissionFor is how far back the journal is read for what was done of late. What is at work began
// later than this, because every command has its timeout.
const admissionFor = 3 * time.Hour

// reach tells how far actions reach that are not proven yet.
func (r *Remediator) reach(history []certmedic.Action, certificate string, now time.Time) guard.Blast {
	b := guard.Reach(history, certificate, now)
	b.Most = r.o.MaxUnproven
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, wants := range r.wants {
		if len(wants) > 0 {
			b.Waiting++
		}
	}
	return b
}

// admit journals the intent of an action that the guard allowed. It asks the guard once more about
// what others began meanwhile, and lets nobody else in between: the ceilings hold for all together.
// An approval is used up first, so that nothing is done by it twice.
func (r *Remediator) admit(c *considered, a certmedic.Action) error {
	if !c.decision.Allowed() {
		return nil
	}
	r.admission.Lock()
	defer r.admission.Unlock()
	now := time.Now()
	history, err := r.o.Journal.Actions("", now.Add(-admissionFor))
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	c.asked.ActionsLastHour = actionsSince(history, now.Add(-time.Hour))
	c.asked.Blast = r.reach(history, a.Certificate, now)
	if c.decision = guard.Decide(c.asked); !c.decision.Allowed() {
		return nil
	}
	if a.Approval != "" {
		if err := r.o.Approvals.Use(now, a.Approval); err != nil {
			return err
		}
	}
	return r.record(a)
}
