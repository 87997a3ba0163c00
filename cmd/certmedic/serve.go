package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/config"
)

// defaultListen is where the daemon listens if nothing else is said: this host only.
const defaultListen = "127.0.0.1:9879"

func newServe(e *environment) *cobra.Command {
	o := e.options(nil)
	var level, format string
	var syslog bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Serve watches, judges, tells and, where its owner opted in, mends. With no configuration it
discovers this host by reading files, and observes.

SIGHUP reloads the configuration; a bad one is refused and the old one goes on.`,
		Example: `  certmedic serve
  certmedic serve --config /etc/certmedic/certmedic.yml --web.listen-address :9879 --web.config.file web.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(e.stderr, level, format)
			if err != nil {
				return err
			}
			if o.Log, o.ConfigFile = log, e.config(); !syslog {
				o.Syslog = ""
			}
			return serve(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.ListenAddresses, "web.listen-address", []string{defaultListen}, "address to listen on; repeatable")
	flags.StringVar(&o.WebConfigFile, "web.config.file", "", "file with TLS and logins for the listeners, as of exporter-toolkit")
	flags.StringVar(&level, "log.level", "info", "debug, info, warn or error")
	flags.StringVar(&format, "log.format", "logfmt", "logfmt or json")
	flags.BoolVar(&syslog, "log.syslog", true, "write a line to syslog when an action begins and when it ends, unless this log goes to the journal")
	return cmd
}

func newLog(w io.Writer, level, format string) (*slog.Logger, error) {
	o := &slog.HandlerOptions{}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log.level: %q is none of debug, info, warn, error", level)
	}
	o.Level = l
	switch format {
	case "logfmt":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("--log.format: %q is neither logfmt nor json", format)
}

// serve runs the daemon until the context ends, and reloads it on SIGHUP.
func serve(ctx context.Context, o app.Options) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	o.Reload = hup
	o.Ready = func(addresses []string) {
		o.Log.Info("certmedic is running", "version", o.Version, "config", o.ConfigFile, "listening", addresses)
	}
	ctx, cancel := context.WithCancel(ctx)
	var paced sync.WaitGroup
	defer paced.Wait()
	defer cancel()
	paced.Go(func() { paceCollector(ctx, o.Environ) })
	err := app.Run(ctx, o)
	var problems *config.Errors
	if errors.As(err, &problems) {
		return fail(fmt.Errorf("mistakes in the configuration: %d\n%w", len(problems.Problems), problems))
	}
	if err != nil {
		return fail(err)
	}
	return nil
}
