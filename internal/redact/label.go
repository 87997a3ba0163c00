package redact

import (
	"strings"
	"unicode"
)

// Label returns a string from outside as the value of a metric's label, which has to be
// UTF-8. Control characters, which could steer the terminal of whoever looks, are replaced.
func Label(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}
