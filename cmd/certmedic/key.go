package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/remediate/deny"
)

func newKey(e *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Deny keys that somebody else may have, and list them",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyDeny(e), newKeyList(e))
	return cmd
}

func newKeyDeny(e *environment) *cobra.Command {
	var r api.DenyRequest
	var yes bool
	cmd := &cobra.Command{
		Use:   "deny SPKI|CERT",
		Short: "Never install a key again",
		Long: `Deny puts a key on the deny list, for ever: no version with it is installed any more, neither
by a rule nor by hand, and the kept versions that have it are removed at once. Where it is
served or stored, the rule key-denied-in-use fires.

SPKI is the SHA-256 of the public key (spki_sha256 of certmedic check --json), 64
hexadecimal digits or sha256/BASE64. CERT is a certificate: the key of its stored version.`,
		Example: `  certmedic key deny shop --why "laptop with a backup was stolen"
  certmedic key deny sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= --yes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.completeCertificates,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Key, r.By = args[0], e.person()
			if !yes {
				if err := e.confirmDenial(cmd.Context(), &r); err != nil {
					return err
				}
			}
			answer, err := e.deny(cmd.Context(), r)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(answer)
			}
			e.printDenial(answer)
			return nil
		},
	}
	cmd.Flags().StringVar(&r.Why, "why", "", "the reason, for the list")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// confirmDenial shows on a terminal what a denial would mean, and asks. What is denied then is
// the key that was shown, whatever is stored by that time.
func (e *environment) confirmDenial(ctx context.Context, r *api.DenyRequest) error {
	if !e.onTerminal() {
		return nil
	}
	look := *r
	look.DryRun = true
	answer, err := e.deny(ctx, look)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stderr, denial(answer, "would be removed"))
	if err := e.confirm("deny this key for ever?"); err != nil {
		return err
	}
	r.Expect = answer.Entry.SPKI
	return nil
}

// deny has the daemon deny a key, or denies it under the same lock where no daemon runs.
func (e *environment) deny(ctx context.Context, r api.DenyRequest) (answer api.DenyAnswer, err error) {
	err = e.change(e.quiet(), func(c *api.Client) (err error) { answer, err = c.Deny(ctx, r); return err },
		func(o *app.Offline) (err error) { answer, err = o.Deny(ctx, r); return err })
	return answer, err
}

func (e *environment) printDenial(a api.DenyAnswer) {
	if a.Known {
		fmt.Fprintf(e.stdout, "this key was denied before, by %s at %s\n", printable(a.Entry.By), a.Entry.At.UTC().Format(time.RFC3339))
	}
	fmt.Fprintln(e.stdout, denial(a, "removed"))
	if len(a.Stored)+len(a.Served) > 0 {
		fmt.Fprintln(e.stdout, "next     renew with a new key and deploy that; certbot: renew --force-renewal --new-key")
	}
}

// denial says which key a denial is about and what it means; done is what happens to what is
// kept.
func denial(a api.DenyAnswer, done string) string {
	lines := []string{"key      " + string(a.Entry.SPKI)}
	for _, name := range a.Stored {
		lines = append(lines, "stored   in the source of "+printable(name))
	}
	for _, name := range a.Served {
		lines = append(lines, "served   by "+printable(name))
	}
	for _, s := range a.Kept {
		lines = append(lines, fmt.Sprintf("kept     version %s of %s: %s", printable(s.Version.Short()), printable(s.Certificate), done))
	}
	return strings.Join(lines, "\n")
}

func newKeyList(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the denied keys",
		Example: "  certmedic key list\n  certmedic key list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.ask(func(r reader) error {
				all, err := r.Denied(cmd.Context())
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(all)
				}
				e.printKeys(all)
				return nil
			})
		},
	}
}

func (e *environment) printKeys(all []deny.Entry) {
	if len(all) == 0 {
		fmt.Fprintln(e.stdout, "no key is denied")
		return
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tDENIED\tBY\tOF\tWHY")
	for _, k := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.SPKI, k.At.UTC().Format(time.RFC3339),
			oneLine(printable(k.By)), oneLine(printable(or(k.Certificate, "-"))), oneLine(printable(or(k.Why, "-"))))
	}
	_ = w.Flush() // writes to standard output; there is nobody to tell
}
