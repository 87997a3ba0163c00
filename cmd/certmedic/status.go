package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
)

func newStatus(e *environment) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "status [CERT]",
		Short: "Say how every certificate is now",
		Long: `Status asks the daemon for the present picture. Where no daemon runs, it shows what is kept
and what the sources hold now; nothing is probed. With --all the daemon asks every member of its cluster.

Exit codes are those of check: 0 fine, 1 warning, 2 critical, 3 could not tell.`,
		Example:           "  certmedic status\n  certmedic status shop --json\n  certmedic status --all",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return &exitError{exitUsage, errors.New("--all is for all certificates")}
			}
			return e.ask(func(r reader) error {
				if all {
					return e.statusAll(cmd.Context(), r)
				}
				s, err := r.Status(cmd.Context())
				if err != nil {
					return err
				}
				if s, err = only(s, args); err != nil {
					return err
				}
				return e.status(s)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "what all members of the cluster see")
	return cmd
}

// only keeps the certificate that was named, if one was.
func only(s api.Status, args []string) (api.Status, error) {
	if len(args) == 0 {
		return s, nil
	}
	for _, v := range s.Certificates {
		if v.Name == args[0] {
			s.Certificates, s.Status = []watchdog.View{v}, v.Status
			return s, nil
		}
	}
	return s, &exitError{exitUsage, fmt.Errorf("there is no certificate %q", args[0])}
}

