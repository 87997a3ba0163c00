package scenario_test

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// ruleMap is a rule as it stands in its file.
type ruleMap map[string]any

// mutant is a rule with one thing in it that is wrong.
type mutant struct {
	name string // of the rule
	what string // where, and what was changed
	rule ruleMap
}

// mutants lists every rule that differs in one thing from a given one: a comparison, a
// number, a connective, what it connects, a negation, a member of a list, a duration, a
// severity, a step.
func mutants(rule ruleMap) []mutant {
	m := mutator{rule: rule}
	m.condition(rule, "when", func(value any) ruleMap { return with(rule, "when", value) })
	for _, key := range []string{"for", "keep_firing_for"} {
		m.duration(rule, key, func(value any) ruleMap { return with(rule, key, value) })
	}
	m.severity(rule, "", func(value any) ruleMap { return with(rule, "severity", value) })
	m.ladder()
	return m.all
}

// with returns the rule or step with another value of a key, or without it.
func with(m map[string]any, key string, value any) ruleMap {
	changed := maps.Clone(m)
	changed[key] = value
	if value == nil {
		delete(changed, key)
	}
	return changed
}

type mutator struct {
	rule ruleMap
	all  []mutant
}

func (m *mutator) add(what string, rule ruleMap) {
	m.all = append(m.all, mutant{fmt.Sprint(m.rule["name"]), what, rule})
}

func (m *mutator) duration(of map[string]any, key string, put func(any) ruleMap) {
	text, ok := of[key].(string)
	if !ok {
		m.add(key+": there is one of 1m", put("1m"))
		return
	}
	d, err := certmedic.ParseDuration(strings.Replace(text, "deploy_grace", grace.String(), 1))
	if err != nil {
		panic(err)
	}
	for _, other := range []any{(d / 2).String(), (d * 2).String(), nil} {
		m.add(fmt.Sprintf("%s: %s becomes %v", key, text, other), put(other))
	}
}

func (m *mutator) severity(of map[string]any, at string, put func(any) ruleMap) {
	other := map[any]any{"warning": "critical", "critical": "warning", "info": "warning"}[of["severity"]]
	if other != nil {
		m.add(fmt.Sprintf("%sseverity: %v becomes %v", at, of["severity"], other), put(other))
	}
}

func (m *mutator) ladder() {
	steps, _ := m.rule["ladder"].([]any)
	for i, s := range steps {
		step := s.(map[string]any)
		at := fmt.Sprintf("step %d (%v) ", i+1, step["do"])
		put := func(changed ruleMap) ruleMap {
			ladder := slices.Clone(steps)
			ladder[i] = changed
			return with(m.rule, "ladder", ladder)
		}
		m.add(at+"is dropped", with(m.rule, "ladder", slices.Delete(slices.Clone(steps), i, i+1)))
		other := map[any]any{"notify": "redeploy", "redeploy": "rollback", "rollback": "renew", "renew": "redeploy"}[step["do"]]
		m.add(at+fmt.Sprintf("becomes %v", other), put(with(step, "do", other)))
		before := len(m.all)
		if step["after"] != nil {
			m.duration(step, "after", func(value any) ruleMap { return put(with(step, "after", value)) })
		}
		if step["when"] != nil {
			m.add("its when is dropped", put(with(step, "when", nil)))
		}
		m.condition(step, "when", func(value any) ruleMap { return put(with(step, "when", value)) })
		m.severity(step, "", func(value any) ruleMap { return put(with(step, "severity", value)) })
		for j := before; j < len(m.all); j++ {
			m.all[j].what = at + m.all[j].what
		}
	}
}

// token finds the words of a condition: strings, numbers, names with their dots, operators.
var token = regexp.MustCompile(`"[^"]*"|'[^']*'|\d+(\.\d+)?|[A-Za-z_][\w.]*|[<>=!]=|&&|\|\||\S`)

