package live

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// reply is an answer in the form that SMTP, FTP and NNTP share: a code of three digits
// before one or more lines (RFC 5321 section 4.2, RFC 959 section 4.2).
type reply struct {
	code  int
	lines []string // without the code
}

// reply reads a reply of the protocol, of one line or several.
func (d *dialogue) reply(protocol string) (reply, error) {
	line, err := d.line()
	if err != nil {
		return reply{}, err
	}
	first, more, ok := parseReply(line)
	if !ok {
		return reply{}, d.unexpected(protocol, line)
	}
	for more {
		line, err := d.line()
		if err != nil {
			return reply{}, err
		}
		next, continues, ok := parseReply(line)
		if !ok || next.code != first.code { // FTP's lines between the first and the last are free
			next.lines, continues = []string{line}, true
		}
		first.lines = append(first.lines, next.lines...)
		more = continues
	}
	return first, nil
}

// parseReply reads one line of a reply, and says whether more lines follow.
func parseReply(line string) (r reply, more, ok bool) {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return reply{}, false, false
	}
	code, err := strconv.ParseUint(line[:3], 10, 16)
	if err != nil || code < 100 {
		return reply{}, false, false
	}
	text := line[min(4, len(line)):]
	return reply{code: int(code), lines: []string{text}}, len(line) > 3 && line[3] == '-', true
}

// String returns the reply in one line.
func (r reply) String() string { return fmt.Sprintf("%d %s", r.code, strings.Join(r.lines, " ")) }

// offers reports whether a line of the reply begins with the keyword.
func (r reply) offers(keyword string) bool {
	return slices.ContainsFunc(r.lines, func(line string) bool { return hasWord(line, keyword) })
}

// hasWord reports whether a line begins with the words, in any case.
func hasWord(line, words string) bool {
	if len(line) < len(words) || !strings.EqualFold(line[:len(words)], words) {
		return false
	}
	return len(line) == len(words) || line[len(words)] == ' '
}
