package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/check"
)

// checkFlags are the flags of `check` as they were given.
type checkFlags struct {
	name, ca, at, compare, key string
	resolve                    []string
	warn, crit                 string
	timeout                    time.Duration
	parallel                   int
	format                     string
}

const checkLong = `Check looks once at what each target serves or keeps, and says what is wrong with it.
It needs no configuration and reads none.

A target is a host, host:port, a URL such as https://shop.example.com or imaps://mail.example.com,
a PEM or DER file, the folder of a certbot lineage, or a whole certbot tree. With "-" targets are
read from standard input, one per line; empty lines and lines that begin with # are passed over.
What has a slash and no "://", begins with a dot, or exists as a file, is a path.

The exit code tells the worst that was found: 0 fine, 1 warning, 2 critical, 3 could not tell.`

const checkExample = `  # What does the shop serve, on every address?
  certmedic check shop.example.com

  # Is the renewed certificate served?
  certmedic check shop.example.com --compare /etc/letsencrypt/live/shop.example.com

  # Every certificate that certbot keeps, as of new year's day
  certmedic check /etc/letsencrypt --at 2027-01-01

  # One backend behind a name, and the certificate it has to have
  certmedic check 10.0.0.7:8443 --name shop.example.com

  # The same, before DNS is changed
  certmedic check shop.example.com --resolve shop.example.com:443:10.0.0.7

  # Ten thousand targets, for other programs to read
  certmedic check --json - <targets.txt

  # For Nagios and Icinga, and for the textfile collector of node_exporter
  certmedic check --format nagios shop.example.com
  certmedic check --format prometheus shop.example.com >/var/lib/node_exporter/certs.prom`

func newCheck(e *environment) *cobra.Command {
	f := &checkFlags{}
	cmd := &cobra.Command{
		Use:     "check TARGET...",
		Short:   "Look once at what targets serve or keep, and say what is wrong",
		Long:    checkLong,
		Example: checkExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New(`check needs a target: a host, a URL, a path, or "-" to read them from standard input`)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if e.json && cmd.Flags().Changed("format") && f.format != formatJSON {
				return fmt.Errorf("--json and --format %s exclude each other", f.format)
			}
			return f.run(cmd.Context(), e, args)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.name, "name", "", "DNS name or IP address that has to match, also sent as SNI (default: the target's host)")
	flags.StringVar(&f.ca, "ca", "", "PEM `file` with the roots to trust, in place of the system's")
	flags.StringVar(&f.at, "at", "", "verify as of this `time`, such as 2027-01-01 or 2027-01-01T12:00:00Z")
	flags.StringVar(&f.compare, "compare", "", "`path` of the certificate that has to be served: a file or a lineage")
	flags.StringVar(&f.key, "key", "", "PEM `file` with the private key that has to belong to the certificate")
	flags.StringArrayVar(&f.resolve, "resolve", nil, "use this address for a target, as `HOST:PORT:ADDR` (repeatable)")
	flags.StringVar(&f.warn, "warn", "33%", "warn when less is left: a `share` of the lifetime, or a duration such as 14d")
	flags.StringVar(&f.crit, "crit", "10%", "critical when less is left: a `share` of the lifetime, or a duration such as 72h")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "of the resolution, and again of each address")
	flags.IntVarP(&f.parallel, "parallel", "p", 32, "how many targets to check at a time")
	flags.StringVar(&f.format, "format", formatText, "text, json, nagios or prometheus")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(checkFormats(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cmd
}

// run checks the targets and ends with the exit code of the worst status.
func (f *checkFlags) run(ctx context.Context, e *environment, args []string) error {
	checker, err := f.checker()
	if err != nil {
		return err
	}
	targets, err := newTargets(args, e.stdin)
	if err != nil {
		return err
	}
	report, err := f.report(e, checker)
	if err != nil {
		return err
	}
	progress := newProgress(e, len(args), targets.fromStdin)
	checker.Done = progress.count
	worst, count := certmedic.StatusOK, 0
	err = checker.Run(ctx, targets.all(), func(r check.Result) error {
		worst = worst.Worse(r.Status)
		count++
		return progress.aside(func() error { return report.add(r) })
	})
	progress.erase()
	if err == nil {
		err = targets.err
	}
	if err == nil && count == 0 {
		return errors.New("check needs a target, and there was none on standard input")
	}
	return conclude(worst, errors.Join(err, report.end()))
}

// conclude returns the error with the exit code of a check.
func conclude(worst certmedic.Status, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return &exitError{code: certmedic.StatusUnknown.ExitCode(), err: errors.New("interrupted")}
	case err != nil:
		return &exitError{code: certmedic.StatusUnknown.ExitCode(), err: err}
	case worst != certmedic.StatusOK:
		return &exitError{code: worst.ExitCode()}
	default:
		return nil
	}
}
