package native

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/port"
	"github.com/certmedic/certmedic/remediate/acme"
)

// ask makes a request as the step does, and returns how it ended and what it wrote.
func ask(t *testing.T, r Request) (Result, string, error) {
	t.Helper()
	data, err := json.Marshal(r)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	err = Run(ctx, data, &out, nil)
	result, ok := ParseResult(out.String())
	if !ok {
		t.Fatalf("it ended without a result, %v:\n%s", err, out.String())
	}
	return result, out.String(), err
}

// TestARealCA orders from pebble, into a folder, and fails as a real order does.
func TestARealCA(t *testing.T) {
	for name, value := range ca.Environment() {
		t.Setenv(name, value)
	}
	free, err := port.Free(t.Context(), 0)
	must(t, err)
	authority, err := ca.Start(t.Context(), ca.Options{HTTPPort: free})
	must(t, err)
	t.Cleanup(authority.Stop)
	r := request(t)
	trust := filepath.Join(filepath.Dir(r.Store.Folder), "service.pem")
	write(t, trust, authority.ServicePEM(), 0o600)
	r.Order.Directory, r.Order.CAFile, r.Order.KeyType, r.Order.Names = authority.Directory(), trust, "ec256", []string{"127.0.0.1"}
	r.Order.Account.Dir = filepath.Join(filepath.Dir(r.Store.Folder), "accounts")
	r.Order.Challenge.HTTP01 = &acme.HTTP01{Listen: fmt.Sprint("127.0.0.1:", free)}

	result, out, err := ask(t, r)
	if err != nil || result.Version == "" || authority.Orders() != 1 {
		t.Fatalf("%+v, %v, after %d orders:\n%s", result, err, authority.Orders(), out)
	}
	if last, err := Last(r.Store.Folder); err != nil || last.Version != result.Version {
		t.Errorf("it is remembered that %+v, %v", last, err)
	}
	if strings.Contains(out, "PRIVATE") || !strings.Contains(read(t, filepath.Join(r.Store.Folder, "current", "privkey.pem")), "PRIVATE") {
		t.Errorf("the key is told, or not stored:\n%s", out)
	}

	r.Order.Replaces = filepath.Join(r.Store.Folder, "current", "cert.pem")
	again, out, err := ask(t, r)
	if err != nil || again.Version == result.Version || !again.Replaced || authority.Orders() != 2 {
		t.Errorf("a renewal: %+v, %v, after %d orders:\n%s", again, err, authority.Orders(), out)
	}

	r.Order.Replaces, r.Order.Challenge.HTTP01 = "", &acme.HTTP01{Webroot: t.TempDir()} // which nobody serves
	failed, out, err := ask(t, r)
	if err == nil || failed.Kind != acme.KindChallenge || len(failed.Failed) != 1 || failed.Failed[0] != "127.0.0.1" {
		t.Errorf("a challenge that nobody answers: %+v, %v:\n%s", failed, err, out)
	}
	if entries, err := os.ReadDir(filepath.Join(r.Store.Folder, "versions")); err != nil || len(entries) != 2 {
		t.Errorf("%d versions are stored, %v", len(entries), err)
	}
}
