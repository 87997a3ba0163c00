package app

import (
	"context"
	"errors"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/metrics"
	"github.com/certmedic/certmedic/internal/store"
)

// Offline is certmedic without its daemon: what the commands use where none runs.
type Offline struct {
	app *App
	g   *generation
}

// OpenOffline opens the state, to act if writable and else to read. Of the options Version, Environ,
// Self, Syslog and Log count. Whoever acts holds the state alone, as the daemon does. [store.ErrBusy] says that a daemon, or another command,
// holds it.
func OpenOffline(c *config.Config, writable bool, o Options) (*Offline, error) {
	open := store.OpenRead
	if writable {
		open = store.Open
	}
	s, err := open(c.StateDir, time.Second)
	if err != nil {
		return nil, err
	}
	a := &App{o: o, store: s, metrics: metrics.New(o.Version), config: c, dir: c.StateDir, offline: true}
	a.openVersions()
	if a.silences, err = silence.Open(s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := errors.Join(a.openCluster(), a.openApprovals(), a.openInbox()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	g, err := a.build(context.Background(), c)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	a.cluster.want(leases(g)) // they are taken when something is done, and given up with the session
	a.drills.alerter = func() *alerting.Alerter { return g.alerter }
	a.drills.over = func(d api.Drill) { a.exercised(drilled(d)) }
	return &Offline{a, g}, nil
}

// Close lets go of the state.
func (o *Offline) Close() error { return errors.Join(o.app.cluster.stop(), o.app.store.Close()) }

// Status returns what is kept and what the sources hold now. Nothing is probed.
func (o *Offline) Status(ctx context.Context) api.Status {
	for _, v := range o.g.Views() {
		o.g.watchdog.Read(ctx, v.Name)
	}
	s := statusOf(o.g, o.app.o.Version, false)
	s.Acknowledged = o.Acknowledged()
	return s
}

// Incidents returns the incidents as they were kept.
func (o *Offline) Incidents(certificate string, limit int) ([]certmedic.Incident, error) {
	return incidents(o.g, o.app.store, certificate, limit)
}

// History returns the newest actions.
func (o *Offline) History(certificate string, limit int) ([]certmedic.Action, error) {
	return history(o.app.store, certificate, limit)
}

// Act carries out an action, or plans it.
func (o *Offline) Act(ctx context.Context, r api.ActionRequest) (api.ActionAnswer, error) {
	o.g.census.take(ctx)
	if !r.DryRun {
		defer o.app.cluster.attend(ctx, r.Certificate)()
	}
	return o.g.act(ctx, r)
}
