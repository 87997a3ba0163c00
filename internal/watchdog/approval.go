package watchdog

import (
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// approvalFacts says which plan waits for a person's approval.
func (e *entry) approvalFacts(c *rules.CertificateFacts, now time.Time) {
	if e.waits == nil {
		return
	}
	a, ok := e.waits(now, c.Name)
	if !ok {
		return
	}
	c.Approval = a.ID
	line := fmt.Sprintf("%s, plan %s, until %s", a.Kind, a.ID, a.Expires.UTC().Format(time.RFC3339))
	if a.Replaces != "" {
		line += fmt.Sprintf(" (in place of %s, which is void because the plan changed)", a.Replaces)
	}
	c.Support["certificate.approval"] = rules.Support{Members: c.Members, Evidence: []certmedic.Evidence{{Source: "certmedic", Line: line}}}
}
