package remote

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/remote/session"
)

// fileTimeout bounds a piece of work on files where an order does not say: some two hundred requests,
// one after the other, to a host that may be far away.
const fileTimeout = 2 * time.Minute

// idKey is how many characters of a deployment's id are the same for all of its certificate's
// destination.
const idKey = 12

// ReasonInstalled is the reason of the outcome of a deployment of which nobody has looked yet what
// is served.
const ReasonInstalled = "installed"

// The reasons of outcomes that callers tell apart.
const (
	ReasonFenced         = "fenced"          // refused: the host has seen a higher token
	ReasonClaimed        = "claimed"         // failed: another deployment took over
	ReasonConnectionLost = "connection_lost" // running: the next session with the host ends it
)

// Deployment is what was done on a host, and what is open there.
type Deployment struct {
	// Outcome is unverified with [ReasonInstalled] where everything is in place and the service has
	// loaded it: then the deployment is open until Keep or PutBack. It is running where the
	// connection was lost: the next Deploy or Recover on that host ends it. All others are final.
	Outcome certmedic.Outcome
	Runs    []certmedic.Run
	Changes []certmedic.Change // of files on the host
	Notes   []string           // what earlier deployments had left there, and what became of it

	session *session.Session
	order   Order
	place   place
	id      string
	dir     string // of the journal; empty where nothing is open on the host
	journal journal
}

// Deploy carries out an order on the host of a session: it ends what an earlier deployment left,
// stages, renames, and runs the destination's commands. After a failure the old files are put back.
// When ctx ends it stops where it is, as if the connection were cut.
func Deploy(ctx context.Context, s *session.Session, o Order) *Deployment {
	d := begin(s, o)
	d.Outcome = d.deploy(ctx)
	return d
}

// Recover ends what an earlier deployment of the order's certificate and destination left on the
// host, by putting it back, and installs nothing. Its outcome is put_back, or healed where nothing
// was left.
func Recover(ctx context.Context, s *session.Session, o Order) *Deployment {
	o.Files = nil
	d := begin(s, o)
	if err := o.check(); err != nil {
		d.Outcome = d.failed(ctx, "order", err)
		return d
	}
	if err := d.work(ctx, d.enter); err != nil {
		d.Outcome = d.failed(ctx, "enter", err)
		return d
	}
	found, err := d.takeOver(ctx, func(journal) (bool, error) { return false, nil })
	switch {
	case err != nil:
		d.Outcome = d.failed(ctx, "recover", err)
	case found == restored:
		d.Outcome = certmedic.Outcome{Kind: certmedic.OutcomePutBack, Detail: "what an earlier deployment left was put back"}
	default:
		d.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeHealed, Detail: "nothing was left"}
	}
	return d
}

func begin(s *session.Session, o Order) *Deployment {
	key := sum([]byte(o.Certificate + "\x00" + o.Destination.Name))[:idKey]
	return &Deployment{session: s, order: o, id: fmt.Sprintf("%s-%d-%s", key, o.Token, random()), Runs: []certmedic.Run{}}
}

func (d *Deployment) deploy(ctx context.Context) certmedic.Outcome {
	if err := d.order.check(); err != nil {
		return d.failed(ctx, "order", err)
	}
	if err := d.work(ctx, d.enter); err != nil {
		return d.failed(ctx, "enter", err)
	}
	found, err := d.takeOver(ctx, d.same)
	if err != nil {
		return d.failed(ctx, "recover", err)
	}
	if found != adopted && len(d.order.Files) > 0 {
		if err := d.work(ctx, func() error { return d.stage(ctx) }); err != nil {
			return d.failed(ctx, "stage", errors.Join(err, d.work(ctx, d.abort)))
		}
		if err := d.work(ctx, d.commit); err != nil {
			return d.PutBack(ctx, d.failed(ctx, "install", err))
		}
	}
	if bad := d.commands(ctx, ""); bad != nil {
		return d.PutBack(ctx, runFailed(*bad))
	}
	return certmedic.Outcome{
		Kind: certmedic.OutcomeUnverified, Reason: ReasonInstalled, Detail: "installed on " + d.session.Host().String() + ", and not yet seen served",
	}
}

// enter opens the state of the destination on the host, and refuses a token that is too low
// before anything is staged.
func (d *Deployment) enter() error {
	files, err := d.session.Files(context.Background()) // bounded by itself and by the work that it is part of
	if err != nil {
		return err
	}
	if d.place, err = (disk{files}).place(d.order, d.session.Host().Sudo); err != nil {
		return err
	}
	return d.place.raise(d.order.Token)
}

// Keep ends an open deployment that is proven: what was there before is removed from the host.
func (d *Deployment) Keep(ctx context.Context) error {
	if d.dir == "" {
		return nil
	}
	return d.work(ctx, func() error {
		if err := d.mine(); err != nil {
			return err
		}
		return d.over(true)
	})
}

