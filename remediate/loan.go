package remediate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/lineage"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// Loans keeps the rollbacks that stand, one of a certificate. What it was told is on disk when
// it returns.
type Loans interface {
	// Loan returns the rollback of a certificate that stands, and whether there is one.
	Loan(certificate string) (l rollback.Loan, stands bool, err error)
	SaveLoan(l rollback.Loan) error
	DropLoan(certificate string) error
}

// basisReturn is the basis of the actions that end a loan.
const basisReturn = "return"

// reasonReturned is the reason of their outcomes.
const reasonReturned = "returned"

// loan returns the rollback of a certificate that stands, one of no version where none does. Whether
// certbot is kept from renewing is what the disk says of that: a rollback that came to nothing may
// have left it so.
func (r *Remediator) loan(certificate string) (rollback.Loan, error) {
	if r.o.Loans == nil {
		return rollback.Loan{}, nil
	}
	l, _, err := r.o.Loans.Loan(certificate)
	if err != nil {
		return l, err
	}
	l.Pinned, _, err = lineage.Pinned(r.pinDir(certificate))
	return l, err
}

// settle keeps the loan of a rollback that healed, before the journal has that, and clears up
// after one that came to nothing.
func (r *Remediator) settle(a certmedic.Action, l rollback.Loan, o certmedic.Outcome) certmedic.Outcome {
	reached := slices.ContainsFunc(a.Nodes, func(n certmedic.NodeStatus) bool { // clients get it there
		return n.State == certmedic.NodeDone && n.Want == l.Version
	})
	switch {
	case o.Kind == certmedic.OutcomeRunning:
	case o.Kind == certmedic.OutcomeHealed, reached:
		l.Action = a.ID
		if err := r.o.Loans.SaveLoan(l); err != nil {
			o.Kind, o.Reason, o.Detail = certmedic.OutcomeUnverified, "loan", o.Detail+", but the loan could not be kept: "+err.Error()
			break
		}
		r.tellLoan(l.Certificate)
	default:
		stands, err := r.loan(a.Certificate)
		if err == nil && !stands.Pinned { // else how to take that back is remembered there
			err = os.RemoveAll(r.pinDir(a.Certificate))
		}
		if err != nil {
			r.o.Log.Error("clearing up after a rollback", "certificate", a.Certificate, "err", err)
		}
	}
	return o
}

// tellLoan says what stands of a certificate now.
func (r *Remediator) tellLoan(certificate string) {
	if r.o.Lent == nil {
		return
	}
	l, stands, err := r.o.Loans.Loan(certificate)
	switch {
	case err != nil:
		r.o.Log.Error("reading a loan", "certificate", certificate, "err", err)
	case stands:
		r.o.Lent(certificate, &l)
	default:
		r.o.Lent(certificate, nil)
	}
}

// The files by which a rollback is known after a restart: of an action what is lent, and of a
// certificate how certbot was kept from renewing.
const (
	loanFile = "loan.json"
	pinFile  = "request.json"
)

// pinDir is the folder that remembers how certbot was kept from renewing a certificate, for as
// long as it is.
func (r *Remediator) pinDir(certificate string) string {
	sum := sha256.Sum256([]byte(certificate))
	return filepath.Join(r.o.RunDir, "pin-"+hex.EncodeToString(sum[:8]))
}

// prepare writes down what will be lent, before anything is done, and tells the steps where to
// remember what they did.
func (t *transaction) prepare() error {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return fmt.Errorf("preparing the rollback: %w", err)
	}
	for i := range t.plan.Commands {
		if c := &t.plan.Commands[i]; c.Phase == deploy.PhaseSource {
			if err := t.prepareStep(c); err != nil {
				return fmt.Errorf("preparing %q: %w", c.Name, err)
			}
		}
	}
	data, err := json.Marshal(t.loan)
	if err != nil {
		return fmt.Errorf("encoding the loan: %w", err)
	}
	return atomicfile.Write(filepath.Join(t.dir, loanFile), data, 0o600, -1, -1)
}

func (t *transaction) prepareStep(c *deploy.Command) error {
	var q lineage.Request
	if err := json.Unmarshal(c.Request, &q); err != nil {
		return err
	}
	q.Work = filepath.Join(t.dir, "lineage")
	if q.Do == lineage.Pin || q.Do == lineage.Unpin {
		q.Work, q.Name = t.r.pinDir(t.action.Certificate), t.action.ID
	}
	if err := os.MkdirAll(q.Work, 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(q)
	if err != nil {
		return err
	}
	c.Request = data
	if q.Do != lineage.Pin {
		return nil
	}
	return atomicfile.Write(filepath.Join(q.Work, pinFile), data, 0o600, -1, -1)
}

// readLoan reads what an action was to lend. An error wraps fs.ErrNotExist where it was killed
// before it began anything.
func readLoan(dir string) (l rollback.Loan, err error) {
	data, err := readSmall(filepath.Join(dir, loanFile))
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err != nil {
		return rollback.Loan{}, fmt.Errorf("reading what was to be lent: %w", err)
	}
	return l, nil
}

// maxSmall bounds what is read of a file of our own, in bytes.
const maxSmall = 1 << 20

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSmall))
}

