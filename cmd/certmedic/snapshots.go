package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/remediate/snapshot"
)

func newSnapshots(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "snapshots CERT",
		Short: "List the kept good versions of a certificate",
		Long: `Snapshots lists the versions of a certificate that were seen served everywhere with nothing
wrong, and were kept. They are kept, with their keys, in the state folder, of certificates
whose mode is above observe and that allow redeploy or rollback. A version that was changed
since it was kept is listed as broken, and is never used.`,
		Example:           "  certmedic snapshots shop\n  certmedic snapshots shop --json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.ask(func(r reader) error {
				all, err := r.Snapshots(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(all)
				}
				e.printSnapshots(args[0], all)
				return nil
			})
		},
	}
}

func (e *environment) printSnapshots(certificate string, all []snapshot.Snapshot) {
	if len(all) == 0 {
		fmt.Fprintf(e.stdout, "no version of %s is kept\n", printable(certificate))
		return
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tUNTIL\tTAKEN\tVERIFIED\tSTATE")
	for _, s := range all {
		until, state := "-", "ok"
		if leaf, ok := s.Leaf(); ok {
			until = leaf.NotAfter.UTC().Format(time.RFC3339)
		}
		if s.Broken != "" {
			state = oneLine(printable(s.Broken))
		}
		verified := or(printable(strings.Join(s.Verified, ", ")), "-")
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(s.Version.Short()), until, s.Taken.UTC().Format(time.RFC3339), verified, state)
	}
	_ = w.Flush() // writes to standard output; there is nobody to tell
}
