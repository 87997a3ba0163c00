package remediate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/guard"
)

// seal completes a plan by what is verified afterwards, and hashes it. It finds what people said of
// exactly this plan.
func (r *Remediator) seal(q Request, c *considered) error {
	p := &c.plan
	p.Kind, p.Hosts, p.Verify = q.Kind, reaches(c.sight.Certificate, *p), cmp.Or(p.Verify, verification(q.Kind, p.Version))
	if err := p.Seal(); err != nil {
		return err
	}
	if c.sight.Certificate.Mode == certmedic.ModeApprove && !q.ByHand && r.o.Approvals != nil {
		c.approval, _ = r.o.Approvals.Said(time.Now(), q.Certificate, q.Kind, p.Hash)
	}
	return nil
}

// verification says what has to be seen for an action to have healed.
func verification(kind certmedic.ActionKind, version certmedic.Fingerprint) string {
	const everywhere = "every bound address serves %s, in two rounds one second apart"
	if kind == certmedic.ActionRenew {
		return "another, newer version is stored, and " + fmt.Sprintf(everywhere, "it")
	}
	return fmt.Sprintf(everywhere, "version "+version.Short()) + ", and answers over HTTP no worse than before"
}

// said tells the guard what people said.
func said(a approval.Approval) guard.Approval {
	switch a.State {
	case approval.Approved:
		return guard.Approval{By: a.By}
	case approval.Rejected:
		return guard.Approval{Rejected: a.By, Again: a.Again()}
	}
	return guard.Approval{}
}

// present has people shown what is refused for their sake, asks them where the mode is approve, and
// says so in the refusal. What is pointless by now they are not asked about any longer.
func (r *Remediator) present(q Request, c considered, a *certmedic.Action, this *refusal) error {
	state := approval.Pending
	switch reason := c.decision.Reason; {
	case reason == guard.NeedsApproval:
	case reason == guard.ModePlan:
		state, a.Outcome.Kind = approval.Shown, certmedic.OutcomePlanned
	case reason.Passes() && reason != guard.Rejected:
		r.withdraw(q.Certificate, func(kind certmedic.ActionKind) bool { return kind == q.Kind })
		return nil
	default:
		return nil
	}
	for _, cmd := range slices.Concat(c.plan.Commands, c.plan.Pushes) {
		a.Runs = append(a.Runs, certmedic.Run{Name: cmd.Name, Argv: cmd.Argv})
	}
	for _, e := range c.plan.Elsewhere {
		for _, cmd := range e.Commands {
			a.Runs = append(a.Runs, certmedic.Run{Name: cmd.Name + " (on " + strings.Join(e.Hosts, ", ") + ")", Argv: cmd.Argv})
		}
	}
	if r.o.Approvals == nil {
		return nil
	}
	shown, err := r.o.Approvals.Ask(time.Now(), approval.Approval{
		Certificate: q.Certificate, Kind: q.Kind, Plan: c.plan, Rule: q.By, Why: q.Why, State: state,
	}, r.o.ApprovalExpiry)
	if err != nil {
		return err
	}
	this.plan = shown.ID
	a.Outcome.Detail += "; " + whatWaits(shown)
	return nil
}

// whatWaits says of a plan in one sentence that it waits, until when, and what it replaces.
func whatWaits(a approval.Approval) string {
	if a.State == approval.Shown {
		return fmt.Sprintf("plan %s is shown only", a.ID)
	}
	waits := fmt.Sprintf("plan %s waits for a person until %s", a.ID, a.Expires.Format(time.RFC3339))
	if a.Replaces != "" {
		waits += fmt.Sprintf("; it replaces plan %s, which is void because the plan changed", a.Replaces)
	}
	return waits
}

// withdraw takes back plans that wait although nothing asks for them any more.
func (r *Remediator) withdraw(certificate string, gone func(certmedic.ActionKind) bool) {
	if r.o.Approvals == nil {
		return
	}
	if err := r.o.Approvals.Withdraw(time.Now(), certificate, gone); err != nil {
		r.o.Log.Error("taking back a plan that waits", "certificate", certificate, "err", err)
	}
}
