package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/lab/tlsd"
)

func serveCommand() *cobra.Command {
	var options tlsd.Options
	var fault, pidFile string
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run a TLS node that reads its files at the start and on SIGHUP",
		Example: `  certlab serve --cert fullchain.pem --key privkey.pem --listen 127.0.0.1:8443 --pid-file node.pid
  certlab serve --cert fullchain.pem --key privkey.pem --fault expired`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			kind, err := tlsd.ParseFault(fault)
			if err != nil {
				return err
			}
			return runNode(command.Context(), options, kind, pidFile, command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Name, "name", "node", "what the node calls itself in its answers")
	flags.StringVar(&options.Listen, "listen", "127.0.0.1:0", "`host:port` to listen on")
	flags.StringVar(&options.CertFile, "cert", "", "`file` with the leaf and its chain, in PEM")
	flags.StringVar(&options.KeyFile, "key", "", "`file` with the private key, in PEM")
	flags.StringVar(&fault, "fault", "none", fmt.Sprintf("misbehave in one of these ways: %q", tlsd.Faults()))
	flags.StringVar(&pidFile, "pid-file", "", "write the process id to this `file`")
	require(command, "cert", "key")
	return command
}

func runNode(ctx context.Context, options tlsd.Options, fault tlsd.Fault, pidFile string, out io.Writer) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	node, err := tlsd.Start(ctx, options)
	if err != nil {
		return err
	}
	defer node.Stop()
	if err := node.SetFault(fault); err != nil {
		return err
	}
	if pidFile != "" {
		if err := os.WriteFile(pidFile, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
			return fmt.Errorf("writing the pid file: %w", err)
		}
		defer func() { _ = os.Remove(pidFile) }() // somebody else may have tidied up
	}
	fmt.Fprintf(out, "%s at %s\n", options.Name, node.Addr())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reload:
		}
		if err := node.Reload(); err != nil {
			fmt.Fprintf(out, "reload refused: %v\n", err)
			continue
		}
		fmt.Fprintln(out, "reloaded")
	}
}
