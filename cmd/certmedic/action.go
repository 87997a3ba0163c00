package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/person"
	"github.com/certmedic/certmedic/remediate/deploy"
)

func newRedeploy(e *environment) *cobra.Command {
	return newAction(e, certmedic.ActionRedeploy, "Move the stored version on to where it is served",
		`Redeploy installs the stored version by the configured deploy steps, or runs certbot's deploy
hooks again, and verifies the result by new handshakes. The same validation and journal as
for the daemon's own actions hold; a person overrides mode, windows, back-off, breakers and budgets.`)
}

func newReload(e *environment) *cobra.Command {
	return newAction(e, certmedic.ActionReload, "Make the services load the files that are there",
		`Reload runs the configured test, reload and alive commands of a certificate and installs no
files. Certificates without deploy steps have no reload of their own: use redeploy.`)
}

func newRenew(e *environment) *cobra.Command {
	return withRehearsal(e, newAction(e, certmedic.ActionRenew, "Have a new version issued",
		`Renew has certbot renew the certificate, orders it itself (source: acme, renew: acme), or runs the
command that the configuration names, and verifies that another, newer version is stored and
served. Where nothing is stored yet it has the first version issued. What is not due is renewed
with --force only, which also spends what is kept of the CA's limits in reserve. Where a newer
version is stored already and not served, redeploy is the remedy.

--plan shows the plan and what it would cost at the CA, and does nothing. --dry-run then also has a
version issued at the CA's staging directory, of which nothing is stored: certbot by its own --dry-run,
whose accounts at that directory it keeps. Pre and post hooks are left out, unless --run-hooks is given;
deploy hooks never run, see 'certmedic hooks rehearse'. A command cannot be rehearsed.

Exit codes of --dry-run: 0 rehearsed well, 1 refused, 2 failed.`))
}

