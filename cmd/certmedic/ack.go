package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
)

func newAck(e *environment) *cobra.Command {
	var r api.AckRequest
	cmd := &cobra.Command{
		Use:   "ack CERT|INCIDENT",
		Short: "Say that you look after what fires",
		Long: `Ack says that you look after what fires for a certificate, or what an incident belongs to: its ID or
its dedup_key. Everybody who was told of it hears so, PagerDuty stops calling, and it holds until
nothing of it fires any more, also over a restart. certmedic goes on watching and acting as always,
and people are called again when it gets worse.`,
		Example:           "  certmedic incidents ack shop\n  certmedic incidents ack certmedic/shop/2g7c1 --why \"the CA is down, waiting\"",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.About = args[0]
			all, err := e.acknowledge(cmd.Context(), r)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(all)
			}
			for _, ack := range all {
				fmt.Fprintf(e.stdout, "%s: %s\n", printable(ack.Conversation), acknowledgedBy(ack))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&r.Why, "why", "", "what others should know")
	return cmd
}

// acknowledge has the daemon take a person's word, or takes it under the same lock where none runs.
func (e *environment) acknowledge(ctx context.Context, r api.AckRequest) (all []api.Acknowledgement, err error) {
	err = e.change(e.quiet(), func(c *api.Client) (err error) { all, err = c.Acknowledge(ctx, r); return err }, func(o *app.Offline) (err error) {
		r.By = e.person()
		all, err = o.Acknowledge(ctx, r)
		if err == nil {
			fmt.Fprintln(e.stderr, "no daemon is running: people are told once one does")
		}
		return err
	})
	return all, err
}

// acknowledgedBy says who looks after something.
func acknowledgedBy(ack api.Acknowledgement) string {
	said := fmt.Sprintf("%s looks after it since %s (via %s)", oneLine(printable(ack.By)), ack.At.Local().Format(time.DateTime), oneLine(printable(ack.Via)))
	if ack.Why != "" {
		said += ": " + oneLine(printable(ack.Why))
	}
	return said
}

// ackOf returns who looks after an incident.
func ackOf(in certmedic.Incident, all []api.Acknowledgement) (api.Acknowledgement, bool) {
	for _, ack := range all {
		if in.Open() && ack.Conversation == in.DedupKey {
			return ack, true
		}
	}
	return api.Acknowledgement{}, false
}
