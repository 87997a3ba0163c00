package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/internal/systemlog"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deny"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

// reader answers the reading commands: the daemon, or the state folder where none runs.
type reader interface {
	Status(ctx context.Context) (api.Status, error)
	Incidents(ctx context.Context, certificate string, limit int) ([]certmedic.Incident, error)
	History(ctx context.Context, certificate string, limit int) ([]certmedic.Action, error)
	Snapshots(ctx context.Context, certificate string) ([]snapshot.Snapshot, error)
	Denied(ctx context.Context) ([]deny.Entry, error)
	Silences(ctx context.Context, ended bool) ([]silence.Silence, error)
	Acknowledged(ctx context.Context) ([]api.Acknowledgement, error)
	Plans(ctx context.Context) ([]approval.Approval, error)
	Receivers(ctx context.Context) ([]api.Receiver, error)
	Matrix(ctx context.Context, certificate string) (api.Matrix, error)
}

// options are what the app needs of the process.
func (e *environment) options(log *slog.Logger) app.Options {
	o := app.Options{Version: version, Environ: e.environ(), Self: e.self, Log: log}
	if stderr, ok := e.stderr.(*os.File); ok {
		o.Syslog = systemlog.SocketFor(o.Environ, stderr)
	}
	return o
}

// settings loads the configuration for a command that needs it.
func (e *environment) settings() (*config.Config, error) {
	c, _, err := app.Load(e.config())
	if err != nil {
		return nil, fail(err)
	}
	return c, nil
}

// ask calls f with the daemon's client, or with what the state folder holds.
func (e *environment) ask(f func(reader) error) error {
	c, _, err := app.Load(e.config())
	if err != nil {
		return &exitError{exitUsage, err}
	}
	for try := 1; ; try++ {
		if err := f(api.NewClient(c.StateDir)); !errors.Is(err, api.ErrNoDaemon) {
			return asFailure(err)
		}
		offline, err := app.OpenOffline(c, false, e.options(e.quiet()))
		switch {
		case errors.Is(err, store.ErrBusy) && try < startTries:
			continue
		case errors.Is(err, fs.ErrNotExist):
			return &exitError{exitUsage, fmt.Errorf("no certmedic daemon is running, and %q holds no state", c.StateDir)}
		case err != nil:
			return fail(err)
		}
		defer offline.Close()
		return asFailure(f(kept{offline}))
	}
}

// asFailure makes an error exit with code 1, unless it has a code of its own.
func asFailure(err error) error {
	var exit *exitError
	switch {
	case err == nil || errors.As(err, &exit):
		return err
	case errors.Is(err, api.ErrCutShort):
		return &exitError{exitUnverified, err}
	}
	return fail(err)
}

// kept makes the state folder a reader.
type kept struct{ *app.Offline }

func (k kept) Status(ctx context.Context) (api.Status, error) { return k.Offline.Status(ctx), nil }

func (k kept) Silences(_ context.Context, ended bool) ([]silence.Silence, error) {
	return k.Offline.Silences(ended), nil
}

func (k kept) Acknowledged(context.Context) ([]api.Acknowledgement, error) {
	return k.Offline.Acknowledged(), nil
}

func (k kept) Incidents(_ context.Context, certificate string, limit int) ([]certmedic.Incident, error) {
	return k.Offline.Incidents(certificate, limit)
}

func (k kept) History(_ context.Context, certificate string, limit int) ([]certmedic.Action, error) {
	return k.Offline.History(certificate, limit)
}

func (k kept) Snapshots(_ context.Context, certificate string) ([]snapshot.Snapshot, error) {
	return k.Offline.Snapshots(certificate)
}

func (k kept) Denied(context.Context) ([]deny.Entry, error) { return k.Offline.Denied() }

func (k kept) Receivers(context.Context) ([]api.Receiver, error) { return k.Offline.Receivers() }

func (k kept) Plans(context.Context) ([]approval.Approval, error) { return k.Offline.Plans(), nil }

// act has the daemon carry out an action, or carries it out under the same lock where no
// daemon runs.
func (e *environment) act(ctx context.Context, r api.ActionRequest) (answer api.ActionAnswer, err error) {
	err = e.change(e.warnings(), func(c *api.Client) (err error) { answer, err = c.Act(ctx, r); return err },
		func(o *app.Offline) (err error) { answer, err = o.Act(ctx, r); return err })
	return answer, err
}

// quiet is the log of commands that say everything themselves.
func (e *environment) quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// warnings is the log of commands that act without a daemon.
func (e *environment) warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// startTries bounds how often the daemon is asked that holds the state and does not listen yet.
// Opening the state waits a second.
const startTries = 3

// change has the daemon change something, or does it under the same lock where none runs.
func (e *environment) change(log *slog.Logger, byDaemon func(*api.Client) error, byState func(*app.Offline) error) error {
	c, err := e.settings()
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		if err := byDaemon(api.NewClient(c.StateDir)); !errors.Is(err, api.ErrNoDaemon) {
			return asFailure(err)
		}
		offline, err := app.OpenOffline(c, true, e.options(log))
		switch {
		case errors.Is(err, store.ErrBusy) && try < startTries:
			continue
		case errors.Is(err, store.ErrBusy):
			return fail(errors.New("another certmedic command is at work; try again when it has ended"))
		case err != nil:
			return fail(err)
		}
		defer offline.Close()
		return asFailure(byState(offline))
	}
}

// printJSON prints a value as indented JSON.
func (e *environment) printJSON(value any) error {
	return printJSON(e.stdout, value)
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fail(fmt.Errorf("printing JSON: %w", err))
	}
	return nil
}
