package story

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
)

// mood colours a line.
type mood string

// The moods: SGR codes of ECMA-48.
const (
	plain mood = "2"
	fine  mood = "36"
	warn  mood = "33"
	bad   mood = "31"
	good  mood = "1;32"
)

// teller writes the story, one line at a time, each with the time since its start.
type teller struct {
	mu     sync.Mutex
	out    io.Writer
	colour bool
	start  time.Time
}

func newTeller(out io.Writer, colour bool) *teller {
	return &teller{out: out, colour: colour, start: time.Now()}
}

// say writes one line. Control characters in what is said are shown as spaces: some of
// it comes from other programs.
func (t *teller) say(mood mood, word, format string, args ...any) {
	text := strings.Map(printable, fmt.Sprintf(format, args...))
	label := fmt.Sprintf("%-9s", word)
	if t.colour {
		label = "\x1b[" + string(mood) + "m" + label + "\x1b[0m"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// A closed terminal does not stop the story.
	_, _ = fmt.Fprintf(t.out, "%7.2fs  %s  %s\n", time.Since(t.start).Seconds(), label, text)
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}
