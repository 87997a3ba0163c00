package remediate

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/acme"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/renew"
	"github.com/certmedic/certmedic/remediate/renew/native"
)

// Orders tell the members of a cluster what one of them orders, so that no other one orders it
// again, and who takes over goes on with the same order.
type Orders interface {
	// Standing says why nothing may be ordered in place of a stored version now, and until when:
	// another member did, and what it ordered may yet come. A zero time: nothing speaks against it.
	Standing(ctx context.Context, certificate string, stored certmedic.Fingerprint) (why string, until time.Time, err error)
	// Begin has the others know of an order before it can be placed, and takes over what another
	// member began. [ErrElsewhere] says that it is another one's turn.
	Begin(ctx context.Context, i Intent) error
	// Follow has the others know how an order fares, and lets it be finalized once they do, until
	// ended is closed, after which nothing is at work on it; or until ctx ends.
	Follow(ctx context.Context, i Intent, ended <-chan struct{})
}

// ErrElsewhere says that another member acts, or that what it ordered may yet come.
var ErrElsewhere = errors.New("another member ordered it")

// Intent is an order that this member is about to place, or has placed.
type Intent struct {
	Certificate string
	Replaces    certmedic.Fingerprint // the stored version; empty: none is
	Names       []string
	Directory   string // of the CA; empty: unknown
	Token       uint64
	Order       *acme.Request // by which certmedic itself places it; nil: certbot or a command does
	Alone       bool          // nobody can be told, and it is ordered all the same
	Force       bool          // a person wants it whatever another member ordered
}

// elsewhere asks whether another member ordered what a renewal would order. A person may know better.
func (r *Remediator) elsewhere(ctx context.Context, q Request, s Sight) guard.Decision {
	if r.o.Orders == nil || q.Force || r.alone(s.Certificate.Name) {
		return guard.Decision{}
	}
	leaf, _ := s.Stored.Leaf()
	why, until, err := r.o.Orders.Standing(ctx, s.Certificate.Name, leaf.SHA256)
	switch {
	case err != nil:
		return guard.Decision{Reason: guard.CoordinatorLost, Detail: "whether another member ordered it cannot be asked: " + err.Error()}
	case until.IsZero():
		return guard.Decision{}
	}
	return guard.Decision{Reason: guard.Elsewhere, Detail: why, Retry: until}
}

// intend has the others know of the order that a command is about to place, and keeps them up to
// date until done is called. An outcome says that nothing may be ordered.
func (t *transaction) intend(ctx context.Context, o ledger.Order, c deploy.Command) (done func(), stopped certmedic.Outcome) {
	if t.r.o.Orders == nil {
		return func() {}, certmedic.Outcome{}
	}
	leaf, _ := t.before.Stored.Leaf()
	i := Intent{
		Certificate: t.action.Certificate, Replaces: leaf.SHA256, Names: o.Names, Directory: o.Directory, Token: t.action.Token,
		Order: placed(c.Request), Alone: t.r.alone(t.action.Certificate), Force: t.force,
	}
	switch err := t.r.o.Orders.Begin(ctx, i); {
	case err == nil:
		return t.r.follow(ctx, i), certmedic.Outcome{}
	case errors.Is(err, ErrElsewhere):
		return nil, certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: string(guard.Elsewhere), Detail: "nothing was ordered: " + err.Error()}
	default:
		return nil, certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: string(guard.CoordinatorLost), Detail: "nothing was ordered: " + err.Error()}
	}
}

// alone reports whether the coordinator cannot be asked, so that nobody can be told.
func (r *Remediator) alone(certificate string) bool {
	return r.o.Lead != nil && !r.o.Lead(certificate).Lost.IsZero()
}

// follow follows an order until done is called, which waits for the last word.
func (r *Remediator) follow(ctx context.Context, i Intent) (done func()) {
	ended, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		r.o.Orders.Follow(ctx, i, ended)
	}()
	return func() {
		close(ended)
		<-over
	}
}

// followOn follows the order of a renewal that was in flight when certmedic last ended, and whose
// step lived on.
func (r *Remediator) followOn(ctx context.Context, a certmedic.Action) (done func()) {
	run := renew.Ordered(a.Runs)
	if r.o.Orders == nil || a.Kind != certmedic.ActionRenew || !outlived(a) || len(run.Argv) == 0 {
		return func() {}
	}
	request, err := os.ReadFile(run.Argv[len(run.Argv)-1])
	if err != nil {
		return func() {} // it is no step of certmedic's own: there is nothing that waits
	}
	order := placed(request)
	if order == nil {
		return func() {}
	}
	return r.follow(ctx, Intent{
		Certificate: a.Certificate, Replaces: a.Version, Names: order.Names, Directory: order.Directory, Token: a.Token, Order: order,
		Alone: r.alone(a.Certificate),
	})
}

// placed returns the order that a step of certmedic's own places; nil where it is none.
func placed(request []byte) *acme.Request {
	var r native.Request
	if len(request) == 0 || json.Unmarshal(request, &r) != nil || r.Proof || r.Finish {
		return nil
	}
	return &r.Order
}
