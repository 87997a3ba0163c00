package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/lab/ca"
)

func caCommand() *cobra.Command {
	var options ca.Options
	var serviceFile, rootFile string
	var verbose bool
	command := &cobra.Command{
		Use:   "ca",
		Short: "Run an ACME authority until it is told to stop",
		Example: `  certlab ca --listen 127.0.0.1:14000 --ca-file acme.pem --root-file root.pem --http-port 5002
  REQUESTS_CA_BUNDLE=acme.pem certbot certonly --server https://127.0.0.1:14000/dir ...`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if verbose {
				options.Log = command.ErrOrStderr()
			}
			return runCA(command.Context(), options, serviceFile, rootFile, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Listen, "listen", "127.0.0.1:14000", "`host:port` of the ACME service")
	flags.StringVar(&serviceFile, "ca-file", "", "write the authority that vouches for the ACME service to this `file`")
	flags.StringVar(&rootFile, "root-file", "", "write the root of the issued certificates to this `file`")
	flags.IntVar(&options.HTTPPort, "http-port", 5002, "`port` on which http-01 challenges are fetched")
	flags.IntVar(&options.TLSPort, "tls-port", 5001, "`port` on which tls-alpn-01 challenges are fetched")
	flags.StringVar(&options.Resolver, "resolver", "", "`host:port` of the DNS server to ask; the system's when empty")
	flags.DurationVar(&options.Validity, "validity", 90*24*time.Hour, "how long issued certificates are valid")
	flags.BoolVarP(&verbose, "verbose", "v", false, "show what pebble logs")
	return command
}

func runCA(ctx context.Context, options ca.Options, serviceFile, rootFile string, out io.Writer) error {
	authority, err := ca.Start(ctx, options)
	if err != nil {
		return err
	}
	defer authority.Stop()
	files := map[string][]byte{serviceFile: authority.ServicePEM(), rootFile: authority.RootPEM()}
	delete(files, "") // not asked for
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("writing an authority: %w", err)
		}
	}
	fmt.Fprintf(out, "ACME directory: %s\n", authority.Directory())
	<-ctx.Done()
	fmt.Fprintf(out, "orders accepted: %d\n", authority.Orders())
	return nil
}
