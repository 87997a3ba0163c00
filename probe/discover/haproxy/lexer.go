package haproxy

import (
	"errors"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// lexer splits a line into words as HAProxy does: blanks separate, a backslash escapes,
// variables are replaced within double quotes and nothing within single ones.
type lexer struct {
	text  string
	at    int
	env   map[string]string
	word  strings.Builder
	began bool // a word has begun, though it may be empty
	words []string
}

func splitWords(line string, env map[string]string) ([]string, error) {
	l := &lexer{text: line, env: env}
	for l.at < len(l.text) {
		c := l.text[l.at]
		l.at++
		switch c {
		case '#':
			l.end()
			return l.words, nil
		case ' ', '\t':
			l.end()
		case '\\':
			l.escape()
		case '\'':
			if !l.single() {
				return l.words, errors.New("the quote does not end")
			}
		case '"':
			if !l.double() {
				return l.words, errors.New("the quote does not end")
			}
		default:
			l.put(c)
		}
	}
	l.end()
	return l.words, nil
}

func (l *lexer) put(c byte) {
	l.word.WriteByte(c)
	l.began = true
}

func (l *lexer) end() {
	if l.began {
		l.words = append(l.words, l.word.String())
	}
	l.word.Reset()
	l.began = false
}

func (l *lexer) escape() {
	if l.at < len(l.text) {
		l.put(l.text[l.at])
		l.at++
	}
}

func (l *lexer) single() bool {
	length := strings.IndexByte(l.text[l.at:], '\'')
	if length < 0 {
		return false
	}
	l.word.WriteString(l.text[l.at : l.at+length])
	l.at += length + 1
	l.began = true
	return true
}

func (l *lexer) double() bool {
	l.began = true
	for l.at < len(l.text) {
		c := l.text[l.at]
		l.at++
		switch c {
		case '"':
			return true
		case '\\':
			l.escape()
		case '$':
			l.variable()
		default:
			l.word.WriteByte(c)
		}
	}
	return false
}

// variable replaces $NAME, ${NAME} and ${NAME-DEFAULT}. What is not known, or
// too long, stays as ${NAME}, so that the word is seen to be no name.
func (l *lexer) variable() {
	name, fallback := "", ""
	if inner, rest, ok := strings.Cut(l.text[l.at:], "}"); ok && strings.HasPrefix(inner, "{") {
		name, fallback, _ = strings.Cut(inner[1:], "-")
		l.at = len(l.text) - len(rest)
	} else {
		start := l.at
		for l.at < len(l.text) && isNameByte(l.text[l.at]) {
			l.at++
		}
		name = l.text[start:l.at]
	}
	value, ok := l.env[name]
	switch {
	case ok && l.word.Len()+len(value) <= conf.MaxValue:
		l.word.WriteString(value)
	case fallback != "":
		l.word.WriteString(fallback)
	default:
		l.word.WriteString("${" + name + "}")
	}
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}
