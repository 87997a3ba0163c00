package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
)

func newReceivers(e *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "receivers",
		Short: "List, test and preview the ways to tell people",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newReceiversList(e), newReceiversTest(e), newReceiversPreview(e))
	return cmd
}

func newReceiversList(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Say how every receiver does",
		Long: `List shows every receiver: whether it takes what it is sent, since when something waits for it, and
what its service said where the last attempt failed. Where no daemon runs, it shows what the last one
left.

Exit codes: 0 all of them work, 2 one fails.`,
		Example: "  certmedic receivers list\n  certmedic receivers list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.ask(func(r reader) error {
				all, err := r.Receivers(cmd.Context())
				if err != nil {
					return err
				}
				return e.listReceivers(all)
			})
		},
	}
}

func (e *environment) listReceivers(all []api.Receiver) error {
	failing := false
	for _, r := range all {
		failing = failing || r.Failing
	}
	if e.json {
		if err := e.printJSON(all); err != nil {
			return err
		}
	} else {
		e.printReceivers(all)
	}
	if failing {
		return &exitError{code: exitUnverified}
	}
	return nil
}

func (e *environment) printReceivers(all []api.Receiver) {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RECEIVER\tKIND\tSTATE\tTOOK LAST\tWAITS SINCE\tWHAT")
	for _, r := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(r.Name), r.Kind, receiverState(r), at(r.Took), at(r.Waits), oneLine(printable(r.Why)))
	}
	_ = w.Flush() // writes to standard output; there is nobody to tell
}

func receiverState(r api.Receiver) string {
	state := "ok"
	switch {
	case r.Failing:
		state = "failing"
	case r.Why != "":
		state = "retrying"
	}
	if r.Heartbeat {
		state += ", heartbeat"
	}
	if r.Fallback {
		state += ", fallback"
	}
	return state
}

func at(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func newReceiversTest(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "test [NAME]",
		Short: "Send a real message through receivers",
		Long: `Test sends the beginning of an incident of severity info and its end, marked as a test, through one
receiver or all of them, and says what each service answered. Routes, silences and hours do not count.
No daemon has to run.

Exit codes: 0 every receiver took both, 2 one did not.`,
		Example:           "  certmedic receivers test\n  certmedic receivers test ops --json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completeReceivers,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.TestRequest{Receiver: first(args), By: e.person()}
			var results []api.TestResult
			err := e.tried(func(c *api.Client) (err error) { results, err = c.TestReceivers(cmd.Context(), r); return err },
				func(t *app.Trials) error { return e.testAlone(cmd.Context(), t, r, &results) })
			if err != nil {
				return err
			}
			return e.tested(results)
		},
	}
}

// testAlone tests receivers without a daemon, and keeps what came of it where that can be kept.
func (e *environment) testAlone(ctx context.Context, t *app.Trials, r api.TestRequest, results *[]api.TestResult) (err error) {
	if *results, err = t.Test(ctx, r); err != nil {
		return err
	}
	if c, err := e.settings(); err == nil {
		_ = app.KeepTests(c, *results) // who may not write the state may test all the same
	}
	return nil
}

// tried calls f with the daemon, or with receivers of the same configuration.
func (e *environment) tried(byDaemon func(*api.Client) error, alone func(*app.Trials) error) error {
	c, err := e.settings()
	if err != nil {
		return err
	}
	if err := byDaemon(api.NewClient(c.StateDir)); !errors.Is(err, api.ErrNoDaemon) {
		return asFailure(err)
	}
	t, err := app.NewTrials(c, e.options(slog.New(slog.NewTextHandler(e.stderr, nil))))
	if err != nil {
		return fail(err)
	}
	return asFailure(alone(t))
}

func (e *environment) tested(results []api.TestResult) error {
	failed := false
	for _, r := range results {
		failed = failed || !r.Delivered
	}
	if e.json {
		if err := e.printJSON(results); err != nil {
			return err
		}
	} else {
		e.printTested(results)
	}
	if failed {
		return &exitError{code: exitUnverified}
	}
	return nil
}

func (e *environment) printTested(results []api.TestResult) {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, r := range results {
		said := "delivered in " + r.Took.Round(time.Millisecond).String()
		if !r.Delivered {
			said = "failed: " + oneLine(printable(r.Error))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", printable(r.Receiver), r.Kind, said)
	}
	_ = w.Flush() // writes to standard output; there is nobody to tell
}

func newReceiversPreview(e *environment) *cobra.Command {
	var r api.PreviewRequest
	cmd := &cobra.Command{
		Use:   "preview [NAME]",
		Short: "Show what receivers would be sent, without sending it",
		Long: `Preview shows what one receiver, or each of them, would be sent if a rule fired for a certificate,
with the receiver's own templates. What is not named is made up.`,
		Example:           "  certmedic receivers preview ops\n  certmedic receivers preview --rule expired --certificate shop",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completeReceivers,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Receiver = first(args)
			var previews []api.Preview
			err := e.tried(func(c *api.Client) (err error) { previews, err = c.PreviewReceivers(cmd.Context(), r); return err },
				func(t *app.Trials) (err error) { previews, err = t.Preview(r); return err })
			if err != nil {
				return err
			}
			return e.previewed(previews)
		},
	}
	cmd.Flags().StringVar(&r.Rule, "rule", "", "the rule that fires")
	cmd.Flags().StringVar(&r.Certificate, "certificate", "", "the certificate that it fires for")
	return cmd
}

func (e *environment) previewed(previews []api.Preview) error {
	var errs []error
	for _, p := range previews {
		if p.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", p.Receiver, p.Error))
		}
	}
	if e.json {
		if err := e.printJSON(previews); err != nil {
			return err
		}
	} else {
		for _, p := range previews {
			e.printPreview(p)
		}
	}
	if len(errs) > 0 {
		return fail(errors.Join(errs...))
	}
	return nil
}

func (e *environment) printPreview(p api.Preview) {
	note := ""
	if !p.Own {
		note = ", told as"
	}
	shown := printable(strings.ReplaceAll(p.Shown, "\r\n", "\n"))
	fmt.Fprintf(e.stdout, "# %s (%s%s)\n%s\n", printable(p.Receiver), p.Kind, note, strings.TrimRight(shown, "\n"))
}

// completeReceivers completes the names of receivers.
func (e *environment) completeReceivers(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := e.settings()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, r := range c.Alerting.Receivers {
		names = append(names, r.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
