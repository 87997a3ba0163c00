package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// maxWork bounds the work of scrypt for a passphrase, as the logarithm of the number of rounds: it
// is age's own default, which takes a second and 256 MiB. A manifest that asks for more is refused.
const maxWork = 18

// Seal says how a publisher stores the private key. Exactly one of its fields is set.
type Seal struct {
	Recipients     []string // of age, "age1..."
	PassphraseFile string   // its first line is the passphrase
	Plaintext      bool     // not at all: whoever reads the store has the key

	work int // of scrypt, for tests; 0: maxWork
}

// sealing is what the manifest tells of it.
func (s Seal) sealing() (Sealing, error) {
	ways := map[Way]bool{WayRecipients: len(s.Recipients) > 0, WayPassphrase: s.PassphraseFile != "", WayPlaintext: s.Plaintext}
	var chosen []Way
	for way, set := range ways {
		if set {
			chosen = append(chosen, way)
		}
	}
	if len(chosen) != 1 {
		return Sealing{}, errors.New("the private key is stored for recipients, by a passphrase or in plaintext: one of them has to be chosen")
	}
	return Sealing{Way: chosen[0], Recipients: s.Recipients}, nil
}

// seal returns the private key as it is stored.
func (s Seal) seal(key []byte) ([]byte, error) {
	if s.Plaintext {
		return key, nil
	}
	recipients, err := s.recipients()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypting the private key: %w", err)
	}
	if _, err := w.Write(key); err != nil {
		return nil, fmt.Errorf("encrypting the private key: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypting the private key: %w", err)
	}
	return out.Bytes(), nil
}

func (s Seal) recipients() ([]age.Recipient, error) {
	if s.PassphraseFile != "" {
		passphrase, err := readPassphrase(s.PassphraseFile)
		if err != nil {
			return nil, err
		}
		recipient, err := age.NewScryptRecipient(passphrase)
		if err != nil {
			return nil, fmt.Errorf("using the passphrase in %q: %w", s.PassphraseFile, err)
		}
		recipient.SetWorkFactor(maxWork)
		if s.work != 0 {
			recipient.SetWorkFactor(s.work)
		}
		return []age.Recipient{recipient}, nil
	}
	var all []age.Recipient
	for i, text := range s.Recipients {
		parsed, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil || len(parsed) != 1 {
			return nil, fmt.Errorf("reading recipient %d: it is none of age's (age1...)", i+1) // not its text, for it may be a secret key
		}
		all = append(all, parsed[0])
	}
	return all, nil
}

// Opener says how a consumer opens the private key. Exactly one of its fields is set. A key that
// is stored in another way is refused, so that a store cannot slip in one of its own.
type Opener struct {
	IdentityFile   string // of age, "AGE-SECRET-KEY-1...", one or several
	PassphraseFile string
	Plaintext      bool
}

// Check reports whether the opener can be used: one way is chosen, and its file holds what it shall.
func (o Opener) Check() error {
	_, _, err := o.identities()
	return err
}

// identities returns the way that the opener is for, and what opens it.
func (o Opener) identities() (Way, []age.Identity, error) {
	switch o {
	case Opener{IdentityFile: o.IdentityFile}:
		ids, err := readIdentities(o.IdentityFile)
		return WayRecipients, ids, err
	case Opener{PassphraseFile: o.PassphraseFile}:
		passphrase, err := readPassphrase(o.PassphraseFile)
		if err != nil {
			return "", nil, err
		}
		id, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return "", nil, fmt.Errorf("using the passphrase in %q: %w", o.PassphraseFile, err)
		}
		id.SetMaxWorkFactor(maxWork)
		return WayPassphrase, []age.Identity{id}, nil
	case Opener{Plaintext: true}:
		return WayPlaintext, nil, nil
	}
	return "", nil, errors.New("the private key is opened by an identity, by a passphrase or is in plaintext: one of them has to be chosen")
}

// open returns the private key in PEM.
func (o Opener) open(stored Sealing, data []byte) ([]byte, error) {
	way, identities, err := o.identities()
	if err != nil {
		return nil, err
	}
	if way != stored.Way {
		return nil, fmt.Errorf("the private key is stored as %q, and %q is expected", stored.Way, way)
	}
	if way == WayPlaintext {
		return data, nil
	}
	r, err := age.Decrypt(bytes.NewReader(data), identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, fmt.Errorf("decrypting the private key: it is not encrypted for this identity or passphrase%s", stored.told())
	}
	if err != nil {
		return nil, fmt.Errorf("decrypting the private key: %w", err)
	}
	key, err := io.ReadAll(io.LimitReader(r, MaxObject))
	if err != nil {
		return nil, fmt.Errorf("decrypting the private key: %w", err)
	}
	return key, nil
}

func (s Sealing) told() string {
	if len(s.Recipients) == 0 {
		return ""
	}
	return fmt.Sprintf(", but for %q", s.Recipients)
}

func readIdentities(path string) ([]age.Identity, error) {
	if path == "" {
		return nil, errors.New("the private key is opened by an identity, by a passphrase or is in plaintext: one of them has to be chosen")
	}
	data, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", err)
	}
	defer clear(data)
	ids, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("reading the identity in %q: it holds none of age's", path)
	}
	return ids, nil
}

func readPassphrase(path string) (string, error) {
	data, err := readSecret(path)
	if err != nil {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	defer clear(data)
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("reading the passphrase: the first line of %q is empty", path)
	}
	return line, nil
}
