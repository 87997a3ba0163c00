package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/internal/config"
)

func newConfig(e *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write, check and show the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigInit(e), newConfigCheck(e), newConfigShow(e), newConfigSchema(e))
	return cmd
}

func newConfigInit(e *environment) *cobra.Command {
	var output string
	var sockets bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a configuration by looking at this host",
		Long: `Init looks at this host and writes a commented configuration that observes what it finds:
certbot's lineages, the servers in the configuration files of nginx, apache, haproxy, postfix
and dovecot, and the listening sockets that speak TLS, each bound to the certificate that it
serves. Nothing is executed, and an existing file is never replaced.`,
		Example: `  certmedic config init
  certmedic config init --output /etc/certmedic/certmedic.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := app.Discover(cmd.Context(), sockets)
			if err != nil {
				return fail(err)
			}
			for _, f := range found.Findings {
				fmt.Fprintln(e.stderr, printable("certmedic: note: "+f.Detail))
			}
			text := config.Init(found.Certificates, found.Servers)
			if output == "" {
				_, err = e.stdout.Write(text)
				return err
			}
			if err := atomicfile.Create(output, text, 0o644); err != nil {
				return fail(err)
			}
			fmt.Fprintf(e.stderr, "wrote %s, %d certificates\n", output, len(found.Certificates))
			return nil
		},
	}
	cmd.Flags().BoolVar(&sockets, "sockets", true, "connect to this host's listening sockets, to see which speak TLS")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to create (default: standard output)")
	return cmd
}

// checked is what `config check --json` prints.
type checked struct {
	OK       bool             `json:"ok"`
	Errors   []config.Problem `json:"errors"`
	Warnings []config.Warning `json:"warnings"`
}

func newConfigCheck(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Check the configuration; all mistakes at once, each with its place",
		Example: "  certmedic config check /etc/certmedic/certmedic.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := e.config()
			if len(args) == 1 {
				file = args[0]
			}
			if file == "" {
				return fail(fmt.Errorf("there is no configuration: name one, or write %s", defaultConfig))
			}
			return checkConfig(e, file)
		},
	}
}

func checkConfig(e *environment, file string) error {
	c, warnings, err := config.Load(file)
	if err == nil {
		err = app.Check(c)
	}
	result := checked{OK: err == nil, Errors: []config.Problem{}, Warnings: append([]config.Warning{}, warnings...)}
	var problems *config.Errors
	switch {
	case errors.As(err, &problems):
		result.Errors = problems.Problems
	case err != nil:
		result.Errors = append(result.Errors, config.Problem{Message: err.Error()})
	}
	if e.json {
		if errJSON := e.printJSON(result); errJSON != nil {
			return errJSON
		}
	} else {
		for _, w := range warnings {
			fmt.Fprintln(e.stderr, printable("warning: "+w.String()))
		}
		if err == nil {
			fmt.Fprintln(e.stdout, printable(file)+": ok")
		} else {
			fmt.Fprintln(e.stderr, printable(err.Error()))
		}
	}
	if err != nil {
		return &exitError{code: exitFailed}
	}
	return nil
}

func newConfigShow(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Show the effective configuration, defaults included, secrets masked",
		Example: "  certmedic config show\n  certmedic config show --json",
		Args:    cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			c, _, err := app.Load(e.config())
			if err != nil {
				return fail(err)
			}
			text, err := c.Effective()
			if err != nil {
				return fail(err)
			}
			if !e.json {
				_, err = e.stdout.Write(text)
				return err
			}
			asJSON, err := config.ToJSON(text)
			if err != nil {
				return fail(err)
			}
			return e.printJSON(json.RawMessage(asJSON))
		},
	}
}

func newConfigSchema(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration",
		Example: "  certmedic config schema > certmedic.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			_, err := e.stdout.Write(config.Schema())
			return err
		},
	}
}