func (e *environment) status(s api.Status) error {
	if e.json {
		if err := e.printJSON(s); err != nil {
			return err
		}
	} else {
		e.printStatus(s)
	}
	if code := s.Status.ExitCode(); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

func (e *environment) printStatus(s api.Status) {
	if !s.Running {
		fmt.Fprintln(e.stderr, "no daemon is running: this is what was kept, nothing was probed")
	}
	if len(s.Certificates) == 0 {
		fmt.Fprintln(e.stdout, "no certificates: write a configuration with 'certmedic config init'")
		return
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STATUS\tCERTIFICATE\tSTAGE\tSERVED UNTIL\tSTORED UNTIL\tMODE\t"+column(s.Cluster, "LEADER")+"WHAT")
	for _, v := range s.Certificates {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s%s\n", v.Status, printable(v.Name), or(string(v.Stage), "-"), servedUntil(v, s.Time), storedUntil(v, s.Time), v.Mode, column(s.Cluster, leader(v)), printable(what(v)))
	}
	_ = w.Flush() // writes to standard output; there is nobody to tell
	if len(s.Certificates) == 1 {
		e.printRehearsals(s.Certificates[0].Rehearsed)
		e.printSupply(s.Certificates[0].Supply)
	}
	e.printCluster(s.Cluster)
	for _, in := range s.Fleet {
		if in.State == certmedic.StateFiring {
			fmt.Fprintf(e.stdout, "certmedic itself: %s: %s: %s\n", in.Severity, in.Rule, printable(in.Summary))
		}
	}
	for _, r := range s.Receivers {
		if r.Failing {
			fmt.Fprintf(e.stdout, "receiver %s fails: %s\n", printable(r.Name), oneLine(printable(r.Why)))
		}
	}
	for _, d := range s.Degraded {
		fmt.Fprintln(e.stdout, printable("certmedic itself: "+d))
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func servedUntil(v watchdog.View, now time.Time) string {
	var first certmedic.CertFacts
	for _, ep := range v.Endpoints {
		for _, a := range ep.Addresses {
			leaf, ok := a.Leaf()
			if !ok && a.LastSeen != nil {
				leaf, ok = *a.LastSeen, true
			}
			if ok && (first.SHA256 == "" || leaf.NotAfter.Before(first.NotAfter)) {
				first = leaf
			}
		}
	}
	if first.SHA256 == "" {
		return "-"
	}
	return until(first, now)
}

func storedUntil(v watchdog.View, now time.Time) string {
	if v.Stored == nil {
		return "-"
	}
	return until(v.Stored.Chain[0], now)
}

func until(leaf certmedic.CertFacts, now time.Time) string {
	left := leaf.NotAfter.Sub(now)
	day := leaf.NotAfter.UTC().Format("2006-01-02")
	switch {
	case left < 0:
		return day + " (expired)"
	case left < 48*time.Hour:
		return fmt.Sprintf("%s (%d h)", day, int(left.Hours()))
	}
	return fmt.Sprintf("%s (%d d)", day, int(left.Hours()/24))
}

// what names the worst thing about a certificate: its incidents, else its findings.
func what(v watchdog.View) string {
	var said []string
	for _, in := range v.Incidents {
		word := in.Rule
		if in.State == certmedic.StatePending {
			word += " (pending)"
		}
		if in.Cause != "" {
			word += ": " + string(in.Cause)
		}
		said = append(said, word)
	}
	if v.Loan != nil {
		said = append(said, lentUntil(*v.Loan))
	}
	if len(said) > 0 {
		return strings.Join(said, ", ")
	}
	worst := certmedic.Finding{}
	consider := func(findings []certmedic.Finding) {
		for _, f := range findings {
			if worst.Code == "" || f.Severity.Rank() > worst.Severity.Rank() {
				worst = f
			}
		}
	}
	consider(v.Findings)
	for _, ep := range v.Endpoints {
		consider(ep.Findings)
		for _, a := range ep.Addresses {
			consider(a.Findings)
		}
	}
	if worst.Code == "" || worst.Severity == certmedic.SeverityInfo {
		return ""
	}
	return string(worst.Code) + ": " + worst.Detail
}

func newIncidents(e *environment) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:               "incidents [CERT]",
		Short:             "List open and past incidents",
		Long:              "Incidents lists what is open, newest first, and then what has ended.\n\nExit codes are those of check, by the worst that fires: 0 none, 1 warning, 2 critical.",
		Example:           "  certmedic incidents\n  certmedic incidents shop --json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.ask(func(r reader) error {
				incidents, err := r.Incidents(cmd.Context(), first(args), limit)
				if err != nil {
					return err
				}
				acknowledged, err := r.Acknowledged(cmd.Context())
				if err != nil {
					return err
				}
				return e.incidents(incidents, acknowledged)
			})
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "the most entries")
	cmd.AddCommand(newAck(e))
	return cmd
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (e *environment) incidents(incidents []certmedic.Incident, acknowledged []api.Acknowledgement) error {
	if e.json {
		if err := e.printJSON(append([]certmedic.Incident{}, incidents...)); err != nil {
			return err
		}
	} else {
		e.printIncidents(incidents, acknowledged)
	}
	status := certmedic.StatusOK
	for _, in := range incidents {
		if in.State == certmedic.StateFiring {
			status = status.Worse(certmedic.StatusOf(certmedic.Finding{Severity: in.Severity}))
		}
	}
	if code := status.ExitCode(); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

func (e *environment) printIncidents(incidents []certmedic.Incident, acknowledged []api.Acknowledgement) {
	if len(incidents) == 0 {
		fmt.Fprintln(e.stdout, "no incidents")
	}
	for _, in := range incidents {
		fmt.Fprintf(e.stdout, "%s  %s  %s  %s\n", in.PendingAt.Local().Format(time.DateTime), in.State, in.Severity, printable(in.Summary))
		fmt.Fprintf(e.stdout, "    rule %s: %s\n", printable(in.Rule), printable(or(in.Reason, "-")))
		if cause := in.CauseText(); cause != "" {
			fmt.Fprintf(e.stdout, "    cause: %s\n", oneLine(printable(cause)))
		}
		for _, ev := range in.Evidence {
			fmt.Fprintf(e.stdout, "    %s: %s\n", printable(ev.Source), printable(ev.Line))
		}
		if in.Fix != "" && in.Open() {
			e.printFix(in.Fix)
		}
		if ack, ok := ackOf(in, acknowledged); ok {
			fmt.Fprintf(e.stdout, "    %s\n", acknowledgedBy(ack))
		}
		if in.NextStep != "" && in.State == certmedic.StateFiring {
			fmt.Fprintf(e.stdout, "    next: %s\n", printable(in.NextStep))
		}
		if !in.EndedAt.IsZero() {
			fmt.Fprintf(e.stdout, "    ended %s\n", in.EndedAt.Local().Format(time.DateTime))
		}
	}
}

// printFix shows commands so that they can be pasted: as they are, one in a line.
func (e *environment) printFix(fix string) {
	fmt.Fprintln(e.stdout, "    fix:")
	for line := range strings.SplitSeq(fix, "\n") {
		fmt.Fprintf(e.stdout, "        %s\n", oneLine(printable(line)))
	}
}

func newHistory(e *environment) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:               "history [CERT]",
		Short:             "List every action: who, why, what, evidence, duration",
		Example:           "  certmedic history\n  certmedic history shop -n 5 --json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.ask(func(r reader) error {
				actions, err := r.History(cmd.Context(), first(args), limit)
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(append([]certmedic.Action{}, actions...))
				}
				e.printHistory(actions)
				return nil
			})
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "the most entries")
	return cmd
}

func (e *environment) printHistory(actions []certmedic.Action) {
	if len(actions) == 0 {
		fmt.Fprintln(e.stdout, "no actions")
	}
	for _, a := range actions {
		took := ""
		if !a.EndedAt.IsZero() {
			took = ", " + a.EndedAt.Sub(a.StartedAt).Round(10*time.Millisecond).String()
		}
		by := printable(a.By)
		if a.ApprovedBy != "" {
			by += ", approved by " + printable(a.ApprovedBy)
		}
		fmt.Fprintf(e.stdout, "%s  by %s (attempt %d%s): %s\n", a.StartedAt.Local().Format(time.DateTime), by, a.Attempt, took, printable(a.Why))
		e.printAction(a)
	}
}

// completeCertificates completes the names of certificates.
func (e *environment) completeCertificates(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	err := e.ask(func(r reader) error {
		s, err := r.Status(cmd.Context())
		for _, v := range s.Certificates {
			names = append(names, v.Name)
		}
		return err
	})
	if err != nil && !errors.Is(err, api.ErrNoDaemon) {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
