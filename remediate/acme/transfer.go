package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/certmedic/certmedic/internal/atomicfile"
)

// Transfer is an order with what another host needs to go on with it, but for the account's key,
// see [AccountKey]. It holds a private key.
type Transfer struct {
	Directory  string    `json:"directory"`
	Email      string    `json:"email,omitempty"`
	Names      []string  `json:"names"` // sorted
	KeyType    string    `json:"key_type,omitempty"`
	MustStaple bool      `json:"must_staple,omitempty"`
	Profile    string    `json:"profile,omitempty"`
	URL        string    `json:"url"` // of the order; empty while it may be placed, and when it was given up
	PlacedAt   time.Time `json:"placed_at,omitzero"`
	Replaced   bool      `json:"replaced,omitempty"`
	Finalizing bool      `json:"finalizing,omitempty"` // the CA may know the key, or have issued the certificate
	GivenUp    bool      `json:"given_up,omitempty"`   // nothing can come of it any more
	Key        []byte    `json:"key,omitempty"`        // PEM
}

// Same reports whether two stand for the same order at the same point.
func (t Transfer) Same(o Transfer) bool {
	return t.URL == o.URL && t.Finalizing == o.Finalizing && t.GivenUp == o.GivenUp && bytes.Equal(t.Key, o.Key)
}

// about returns what tells for what an order is, without an order.
func (r Request) about() Transfer {
	i := r.identity()
	return Transfer{Directory: i.Directory, Email: r.Account.Email, Names: i.Names, KeyType: i.KeyType, MustStaple: i.MustStaple, Profile: i.Profile}
}

// fits reports whether an order is one that the request would place.
func (t Transfer) fits(r Request) bool {
	want := r.about()
	return t.Directory == want.Directory && t.Email == want.Email && slices.Equal(t.Names, want.Names) && t.KeyType == want.KeyType &&
		t.MustStaple == want.MustStaple && t.Profile == want.Profile
}