// PutBack ends an open deployment that is not wanted: the old files come back, and where a reload
// had begun the service loads them. It returns the outcome of which the first half is given.
// Whether the old version is served again is for the caller to see.
func (d *Deployment) PutBack(ctx context.Context, because certmedic.Outcome) certmedic.Outcome {
	if because.Kind == certmedic.OutcomeRunning || d.unfinished(ctx) {
		d.Outcome = d.lost(because.Detail)
		return d.Outcome
	}
	if d.dir == "" {
		d.Outcome = because
		return because
	}
	d.Outcome = d.putBack(ctx, because)
	return d.Outcome
}

func (d *Deployment) putBack(ctx context.Context, because certmedic.Outcome) certmedic.Outcome {
	because.Kind = certmedic.OutcomeFailed
	reloaded := d.journal.Reloaded
	bad, err := d.restore(ctx)
	switch {
	case d.unfinished(ctx):
		return d.lost(because.Detail)
	case errors.Is(err, ErrClaimed), errors.Is(err, ErrFenced):
		because.Reason, because.Detail = ReasonClaimed, because.Detail+"; "+errors.Join(err, d.work(ctx, d.unstage)).Error()
	case err != nil:
		because.Detail += "; " + err.Error()
	case bad != nil:
		because.Detail += "; the old files are back, but " + runFailed(*bad).Detail
	case reloaded:
		because.Kind, because.Detail = certmedic.OutcomePutBack, because.Detail+"; the old files are back and loaded"
	default:
		because.Kind, because.Detail = certmedic.OutcomePutBack, because.Detail+"; the old files are back, no service had loaded the new ones"
	}
	return because
}

// restore puts the old files back, has them loaded where the new ones may be, and ends the
// deployment on the host. It returns the command that did not succeed.
func (d *Deployment) restore(ctx context.Context) (bad *certmedic.Run, err error) {
	if err := d.work(ctx, d.restoreFiles); err != nil {
		return nil, err
	}
	for i := range d.Changes {
		d.Changes[i].PutBack = true
	}
	if bad = d.commands(ctx, " (put back)"); bad != nil && d.unfinished(ctx) {
		return bad, errors.New(bad.Detail)
	}
	return bad, d.work(ctx, func() error { return d.over(false) })
}

// work does a piece of work on files, within its limit.
func (d *Deployment) work(ctx context.Context, fn func() error) error {
	limit := d.order.FileTimeout
	if limit <= 0 {
		limit = fileTimeout
	}
	return d.session.Within(ctx, limit, fn)
}

// mine proves, before a rename, that nobody took over: then what was staged is still ours, and
// whoever comes next finds it by the journal and takes it away.
func (d *Deployment) mine() error {
	if _, err := d.place.Lstat(path.Join(d.dir, journalName)); err != nil {
		if gone(err) == nil {
			return ErrClaimed
		}
		return named("looking at", d.dir, err)
	}
	highest, _, err := d.place.highest(d.order.Token)
	if err != nil {
		return err
	}
	if highest > d.order.Token {
		return d.place.fenced(d.order.Token, highest)
	}
	return nil
}

// over ends the deployment on the host. What cannot be removed now is removed by the next one.
func (d *Deployment) over(kept bool) error {
	dir := d.dir + overMark
	if err := d.place.Rename(d.dir, dir); err != nil {
		return named("ending the deployment on the host:", d.dir, err)
	}
	d.dir = ""
	if err := errors.Join(d.place.removeTree(dir), d.tidy(kept)); err != nil {
		d.note("it is over, but something is left on the host: %v", err)
	}
	return nil
}

// unfinished reports whether what happens on the host cannot be seen any more.
func (d *Deployment) unfinished(ctx context.Context) bool {
	return ctx.Err() != nil || d.session.Err() != nil
}

func (d *Deployment) lost(detail string) certmedic.Outcome {
	return certmedic.Outcome{Kind: certmedic.OutcomeRunning, Reason: ReasonConnectionLost, Detail: detail}
}

// failed tells the outcome of an error.
func (d *Deployment) failed(ctx context.Context, reason string, err error) certmedic.Outcome {
	outcome := certmedic.Outcome{Kind: certmedic.OutcomeFailed, Reason: reason, Detail: err.Error()}
	switch {
	case errors.Is(err, ErrFenced):
		outcome.Kind, outcome.Reason = certmedic.OutcomeRefused, ReasonFenced
	case errors.Is(err, ErrClaimed):
		outcome.Reason = ReasonClaimed
	case d.unfinished(ctx):
		return d.lost(err.Error())
	}
	return outcome
}
