package page

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// Act is an action before it is asked for: everything that it would do, and the one button.
type Act struct {
	Certificate string
	Action      certmedic.ActionKind
	To          certmedic.Fingerprint // the version that was named; empty: none
	Plan        deploy.Plan
	Reason      string // why it would be refused; empty: it would not be
	Detail      string
	Changed     bool // it would do something else than when it was last shown
}

func (a Act) shown(now time.Time) shown {
	p := newPlan(approval.Approval{Certificate: a.Certificate, Kind: a.Action, Plan: a.Plan, Hash: a.Plan.Hash}, true, now)
	return shown{Template: "act", Title: string(a.Action) + " " + a.Certificate, Section: "/", Data: struct {
		Act
		Version certmedic.Fingerprint
		Href    string
		Shown   plan
		Ready   bool // it would be carried out
	}{a, a.Plan.Version, certificateHref(a.Certificate), p, a.Reason == "" && a.Plan.Hash != ""}}
}

// Refused says why what was asked for was not done.
type Refused struct{ Why string }

func (r Refused) shown(time.Time) shown {
	return shown{Template: "refused", Title: "That was not done", Data: r}
}
