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
		switch {
		case t.Errors > 0:
			fmt.Fprintf(e.stderr, "rule %q cannot be asked about %d of %d %s: see certmedic rules check\n", t.Rule, t.Errors, t.Subjects, plural(t.About))
		case inventory != againstDaemon && t.Subjects > 0 && t.Matches() == 0:
			fmt.Fprintf(e.stderr, "rule %q can match none of %d %s: is a name or a label in it mistyped?\n", t.Rule, t.Subjects, plural(t.About))
		}
	}
	return err
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

func plural(about certmedic.SubjectKind) string {
	if about == certmedic.AboutAddress {
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
