package acme_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/acme"
)

func TestExternalAccountBinding(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, true)
	r := a.request(t, "shop.test")
	wantError(t, r, acme.KindEAB, "none is configured")

	r.Account.EABKeyID, r.Account.EABKeyFile = eabKeyID, filepath.Join(t.TempDir(), "hmac")
	write(t, r.Account.EABKeyFile, []byte(eabHMAC+"\n"))
	must(t, os.Chmod(r.Account.EABKeyFile, 0o644))
	wantError(t, r, acme.KindInvalid, "may be read by others")
	must(t, os.Chmod(r.Account.EABKeyFile, 0o600))
	a.obtain(t, r)
}

// TestAccountIsKept shows that an account is made once, for each directory and email, and made
// again where the CA has lost it.
func TestAccountIsKept(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	r := a.request(t, "shop.test")
	a.obtain(t, r)
	other := a.request(t, "www.shop.test")
	other.Account = r.Account
	a.obtain(t, other)
	if n := a.asked("sign-me-up"); n != 1 {
		t.Errorf("%d registrations for one account", n)
	}
	other.Account.Email = "else@shop.test"
	a.obtain(t, other)
	if n := a.asked("sign-me-up"); n != 2 {
		t.Errorf("%d registrations for two accounts", n)
	}
	keys, _ := filepath.Glob(filepath.Join(r.Account.Dir, "*", "key.pem"))
	if len(keys) != 2 || mint.Must(os.Stat(keys[0])).Mode().Perm() != 0o600 {
		t.Errorf("keys %q", keys)
	}
	must(t, acme.Close(r))
	a.replaceOnce("/my-account/", refuse(400, "accountDoesNotExist", "who are you?"))
	if _, _, out := a.obtain(t, r); !strings.Contains(out, "account registered") {
		t.Errorf("output:\n%s", out)
	}
}

// TestImportedAccount uses an account as certbot keeps it, and finds its folder unchanged.
func TestImportedAccount(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	for _, kind := range []mint.KeyType{mint.RSA2048, mint.EC256} {
		key := mint.Must(mint.NewKey(kind))
		uri := registered(t, a, key)
		r := a.request(t, "shop.test")
		r.Account = acme.Account{Import: filepath.Join(t.TempDir(), "0123456789abcdef0123456789abcdef")}
		jwk := mint.Must(json.Marshal(jose.JSONWebKey{Key: key}))
		registration := mint.Must(json.Marshal(map[string]any{"body": map[string]any{}, "uri": uri}))
		write(t, filepath.Join(r.Account.Import, "private_key.json"), jwk)
		write(t, filepath.Join(r.Account.Import, "regr.json"), registration)
		before := a.asked("sign-me-up")
		a.obtain(t, r)
		if a.asked("sign-me-up") != before {
			t.Error("the account was registered once more")
		}
		if !bytes.Equal(read(t, filepath.Join(r.Account.Import, "private_key.json")), jwk) ||
			!bytes.Equal(read(t, filepath.Join(r.Account.Import, "regr.json")), registration) ||
			len(mint.Must(os.ReadDir(r.Account.Import))) != 2 {
			t.Error("the imported account was changed")
		}

		must(t, acme.Close(r))
		write(t, filepath.Join(r.Account.Import, "regr.json"), []byte(`{"uri":"https://acme.example.test/acct/1"}`))
		wantError(t, r, acme.KindAccount, `an account at "acme.example.test"`)
		write(t, filepath.Join(r.Account.Import, "private_key.json"), []byte(`{"kty":"RSA","d":"c2VjcmV0"`))
		if told := wantError(t, r, acme.KindAccount, "no JSON web key"); strings.Contains(told.Error(), "c2VjcmV0") {
			t.Errorf("the error quotes the key: %v", told)
		}
	}
}

// registered makes an account for a key, and returns its URI.
func registered(t *testing.T, a *authority, key crypto.Signer) string {
	t.Helper()
	r := a.request(t, "shop.test")
	uri, err := acme.Register(t.Context(), r, key)
	must(t, err)
	return uri
}
