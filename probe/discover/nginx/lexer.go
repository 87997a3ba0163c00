package nginx

import "strings"

// token is a word, or one of the signs ; { }.
type token struct {
	text   string
	quoted bool // a quoted word is never a sign
	line   int
}

func (t token) is(sign string) bool { return !t.quoted && t.text == sign }

// unended is a quote or a block that begins at a line and does not end.
type unended struct {
	what string
	line int
}

// lexer splits a configuration file into tokens as nginx does.
type lexer struct {
	text string
	at   int
	line int
}

// next returns the next token, and whether there was one.
func (l *lexer) next() (token, bool, *unended) {
	l.skipBlank()
	if l.at >= len(l.text) {
		return token{}, false, nil
	}
	start := l.line
	switch c := l.text[l.at]; c {
	case ';', '{', '}':
		l.at++
		return token{text: string(c), line: start}, true, nil
	case '"', '\'':
		text, err := l.quotedWord(c)
		return token{text: text, quoted: true, line: start}, true, err
	default:
		return token{text: l.word(), line: start}, true, nil
	}
}

func (l *lexer) skipBlank() {
	for l.at < len(l.text) {
		switch l.text[l.at] {
		case '\n':
			l.line++
		case ' ', '\t', '\r':
		case '#':
			end := strings.IndexByte(l.text[l.at:], '\n')
			if end < 0 {
				end = len(l.text) - l.at
			}
			l.at += end
			continue
		default:
			return
		}
		l.at++
	}
}

func (l *lexer) quotedWord(quote byte) (string, *unended) {
	start := l.line
	l.at++
	var word strings.Builder
	for l.at < len(l.text) {
		c := l.text[l.at]
		l.at++
		switch {
		case c == quote:
			return word.String(), nil
		case c == '\\' && l.at < len(l.text):
			word.WriteString(l.escaped())
			continue
		case c == '\n':
			l.line++
		}
		word.WriteByte(c)
	}
	return "", &unended{what: "quote", line: start}
}

// escaped reads what follows a backslash. nginx keeps the backslash before anything
// but quotes, backslashes and the letters t, r and n.
func (l *lexer) escaped() string {
	c := l.text[l.at]
	l.at++
	switch c {
	case '"', '\'', '\\':
		return string(c)
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'n':
		return "\n"
	case '\n':
		l.line++
	}
	return "\\" + string([]byte{c})
}

func (l *lexer) word() string {
	var word strings.Builder
	for l.at < len(l.text) {
		c := l.text[l.at]
		switch {
		case strings.IndexByte(" \t\r\n;", c) >= 0:
			return word.String()
		case c == '{' && !strings.HasSuffix(word.String(), "$"):
			return word.String()
		case c == '\\' && l.at+1 < len(l.text):
			l.at++
			word.WriteString(l.escaped())
			continue
		}
		word.WriteByte(c)
		l.at++
	}
	return word.String()
}

// skipCode passes over the body of a Lua block, whose opening brace was read.
func (l *lexer) skipCode() *unended {
	start := l.line
	for depth := 1; l.at < len(l.text); l.at++ {
		switch c := l.text[l.at]; c {
		case '\n':
			l.line++
		case '{':
			depth++
		case '}':
			depth--
		case '"', '\'':
			l.skipLuaString(c)
		case '-':
			l.skipLuaComment()
		}
		if depth == 0 {
			l.at++
			return nil
		}
	}
	return &unended{what: "block", line: start}
}

// skipLuaString stops at the closing quote, or before the line's end.
func (l *lexer) skipLuaString(quote byte) {
	for i := l.at + 1; i < len(l.text) && l.text[i] != '\n'; i++ {
		switch l.text[i] {
		case '\\':
			i++
		case quote:
			l.at = i
			return
		}
	}
}

// skipLuaComment stops before the end of the line.
func (l *lexer) skipLuaComment() {
	if !strings.HasPrefix(l.text[l.at:], "--") {
		return
	}
	if end := strings.IndexByte(l.text[l.at:], '\n'); end > 0 {
		l.at += end - 1
	}
}
