package lineage

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
)

// autorenew is a line of a renewal configuration that says whether certbot renews: what stands
// before the value, the value, and what stands behind it.
var autorenew = regexp.MustCompile(`^(\s*["']?autorenew["']?\s*=\s*)(.*?)(\s*(?:#.*)?)$`)

// setting is what a renewal configuration says about autorenew.
type setting struct {
	lines []string // of the whole file, each with its end
	head  int      // the line of [renewalparams]
	at    int      // the line of the setting; -1: there is none
	value string   // without quotes
}

// settingIn finds the setting among the keys of [renewalparams] itself.
func settingIn(conf []byte) (setting, error) {
	s := setting{lines: strings.SplitAfter(string(conf), "\n"), head: -1, at: -1}
	inside, open := false, ""
	for i, line := range s.lines {
		text := strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		switch {
		case open != "": // within a value of several lines
			if strings.Contains(text, open) {
				open = ""
			}
		case strings.HasPrefix(text, "["):
			inside = sectionName(text) == "renewalparams"
			if inside && s.head < 0 {
				s.head = i
			}
		case strings.HasPrefix(text, "#"):
		default:
			open = opens(text)
			if found := autorenew.FindStringSubmatch(strings.TrimRight(line, "\r\n")); found != nil && inside && s.at < 0 {
				s.at, s.value = i, strings.Trim(found[2], `"'`)
			}
		}
	}
	if s.head < 0 {
		return s, errors.New("the renewal configuration has no section [renewalparams]")
	}
	return s, nil
}

// sectionName returns the name in [name]; that of a nested section is not told.
func sectionName(text string) string {
	name, _, ok := strings.Cut(strings.TrimPrefix(text, "["), "]")
	if !ok || strings.HasPrefix(name, "[") {
		return ""
	}
	return strings.Trim(strings.TrimSpace(name), `"'`)
}

// opens returns the quotes of a value that goes on in the next line, empty where none does.
func opens(text string) string {
	_, value, _ := strings.Cut(text, "=")
	value = strings.TrimSpace(value)
	for _, quotes := range []string{`"""`, `'''`} {
		if rest, ok := strings.CutPrefix(value, quotes); ok && !strings.Contains(rest, quotes) {
			return quotes
		}
	}
	return ""
}

// off reports whether certbot is kept from renewing, as ConfigObj reads such a value.
func (s setting) off() bool {
	switch strings.ToLower(s.value) {
	case "false", "off", "no", "0":
		return true
	}
	return false
}

// with returns the file with another line for the setting: the whole line, with its end; empty
// takes it out.
func (s setting) with(line string) []byte {
	lines := append([]string{}, s.lines...)
	switch {
	case s.at >= 0:
		lines[s.at] = line
	case line != "":
		if !strings.HasSuffix(lines[s.head], "\n") {
			lines[s.head] += "\n"
		}
		lines[s.head] += line
	}
	var out bytes.Buffer
	for _, l := range lines {
		out.WriteString(l)
	}
	return out.Bytes()
}

// line returns the line of the setting with its end, empty where there is none.
func (s setting) line() string {
	if s.at < 0 {
		return ""
	}
	return s.lines[s.at]
}

// offLine returns a line that keeps certbot from renewing, with whatever else stands in the one
// that there is.
func (s setting) offLine() string {
	if s.at < 0 {
		end := "\n"
		if strings.HasSuffix(s.lines[s.head], "\r\n") {
			end = "\r\n"
		}
		return "autorenew = False" + end
	}
	text := strings.TrimRight(s.lines[s.at], "\r\n")
	end := s.lines[s.at][len(text):]
	found := autorenew.FindStringSubmatch(text)
	return found[1] + "False" + found[3] + end
}
