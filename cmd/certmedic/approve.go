package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/remediate/approval"
)

func newPlans(e *environment) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "plans",
		Short: "List the plans that wait for a person, in full",
		Long: `Plans lists what certmedic would do in mode approve and waits to be told: the files with their
hashes, owners and modes, the commands in their order, what is verified afterwards and what it
costs at the CA. What is only shown, in mode plan, is listed as well; with --all also what became
of the plans of the last week.`,
		Example: "  certmedic plans\n  certmedic plans --all --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.ask(func(r reader) error {
				plans, err := r.Plans(cmd.Context())
				if err != nil {
					return err
				}
				if !all {
					plans = waiting(plans)
				}
				if e.json {
					return e.printJSON(plans)
				}
				e.printPlans(plans)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that nobody waits for any more")
	return cmd
}

// waiting keeps the plans that wait for a person, that are approved and not begun, or only shown.
func waiting(plans []approval.Approval) []approval.Approval {
	kept := []approval.Approval{}
	for _, a := range plans {
		switch a.State {
		case approval.Pending, approval.Approved, approval.Shown:
			kept = append(kept, a)
		}
	}
	return kept
}

func newApprove(e *environment) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "approve ID",
		Short: "Let certmedic carry out a plan, once",
		Long: `Approve lets certmedic carry out the plan with this ID, as certmedic plans shows it, one time. It
acts as soon as nothing else stands against it: the freeze file, maintenance windows, back-off and
budgets hold as for its own actions. If the plan would do anything else by then, the approval is
void and the new plan waits.

The journal has who approved it: the user that runs this, and who logged in.`,
		Example:           "  certmedic approve bodig-rusam\n  certmedic approve bodig-rusam --yes",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completePlans,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.WordRequest{ID: args[0], Approve: true}
			if !yes {
				if err := e.confirmPlan(cmd.Context(), r.ID); err != nil {
					return err
				}
			}
			return e.spoke(e.say(cmd.Context(), r))
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func newReject(e *environment) *cobra.Command {
	r := api.WordRequest{}
	cmd := &cobra.Command{
		Use:               "reject ID",
		Short:             "Keep certmedic from carrying out a plan",
		Long:              "Reject says no to the plan with this ID. Nobody is asked about it again for a day, unless it changes.\nAn approval that was not used yet is taken back in this way, too.",
		Example:           `  certmedic reject bodig-rusam --reason "the new hook is not reviewed yet"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completePlans,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.ID = args[0]
			return e.spoke(e.say(cmd.Context(), r))
		},
	}
	cmd.Flags().StringVar(&r.Reason, "reason", "", "why, for the record")
	return cmd
}

// say has the daemon take a person's word, or takes it under the same lock where no daemon runs.
func (e *environment) say(ctx context.Context, r api.WordRequest) (said approval.Approval, err error) {
	err = e.change(e.quiet(), func(c *api.Client) (err error) { said, err = c.Say(ctx, r); return err }, func(o *app.Offline) (err error) {
		r.By = e.person()
		said, err = o.Say(ctx, r)
		if err == nil && r.Approve {
			fmt.Fprintln(e.stderr, "no daemon is running: the plan is carried out once one does, if nothing has changed by then")
		}
		return err
	})
	return said, err
}

// confirmPlan shows a plan on a terminal, and asks.
func (e *environment) confirmPlan(ctx context.Context, id string) error {
	if !e.onTerminal() {
		return nil
	}
	err := e.ask(func(r reader) error {
		plans, err := r.Plans(ctx)
		for _, a := range plans {
			if strings.EqualFold(a.ID, id) {
				e.printPlans([]approval.Approval{a})
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return e.confirm("approve this plan?")
}

// spoke prints what a person's word came to.
func (e *environment) spoke(a approval.Approval, err error) error {
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(a)
	}
	fmt.Fprintf(e.stdout, "plan %s (%s %s) is %s by %s\n", a.ID, a.Kind, printable(a.Certificate), a.State, printable(a.By))
	return nil
}

func (e *environment) printPlans(plans []approval.Approval) {
	if len(plans) == 0 {
		fmt.Fprintln(e.stdout, "no plan waits")
	}
	for i, a := range plans {
		if i > 0 {
			fmt.Fprintln(e.stdout)
		}
		fmt.Fprintf(e.stdout, "%s  %s %s: %s\n", a.ID, a.Kind, printable(a.Certificate), stateOf(a))
		fmt.Fprintf(e.stdout, "because  %s: %s\n", printable(a.Rule), oneLine(printable(a.Why)))
		e.printPlan(a.Plan, api.ActionAnswer{})
	}
}

// stateOf says what became of a plan, and until when it waits.
func stateOf(a approval.Approval) string {
	const layout = time.DateTime
	switch a.State {
	case approval.Pending:
		return "waits until " + a.Expires.Local().Format(layout)
	case approval.Approved:
		return fmt.Sprintf("approved by %s, not begun yet; until %s", printable(a.By), a.Expires.Local().Format(layout))
	case approval.Shown:
		return "shown only, the mode is plan"
	}
	said := string(a.State)
	if a.By != "" {
		said += " by " + printable(a.By)
	}
	said += " at " + a.At.Local().Format(layout)
	if a.Reason != "" {
		said += ": " + oneLine(printable(a.Reason))
	}
	return said
}

// completePlans completes the IDs of the plans that wait.
func (e *environment) completePlans(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	err := e.ask(func(r reader) error {
		plans, err := r.Plans(cmd.Context())
		for _, a := range waiting(plans) {
			ids = append(ids, fmt.Sprintf("%s\t%s %s", a.ID, a.Kind, printable(a.Certificate)))
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
