package session

import (
	"fmt"
	"strings"
)

// plain are the characters that mean nothing to a POSIX shell wherever they stand in a word.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:@%+"

// Quote writes words as one line that a POSIX shell (IEEE Std 1003.1, 2.2.2) splits into exactly
// these words. A word with a control character is refused: no quoting carries a NUL, shells of
// the csh family end a line at a newline within quotes, and no command of a configuration needs
// one.
func Quote(words ...string) (string, error) {
	var line strings.Builder
	for i, word := range words {
		if at := strings.IndexFunc(word, func(r rune) bool { return r < ' ' || r == 0x7f }); at >= 0 {
			return "", fmt.Errorf("quoting word %d: it has the control character %q", i+1, word[at])
		}
		if i > 0 {
			line.WriteByte(' ')
		}
		line.WriteString(quoteWord(word))
	}
	return line.String(), nil
}

func quoteWord(word string) string {
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
