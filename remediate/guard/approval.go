package guard

import "time"

// Approval is what people said of the very plan that would be carried out.
type Approval struct {
	By       string    // who approved it; empty: nobody did
	Rejected string    // who rejected it; empty: nobody did
	Again    time.Time // when people may be asked about a rejected plan again
}

// unapproved refuses what nobody approved. People are asked only about what they could allow: not
// before a deployment has settled, nor when no further attempt would be made.
func unapproved(c Case) Decision {
	if d := patience(c); d.Reason == Settling || d.Reason == Exhausted {
		return d
	}
	if c.Approval.Rejected == "" {
		return refuse(NeedsApproval, "mode is approve")
	}
	d := refuse(Rejected, "%s rejected this plan; nobody is asked about it again before %s", c.Approval.Rejected, c.Approval.Again.UTC().Format(time.RFC3339))
	d.Retry = c.Approval.Again
	return d
}
