package ca_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

func start(t *testing.T) *ca.CA {
	t.Helper()
	for key, value := range ca.Environment() {
		t.Setenv(key, value)
	}
	authority, err := ca.Start(t.Context(), ca.Options{Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(authority.Stop)
	return authority
}

func TestOnlyAcceptedOrdersAreCounted(t *testing.T) {
	authority := start(t)
	client := &acme.Client{
		Key: mint.Must(mint.NewKey(mint.EC256)), DirectoryURL: authority.Directory(), HTTPClient: authority.Client(),
	}
	if _, err := client.Register(t.Context(), &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := client.AuthorizeOrder(t.Context(), acme.DomainIDs("shop.test")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.AuthorizeOrder(t.Context(), acme.DomainIDs("not a name")); err == nil {
		t.Error("an order for a broken name is accepted")
	}
	if authority.Orders() != 2 {
		t.Errorf("%d orders were counted, want 2", authority.Orders())
	}
}

func TestServiceIsTrustedByItsOwnAuthorityOnly(t *testing.T) {
	authority := start(t)
	answer, err := authority.Client().Get(authority.Directory())
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the directory answers %s", answer.Status)
	}
	_, err = ca.Client(authority.Roots()).Get(authority.Directory())
	if err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("the issuance root vouches for the service: %v", err)
	}
}

func TestStopFreesThePort(t *testing.T) {
	authority := start(t)
	authority.Stop()
	directory, err := url.Parse(authority.Directory())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", directory.Host)
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	_ = listener.Close()
}