// Repay ends the loan of a certificate, beside everything else, once it sees for itself that
// something better is served everywhere. Where certbot was kept from renewing, that is taken back
// first. It may be called as often as there is a reason to think so.
func (r *Remediator) Repay(certificate string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Loans == nil || r.ctx == nil || r.ctx.Err() != nil || r.repaying[certificate] {
		return
	}
	r.repaying[certificate] = true
	ctx := r.ctx
	r.wg.Go(func() {
		if err := r.repay(ctx, certificate); err != nil && ctx.Err() == nil {
			r.o.Log.Error("ending a loan", "certificate", certificate, "err", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.repaying, certificate)
	})
}

// returnLocks are the locks of the end of a loan.
func returnLocks(certificate string) []string {
	return []string{"certificate\x00" + certificate, deploy.LockHooks}
}

func (r *Remediator) repay(ctx context.Context, certificate string) error {
	if err := r.resumeOnce(ctx); err != nil {
		return err
	}
	unlock, err := r.locks.acquire(ctx, returnLocks(certificate))
	if err != nil {
		return err
	}
	defer unlock()
	l, err := r.loan(certificate)
	if err != nil || l.Version == "" {
		return err
	}
	var sight Sight
	for range rounds {
		pauseFor(ctx, roundGap)
		if sight, err = r.look(ctx, certificate); err != nil || !r.repaid(sight, l) {
			return err
		}
	}
	if l.Pinned {
		returned, err := r.returnPin(ctx, sight, l)
		if err != nil || !returned {
			return err
		}
	}
	if err := r.o.Loans.DropLoan(certificate); err != nil {
		return err
	}
	r.o.Log.Info("a loan has ended", "certificate", certificate, "lent", l.Version.Short())
	r.tellLoan(certificate)
	return os.RemoveAll(r.pinDir(certificate))
}

// repaid reports whether something better than what is lent is served: by every bound address a
// good stored version, neither the lent one nor the one that was left, and younger than that.
func (r *Remediator) repaid(s Sight, l rollback.Loan) bool {
	leaf, ok := s.Stored.Leaf()
	if !ok || len(s.Problems) > 0 || r.denied(s) || !l.RepaidBy(leaf) || !serves(s, leaf.SHA256) {
		return false
	}
	_, _, dire := need(s)
	return !dire
}

// returnPin lets certbot renew again, as an action that the journal has. It reports whether
// certbot may.
func (r *Remediator) returnPin(ctx context.Context, s Sight, l rollback.Loan) (returned bool, err error) {
	if s.Certificate.Mode != certmedic.ModeAuto || r.o.Frozen() {
		return false, nil // the loan stands, and says so
	}
	history, err := r.o.Journal.Actions(l.Certificate, time.Now().Add(-historyFor))
	if err != nil || time.Now().Before(triedReturn(history)) {
		return false, err
	}
	data, err := readSmall(filepath.Join(r.pinDir(l.Certificate), pinFile))
	if err != nil {
		return false, fmt.Errorf("reading how certbot was kept from renewing: %w", err)
	}
	var q lineage.Request
	if err := json.Unmarshal(data, &q); err != nil {
		return false, fmt.Errorf("reading how certbot was kept from renewing: %w", err)
	}
	q.Do, q.Name = lineage.Unpin, "" // all that there is
	commands, err := r.lineageSteps([]lineage.Request{q})
	if err != nil {
		return false, err
	}
	leaf, _ := s.Stored.Leaf()
	now := time.Now().UTC()
	t := &transaction{r: r, plan: deploy.Plan{Commands: commands}, before: s, action: certmedic.Action{
		ID: newID(now), Certificate: l.Certificate, Kind: certmedic.ActionRollback, Version: leaf.SHA256, Basis: basisReturn,
		By: "rolled-back", Why: "a better version is served, so that the loan ends and certbot renews again", Attempt: 1, Locks: returnLocks(l.Certificate),
		StartedAt: now, Runs: []certmedic.Run{}, Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRunning},
	}}
	t.dir = r.runDir(t.action)
	if err := r.record(t.action); err != nil {
		return false, err
	}
	run := t.command(ctx, commands[0])
	switch {
	case run.Result == certmedic.RunCancelled:
		return false, ctx.Err() // the next start knows
	case run.Succeeded():
		t.action.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeHealed, Reason: reasonReturned, Detail: strings.TrimSpace("certbot renews again; " + lastLine(run.Stdout))}
	default:
		t.action.Outcome = runFailed(run)
	}
	return run.Succeeded(), r.end(ctx, &t.action)
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// How long is waited after an attempt to end a loan that failed, doubling.
const (
	firstReturnAgain   = time.Minute
	longestReturnAgain = 12 * time.Hour
)

// triedReturn returns before when it is not tried again to end a loan. History is newest first.
func triedReturn(history []certmedic.Action) time.Time {
	wait, last := firstReturnAgain, time.Time{}
	for _, a := range history {
		if a.Basis != basisReturn || a.Outcome.Kind == certmedic.OutcomeHealed || a.Outcome.Reason == reasonInterrupted {
			break
		}
		if last.IsZero() {
			last = earlier(a.EndedAt, time.Now())
		} else {
			wait = min(2*wait, longestReturnAgain)
		}
	}
	if last.IsZero() {
		return last
	}
	return last.Add(wait)
}
