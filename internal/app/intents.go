package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/acme"
)

// orders keep what this member orders where the other members of its cluster find it: see [remediate.Orders]. What
// holds keys is encrypted for those who can open what is published.
type orders struct {
	records func() coord.Records
	member  string
	boxes   map[string]box // of the certificates that are published; an empty one shares no keys
	log     *slog.Logger
}

// box encrypts for all members, and opens what they encrypted.
type box struct {
	seal   bundle.Seal
	opener bundle.Opener
}

// order is what members know of the last order for a certificate.
type order struct {
	Member    string                `json:"member"`
	Replaces  certmedic.Fingerprint `json:"replaces,omitempty"` // the version that was stored then
	Names     []string              `json:"names"`
	Directory string                `json:"directory,omitempty"`
	State     orderState            `json:"state"`
	Fenced    bool                  `json:"fenced,omitempty"`  // it is not finalized before this says under_way
	Sealed    []byte                `json:"sealed,omitempty"`  // an [acme.Transfer], encrypted
	Arrived   certmedic.Fingerprint `json:"arrived,omitempty"` // the version that came of it, and is published
}

// orderState is how far an order came.
type orderState string

const (
	orderBegun    orderState = "begun"     // it may be placed
	orderUnderWay orderState = "under_way" // its certificate may be issued
	orderArrived  orderState = "arrived"   // what came of it is published
	orderEnded    orderState = "ended"     // nothing can come of it any more
)

const (
	// orderPatience is for how long another member's order is waited for that cannot be gone on with: as long as a
	// renewal may take.
	orderPatience = 30 * time.Minute

	orderLook  = 100 * time.Millisecond // between looks at an order under way
	orderAgain = time.Second            // after a failure to tell of it
	orderLast  = 5 * time.Second        // for the last word
)

func orderKey(certificate string) string { return "orders/" + certificate }

// orders returns what tells the other members of orders; nil where there are none.
func (a *App) orders(c *config.Config) *orders {
	if c.Cluster == nil {
		return nil
	}
	o := &orders{records: a.cluster.Records, member: a.cluster.self.Name, boxes: map[string]box{}, log: a.o.Log}
	for _, cert := range c.Certificates {
		p := cert.Publish
		if p == nil {
			continue
		}
		o.boxes[cert.Name] = box{}
		if opener, ok := openerOf(p); ok && !p.Plaintext {
			o.boxes[cert.Name] = box{sealOf(p), opener}
		}
	}
	return o
}

// standing is [remediate.Options.Orders], which is nil where there are no other members.
func (a *App) standing(c *config.Config) remediate.Orders {
	if o := a.orders(c); o != nil {
		return o
	}
	return nil
}

// read returns what is known of the last order; an order without a member where nothing is.
func (o *orders) read(ctx context.Context, certificate string) (order, coord.Record, error) {
	r, ok, err := o.records().Get(ctx, orderKey(certificate))
	if err != nil || !ok {
		return order{}, coord.Record{}, err
	}
	var last order
	if err := json.Unmarshal(r.Value, &last); err != nil {
		return order{}, coord.Record{}, fmt.Errorf("reading the order of %q: %w", certificate, err)
	}
	return last, r, nil
}

// write writes an order in place of the record that was read.
func (o *orders) write(ctx context.Context, r coord.Record, i remediate.Intent, next order) (coord.Record, error) {
	value, err := json.Marshal(next)
	if err != nil {
		return r, fmt.Errorf("writing the order of %q: %w", i.Certificate, err)
	}
	return o.records().Put(ctx, orderKey(i.Certificate), r.Revision, i.Token, value)
}

// Standing implements [remediate.Orders].
func (o *orders) Standing(ctx context.Context, certificate string, stored certmedic.Fingerprint) (why string, until time.Time, err error) {
	last, r, err := o.read(ctx, certificate)
	if err != nil {
		return "", time.Time{}, err
	}
	why, until = o.stands(certificate, last, r, stored, time.Now())
	return why, until, nil
}

// stands says why an order of another member keeps this one from ordering, and until when.
func (o *orders) stands(certificate string, last order, r coord.Record, stored certmedic.Fingerprint, now time.Time) (why string, until time.Time) {
	until = r.Time.Add(orderPatience)
	switch {
	case last.Member == "" || last.Replaces != stored || last.State == orderEnded || !now.Before(until):
		return "", time.Time{}
	case last.State == orderArrived:
		return fmt.Sprintf("version %s, which %q had issued, is published, and has not come here yet", last.Arrived.Short(), last.Member), until
	case last.Member == o.member:
		return "", time.Time{} // its own work folder knows
	case last.State == orderBegun && last.Fenced:
		return "", time.Time{} // it cannot be finalized any more once this member has written
	case len(last.Sealed) > 0 && o.boxes[certificate].opens():
		return "", time.Time{} // it is gone on with
	}
	return fmt.Sprintf("%q has ordered %s since %s, which may yet come", last.Member, strings.Join(last.Names, ", "), r.Time.UTC().Format(time.RFC3339)), until
}

