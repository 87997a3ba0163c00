package apparmor

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// newBlock begins what stands between braces: "profile NAME PATH flags=(...) {", "PATH {",
// "hat NAME {" or "^NAME {". Of conditions and others it has no name.
func newBlock(path string, words []token) *block {
	b := &block{place: path}
	if len(words) == 0 {
		return b
	}
	b.place = fmt.Sprintf("%s:%d", path, words[0].line)
	first := words[0].text
	switch {
	case (first == "profile" || first == "hat") && len(words) > 1:
		b.name = unquote(words[1].text)
	case strings.HasPrefix(first, "^"):
		b.name = unquote(first[1:])
	case strings.HasPrefix(unquote(first), "/"), strings.HasPrefix(first, "@{"), strings.HasPrefix(first, "{"):
		b.name = unquote(first)
	}
	b.open = strings.Contains(joined(words), "default_allow")
	return b
}

// Other rules than those about files: what they say changes nothing for who reads one.
var otherRules = []string{
	"capability", "network", "mount", "umount", "remount", "pivot_root", "ptrace", "signal", "unix", "dbus", "change_profile",
	"change_hat", "set", "userns", "mqueue", "io_uring", "link", "abi",
}

// statement takes a rule: "[audit] [deny] [owner] PATH PERMISSIONS [-> PROFILE]", the permissions
// also before the path, with or without the word file. "file" alone, and "all", are about every
// file.
func (b *block) statement(path string, words []token) {
	if len(words) == 0 {
		return
	}
	r := rule{place: fmt.Sprintf("%s:%d", path, words[0].line)}
	var texts []string
	for _, w := range words {
		texts = append(texts, unquote(w.text))
	}
	for len(texts) > 0 && slices.Contains([]string{"audit", "quiet", "allow", "deny", "owner"}, texts[0]) {
		r.deny = r.deny || texts[0] == "deny"
		r.owner = r.owner || texts[0] == "owner"
		texts = texts[1:]
	}
	if len(texts) > 0 && slices.Contains(otherRules, texts[0]) {
		return
	}
	if arrow := slices.Index(texts, "->"); arrow >= 0 {
		texts = texts[:arrow]
	}
	named := len(texts) > 0 && (texts[0] == "file" || texts[0] == "all")
	if named {
		texts = texts[1:]
	}
	switch {
	case named && len(texts) == 0:
		r.pattern, r.perms = "/**", "r"
	case len(texts) == 2 && isPath(texts[0]):
		r.pattern, r.perms = texts[0], texts[1]
	case len(texts) == 2 && isPath(texts[1]):
		r.pattern, r.perms = texts[1], texts[0]
	default:
		b.unclear = append(b.unclear, r.place)
		return
	}
	b.rules = append(b.rules, r)
}

func isPath(text string) bool {
	return strings.HasPrefix(text, "/") || strings.HasPrefix(text, "@{") || strings.HasPrefix(text, "{")
}

// matches reports whether a rule is about a path. The error says that its pattern is not
// understood.
func (r rule) matches(variables map[string][]string, path string) (bool, error) {
	pattern, err := expand(r.pattern, variables, 0)
	if err != nil {
		return false, err
	}
	text, err := expression(pattern)
	if err != nil {
		return false, err
	}
	compiled, err := regexp.Compile(`(?s)\A` + text + `\z`)
	if err != nil {
		return false, err
	}
	return compiled.MatchString(path), nil
}

// maxPattern bounds a pattern with all that its variables stand for, in bytes.
const maxPattern = 16 << 10

// expand puts the values of variables into a pattern, as alternatives. A slash that ends a
// value and one that follows it are one.
func expand(pattern string, variables map[string][]string, depth int) (string, error) {
	at := variable.FindStringIndex(pattern)
	if at == nil {
		return pattern, nil
	}
	values := variables[pattern[at[0]:at[1]]]
	if len(values) == 0 || depth > maxDepth || len(pattern) > maxPattern {
		return "", errors.New("a variable has no value")
	}
	rest := pattern[at[1]:]
	var alternatives []string
	for _, value := range values {
		if strings.HasPrefix(rest, "/") {
			value = strings.TrimSuffix(value, "/")
		}
		alternatives = append(alternatives, value)
	}
	return expand(pattern[:at[0]]+"{"+strings.Join(alternatives, ",")+"}"+rest, variables, depth+1)
}

// expression turns a pattern of AppArmor into a regular expression.
func expression(pattern string) (string, error) {
	var out strings.Builder
	depth := 0
	for i := 0; i < len(pattern); i++ {
		switch char := pattern[i]; {
		case char == '\\' && i+1 < len(pattern):
			i++
			out.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		case char == '*':
			text, length := stars(pattern, i)
			out.WriteString(text)
			i += length - 1
		case char == '?':
			out.WriteString(`[^/]`)
		case char == '[':
			end := strings.IndexByte(pattern[i:], ']')
			if end < 2 {
				return "", errors.New("a bracket is not closed")
			}
			out.WriteString(strings.ReplaceAll(pattern[i:i+end+1], `\`, `\\`))
			i += end
		case char == '{':
			depth++
			out.WriteString(`(?:`)
		case char == '}' && depth > 0:
			depth--
			out.WriteString(`)`)
		case char == ',' && depth > 0:
			out.WriteString(`|`)
		default:
			out.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	if depth > 0 {
		return "", errors.New("a brace is not closed")
	}
	return out.String(), nil
}

// stars turns "*" and "**" into their expressions: all but slashes, and all. As a whole name of
// a path they stand for something at least.
func stars(pattern string, at int) (expression string, length int) {
	expression, length = `[^/]`, 1
	if strings.HasPrefix(pattern[at:], "**") {
		expression, length = `.`, 2
	}
	rest := pattern[at+length:]
	if at > 0 && pattern[at-1] == '/' && (rest == "" || rest[0] == '/') {
		return expression + "+", length
	}
	return expression + "*", length
}
