package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/acme"
)

// follower tells the other members how one order fares.
type follower struct {
	*orders
	i     remediate.Intent
	told  acme.Transfer // what they know
	knows bool          // they know of an order with a URL
	over  bool          // another member acts; nothing more is told
}

// look tells what is new of the order, and lets it be finalized once that is known.
func (f *follower) look(ctx context.Context) error {
	if f.i.Order == nil || f.over {
		return nil
	}
	now, ok, err := acme.Export(*f.i.Order)
	switch {
	case err != nil:
		return err
	case !ok || now.URL == "" || f.knows && now.Same(f.told):
		return nil
	case f.i.Alone:
		f.told, f.knows = now, true
		return f.permit(now, "")
	}
	refused, err := f.tell(ctx, now)
	if err != nil {
		return err
	}
	f.told, f.knows, f.over = now, true, refused != ""
	return f.permit(now, refused)
}

// permit lets an order be finalized that waits for it.
func (f *follower) permit(t acme.Transfer, refused string) error {
	if !t.Finalizing && refused == "" {
		return nil
	}
	return acme.Permit(*f.i.Order, t.URL, refused)
}

// tell writes what is known of the order. It is refused where another member has written since.
func (f *follower) tell(ctx context.Context, t acme.Transfer) (refused string, err error) {
	last, r, err := f.read(ctx, f.i.Certificate)
	if err != nil {
		return "", err
	}
	if last.Member != f.member || r.Token != f.i.Token || last.Replaces != f.i.Replaces {
		return fmt.Sprintf("member %q acts with token %d, and this order was begun with %d", last.Member, r.Token, f.i.Token), nil
	}
	last.State, last.Sealed = orderUnderWay, nil
	if b := f.boxes[f.i.Certificate]; b.opens() {
		text, err := json.Marshal(t)
		if err == nil {
			last.Sealed, err = b.seal.Encrypt(text)
		}
		if err != nil {
			return "", err
		}
	}
	_, err = f.write(ctx, r, f.i, last)
	return "", err // one that is stale is read again
}

// last tells what is left of an order that nothing is at work on any more. What was stored is told by who publishes it.
func (f *follower) last(ctx context.Context) {
	if f.i.Alone || f.over {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, orderLast)
	defer cancel()
	if err := f.look(ctx); err != nil {
		f.log.Warn("other members do not know how an order ended", "certificate", f.i.Certificate, "err", err)
		return
	}
	if f.i.Order != nil {
		now, ok, err := acme.Export(*f.i.Order)
		_, published := f.boxes[f.i.Certificate]
		if err != nil || !ok && published || ok && now.URL != "" {
			return
		}
	}
	if err := f.ended(ctx); err != nil && !errors.Is(err, coord.ErrStale) {
		f.log.Warn("other members do not know that an order has ended", "certificate", f.i.Certificate, "err", err)
	}
}

// ended notes that nothing can come of the order any more.
func (f *follower) ended(ctx context.Context) error {
	last, r, err := f.read(ctx, f.i.Certificate)
	if err != nil || last.Member != f.member || r.Token != f.i.Token {
		return err
	}
	last.State, last.Sealed = orderEnded, nil
	_, err = f.write(ctx, r, f.i, last)
	return err
}
