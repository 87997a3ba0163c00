package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// Failure is an expectation that was not met, in full.
type Failure struct {
	Place   string `json:"place"` // file:line of the expectation
	At      string `json:"at"`    // of the virtual clock
	Message string `json:"message"`
}

func (p *play) fail(at place, format string, args ...any) {
	p.failed = append(p.failed, Failure{
		Place: fmt.Sprintf("%s:%d", p.file, at.line), At: p.when(p.world.now), Message: fmt.Sprintf(format, args...),
	})
}

// expect holds what is there now against what a step expects.
func (p *play) expect(at place, want expectForm) {
	p.expectIncidents(at, want)
	p.expectNotifications(at, want)
	p.expectActions(at, want)
	p.expectEvents(at, want)
}

func (p *play) expectIncidents(at place, want expectForm) {
	split := map[certmedic.IncidentState][]certmedic.Incident{}
	for _, in := range p.open() {
		split[in.State] = append(split[in.State], in)
	}
	if want.Alerts != nil {
		firing, pending := p.expand(*want.Alerts, certmedic.StateFiring)
		p.match(at, "firing", firing, split[certmedic.StateFiring], want.Some)
		p.match(at, "pending", pending, split[certmedic.StatePending], true)
	}
	if want.Pending != nil {
		_, pending := p.expand(*want.Pending, certmedic.StatePending)
		p.match(at, "pending", pending, split[certmedic.StatePending], want.Some)
	}
}

// match reports the expected incidents that are not there, and unless some are enough those
// that are there and not expected.
func (p *play) match(at place, state string, want []placed[alertForm], got []certmedic.Incident, some bool) {
	missing, extra := unmatched(want, got, func(w placed[alertForm], in certmedic.Incident) bool { return p.differs(w.value, in) == "" })
	for _, m := range missing {
		p.fail(m.at, "expected to be %s: %s\n%s", state, m.value, p.nearest(m.value, got))
	}
	if some || len(extra) == 0 {
		return
	}
	p.fail(at, "%s, but not expected:%s", state, list(extra, describe))
}

// nearest says what is there in place of an expected incident.
func (p *play) nearest(want alertForm, got []certmedic.Incident) string {
	for _, in := range append(got, p.open()...) {
		if in.Rule == want.Rule && p.isAbout(in.Subject, want.Subject) {
			return "there is: " + describe(in) + "\n" + p.differs(want, in)
		}
	}
	if len(got) == 0 {
		return "there is none"
	}
	return "there is:" + list(got, describe)
}

// differs says in what an incident is not as expected; "" where it is.
func (p *play) differs(want alertForm, in certmedic.Incident) string {
	switch {
	case want.Rule != "" && want.Rule != in.Rule:
		return "the rule differs"
	case !p.isAbout(in.Subject, want.Subject):
		return "the subject differs"
	case want.State != "" && want.State != in.State:
		return fmt.Sprintf("it is %s, expected %s", in.State, want.State)
	case want.Severity != "" && want.Severity != in.Severity:
		return fmt.Sprintf("its severity is %s, expected %s", in.Severity, want.Severity)
	case !strings.Contains(in.Reason, want.Because):
		return fmt.Sprintf("its reason is %q, expected to contain %q", in.Reason, want.Because)
	case !strings.Contains(in.Summary, want.Summary):
		return fmt.Sprintf("its summary is %q, expected to contain %q", in.Summary, want.Summary)
	case want.Members != nil:
		return p.membersDiffer(*want.Members, in.Members)
	}
	return ""
}

func (p *play) membersDiffer(want membersForm, got []string) string {
	if want.names == nil {
		if len(got) == want.count {
			return ""
		}
		return fmt.Sprintf("it has %d members, expected %d:%s", len(got), want.count, list(got, strings.Clone))
	}
	var names []string
	for _, name := range want.names {
		names = append(names, p.world.memberNames(name)...)
	}
	named := func(member, name string) bool { return member == name || strings.HasPrefix(member, name+" ") }
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(got, func(member string) bool { return named(member, name) })
	})
	extra := slices.DeleteFunc(slices.Clone(got), func(member string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return named(member, name) })
	})
	if len(missing)+len(extra) == 0 {
		return ""
	}
	return fmt.Sprintf("its members differ; missing:%s\nnot expected:%s", list(missing, strings.Clone), list(extra, strings.Clone))
}

