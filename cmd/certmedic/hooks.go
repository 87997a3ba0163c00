package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
)

func newHooks(e *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hooks",
		Short: "Rehearse deploy hooks",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRehearse(e))
	return cmd
}

func newRehearse(e *environment) *cobra.Command {
	var r api.RehearsalRequest
	var yes bool
	cmd := &cobra.Command{
		Use:   "rehearse CERT",
		Short: "Run the deploy hooks for the present version",
		Long: `Rehearse runs the deploy hooks of a certificate, or the test, reload and alive commands of its deploy
steps, for the version that is stored and served already: with their real environment, under the same
locks and with the same timeout as an action. Nothing is issued and no file is installed by certmedic.
The hooks really run: a service that they restart is restarted. Each command's exit code, signal, time
and output are recorded, see 'certmedic history'. Afterwards every bound address has to serve what it
served before.

It is refused while certbot is at work, while another version than the stored one is served (redeploy
is for that), and where others may write a hook.

Exit codes: 0 rehearsed well, 1 refused, 2 failed.`,
		Example:           "  certmedic hooks rehearse shop --yes\n  certmedic hooks rehearse shop --json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Certificate, r.By = args[0], e.person()
			if !yes {
				if err := e.confirm(fmt.Sprintf("really run the deploy hooks of %s now?", printable(r.Certificate))); err != nil {
					return err
				}
			}
			answer, err := e.rehearse(cmd.Context(), r)
			if err != nil {
				return err
			}
			if e.json {
				if err := e.printJSON(answer.Rehearsal); err != nil {
					return err
				}
			} else {
				e.printRehearsal(answer.Rehearsal)
			}
			return rehearsalExit(answer.Rehearsal)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// rehearsalExit turns what a rehearsal came to into the exit code.
func rehearsalExit(a certmedic.Action) error {
	switch a.Outcome.Kind {
	case certmedic.OutcomeRehearsed:
		return nil
	case certmedic.OutcomeRefused:
		return &exitError{code: exitFailed}
	}
	return &exitError{code: exitUnverified}
}

// withRehearsal gives the command that renews its rehearsal: --plan shows what would be done, and
// --dry-run also does it at the staging directory.
func withRehearsal(e *environment, cmd *cobra.Command) *cobra.Command {
	renew := cmd.RunE
	var plan, runHooks bool
	flags := cmd.Flags()
	flags.BoolVar(&plan, "plan", false, "show everything that would be done and what it costs, and do nothing")
	flags.BoolVar(&runHooks, "run-hooks", false, "with --dry-run: really run certbot's pre and post hooks")
	flags.Lookup("dry-run").Usage = "as --plan, and have a version issued at the staging directory, of which nothing is stored"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dry, errDry := flags.GetBool("dry-run")
		yes, errYes := flags.GetBool("yes")
		if err := errors.Join(errDry, errYes); err != nil {
			return err
		}
		switch {
		case plan && dry:
			return errors.New("--plan and --dry-run exclude each other")
		case runHooks && !dry:
			return errors.New("--run-hooks is for --dry-run")
		case plan:
			if err := flags.Set("dry-run", "true"); err != nil {
				return err
			}
		case dry:
			return e.dryRun(cmd.Context(), api.RehearsalRequest{Certificate: args[0], Renewal: true, RunHooks: runHooks, By: e.person()}, yes)
		}
		return renew(cmd, args)
	}
	return cmd
}

// dryRun shows what a renewal would do, and rehearses it.
func (e *environment) dryRun(ctx context.Context, r api.RehearsalRequest, yes bool) error {
	planned, err := e.act(ctx, api.ActionRequest{Certificate: r.Certificate, Action: certmedic.ActionRenew, DryRun: true, By: r.By})
	if err != nil {
		return err
	}
	if !e.json && planned.Plan != nil {
		e.printPlan(*planned.Plan, planned)
	}
	if r.RunHooks && !yes {
		if err := e.confirm(fmt.Sprintf("really run certbot's pre and post hooks for %s now?", printable(r.Certificate))); err != nil {
			return err
		}
	}
	answer, err := e.rehearse(ctx, r)
	if err != nil {
		return err
	}
	if e.json {
		both := struct {
			api.ActionAnswer
			api.RehearsalAnswer
		}{planned, answer}
		if err := e.printJSON(both); err != nil {
			return err
		}
	} else {
		e.printRehearsal(answer.Rehearsal)
	}
	return rehearsalExit(answer.Rehearsal)
}

// rehearse has the daemon rehearse, or rehearses under the same lock where no daemon runs.
func (e *environment) rehearse(ctx context.Context, r api.RehearsalRequest) (answer api.RehearsalAnswer, err error) {
	err = e.change(e.warnings(), func(c *api.Client) (err error) { answer, err = c.Rehearse(ctx, r); return err },
		func(o *app.Offline) (err error) { answer, err = o.Rehearse(ctx, r); return err })
	return answer, err
}

// printRehearsal prints a rehearsal, and what its evidence says besides its commands.
func (e *environment) printRehearsal(a certmedic.Action) {
	e.printAction(a)
	for _, ev := range a.Outcome.Evidence {
		fmt.Fprintf(e.stdout, "  %s: %s\n", printable(ev.Source), printable(strings.TrimSpace(ev.Line)))
	}
}

// printRehearsals says when what of a certificate was rehearsed last, and how that ended.
func (e *environment) printRehearsals(all []certmedic.Action) {
	for _, a := range all {
		fmt.Fprintf(e.stdout, "%s %s: %s%s\n", a.StartedAt.Local().Format(time.DateTime), strings.ReplaceAll(string(a.Kind), "_", " "),
			words(a.Outcome.Kind), printable(strings.TrimSuffix(": "+a.Outcome.Detail, ": ")))
	}
}
