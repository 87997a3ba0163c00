// Command certlab is the laboratory as a program: an ACME authority, a DNS server, TLS
// nodes that can be told to misbehave, an issuer that works as certbot does, and the
// story that shows certmedic at work. Everything is on loopback and needs no root.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/lab/ca"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "certlab: "+err.Error())
		os.Exit(1)
	}
}

// run executes one command. Pebble takes some settings from the environment only, so
// they are put there first.
func run(ctx context.Context) error {
	for key, value := range ca.Environment() {
		if err := os.Setenv(key, value); err != nil {
			return err
		}
	}
	return rootCommand().ExecuteContext(ctx)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "certlab",
		Short:         "A laboratory for certificates: real CA, DNS and TLS servers on loopback",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.AddCommand(caCommand(), dnsCommand(), serveCommand(), issueCommand(), renewCommand(), storyCommand())
	return root
}

// require makes flags mandatory. Cobra's error is about flags that are not defined,
// which the command's own tests would show.
func require(command *cobra.Command, flags ...string) {
	for _, flag := range flags {
		_ = command.MarkFlagRequired(flag)
	}
}
