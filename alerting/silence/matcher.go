package silence

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Op compares a label with a value.
type Op string

// The comparisons, as Prometheus and Alertmanager write them. Regular expressions have to match
// all of the label's value.
const (
	Equal    Op = "="
	NotEqual Op = "!="
	Match    Op = "=~"
	NotMatch Op = "!~"
)

// Matcher is a condition on one label of an event: certificate, rule, severity, or one of the
// certificate's own. A label that is not there has the value "".
type Matcher struct {
	Label string `json:"label"`
	Op    Op     `json:"op"`
	Value string `json:"value"`

	expression *regexp.Regexp // of Match and NotMatch
}

// maxValue bounds a matcher's value, in bytes.
const maxValue = 1000

// ParseMatcher reads LABEL=VALUE, LABEL!=VALUE, LABEL=~REGEXP or LABEL!~REGEXP; the value may be in
// double quotes.
func ParseMatcher(text string) (Matcher, error) {
	at := strings.IndexAny(text, "=!")
	if at <= 0 || at+1 > len(text) {
		return Matcher{}, fmt.Errorf("%q is no matcher: want LABEL=VALUE, LABEL!=VALUE, LABEL=~REGEXP or LABEL!~REGEXP", text)
	}
	m := Matcher{Label: strings.TrimSpace(text[:at])}
	rest := text[at:]
	for _, op := range []Op{NotEqual, NotMatch, Match, Equal} {
		if value, ok := strings.CutPrefix(rest, string(op)); ok {
			m.Op, m.Value = op, strings.TrimSpace(value)
			break
		}
	}
	if strings.HasPrefix(m.Value, `"`) {
		value, err := strconv.Unquote(m.Value)
		if err != nil {
			return Matcher{}, fmt.Errorf("the value of matcher %q does not end its quotes", text)
		}
		m.Value = value
	}
	return m, m.compile()
}

// compile checks the matcher, and makes it ready for use.
func (m *Matcher) compile() error {
	switch {
	case m.Label == "" || strings.ContainsAny(m.Label, " \t\n\"{}~,"):
		return fmt.Errorf("%q is no label", m.Label)
	case len(m.Value) > maxValue:
		return fmt.Errorf("the value of the matcher for %q is longer than %d bytes", m.Label, maxValue)
	}
	switch m.Op {
	case Equal, NotEqual:
		return nil
	case Match, NotMatch:
		if _, err := regexp.Compile(m.Value); err != nil { // by itself: it may not end the group below
			return fmt.Errorf("the regular expression of the matcher for %q: %w", m.Label, err)
		}
		expression, err := regexp.Compile("^(?s:" + m.Value + ")$")
		if err != nil {
			return fmt.Errorf("the regular expression of the matcher for %q: %w", m.Label, err)
		}
		m.expression = expression
		return nil
	}
	return fmt.Errorf("the matcher for %q compares by %q: want =, !=, =~ or !~", m.Label, m.Op)
}

// fits reports whether a label's value meets the condition. One that was not compiled fits
// nothing.
func (m Matcher) fits(value string) bool {
	switch m.Op {
	case Equal:
		return value == m.Value
	case NotEqual:
		return value != m.Value
	case Match:
		return m.expression != nil && m.expression.MatchString(value)
	case NotMatch:
		return m.expression != nil && !m.expression.MatchString(value)
	}
	return false
}

// String writes the matcher as [ParseMatcher] reads it.
func (m Matcher) String() string { return m.Label + string(m.Op) + strconv.Quote(m.Value) }
