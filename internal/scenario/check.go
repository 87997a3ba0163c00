package scenario

import (
	"errors"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// checkExpected returns what is wrong with expectations whatever the rules are.
func (w *world) checkExpected(expected placed[expectForm]) (problems []error) {
	f := expected.value
	problems = append(problems, idle(expected))
	for _, list := range []*[]placed[alertForm]{f.Alerts, f.Pending} {
		for i := 0; list != nil && i < len(*list); i++ {
			problems = append(problems, w.checkAlert((*list)[i]))
		}
	}
	if f.Pending != nil {
		for _, a := range *f.Pending {
			if a.value.State == certmedic.StateFiring {
				problems = append(problems, a.at.problem("what is pending does not fire: it belongs to alerts"))
			}
		}
	}
	if f.Events != nil {
		for _, e := range *f.Events {
			if !alerting.Kind(e.value).News() {
				problems = append(problems, e.at.problem("event %q is neither renewed nor deployed", e.value))
			}
		}
	}
	if f.Notifications != nil {
		for _, n := range *f.Notifications {
			problems = append(problems, w.checkSubject(n.at, n.value.Subject))
			if n.value.Kind != "" && !slices.Contains(alerting.Kinds(), n.value.Kind) {
				problems = append(problems, n.at.problem("kind %q is none of %v", n.value.Kind, alerting.Kinds()))
			}
		}
	}
	if f.Actions != nil {
		for _, a := range *f.Actions {
			problems = append(problems, w.checkWant(a))
		}
	}
	return append(problems, f.checkMessages()...)
}

// idle tells that what is expected is there whatever happens.
func idle(expected placed[expectForm]) error {
	f := expected.value
	counts := []int{length(f.Alerts), length(f.Pending), length(f.Notifications), length(f.Actions), -1, -1, length(f.Slack), length(f.PagerDuty)}
	if f.Events != nil {
		counts[4] = len(*f.Events)
	}
	if f.Errors != nil {
		counts[5] = len(*f.Errors)
	}
	switch most := slices.Max(counts); {
	case most < 0:
		return expected.at.problem("it expects nothing: say which alerts, notifications, actions, events or messages there are; [] for none")
	case most == 0 && f.Some:
		return expected.at.problem("none are expected, and there may be some: it cannot fail")
	}
	return nil
}

// length returns how long a list is that was given; -1 where none was.
func length[T any](list *[]T) int {
	if list == nil {
		return -1
	}
	return len(*list)
}

func (w *world) checkAlert(a placed[alertForm]) error {
	problem := w.checkSubject(a.at, a.value.Subject)
	if a.value.Rule == "" {
		problem = errors.Join(problem, a.at.problem("of which rule? rule: NAME"))
	}
	if s := a.value.State; s != "" && s != certmedic.StateFiring && s != certmedic.StatePending {
		problem = errors.Join(problem, a.at.problem("state %q is neither firing nor pending", s))
	}
	return errors.Join(problem, checkSeverity(a.at, a.value.Severity))
}

func checkSeverity(at place, s certmedic.Severity) error {
	if s == "" || s == certmedic.SeverityInfo || s == certmedic.SeverityWarning || s == certmedic.SeverityCritical {
		return nil
	}
	return at.problem("severity %q is none of info, warning, critical", s)
}

func (w *world) checkWant(a placed[wantForm]) error {
	switch mode := a.value.mode(); {
	case !slices.Contains(certmedic.ActionKinds(), a.value.Do):
		return a.at.problem("do %q is none of reload, redeploy, rollback, renew", a.value.Do)
	case a.value.Certificate != "" && w.cert(a.value.Certificate) == nil:
		return a.at.problem("there is no certificate %q", a.value.Certificate)
	case mode != "" && !slices.Contains(certmedic.Modes(), mode):
		return a.at.problem("mode %q is none of observe, plan, approve, auto", a.value.Mode)
	}
	return nil
}

// checkSubject returns what is wrong with the name of a subject. Files go by their path.
func (w *world) checkSubject(at place, name string) error {
	if name == "" || name == "fleet" || name == "the fleet" || w.cert(name) != nil || strings.HasPrefix(name, "/") {
		return nil
	}
	if _, err := w.choose(name); err != nil {
		return at.problem("subject %q is neither a certificate nor an endpoint nor fleet", name)
	}
	return nil
}

func (w *world) checkNever(n placed[neverForm]) error {
	f := n.value.plain()
	message, problem := f.checkMessage()
	switch {
	case problem != nil:
		return problem
	case message && f.Rule+f.Subject+string(f.Severity)+string(f.Action)+string(f.Notification) != "":
		return n.at.problem("what is never sent stands by itself")
	case f.most() < 0:
		return n.at.problem("count_gt %d: a count is not negative", f.most())
	case message:
		return nil
	case f.Rule+f.Subject+string(f.Severity)+string(f.Action)+string(f.Notification) == "":
		return n.at.problem("what must never happen? {rule: NAME}, {action: KIND}, {notification: KIND}, {slack: {op: OP}} or {pagerduty: {action: ACTION}}")
	case f.Action != "" && !slices.Contains(certmedic.ActionKinds(), f.Action):
		return n.at.problem("action %q is none of reload, redeploy, rollback, renew", f.Action)
	case f.Notification != "" && !slices.Contains(alerting.Kinds(), f.Notification):
		return n.at.problem("notification %q is none of %v", f.Notification, alerting.Kinds())
	}
	return errors.Join(w.checkSubject(n.at, f.Subject), checkSeverity(n.at, f.Severity))
}
