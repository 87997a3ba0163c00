package apache

import (
	"path/filepath"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// line is a line with those that it continues on, without blanks around it.
type line struct {
	text   string
	number int // of its first line
}

// splitLines returns the lines that are neither blank nor comments. A backslash at a line's
// end continues it on the next one, also that of a comment.
func splitLines(text string) []line {
	var out []line
	var whole strings.Builder
	number, start := 0, 1
	for text := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		text = strings.TrimRight(text, "\r\n")
		if rest, more := strings.CutSuffix(text, `\`); more {
			whole.WriteString(rest)
			continue
		}
		whole.WriteString(text)
		out = appendLine(out, whole.String(), start)
		whole.Reset()
		start = number + 1
	}
	return appendLine(out, whole.String(), start)
}

func appendLine(lines []line, text string, number int) []line {
	text = strings.TrimSpace(text)
	if text == "" || text[0] == '#' {
		return lines
	}
	return append(lines, line{text, number})
}

// words splits a line into words, without their quotes and with variables expanded.
func (p *parser) words(text string) []string {
	var out []string
	for {
		text = strings.TrimLeft(text, " \t")
		if text == "" {
			return out
		}
		word, rest := nextWord(text)
		out = append(out, expand(word, p.vars))
		text = rest
	}
}

// nextWord cuts the first word off. A backslash counts before the quote and before
// another backslash only.
func nextWord(text string) (word, rest string) {
	quote := text[0]
	if quote != '"' && quote != '\'' {
		end := strings.IndexAny(text, " \t")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:]
	}
	var out strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == quote:
			return out.String(), text[i+1:]
		case text[i] == '\\' && i+1 < len(text) && (text[i+1] == quote || text[i+1] == '\\'):
			i++
		}
		out.WriteByte(text[i])
	}
	return out.String(), ""
}

// expand replaces ${NAME}. What is not defined stays as it is, as in apache; so does what
// would become too long.
func expand(text string, vars map[string]string) string {
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(text, "${")
		name, rest, closed := strings.Cut(after, "}")
		if !ok || !closed {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(before)
		if value, defined := vars[name]; defined && out.Len()+len(value) <= conf.MaxValue {
			out.WriteString(value)
		} else {
			out.WriteString("${" + name + "}")
		}
		text = rest
	}
}

// environment reads the file envvars of a folder, a shell script that sets variables.
// Only plain assignments count; one that is made by a command is passed over.
func (p *parser) environment(dir string) {
	path := filepath.Join(dir, "envvars")
	if !p.files.Exists(path) {
		return
	}
	text, err := p.files.Read(path)
	if err != nil {
		p.problems.Add(err)
		return
	}
	p.vars["APACHE_CONFDIR"] = dir
	for _, l := range splitLines(text) {
		name, value, ok := strings.Cut(strings.TrimPrefix(l.text, "export "), "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t[$\"'") || strings.ContainsAny(value, "`(#%") {
			continue
		}
		if value = expandShell(strings.Trim(value, `"'`), p.vars); len(value) <= conf.MaxValue {
			p.vars[name] = value
		}
	}
}

// expandShell replaces $NAME and ${NAME}; a variable that is not set is empty, as in a
// shell.
func expandShell(text string, vars map[string]string) string {
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(text, "$")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		if inner, rest, closed := strings.Cut(strings.TrimPrefix(after, "{"), "}"); closed && strings.HasPrefix(after, "{") {
			out.WriteString(vars[inner])
			text = rest
			continue
		}
		end := strings.IndexFunc(after, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		})
		if end < 0 {
			end = len(after)
		}
		out.WriteString(vars[after[:end]])
		text = after[end:]
	}
}
