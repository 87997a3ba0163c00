package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/check"
	"github.com/certmedic/certmedic/internal/prober"
	"github.com/certmedic/certmedic/probe/live"
)

// checkFlags are the flags of `check` as they were given.
type checkFlags struct {
	name, at, compare, key string
	roots, resolve         []string
	warn, crit             string
	timeout                time.Duration
	parallel               int
	format                 string

	ip4, ip6, withoutSNI       bool
	pins, resolvers            []string
	revocation                 string
	aia                        bool
	proxy, cert, certKey, pass string
}

const checkLong = `Check looks once at what each target serves or keeps, and says what is wrong with it.
It needs no configuration and reads none.

A target is a host, host:port, or a URL such as https://shop.example.com, smtp://mail.example.com
or quic://shop.example.com; a PEM, DER, PKCS#12, JKS or kubeconfig file, the folder of a certbot
lineage, or a whole tree of certbot or another client. With "-" targets are read from standard
input, one per line; empty lines and lines that begin with # are passed over. What has a slash and
no "://", begins with a dot, or exists as a file, is a path.

Every address of a host is looked at. A server that has an RSA and an ECDSA certificate is asked
for both. Issuers' revocation lists are fetched and kept for the next check; see --revocation.

PROTOCOLS

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

  # A mail server, which begins TLS with STARTTLS, and a database
  certmedic check smtp://mail.example.com postgres://db.example.com

  # A keystore, and what browsers would trust besides the roots of this system
  certmedic check app.p12 --passphrase-file app.pass --ca system --ca mozilla

  # Through a proxy, with a client certificate
  certmedic check https://api.example.com --proxy http://proxy:3128 --cert me.pem --cert-key me.key

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
		Long:    strings.Replace(checkLong, "PROTOCOLS", protocolList(), 1),
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
	flags.StringArrayVar(&f.roots, "ca", []string{systemRoots}, "roots to trust: system, mozilla, or a `file`; with several, all have to trust a chain (repeatable)")
	flags.StringVar(&f.at, "at", "", "verify as of this `time`, such as 2027-01-01 or 2027-01-01T12:00:00Z")
	flags.StringVar(&f.compare, "compare", "", "`path` of the certificate that has to be served: a file or a lineage")
	flags.StringVar(&f.key, "key", "", "`file` with the private key that has to belong to the certificate")
	flags.StringArrayVar(&f.resolve, "resolve", nil, "use this address for a target, as `HOST:PORT:ADDR` (repeatable)")
	flags.StringArrayVar(&f.resolvers, "resolver", nil, "DNS `server` to ask, in place of the system's, as IP or IP:port (repeatable)")
	flags.BoolVarP(&f.ip4, "ipv4", "4", false, "only IPv4 addresses")
	flags.BoolVarP(&f.ip6, "ipv6", "6", false, "only IPv6 addresses")
	flags.BoolVar(&f.withoutSNI, "without-sni", false, "ask every address a second time, without a name")
	flags.StringArrayVar(&f.pins, "pin", nil, "sha256/BASE64 of a `key` that may be served (repeatable)")
	flags.StringVar(&f.revocation, "revocation", "crl", "how revocation is looked at: off, staple, crl (and staples) or ocsp (and both)")
	flags.BoolVar(&f.aia, "aia", false, "fetch the issuers that an incomplete chain lacks, to name them")
	flags.StringVar(&f.proxy, "proxy", "", "connect through this proxy: http, https, socks5 or socks5h `URL`")
	flags.StringVar(&f.cert, "cert", "", "PEM `file` with the client certificate to present")
	flags.StringVar(&f.certKey, "cert-key", "", "PEM `file` with its private key (default: the file of --cert)")
	flags.StringVar(&f.pass, "passphrase-file", "", "`file` with the passphrase of keystores and encrypted keys")
	flags.StringVar(&f.warn, "warn", "33%", "warn when less is left: a `share` of the lifetime, or a duration such as 14d")
	flags.StringVar(&f.crit, "crit", "10%", "critical when less is left: a `share` of the lifetime, or a duration such as 72h")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "of the resolution, and again of each address")
	flags.IntVarP(&f.parallel, "parallel", "p", 32, "how many targets to check at a time")
	flags.StringVar(&f.format, "format", formatText, "text, json, nagios or prometheus")
	_ = cmd.RegisterFlagCompletionFunc("revocation", cobra.FixedCompletions(prober.Ways(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(checkFormats(), cobra.ShellCompDirectiveNoFileComp))    // the flag exists
	return cmd
}

// protocolList lists the protocols in lines of the width of the help's text.
func protocolList() string {
	const width = 95
	text := "The protocols:"
	column := len(text)
	for _, p := range live.Protocols() {
		if column+1+len(p.Name) > width {
			text += "\n" + p.Name
			column = len(p.Name)
			continue
		}
		text += " " + p.Name
		column += 1 + len(p.Name)
	}
	return text + "."
}

// run checks the targets and ends with the exit code of the worst status.
func (f *checkFlags) run(ctx context.Context, e *environment, args []string) error {
	checker, done, err := f.checker(e)
	if err != nil {
		return err
	}
	defer done()
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
