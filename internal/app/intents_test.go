package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/acme"
)

// ordering is a member of a cluster that orders for one certificate.
type ordering struct {
	*orders
	engine coord.Engine
	i      remediate.Intent
}

// hall are the members of a cluster.
type hall struct {
	memory coordtest.Memory
	box    box
	keys   []byte // in PEM, of an order
}

func newHall(t *testing.T) *hall {
	t.Helper()
	identity := mint.Must(age.GenerateX25519Identity())
	path := filepath.Join(t.TempDir(), "age.key")
	if err := os.WriteFile(path, []byte(identity.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	pair := mint.Must(mint.Must(mint.NewCA("root")).Leaf(mint.Leaf{Names: []string{"shop.test"}}))
	return &hall{
		box: box{bundle.Seal{Recipients: []string{identity.Recipient().String()}}, bundle.Opener{IdentityFile: path}}, keys: mint.Must(pair.KeyPEM()),
	}
}

// member returns a member with folders of its own, and a token.
func (h *hall) member(t *testing.T, name string, token uint64) *ordering {
	t.Helper()
	dir, e := t.TempDir(), h.memory.Open(t, name, time.Minute)
	t.Cleanup(func() { _ = e.Close() })
	o := &orders{records: func() coord.Records { return e }, member: name, boxes: map[string]box{"shop": h.box}, log: slog.New(slog.DiscardHandler)}
	return &ordering{o, e, remediate.Intent{
		Certificate: "shop", Replaces: "v1", Names: []string{"shop.test"}, Token: token,
		Order: &acme.Request{
			Directory: "https://ca.test/dir", Names: []string{"shop.test"}, KeyType: "ec256", Shared: true,
			Account: acme.Account{Dir: filepath.Join(dir, "accounts")}, Work: filepath.Join(dir, "work"),
			Challenge: acme.Challenge{HTTP01: &acme.HTTP01{Listen: "127.0.0.1:0"}},
		},
	}}
}

// places puts an order into the member's work folder, as its step would.
func (o *ordering) places(t *testing.T, h *hall, finalizing bool) acme.Transfer {
	t.Helper()
	order := acme.Transfer{
		Directory: o.i.Order.Directory, Names: o.i.Names, KeyType: "ec256", URL: "https://ca.test/order/1", Finalizing: finalizing, Key: h.keys,
	}
	if err := acme.Adopt(*o.i.Order, order); err != nil {
		t.Fatal(err)
	}
	return order
}

// permitted reports what the step would be told: nothing, yes, or why not.
func (o *ordering) permitted(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(o.i.Order.Work, "order-*", "permit.json"))
	if err != nil || len(found) > 1 {
		t.Fatal(found, err)
	}
	if len(found) == 0 {
		return ""
	}
	return string(mint.Must(os.ReadFile(found[0])))
}

func (o *ordering) mustBegin(t *testing.T) {
	t.Helper()
	if err := o.Begin(t.Context(), o.i); err != nil {
		t.Fatal(err)
	}
}

// state returns what all members know.
func (o *ordering) state(t *testing.T) (order, coord.Record) {
	t.Helper()
	last, r, err := o.read(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	return last, r
}

// TestOrderIsGoneOnWith holds that who takes over goes on with the same order, by the same account,
// and that who had it may not finalize it any more.
func TestOrderIsGoneOnWith(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	one, two := h.member(t, "m1", 1), h.member(t, "m2", 2)
	one.mustBegin(t)
	if _, until, err := two.Standing(t.Context(), "shop", "v1"); err != nil || !until.IsZero() {
		t.Errorf("what can be fenced is waited for until %s, %v", until, err)
	}
	one.places(t, h, false)
	f := &follower{orders: one.orders, i: one.i}
	must(t, f.look(t.Context()))
	if last, r := two.state(t); last.State != orderUnderWay || r.Token != 1 || strings.Contains(string(r.Value), "PRIVATE") || one.permitted(t) != "" {
		t.Errorf("before it is finalized others know %q with token %d, permitted: %q", last.State, r.Token, one.permitted(t))
	}
	two.mustBegin(t)
	got, ok, err := acme.Export(*two.i.Order)
	if err != nil || !ok || got.URL != "https://ca.test/order/1" || string(got.Key) != string(h.keys) {
		t.Errorf("the other member has %+v, %t, %v", got, ok, err)
	}
	account := func(o *ordering) string { return string(mint.Must(acme.AccountKey(t.Context(), *o.i.Order))) }
	if account(one) != account(two) {
		t.Error("the members have two accounts")
	}
	must(t, os.RemoveAll(one.i.Order.Work)) // as if it was just now about to be finalized
	one.places(t, h, true)
	must(t, f.look(t.Context()))
	if said := one.permitted(t); !strings.Contains(said, "m2") || !strings.Contains(said, "token 2") {
		t.Errorf("the one before is told %q", said)
	}
	f.last(t.Context())
	if last, r := one.state(t); last.Member != "m2" || r.Token != 2 {
		t.Errorf("the one before wrote: %+v", last)
	}
}

// TestOrderIsPermitted follows an order to its end, as one member sees it.
func TestOrderIsPermitted(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	one, two := h.member(t, "m1", 1), h.member(t, "m2", 2)
	one.mustBegin(t)
	ended, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		one.Follow(t.Context(), one.i, ended)
	}()
	order := one.places(t, h, true)
	for end := time.Now().Add(20 * time.Second); one.permitted(t) == "" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if said := one.permitted(t); !strings.Contains(said, order.URL) || strings.Contains(said, "refused") {
		t.Errorf("it is told %q", said)
	}
	must(t, acme.Close(*one.i.Order)) // it is stored
	close(ended)
	<-over
	if last, _ := two.state(t); last.State != orderUnderWay || len(last.Sealed) == 0 {
		t.Errorf("until it is published others know %q", last.State)
	}
	one.arrived(t.Context(), "shop", "v2", 1)
	last, _ := two.state(t)
	if last.State != orderArrived || last.Arrived != "v2" || last.Sealed != nil {
		t.Errorf("once it is published others know %+v", last)
	}
	if why, until, err := two.Standing(t.Context(), "shop", "v1"); err != nil || until.IsZero() || !strings.Contains(why, "v2") {
		t.Errorf("who has not got it yet is told %q, %s, %v", why, until, err)
	}
	if err := two.Begin(t.Context(), two.i); !errors.Is(err, remediate.ErrElsewhere) {
		t.Errorf("who has not got it yet may begin: %v", err)
	}
	two.i.Force = true
	two.mustBegin(t)
	if _, until, err := two.Standing(t.Context(), "shop", "v2"); err != nil || !until.IsZero() {
		t.Errorf("who has got it waits until %s, %v", until, err)
	}
}

// TestOrderIsGivenUp holds that an order of which nothing came is waited for by nobody.
func TestOrderIsGivenUp(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	one := h.member(t, "m1", 1)
	one.i.Order = nil // of a command
	one.mustBegin(t)
	two := h.member(t, "m2", 2)
	if _, until, err := two.Standing(t.Context(), "shop", "v1"); err != nil || until.IsZero() {
		t.Errorf("a command of another member is not waited for: %v", err)
	}
	ended := make(chan struct{})
	close(ended)
	one.Follow(t.Context(), one.i, ended)
	if last, _ := two.state(t); last.State != orderEnded {
		t.Errorf("others know %q", last.State)
	}
	two.mustBegin(t)
}

// TestOrderOfALowerToken holds that who lost its lease begins nothing.
func TestOrderOfALowerToken(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	one, two := h.member(t, "m1", 1), h.member(t, "m2", 2)
	two.mustBegin(t)
	if err := one.Begin(t.Context(), one.i); !errors.Is(err, remediate.ErrElsewhere) {
		t.Errorf("a lower token may begin: %v", err)
	}
}

// TestOrderWithoutTheCoordinator holds what may be ordered while nobody can be told.
func TestOrderWithoutTheCoordinator(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	one := h.member(t, "m1", 1)
	h.memory.Fail(func(string) error { return errors.New("it is away") })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := one.Begin(ctx, one.i); err == nil || errors.Is(err, remediate.ErrElsewhere) {
		t.Errorf("it may begin: %v", err)
	}
	one.i.Alone = true
	one.mustBegin(t)
	one.places(t, h, true)
	must(t, (&follower{orders: one.orders, i: one.i}).look(t.Context()))
	if one.permitted(t) == "" {
		t.Error("in an emergency it is not permitted")
	}
}

// TestStandingOrders is the table of when an order of another member is waited for.
func TestStandingOrders(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	one := h.member(t, "m1", 1)
	now := time.Now()
	sealed, fresh := []byte("x"), coord.Record{Time: now.Add(-time.Minute)}
	for about, row := range map[string]struct {
		last  order
		at    coord.Record
		box   box
		waits bool
	}{
		"nothing was ordered":                           {order{}, fresh, h.box, false},
		"one for an earlier version":                    {order{Member: "m2", Replaces: "v0", State: orderUnderWay}, fresh, h.box, false},
		"one that cannot be finalized any more":         {order{Member: "m2", Replaces: "v1", State: orderBegun, Fenced: true}, fresh, h.box, false},
		"one that a command places":                     {order{Member: "m2", Replaces: "v1", State: orderBegun}, fresh, h.box, true},
		"the same, which was half an hour ago":          {order{Member: "m2", Replaces: "v1", State: orderBegun}, coord.Record{Time: now.Add(-orderPatience)}, h.box, false},
		"one that can be gone on with":                  {order{Member: "m2", Replaces: "v1", State: orderUnderWay, Fenced: true, Sealed: sealed}, fresh, h.box, false},
		"the same, where this host cannot open it":      {order{Member: "m2", Replaces: "v1", State: orderUnderWay, Fenced: true, Sealed: sealed}, fresh, box{}, true},
		"one that may be issued, whose key is not here": {order{Member: "m2", Replaces: "v1", State: orderUnderWay, Fenced: true}, fresh, h.box, true},
		"this member's own":                             {order{Member: "m1", Replaces: "v1", State: orderUnderWay}, fresh, h.box, false},
		"one of which nothing came":                     {order{Member: "m2", Replaces: "v1", State: orderEnded}, fresh, h.box, false},
		"one that is published":                         {order{Member: "m2", Replaces: "v1", State: orderArrived, Arrived: "v2"}, fresh, h.box, true},
		"this member's own, published and not here":     {order{Member: "m1", Replaces: "v1", State: orderArrived, Arrived: "v2"}, fresh, h.box, true},
	} {
		one.boxes = map[string]box{"shop": row.box}
		why, until := one.stands("shop", row.last, row.at, "v1", now)
		if waits := !until.IsZero(); waits != row.waits || waits != (why != "") {
			t.Errorf("%s: %q until %s", about, why, until)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
