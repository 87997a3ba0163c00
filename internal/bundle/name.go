package bundle

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxElement bounds an element of a key in bytes, as file systems do (NAME_MAX).
const maxElement = 255

// Key returns the key of a certificate's objects: its name, percent-encoded so that it is one safe
// file name also where the file system does not tell upper case from lower, and the rest behind it.
func Key(name string, rest ...string) (string, error) {
	if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", fmt.Errorf("the certificate's name %q is empty, or holds what no name should", name)
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) || c == '.' && i > 0 && i < len(name)-1 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() > maxElement {
		return "", fmt.Errorf("the certificate's name %q is too long: encoded it has %d bytes, of at most %d", name, b.Len(), maxElement)
	}
	return strings.Join(append([]string{b.String()}, rest...), "/"), nil
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// ValidKey reports whether stores take a key: elements of printable ASCII without spaces that do
// not begin with a dot, of which the last is not digits alone.
func ValidKey(key string) bool {
	last := ""
	for name := range strings.SplitSeq(key, "/") {
		odd := strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
		if name == "" || name[0] == '.' || len(name) > maxElement || odd {
			return false
		}
		last = name
	}
	return strings.Trim(last, "0123456789") != ""
}
