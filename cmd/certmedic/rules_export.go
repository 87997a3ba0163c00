package main

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/rules/promrules"
)

func newRulesExport(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Write the rules as Prometheus rules",
		Long: `Export says the rules in force in PromQL: the shipped rules and those of the configuration,
adjusted. What it prints is a rule file for Prometheus 2.42 or later, for those who alert by
Prometheus and Alertmanager. A rule that PromQL cannot say is a comment, with the reason.`,
		Example: `  certmedic rules export > /etc/prometheus/certmedic.rules.yml
  certmedic rules export --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := e.settings()
			if err != nil {
				return err
			}
			loaded, err := app.Rules(c)
			if err != nil {
				return fail(err)
			}
			all := make([]promrules.Translation, 0, len(loaded))
			for _, r := range loaded {
				all = append(all, promrules.Translate(r, promrules.Options{Interval: c.Probe.Interval, Runbooks: promrules.Runbooks}))
			}
			return e.exportRules(all)
		},
	}
}

func (e *environment) exportRules(all []promrules.Translation) error {
	if e.json {
		exported := make([]exportedRule, 0, len(all))
		for _, t := range all {
			exported = append(exported, exportRule(t))
		}
		return e.printJSON(exported)
	}
	if err := promrules.Write(e.stdout, all); err != nil {
		return fail(err)
	}
	done := 0
	for _, t := range all {
		if t.Reason == "" {
			done++
			continue
		}
		fmt.Fprintln(e.stderr, printable(fmt.Sprintf("certmedic: note: rule %q is left out: %s", t.Rule, t.Reason)))
	}
	fmt.Fprintf(e.stderr, "certmedic: exported %d of %d rules\n", done, len(all))
	return nil
}

// exportedRule is a rule as `rules export --json` shows it.
type exportedRule struct {
	Rule       string          `json:"rule"`
	Exportable bool            `json:"exportable"`
	Reason     string          `json:"reason,omitempty"`
	Notes      []string        `json:"notes"`
	Alerts     []exportedAlert `json:"alerts"`
}

// exportedAlert is an alert of it. Durations are Prometheus's.
type exportedAlert struct {
	Alert         string             `json:"alert"`
	Expr          string             `json:"expr"`
	For           string             `json:"for"`
	KeepFiringFor string             `json:"keep_firing_for"`
	Severity      certmedic.Severity `json:"severity"`
	Watched       bool               `json:"watched"`
	Summary       string             `json:"summary"`
}

func exportRule(t promrules.Translation) exportedRule {
	r := exportedRule{
		Rule: t.Rule, Exportable: t.Reason == "", Reason: t.Reason,
		Notes: append([]string{}, t.Notes...), Alerts: []exportedAlert{},
	}
	prometheus := func(d time.Duration) string { return model.Duration(d).String() }
	for _, a := range t.Alerts {
		r.Alerts = append(r.Alerts, exportedAlert{
			Alert: a.Name, Expr: a.Expr, For: prometheus(a.For), KeepFiringFor: prometheus(a.KeepFiringFor),
			Severity: a.Severity, Watched: a.Watched, Summary: a.Summary,
		})
	}
	return r
}
