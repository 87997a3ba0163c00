package app

import (
	"context"
	"slices"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// silenced reports whether people are not to be told of an event now.
func (a *App) silenced(e alerting.Event, now time.Time) bool {
	return a.silences.Silenced(now, e.Label)
}

// renewed ends the silences that were to last until a certificate is renewed.
func (a *App) renewed(n watchdog.News) {
	if n.Kind != watchdog.NewsRenewed {
		return
	}
	e := alerting.Event{Certificate: n.Facts()}
	if _, err := a.silences.Renewed(n.Certificate.Name, e.Label, n.Time); err != nil {
		a.o.Log.Error("a silence that was to end with a renewal", "certificate", n.Certificate.Name, "err", err)
	}
}

// unmuteEvery is how often it is looked whether a silence has ended.
const unmuteEvery = time.Second

// unmute has told what was silenced, or waited for the hours of its routes, whenever a silence has
// ended and at every full minute, until ctx ends.
func (a *App) unmute(g *generation) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(unmuteEvery)
		defer tick.Stop()
		before, minute := a.silences.Holding(time.Now()), time.Now().Minute()
		for {
			select {
			case <-ctx.Done():
				return nil
			case now := <-tick.C:
				holding := a.silences.Holding(now)
				if !slices.Equal(before, holding) || now.Minute() != minute {
					g.alerter.Unmute(now)
				}
				before, minute = holding, now.Minute()
			}
		}
	}
}

// Silences returns the silences, the newest first.
func (a *App) Silences(ended bool) []silence.Silence { return a.silences.List(time.Now(), ended) }

// AddSilence adds a silence, which is kept when this returns.
func (a *App) AddSilence(_ context.Context, r api.SilenceRequest) (silence.Silence, error) {
	s, err := r.Silence()
	if err != nil {
		return silence.Silence{}, err
	}
	if s, err = a.silences.Add(s, time.Now()); err != nil {
		return silence.Silence{}, err
	}
	a.o.Log.Info("a silence was added", "id", s.ID, "by", s.By, "why", s.Why, "until", s.Until)
	a.live.said("")
	return s, nil
}

// EndSilence ends a silence; what it kept quiet is told within a second.
func (a *App) EndSilence(_ context.Context, r api.EndRequest) (silence.Silence, error) {
	s, err := a.silences.End(r.ID, r.By, time.Now())
	if err != nil {
		return silence.Silence{}, err
	}
	a.o.Log.Info("a silence was ended", "id", s.ID, "by", s.EndedBy)
	a.live.said("")
	return s, nil
}

// Silences returns the silences, the newest first.
func (o *Offline) Silences(ended bool) []silence.Silence { return o.app.Silences(ended) }

// AddSilence adds a silence, see [App.AddSilence].
func (o *Offline) AddSilence(ctx context.Context, r api.SilenceRequest) (silence.Silence, error) {
	return o.app.AddSilence(ctx, r)
}

// EndSilence ends a silence.
func (o *Offline) EndSilence(ctx context.Context, r api.EndRequest) (silence.Silence, error) {
	return o.app.EndSilence(ctx, r)
}
