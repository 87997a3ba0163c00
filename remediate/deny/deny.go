// Package deny holds the list of keys that must never be installed again, because somebody
// else may have them. The app opens it; the guard and the rules ask it, people add to it.
//
// It is permanent: nothing takes a key off the list, and a key that is denied is on disk when
// [List.Deny] returns. The list holds hashes of public keys only, never a key.
package deny

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
)

// Entry is a denied key: which, since when, by whom and why.
type Entry struct {
	SPKI        certmedic.Fingerprint `json:"spki_sha256"`
	At          time.Time             `json:"at"`
	By          string                `json:"by"`
	Why         string                `json:"why,omitempty"`
	Certificate string                `json:"certificate,omitempty"` // whose key it was, where a certificate was named
}

// List is the deny list. It is safe for concurrent use; one process at a time may change it.
type List struct {
	path string

	writing sync.Mutex // held while the file is replaced
	mu      sync.RWMutex
	entries map[certmedic.Fingerprint]Entry
	closed  error // why it cannot be read; then every key is denied
}

// Closed returns a list that denies every key and takes none, because the list in its place
// cannot be read: what is on that is not known.
func Closed(why error) *List { return &List{closed: why} }

// Open reads the list in the file at path; without a file it is empty. A file that cannot be
// read or holds anything else is an error: a list that lost an entry would let a key back in.
func Open(path string) (*List, error) {
	l := &List{path: path, entries: map[certmedic.Fingerprint]Entry{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the list of denied keys: %w", err)
	}
	var entries []Entry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("reading the list of denied keys %q: %w", path, err)
	}
	for _, e := range entries {
		spki, ok := Parse(string(e.SPKI))
		if !ok {
			return nil, fmt.Errorf("reading the list of denied keys %q: %q is no SHA-256 of a key", path, e.SPKI)
		}
		e.SPKI = spki // however a person wrote it
		l.entries[spki] = e
	}
	return l, nil
}

// Deny puts a key on the list, for ever, and returns its entry. A key that is on it keeps its
// first entry; known says so. After an error the list is as it was.
func (l *List) Deny(e Entry) (entry Entry, known bool, err error) {
	spki, ok := Parse(string(e.SPKI))
	if !ok {
		return Entry{}, false, fmt.Errorf("denying a key: %q is no SHA-256 of a key", e.SPKI)
	}
	if l.closed != nil {
		return Entry{}, false, fmt.Errorf("denying key %q: %w", spki, l.closed)
	}
	e.SPKI = spki
	l.writing.Lock()
	defer l.writing.Unlock()
	if earlier, ok := l.entry(spki); ok {
		return earlier, true, nil
	}
	data, err := json.MarshalIndent(append(l.Entries(), e), "", "  ")
	if err != nil {
		return Entry{}, false, fmt.Errorf("denying key %q: %w", spki, err)
	}
	if err := atomicfile.Write(l.path, append(data, '\n'), 0o600, -1, -1); err != nil {
		return Entry{}, false, fmt.Errorf("denying key %q: %w", spki, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[spki] = e
	return e, false, nil
}

// Denied reports whether the key with this SHA-256 of its SubjectPublicKeyInfo is on the list.
func (l *List) Denied(spki certmedic.Fingerprint) bool {
	_, ok := l.entry(spki)
	return ok || l.closed != nil
}

// Entries returns every denied key, in the order in which they were denied.
func (l *List) Entries() []Entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.SortedFunc(maps.Values(l.entries), func(a, b Entry) int {
		if byTime := a.At.Compare(b.At); byTime != 0 {
			return byTime
		}
		return strings.Compare(string(a.SPKI), string(b.SPKI))
	})
}

func (l *List) entry(spki certmedic.Fingerprint) (Entry, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	e, ok := l.entries[spki]
	return e, ok
}

// Parse reads the SHA-256 of a SubjectPublicKeyInfo: 64 hexadecimal digits, or the form of
// pins, "sha256/" and base64.
func Parse(text string) (spki certmedic.Fingerprint, ok bool) {
	sum, err := hex.DecodeString(text)
	if pin, is := strings.CutPrefix(text, "sha256/"); is {
		sum, err = base64.StdEncoding.DecodeString(pin)
	}
	if err != nil || len(sum) != 32 {
		return "", false
	}
	return certmedic.Fingerprint(hex.EncodeToString(sum)), true
}
