package guard

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Led says whether this member of a cluster is the one to act. People are sent to the one that is; with --force
// they have that proven right before anything is done, and act alone where nobody can be asked.
func Led(c Case) Decision {
	l := c.Lead
	switch {
	case l == nil, l.Mine && l.Lost.IsZero(), c.ByHand && c.Force:
		return Decision{}
	case l.Waits != "" && c.ByHand:
		return Decision{}
	case l.Waits != "":
		d := refuse(NotLeader, "this member %s", l.Waits)
		d.Retry = c.Now.Add(waitsFor)
		return d
	case !l.Lost.IsZero():
		return alone(c, *l)
	case l.Member == "":
		return refuse(NotLeader, "no member of the cluster has the lease of %q yet", c.Certificate.Name)
	}
	return refuse(NotLeader, "the member %q of the cluster acts for %q", l.Member, c.Certificate.Name)
}

// waitsFor is how long it takes until it is looked again whether a member that has taken over may begin.
const waitsFor = time.Second

// alone says what is done while the coordinator cannot be asked. What is stored may be brought to where it is served by the
// member that acted last: tokens keep it from undoing what another one did. An order cannot be fenced.
func alone(c Case, l certmedic.Lead) Decision {
	since := l.Lost.UTC().Format(time.RFC3339)
	switch {
	case c.Kind != certmedic.ActionRenew && (l.Mine || c.Saved): // what nobody gets need not have been ordered
		return Decision{}
	case c.Kind != certmedic.ActionRenew:
		return refuse(CoordinatorLost, "the coordinator cannot be asked since %s, and this member was not the last one to act; by hand, --force acts all the same", since)
	case c.Emergency.IsZero():
		return refuse(CoordinatorLost, "the coordinator cannot be asked since %s, so that nothing is ordered; by hand, --force does all the same", since)
	case c.Now.Before(c.Emergency):
		return refuse(CoordinatorLost, "the coordinator cannot be asked since %s, so that nothing is ordered before %s; by hand, --force does all the same", since, c.Emergency.UTC().Format(time.RFC3339))
	}
	return Decision{}
}
