package acmelog

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Word says how the last attempt to renew a lineage ended.
type Word string

// The words.
const (
	AttemptOK         Word = "ok"
	AttemptHookFailed Word = "hook_failed" // a new version was stored, and a deploy hook failed
	AttemptFailed     Word = "failed"
	AttemptNotDue     Word = "not_due"
)

// Attempt is how the last attempt to renew a lineage ended.
type Attempt struct {
	Word  Word
	At    Line
	Cause certmedic.Cause // of one that failed; empty of others
	Time  time.Time       // when its run ended
}

// Attempts returns, by lineage, how the last attempt for those of a tree ended; the lineages of
// which the log does not tell that are left out. Dry runs are none. A run that found a lineage
// not due mends nothing: what failed before it stands.
func (l Log) Attempts(tree string) map[string]Attempt {
	mine := l.inTree(tree)
	last := map[string]Attempt{}
	for _, run := range l.Runs {
		if run.DryRun {
			continue
		}
		hooks := run.hooks()
		for _, n := range run.Renewals {
			before, known := last[n.Lineage]
			a, ok := attempt(run, n, hooks[n.Lineage])
			switch {
			case !mine(n) || a.Word == AttemptNotDue && known && before.Word != AttemptOK && before.Word != AttemptNotDue:
			case ok:
				last[n.Lineage] = a
			default:
				delete(last, n.Lineage)
			}
		}
	}
	return last
}

// hooks returns the deploy hook of each lineage that tells how they went: the first that failed,
// else one whose end is not known, else none.
func (r Run) hooks() map[string]Hook {
	var bad map[string]Hook
	for _, h := range r.Hooks {
		deploys := h.Kind == "deploy" || h.Kind == "reload"
		known, ok := bad[h.Lineage]
		if !deploys || h.Skipped || h.Ended && !h.Failed || ok && known.Failed {
			continue
		}
		if bad == nil {
			bad = map[string]Hook{}
		}
		bad[h.Lineage] = h
	}
	return bad
}

// attempt says how a run went for one lineage, given the hook that tells; false where that is
// not known.
func attempt(run Run, n Renewal, hook Hook) (Attempt, bool) {
	a := Attempt{At: n.At, Time: run.Ended}
	switch n.Result {
	case NotDue:
		a.Word = AttemptNotDue
	case Failed, Broken:
		a.Word, a.Cause = AttemptFailed, n.Cause
	case Renewed:
		a.Word = AttemptOK
	default:
		return a, false
	}
	if n.Result == Renewed && hook.Failed {
		a.Word, a.At = AttemptHookFailed, hook.Result
	}
	unknown := n.Result == Renewed && hook.Kind != "" && !hook.Failed
	return a, !unknown
}
