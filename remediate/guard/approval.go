package guard

import "time"

// Approval is what people said of the very plan that would be carried out.
type Approval struct {
	By       string    // who approved it; empty: nobody did
	Rejected string    // who rejected it; empty: nobody did
	Again    time.Time // when people may be asked about a rejected plan again
}

// lookAgain is how often it is looked whether what a person is asked about has changed or expired.
const lookAgain = time.Minute

// unapproved refuses what nobody approved. People are asked only about what they could allow: not
// before a deployment has settled, nor when no further attempt would be made.
func unapproved(c Case) Decision {
	if d := patience(c); d.Reason == Settling || d.Reason == Exhausted {
		return d
	}
	if c.Approval.Rejected == "" {
		d := refuse(NeedsApproval, "mode is approve")
		d.Retry = c.Now.Add(lookAgain) // a plan that expired meanwhile is shown anew
		return d
	}
	d := refuse(Rejected, "%s rejected this plan; nobody is asked about it again before %s", c.Approval.Rejected, c.Approval.Again.UTC().Format(time.RFC3339))
	d.Retry = c.Approval.Again
	return d
}
