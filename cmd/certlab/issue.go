package main

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/issuer"
	"github.com/certmedic/certmedic/internal/lab/tree"
)

// issuerFlags are what issue and renew have in common, named as certbot names them.
type issuerFlags struct {
	tree   tree.Tree
	caFile string
}

func (f *issuerFlags) define(flags *pflag.FlagSet) {
	flags.StringVar(&f.tree.ConfigDir, "config-dir", "", "`folder` of live, archive, renewal and the hooks")
	flags.StringVar(&f.tree.WorkDir, "work-dir", "", "`folder` for work")
	flags.StringVar(&f.tree.LogsDir, "logs-dir", "", "`folder` for logs")
	flags.StringVar(&f.caFile, "ca-file", "", "`file` with the authority that vouches for the ACME service")
}

// issuer returns the issuer that the flags describe.
func (f *issuerFlags) issuer(command *cobra.Command) (issuer.Issuer, error) {
	content, err := os.ReadFile(f.caFile)
	if err != nil {
		return issuer.Issuer{}, fmt.Errorf("reading the authority of the ACME service: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return issuer.Issuer{}, fmt.Errorf("reading the authority of the ACME service: no certificate in %q", f.caFile)
	}
	return issuer.Issuer{Tree: f.tree, Client: ca.Client(pool), Out: command.OutOrStdout(), Env: os.Environ()}, nil
}

func issueCommand() *cobra.Command {
	var common issuerFlags
	var request issuer.Request
	command := &cobra.Command{
		Use:   "issue",
		Short: "Obtain a certificate into a tree like certbot's, with http-01",
		Example: `  certlab issue --config-dir etc --work-dir work --logs-dir logs --ca-file acme.pem \
    --server https://127.0.0.1:14000/dir --http-port 5002 -d shop.test -d www.shop.test`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			stand, err := common.issuer(command)
			if err != nil {
				return err
			}
			return stand.Issue(command.Context(), request)
		},
	}
	flags := command.Flags()
	common.define(flags)
	flags.StringVar(&request.Server, "server", "", "`URL` of the ACME directory")
	flags.StringArrayVarP(&request.Names, "domain", "d", nil, "DNS `name`; may be given often, the first names the lineage")
	flags.IntVar(&request.HTTPPort, "http-port", 5002, "`port` of 127.0.0.1 where http-01 is answered")
	flags.StringVar(&request.DeployHook, "deploy-hook", "", "`command` for the shell after each renewal")
	require(command, "config-dir", "work-dir", "logs-dir", "ca-file", "server", "domain")
	return command
}

func renewCommand() *cobra.Command {
	var common issuerFlags
	var force bool
	command := &cobra.Command{
		Use:     "renew",
		Short:   "Renew what is due in a tree like certbot's",
		Example: `  certlab renew --config-dir etc --work-dir work --logs-dir logs --ca-file acme.pem --force-renewal`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			stand, err := common.issuer(command)
			if err != nil {
				return err
			}
			return stand.Renew(command.Context(), force)
		},
	}
	common.define(command.Flags())
	command.Flags().BoolVar(&force, "force-renewal", false, "renew what is not due as well")
	require(command, "config-dir", "work-dir", "logs-dir", "ca-file")
	return command
}
