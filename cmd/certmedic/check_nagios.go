package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/check"
	"github.com/certmedic/certmedic/probe/inspect"
)

// maxNagiosProblems bounds how many targets the line explains.
const maxNagiosProblems = 10

// nagiosReport writes one line for all targets, as the guidelines of the Monitoring
// Plugins have it: the state, what is worst, and the seconds that are left as performance
// data.
type nagiosReport struct {
	out        io.Writer
	at         time.Time
	warn, crit inspect.Threshold

	worst    certmedic.Status
	counts   map[certmedic.Status]int
	problems []string // of targets with the worst status
	perfdata []string
}

func (n *nagiosReport) add(r check.Result) error {
	if n.counts == nil {
		n.worst, n.counts = r.Status, map[certmedic.Status]int{}
	}
	n.counts[r.Status]++
	if worse := n.worst.Worse(r.Status); worse != n.worst {
		n.worst, n.problems = worse, nil
	}
	now := asOf(r, n.at)
	leaf, served := soonest(r.Addresses)
	if r.Status == n.worst && len(n.problems) < maxNagiosProblems {
		n.problems = append(n.problems, r.Target+": "+summary(r, leaf, now))
	}
	if served {
		n.perfdata = append(n.perfdata, n.perf(r.Target, leaf, now))
	}
	return nil
}

// summary says in a few words how a target is.
func summary(r check.Result, leaf certmedic.CertFacts, now time.Time) string {
	findings := r.Findings
	for _, a := range r.Addresses {
		findings = append(findings[:len(findings):len(findings)], a.Findings...)
	}
	if r.Status == certmedic.StatusOK {
		return fmt.Sprintf("valid until %s (%s left)", minute(leaf.NotAfter), span(leaf.NotAfter.Sub(now)))
	}
	return worstFirst(findings)[0].Detail
}

// perf returns the seconds that are left, with the thresholds as ranges that alert below.
func (n *nagiosReport) perf(target string, leaf certmedic.CertFacts, now time.Time) string {
	label := strings.NewReplacer("'", "''", "=", "_").Replace(target)
	return fmt.Sprintf("'%s'=%.0fs;%s;%s", label, math.Floor(leaf.NotAfter.Sub(now).Seconds()), below(n.warn, leaf), below(n.crit, leaf))
}

func below(t inspect.Threshold, leaf certmedic.CertFacts) string {
	seconds := t.Duration.Seconds() + t.Share*leaf.Lifetime().Seconds()
	if seconds == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f:", seconds)
}

func (n *nagiosReport) end() error {
	if n.counts == nil {
		return nil
	}
	text := strings.Join(n.problems, "; ")
	if n.total() > 1 {
		text = fmt.Sprintf("%s: %s", tally(n.counts), text)
		if more := n.counts[n.worst] - len(n.problems); more > 0 {
			text += fmt.Sprintf("; and %d more", more)
		}
	}
	line := strings.ToUpper(string(n.worst)) + " - " + unpiped(text)
	if len(n.perfdata) > 0 {
		line += " | " + unpiped(strings.Join(n.perfdata, " "))
	}
	_, err := fmt.Fprintln(n.out, line)
	return err
}

func (n *nagiosReport) total() int {
	total := 0
	for _, count := range n.counts {
		total += count
	}
	return total
}

// unpiped keeps text apart from performance data, and on one line.
func unpiped(s string) string { return strings.ReplaceAll(oneLine(s), "|", "/") }

// soonest returns the leaf that ends first, and whether there is one.
func soonest(addresses []certmedic.AddressObservation) (certmedic.CertFacts, bool) {
	var first certmedic.CertFacts
	found := false
	for _, a := range addresses {
		if leaf, ok := a.Leaf(); ok && (!found || leaf.NotAfter.Before(first.NotAfter)) {
			first, found = leaf, true
		}
	}
	return first, found
}
