package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/scenario"
	"github.com/certmedic/certmedic/rules"
)

func newRulesTest(e *environment) *cobra.Command {
	var only string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run scenario tests of rules on a virtual clock",
		Long: `Test plays the stories of scenario files on a virtual clock, months in milliseconds, and holds
the alerts, notifications and actions that the rules ask for against what the stories expect.
Every failure is shown with the place of its expectation, what was expected and what was there.
With --json, files that cannot be loaded are told as {file, problems} in place of a report.`,
		Example: `  certmedic rules test /etc/certmedic/rules/*.test.yml
  certmedic rules test --run 'wildcard' -v shop.test.yml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("rules test needs a scenario file")
			}
			return nil
		},
		ValidArgsFunction: completeRuleFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := scenario.Options{}
			if only != "" {
				matching, err := regexp.Compile(only)
				if err != nil {
					return fmt.Errorf("--run: %w", err)
				}
				o.Only = matching
			}
			files, err := loadScenarios(args)
			if err != nil && !e.json {
				return fail(err)
			}
			if err != nil {
				return e.showUnloaded(err)
			}
			reports, err := runScenarios(cmd.Context(), files, o)
			if err != nil {
				return fail(err)
			}
			return e.showScenarios(reports, verbose)
		},
	}
	cmd.Flags().StringVar(&only, "run", "", "regular expression: only the tests whose names match")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show every transition with its virtual time")
	return cmd
}

// scenarioFile is a file of scenarios with its rules.
type scenarioFile struct {
	*scenario.File
	rules []rules.Rule
}

// loadScenarios loads files and their rules. What is wrong with them is told all at once,
// before any is run, each with a place where it has one.
func loadScenarios(paths []string) ([]scenarioFile, error) {
	files, problems := make([]scenarioFile, len(paths)), []error{}
	for i, path := range paths {
		file, err := scenario.Load(path)
		if err == nil {
			files[i].File = file
			files[i].rules, err = file.LoadRules()
		}
		if err != nil {
			problems = append(problems, &unloaded{path, err})
		}
	}
	return files, errors.Join(problems...)
}

// unloaded is a file that could not be loaded, or whose rules could not, and why.
type unloaded struct {
	path string
	why  error
}

func (u *unloaded) Error() string { return u.why.Error() }

// runScenarios runs files one after the other.
func runScenarios(ctx context.Context, files []scenarioFile, o scenario.Options) ([]scenario.Report, error) {
	reports := make([]scenario.Report, 0, len(files))
	for _, file := range files {
		o.Rules = file.rules
		report, err := file.Run(ctx, o)
		if err != nil {
			return nil, err
		}
		reports = append(reports, report)
	}
	return reports, nil
}

// showUnloaded prints as JSON which files could not be loaded, and why. No test was run.
func (e *environment) showUnloaded(err error) error {
	type report struct {
		File     string          `json:"file"`
		Problems []rules.Problem `json:"problems"`
	}
	var all []report
	for _, each := range several(err) {
		var u *unloaded
		if errors.As(each, &u) {
			all = append(all, report{u.path, problemsOf(u.why)})
		}
	}
	if err := e.printJSON(all); err != nil {
		return err
	}
	return &exitError{code: exitFailed}
}

// showScenarios prints how tests ended, and ends with exit code 1 where one failed.
func (e *environment) showScenarios(reports []scenario.Report, verbose bool) error {
	ok, count := true, 0
	for _, r := range reports {
		ok = ok && r.OK()
		count += len(r.Tests)
		for i := range r.Tests {
			if e.json && !verbose {
				r.Tests[i].Timeline = nil
			}
		}
	}
	if e.json {
		if err := e.printJSON(reports); err != nil {
			return err
		}
	} else {
		for _, r := range reports {
			fmt.Fprint(e.stdout, printable(r.Text(verbose)))
		}
		fmt.Fprintln(e.stdout, scenario.Summary(reports))
	}
	switch {
	case count == 0:
		return fail(fmt.Errorf("no test was run: none has such a name"))
	case !ok:
		return &exitError{code: exitFailed}
	}
	return nil
}
