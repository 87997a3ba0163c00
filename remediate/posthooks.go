package remediate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// postHook begins the names of the runs of post hooks that certbot itself could not run.
const postHook = "post-hook: "

// certbotRun returns the last run of certbot; one that was not started where there is none.
func certbotRun(runs []certmedic.Run) certmedic.Run {
	for _, run := range slices.Backward(runs) {
		if strings.HasPrefix(run.Name, "certbot renew") {
			return run
		}
	}
	return certmedic.Run{Result: certmedic.RunNotStarted}
}

// shellSignaled is what a shell adds to the number of the signal that killed its command: certbot
// may be started by one.
const shellSignaled = 128

// afterStop runs certbot's post hooks where certbot itself cannot have run them: it was ended
// after a timeout, or killed, when its pre hooks may have stopped services already. Of a certbot
// that outlived certmedic nobody knows how it ended: there an address that presents nothing
// decides. It returns what was done, and whether services are there again; nothing where there was
// nothing to do. What it did before a restart of certmedic it does not do again.
func (t *transaction) afterStop(ctx context.Context) []certmedic.Evidence {
	run := certbotRun(t.action.Runs)
	ended := run.Result == certmedic.RunTimedOut || run.Result == certmedic.RunSignaled || run.ExitCode > shellSignaled
	if !ended && run.Result != certmedic.RunCancelled || run.PID == 0 {
		return nil
	}
	sight, err := t.r.look(ctx, t.action.Certificate)
	if err != nil || !ended && down(sight) == "" {
		return nil
	}
	owed, err := t.owed(sight, run)
	if err != nil {
		return []certmedic.Evidence{{Source: run.Name, Line: "it was stopped, and its post hooks are not run: " + err.Error()}}
	}
	if len(owed) == 0 {
		return nil
	}
	evidence := []certmedic.Evidence{{Source: run.Name, Line: "it was stopped, so that certmedic ran its post hooks"}}
	for _, c := range owed {
		if t.ranHook(c.Name) {
			continue
		}
		hook := t.command(ctx, c)
		if hook.Result == certmedic.RunCancelled {
			return evidence
		}
		if !hook.Succeeded() {
			evidence = append(evidence, runFailed(hook).Evidence...)
		}
	}
	return append(evidence, t.presenting(ctx))
}

// owed returns the commands of the post hooks of a certbot that was stopped. The error says that
// they cannot be read or trusted.
func (t *transaction) owed(s Sight, run certmedic.Run) ([]deploy.Command, error) {
	way, err := t.r.o.Renewal(s.Certificate)
	if err != nil || way.Certbot == nil {
		return nil, err
	}
	added := []string{"RENEWED_DOMAINS=", "FAILED_DOMAINS=" + strings.Join(s.Stored.Names, " ")}
	var all []deploy.Command
	for _, h := range way.Certbot.Owed(run.Argv) {
		for _, path := range []string{h.Path, deploy.Script(h.Command)} {
			if path == "" {
				continue
			}
			if err := ownership.Check(path); err != nil {
				return nil, fmt.Errorf("checking post hook %q: %w", h.Command, err)
			}
		}
		all = append(all, deploy.Command{
			Name: postHook + h.Command, Phase: deploy.PhaseHook, Argv: []string{"/bin/sh", "-c", h.Command},
			Env: append(slices.Clone(t.r.o.Environ), added...), EnvDiff: added,
		})
	}
	return all, nil
}

// ranHook reports whether a command of the action has run under a name.
func (t *transaction) ranHook(name string) bool {
	return slices.ContainsFunc(t.action.Runs, func(r certmedic.Run) bool { return r.Name == name && r.PID != 0 })
}

// presenting looks, for as long as an action has to become visible, whether every bound address
// presents a certificate.
func (t *transaction) presenting(ctx context.Context) certmedic.Evidence {
	deadline := time.Now().Add(t.r.o.VerifyTimeout)
	for {
		sight, err := t.r.o.Look(ctx, t.action.Certificate)
		line := "every bound address presents a certificate"
		address := down(sight)
		if err != nil {
			line = err.Error()
		} else if address != "" {
			line = fmt.Sprintf("%s presents no certificate", address)
		}
		if err == nil && address == "" || ctx.Err() != nil || time.Now().After(deadline) {
			return certmedic.Evidence{Source: "probe", Line: line}
		}
		pauseFor(ctx, roundGap)
	}
}
