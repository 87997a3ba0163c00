package acme

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/internal/ownership"
)

// binding is an external account binding (RFC 8555, section 7.3.4).
type binding struct{ id, hmac string }

// The files of an account.
const (
	accountKeyFile   = "key.pem"
	accountStateFile = "account.json"
)

// accountState is what is remembered of an account, beside its key.
type accountState struct {
	Directory string `json:"directory"`
	Email     string `json:"email,omitempty"`
	URI       string `json:"uri"`
}

// signIn returns a client that speaks for the request's account, which is good, and the URL of
// the account's list of orders, where the CA keeps one.
func (j *job) signIn(ctx context.Context) (c *client, orders string, err error) {
	if j.r.Account.Import != "" {
		return j.imported(ctx)
	}
	dir := j.r.accountDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("making the account's folder: %w", err)
	}
	lock, err := waitFolder(ctx, dir)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return j.own(ctx, dir)
}

// own signs in with an account of certmedic's own, and registers it where it is new, or where
// the CA does not know it any more.
func (j *job) own(ctx context.Context, dir string) (*client, string, error) {
	key, uri, err := j.readAccount(dir)
	if err != nil {
		return nil, "", err
	}
	c, err := dial(ctx, j.r, key, uri, j.step)
	if err != nil {
		return nil, "", err
	}
	if uri != "" {
		orders, err := c.account(uri)
		var e *Error
		if !errors.As(err, &e) || e.Type != problems+"accountDoesNotExist" {
			return c, orders, err
		}
		if c, err = dial(ctx, j.r, key, "", j.step); err != nil { // a key that has an account signs otherwise
			return nil, "", err
		}
	}
	uri, err = j.register(c)
	if err != nil {
		return nil, "", err
	}
	data, err := json.Marshal(accountState{Directory: j.r.Directory, Email: j.r.Account.Email, URI: uri})
	if err != nil {
		return nil, "", fmt.Errorf("keeping the account: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, accountStateFile), data, 0o600, -1, -1); err != nil {
		return nil, "", err
	}
	orders, err := c.account(uri)
	return c, orders, err
}

func (j *job) register(c *client) (string, error) {
	eab, err := j.binding()
	if err != nil {
		return "", err
	}
	if c.meta().ExternalAccountRequired && eab.id == "" {
		return "", &Error{Kind: KindEAB, Doing: "registering an account", Detail: "the CA wants an external account binding, and none is configured"}
	}
	uri, err := c.register(j.r.Account.Email, eab)
	if err == nil {
		j.say("account registered: %s", uri)
	}
	return uri, err
}

func (j *job) binding() (binding, error) {
	a := j.r.Account
	if a.EABKeyID == "" {
		return binding{}, nil
	}
	if err := ownership.CheckSecret(a.EABKeyFile); err != nil {
		return binding{}, invalid("the key of the external account binding: %v", err)
	}
	data, err := os.ReadFile(a.EABKeyFile)
	if err != nil {
		return binding{}, invalid("the key of the external account binding: %v", err)
	}
	return binding{id: a.EABKeyID, hmac: strings.TrimSpace(string(data))}, nil
}

// readAccount returns the key of an account and its URI. The key is on disk before the CA can
// know it; there is no URI while the CA may not.
func (j *job) readAccount(dir string) (crypto.Signer, string, error) {
	path := filepath.Join(dir, accountKeyFile)
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = newKey("ec256"); err == nil {
			err = writeKey(path, key)
		}
		return key, "", err
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the account: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(dir, accountStateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return key, "", nil
	}
	var kept accountState
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the account in %q: %w", dir, err)
	}
	return key, kept.URI, nil
}

// imported signs in with an account of certbot's, as it is. Nothing of it is changed.
func (j *job) imported(ctx context.Context) (*client, string, error) {
	key, uri, err := readCertbot(j.r.Account.Import)
	if err != nil {
		return nil, "", &Error{Kind: KindAccount, Doing: "reading certbot's account", Detail: err.Error(), err: err}
	}
	c, err := dial(ctx, j.r, key, uri, j.step)
	if err != nil {
		return nil, "", err
	}
	if here := c.core.GetDirectory().NewAccountURL; host(here) != host(uri) {
		detail := fmt.Sprintf("%q is an account at %q; this CA is at %q", j.r.Account.Import, host(uri), host(here))
		return nil, "", &Error{Kind: KindAccount, Doing: "reading certbot's account", Detail: detail}
	}
	orders, err := c.account(uri)
	return c, orders, err
}

// readCertbot reads the folder of an account as certbot keeps it, accounts/SERVER/DIRECTORY/ID.
func readCertbot(dir string) (crypto.Signer, string, error) {
	path := filepath.Join(dir, "private_key.json")
	if err := ownership.CheckSecret(path); err != nil {
		return nil, "", err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(data); err != nil {
		return nil, "", fmt.Errorf("%q holds no JSON web key", path) // the parser's words could quote it
	}
	key, ok := jwk.Key.(crypto.Signer)
	if !ok {
		return nil, "", fmt.Errorf("%q holds no private key of RSA or ECDSA", path)
	}
	data, err = os.ReadFile(filepath.Join(dir, "regr.json"))
	if err != nil {
		return nil, "", err
	}
	var registration struct {
		URI string `json:"uri"`
	}
	if err := json.Unmarshal(data, &registration); err != nil || registration.URI == "" {
		return nil, "", fmt.Errorf("%q does not tell the account's URL", filepath.Join(dir, "regr.json"))
	}
	return key, registration.URI, nil
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
