package app

import (
	"context"

	"github.com/certmedic/certmedic/internal/api"
)

// Begin has an action begun that a person asked for, and waits for its end as long as ctx lasts. What
// has not ended by then goes on, and ends with the daemon: ended is false.
func (a *App) Begin(ctx context.Context, r api.ActionRequest) (answer api.ActionAnswer, ended bool, err error) {
	type end struct {
		answer api.ActionAnswer
		err    error
	}
	g, done := a.generation(), make(chan end)
	a.deeds.Go(func() {
		answer, err := g.act(context.WithoutCancel(ctx), r)
		select {
		case done <- end{answer, err}:
		case <-ctx.Done():
			if err != nil { // nobody waits for it any more
				a.o.Log.Warn("an action that a person asked for on a page", "certificate", r.Certificate, "action", r.Action, "by", r.By, "err", err)
			}
		}
	})
	select {
	case e := <-done:
		return e.answer, true, e.err
	case <-ctx.Done():
		return api.ActionAnswer{}, false, nil
	}
}
