package bundle_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/bundle"
)

// TestBox encrypts what is no version, in each way.
func TestBox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	passphrase := secret(t, "correct horse\n")
	byPassphrase := bundle.Quick(bundle.Seal{PassphraseFile: passphrase})
	for _, row := range []struct {
		about  string
		seal   bundle.Seal
		opener bundle.Opener
	}{
		{"to a recipient", w.seal, w.opener},
		{"by a passphrase", byPassphrase, bundle.Opener{PassphraseFile: passphrase}},
	} {
		sealed, err := row.seal.Encrypt([]byte("an order"))
		must(t, err)
		if bytes.Contains(sealed, []byte("order")) {
			t.Errorf("%s: it is in plain sight", row.about)
		}
		if got, err := row.opener.Decrypt(sealed); err != nil || string(got) != "an order" {
			t.Errorf("%s: got %q, %v", row.about, got, err)
		}
		if _, err := newWorld(t).opener.Decrypt(sealed); err == nil || strings.Contains(err.Error(), "an order") {
			t.Errorf("%s: somebody else opened it: %v", row.about, err)
		}
	}
	if _, err := (bundle.Seal{Plaintext: true}).Encrypt([]byte("x")); err == nil {
		t.Error("it was encrypted in plaintext")
	}
	if _, err := (bundle.Opener{Plaintext: true}).Decrypt([]byte("x")); err == nil {
		t.Error("it was decrypted in plaintext")
	}
}
