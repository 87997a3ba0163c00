package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
)

func newDrill(e *environment) *cobra.Command {
	r := api.DrillRequest{}
	var lasts string
	cmd := &cobra.Command{
		Use:   "drill [CERT]",
		Short: "Have an incident that is none told from its beginning to its end",
		Long: `Drill has people told of an incident, marked as a drill, the whole way that a real one takes: routes,
silences, hours, pace and receivers, with its beginning, an update and its end. It is about a
certificate, whose labels the routes see, or about certmedic itself. It ends by itself or with Ctrl-C;
one that certmedic did not live to end is ended when it starts again.

Exit codes: 0 every receiver that the routes name took the beginning and the end, 2 one did not.`,
		Example:           "  certmedic drill shop\n  certmedic drill shop --severity warning --for 5m",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if r.For, err = certmedic.ParseDuration(lasts); err != nil {
				return fmt.Errorf("--for: %w", err)
			}
			r.Certificate, r.By = first(args), e.person()
			return e.drill(cmd.Context(), r)
		},
	}
	cmd.Flags().StringVar((*string)(&r.Severity), "severity", string(certmedic.SeverityCritical), "info, warning or critical")
	cmd.Flags().StringVar(&lasts, "for", "30s", "how long it lasts")
	return cmd
}

// drill carries out a drill, says how it goes, and turns what it came to into the exit code.
func (e *environment) drill(ctx context.Context, r api.DrillRequest) error {
	var last api.Drill
	say := func(d api.Drill) {
		if !e.json {
			e.printDrill(last, d)
		}
		last = d
	}
	err := e.change(e.warnings(), func(c *api.Client) error { return follow(ctx, c, r, say) },
		func(o *app.Offline) error { return o.Drill(ctx, r, say) })
	if err != nil {
		return err
	}
	if e.json {
		if err := e.printJSON(last); err != nil {
			return err
		}
	}
	if !last.Delivered() {
		return &exitError{code: exitUnverified}
	}
	return nil
}

// How a drill is followed, and how much longer than it may take.
const (
	followEvery = 200 * time.Millisecond
	followAfter = 3 * time.Minute
)

// follow has the daemon carry out a drill, and says how it goes until its end, which comes early
// with that of ctx.
func follow(ctx context.Context, c *api.Client, r api.DrillRequest, say func(api.Drill)) error {
	d, err := c.StartDrill(ctx, r)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.For+followAfter)
	defer cancel()
	interrupted := ctx.Done()
	for say(d); !d.Done; say(d) {
		select {
		case <-interrupted:
			interrupted = nil // once
			d, err = c.EndDrill(asking, d.ID)
		case <-time.After(followEvery):
			d, err = c.Drill(asking, d.ID)
		}
		if err != nil { // not wrapped: that the daemon has gone is no reason to begin another drill
			return fmt.Errorf("following the drill, which is ended in any case: %v", err)
		}
	}
	return nil
}

// printDrill prints what is new about a drill.
func (e *environment) printDrill(before, now api.Drill) {
	if before.ID == "" {
		fmt.Fprintf(e.stdout, "%s: %s, until %s or Ctrl-C\n", now.ID, now.Severity, now.EndsAt.Local().Format(time.TimeOnly))
	}
	was := map[string]api.DrillReceiver{}
	for _, r := range before.Receivers {
		was[r.Receiver] = r
	}
	for _, r := range now.Receivers {
		old := was[r.Receiver]
		name := printable(r.Receiver)
		if r.Instead && old.Receiver == "" {
			fmt.Fprintf(e.stdout, "  %s stands in for others\n", name)
		}
		if old.Began.IsZero() && !r.Began.IsZero() {
			fmt.Fprintf(e.stdout, "  %s took the beginning\n", name)
		}
		if old.Ended.IsZero() && !r.Ended.IsZero() {
			fmt.Fprintf(e.stdout, "  %s took the end\n", name)
		}
		if old.Error == "" && r.Error != "" {
			fmt.Fprintf(e.stdout, "  %s failed: %s\n", name, oneLine(printable(r.Error)))
		}
	}
	if now.Phase == alerting.KindResolved && before.Phase != now.Phase {
		fmt.Fprintln(e.stdout, "  the end is told")
	}
}
