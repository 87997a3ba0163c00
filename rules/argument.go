package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/hint"
)

// argument says what a named condition has to be told.
type argument string

// The kinds of arguments. Those that say "or a list" hold for any one of several.
const (
	plain    argument = ""                                      // true or false
	spans    argument = "duration, or share of life, or a list" // all of which hold
	wait     argument = "duration"
	number   argument = "whole number"
	words    argument = "word, or a list"
	keyTypes argument = "type of key, or a list"
	globs    argument = "name with *, or a list"
	patterns argument = "regular expression, or a list"
	labels   argument = "label, or labels with values"
)

// maxSpan bounds durations of conditions; no certificate lives as long.
const maxSpan = 36600 * 24 * time.Hour

// argue puts a value into the form of a named condition. It returns "" after a problem.
func (l *loader) argue(c *named, f form, n ast.Node) string {
	before := len(l.problems)
	cel := ""
	switch c.takes {
	case plain:
		cel = l.flagged(n, f)
	case spans:
		cel = l.spans(n, f)
	case wait:
		cel = fill(f.cel, l.span(n))
	case number:
		cel = fill(f.cel, l.number(n))
	case words, keyTypes:
		cel = fill(f.cel, l.words(n, c))
	case globs:
		cel = fill(f.cel, l.globs(n))
	case patterns:
		cel = fill(f.cel, l.patterns(n))
	case labels:
		cel = l.labels(n, strings.Fields(f.cel))
	}
	if len(l.problems) > before {
		return ""
	}
	return cel
}

// fill puts an argument into an expression. What the argument holds is not looked at again.
func fill(cel, argument string) string { return strings.ReplaceAll(cel, "%s", argument) }

// quoted returns the CEL literal of a text: escapes that Go and CEL have in common.
func quoted(text string) string { return strconv.Quote(strings.ToValidUTF8(text, "\ufffd")) }

// literals returns the CEL list of texts.
func literals(texts []string) string {
	all := make([]string, 0, len(texts))
	for _, t := range texts {
		all = append(all, quoted(t))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// several returns the values of a list, or the one value.
func (l *loader) several(n ast.Node) []ast.Node {
	list, ok := n.(*ast.SequenceNode)
	switch {
	case !ok:
		return []ast.Node{n}
	case len(list.Values) == 0:
		l.problem(n, "the list is empty")
	}
	return list.Values
}

func (l *loader) flagged(n ast.Node, f form) string {
	value, ok := n.(*ast.BoolNode)
	switch {
	case !ok:
		l.problem(n, "must be true or false")
		return ""
	case value.Value:
		return f.cel
	}
	return "!(" + f.cel + ")"
}

func (l *loader) spans(n ast.Node, f form) string {
	var parts []string
	for _, each := range l.several(n) {
		percent, share := strings.CutSuffix(l.text(each), "%")
		switch {
		case !share:
			parts = append(parts, fill(f.cel, l.span(each)))
		case f.share == "":
			l.problem(each, "must be a duration such as 14d: shares are of what is served")
		default:
			parts = append(parts, fill(f.share, l.share(each, percent)))
		}
	}
	return joined(parts, " && ")
}

func (l *loader) share(n ast.Node, percent string) string {
	x, err := strconv.ParseFloat(percent, 64)
	if err != nil || !(x > 0 && x <= 100) {
		l.problem(n, "%q is not a share of life between 0%% and 100%%", percent+"%")
		return ""
	}
	text := strconv.FormatFloat(x/100, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// span returns a duration in CEL.
func (l *loader) span(n ast.Node) string {
	text := l.text(n)
	d, err := certmedic.ParseDuration(text)
	switch {
	case err != nil:
		l.problem(n, "%v", err)
	case d <= 0 || d > maxSpan:
		l.problem(n, "%q is not between 0 and 36600 days", text)
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("days(%d)", d/(24*time.Hour))
	}
	return fmt.Sprintf("duration(%q)", d)
}

func (l *loader) number(n ast.Node) string {
	text := l.text(n)
	if x, err := strconv.ParseUint(text, 10, 31); err == nil {
		return strconv.FormatUint(x, 10)
	}
	l.problem(n, "%q is not a whole number", text)
	return ""
}

// words returns the CEL list of words, each checked.
func (l *loader) words(n ast.Node, c *named) string {
	var all []string
	for _, each := range l.several(n) {
		word := l.text(each)
		if why := c.refuses(word); why != "" {
			l.problem(each, "%s", why)
		}
		all = append(all, word)
	}
	return literals(all)
}

// refuses says why a word is none that the condition could ever meet, or returns "".
func (c *named) refuses(word string) string {
	if c.takes == keyTypes {
		if isKeyType(word) {
			return ""
		}
		known := closedSets()[varKeyType]
		return fmt.Sprintf("%q is no type of key%s", word, hint.OrAll(word, known))
	}
	if accepted := c.accepted(); !slices.Contains(accepted, word) {
		return fmt.Sprintf("%q is not known here%s", word, hint.OrAll(word, accepted))
	}
	return ""
}

// globs returns how CEL goes on after what is compared with names, some with a *.
func (l *loader) globs(n ast.Node) string {
	var names, forms []string
	wild := false
	for _, each := range l.several(n) {
		name := l.text(each)
		if name == "" {
			l.problem(each, "the name is empty")
		}
		wild = wild || strings.Contains(name, "*")
		names = append(names, name)
		forms = append(forms, strings.ReplaceAll(regexp.QuoteMeta(name), `\*`, ".*"))
	}
	if !wild {
		return " in " + literals(names)
	}
	return ".matches(" + quoted("^(?:"+strings.Join(forms, "|")+")$") + ")"
}

// patterns returns the expression for a name in the form of RFC 2253 that is, or whose
// common name is, one of those that regular expressions describe.
func (l *loader) patterns(n ast.Node) string {
	var all []string
	for _, each := range l.several(n) {
		text := l.text(each)
		if text == "" {
			l.problem(each, "the regular expression is empty")
		}
		grouped := "(?:" + text + ")"
		for _, form := range []string{text, grouped} { // "a)|(b" is one only in brackets, `\Qa` only without
			if _, err := regexp.Compile(form); err != nil {
				l.problem(each, "%q is not a regular expression: %v", text, err)
				break
			}
		}
		all = append(all, grouped)
	}
	either := strings.Join(all, "|")
	return quoted(fmt.Sprintf("^(?:%s)$|(?:^|[,+])CN=(?:%s)(?:[,+]|$)", either, either))
}

// labels returns the expression for labels in one of the given tables.
func (l *loader) labels(n ast.Node, tables []string) string {
	if _, word := n.(ast.ScalarNode); word {
		return labelled(l.text(n), nil, tables)
	}
	entries := l.entries(n, "label")
	if len(entries) == 0 {
		l.problem(n, "label names none")
	}
	var parts []string
	for _, e := range entries {
		var values []string
		if value := l.resolve(e.Value); value != nil {
			for _, each := range l.several(value) {
				values = append(values, l.text(each))
			}
		}
		parts = append(parts, labelled(l.text(e.Key), values, tables))
	}
	return joined(parts, " && ")
}

// labelled returns the expression for one label, with one of the values if there are any.
func labelled(label string, values, tables []string) string {
	var parts []string
	for _, table := range tables {
		part := quoted(label) + " in " + table
		if len(values) > 0 {
			part += fmt.Sprintf(" && %s[%s] in %s", table, quoted(label), literals(values))
		}
		parts = append(parts, part)
	}
	return joined(parts, " || ")
}