func (m *mutator) condition(of map[string]any, key string, put func(any) ruleMap) {
	text, ok := of[key].(string)
	if !ok {
		return
	}
	at := token.FindAllStringIndex(text, -1)
	word := func(i int) string {
		if i < 0 || i >= len(at) {
			return ""
		}
		return text[at[i][0]:at[i][1]]
	}
	for i := range at {
		for _, e := range edits(word(i-1), word(i), word(i+1)) {
			changed := text[:at[i][0]] + e + text[at[i][1]:]
			m.add(fmt.Sprintf("%s: %s becomes %q at column %d of %s", key, word(i), e, at[i][0]+1, text), put(changed))
		}
		if inList(text[:at[i][0]]) && strings.HasPrefix(word(i), `"`) {
			m.add(fmt.Sprintf("%s: %s is dropped from its list", key, word(i)), put(without(text, at[i], word(i-1), word(i+1))))
		}
	}
	for _, half := range halves(text) {
		m.add(fmt.Sprintf("%s: only %q is left of %s", key, half, text), put(half))
	}
}

// connective joins what a condition consists of.
var connective = regexp.MustCompile(`\s*(&&|\|\|)\s*`)

// halves lists what is before each connective of a condition, and what is behind it.
func halves(text string) (all []string) {
	for _, at := range connective.FindAllStringIndex(text, -1) {
		all = append(all, text[:at[0]], text[at[1]:])
	}
	return all
}

// inList reports whether a condition is within a list after some text.
func inList(before string) bool { return strings.Count(before, "[") > strings.Count(before, "]") }

// without removes the member of a list, with the comma that stands with it.
func without(text string, at []int, before, after string) string {
	head, tail := text[:at[0]], text[at[1]:]
	switch {
	case after == ",":
		_, tail, _ = strings.Cut(tail, ",")
	case before == ",":
		head = head[:strings.LastIndex(head, ",")]
	}
	return head + tail
}

// edits lists what may stand in place of a word that is wrong.
func edits(before, word, after string) []string {
	switch word {
	case "<", "<=", ">", ">=", "==", "!=":
		return map[string][]string{
			"<": {"<=", ">"}, "<=": {"<", ">="}, ">": {">=", "<"}, ">=": {">", "<="}, "==": {"!="}, "!=": {"=="},
		}[word]
	case "&&":
		return []string{"||"}
	case "||":
		return []string{"&&"}
	case "!":
		return []string{""}
	}
	operand := slices.Contains([]string{"", "&&", "||"}, before) && slices.Contains([]string{"", "&&", "||"}, after)
	switch first := word[0]; {
	case operand && first >= 'a' && first <= 'z':
		return []string{"!" + word}
	case first >= '0' && first <= '9':
		return numbers(word)
	case word == "certificate.findings.exists", word == "certificate.stored_findings.exists":
		return []string{strings.Replace(word, "exists", "all", 1)}
	case word == "certificate.findings":
		return []string{"certificate.stored_findings"}
	case word == "certificate.stored_findings":
		return []string{"certificate.findings"}
	case first == '"' && before == "(":
		return durations(strings.Trim(word, `"`))
	case first == '"' && (after == "in" || before == "==" || before == "!="):
		return []string{`"something else"`}
	}
	return nil
}

// numbers lists numbers that are a fifth too small and too large, small integers by one.
func numbers(word string) []string {
	x, err := strconv.ParseFloat(word, 64)
	if err != nil {
		panic(err)
	}
	if strings.Contains(word, ".") {
		return []string{strconv.FormatFloat(x*0.8, 'f', 4, 64), strconv.FormatFloat(x*1.2, 'f', 4, 64)}
	}
	by := max(1, math.Round(x/5))
	return []string{strconv.Itoa(int(x - by)), strconv.Itoa(int(x + by))}
}

// durations lists durations that are a fifth too short and too long.
func durations(word string) []string {
	d, err := time.ParseDuration(word)
	if err != nil {
		return nil
	}
	return []string{strconv.Quote((d * 4 / 5).String()), strconv.Quote((d * 6 / 5).String())}
}
