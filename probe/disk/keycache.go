package disk

import (
	"crypto/x509"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

// KeyCache remembers which key files matched which leaf, so that an unchanged key is
// not parsed at each read. It remembers the file's inode, size and time of change and
// the leaf's fingerprint, nothing of the key. Its zero value is ready, a nil one
// remembers nothing, and it may be used by several goroutines.
type KeyCache struct {
	mu      sync.Mutex
	matches map[string]keyMatch // by path
}

type keyMatch struct {
	stat fileID
	leaf certmedic.Fingerprint
}

// fileID tells one state of a file from another.
type fileID struct {
	dev, ino    uint64
	size        int64
	mode        uint32
	mtime, ctim int64 // unix nanoseconds
}

// maxKeyMatches bounds the cache; it is emptied when it is full.
const maxKeyMatches = 4096

// settledAfter is the age from which a file's times can be relied on: two writes
// within one tick of the kernel's clock leave the same times.
const settledAfter = time.Second

// match reports whether the key in a file belongs to the leaf. The error says why
// the file could not be read or parsed.
func (c *KeyCache) match(path string, leaf *x509.Certificate, now time.Time) (bool, error) {
	id, err := identify(path)
	if err != nil {
		return false, err
	}
	want := keyMatch{stat: id, leaf: inspect.Facts(leaf).SHA256}
	if c.remembers(path, want) {
		return true, nil
	}
	data, err := readFile(path, maxPEMSize)
	if err != nil {
		return false, err
	}
	public, err := parseKey(data)
	clear(data)
	if err != nil {
		return false, keyError{err}
	}
	matched := samePublicKey(public, leaf.PublicKey)
	if matched && now.Sub(time.Unix(0, id.mtime)) > settledAfter {
		c.remember(path, want)
	}
	return matched, nil
}

// keyError is an error about what a key file holds, not about reading it.
type keyError struct{ error }

func (e keyError) Unwrap() error { return e.error }

func (c *KeyCache) remembers(path string, want keyMatch) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.matches[path] == want
}

func (c *KeyCache) remember(path string, match keyMatch) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.matches == nil || len(c.matches) >= maxKeyMatches {
		c.matches = map[string]keyMatch{}
	}
	c.matches[path] = match
}

// identify follows links and returns the identity of what they lead to.
func identify(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fileID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return newFileID(st), nil
}

// identifyLink returns the identity of the name itself, which may be a link.
func identifyLink(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fileID{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return newFileID(st), nil
}

func newFileID(st unix.Stat_t) fileID {
	return fileID{
		dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mode: uint32(st.Mode),
		mtime: st.Mtim.Nano(), ctim: st.Ctim.Nano(),
	}
}
