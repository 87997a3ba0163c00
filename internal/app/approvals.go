package app

import (
	"context"
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/systemlog"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/guard"
)

// openApprovals opens the plans that wait for a person, and what writes lines about actions.
func (a *App) openApprovals() (err error) {
	a.lines = systemlog.New(a.o.Syslog, a.o.Log)
	a.approvals, err = approval.Open(a.store)
	return err
}

// mostUnproven returns how many certificates may be acted for at a time and not be healed: a share
// of those of which their owner lets certmedic do anything.
func mostUnproven(c *config.Config, all []certmedic.Certificate) int {
	n := 0
	for _, cert := range all {
		if !cert.Watched && len(cert.Allow) > 0 && (cert.Mode == certmedic.ModeApprove || cert.Mode == certmedic.ModeAuto) {
			n++
		}
	}
	share, _ := c.Remediation.MaxShare.Fraction() // checked with the configuration; in doubt the least
	return guard.MostUnproven(share, n)
}

// Plans returns the plans that wait for a person, and what became of those before, the newest first.
func (a *App) Plans() []approval.Approval { return a.approvals.List(time.Now()) }

// Say takes what a person says of a plan that waits. One that was approved is carried out as soon as
// nothing else stands against it.
func (a *App) Say(_ context.Context, r api.WordRequest) (approval.Approval, error) {
	return a.say(a.generation(), r)
}

func (a *App) say(g *generation, r api.WordRequest) (approval.Approval, error) {
	plan, here := a.approvals.Find(time.Now(), r.ID)
	if here && r.Approve && plan.State == approval.Pending {
		if err := g.approvable(plan); err != nil {
			return approval.Approval{}, err
		}
	}
	said, err := a.approvals.Say(time.Now(), r.ID, approval.Word{Approve: r.Approve, By: r.By, Reason: r.Reason})
	switch {
	case err != nil && !here:
		return approval.Approval{}, a.elsewhere("", err)
	case err != nil:
		return approval.Approval{}, err
	}
	a.o.Log.Warn("a person spoke about a plan", "plan", said.ID, "certificate", said.Certificate, "action", said.Kind, "state", said.State, "by", said.By, "reason", said.Reason)
	g.remediator.Nudge(said.Certificate)
	a.live.said(said.Certificate)
	return said, nil
}

// approvable says why a plan would not be carried out even if it were approved: its certificate is
// not there any more, or its mode is another one by now.
func (g *generation) approvable(plan approval.Approval) error {
	for _, c := range g.certificates {
		if c.Name != plan.Certificate {
			continue
		}
		if c.Mode == certmedic.ModeObserve || c.Mode == certmedic.ModePlan {
			return fmt.Errorf("the mode of %q is %s by now, in which nothing is carried out: its plans cannot be approved", c.Name, c.Mode)
		}
		if l := g.leads(c.Name); !l.Mine && l.Member != "" && l.Waits == "" && l.Lost.IsZero() {
			return fmt.Errorf("the member %q of the cluster acts for %q by now, and has a plan of its own: approve that one there", l.Member, c.Name)
		}
		return nil
	}
	return fmt.Errorf("there is no certificate %q any more", plan.Certificate)
}

// Plans returns the plans that wait for a person, see [App.Plans].
func (o *Offline) Plans() []approval.Approval { return o.app.Plans() }

// Say takes what a person says of a plan, see [App.Say]. It is carried out by the daemon, once one
// runs.
func (o *Offline) Say(_ context.Context, r api.WordRequest) (approval.Approval, error) {
	return o.app.say(o.g, r)
}