// Export reads the order that the request's work folder holds, also while [Obtain] is at work on
// it. ok is false where there is none: none was begun yet, or its certificate is installed.
func Export(r Request) (t Transfer, ok bool, err error) {
	if r, err = r.normal(); err != nil {
		return Transfer{}, false, err
	}
	name, err := r.identity().folder()
	if err != nil {
		return Transfer{}, false, err
	}
	f := &folder{dir: filepath.Join(r.Work, name)}
	data, err := os.ReadFile(f.path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Transfer{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &f.state)
	}
	if err != nil {
		return Transfer{}, false, fmt.Errorf("reading the order: %w", err)
	}
	t = r.about()
	t.URL, t.PlacedAt, t.Replaced = f.URL, f.PlacedAt, f.Replaced
	t.Finalizing, t.GivenUp = f.Phase == phaseFinalizing || f.Phase == phaseIssued, f.Phase == phaseNone
	if t.URL == "" {
		return t, true, nil
	}
	if t.Key, err = os.ReadFile(f.path(keyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Transfer{}, false, fmt.Errorf("reading the order's key: %w", err)
	}
	return t, true, nil
}

// Adopt puts an order that another host placed into the request's work folder, so that [Obtain]
// goes on with it. One of this host's own that may have led to a certificate stays. The error says
// that the order is for something else, or that another process works in the folder.
func Adopt(r Request, t Transfer) (err error) {
	if r, err = r.normal(); err != nil {
		return err
	}
	if t.URL == "" || !t.fits(r) {
		return &Error{Kind: KindInvalid, Doing: "taking an order over", Detail: "it is for something else than what would be ordered here"}
	}
	f, err := openFolder(r, func(string) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if f.URL == t.URL || f.Phase == phaseFinalizing || f.Phase == phaseIssued {
		return nil
	}
	if len(t.Key) > 0 {
		if err := checkPEMKey(t.Key); err != nil {
			return err
		}
		if err := f.write(keyFile, t.Key); err != nil {
			return err
		}
	}
	f.Phase, f.URL, f.PlacedAt, f.Replaced = phasePlaced, t.URL, t.PlacedAt, t.Replaced
	if t.Finalizing {
		f.Phase = phaseFinalizing
	}
	return f.save()
}

func checkPEMKey(data []byte) error {
	if block, _ := pem.Decode(data); block == nil {
		return errors.New("taking a key over: it is not in PEM")
	}
	return nil
}

// permitFile has the answer that [Request.Shared] waits for.
const permitFile = "permit.json"

// permit says whether an order may be finalized.
type permit struct {
	URL     string `json:"url"`
	Refused string `json:"refused,omitempty"` // why not; empty: it may
}

// Permit lets the order with a URL be finalized that a request with [Request.Shared] waits with,
// or says why it must not be. Without a URL it withdraws what was said before.
func Permit(r Request, url, refused string) error {
	r, err := r.normal()
	if err != nil {
		return err
	}
	name, err := r.identity().folder()
	if err != nil {
		return err
	}
	path := filepath.Join(r.Work, name, permitFile)
	data, err := json.Marshal(permit{url, refused})
	switch {
	case err != nil:
	case url != "":
		err = atomicfile.Write(path, data, 0o600, -1, -1)
	default:
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a folder that is gone waits for nothing
		return fmt.Errorf("permitting an order: %w", err)
	}
	return nil
}

// The patience with who permits.
const (
	permitTimeout = 2 * time.Minute
	permitEvery   = 50 * time.Millisecond
)

// permitted waits until others know of the order, where that is wanted.
func (j *job) permitted(ctx context.Context, url string) error {
	const doing = "waiting until other members know of the order"
	if !j.r.Shared {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, permitTimeout)
	defer cancel()
	for {
		var p permit
		data, err := os.ReadFile(j.f.path(permitFile))
		if err == nil {
			err = json.Unmarshal(data, &p)
		}
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: %w", doing, err)
		case p.URL == url && p.Refused != "":
			return &Error{Kind: KindElsewhere, Doing: doing, Detail: p.Refused}
		case p.URL == url:
			return nil
		}
		if sleep(ctx, permitEvery) != nil {
			return &Error{Kind: KindElsewhere, Doing: doing, Detail: "nobody said that they do within " + permitTimeout.String() + "; the order stays"}
		}
	}
}

// accountDir returns the folder of the request's account.
func (r Request) accountDir() string { return filepath.Join(r.Account.Dir, r.AccountID()) }

// AccountID names the account of a request that is certmedic's own: the same for each directory and
// email, on all hosts.
func (r Request) AccountID() string { return digest([]byte(r.Directory + "\n" + r.Account.Email)) }

// AccountKey returns the private key of the request's account, in PEM, and makes it where there
// is none yet.
func AccountKey(ctx context.Context, r Request) (key []byte, err error) {
	err = withAccount(ctx, r, func(path string) error {
		if _, err := readKey(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		key, err := newKey("ec256")
		if err != nil {
			return err
		}
		return writeKey(path, key)
	})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(r.accountDir(), accountKeyFile))
}

// AdoptAccount makes a key the one of the request's account, in place of one that this host made for
// itself, which stays beside it as replaced.pem. The CA tells which account the key has.
func AdoptAccount(ctx context.Context, r Request, key []byte) error {
	if err := checkPEMKey(key); err != nil {
		return err
	}
	return withAccount(ctx, r, func(path string) error {
		present, err := os.ReadFile(path)
		switch {
		case err == nil && bytes.Equal(present, key):
			return nil
		case err == nil:
			err = atomicfile.Write(filepath.Join(filepath.Dir(path), "replaced.pem"), present, 0o600, -1, -1)
		case errors.Is(err, fs.ErrNotExist):
			err = nil
		}
		if err != nil {
			return fmt.Errorf("taking an account over: %w", err)
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), accountStateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("taking an account over: %w", err)
		}
		return atomicfile.Write(path, key, 0o600, -1, -1)
	})
}

// withAccount calls a function with the path of the account's key while nobody else uses it.
func withAccount(ctx context.Context, r Request, do func(path string) error) (err error) {
	if r.Account.Import != "" {
		return invalid("the account %q is another client's", r.Account.Import)
	}
	dir := r.accountDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the account's folder: %w", err)
	}
	lock, err := waitFolder(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return do(filepath.Join(dir, accountKeyFile))
}
