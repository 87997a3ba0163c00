// Package systemlog writes a line to the system's log when an action begins and when it ends, so that
// whoever looks there for what happened to a service finds it, whatever certmedic's own log is set
// to. The app hands it every record of the journal.
//
// The line goes to the socket of syslog, which journald serves as well, in the form of RFC 3164; where
// there is none, or certmedic's own log goes to the journal already, to that. It promises to be never
// fatal and never slow: a socket that is full or gone is tried for a tenth of a second, and then the
// line goes to certmedic's own log. No string in it can steer a terminal or forge another line.
package systemlog

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/certmedic/certmedic"
)

// Socket is where syslog listens.
const Socket = "/dev/log"

// The bounds of a line, in bytes of a value, and of its delivery; and the actions that are remembered
// to have begun.
const (
	maxValue  = 200
	patience  = 100 * time.Millisecond
	maxBegun  = 1024
	daemon    = 3 << 3 // facility
	levelWarn = 4
	levelInfo = 6
)

// Writer writes the lines. It is safe for concurrent use.
type Writer struct {
	socket string // empty: lines go to log
	log    *slog.Logger

	mu    sync.Mutex
	begun []string // IDs of actions whose beginning was written, the oldest first
}

// New returns a writer to the socket of syslog, or to log where the socket is empty.
func New(socket string, log *slog.Logger) *Writer { return &Writer{socket: socket, log: log} }

// SocketFor returns the socket that a process writes to: [Socket], or none where its standard error
// goes to the journal, as JOURNAL_STREAM in its environment tells (systemd.exec(5)).
func SocketFor(environ []string, stderr *os.File) string {
	for _, v := range environ {
		if stream, ok := strings.CutPrefix(v, "JOURNAL_STREAM="); ok && stream == deviceOf(stderr) {
			return ""
		}
	}
	return Socket
}

// deviceOf returns device and inode of a file, as JOURNAL_STREAM has them.
func deviceOf(f *os.File) string {
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// Acted takes a record of the journal, and writes a line where it is the first or the last of its
// action.
func (w *Writer) Acted(a certmedic.Action) {
	ended := a.Outcome.Kind != certmedic.OutcomeRunning
	if !w.news(a.ID, ended) {
		return
	}
	level, pairs := levelInfo, begins(a)
	if ended {
		pairs = append(pairs, ends(a)...)
		if !slices.Contains([]certmedic.OutcomeKind{certmedic.OutcomeHealed, certmedic.OutcomePlanned, certmedic.OutcomeRehearsed}, a.Outcome.Kind) {
			level = levelWarn
		}
	}
	if w.send(level, line(pairs)) == nil {
		return
	}
	attrs := make([]slog.Attr, 0, len(pairs))
	for _, p := range pairs {
		attrs = append(attrs, slog.String(p.key, short(p.value)))
	}
	to := slog.LevelInfo
	if level == levelWarn {
		to = slog.LevelWarn
	}
	w.log.LogAttrs(context.Background(), to, "action", attrs...)
}

// news reports whether a record is the first or the last of its action. What began before this
// process did is not said to begin again.
func (w *Writer) news(id string, ended bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.Index(w.begun, id)
	switch {
	case ended && at >= 0:
		w.begun = slices.Delete(w.begun, at, at+1)
	case !ended && at < 0:
		w.begun = append(w.begun[max(0, len(w.begun)+1-maxBegun):], id)
	}
	return ended || at < 0
}

// pair is a word and its value in a line.
type pair struct{ key, value string }

func begins(a certmedic.Action) []pair {
	state := "ended"
	if a.Outcome.Kind == certmedic.OutcomeRunning {
		state = "begun"
	}
	pairs := []pair{
		{"state", state},
		{"action", a.ID},
		{"certificate", a.Certificate},
		{"kind", string(a.Kind)},
		{"by", a.By},
		{"why", a.Why},
	}
	if a.ApprovedBy != "" {
		pairs = append(pairs, pair{"approved_by", a.ApprovedBy})
	}
	return pairs
}

func ends(a certmedic.Action) []pair {
	pairs := []pair{{"outcome", string(a.Outcome.Kind)}}
	if a.Outcome.Reason != "" {
		pairs = append(pairs, pair{"reason", a.Outcome.Reason})
	}
	return append(pairs, pair{"duration", a.EndedAt.Sub(a.StartedAt).Round(time.Millisecond).String()})
}

// line writes pairs as words and quoted values.
func line(pairs []pair) string {
	words := make([]string, 0, len(pairs))
	for _, p := range pairs {
		words = append(words, p.key+"="+strconv.QuoteToGraphic(short(p.value)))
	}
	return strings.Join(words, " ")
}

// short cuts a value to what a line has room for.
func short(s string) string {
	if len(s) <= maxValue {
		return s
	}
	return strings.ToValidUTF8(s[:maxValue], "") + "..."
}

// send delivers a line to syslog.
func (w *Writer) send(level int, text string) error {
	if w.socket == "" {
		return net.ErrClosed
	}
	c, err := net.DialTimeout("unixgram", w.socket, patience)
	if err != nil {
		return fmt.Errorf("connecting to syslog: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("writing to syslog: %w", err)
	}
	if _, err := fmt.Fprintf(c, "<%d>%s certmedic[%d]: %s", daemon|level, time.Now().Format(time.Stamp), os.Getpid(), text); err != nil {
		return fmt.Errorf("writing to syslog: %w", err)
	}
	return nil
}
