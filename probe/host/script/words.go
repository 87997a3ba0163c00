package script

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// maxValue bounds the values of variables that are put in, in bytes.
const maxValue = 4096

// text returns a word as the shell takes it, as far as that can be read: without quotes,
// with the variables that the script sets once; others stay as $NAME, and commands as $(...).
func (r *reading) text(w *syntax.Word) string {
	if w == nil {
		return ""
	}
	var b strings.Builder
	r.parts(&b, w.Parts, false)
	return b.String()
}

func (r *reading) parts(b *strings.Builder, parts []syntax.WordPart, quoted bool) {
	for _, part := range parts {
		if b.Len() > maxScript {
			return
		}
		switch p := part.(type) {
		case *syntax.Lit:
			b.WriteString(unescape(p.Value, quoted))
		case *syntax.SglQuoted:
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			r.parts(b, p.Parts, true)
		case *syntax.ParamExp:
			b.WriteString(r.variable(p))
		default:
			b.WriteString(r.source(p))
		}
	}
}

func (r *reading) variable(p *syntax.ParamExp) string {
	if p.Param == nil || p.Length || p.Excl || p.Slice != nil || p.Repl != nil || p.Index != nil {
		return r.source(p)
	}
	name := p.Param.Value
	plain := p.Exp == nil || p.Exp.Op == syntax.DefaultUnset || p.Exp.Op == syntax.DefaultUnsetOrNull ||
		p.Exp.Op == syntax.ErrorUnset || p.Exp.Op == syntax.ErrorUnsetOrNull
	if !plain {
		return r.source(p)
	}
	if value, ok := r.values[name]; ok {
		return value
	}
	return "$" + name
}

// unescape takes away backslashes; between double quotes only those that have a meaning there.
func unescape(s string, quoted bool) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (!quoted || strings.IndexByte("$`\"\\\n", s[i+1]) >= 0) {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// source returns a piece of the script as written.
func (r *reading) source(n syntax.Node) string {
	from, to := n.Pos().Offset(), n.End().Offset()
	if to > uint(len(r.data)) || from > to {
		return ""
	}
	return string(r.data[from:to])
}

// learn finds the variables that are set exactly once, by a plain assignment.
func (r *reading) learn(file *syntax.File) {
	set := map[string]int{}
	var plain []*syntax.Assign
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.WordIter:
			set[n.Name.Value] += 2
		case *syntax.Assign:
			if n.Name == nil || n.Naked {
				return true
			}
			set[n.Name.Value]++
			if n.Append || n.Array != nil || n.Index != nil {
				set[n.Name.Value]++
			}
			plain = append(plain, n)
		case *syntax.CallExpr:
			for name := range readInto(n) {
				set[name] += 2
			}
		}
		return true
	})
	for _, a := range plain {
		if value := r.text(a.Value); set[a.Name.Value] == 1 && len(value) <= maxValue {
			r.values[a.Name.Value] = value
		}
		r.assigned[a.Name.Value] = true
	}
}

// readInto returns the names that a call of read fills.
func readInto(c *syntax.CallExpr) map[string]bool {
	names := map[string]bool{}
	if len(c.Args) == 0 || c.Args[0].Lit() != "read" {
		return names
	}
	for _, arg := range c.Args[1:] {
		names[arg.Lit()] = true
	}
	return names
}
