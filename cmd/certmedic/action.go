package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/remediate/deploy"
)

func newRedeploy(e *environment) *cobra.Command {
	return newAction(e, certmedic.ActionRedeploy, "Move the stored version on to where it is served",
		`Redeploy installs the stored version by the configured deploy steps, or runs certbot's deploy
hooks again, and verifies the result by new handshakes. The same validation and journal as
for the daemon's own actions hold; a person overrides mode, back-off and budgets.`)
}

func newReload(e *environment) *cobra.Command {
	return newAction(e, certmedic.ActionReload, "Make the services load the files that are there",
		`Reload runs the configured test, reload and alive commands of a certificate and installs no
files. Certificates without deploy steps have no reload of their own: use redeploy.`)
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
			if !yes && !r.DryRun {
				if err := e.confirm(fmt.Sprintf("%s %s now?", kind, printable(r.Certificate))); err != nil {
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
	flags.StringVar((*string)(&r.To), "to", "", "the version (or a beginning of it) that must be the stored one")
	flags.BoolVar(&r.Force, "force", false, "act even if every address serves the stored version")
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// person names who runs this command.
func (e *environment) person() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if v := e.getenv(name); v != "" {
			return v
		}
	}
	return "somebody"
}

// confirm asks on a terminal. Without one nobody can answer, and nobody needs to.
func (e *environment) confirm(question string) error {
	in, ok := e.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil
	}
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(in).ReadString('\n') // an end of input is a no
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
	fmt.Fprintf(e.stdout, "version  %s\n", p.Version.Short())
	for _, f := range p.Files {
		fmt.Fprintf(e.stdout, "install  %s (%s, %d bytes, from %s)\n", printable(f.To), f.From, f.Size, printable(f.Source))
	}
	for _, c := range p.Commands {
		fmt.Fprintf(e.stdout, "run      %s: %s\n", c.Phase, printable(strings.Join(c.Argv, " ")))
		for _, v := range c.EnvDiff {
			fmt.Fprintf(e.stdout, "         with %s\n", printable(v))
		}
	}
	for _, note := range p.Notes {
		fmt.Fprintf(e.stdout, "note     %s\n", printable(note))
	}
	if answer.Reason == "" {
		fmt.Fprintln(e.stdout, "verify   every bound address serves the version, in two rounds one second apart")
		return
	}
	fmt.Fprintf(e.stdout, "refused  %s: %s\n", answer.Reason, printable(answer.Detail))
}

func (e *environment) printAction(a certmedic.Action) {
	fmt.Fprintf(e.stdout, "%s %s: %s", a.Kind, printable(a.Certificate), words(a.Outcome.Kind))
	if a.Outcome.Detail != "" {
		fmt.Fprintf(e.stdout, ": %s", printable(a.Outcome.Detail))
	}
	fmt.Fprintln(e.stdout)
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
