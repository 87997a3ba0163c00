package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// Failure is an expectation that was not met. Line and Column are its place, and count from 1.
type Failure struct {
	File     string    `json:"file"`
	Line     int       `json:"line"`
	Column   int       `json:"column"`
	At       time.Time `json:"at"`       // of the virtual clock
	Expected string    `json:"expected"` // for people
	Got      string    `json:"got"`      // what was there instead, in one or more lines

	after time.Duration // from the start of the test on
}

// String returns the failure for people, in several lines.
func (f Failure) String() string {
	return fmt.Sprintf("%s:%d:%d: at %s: expected %s\n%s", f.File, f.Line, f.Column, when(f.At, f.after), f.Expected, f.Got)
}

func (p *play) fail(at place, expected, format string, args ...any) {
	p.failed = append(p.failed, Failure{
		File: p.file, Line: at.line, Column: at.column, At: p.world.now, after: p.world.now.Sub(p.world.start),
		Expected: expected, Got: fmt.Sprintf(format, args...),
	})
}

// expect holds what is there now against what a step expects.
func (p *play) expect(at place, want expectForm) {
	p.expectIncidents(at, want)
	p.expectNotifications(at, want)
	p.expectActions(at, want)
	p.expectEvents(at, want)
	p.expectErrors(at, want)
	p.expectMessages(at, want)
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
		p.fail(m.at, state+": "+m.value.String(), "%s", p.nearest(m.value, got))
	}
	if some || len(extra) == 0 {
		return
	}
	p.fail(at, "nothing else to be "+state, "there is:%s", list(extra, describe))
}

// metAnother is said where what is there fits an expectation, and met another one.
const metAnother = "which meets another expectation: one alert cannot meet two"

// metAlready says of an expectation that is not met that what fits it met another one; "" where
// nothing fits it.
func metAlready[W, G any](want W, got []G, fits func(W, G) bool) string {
	if slices.ContainsFunc(got, func(g G) bool { return fits(want, g) }) {
		return "\nwhich meets another expectation: one cannot meet two"
	}
	return ""
}

// nearest says what is there in place of an expected incident.
func (p *play) nearest(want alertForm, got []certmedic.Incident) string {
	for _, in := range append(got, p.open()...) {
		if in.Rule == want.Rule && p.isAbout(in.Subject, want.Subject) {
			return "there is: " + describe(in) + "\n" + cmp.Or(p.differs(want, in), metAnother)
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
			p.fail(w.at, w.value.String(), "%v", err)
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
	fits := func(w placed[notificationForm], n notification) bool { return p.tellsSo(w.value, n) }
	missing, extra := unmatched(each, got, fits)
	for _, m := range missing {
		p.fail(m.at, "to be told: "+m.value.String(), "told was:%s%s", list(got, notification.String), metAlready(m, got, fits))
	}
	extra = slices.DeleteFunc(extra, notification.event)
	if !want.Some && len(extra) > 0 {
		p.fail(at, "nothing else to be told", "told was:%s", list(extra, notification.String))
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
	fits := func(w placed[wantForm], g wish) bool {
		mode := w.value.mode()
		return w.value.Do == g.do && (w.value.Certificate == "" || w.value.Certificate == g.certificate) && (mode == "" || mode == g.mode)
	}
	missing, extra := unmatched(*want.Actions, got, fits)
	for _, m := range missing {
		p.fail(m.at, "to be asked for: "+m.value.String(), "asked for is:%s%s", list(got, wish.String), metAlready(m, got, fits))
	}
	if !want.Some && len(extra) > 0 {
		p.fail(at, "nothing else to be asked for", "asked for is:%s", list(extra, wish.String))
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
	wanted := want.Events.plain()
	if missing, extra := unmatched(wanted, got, func(w, g string) bool { return w == g }); len(missing) > 0 || !want.Some && len(extra) > 0 {
		p.fail(at, "events: "+cmp.Or(strings.Join(wanted, ", "), "none"), "there were: %s", cmp.Or(strings.Join(got, ", "), "none"))
	}
}

// expectErrors holds the rules that could not be asked since the step before against those of
// which that is expected. Nothing else has to be expected for a test to fail by them.
func (p *play) expectErrors(at place, want expectForm) {
	var wanted placedWords
	if want.Errors != nil {
		wanted = *want.Errors
	}
	failing := map[string]bool{}
	for _, rules := range p.failing {
		for rule := range rules {
			failing[rule] = true
		}
	}
	for _, h := range p.log[p.errors:] {
		failing[h.failing] = true
		if h.failing != "" && !slices.Contains(wanted.plain(), h.failing) {
			p.fail(at, "every rule to be asked", "%s could not be asked about %s: %s", h.failing, orElse(h.certificate, "fleet"), h.why)
		}
	}
	p.errors = len(p.log)
	for _, w := range wanted {
		if !failing[w.value] {
			_, err := p.about(w.value)
			p.fail(w.at, w.value+" not to be asked", "%v", cmp.Or(err, errors.New("it could be")))
		}
	}
}

// never reports what must not have happened in the whole test.
func (p *play) never(n placed[neverForm]) {
	if message, _ := n.value.checkMessage(); message {
		p.neverSent(n)
		return
	}
	n.value = n.value.plain()
	if n.value.Rule != "" {
		if _, err := p.about(n.value.Rule); err != nil {
			p.fail(n.at, n.value.Rule+" never to fire", "%v", err)
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
	p.fail(n.at, fmt.Sprintf("this to happen %s", times(n.value.CountGT)), "it happened %s:%s", times(len(happened)),
		list(happened, func(h happening) string { return p.event(h).String() }))
}

func times(n int) string {
	switch n {
	case 0:
		return "never"
	case 1:
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (p *play) isNever(n neverForm, h happening) bool {
	in := h.transition.Incident
	of := (n.Rule == "" || n.Rule == in.Rule) && (n.Severity == "" || n.Severity == in.Severity)
	switch {
	case n.Notification != "":
		told := notifications([]happening{h})
		return len(told) > 0 && told[0].kind == n.Notification && of && p.isAbout(told[0].incident.Subject, n.Subject)
	case !h.judged() || !of || !p.isAbout(in.Subject, n.Subject):
		return false
	case n.Action != "":
		return h.transition.Kind == certmedic.TransitionStep && h.transition.Step.Do == certmedic.StepKind(n.Action)
	default:
		return h.transition.Kind == certmedic.TransitionFiring
	}
}
