package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
)

func newSilence(e *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "silence",
		Short: "Keep quiet about something for a while",
		Long: `A silence keeps people from being told of what fits it, until it ends. What fires is judged, shown
and acted for as always; if it still holds when the silence ends, it is told then. The end of
what people were told of is always told.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSilenceAdd(e), newSilenceList(e), newSilenceEnd(e))
	return cmd
}

func newSilenceAdd(e *environment) *cobra.Command {
	var r api.SilenceRequest
	var lasts, until string
	cmd := &cobra.Command{
		Use:   "add MATCHER...",
		Short: "Add a silence",
		Long: `Add adds a silence for what fits every MATCHER: LABEL=VALUE, LABEL!=VALUE, LABEL=~REGEXP or
LABEL!~REGEXP, where LABEL is certificate, rule, severity or one of the certificate's labels. It
holds, also over a restart, as soon as this command returns.`,
		Example: `  certmedic silence add certificate=shop --for 2h --why "moving the load balancer"
  certmedic silence add team=payments severity=warning --until 2026-12-01T08:00:00Z --why "freeze"
  certmedic silence add certificate=shop --until-renewed --why "known, renewal is ordered"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Matchers, r.By = args, e.person()
			end, err := silenceEnd(time.Now(), lasts, until, r.UntilRenewed)
			if err != nil {
				return err
			}
			if r.Until = end; r.Why == "" {
				return errors.New("--why is needed: the next one on call will want to know")
			}
			var s silence.Silence
			err = e.silenced(func(to silencer) (err error) { s, err = to.AddSilence(cmd.Context(), r); return err })
			if err != nil {
				return err
			}
			return e.printSilence(s, "silenced until "+s.Until.Format(time.RFC3339))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&lasts, "for", "", "how long it lasts, such as 2h or 3d")
	flags.StringVar(&until, "until", "", "when it ends, RFC 3339")
	flags.BoolVar(&r.UntilRenewed, "until-renewed", false, "it ends for each certificate once a new version is stored, and in any case with --for or --until, or after 30 days")
	flags.StringVar(&r.Why, "why", "", "the reason (required)")
	return cmd
}

// untilRenewed is how long a silence lasts whose certificate is not renewed.
const untilRenewed = 30 * 24 * time.Hour

func silenceEnd(now time.Time, lasts, until string, renewed bool) (time.Time, error) {
	switch {
	case lasts != "" && until != "":
		return time.Time{}, errors.New("--for and --until exclude each other")
	case lasts != "":
		d, err := certmedic.ParseDuration(lasts)
		if err != nil {
			return time.Time{}, fmt.Errorf("--for: %w", err)
		}
		return now.Add(d), nil
	case until != "":
		at, err := time.Parse(time.RFC3339, until)
		if err != nil {
			return time.Time{}, fmt.Errorf("--until: %q is no time, such as 2026-12-01T08:00:00Z", until)
		}
		return at, nil
	case renewed:
		return now.Add(untilRenewed), nil
	}
	return time.Time{}, errors.New("say when it ends: --for, --until or --until-renewed")
}

func newSilenceList(e *environment) *cobra.Command {
	var ended bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the silences",
		Example: "  certmedic silence list\n  certmedic silence list --ended --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.ask(func(r reader) error {
				all, err := r.Silences(cmd.Context(), ended)
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(all)
				}
				e.printSilences(all)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&ended, "ended", false, "also those that have ended within 30 days")
	return cmd
}

func newSilenceEnd(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:               "end ID",
		Short:             "End a silence now",
		Example:           "  certmedic silence end 4f1c22aa",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completeSilences,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.EndRequest{ID: args[0], By: e.person()}
			var s silence.Silence
			err := e.silenced(func(to silencer) (err error) { s, err = to.EndSilence(cmd.Context(), r); return err })
			if err != nil {
				return err
			}
			return e.printSilence(s, "ended")
		},
	}
}

// silencer changes silences: the daemon, or the state where none runs.
type silencer interface {
	AddSilence(ctx context.Context, r api.SilenceRequest) (silence.Silence, error)
	EndSilence(ctx context.Context, r api.EndRequest) (silence.Silence, error)
}

// silenced calls f with the daemon, or with the state folder under the same lock.
func (e *environment) silenced(f func(silencer) error) error {
	return e.change(e.quiet(), func(c *api.Client) error { return f(c) }, func(o *app.Offline) error { return f(o) })
}

func (e *environment) printSilence(s silence.Silence, done string) error {
	if e.json {
		return e.printJSON(s)
	}
	fmt.Fprintf(e.stdout, "%s  %s: %s\n", s.ID, printable(matching(s)), printable(done))
	return nil
}

func (e *environment) printSilences(all []silence.Silence) {
	if len(all) == 0 {
		fmt.Fprintln(e.stdout, "nothing is silenced")
		return
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tENDS\tMATCHES\tBY\tWHY")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.ID, ends(s), oneLine(printable(matching(s))), oneLine(printable(s.By)), oneLine(printable(s.Why)))
	}
	_ = w.Flush() // writes to standard output; there is nobody to tell
}

func matching(s silence.Silence) string {
	var all []string
	for _, m := range s.Matchers {
		all = append(all, m.String())
	}
	return strings.Join(all, " ")
}

func ends(s silence.Silence) string {
	switch {
	case !s.EndedAt.IsZero():
		return "ended " + s.EndedAt.Format(time.RFC3339)
	case s.UntilRenewed:
		return "renewed, or " + s.Until.Format(time.RFC3339)
	}
	return s.Until.Format(time.RFC3339)
}

// completeSilences completes the IDs of silences.
func (e *environment) completeSilences(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if len(args) == 0 {
		_ = e.ask(func(r reader) error { // a completion that fails offers nothing
			all, err := r.Silences(cmd.Context(), false)
			for _, s := range all {
				ids = append(ids, s.ID+"\t"+s.Why)
			}
			return err
		})
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
