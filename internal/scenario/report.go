package scenario

import (
	"fmt"
	"strings"
	"time"
)

// Text says how the tests of the file ended, for people: failures in full, and where it is
// verbose every transition of every test with its virtual time.
func (r Report) Text(verbose bool) string {
	var b strings.Builder
	fmt.Fprintln(&b, r.File)
	for _, t := range r.Tests {
		fmt.Fprintf(&b, "  %-4s  %s%s\n", t.State.word(), t.Name, t.note())
		if verbose {
			for _, line := range t.Timeline {
				fmt.Fprintf(&b, "          %s\n", line)
			}
		}
		if t.State != Failed {
			continue
		}
		for _, f := range t.Failures {
			fmt.Fprintf(&b, "        %s\n", strings.ReplaceAll(f.String(), "\n", "\n          "))
		}
	}
	for _, unmet := range r.Unmet {
		fmt.Fprintf(&b, "  FAIL  %s\n", unmet)
	}
	return b.String()
}

func (s State) word() string {
	switch s {
	case Failed:
		return "FAIL"
	case Waiting, WouldPass:
		return "wait"
	}
	return "ok"
}

// note is what stands behind the name of a test.
func (r Result) note() string {
	switch r.State {
	case Waiting:
		return ": " + r.Waiting
	case WouldPass:
		return ": it passes already; it need not wait (" + r.Waiting + ")"
	}
	return fmt.Sprintf(" (%s)", r.Duration.Round(10*time.Microsecond))
}

// Summary says in a line how all tests ended and what of the rules they tried.
func Summary(reports []Report) string {
	counts := map[string]int{}
	var c Coverage
	for _, r := range reports {
		for _, t := range r.Tests {
			counts[t.State.word()]++
		}
		c = c.Merge(r.Coverage)
	}
	fired, never := c.Fired()
	total, untried := c.Branches()
	line := fmt.Sprintf("%d passed, %d failed, %d waiting; rules %d of %d, branches %d of %d",
		counts["ok"], counts["FAIL"], counts["wait"], fired, len(c.Rules), total-len(untried), total)
	if len(never) > 0 {
		line += "; never fired: " + strings.Join(never, ", ")
	}
	return line
}
