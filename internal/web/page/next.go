package page

import (
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/approval"
)

// next is something that certmedic will do.
type next struct {
	Said string
	At   moment
	Note string // why it is not done so
}

// nexts says what certmedic will do for a certificate, and when.
func nexts(v watchdog.View, plans []approval.Approval, now time.Time) []next {
	if v.Action != nil && v.Action.Outcome.Kind == certmedic.OutcomeRunning {
		return []next{{Said: string(v.Action.Kind) + " is under way since", At: at(v.Action.StartedAt, now)}}
	}
	var all []next
	for _, p := range waiting(plans, v.Name) {
		all = append(all, next{Said: string(p.Kind) + " waits for approval, which ends", At: at(p.Expires, now)})
	}
	if in, ok := worst(v); ok {
		return append(all, steps(v, in.NextStep, now)...)
	}
	return append(all, renewal(v, now)...)
}

// renewal says when a certificate that is fine is renewed.
func renewal(v watchdog.View, now time.Time) []next {
	switch {
	case v.Loan != nil:
		return []next{{Said: "what is lent has to be replaced:", At: at(v.Loan.Until, now)}}
	case v.Renewal == nil || v.Watched:
		return nil
	case !v.Renewal.Scheduled.IsZero():
		return []next{{Said: "renews it", At: at(v.Renewal.Scheduled, now)}}
	case v.Renewal.Due.IsZero():
		return nil
	}
	if v.Renewal.Due.Before(now) {
		return []next{{Said: "waits for a renewal, overdue since", At: at(v.Renewal.Due, now)}}
	}
	return []next{{Said: "waits for a renewal, which is overdue", At: at(v.Renewal.Due, now)}}
}

// steps reads what an incident says of its next steps: "notify at 2026-03-14T09:36:15Z, redeploy once
// its condition holds". Where it does not say so, its words stand.
func steps(v watchdog.View, said string, now time.Time) []next {
	if said == "" {
		return nil
	}
	var all []next
	for _, one := range strings.Split(said, ", ") {
		n := next{Said: one}
		if what, when, timed := strings.Cut(one, " at "); timed {
			if t, err := time.Parse(time.RFC3339, when); err == nil {
				n = next{Said: what, At: at(t, now)}
			}
		}
		kind, _, _ := strings.Cut(one, " ")
		n.Note = hindrance(v, certmedic.ActionKind(kind))
		all = append(all, n)
	}
	return all
}

// hindrance says why a step of a ladder will not be carried out as it stands.
func hindrance(v watchdog.View, kind certmedic.ActionKind) string {
	if v.Name == "" || !isAction(kind) {
		return ""
	}
	switch {
	case v.Mode == certmedic.ModeObserve || v.Mode == "":
		return "not done: mode observe"
	case !v.Certs.Allows(kind):
		return "not done: not allowed"
	case v.Mode == certmedic.ModePlan:
		return "only shown: mode plan"
	case v.Mode == certmedic.ModeApprove:
		return "after approval"
	}
	return ""
}

func isAction(kind certmedic.ActionKind) bool {
	for _, k := range certmedic.ActionKinds() {
		if k == kind {
			return true
		}
	}
	return false
}

// waiting returns the plans of a certificate that people can still say something about.
func waiting(plans []approval.Approval, certificate string) []approval.Approval {
	var all []approval.Approval
	for _, p := range plans {
		if p.Certificate == certificate && p.State == approval.Pending {
			all = append(all, p)
		}
	}
	return all
}
