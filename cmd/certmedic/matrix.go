package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
)

const matrixLong = `Matrix says which version of a certificate is where: of each node, each of its addresses and each
type of key (RSA or ECDSA) what is served there, since when and how many of the last probes saw it,
what should be, and what is installed there. It asks the daemon. Where no daemon runs, the source and
all addresses are looked at once.

The state is served, or what is wrong: stale (it serves another version), behind (the stored version
did not get there), split (nodes behind the address serve different versions), newer (it serves one
that was issued after the stored one), unreachable, unknown.

Exit codes: 0 all serve the stored version, 1 somebody serves a newer one, 2 something is stale,
behind or split, 3 something is unreachable or unknown, or it cannot be told at all.`

func newMatrix(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:               "matrix CERT",
		Short:             "Say which version is on which node, address and type of key",
		Long:              matrixLong,
		Example:           "  certmedic matrix shop\n  certmedic matrix shop --json | jq -r '.rows[] | select(.verdict != \"served\") | .node'",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.ask(func(r reader) error {
				m, err := r.Matrix(cmd.Context(), args[0])
				switch {
				case errors.Is(err, api.ErrNoDaemon):
					return err
				case err != nil:
					return &exitError{exitUsage, err} // 1 would be a warning
				}
				return e.matrix(m)
			})
		},
	}
}

func (e *environment) matrix(m api.Matrix) error {
	if e.json {
		if err := e.printJSON(m); err != nil {
			return err
		}
	} else {
		e.printMatrix(m)
	}
	if code := m.Status.ExitCode(); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

func (e *environment) printMatrix(m api.Matrix) {
	if !m.Running {
		fmt.Fprintln(e.stderr, "no daemon is running: this was looked at once")
	}
	if len(m.Rows) == 0 {
		fmt.Fprintln(e.stdout, "no address of it is watched, and it is installed nowhere")
		return
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tADDRESS\tKEY\tSTATE\tSERVES\tSHOULD\tINSTALLED\tWHY")
	for _, r := range m.Rows {
		key := or(r.KeyType, "-")
		if r.Of != "" {
			key += " of " + r.Of
		}
		fmt.Fprintln(w, strings.Join([]string{
			cellOf(r.Node), cellOf(place(m.Rows, r)), cellOf(key), string(r.Verdict), cellOf(serves(r)), cellOf(r.Stored.Short()), cellOf(installed(r)), oneLine(r.Detail),
		}, "\t"))
	}
	_ = w.Flush() // writes to standard output; there is nobody to tell
}

// cellOf is a text as a cell of a table.
func cellOf(text string) string { return or(oneLine(text), "-") }

// place names an address, with its endpoint where several have it.
func place(rows []watchdog.MatrixRow, r watchdog.MatrixRow) string {
	if r.Address == "" {
		return r.Endpoint
	}
	for _, other := range rows {
		if other.Address == r.Address && other.Endpoint != r.Endpoint {
			return r.Address + " as " + r.Endpoint
		}
	}
	return r.Address
}

// serves says what is served, since when, and how many of the last probes saw it.
func serves(r watchdog.MatrixRow) string {
	var all []string
	for _, v := range r.Served {
		all = append(all, fmt.Sprintf("%s since %s (%d of %d)", v.Version.Short(), v.Since.UTC().Format(time.RFC3339), v.Count, r.Samples))
	}
	return strings.Join(all, ", ")
}

// installed says which version each destination has, and how its last roll-out ended where that is not well.
func installed(r watchdog.MatrixRow) string {
	var all []string
	for _, d := range r.Deployed {
		said := d.Destination + ": "
		switch {
		case !d.Known:
			said += "not known"
		case d.Version == "":
			said += "none"
		default:
			said += d.Version.Short()
		}
		if d.State != "" && d.State != certmedic.NodeDone {
			said += " (" + strings.ReplaceAll(string(d.State), "_", " ") + ")"
		}
		all = append(all, said)
	}
	return strings.Join(all, ", ")
}
