package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/rules"
)

func newRules(e *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Check, test, list and export the rules that say what is wrong",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, build := range []func(*environment) *cobra.Command{
		newRulesCheck,
		newRulesList,
		newRulesExport,
		newRulesTest,
	} {
		cmd.AddCommand(build(e))
	}
	return cmd
}

func newRulesCheck(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Check rule files; all mistakes at once, each with its place",
		Long: `Check compiles rules and names every mistake as file:line:col: message, with the line and a
caret below the place. Without FILE it checks the shipped rules and those of the configuration,
with the adjustments that it makes.`,
		Example:           "  certmedic rules check\n  certmedic rules check /etc/certmedic/rules/*.yml --json",
		ValidArgsFunction: completeRuleFiles,
		RunE: func(_ *cobra.Command, args []string) error {
			loaded, err := e.checkRules(args)
			problems := problemsOf(err)
			if e.json {
				if err := e.printJSON(problems); err != nil {
					return err
				}
			} else {
				for _, p := range problems {
					fmt.Fprintln(e.stderr, printable(problemText(p)))
				}
			}
			if len(problems) > 0 {
				return &exitError{code: exitFailed}
			}
			if !e.json {
				fmt.Fprintf(e.stdout, "ok, %d rules\n", len(loaded))
			}
			return nil
		},
	}
}

func completeRuleFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yml", "yaml"}, cobra.ShellCompDirectiveFilterFileExt
}

// checkRules loads the files, or what the configuration says where there are none.
func (e *environment) checkRules(files []string) ([]rules.Rule, error) {
	if len(files) == 0 {
		c, _, err := app.Load(e.config())
		if err != nil {
			return nil, err
		}
		return app.Rules(c)
	}
	var all []rules.Rule
	var errs []error
	first := map[string]string{}
	for _, file := range files {
		loaded, err := loadRuleFile(file)
		errs = append(errs, err)
		for _, r := range loaded {
			if at, twice := first[r.Name]; twice {
				errs = append(errs, &rules.Problem{File: r.File, Line: r.Line, Column: 1, Message: fmt.Sprintf("a second rule named %q, the first is at %s", r.Name, at)})
			}
			first[r.Name] = fmt.Sprintf("%s:%d", r.File, r.Line)
		}
		all = append(all, loaded...)
	}
	return all, errors.Join(errs...)
}

func loadRuleFile(path string) ([]rules.Rule, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, rules.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	return rules.Load(path, data, config.Default().Probe.DeployGrace)
}

// problemsOf lists what an error says is wrong. What has no place in a rule file has a
// message only.
func problemsOf(err error) []rules.Problem {
	all := []rules.Problem{}
	var ofConfig *config.Errors
	var one *rules.Problem
	switch {
	case err == nil:
	case errors.As(err, &ofConfig):
		for _, p := range ofConfig.Problems {
			message := strings.TrimPrefix(p.Key+": "+p.Message, ": ")
			all = append(all, rules.Problem{File: p.File, Line: p.Line, Column: p.Column, Message: message})
		}
	case len(several(err)) > 0:
		for _, each := range several(err) {
			all = append(all, problemsOf(each)...)
		}
	case errors.As(err, &one) && errors.Unwrap(err) != nil:
		return problemsOf(errors.Unwrap(err))
	case one != nil:
		all = append(all, *one)
	default:
		all = append(all, rules.Problem{Message: err.Error()})
	}
	return all
}

// several returns the errors that [errors.Join] made one of; none for any other error.
func several(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

func problemText(p rules.Problem) string {
	switch {
	case p.File == "":
		return p.Message
	case p.Line == 0:
		return p.File + ": " + p.Message
	}
	return p.Error()
}

func newRulesList(e *environment) *cobra.Command {
	var conditions, variables bool
	var against string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the rules in force, or what rules may ask",
		Long: `List shows every rule that the daemon would judge by: the shipped rules and those of the
configuration, adjusted. With --conditions or --variables it shows what rules can be written with.

With --against it shows how much of an inventory each rule matches: "daemon" is what the running
daemon watches now, a FILE the certificates of a configuration. A rule that can match nothing is
likely to have a mistyped label or name in it.`,
		Example: "  certmedic rules list\n  certmedic rules list --against daemon\n  certmedic rules list --against /etc/certmedic/certmedic.yml\n  certmedic rules list --conditions\n  certmedic rules list --variables --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case against != "":
				return e.listAgainst(cmd.Context(), against)
			case conditions:
				return e.listConditions()
			case variables:
				return e.listVariables()
			}
			c, err := e.settings()
			if err != nil {
				return err
			}
			loaded, err := app.Rules(c)
			if err != nil {
				return fail(err)
			}
			return e.listRules(loaded)
		},
	}
	cmd.Flags().BoolVar(&conditions, "conditions", false, "list the named conditions")
	cmd.Flags().BoolVar(&variables, "variables", false, "list the variables of conditions in CEL")
	cmd.Flags().StringVar(&against, "against", "", `how much of an inventory each rule matches: "daemon", or a configuration FILE`)
	cmd.MarkFlagsMutuallyExclusive("conditions", "variables", "against")
	return cmd
}

