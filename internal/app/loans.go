package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// loansPrefix begins the keys of the records of rollbacks that stand, loansPatience bounds the time in
// which the coordinator is asked about one.
const (
	loansPrefix   = "loans/"
	loansPatience = 5 * time.Second
)

// loanBook keeps the rollbacks that stand where all members of a cluster find them: whoever takes over
// must not install what another one left. Each member has its own copy too, by which it judges, and
// which counts while the coordinator cannot be asked. On a single host there is that copy alone.
type loanBook struct {
	own     remediate.Loans
	cluster parties
	log     *slog.Logger

	mu      sync.Mutex
	dropped map[string]time.Time // certificates whose loan ended here, which could not be shared
}

// parties is what a [loanBook] asks of the cluster.
type parties interface {
	Records() coord.Records
	Lead(certificate string) certmedic.Lead
	// shares reports whether a certificate is looked after by other members, too.
	shares(certificate string) bool
}

// sharedLoan is the value of a record.
type sharedLoan struct {
	Loan *rollback.Loan `json:"loan"` // nil: none stands
	At   time.Time      `json:"at"`   // when that was so
}

func newLoanBook(own remediate.Loans, c parties, log *slog.Logger) *loanBook {
	return &loanBook{own: own, cluster: c, log: log, dropped: map[string]time.Time{}}
}

// Loan implements [remediate.Loans].
func (b *loanBook) Loan(certificate string) (rollback.Loan, bool, error) {
	if b.cluster.shares(certificate) {
		ctx, cancel := context.WithTimeout(context.Background(), loansPatience)
		defer cancel()
		r, ok, err := b.cluster.Records().Get(ctx, loansPrefix+certificate)
		if err == nil && ok {
			_, err = b.follow(certificate, r)
		}
		if err != nil {
			b.log.Warn("the loan of a certificate cannot be asked for; what is known here counts", "certificate", certificate, "err", err)
		}
	}
	return b.own.Loan(certificate)
}

// SaveLoan implements [remediate.Loans]. What cannot be shared is kept here, and shared later.
func (b *loanBook) SaveLoan(l rollback.Loan) error {
	if err := b.own.SaveLoan(l); err != nil {
		return err
	}
	b.share(l.Certificate, sharedLoan{Loan: &l, At: time.Now().UTC()})
	return nil
}

// DropLoan implements [remediate.Loans].
func (b *loanBook) DropLoan(certificate string) error {
	if err := b.own.DropLoan(certificate); err != nil {
		return err
	}
	b.share(certificate, sharedLoan{At: time.Now().UTC()})
	return nil
}

// share tells the other members, who find out by [loanBook.follow] what could not be told now.
func (b *loanBook) share(certificate string, s sharedLoan) {
	if !b.cluster.shares(certificate) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), loansPatience)
	defer cancel()
	err := b.put(ctx, certificate, s)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.dropped, certificate)
	if err == nil {
		return
	}
	if s.Loan == nil {
		b.dropped[certificate] = s.At
	}
	b.log.Warn("which rollback stands could not be shared; it is tried again", "certificate", certificate, "err", err)
}

func (b *loanBook) put(ctx context.Context, certificate string, s sharedLoan) error {
	value, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding the loan of %q: %w", certificate, err)
	}
	token := b.cluster.Lead(certificate).Token
	for range casTries {
		var before coord.Record
		if before, _, err = b.cluster.Records().Get(ctx, loansPrefix+certificate); err != nil {
			break
		}
		if _, err = b.cluster.Records().Put(ctx, loansPrefix+certificate, before.Revision, token, value); !errors.Is(err, coord.ErrStale) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("sharing the loan of %q: %w", certificate, err)
	}
	return nil
}

// follow takes what a record says, unless this member knows of something later, which whoever acts
// shares then. It reports whether anything is another than before.
func (b *loanBook) follow(certificate string, r coord.Record) (changed bool, err error) {
	var s sharedLoan
	if err := json.Unmarshal(r.Value, &s); err != nil {
		return false, fmt.Errorf("decoding the loan of %q: %w", certificate, err)
	}
	l, stands, err := b.own.Loan(certificate)
	if err != nil {
		return false, err
	}
	b.mu.Lock()
	ended, ends := b.dropped[certificate]
	b.mu.Unlock()
	switch {
	case ends && s.At.Before(ended), stands && l.Since.After(s.At):
		b.again(certificate, l, stands, ended)
		return false, nil
	case s.Loan == nil && !stands, s.Loan != nil && stands && s.Loan.Action == l.Action && s.Loan.Version == l.Version:
		return false, nil
	case s.Loan == nil:
		return true, b.own.DropLoan(certificate)
	}
	s.Loan.Certificate = certificate
	return true, b.own.SaveLoan(*s.Loan)
}

// again shares what could not be shared before.
func (b *loanBook) again(certificate string, l rollback.Loan, stands bool, ended time.Time) {
	switch {
	case !b.cluster.Lead(certificate).Mine:
	case stands:
		b.share(certificate, sharedLoan{Loan: &l, At: l.Since})
	default:
		b.share(certificate, sharedLoan{At: ended})
	}
}

// run follows what the other members share, every so often until ctx ends, and tells lent what changed.
func (b *loanBook) run(ctx context.Context, every time.Duration, lent func(certificate string, l *rollback.Loan)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := b.followAll(ctx, lent); err != nil && ctx.Err() == nil {
			b.log.Debug("following the rollbacks of other members", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (b *loanBook) followAll(ctx context.Context, lent func(certificate string, l *rollback.Loan)) error {
	ctx, cancel := context.WithTimeout(ctx, loansPatience)
	defer cancel()
	records, err := b.cluster.Records().List(ctx, loansPrefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range records {
		certificate := strings.TrimPrefix(r.Key, loansPrefix)
		if !b.cluster.shares(certificate) {
			continue
		}
		changed, err := b.follow(certificate, r)
		errs = append(errs, err)
		if !changed {
			continue
		}
		l, stands, err := b.own.Loan(certificate)
		errs = append(errs, err)
		if stands {
			lent(certificate, &l)
		} else {
			lent(certificate, nil)
		}
	}
	return errors.Join(errs...)
}
