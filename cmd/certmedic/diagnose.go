package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/check"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/internal/diagnose/gather"
)

// diagnoseFlags are the flags of `diagnose` as they were given.
type diagnoseFlags struct {
	offline, place bool
	timeout        time.Duration
}

const diagnoseLong = `Diagnose walks the way of a certificate: issued by a CA, stored in its source, deployed to each
place, loaded by the service, served on every address. It says where the newest version stopped,
names one cause, shows the lines that tell it, and gives the fix as a command. It looks at this
host, so run it where the certificate is kept, as root.

It changes nothing, takes no lock and runs no program. What it cannot see is told, and never taken
for wrong. It does not wait for a grace: it says "deploying" only while the client, or a hook,
really is at work.

CERT is the name of a certificate as 'certmedic status' lists it, or of a lineage. A TARGET is a
host, host:port, URL, path or the folder of a lineage, as check takes it; the certificate is found
by what the target serves or holds. Without a configuration this host is looked at as serve does;
where nothing is known that serves the certificate, the sockets of this host that listen are tried.

Exit codes: 0 the stored version is served everywhere and nothing is wrong, 2 a cause was found,
3 it cannot be told, or a deployment is under way.`

const diagnoseExample = `  # Why is the renewed certificate not served?
  certmedic diagnose shop.example.com

  # By what an address serves, or by where it is kept
  certmedic diagnose smtp://mail.example.com
  certmedic diagnose /etc/letsencrypt/live/shop.example.com

  # Without asking the CA and DNS what a renewal would meet
  certmedic diagnose shop.example.com --offline

  # With a token in the webroot, to see whether a CA would find it
  certmedic diagnose shop.example.com --place-token

  # For other programs: the cause alone
  certmedic diagnose shop.example.com --json | jq -r .cause`

func newDiagnose(e *environment) *cobra.Command {
	f := &diagnoseFlags{}
	cmd := &cobra.Command{
		Use:     "diagnose CERT|TARGET",
		Short:   "Say why a certificate is not served, with the evidence and the fix",
		Long:    diagnoseLong,
		Example: diagnoseExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("diagnose needs one certificate, or one target")
			}
			return nil
		},
		ValidArgsFunction: f.complete(e),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), e, args[0]) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.offline, "offline", false, "ask nobody but this host and the endpoints")
	flags.BoolVar(&f.place, "place-token", false, "where a renewal failed, place a token in the webroot, fetch it as a CA does, and remove it")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Second, "of the resolution of a name, and again of each address")
	return cmd
}

// complete completes the names of what would be watched.
func (f *diagnoseFlags) complete(e *environment) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, _, err := app.Load(e.config())
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		looks, err := app.Look(cmd.Context(), c, app.LookOptions{ConfigFile: e.config(), Timeout: time.Second, Offline: true})
		if err != nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		defer looks.Close()
		var names []string
		for _, cert := range looks.Certificates {
			names = append(names, cert.Name)
		}
		return names, cobra.ShellCompDirectiveDefault // a path does as well
	}
}

func (f *diagnoseFlags) run(ctx context.Context, e *environment, subject string) error {
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout %s: it has to be more than nothing", f.timeout)
	}
	if f.place && f.offline {
		return errors.New("--place-token and --offline exclude each other")
	}
	c, _, err := app.Load(e.config())
	if err != nil {
		return &exitError{exitUsage, err}
	}
	options := app.LookOptions{ConfigFile: e.config(), Timeout: f.timeout, Offline: f.offline}
	looks, cert, err := lookFor(ctx, c, options, subject)
	if err == nil && len(cert.Endpoints) == 0 && options.ConfigFile == "" && !f.offline {
		looks.Close()
		options.Listening = true
		looks, cert, err = lookFor(ctx, c, options, subject)
	}
	if err != nil {
		return &exitError{exitUsage, err}
	}
	defer looks.Close()
	q := gather.Question{Subject: subject, Certificate: cert, PlaceToken: f.place}
	q.Actions, q.Journal = journalOf(ctx, c, cert.Name)
	result := diagnose.Decide(gather.Gather(ctx, looks.Means, q))
	if ctx.Err() != nil {
		return &exitError{exitUsage, errors.New("interrupted")}
	}
	if err := e.printDiagnosis(result); err != nil {
		return err
	}
	if code := result.ExitCode(); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// lookFor looks at this host, and for a certificate there.
func lookFor(ctx context.Context, c *config.Config, o app.LookOptions, subject string) (*app.Looks, certmedic.Certificate, error) {
	looks, err := app.Look(ctx, c, o)
	if err != nil {
		return nil, certmedic.Certificate{}, err
	}
	cert, err := find(ctx, looks, subject)
	if err != nil {
		looks.Close()
		return nil, certmedic.Certificate{}, err
	}
	if len(cert.Endpoints) == 0 {
		cert.Endpoints = ofSameNames(looks, cert)
	}
	return looks, cert, nil
}

