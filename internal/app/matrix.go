package app

import (
	"context"
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// Matrix returns which version of a certificate is where, as it was seen last.
func (a *App) Matrix(certificate string) (api.Matrix, bool) {
	return a.generation().matrix(certificate, true)
}

// Matrix looks at a certificate once, and returns which version of it is where.
func (o *Offline) Matrix(ctx context.Context, certificate string) (api.Matrix, error) {
	o.g.census.take(ctx)
	o.g.watchdog.Read(ctx, certificate) // first, so that what is seen says something about what is stored
	if _, err := o.g.watchdog.Look(ctx, certificate); err != nil {
		return api.Matrix{}, err
	}
	m, ok := o.g.matrix(certificate, false)
	if !ok {
		return api.Matrix{}, fmt.Errorf("there is no certificate %q", certificate)
	}
	return m, nil
}

func (g *generation) matrix(certificate string, running bool) (api.Matrix, bool) {
	rows, ok := g.watchdog.Matrix(certificate)
	m := api.Matrix{Certificate: certificate, Time: time.Now().UTC(), Running: running, Status: watchdog.WorstOf(rows), Rows: rows}
	if len(rows) == 0 {
		m.Status = certmedic.StatusUnknown
	}
	for _, r := range rows {
		if !r.Foreign && r.Stored != "" {
			m.Stored = r.Stored
		}
	}
	return m, ok
}
