package bench_test

import (
	"fmt"
	"io"
	"testing"
)

// results is what was measured, in the order in which it was.
var results report

type report struct{ lines []line }

type line struct{ what, value, bound string }

func (r *report) add(what, value string) { r.lines = append(r.lines, line{what, value, ""}) }

// aim adds an absolute figure with what it should be at most. It depends on the machine and
// fails nothing.
func (r *report) aim(what string, value, most float64) {
	bound := fmt.Sprintf("aim %.0f", most)
	if value > most {
		bound += ", missed"
	}
	r.lines = append(r.lines, line{what, fmt.Sprintf("%.2f", value), bound})
}

// atMost adds a ratio, and fails the test when it is above the bound.
func (r *report) atMost(t *testing.T, what string, value, bound float64) {
	t.Helper()
	r.hold(t, what, value, fmt.Sprintf("at most %.2f", bound), value <= bound)
}

// atLeast adds a ratio, and fails the test when it is below the bound.
func (r *report) atLeast(t *testing.T, what string, value, bound float64) {
	t.Helper()
	r.hold(t, what, value, fmt.Sprintf("at least %.2f", bound), value >= bound)
}

func (r *report) hold(t *testing.T, what string, value float64, bound string, holds bool) {
	t.Helper()
	if !holds {
		bound += "  FAIL"
		t.Errorf("%s: %.2f, want %s", what, value, bound)
	}
	r.lines = append(r.lines, line{what, fmt.Sprintf("%.2f", value), bound})
}

// print writes the table, if there is anything in it.
func (r *report) print(w io.Writer) error {
	for _, l := range r.lines {
		if _, err := fmt.Fprintf(w, "%-45s %12s  %s\n", l.what, l.value, l.bound); err != nil {
			return err
		}
	}
	return nil
}

func micros(v float64) string { return fmt.Sprintf("%.0f µs", v) }

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
