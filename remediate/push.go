package remediate

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// A push gives the version to what is no host: a service of a cloud, an interface, a program. It comes
// last, when all hosts have the version and serve it. What it gave cannot be taken back; only the
// version before can be given in its place.

// again marks the runs by which the version before was given.
const again = " (put back)"

// give carries out the pushes of the plan, one after the other, up to the first that does not succeed.
func (t *transaction) give(ctx context.Context) (bad *certmedic.Run) {
	for _, c := range t.plan.Pushes {
		if t.gave(c.Name) || t.spares(c.Name) {
			continue
		}
		if run := t.giveOne(ctx, c); !run.Succeeded() {
			return &run
		}
	}
	return nil
}

// giveOne carries out one push, once more proving that this member acts: nobody else can refuse a
// member that comes late.
func (t *transaction) giveOne(ctx context.Context, c deploy.Command) certmedic.Run {
	err := t.still(ctx)
	if err == nil {
		c, err = c.Ready(t.action.Token, filepath.Join(t.dir, "push-"+strconv.Itoa(len(t.action.Runs))))
	}
	switch {
	case ctx.Err() != nil:
		return certmedic.Run{Name: c.Name, Argv: c.Argv, Result: certmedic.RunCancelled}
	case err != nil:
		return certmedic.Run{Name: c.Name, Argv: c.Argv, Result: certmedic.RunNotStarted, Detail: err.Error()}
	}
	return t.command(ctx, c)
}

// gave reports whether a push succeeded in this action, before certmedic was restarted.
func (t *transaction) gave(push string) bool {
	return slices.ContainsFunc(t.action.Runs, func(run certmedic.Run) bool { return run.Name == push && run.Succeeded() })
}

// spares reports whether a push is left out, because the action is for some hosts alone, and the version
// was given there when it was brought to the others.
func (t *transaction) spares(push string) bool {
	if len(t.nodes.due) == 0 || len(t.nodes.due) == len(t.nodes.hosts) {
		return false
	}
	given, err := t.given(push)
	return err == nil && given == t.action.Version
}

// given returns the version that a push gave last, before this action; empty where none is known.
func (t *transaction) given(push string) (certmedic.Fingerprint, error) {
	history, err := t.r.o.Journal.Actions(t.action.Certificate, time.Time{})
	if err != nil {
		return "", err
	}
	for _, a := range history { // newest first
		succeeded := func(name string) bool {
			return slices.ContainsFunc(a.Runs, func(run certmedic.Run) bool { return run.Name == name && run.Succeeded() })
		}
		if a.ID != t.action.ID && succeeded(push) && !succeeded(push+again) {
			return a.Version, nil
		}
	}
	return "", nil
}

// begun reports whether a push was begun in this action.
func (t *transaction) begun(push string) bool {
	return slices.ContainsFunc(t.action.Runs, func(run certmedic.Run) bool { return run.Name == push && run.PID != 0 })
}

// gaveAny reports whether any push was begun in this action.
func (t *transaction) gaveAny() bool {
	return slices.ContainsFunc(t.action.Runs, func(run certmedic.Run) bool {
		return run.PID != 0 && strings.HasSuffix(run.Name, ": "+string(deploy.PhasePush))
	})
}

// proven reports whether a plan that does nothing else gave the version to what shows it, and nothing is
// bound that could show it, too.
func (t *transaction) proven() bool {
	return len(t.plan.Pushes) > 0 && len(t.plan.Files)+len(t.plan.Commands)+len(t.plan.Elsewhere) == 0 && !t.watched() &&
		!slices.ContainsFunc(t.plan.Pushes, func(c deploy.Command) bool { return !c.Proves })
}

// ungiven is the outcome of a roll-out after which a push did not succeed. The hosts keep the version.
func ungiven(bad certmedic.Run, done string, evidence []certmedic.Evidence) certmedic.Outcome {
	if bad.Result == certmedic.RunCancelled {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	o := runFailed(bad)
	o.Detail, o.Evidence = done+"; they keep the version, but "+o.Detail, append(o.Evidence, evidence...)
	return o
}

// gaveAll reports whether every push of an action that was in flight succeeded.
func (r *Remediator) gaveAll(ctx context.Context, a certmedic.Action) bool {
	if a.Kind == certmedic.ActionReload {
		return true
	}
	sight, err := r.look(ctx, a.Certificate)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(sight.Certificate.Destinations, func(d certmedic.Destination) bool {
		done := func(run certmedic.Run) bool { return run.Name == deploy.PushName(d) && run.Succeeded() }
		return d.Push.Some() && !slices.ContainsFunc(a.Runs, done)
	})
}

// giveBack gives the version before where a push of this action was begun, and says what stands where.
// One that failed may have come through all the same.
func (t *transaction) giveBack(ctx context.Context, o certmedic.Outcome) certmedic.Outcome {
	if o.Kind == certmedic.OutcomeRunning || !t.gaveAny() {
		return o
	}
	sight, err := t.r.look(ctx, t.action.Certificate)
	if err != nil {
		o.Kind, o.Detail = certmedic.OutcomeFailed, o.Detail+"; the version before is given to nobody: "+err.Error()
		return o
	}
	for _, d := range sight.Certificate.Destinations {
		if !d.Push.Some() || !t.begun(deploy.PushName(d)) {
			continue
		}
		version, err := t.giveBackTo(ctx, sight, d)
		switch {
		case ctx.Err() != nil:
			return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
		case err != nil:
			o.Kind = certmedic.OutcomeFailed
			o.Detail += fmt.Sprintf("; %q has the new version, or may have it: %s", d.Name, err)
		default:
			o.Detail += fmt.Sprintf("; %q was given %s again", d.Name, version.Short())
		}
	}
	if t.gaveBack = true; o.Kind == certmedic.OutcomePutBack {
		o.Detail += t.asBefore(ctx)
	}
	return o
}

// giveBackTo gives one destination the version before.
func (t *transaction) giveBackTo(ctx context.Context, s Sight, d certmedic.Destination) (certmedic.Fingerprint, error) {
	version, err := t.given(deploy.PushName(d))
	if err == nil && version == "" {
		version = onlyServed(t.before)
	}
	switch {
	case err != nil:
		return "", err
	case version == "" || version == t.action.Version:
		return "", fmt.Errorf("no version before is known")
	}
	stored, err := t.r.storedAs(ctx, s, version)
	if err != nil {
		return "", fmt.Errorf("the version before cannot be given: %w", err)
	}
	if leaf, ok := stored.Leaf(); !ok || t.r.o.Denied != nil && t.r.o.Denied(leaf.SPKISHA256) {
		return "", fmt.Errorf("the version before, %s, has a key that is denied", version.Short())
	}
	commands, err := deploy.Pushes([]certmedic.Destination{d}, stored, t.r.o.Environ)
	if err != nil {
		return "", err
	}
	c := commands[0]
	c.Name += again
	if run := t.giveOne(ctx, c); !run.Succeeded() {
		return "", fmt.Errorf("%s", runFailed(run).Detail)
	}
	return version, nil
}

// onlyServed returns the version that every bound address presented; empty where there are several, or
// none.
func onlyServed(s Sight) certmedic.Fingerprint {
	var only certmedic.Fingerprint
	for _, a := range s.Addresses {
		switch {
		case !a.Bound || a.Leaf == "":
		case only == "":
			only = a.Leaf
		case only != a.Leaf:
			return ""
		}
	}
	return only
}
