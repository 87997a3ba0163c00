package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/alerting/slack"
)

// The receivers that stories have.
const (
	receiverSlack = "slack"
	receiverPager = "pagerduty"
)

// What messages can do.
const (
	opPost   = "post"   // in Slack: a new message
	opUpdate = "update" // a message that was there shows something else; an alert was triggered again, which is silent
	opReply  = "reply"  // in the thread of a message

	actionTrigger     = "trigger" // an alert that opens, and calls somebody
	actionAcknowledge = "acknowledge"
	actionResolve     = "resolve"
	actionChange      = "change" // an entry that calls nobody
)

// slackForm is an expected message in Slack.
type slackForm struct {
	Op       placed[string] `yaml:"op"`
	Contains words          `yaml:"contains"`
	Thread   *threadForm    `yaml:"thread"`
}

type threadForm struct {
	Contains words `yaml:"contains"`
}

// pagerForm is an expected event of PagerDuty.
type pagerForm struct {
	Action   placed[string] `yaml:"action"`
	Severity placed[string] `yaml:"severity"`
	DedupKey string         `yaml:"dedup_key"`
	Contains words          `yaml:"contains"`
}

// neverSlack and neverPager are messages that must not be sent, or not more often.
type neverSlack struct {
	Form    slackForm `yaml:",inline"`
	CountGT int       `yaml:"count_gt"`
}

type neverPager struct {
	Form    pagerForm `yaml:",inline"`
	CountGT int       `yaml:"count_gt"`
}

// clickForm is a button that somebody presses in Slack.
type clickForm struct {
	Action      placed[string] `yaml:"action"`
	User        string         `yaml:"user"`
	Certificate string         `yaml:"certificate"`
}

// buttons are the action IDs of what a click may be.
func buttons() map[string]string {
	return map[string]string{"ack": slack.ActionAck, "silence": slack.ActionSilence}
}

func (f slackForm) check(at place) error {
	if f.Op.value == "" {
		return at.problem("what is done in Slack? op: post, update or reply")
	}
	return among(f.Op.at, "op", f.Op.value, []string{opPost, opUpdate, opReply})
}

func (f pagerForm) check(at place) error {
	if f.Action.value == "" {
		return at.problem("what is PagerDuty told? action: trigger, update, acknowledge, resolve or change")
	}
	all := []string{actionTrigger, opUpdate, actionAcknowledge, actionResolve, actionChange}
	if err := among(f.Action.at, "action", f.Action.value, all); err != nil || f.Severity.value == "" {
		return err
	}
	return among(f.Severity.at, "severity", f.Severity.value, []string{"critical", "error", "warning", "info"})
}

// check returns what is wrong with a click.
func (f clickForm) check(w *world, at place) error {
	switch action := f.Action.value; {
	case action == "approve" || action == "reject":
		return f.Action.at.problem("%s needs a plan, and a story makes none: expect `actions`, and say what came of one with `action`", action)
	case action == "":
		return at.problem("which button is pressed? action: ack or silence")
	case buttons()[action] == "":
		return among(f.Action.at, "action", action, []string{"ack", "silence"})
	case f.Certificate != "" && w.cert(f.Certificate) == nil:
		return at.problem("there is no certificate %q", f.Certificate)
	}
	return nil
}

// checkMessages returns what is wrong with expected messages.
func (f expectForm) checkMessages() (problems []error) {
	if f.Slack != nil {
		for _, m := range *f.Slack {
			problems = append(problems, m.value.check(m.at))
		}
	}
	if f.PagerDuty != nil {
		for _, m := range *f.PagerDuty {
			problems = append(problems, m.value.check(m.at))
		}
	}
	return problems
}

// check returns what is wrong with messages that must not be sent; message reports whether it is about one.
func (f neverForm) checkMessage() (message bool, problem error) {
	switch {
	case f.Slack != nil && f.PagerDuty != nil:
		return true, f.Slack.at.problem("slack and pagerduty are two: write one below the other")
	case f.Slack != nil:
		return true, f.Slack.value.Form.check(f.Slack.at)
	case f.PagerDuty != nil:
		return true, f.PagerDuty.value.Form.check(f.PagerDuty.at)
	}
	return false, nil
}

// speaks reports whether the test says anything of messages: only then they are made.
func (f testForm) speaks() bool {
	return slices.ContainsFunc(f.Steps, func(s placed[stepForm]) bool {
		e := s.value.expected()
		return s.value.SlackClick != nil || e.Slack != nil || e.PagerDuty != nil
	}) || slices.ContainsFunc(f.Never, func(n placed[neverForm]) bool { return n.value.Slack != nil || n.value.PagerDuty != nil })
}

// String renders an expected message.
func (f slackForm) String() string {
	text := f.Op.value
	if len(f.Contains) > 0 {
		text += fmt.Sprintf(" with %q", []string(f.Contains))
	}
	if f.Thread != nil {
		text += fmt.Sprintf(", in its thread %q", []string(f.Thread.Contains))
	}
	return text
}

// String renders an expected event.
func (f pagerForm) String() string {
	parts := []string{f.Action.value}
	if f.Severity.value != "" {
		parts = append(parts, f.Severity.value)
	}
	if f.DedupKey != "" {
		parts = append(parts, "with the key that the story calls "+f.DedupKey)
	}
	if len(f.Contains) > 0 {
		parts = append(parts, fmt.Sprintf("with %q", []string(f.Contains)))
	}
	return strings.Join(parts, " ")
}
