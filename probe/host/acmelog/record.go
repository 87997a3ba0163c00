package acmelog

import (
	"bytes"
	"iter"
	"strings"
	"time"
)

// record is one message of certbot's log. certbot writes it as
// "TIME:LEVEL:LOGGER:MESSAGE", and further lines of the message as they are.
type record struct {
	line   int // its first one, from 1
	stamp  string
	level  string
	logger string
	text   string // without "Notifying user: "; bounded
}

// stampLayout is Python's asctime, in the host's zone.
const stampLayout = "2006-01-02 15:04:05,000"

// maxMessage bounds a message, in bytes. The longest that matter list the lineages of a run.
const maxMessage = 1 << 16

// at returns when the record was written; zero where that is no time.
func (r record) at() time.Time {
	t, err := time.ParseInLocation(stampLayout, r.stamp, time.Local)
	if err != nil {
		return time.Time{}
	}
	return t
}

// lines returns the lines of its message, with their numbers.
func (r record) lines() iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		number := r.line
		for line := range strings.Lines(r.text) {
			if !yield(number, strings.TrimRight(line, "\r\n")) {
				return
			}
			number++
		}
	}
}

// firstLine returns the first line of a text.
func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimRight(first, "\r")
}

// afterFirst returns what follows the first line.
func afterFirst(text string) string {
	_, rest, _ := strings.Cut(text, "\n")
	return rest
}

// records yields the messages of a log, those of the protocol's client left out. What stands
// before the first one, in a file that was cut off, belongs to none. So many lines of the log
// stand before the data.
func records(data []byte, before int) iter.Seq[record] {
	return func(yield func(record) bool) {
		begin, beginLine := -1, 0 // of the record that has not ended yet
		line := before
		for at := 0; at < len(data); {
			line++
			next := len(data)
			if end := bytes.IndexByte(data[at:], '\n'); end >= 0 {
				next = at + end + 1
			}
			if isRecord(data[at:next]) {
				if begin >= 0 && !emit(data[begin:at], beginLine, yield) {
					return
				}
				begin, beginLine = at, line
			}
			at = next
		}
		if begin >= 0 {
			emit(data[begin:], beginLine, yield)
		}
	}
}

// isRecord reports whether a line begins as "2026-11-23 09:11:02,620:DEBUG:".
func isRecord(line []byte) bool {
	const form = "0000-00-00 00:00:00,000:"
	if len(line) <= len(form) {
		return false
	}
	for i := range len(form) {
		if c := line[i]; form[i] == '0' && (c < '0' || c > '9') || form[i] != '0' && c != form[i] {
			return false
		}
	}
	return line[len(form)] >= 'A' && line[len(form)] <= 'Z'
}

// refused begins the one message of the protocol's client that is of interest: some refusals are an
// exception without words.
const refused = "Received response:\nHTTP 4"

// emit yields one record, unless it is of a logger that says nothing of interest.
func emit(data []byte, line int, yield func(record) bool) bool {
	stamp, rest := data[:len(stampLayout)], data[len(stampLayout)+1:]
	level, rest, _ := bytes.Cut(rest, []byte(":"))
	logger, message, ok := bytes.Cut(rest, []byte(":"))
	refusal := bytes.HasPrefix(message, []byte(refused))
	if !ok || bytes.HasPrefix(logger, []byte("acme.")) && !refusal || bytes.HasPrefix(logger, []byte("urllib3.")) {
		return true
	}
	text := strings.ToValidUTF8(string(message[:min(len(message), maxMessage)]), "\uFFFD")
	for _, prefix := range []string{"Notifying user: ", "Reporting to user: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return yield(record{line: line, stamp: string(stamp), level: string(level), logger: string(logger), text: strings.TrimRight(text, "\r\n")})
}
