package service

import (
	"bufio"
	"io"
	"os"
	"strings"
	"time"
)

// The bounds of what is read of an error log, and told of it.
const (
	maxErrorLog = 1 << 20
	maxRefusals = 20
)

// Refusals returns what a service wrote into its own error log since a moment because it refused
// its configuration, oldest first: a reload by a signal succeeds whatever comes of it, and there
// is no other trace. Only nginx has such a log; of a long one the end is read. The numbers of the
// lines are 0 where it was too long to be counted.
func Refusals(s Service, since time.Time) []Problem {
	file, err := os.Open(s.ErrorLog)
	if s.Kind != Nginx || err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	whole := info.Size() <= maxErrorLog
	if !whole {
		if _, err := file.Seek(-maxErrorLog, io.SeekEnd); err != nil {
			return nil
		}
	}
	return refusals(s.ErrorLog, io.LimitReader(file, maxErrorLog), whole, since)
}

func refusals(path string, r io.Reader, whole bool, since time.Time) []Problem {
	const stamp = "2006/01/02 15:04:05" // to the second, in the host's zone
	var all []Problem
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxErrorLog+1)
	for number := 1; lines.Scan(); number++ {
		line := lines.Text()
		if len(line) < len(stamp) || !strings.Contains(line, " [emerg] ") || aboutProcess(line) {
			continue
		}
		at, err := time.ParseInLocation(stamp, line[:len(stamp)], time.Local)
		if err != nil || at.Before(since.Truncate(time.Second)) || len(all) == maxRefusals {
			continue
		}
		p := Problem{File: path, Line: number, Text: line, Sure: true}
		if !whole {
			p.Line = 0
		}
		all = append(all, p)
	}
	return all
}

// aboutProcess reports whether a line is about another nginx, or none, rather than about the
// configuration.
func aboutProcess(line string) bool {
	for _, mark := range []string{"bind()", "invalid PID number", "kill(", "nginx.pid"} {
		if strings.Contains(line, mark) {
			return true
		}
	}
	return false
}
