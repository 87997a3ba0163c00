// Package redact takes secrets and control characters out of text that others wrote:
// the output of hooks, the answers of servers, lines of logs. Everything of that kind
// goes through it before it is kept, logged, shown or sent.
//
// It cannot know every secret. It knows the forms that secrets of this trade have, and
// it rather hides a harmless word than shows a key.
package redact

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rule finds a secret. Its first group, where it has one, is what stays in front of it,
// its second what stays behind it.
type rule struct {
	pattern *regexp.Regexp
	only    func(secret string) bool // nil: whatever matches
}

const keyWords = `(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|routing[_-]?key)`

// rules are the forms of secrets, in the order in which they are hidden.
var rules = []rule{
	// An authorization header, with or without a scheme, quoted or not.
	{pattern: regexp.MustCompile(`(?i)(authorization["']?[ \t]*[:=][ \t]*["']?(?:[a-z0-9-]+[ \t]+)?)[^\s"',;]+`)},
	{pattern: regexp.MustCompile(`(?i)(\b(?:bearer|basic)[ \t]+)[a-z0-9._~+/=-]{8,}`), only: hasDigitOrPadding},
	// KEY=value, key: value, "key": "value", as in environments, URLs, YAML and JSON.
	{pattern: regexp.MustCompile(`(?i)(` + keyWords + `[a-z0-9_.-]*["']?[ \t]*[=:][ \t]*")[^"\n]+`)},
	{pattern: regexp.MustCompile(`(?i)(` + keyWords + `[a-z0-9_.-]*["']?[ \t]*[=:][ \t]*')[^'\n]+`)},
	{pattern: regexp.MustCompile(`(?i)(` + keyWords + `[a-z0-9_.-]*["']?[ \t]*[=:][ \t]*)[^\s"'&;,]+`)},
	// The signature of a request, as in the URLs of object stores.
	{pattern: regexp.MustCompile(`(?i)(\b(?:x-amz-)?signature=)[^\s"'&;,]+`)},
	// --password value.
	{pattern: regexp.MustCompile(`(?i)(--?[a-z0-9-]*` + keyWords + `[ \t]+)[^\s"']+`)},
	// Passwords as openssl, keytool, sshpass and MySQL's programs take them.
	{pattern: regexp.MustCompile(`(-pass(?:in|out|word)?[ \t]+["']?pass:)[^\s"']+`)},
	{pattern: regexp.MustCompile(`(-(?:src|dest|new)?(?:store|key)pass[ \t]+["']?)[^\s"']+`)},
	{pattern: regexp.MustCompile(`(\bsshpass[ \t]+-p[ \t]*["']?)[^\s"']+`)},
	{pattern: regexp.MustCompile(`(\b(?:mysql|mysqladmin|mysqldump|mariadb|mariadb-admin)\b[^|;&\n]*[ \t]-p["']?)[^\s"']+`)},
	{pattern: regexp.MustCompile(`(\bcurl\b[^|;&\n]*[ \t](?:-u|--user)[ \t=]*["']?[^\s"':]+:)[^\s"']+`)},
	{pattern: regexp.MustCompile(`(?i)(\bx-[a-z0-9-]*(?:key|auth|secret)[a-z0-9-]*:[ \t]*)[^\s"']+`)},
	// A JSON Web Token, and what Slack, GitHub, PagerDuty and AWS hand out.
	{pattern: regexp.MustCompile(`()\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?`)},
	{pattern: regexp.MustCompile(`()\b(?:xox[a-z]|xapp)-[A-Za-z0-9-]+`)},
	{pattern: regexp.MustCompile(`(hooks\.slack\.com/[a-z]+/)[^\s"']+`)},
	{pattern: regexp.MustCompile(`()\b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{16,}`)},
	{pattern: regexp.MustCompile(`()\bR0[A-Z0-9]{30}\b`)},
	{pattern: regexp.MustCompile(`()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`)},
	// scheme://user:password@host.
	{pattern: regexp.MustCompile(`(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/?#]+(@)`)},
}

var (
	pemBlock = regexp.MustCompile(`(?s)-----BEGIN ([^-\n]*)-----.*?(?:-----END [^-\n]*-----|$)`)
	pemTail  = regexp.MustCompile(`(?s)^.*-----END [^-\n]*-----`)
	// pemLine is a line of a block whose armour was cut off. Lines of hexadecimal digits
	// are checksums.
	pemLine = regexp.MustCompile(`(?m)()^[ \t]*[A-Za-z0-9+/]{60,76}[ \t]*$`)
	hexLine = regexp.MustCompile(`^[ \t]*[0-9A-Fa-f]+[ \t]*$`)
	// escapeSequence is an ANSI control sequence; removing only its escape character
	// would leave its parameters behind.
	escapeSequence = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?)`)
)

// Text returns s without secrets. Private keys become "[private key]", certificates
// "[certificate]" and other secrets "***". A block without an end is taken to the end
// of the text, a block without a begin from the beginning. The result is never longer
// than s, and valid UTF-8 if s is.
func Text(s string) string {
	s = pemBlock.ReplaceAllStringFunc(s, armour)
	if strings.Contains(s, "-----END ") {
		s = pemTail.ReplaceAllLiteralString(s, "[cut block]")
	}
	s = replace(s, rule{pattern: pemLine, only: func(line string) bool { return !hexLine.MatchString(line) }})
	for _, r := range rules {
		s = replace(s, r)
	}
	return s
}

// Plain returns s as text that is safe to keep and to print: invalid UTF-8 is replaced
// by U+FFFD, terminal escape sequences, control characters other than newline and tab,
// and characters that reorder text are removed.
func Plain(s string) string {
	s = escapeSequence.ReplaceAllLiteralString(strings.ToValidUTF8(s, "\uFFFD"), "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		default:
			return r
		}
	}, s)
}

// Truncate returns s, or its first runes with an ellipsis where it is longer than
// maxRunes runes. The result has at most maxRunes runes.
func Truncate(s string, maxRunes int) string {
	if len(s) <= maxRunes || utf8.RuneCountInString(s) <= maxRunes {
		return s
	}
	seen := 0
	for i := range s {
		if seen++; seen >= maxRunes {
			return cut(s[:i], maxRunes)
		}
	}
	return ""
}

func cut(head string, maxRunes int) string {
	if maxRunes < 1 {
		return ""
	}
	return head + "…"
}

func armour(block string) string {
	label := pemBlock.FindStringSubmatch(block)[1]
	switch {
	case strings.Contains(block, "PRIVATE"):
		return "[private key]"
	case label == "CERTIFICATE" || label == "TRUSTED CERTIFICATE":
		return "[certificate]"
	default:
		return "[pem block]"
	}
}

// replace hides what r finds, and keeps r's groups around it.
func replace(s string, r rule) string {
	var out strings.Builder
	done := 0
	for _, m := range r.pattern.FindAllStringSubmatchIndex(s, -1) {
		begin, end := m[3], m[1]
		if len(m) > 4 {
			end = m[4]
		}
		if r.only != nil && !r.only(s[begin:end]) {
			continue
		}
		out.WriteString(s[done:begin])
		out.WriteString("***"[:min(3, end-begin)]) // never longer than what it hides
		done = end
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

func hasDigitOrPadding(secret string) bool { return strings.ContainsAny(secret, "0123456789=") }
