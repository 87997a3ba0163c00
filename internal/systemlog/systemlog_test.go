package systemlog_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/systemlog"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func running() certmedic.Action {
	return certmedic.Action{
		ID: "20260301T120000.000-abcdef", Certificate: "shop", Kind: certmedic.ActionRedeploy, By: "renewed-not-served", Why: "the old one is served",
		StartedAt: start, Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRunning},
	}
}

func ended(kind certmedic.OutcomeKind, reason string) certmedic.Action {
	a := running()
	a.EndedAt, a.Outcome = start.Add(1500*time.Millisecond), certmedic.Outcome{Kind: kind, Reason: reason}
	return a
}

// syslog is a socket that keeps what it is sent.
func syslog(t *testing.T) (path string, read func() []string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "log")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return path, func() (lines []string) {
		buffer := make([]byte, 64<<10)
		for {
			if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			n, err := c.Read(buffer)
			if err != nil {
				return lines
			}
			lines = append(lines, string(buffer[:n]))
		}
	}
}

func TestAnActionHasALineAtItsBeginningAndAtItsEnd(t *testing.T) {
	path, read := syslog(t)
	w := systemlog.New(path, slog.New(slog.DiscardHandler))
	w.Acted(running())
	w.Acted(running()) // each command is a record of its own
	w.Acted(ended(certmedic.OutcomeHealed, ""))
	failed := ended(certmedic.OutcomeFailed, "exited")
	failed.ApprovedBy = "ada"
	w.Acted(failed) // whose beginning an earlier process wrote
	tag := fmt.Sprintf("certmedic[%d]: ", os.Getpid())
	head := `action="20260301T120000.000-abcdef" certificate="shop" kind="redeploy" by="renewed-not-served" why="the old one is served"`
	want := []string{
		"<30>|" + tag + `state="begun" ` + head,
		"<30>|" + tag + `state="ended" ` + head + ` outcome="healed" duration="1.5s"`,
		"<28>|" + tag + `state="ended" ` + head + ` approved_by="ada" outcome="failed" reason="exited" duration="1.5s"`,
	}
	got := read()
	if len(got) != len(want) {
		t.Fatalf("%d lines: %q", len(got), got)
	}
	for i, line := range want {
		priority, rest, _ := strings.Cut(line, "|")
		if !strings.HasPrefix(got[i], priority) || !strings.HasSuffix(got[i], rest) {
			t.Errorf("line %d is %q, want %q and then %q", i, got[i], priority, rest)
		}
	}
}

func TestNothingForgesALine(t *testing.T) {
	path, read := syslog(t)
	a := ended(certmedic.OutcomeRefused, "a\"b")
	a.Certificate = "shop\n<0>kernel: \x1b[2J\u202e\u009b"
	a.Why = strings.Repeat("é", 10_000)
	systemlog.New(path, slog.New(slog.DiscardHandler)).Acted(a)
	lines := read()
	if len(lines) != 1 || len(lines[0]) > 1024 || strings.ContainsAny(lines[0], "\n\x1b\u202e\u009b") || !strings.Contains(lines[0], `reason="a\"b"`) {
		t.Errorf("lines %q", lines)
	}
}

func TestWithoutSyslogTheLineIsInOurOwnLog(t *testing.T) {
	full, _ := syslog(t)
	filled := 0
	for c := dial(t, full); filled < 10_000; filled++ { // nobody reads
		if err := c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			break
		}
	}
	if filled == 10_000 {
		t.Fatal("the socket takes everything")
	}
	for about, socket := range map[string]string{"there is no socket": filepath.Join(t.TempDir(), "log"), "our log is the journal": "", "nobody reads": full} {
		var log bytes.Buffer
		systemlog.New(socket, slog.New(slog.NewTextHandler(&log, nil))).Acted(ended(certmedic.OutcomeFailed, "exited"))
		if !strings.Contains(log.String(), "level=WARN msg=action state=ended") || !strings.Contains(log.String(), "outcome=failed reason=exited duration=1.5s") {
			t.Errorf("%s: the log has %q", about, log.String())
		}
	}
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestSocketFor(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		about   string
		environ []string
		want    string
	}{
		{"the environment does not tell", []string{"PATH=/bin"}, systemlog.Socket},
		{"standard error goes to the journal", []string{fmt.Sprintf("JOURNAL_STREAM=%d:%d", stat.Dev, stat.Ino)}, ""},
		{"it went there before it was led elsewhere", []string{"JOURNAL_STREAM=1:2"}, systemlog.Socket},
	} {
		if got := systemlog.SocketFor(row.environ, f); got != row.want {
			t.Errorf("%s: %q, want %q", row.about, got, row.want)
		}
	}
}
