package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// cell is one row of a certificate's matrix, in words.
type cell struct {
	watchdog.MatrixRow
	Status certmedic.Status
	Seen   []seen
	Had    []had
}

// seen is a version that is served.
type seen struct {
	watchdog.ServedVersion
	Since moment
}

// had is what a destination has.
type had struct {
	watchdog.DeployedVersion
	Said string
}

// matrix shows which version is where.
func matrix(rows []watchdog.MatrixRow, now time.Time) []cell {
	all := make([]cell, 0, len(rows))
	for _, r := range rows {
		c := cell{MatrixRow: r, Status: r.Verdict.Status()}
		for _, v := range r.Served {
			c.Seen = append(c.Seen, seen{v, at(v.Since, now)})
		}
		for _, d := range r.Deployed {
			c.Had = append(c.Had, had{d, state(d)})
		}
		all = append(all, c)
	}
	return all
}

// state says how a version came to a destination, or that it did not.
func state(d watchdog.DeployedVersion) string {
	switch {
	case d.State != "":
		return strings.ReplaceAll(string(d.State), "_", " ")
	case !d.Known:
		return "not known"
	case d.Version == "":
		return "none"
	}
	return ""
}

// severally sums the matrix of a certificate up that is in several places.
func severally(v watchdog.View) string {
	places := 0
	for _, n := range v.Matrix {
		places += n
	}
	if places < 2 {
		return ""
	}
	return spread(v.Matrix)
}

// spread sums a matrix up, the best first: "5 served, 1 stale".
func spread(counts map[watchdog.Verdict]int) string {
	var said []string
	for _, v := range watchdog.Verdicts() {
		if counts[v] > 0 {
			said = append(said, fmt.Sprintf("%d %s", counts[v], v))
		}
	}
	return strings.Join(said, ", ")
}
