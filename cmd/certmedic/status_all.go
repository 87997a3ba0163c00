package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// everywhere answers what all members see: only a daemon can.
type everywhere interface {
	Fleet(ctx context.Context) (api.Fleet, error)
}

// statusAll shows what all members of the cluster see.
func (e *environment) statusAll(ctx context.Context, r reader) error {
	daemon, ok := r.(everywhere)
	if !ok {
		return &exitError{exitUsage, errors.New("no daemon is running: --all asks all members of the cluster through one")}
	}
	f, err := daemon.Fleet(ctx)
	if err != nil {
		return err
	}
	if e.json {
		err = e.printJSON(f)
	} else {
		e.printFleet(f)
	}
	if code := f.Status.ExitCode(); err == nil && code != 0 {
		return &exitError{code: code}
	}
	return err
}

func (e *environment) printFleet(f api.Fleet) {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MEMBER\tSTATUS\tCERTIFICATES\tWHAT")
	for _, m := range f.Members {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", printable(m.Name), m.Status, m.Certificates, oneLine(printable(m.Error)))
	}
	_ = w.Flush() // writes to standard output; there is nobody to tell
	fmt.Fprintln(e.stdout)
	w = tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STATUS\tCERTIFICATE\tSTAGE\tSERVED UNTIL\tSTORED UNTIL\tSEEN BY\tLEADER\tWHAT")
	for _, c := range f.Certificates {
		v := c.View
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Status, printable(c.Name), or(string(v.Stage), "-"), servedUntil(v, f.Time), storedUntil(v, f.Time), printable(c.Member), or(printable(c.Leader), "-"), printable(what(v)))
	}
	_ = w.Flush()
	for _, m := range f.Members {
		for _, d := range m.Degraded {
			fmt.Fprintln(e.stdout, printable(m.Name+" itself: "+d))
		}
	}
}

// column is a further column of a table, where there is a cluster.
func column(c *api.Cluster, text string) string {
	if c == nil {
		return ""
	}
	return text + "\t"
}

// leader names who acts for a certificate.
func leader(v watchdog.View) string {
	switch {
	case v.Lead == nil, v.Lead.Member == "" && v.Lead.Waits == "":
		return "-"
	case !v.Lead.Lost.IsZero():
		return printable(v.Lead.Member) + " (last)"
	}
	return printable(v.Lead.Member)
}

// printCluster says who is in the cluster, and what is wrong with it.
func (e *environment) printCluster(c *api.Cluster) {
	if c == nil {
		return
	}
	fmt.Fprintf(e.stdout, "member %s of a cluster (%s):", printable(c.Member), c.Coordinator)
	for i, m := range c.Members {
		if i > 0 {
			fmt.Fprint(e.stdout, ",")
		}
		fmt.Fprint(e.stdout, " "+printable(m.Name))
	}
	fmt.Fprintln(e.stdout)
}
