package page

import (
	"strings"
	"time"

	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// plan is a plan that waits for a person, or did.
type plan struct {
	approval.Approval
	Created, Expires, At moment
	Steps                []planStep // of those who may see them
	Hidden               bool       // who reads may not
	Asks                 bool       // who reads may say something of it
}

// planStep is one thing that a plan would do.
type planStep struct{ What, How string }

func newPlan(a approval.Approval, trusted bool, now time.Time) plan {
	p := plan{Approval: a, Created: at(a.Created, now), Expires: at(a.Expires, now), At: at(a.At, now), Hidden: !trusted, Asks: trusted && a.State == approval.Pending}
	if !trusted {
		p.Approval.Plan = deploy.Plan{}
		return p
	}
	for _, f := range a.Plan.Files {
		p.Steps = append(p.Steps, planStep{"install " + string(f.From), strings.TrimSpace(f.To + " " + f.Mode + " " + f.Owner)})
	}
	for _, c := range a.Plan.Commands {
		how := c.About
		if how == "" {
			how = strings.Join(c.Argv, " ")
		}
		p.Steps = append(p.Steps, planStep{c.Name, how})
	}
	if a.Plan.Verify != "" {
		p.Steps = append(p.Steps, planStep{"verify", a.Plan.Verify})
	}
	return p
}
