package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/rules"
)

// againstDaemon stands for everything that the running daemon watches.
const againstDaemon = "daemon"

// listAgainst shows of how many subjects of an inventory each rule holds, or may hold.
func (e *environment) listAgainst(ctx context.Context, inventory string) error {
	tallies, err := e.survey(ctx, inventory)
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(tallies)
	}
	err = e.table("NAME\tABOUT\tMATCHES\tHOLDS\tUNDECIDED\tERRORS", len(tallies), func(i int) []string {
		t := tallies[i]
		matches := fmt.Sprintf("matches %d of %d", t.Matches(), t.Subjects)
		return []string{t.Rule, string(t.About), matches, fmt.Sprint(t.Holds), fmt.Sprint(t.Undecided), fmt.Sprint(t.Errors)}
	})
	for _, t := range tallies {
		for _, line := range doubts(t, inventory) {
			fmt.Fprintln(e.stderr, printable(line))
		}
	}
	return err
}

// doubts says what of a tally looks like a mistake of the rule.
func doubts(t rules.Tally, inventory string) []string {
	var lines []string
	all := fmt.Sprintf("%d %s", t.Subjects, plural(t.About, t.Subjects))
	for _, label := range t.Missing {
		lines = append(lines, fmt.Sprintf("rule %q asks for the label %q, which none of %s has", t.Rule, label, all))
	}
	switch {
	case t.Errors > 0:
		lines = append(lines, fmt.Sprintf("rule %q cannot be asked about %d of %s: %s", t.Rule, t.Errors, all, t.Error))
	case inventory != againstDaemon && t.Subjects > 0 && t.Matches() == 0 && len(t.Missing) == 0:
		lines = append(lines, fmt.Sprintf("rule %q can match none of %s: is a name or a label in it mistyped?", t.Rule, all))
	}
	return lines
}

// survey asks the rules in force about what the daemon watches, or about what a
// configuration says that it will. The latter tells names, labels, addresses and protocols;
// everything else is undecided there.
func (e *environment) survey(ctx context.Context, inventory string) ([]rules.Tally, error) {
	c, err := e.settings()
	if err != nil {
		return nil, err
	}
	if inventory == againstDaemon {
		all, err := api.NewClient(c.StateDir).Rules(ctx)
		if errors.Is(err, api.ErrNoDaemon) {
			return nil, &exitError{exitUsage, fmt.Errorf("%w: name a configuration file to list rules against", err)}
		}
		return talliesOf(all), asFailure(err)
	}
	loaded, err := app.Rules(c)
	if err != nil {
		return nil, fail(err)
	}
	other, _, err := app.Load(inventory)
	if err != nil {
		return nil, fail(err)
	}
	return rules.New(loaded).Survey(rules.Inventory(app.Inventory(other))), nil
}

// plural names a number of subjects.
func plural(about certmedic.SubjectKind, n int) string {
	switch {
	case n == 1:
		return string(about)
	case about == certmedic.AboutAddress:
		return "addresses"
	}
	return string(about) + "s"
}

func talliesOf(all []api.Rule) []rules.Tally {
	tallies := make([]rules.Tally, 0, len(all))
	for _, r := range all {
		tallies = append(tallies, r.Now)
	}
	return tallies
}
