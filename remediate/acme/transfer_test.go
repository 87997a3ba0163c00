package acme_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/port"
	"github.com/certmedic/certmedic/remediate/acme"
)

// elsewhere returns the same request as another host would make it, with folders of its own.
func elsewhere(t *testing.T, r acme.Request) acme.Request {
	t.Helper()
	dir := t.TempDir()
	r.Work, r.Account.Dir = filepath.Join(dir, "work"), filepath.Join(dir, "accounts")
	return r
}

// finalizing waits until the order of a request is about to be finalized.
func finalizing(t *testing.T, r acme.Request) acme.Transfer {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if order, ok, err := acme.Export(r); err == nil && ok && order.Finalizing {
			return order
		}
	}
	t.Fatal("no order was about to be finalized")
	return acme.Transfer{}
}

// begin has a certificate issued in the background.
func begin(ctx context.Context, r acme.Request) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := acme.Obtain(ctx, r, &bytes.Buffer{})
		ended <- err
	}()
	return ended
}

// TestTakenOver has another host, with the account's key, finish the order of one that may not.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	one := a.request(t, "taken.shop.test")
	one.Shared = true
	two := elsewhere(t, one)
	if _, ok, err := acme.Export(one); ok || err != nil {
		t.Errorf("before the order: %t, %v", ok, err)
	}
	key := mint.Must(acme.AccountKey(t.Context(), one))
	_ = mint.Must(acme.AccountKey(t.Context(), two)) // which is to give way
	must(t, acme.AdoptAccount(t.Context(), two, key))
	must(t, acme.AdoptAccount(t.Context(), two, key))

	ended := begin(t.Context(), one)
	order := finalizing(t, one)
	must(t, acme.Permit(one, "https://ca.test/another-order", "of another order"))
	must(t, acme.Adopt(two, order))
	must(t, acme.Permit(one, order.URL, "member m2 acts"))
	var told *acme.Error
	if err := <-ended; !errors.As(err, &told) || told.Kind != acme.KindElsewhere || !strings.Contains(err.Error(), "member m2 acts") {
		t.Fatalf("who may not finalize ended with %v", err)
	}
	must(t, acme.Permit(two, order.URL, ""))
	issued, _, _ := a.obtain(t, two)
	if issued.Order != order.URL || !issued.Resumed || a.placed() != 1 {
		t.Errorf("order %s, resumed %t, %d orders in all", issued.Order, issued.Resumed, a.placed())
	}
	after := export(t, two)
	if !after.Finalizing || after.GivenUp {
		t.Errorf("what was issued is exported as %+v", after)
	}
	must(t, acme.Close(two))
	if _, ok, err := acme.Export(two); ok || err != nil {
		t.Errorf("once it was installed: %t, %v", ok, err)
	}
	// The first one comes back, and is led to the same certificate by the same order.
	must(t, acme.Permit(one, "", ""))
	again, _, _ := a.obtain(t, one)
	if again.Version != issued.Version || a.placed() != 1 {
		t.Errorf("the first host has version %s, the second %s, by %d orders", again.Version, issued.Version, a.placed())
	}
}

// TestWithdrawnPermit holds that a refusal of before does not stand in the way of a later run.
func TestWithdrawnPermit(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	r := a.request(t, "withdrawn.shop.test")
	r.Shared = true
	must(t, acme.Permit(r, "", "")) // of nothing
	ended := begin(t.Context(), r)
	order := finalizing(t, r)
	must(t, acme.Permit(r, order.URL, "member m2 acts"))
	if err := <-ended; err == nil {
		t.Fatal("it was finalized all the same")
	}
	must(t, acme.Permit(r, "", ""))
	ended = begin(t.Context(), r)
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	must(t, acme.Permit(r, order.URL, ""))
	must(t, <-ended)
	if a.placed() != 1 {
		t.Errorf("%d orders", a.placed())
	}
}

// TestAdoptRefuses holds what is not taken over.
func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	one := a.request(t, "one.shop.test")
	one.Challenge.HTTP01.Listen = net.JoinHostPort("127.0.0.1", itoa(mint.Must(port.Free(t.Context(), 0)))) // nobody asks there
	one.Timeout = 5 * time.Second
	ended := begin(t.Context(), one)
	if err := <-ended; err == nil {
		t.Fatal("it was issued without an answer")
	}
	lost := export(t, one)
	if !lost.GivenUp || lost.URL != "" {
		t.Errorf("an order that became invalid is exported as %+v", lost)
	}
	order := lost
	order.URL, order.Key = "https://ca.test/o", []byte("no key")
	other := elsewhere(t, one)
	other.Names = []string{"two.shop.test"}
	for about, row := range map[string]struct {
		r acme.Request
		t acme.Transfer
	}{
		"one that was given up":         {elsewhere(t, one), lost},
		"an order for another name":     {other, order},
		"a key that is none":            {elsewhere(t, one), order},
		"a request that cannot be made": {acme.Request{}, order},
	} {
		if err := acme.Adopt(row.r, row.t); err == nil {
			t.Errorf("%s was taken over", about)
		}
	}
	if err := acme.AdoptAccount(t.Context(), one, []byte("no key")); err == nil {
		t.Error("an account without a key was taken over")
	}
	one.Account.Import = "/etc/letsencrypt/accounts/x"
	if _, err := acme.AccountKey(t.Context(), one); err == nil {
		t.Error("the key of certbot's account was handed out")
	}
}

func export(t *testing.T, r acme.Request) acme.Transfer {
	t.Helper()
	order, ok, err := acme.Export(r)
	if err != nil || !ok {
		t.Fatalf("there is no order: %v", err)
	}
	return order
}