// journalOf returns what certmedic itself did for a certificate, or why that cannot be seen.
func journalOf(ctx context.Context, c *config.Config, name string) (actions []certmedic.Action, unseen string) {
	const newest = 20
	actions, err := api.NewClient(c.StateDir).History(ctx, name, newest)
	if errors.Is(err, api.ErrNoDaemon) {
		actions, err = app.Journal(c, name, newest)
	}
	if err != nil {
		return nil, err.Error()
	}
	return actions, ""
}

// find returns the certificate that a person means: by its name, by its lineage, by where it is
// kept, by where it is served, and at last by what the target serves.
func find(ctx context.Context, looks *app.Looks, subject string) (certmedic.Certificate, error) {
	for _, is := range []func(certmedic.Certificate) bool{
		func(c certmedic.Certificate) bool { return c.Name == subject },
		func(c certmedic.Certificate) bool { return c.Source.Lineage == subject },
	} {
		if i := slices.IndexFunc(looks.Certificates, is); i >= 0 {
			return looks.Certificates[i], nil
		}
	}
	target, err := check.ParseTarget(subject)
	if err != nil {
		return certmedic.Certificate{}, fmt.Errorf("there is no certificate %q, and it is no target: %w", subject, err)
	}
	if target.Path {
		return findPath(looks, subject)
	}
	return findEndpoint(ctx, looks, subject, target.Endpoint), nil
}

// ofSameNames returns the endpoints of certificates that are for a name of one that nothing is
// bound to: a service that reads the files of another lineage is known by that.
func ofSameNames(looks *app.Looks, cert certmedic.Certificate) []certmedic.Endpoint {
	now := time.Now()
	names := looks.Means.Reader.Read(cert.Source, now).Stored.Names
	var all []certmedic.Endpoint
	for _, c := range looks.Certificates {
		if c.Watched || len(c.Endpoints) == 0 || c.Source.Kind == certmedic.SourceNone {
			continue
		}
		others := looks.Means.Reader.Read(c.Source, now).Stored.Names
		if slices.ContainsFunc(others, func(name string) bool { return slices.Contains(names, name) }) {
			all = append(all, c.Endpoints...)
		}
	}
	return all
}

// findPath returns the certificate that is kept at a path.
func findPath(looks *app.Looks, path string) (certmedic.Certificate, error) {
	items, err := looks.Means.Reader.ReadPath(path, time.Now())
	switch {
	case err != nil:
		return certmedic.Certificate{}, err
	case len(items) == 0:
		return certmedic.Certificate{}, fmt.Errorf("%q holds no certificate", path)
	case len(items) > 1:
		return certmedic.Certificate{}, fmt.Errorf("%q holds %d certificates; name one of them, such as %q", path, len(items), items[0].Target)
	}
	item := items[0]
	if absolute, err := filepath.Abs(item.Source.ConfigDir); err == nil && item.Source.ConfigDir != "" {
		item.Source.ConfigDir = absolute
	}
	leaf, _ := item.Stored.Leaf()
	for _, c := range looks.Certificates {
		same := c.Source.Kind == certmedic.SourceCertbot && c.Source.Lineage == item.Source.Lineage && c.Source.ConfigDir == item.Source.ConfigDir
		if !same && c.Source != item.Source && !slices.Contains(looks.Means.Reader.Read(c.Source, time.Now()).Stored.Known, leaf.SHA256) {
			continue
		}
		if c.Source.Kind == certmedic.SourceFiles && c.Source.Cert != item.Source.Cert && len(c.Destinations) == 0 {
			c.Source = item.Source // of which the files that a service reads are copies
		}
		return c, nil
	}
	return certmedic.Certificate{Name: path, Source: item.Source, Mode: certmedic.ModeObserve}, nil
}

// findEndpoint returns the certificate that an endpoint is bound to, or serves a version of, or
// that is for its name. Where there is none, what is served is judged alone.
func findEndpoint(ctx context.Context, looks *app.Looks, subject string, e certmedic.Endpoint) certmedic.Certificate {
	for _, c := range looks.Certificates {
		if !c.Watched && slices.ContainsFunc(c.Endpoints, func(o certmedic.Endpoint) bool { return o.Address == e.Address && o.Protocol == e.Protocol }) {
			return c
		}
	}
	served := map[certmedic.Fingerprint]bool{}
	for _, a := range looks.Prober.Probe(ctx, e).Addresses {
		if leaf, ok := a.Leaf(); ok {
			served[leaf.SHA256] = true
		}
	}
	name, _, _ := net.SplitHostPort(e.Address)
	var byName *certmedic.Certificate
	for _, c := range looks.Certificates {
		if c.Watched || c.Source.Kind == certmedic.SourceNone {
			continue
		}
		stored := looks.Means.Reader.Read(c.Source, time.Now()).Stored
		c.Endpoints = append(slices.Clone(c.Endpoints), e)
		if slices.ContainsFunc(stored.Known, func(v certmedic.Fingerprint) bool { return served[v] }) {
			return c
		}
		if byName == nil && slices.Contains(stored.Names, name) {
			byName = &c
		}
	}
	if byName != nil {
		return *byName
	}
	return certmedic.Certificate{Name: subject, Endpoints: []certmedic.Endpoint{e}, Mode: certmedic.ModeObserve, Watched: true}
}
