package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/scenario"
)

func newRulesTest(e *environment) *cobra.Command {
	var only string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run scenario tests of rules on a virtual clock",
		Long: `Test plays the stories of scenario files on a virtual clock, months in milliseconds, and holds
the alerts, notifications and actions that the rules ask for against what the stories expect.
Every failure is shown with the place of its expectation, what was expected and what was there.`,
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
			reports, err := runScenarios(cmd.Context(), args, o)
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

// runScenarios runs files one after the other. Files that cannot be read are told all at once,
// before any is run.
func runScenarios(ctx context.Context, paths []string, o scenario.Options) ([]scenario.Report, error) {
	files, problems := make([]*scenario.File, len(paths)), make([]error, len(paths))
	for i, path := range paths {
		files[i], problems[i] = scenario.Load(path)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	reports := make([]scenario.Report, 0, len(files))
	for _, file := range files {
		report, err := file.Run(ctx, o)
		if err != nil {
			return nil, err
		}
		reports = append(reports, report)
	}
	return reports, nil
}

// showScenarios prints how tests ended, and ends with exit code 1 where one failed.
func (e *environment) showScenarios(reports []scenario.Report, verbose bool) error {
	ok, count := true, 0
	for _, r := range reports {
		ok = ok && r.OK()
		count += len(r.Tests)
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
