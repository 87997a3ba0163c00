package apparmor

import "strings"

// token is a word of a profile, or one of "{", "}", "," and "\n" that stand for themselves.
type token struct {
	text string
	line int
	mark bool // it stands for itself
}

// lex splits a profile into words. White space and commas within quotes, brackets and braces
// belong to their word: "/etc/{a,b}/*.pem", "flags=(attach_disconnected, complain)".
func lex(text string) []token {
	l := lexer{text: text, line: 1}
	for l.at < len(l.text) {
		l.next()
	}
	return append(l.out, token{"\n", l.line, true})
}

type lexer struct {
	text string
	at   int
	line int
	out  []token
}

func (l *lexer) next() {
	switch char := l.text[l.at]; {
	case char == '\n':
		l.mark("\n")
		l.line++
	case char == ' ', char == '\t', char == '\r':
		l.at++
	case char == ',', char == '}':
		l.mark(string(char))
	case char == '{' && l.opens():
		l.mark("{")
	case char == '#' && !strings.HasPrefix(l.text[l.at:], "#include"):
		for l.at < len(l.text) && l.text[l.at] != '\n' {
			l.at++
		}
	default:
		begin := l.at
		l.word()
		l.out = append(l.out, token{l.text[begin:l.at], l.line, false})
	}
}

func (l *lexer) mark(text string) {
	l.out = append(l.out, token{text, l.line, true})
	l.at++
}

// opens reports whether a brace opens a block: one that belongs to a glob is followed by it.
func (l *lexer) opens() bool {
	return l.at+1 >= len(l.text) || strings.ContainsRune(" \t\r\n#", rune(l.text[l.at+1]))
}

// word goes to the end of a word. One that is never closed ends with its line.
func (l *lexer) word() {
	depth, quoted := 0, false
	for ; l.at < len(l.text) && l.text[l.at] != '\n'; l.at++ {
		switch char := l.text[l.at]; {
		case char == '\\' && l.at+1 < len(l.text) && l.text[l.at+1] != '\n':
			l.at++
		case char == '"':
			quoted = !quoted
		case quoted:
		case char == '{', char == '(', char == '[':
			depth++
		case char == ')', char == ']', char == '}' && depth > 0:
			depth = max(depth-1, 0)
		case depth == 0 && strings.ContainsRune(" \t\r,}", rune(char)):
			return
		}
	}
}

// unquote takes away the quotes around a word.
func unquote(word string) string { return strings.ReplaceAll(word, `"`, "") }
