package deny_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deny"
)

// A list that cannot be read denies everything; one that a person wrote counts however it is
// written.
func TestWhatCannotBeReadDenies(t *testing.T) {
	closed := deny.Closed(errors.New("it is broken"))
	if _, _, err := closed.Deny(deny.Entry{SPKI: key("a")}); !closed.Denied(key("a")) || err == nil {
		t.Errorf("denied %v, taken with %v", closed.Denied(key("a")), err)
	}
	path := filepath.Join(t.TempDir(), "denied.json")
	written := strings.Repeat("ab", 32)
	if err := os.WriteFile(path, []byte(`[{"spki_sha256": "`+strings.ToUpper(written)+`"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := deny.Open(path)
	if err != nil || !list.Denied(certmedic.Fingerprint(written)) {
		t.Errorf("a key in capitals is not denied: %v", err)
	}
}