func newAction(e *environment, kind certmedic.ActionKind, short, long string) *cobra.Command {
	r := api.ActionRequest{Action: kind}
	var yes bool
	cmd := &cobra.Command{
		Use:   string(kind) + " CERT",
		Short: short,
		Long:  long + "\n\nExit codes: 0 verified, 1 refused, 2 acted but not verified, 4 failed and put back.",
		Example: fmt.Sprintf(`  certmedic %[1]s shop --dry-run
  certmedic %[1]s shop --yes`, kind),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Certificate, r.By = args[0], e.person()
			if kind == certmedic.ActionRenew && r.Force && !yes && !r.DryRun && !e.onTerminal() {
				return fail(errors.New("--force may spend the reserve of the CA's limits: confirm it with --yes"))
			}
			if !yes && !r.DryRun {
				if err := e.confirm(question(r)); err != nil {
					return err
				}
			}
			answer, err := e.act(cmd.Context(), r)
			if err != nil {
				return err
			}
			return e.report(answer)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&r.DryRun, "dry-run", false, "show everything that would be done, and do nothing")
	switch kind {
	case certmedic.ActionRollback:
		flags.StringVar((*string)(&r.To), "to", "", "the version (or a beginning of it) to roll back to, if it is fit")
		flags.BoolVar(&r.Force, "force", false, "act even if nothing that is served is invalid, the clock is in doubt or looks disagree")
	case certmedic.ActionRenew:
		flags.BoolVar(&r.Force, "force", false, "renew what is not due as well, and spend the reserve of the CA's limits")
	default:
		flags.StringVar((*string)(&r.To), "to", "", "the version (or a beginning of it) that must be the stored one")
		flags.BoolVar(&r.Force, "force", false, "act even if every address serves the stored version, the clock is in doubt or looks disagree")
	}
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// question asks for a confirmation, and says what is out of the ordinary about it.
func question(r api.ActionRequest) string {
	what := fmt.Sprintf("%s %s now", r.Action, printable(r.Certificate))
	if r.Action == certmedic.ActionRenew && r.Force {
		what += ", due or not, if need be from the reserve of the CA's limits"
	}
	return what + "?"
}

// person names who runs this command, as far as the kernel knows.
func (e *environment) person() string { return person.OfProcess(os.Getpid(), os.Getuid()) }

// onTerminal reports whether a person can answer.
func (e *environment) onTerminal() bool {
	in, ok := e.stdin.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// confirm asks on a terminal. Without one nobody can answer, and nobody needs to.
func (e *environment) confirm(question string) error {
	if !e.onTerminal() {
		return nil
	}
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(e.stdin).ReadString('\n') // an end of input is a no
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return fail(errors.New("not confirmed"))
	}
	return nil
}

// report prints what an action came to and turns it into the exit code.
func (e *environment) report(answer api.ActionAnswer) error {
	switch {
	case e.json:
		if err := e.printJSON(answer); err != nil {
			return err
		}
	case answer.Plan != nil:
		e.printPlan(*answer.Plan, answer)
	default:
		e.printAction(*answer.Action)
	}
	if answer.Action == nil {
		if answer.Reason != "" {
			return &exitError{code: exitFailed}
		}
		return nil
	}
	return exitOf(answer.Action.Outcome.Kind)
}

// exitOf turns an outcome into the exit code of a command that acts.
func exitOf(outcome certmedic.OutcomeKind) error {
	switch outcome {
	case certmedic.OutcomeHealed:
		return nil
	case certmedic.OutcomeRefused, certmedic.OutcomePlanned:
		return &exitError{code: exitFailed}
	case certmedic.OutcomePutBack:
		return &exitError{code: exitPutBack}
	}
	return &exitError{code: exitUnverified}
}

func (e *environment) printPlan(p deploy.Plan, answer api.ActionAnswer) {
	fmt.Fprintf(e.stdout, "version  %s\nplan     %s\n", p.Version.Short(), p.ShortHash())
	for _, f := range p.Files {
		fmt.Fprintf(e.stdout, "install  %s (%s)\n", printable(f.To), fileOf(f))
	}
	for _, c := range slices.Concat(p.Commands, p.Pushes) {
		fmt.Fprintf(e.stdout, "run      %s: %s\n", c.Phase, printable(strings.Join(c.Argv, " ")))
		for _, v := range c.EnvDiff {
			fmt.Fprintf(e.stdout, "         with %s\n", printable(v))
		}
		for _, more := range moreOf(c) {
			fmt.Fprintf(e.stdout, "         %s\n", printable(more))
		}
	}
	e.printElsewhere(p.Elsewhere)
	for _, note := range p.Notes {
		fmt.Fprintf(e.stdout, "note     %s\n", printable(note))
	}
	if p.Cost != "" {
		fmt.Fprintf(e.stdout, "costs    %s\n", printable(p.Cost))
	}
	if answer.Reason == "" {
		fmt.Fprintln(e.stdout, "verify   "+p.Verify)
		return
	}
	fmt.Fprintf(e.stdout, "refused  %s: %s\n", answer.Reason, printable(answer.Detail))
}

// moreOf says what a command does beside what its line says.
func moreOf(c deploy.Command) []string {
	var more []string
	if c.About != "" {
		more = append(more, c.About)
	}
	if len(c.Otherwise) > 0 {
		more = append(more, "where that does not succeed: "+strings.Join(c.Otherwise, " "))
	}
	if c.For > 0 {
		more = append(more, "again and again for "+c.For.String())
	}
	return more
}

// fileOf says what a plan would install as a file.
func fileOf(f deploy.File) string {
	said := fmt.Sprintf("%s, %d bytes, sha256 %.16s, from %s", f.From, f.Size, f.SHA256, printable(f.Source))
	if f.Mode != "" {
		said += ", mode " + printable(f.Mode)
	}
	if f.Owner != "" {
		said += ", owner " + printable(f.Owner)
	}
	if f.Swap != "" {
		said += ", in a new folder that " + printable(f.Swap) + " is led to"
	}
	return said
}

func (e *environment) printAction(a certmedic.Action) {
	fmt.Fprintf(e.stdout, "%s %s: %s", a.Kind, printable(a.Certificate), words(a.Outcome.Kind))
	if a.Outcome.Detail != "" {
		fmt.Fprintf(e.stdout, ": %s", printable(a.Outcome.Detail))
	}
	fmt.Fprintln(e.stdout)
	e.printNodes(a.Nodes)
	for _, r := range a.Runs {
		fmt.Fprintf(e.stdout, "  %s: %s\n", printable(r.Name), ending(r))
		if !r.Succeeded() && r.Stderr != "" {
			fmt.Fprintln(e.stdout, printable("    "+strings.ReplaceAll(strings.TrimSpace(r.Stderr), "\n", "\n    ")))
		}
	}
}

// words says an outcome the way people would.
func words(outcome certmedic.OutcomeKind) string {
	return map[certmedic.OutcomeKind]string{
		certmedic.OutcomeRunning: "running", certmedic.OutcomeHealed: "healed, verified by new handshakes",
		certmedic.OutcomeUnverified: "acted, unverified", certmedic.OutcomeFailed: "failed",
		certmedic.OutcomePutBack: "failed and put back", certmedic.OutcomeRefused: "refused", certmedic.OutcomePlanned: "planned",
		certmedic.OutcomeRehearsed: "rehearsed, nothing failed",
	}[outcome]
}

// ending says how a command ended.
func ending(r certmedic.Run) string {
	switch r.Result {
	case certmedic.RunExited:
		return fmt.Sprintf("exit code %d after %s", r.ExitCode, r.Duration.Round(1e6))
	case certmedic.RunSignaled:
		return "killed by " + r.Signal
	case "":
		return "not run"
	}
	if r.Detail != "" {
		return strings.ReplaceAll(string(r.Result), "_", " ") + ": " + printable(r.Detail)
	}
	return strings.ReplaceAll(string(r.Result), "_", " ")
}
