package app

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/ledger"
)

// The pace of an accountant.
const (
	firstCountIn = 2 * time.Second // sources are read by then
	countEvery   = time.Minute
)

// accountant enters into the book what archives tell, and tells what is left of the limits of CAs.
type accountant struct {
	Renewables func() []watchdog.Renewable
	Budgeted   func(certificate string, left []ledger.Remaining)
	Book       *ledger.Book
	Log        *slog.Logger

	failing bool // the book could not be written last time
}

// Run counts every now and then, until ctx ends.
func (a *accountant) Run(ctx context.Context) error {
	timer := time.NewTimer(firstCountIn)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		a.count(time.Now())
		timer.Reset(countEvery)
	}
}

// count counts once. What cannot be written is counted again the next time.
func (a *accountant) count(now time.Time) {
	all := a.Renewables()
	sources := make([]ledger.Sourced, 0, len(all))
	for _, r := range all {
		sources = append(sources, ledger.Sourced{Directory: r.Directory, Issued: r.Issued})
	}
	err := a.Book.Learn(now, sources)
	if err != nil && !a.failing {
		a.Log.Warn("what was ordered of CAs is not kept", "err", err)
	}
	a.failing = err != nil
	for _, r := range all {
		a.Budgeted(r.Certificate, a.Book.Balance(now, ledger.Order{
			Directory: r.Directory, Names: slices.Concat(r.Leaf.DNSNames, r.Leaf.IPAddresses), Issued: r.Issued,
		}))
	}
}