// listedRule is a rule as `rules list --json` shows it. Durations are in seconds.
type listedRule struct {
	Name          string                `json:"name"`
	About         certmedic.SubjectKind `json:"about"`
	When          string                `json:"when"`
	For           float64               `json:"for"`
	KeepFiringFor float64               `json:"keep_firing_for"`
	Severity      certmedic.Severity    `json:"severity"`
	Ladder        []listedStep          `json:"ladder"`
	Runbook       string                `json:"runbook,omitempty"`
	File          string                `json:"file"`
	Line          int                   `json:"line"`
}

type listedStep struct {
	Do       certmedic.StepKind `json:"do"`
	After    float64            `json:"after"`
	When     string             `json:"when,omitempty"`
	Severity certmedic.Severity `json:"severity,omitempty"`
}

func (e *environment) listRules(all []rules.Rule) error {
	if e.json {
		listed := make([]listedRule, 0, len(all))
		for i := range all {
			listed = append(listed, listRule(&all[i]))
		}
		return e.printJSON(listed)
	}
	return e.table("NAME\tABOUT\tSEVERITY\tFOR\tLADDER\tRUNBOOK\tFROM", len(all), func(i int) []string {
		r := all[i]
		return []string{
			r.Name, string(r.About), string(r.Severity), or(shortDuration(r.For), "-"), ladderText(r.Ladder), or(r.Runbook, "-"),
			fmt.Sprintf("%s:%d", r.File, r.Line),
		}
	})
}

func listRule(r *rules.Rule) listedRule {
	l := listedRule{
		Name: r.Name, About: r.About, When: r.When, For: r.For.Seconds(), KeepFiringFor: r.KeepFiringFor.Seconds(),
		Severity: r.Severity, Runbook: r.Runbook, File: r.File, Line: r.Line,
	}
	for _, s := range r.Ladder {
		l.Ladder = append(l.Ladder, listedStep{Do: s.Do, After: s.After.Seconds(), When: s.When, Severity: s.Severity})
	}
	return l
}

// ladderText shows a ladder in short; a star marks a step that has a condition.
func ladderText(ladder []certmedic.Step) string {
	steps := make([]string, 0, len(ladder))
	for _, s := range ladder {
		text := string(s.Do)
		if s.When != "" {
			text += "*"
		}
		if s.After > 0 {
			text += " after " + shortDuration(s.After)
		}
		if s.Severity != "" {
			text += " (" + string(s.Severity) + ")"
		}
		steps = append(steps, text)
	}
	return strings.Join(steps, ", ")
}

// shortDuration leaves out the parts that are zero, and a duration that is zero altogether.
func shortDuration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (e *environment) listConditions() error {
	all := rules.Conditions()
	if e.json {
		return e.printJSON(all)
	}
	return e.table("CONDITION\tARGUMENT\tABOUT\tEXAMPLE\tMEANING", len(all), func(i int) []string {
		c := all[i]
		return []string{c.Name, or(c.Argument, "-"), kindsText(c.About), c.Example, c.Meaning}
	})
}

func (e *environment) listVariables() error {
	all := rules.Variables()
	if e.json {
		return e.printJSON(all)
	}
	return e.table("VARIABLE\tTYPE\tMEANING", len(all), func(i int) []string {
		return []string{all[i].Name, all[i].Type, all[i].Meaning}
	})
}

func kindsText(kinds []certmedic.SubjectKind) string {
	words := make([]string, 0, len(kinds))
	for _, k := range kinds {
		words = append(words, string(k))
	}
	return strings.Join(words, " ")
}

// table prints a heading and rows of cells below each other.
func (e *environment) table(heading string, rows int, row func(int) []string) error {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	for i := range rows {
		cells := row(i)
		for j := range cells {
			cells[j] = oneLine(cells[j])
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}
