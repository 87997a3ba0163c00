package apache

import (
	"cmp"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// maxExpanded bounds what one use of a macro makes, in bytes.
const maxExpanded = 8 << 20

// macro is a piece of configuration with parameters, of mod_macro.
type macro struct {
	params []string
	path   string
	lines  []line
}

func isMacro(text string) bool {
	words := strings.Fields(text)
	return len(words) > 1 && strings.EqualFold(words[0], "<Macro")
}

// defineMacro keeps the lines up to the macro's end, the first of which opens it, and
// returns how many come behind that one. A macro of a section that is off is not kept.
func (p *parser) defineMacro(at place, lines []line, off bool) int {
	end := slices.IndexFunc(lines, func(l line) bool { return strings.EqualFold(strings.TrimSpace(l.text), "</Macro>") })
	if end < 0 {
		p.problems.At(at.path, lines[0].number, "the section %q does not end", "macro")
		return len(lines)
	}
	words := p.words(strings.TrimSuffix(lines[0].text[1:], ">"))
	if len(words) > 1 && !off {
		p.macros[strings.ToLower(words[1])] = macro{params: words[2:], path: at.path, lines: lines[1:end]}
	}
	return end
}

// useMacro reads the lines of a macro with its parameters replaced.
func (p *parser) useMacro(at place, l line, words []string, h *host) {
	m, ok := p.macros[strings.ToLower(words[0])]
	switch {
	case !ok:
		p.problems.At(at.path, l.number, "no macro %q", words[0])
		return
	case len(m.params) != len(words)-1:
		p.problems.At(at.path, l.number, "macro %q takes %d parameters", words[0], len(m.params))
		return
	case at.depth >= conf.MaxDepth:
		p.problems.Limit(at.path, l.number, "macros use each other more than %d deep", conf.MaxDepth)
		return
	}
	lines, ok := m.expand(words[1:])
	if !ok {
		p.problems.Limit(at.path, l.number, "macro %q makes a line of more than %d bytes, or more than %d in all", words[0], conf.MaxValue, maxExpanded)
		return
	}
	p.readLines(place{path: m.path, depth: at.depth + 1, macro: true}, lines, h)
}

// expand returns the macro's lines with its parameters replaced, and whether none is too
// long for that, nor all of them together.
func (m macro) expand(values []string) ([]line, bool) {
	if slices.ContainsFunc(values, func(value string) bool { return len(value) > conf.MaxValue }) {
		return nil, false
	}
	replacer := m.replacer(values)
	lines, size := make([]line, len(m.lines)), 0
	for i, inner := range m.lines {
		if len(inner.text) > conf.MaxValue {
			return nil, false
		}
		text := replacer.Replace(inner.text)
		if size += len(text); len(text) > conf.MaxValue || size > maxExpanded {
			return nil, false
		}
		lines[i] = line{text, inner.number}
	}
	return lines, true
}

// replacer replaces the parameters, the longest first, as one may begin another.
func (m macro) replacer(values []string) *strings.Replacer {
	order := make([]int, len(m.params))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(m.params[b]), len(m.params[a])) })
	var pairs []string
	for _, i := range order {
		if m.params[i] != "" {
			pairs = append(pairs, m.params[i], values[i])
		}
	}
	return strings.NewReplacer(pairs...)
}