func (b box) opens() bool { return b.opener != (bundle.Opener{}) }

// Begin implements [remediate.Orders].
func (o *orders) Begin(ctx context.Context, i remediate.Intent) error {
	if i.Order != nil {
		if err := acme.Permit(*i.Order, "", ""); err != nil {
			return err
		}
	}
	if i.Alone {
		return nil
	}
	last, r, err := o.read(ctx, i.Certificate)
	if err != nil {
		return err
	}
	if why, until := o.stands(i.Certificate, last, r, i.Replaces, time.Now()); !until.IsZero() && !i.Force {
		return fmt.Errorf("%w: %s", remediate.ErrElsewhere, why)
	}
	next := order{Member: o.member, Replaces: i.Replaces, Names: i.Names, Directory: i.Directory, State: orderBegun, Fenced: i.Order != nil}
	if i.Order != nil && o.boxes[i.Certificate].opens() {
		if err := o.shareAccount(ctx, i); err != nil {
			return err
		}
		if last.Replaces == i.Replaces && o.adopt(i, last) {
			next.State, next.Sealed = orderUnderWay, last.Sealed
		}
	}
	if _, err := o.write(ctx, r, i, next); errors.Is(err, coord.ErrStale) {
		return fmt.Errorf("%w: %w", remediate.ErrElsewhere, err)
	} else if err != nil {
		return err
	}
	return nil
}

// adopt goes on with the order of another member, and reports whether there is one to go on with.
func (o *orders) adopt(i remediate.Intent, last order) bool {
	if last.State != orderUnderWay || len(last.Sealed) == 0 {
		return false
	}
	var t acme.Transfer
	text, err := o.boxes[i.Certificate].opener.Decrypt(last.Sealed)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err == nil {
		err = acme.Adopt(*i.Order, t)
	}
	if err != nil {
		o.log.Warn("an order of another member is not gone on with", "certificate", i.Certificate, "member", last.Member, "err", err)
		return false
	}
	if last.Member != o.member {
		o.log.Info("going on with the order of another member", "certificate", i.Certificate, "member", last.Member, "order", t.URL)
	}
	return true
}

// shareAccount has all members order by the same account, which is that of the first one: only who placed an order may finish it.
func (o *orders) shareAccount(ctx context.Context, i remediate.Intent) error {
	if i.Order.Account.Import != "" {
		return nil // every member has it already
	}
	b, key := o.boxes[i.Certificate], "accounts/"+i.Order.AccountID()
	for range 2 {
		r, ok, err := o.records().Get(ctx, key)
		if err != nil {
			return err
		}
		if ok {
			account, err := b.opener.Decrypt(r.Value)
			if err != nil {
				return fmt.Errorf("opening the account that members share: %w", err)
			}
			return acme.AdoptAccount(ctx, *i.Order, account)
		}
		account, err := acme.AccountKey(ctx, *i.Order)
		if err != nil {
			return err
		}
		sealed, err := b.seal.Encrypt(account)
		if err != nil {
			return err
		}
		if _, err = o.records().Put(ctx, key, 0, 0, sealed); err == nil || !errors.Is(err, coord.ErrStale) {
			return err
		}
	}
	return fmt.Errorf("sharing the account %q: another member is at it", key)
}

// Follow implements [remediate.Orders].
func (o *orders) Follow(ctx context.Context, i remediate.Intent, ended <-chan struct{}) {
	f := &follower{orders: o, i: i}
	for wait := orderLook; ; {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			if ctx.Err() == nil {
				f.last(ctx)
			}
			return
		case <-time.After(wait):
		}
		wait = orderLook
		if err := f.look(ctx); err != nil && ctx.Err() == nil {
			o.log.Warn("other members do not know how an order fares; it is tried again", "certificate", i.Certificate, "err", err)
			wait = orderAgain
		}
	}
}

// arrived notes that what came of an order is published: its keys are not needed any more. Should that not be written,
// who takes over finds it published.
func (o *orders) arrived(ctx context.Context, certificate string, version certmedic.Fingerprint, token uint64) {
	last, r, err := o.read(ctx, certificate)
	if err != nil || last.Member != o.member || last.Replaces == version || last.State == orderArrived || last.State == orderEnded {
		return
	}
	last.State, last.Sealed, last.Arrived = orderArrived, nil, version
	if _, err := o.write(ctx, r, remediate.Intent{Certificate: certificate, Token: token}, last); err != nil {
		o.log.Warn("other members do not know that an order has ended", "certificate", certificate, "err", err)
	}
}
