package slack

import (
	"strings"
	"unicode"
	"unicode/utf16"
)

// Slack's limits, in characters of escaped text. Longer text makes it refuse the whole
// message (Block Kit reference). Where our own bound is tighter, it is beside its use.
const (
	maxHeader        = 150
	maxSection       = 3000
	maxField         = 2000
	maxValue         = 2000 // of a button
	maxConfirm       = 300  // of the text of a confirmation dialog
	maxConfirmTitle  = 100
	maxConfirmButton = 30
	maxText          = 4000 // of the text that stands for the blocks; recommended

	// maxBlocks bounds the blocks of a message as JSON. Slack does not document its own bound,
	// beyond which it says msg_blocks_too_long; it was seen at a little over 13,000.
	maxBlocks = 12_000
)

// plain returns what others wrote without what cannot be seen: control characters, and those
// that join, hide or reorder text (Unicode's Cf). Newlines stay.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t', r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// oneLine returns what others wrote in one line.
func oneLine(s string) string { return strings.Join(strings.Fields(plain(s)), " ") }

// escaper replaces the three characters that begin or end Slack's markup for links and
// mentions, as its documentation asks for in every text object.
var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func escape(s string) string { return escaper.Replace(s) }

// length counts as the strictest of Slack's clients does: in units of UTF-16.
func length(s string) int {
	n := 0
	for _, r := range s {
		n += units(r)
	}
	return n
}

// escapedLength is the length of s once it is escaped.
func escapedLength(s string) int {
	n := 0
	for _, r := range s {
		n += escapedUnits(r)
	}
	return n
}

func units(r rune) int { return max(1, utf16.RuneLen(r)) }

func escapedUnits(r rune) int {
	switch r {
	case '&':
		return len("&amp;")
	case '<', '>':
		return len("&lt;")
	}
	return units(r)
}

// cut returns s, or its beginning with an ellipsis, so that it has at most `most` characters
// once it is escaped.
func cut(s string, most int) string {
	if escapedLength(s) <= most {
		return s
	}
	head, _ := split(s, most-1)
	return head + "…"
}

// fit is what others wrote, escaped, in at most `most` characters.
func fit(s string, most int) string { return escape(cut(plain(s), most)) }

// split returns as much of s as has at most `most` characters once it is escaped, and the rest.
func split(s string, most int) (head, rest string) {
	n := 0
	for i, r := range s {
		if n += escapedUnits(r); n > most {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// pack joins names with commas into texts of at most `most` characters once they are escaped.
// Nothing is left out: a name that is longer than a text goes on in the next.
func pack(names []string, most int) []string {
	const comma = ", "
	var texts []string
	text, used := "", 0
	for _, name := range names {
		name = oneLine(name)
		size := escapedLength(name)
		if text != "" && used+len(comma)+size <= most {
			text, used = text+comma+name, used+len(comma)+size
			continue
		}
		if text != "" {
			texts = append(texts, text)
		}
		for size > most {
			var head string
			head, name = split(name, most)
			texts = append(texts, head)
			size = escapedLength(name)
		}
		text, used = name, size
	}
	if text != "" {
		texts = append(texts, text)
	}
	return texts
}
