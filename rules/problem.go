package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Problem is one thing that is wrong with a rule file, with its place. Line and Column
// count from 1, columns in characters.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Excerpt string `json:"excerpt,omitempty"` // two lines: that of the file, and a caret below the place
}

// Error returns "file:line:column: message", and below it the excerpt, if there is one.
func (p *Problem) Error() string {
	text := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	if p.Excerpt == "" {
		return text
	}
	return text + "\n" + p.Excerpt
}

// problem records what is wrong with a value, where it begins.
func (l *loader) problem(n ast.Node, format string, args ...any) {
	at := firstToken(n).Position
	l.problemAt(at.Line, at.Column, format, args...)
}

// problemIn records what is wrong within a text, at a line and a column of it.
func (l *loader) problemIn(n ast.Node, text string, line, column int, format string, args ...any) {
	line, column = l.within(n, text, line, column)
	l.problemAt(line, column, format, args...)
	p := l.problems[len(l.problems)-1]
	p.Excerpt = excerpt(l.line(line), column)
}

func (l *loader) problemAt(line, column int, format string, args ...any) {
	l.problems = append(l.problems, &Problem{File: l.file, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// err joins what was found, in the order of the file; nil where nothing was.
func (l *loader) err() error {
	slices.SortStableFunc(l.problems, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, 0, len(l.problems))
	for _, p := range l.problems {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// line returns a line of the file; empty where there is none.
func (l *loader) line(n int) string {
	if n < 1 || n > len(l.lines) {
		return ""
	}
	return l.lines[n-1]
}

// excerpt shows a line without its indentation, and a caret below a column of it.
func excerpt(line string, column int) string {
	all := []rune(strings.TrimRight(line, " \t\r"))
	text := []rune(strings.TrimLeft(string(all), " \t"))
	before := max(0, min(column-1-(len(all)-len(text)), len(text)))
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(text[:before]))
	return "    " + string(text) + "\n    " + pad + "^"
}

// within returns where in the file a line and a column of a text stand. The text is what
// the file's quotes, escapes and folded lines say; a place that cannot be traced back
// through them is where the text begins.
func (l *loader) within(n ast.Node, text string, line, column int) (inLine, inColumn int) {
	at := firstToken(n).Position
	c := cursor{line: at.Line, column: at.Column}
	switch n := n.(type) {
	case *ast.LiteralNode:
		c.line, c.column = c.line+1, 1
	case *ast.StringNode:
		c.quote = quote(n)
	}
	from := min(max(c.line, 1)-1, len(l.lines))
	c.left = []rune(strings.Join(l.lines[from:min(from+maxExpression, len(l.lines))], "\n"))
	c.left = c.left[min(max(c.column, 1)-1, len(c.left)):]
	if c.quote != 0 {
		c.step(1)
	}
	if !c.follow([]rune(text)[:offset(text, line, column)]) {
		return at.Line, at.Column
	}
	return c.line, c.column
}

// quote returns the sign that a text is quoted with; 0 where it is not.
func quote(n *ast.StringNode) rune {
	switch n.Token.Type {
	case token.DoubleQuoteType:
		return '"'
	case token.SingleQuoteType:
		return '\''
	}
	return 0
}

// offset returns how many characters of a text stand before a line and a column of it. A
// place outside the text is the nearest one in it.
func offset(text string, line, column int) int {
	lines := strings.Split(text, "\n")
	line = min(max(line, 1), len(lines))
	before := 0
	for _, each := range lines[:line-1] {
		before += utf8.RuneCountInString(each) + 1
	}
	return min(before+max(column, 1)-1, utf8.RuneCountInString(text))
}

// cursor is a place in the file, and what follows it.
type cursor struct {
	line, column int
	quote        rune
	left         []rune
}

// follow moves over what was written for a text, and reports whether that could be traced.
// What separates words may be any white space: lines are folded, and indented.
func (c *cursor) follow(text []rune) bool {
	c.skipSpace()
	for i := 0; i < len(text); {
		if isSpace(text[i]) {
			c.skipSpace()
			for i < len(text) && isSpace(text[i]) {
				i++
			}
			continue
		}
		width := c.width(text[i])
		if width == 0 {
			return false
		}
		c.step(width)
		i++
	}
	return len(c.left) > 0
}

// width returns how many characters were written for one; 0 where it is not what follows.
func (c *cursor) width(r rune) int {
	switch {
	case len(c.left) == 0:
		return 0
	case c.quote == '"' && c.left[0] == '\\', c.quote == '\'' && c.left[0] == '\'':
		return min(2, len(c.left))
	case c.left[0] == r:
		return 1
	}
	return 0
}

func (c *cursor) skipSpace() {
	for len(c.left) > 0 && isSpace(c.left[0]) {
		c.step(1)
	}
}

func (c *cursor) step(n int) {
	n = min(n, len(c.left))
	for _, r := range c.left[:n] {
		c.column++
		if r == '\n' {
			c.line, c.column = c.line+1, 1
		}
	}
	c.left = c.left[n:]
}

func isSpace(r rune) bool { return r == ' ' || r == '\n' || r == '\t' || r == '\r' }

// firstToken returns the token that a person would point at.
func firstToken(n ast.Node) *token.Token {
	m, ok := n.(*ast.MappingNode)
	switch {
	case ok && m.IsFlowStyle:
		return m.Start
	case ok && len(m.Values) > 0:
		return m.Values[0].Key.GetToken()
	default:
		return n.GetToken()
	}
}

// yamlProblem gives the parser's error its place.
func yamlProblem(file string, err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		at := y.GetToken().Position
		return &Problem{File: file, Line: at.Line, Column: at.Column, Message: y.GetMessage()}
	}
	return &Problem{File: file, Line: 1, Column: 1, Message: err.Error()}
}