// expand turns expectations about several endpoints into one for each, apart by their state,
// which is the usual one where they do not say.
func (p *play) expand(want []placed[alertForm], usual certmedic.IncidentState) (firing, pending []placed[alertForm]) {
	for _, w := range want {
		about, err := p.about(w.value.Rule)
		if err != nil && w.value.Rule != "" {
			p.fail(w.at, "%v", err)
			continue
		}
		for _, subject := range p.world.subjects(w.value.Subject, about) {
			one := w
			one.value.Subject, one.value.State = subject, cmp.Or(w.value.State, usual)
			if one.value.State == certmedic.StatePending {
				pending = append(pending, one)
			} else {
				firing = append(firing, one)
			}
		}
	}
	return firing, pending
}

func (p *play) expectNotifications(at place, want expectForm) {
	if want.Notifications == nil {
		return
	}
	got := notifications(p.log[p.told:])
	p.told = len(p.log)
	var each []placed[notificationForm]
	for _, w := range *want.Notifications {
		about, _ := p.about(w.value.Rule)
		for _, subject := range p.world.subjects(w.value.Subject, about) {
			one := w
			one.value.Subject = subject
			each = append(each, one)
		}
	}
	missing, extra := unmatched(each, got, func(w placed[notificationForm], n notification) bool { return p.tellsSo(w.value, n) })
	for _, m := range missing {
		p.fail(m.at, "expected to be told: %s\ntold was:%s", m.value, list(got, notification.String))
	}
	extra = slices.DeleteFunc(extra, notification.event)
	if !want.Some && len(extra) > 0 {
		p.fail(at, "told, but not expected:%s", list(extra, notification.String))
	}
}

func (p *play) tellsSo(want notificationForm, n notification) bool {
	in := n.incident
	for _, words := range want.Contains {
		if !strings.Contains(in.Summary+"\n"+in.Reason+"\n"+strings.Join(in.Members, "\n"), words) {
			return false
		}
	}
	return (want.Kind == n.kind || want.Kind == "" && !n.event()) && (want.Rule == "" || want.Rule == in.Rule) && p.isAbout(in.Subject, want.Subject) &&
		(want.Severity == "" || want.Severity == in.Severity)
}

func (p *play) expectActions(at place, want expectForm) {
	if want.Actions == nil {
		return
	}
	got := p.wishes()
	missing, extra := unmatched(*want.Actions, got, func(w placed[wantForm], g wish) bool {
		mode := w.value.mode()
		return w.value.Do == g.do && (w.value.Certificate == "" || w.value.Certificate == g.certificate) && (mode == "" || mode == g.mode)
	})
	for _, m := range missing {
		p.fail(m.at, "expected to be asked for: %s\nasked for is:%s", m.value, list(got, wish.String))
	}
	if !want.Some && len(extra) > 0 {
		p.fail(at, "asked for, but not expected:%s", list(extra, wish.String))
	}
}

func (p *play) expectEvents(at place, want expectForm) {
	if want.Events == nil {
		return
	}
	var got words
	for _, h := range p.log[p.events:] {
		if h.event != "" {
			got = append(got, string(h.event))
		}
	}
	p.events = len(p.log)
	if missing, extra := unmatched(*want.Events, got, func(w, g string) bool { return w == g }); len(missing) > 0 || !want.Some && len(extra) > 0 {
		p.fail(at, "expected events: %s; there were: %s", strings.Join(*want.Events, ", "), cmp.Or(strings.Join(got, ", "), "none"))
	}
}

// never reports what must not have happened in the whole test.
func (p *play) never(n placed[neverForm]) {
	n.value = n.value.plain()
	if n.value.Rule != "" {
		if _, err := p.about(n.value.Rule); err != nil {
			p.fail(n.at, "%v", err)
			return
		}
	}
	var happened []happening
	for _, h := range p.log {
		if p.isNever(n.value, h) {
			happened = append(happened, h)
		}
	}
	if len(happened) <= n.value.CountGT {
		return
	}
	p.fail(n.at, "happened %d times, expected at most %d:%s", len(happened), n.value.CountGT, list(happened, p.line))
}

func (p *play) isNever(n neverForm, h happening) bool {
	in := h.transition.Incident
	of := (n.Rule == "" || n.Rule == in.Rule) && (n.Severity == "" || n.Severity == in.Severity)
	switch {
	case n.Notification != "":
		told := notifications([]happening{h})
		return len(told) > 0 && told[0].kind == n.Notification && of && p.isAbout(told[0].incident.Subject, n.Subject)
	case h.event != "" || !of || !p.isAbout(in.Subject, n.Subject):
		return false
	case n.Action != "":
		return h.transition.Kind == certmedic.TransitionStep && h.transition.Step.Do == certmedic.StepKind(n.Action)
	default:
		return h.transition.Kind == certmedic.TransitionFiring
	}
}
