package remediate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/fence"
	"github.com/certmedic/certmedic/remediate/guard"
)

// leads tells a case who acts, where there are several members.
func (r *Remediator) leads(cs *guard.Case) {
	if r.o.Lead == nil {
		return
	}
	l := r.o.Lead(cs.Certificate.Name)
	cs.Lead = &l
	leaf, stored := cs.Stored.Leaf()
	if !l.Lost.IsZero() && stored && r.o.Emergency != nil {
		cs.Emergency = r.o.Emergency(cs.Certificate.Name, leaf)
	}
}

// saved reports whether this member renewed a certificate since the coordinator cannot be asked. History is newest first.
func saved(history []certmedic.Action, certificate string, l *certmedic.Lead) bool {
	return l != nil && !l.Lost.IsZero() && slices.ContainsFunc(history, func(a certmedic.Action) bool {
		return a.Certificate == certificate && a.Kind == certmedic.ActionRenew && issued(a) && a.EndedAt.After(l.Lost)
	})
}

// follows says, of what a rule asks for, that another member acts: then nothing is looked at for it.
func (r *Remediator) follows(q Request) guard.Decision {
	if r.o.Lead == nil || q.ByHand {
		return guard.Decision{}
	}
	l := r.o.Lead(q.Certificate)
	if l.Mine || !l.Lost.IsZero() {
		return guard.Decision{}
	}
	return guard.Led(guard.Case{Now: time.Now(), Kind: q.Kind, Lead: &l, Certificate: certmedic.Certificate{Name: q.Certificate}})
}

// prove has it proven, right before the intent is journaled, that this member acts, and gives the action the token
// to do it with. Where that is not so the guard's decision says it. An error is that of the store of a single host, or ctx's.
func (r *Remediator) prove(ctx context.Context, c *considered, a *certmedic.Action) error {
	if r.o.Confirm == nil || !c.decision.Allowed() {
		return nil
	}
	token, err := r.o.Confirm(ctx, a.Certificate)
	r.leads(&c.asked)
	l := certmedic.Lead{Mine: true}
	if c.asked.Lead != nil {
		l = *c.asked.Lead
	}
	switch {
	case err == nil:
		a.Token = token
	case ctx.Err() != nil:
		return ctx.Err()
	case !l.Lost.IsZero():
		c.asked.Now, a.Token = time.Now(), l.Token
		c.decision = guard.Led(c.asked)
	case l.Mine:
		return err
	default:
		cs := c.asked
		cs.Force = false // that is for where nobody can be asked
		if c.decision = guard.Led(cs); c.decision.Allowed() {
			c.decision = guard.Decision{Reason: guard.NotLeader, Detail: err.Error()}
		}
	}
	if l.Mine && r.o.Fences {
		a.Member = l.Member
	}
	return nil
}

// still proves once more that this member acts, by the same lease, before what cannot be taken back. With another token
// somebody else may have acted in between.
func (t *transaction) still(ctx context.Context) error {
	r := t.r
	if r.o.Confirm == nil {
		return nil
	}
	token, err := r.o.Confirm(ctx, t.action.Certificate)
	switch {
	case err == nil && token == t.action.Token:
		return nil
	case err == nil:
		return fmt.Errorf("this member lost the lease of %q meanwhile: it acts with the token %d, and would have %d now", t.action.Certificate, t.action.Token, token)
	}
	cs := t.asked
	cs.Now = time.Now()
	r.leads(&cs)
	d := guard.Led(cs)
	switch l := cs.Lead; {
	case l == nil, l.Lost.IsZero(), l.Token != t.action.Token:
		return err
	case !d.Allowed():
		return fmt.Errorf("%w: %s", errAlone, d.Detail)
	}
	return nil // nobody can be asked, and what is done is what may be done then
}

// errAlone says that nobody can be asked who acts.
var errAlone = errors.New("this member is on its own")

// notLed is the outcome where another member acts by now, and nothing was done.
func notLed(err error) certmedic.Outcome {
	reason := guard.NotLeader
	if errors.Is(err, errAlone) {
		reason = guard.CoordinatorLost
	}
	return certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: string(reason), Detail: err.Error()}
}

// enter proves that this member still acts, and fences the places that are about to change against those that come late.
// Where that fails, what was staged is gone again, and the outcome says why.
func (t *transaction) enter(ctx context.Context, staged *deploy.Installation) (no certmedic.Outcome) {
	if err := t.still(ctx); err != nil {
		no = notLed(err)
	} else if err := t.fence(); errors.Is(err, fence.ErrHigher) {
		no = certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: string(guard.Fenced), Detail: err.Error()}
	} else if err != nil {
		no = failed("install", err)
	}
	if no.Kind == "" {
		return no
	}
	if err := staged.Abort(); err != nil {
		no.Detail += "; " + err.Error()
	}
	t.action.Changes = nil // nothing was
	return no
}

func (t *transaction) fence() error {
	if !t.r.o.Fences || t.action.Token == 0 {
		return nil
	}
	return fence.Raise(t.action.Changes, t.action.Certificate, t.action.Token)
}

// fenced says that another member has been at work since at what would be put back: then it stays as that one left it.
func (t *transaction) fenced() error {
	if !t.r.o.Fences || t.action.Token == 0 {
		return nil
	}
	return fence.Check(t.action.Changes, t.action.Certificate, t.action.Token)
}
