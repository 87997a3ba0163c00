package deny_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deny"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// key returns a fingerprint of 64 equal digits.
func key(digit string) certmedic.Fingerprint {
	return certmedic.Fingerprint(strings.Repeat(digit, 64))
}

func open(t *testing.T, path string) *deny.List {
	t.Helper()
	l, err := deny.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestADeniedKeyStaysDenied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "denied-keys.json")
	l := open(t, path)
	if l.Denied(key("a")) || len(l.Entries()) != 0 {
		t.Error("a new list is not empty")
	}
	first, known, err := l.Deny(deny.Entry{SPKI: key("a"), At: at, By: "ann", Why: "laptop lost", Certificate: "shop"})
	if err != nil || known || first.By != "ann" {
		t.Fatalf("%+v %v %v", first, known, err)
	}
	again, known, err := l.Deny(deny.Entry{SPKI: certmedic.Fingerprint(strings.ToUpper(string(key("a")))), At: at.Add(time.Hour), By: "bob"})
	if err != nil || !known || again != first {
		t.Errorf("the second time: %+v %v %v", again, known, err)
	}
	if _, _, err := l.Deny(deny.Entry{SPKI: key("b"), At: at.Add(-time.Hour), By: "bob"}); err != nil {
		t.Fatal(err)
	}
	later := open(t, path)
	entries := later.Entries()
	if len(entries) != 2 || entries[0].SPKI != key("b") || entries[1] != first {
		t.Errorf("after a restart: %+v", entries)
	}
	if !later.Denied(key("a")) || later.Denied(key("c")) {
		t.Error("after a restart it denies others")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is open to others: %v %v", info, err)
	}
}

func TestAListThatCannotBeReadIsAnError(t *testing.T) {
	for about, text := range map[string]string{
		"no JSON at all":         "{",
		"a cut off file":         `[{"spki_sha256": "` + string(key("a")),
		"an entry without a key": `[{"by": "ann"}]`,
		"a key that is none":     `[{"spki_sha256": "abc"}]`,
	} {
		path := filepath.Join(t.TempDir(), "denied-keys.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := deny.Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", about, err)
		}
	}
}

func TestWhatCannotBeKeptIsNotDenied(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "gone", "denied-keys.json"))
	if _, _, err := l.Deny(deny.Entry{SPKI: key("a")}); err == nil {
		t.Error("no error without a folder to write to")
	}
	if _, _, err := l.Deny(deny.Entry{SPKI: "shop"}); err == nil || !strings.Contains(err.Error(), `"shop"`) {
		t.Errorf("a key that is none: %v", err)
	}
	if len(l.Entries()) != 0 {
		t.Errorf("%+v", l.Entries())
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]certmedic.Fingerprint{
		string(key("a")):        key("a"),
		strings.Repeat("A", 64): key("a"),
		"sha256/qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=": key("a"),
		"sha256/qqqq":           "",
		"":                      "",
		"shop":                  "",
		strings.Repeat("a", 62): "",
		strings.Repeat("x", 64): "",
	} {
		if got, ok := deny.Parse(text); got != want || ok != (want != "") {
			t.Errorf("%q is %q %v, want %q", text, got, ok, want)
		}
	}
}
