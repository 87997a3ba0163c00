package disk

import (
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	intern "unique"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

// KeyCache remembers what need not be read or parsed at each read: which key files
// matched which leaf, the intermediates that many chains share, renewal configurations
// and the versions in an archive. Files are told apart by inode, size, mode and times, and
// certificates by their bytes; nothing of a key is kept. Its zero value is ready, a nil one
// remembers nothing, and it may be used by several goroutines.
type KeyCache struct {
	mu       sync.Mutex
	matches  map[string]keyMatch            // by path
	issuers  map[string]issuer              // by DER
	chains   map[string][]*x509.Certificate // of issuers, by the PEM that holds them
	confs    map[string]confRead            // by path
	archived map[string]archived            // by path
}

type keyMatch struct {
	stat fileID
	leaf certmedic.Fingerprint
}

// issuer is a certificate that stood behind another one, with its facts.
type issuer struct {
	cert  *x509.Certificate
	facts certmedic.CertFacts
}

type confRead struct {
	stat fileID
	conf *RenewalConf // read by many, changed by nobody
}

type archived struct {
	stat fileID
	leaf oldLeaf
}

// oldLeaf is what matters of the leaf of a version in an archive; zero where there is none.
type oldLeaf struct {
	version             certmedic.Fingerprint
	notBefore, notAfter int64  // unix seconds
	names               string // DNS names and IP addresses, with commas between them
}

// joined returns names as one string that versions with the same names share: ten thousand
// lineages have many.
func joined(names []string) string { return intern.Make(strings.Join(names, ",")).Value() }

// fileID tells one state of a file from another.
type fileID struct {
	dev, ino    uint64
	size        int64
	mode        uint32
	mtime, ctim int64 // unix nanoseconds
}

// The bounds of the cache; a part of it is emptied when it is full.
const (
	maxCachedFiles   = 1 << 16
	maxCachedIssuers = 1024
)

// settledAfter is the age from which a file's times can be relied on: two writes
// within one tick of the kernel's clock leave the same times.
const settledAfter = time.Second

func (id fileID) settled(now time.Time) bool {
	return now.Sub(time.Unix(0, max(id.mtime, id.ctim))) > settledAfter
}

// put adds to a part of the cache, which is emptied when it is full.
func put[V any](part *map[string]V, key string, value V, limit int) {
	if *part == nil || len(*part) >= limit {
		*part = map[string]V{}
	}
	(*part)[key] = value
}

// knowsKey reports whether a key file matched some leaf in some state.
func (c *KeyCache) knowsKey(path string) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.matches[path]
	return ok
}

func (c *KeyCache) matched(path string, want keyMatch) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.matches[path] == want
}

func (c *KeyCache) rememberMatch(path string, match keyMatch) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	put(&c.matches, path, match, maxCachedFiles)
}

// parseIssuer parses a certificate that stands behind another one, once for all chains
// that it is in.
func (c *KeyCache) parseIssuer(der []byte) (*x509.Certificate, error) {
	if known, ok := c.issuer(der); ok {
		return known.cert, nil
	}
	cert, err := parseCertificate(der)
	if c == nil || err != nil {
		return cert, err
	}
	known := issuer{cert, inspect.Facts(cert)}
	c.mu.Lock()
	defer c.mu.Unlock()
	put(&c.issuers, string(der), known, maxCachedIssuers)
	return cert, nil
}

// chain returns the issuers in a PEM file that was remembered, nil for any other.
func (c *KeyCache) chain(data []byte) []*x509.Certificate {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chains[string(data)]
}

func (c *KeyCache) rememberChain(data []byte, certs []*x509.Certificate) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	put(&c.chains, string(data), slices.Clip(certs), maxCachedIssuers)
}

func (c *KeyCache) issuer(der []byte) (issuer, bool) {
	if c == nil {
		return issuer{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.issuers[string(der)]
	return known, ok
}

// facts returns a certificate's facts, those of a known issuer without looking again.
func (c *KeyCache) facts(cert *x509.Certificate) certmedic.CertFacts {
	if known, ok := c.issuer(cert.Raw); ok {
		return known.facts
	}
	return inspect.Facts(cert)
}

// readConf reads a renewal configuration, unless it is as it was when it was read before.
// The same value is returned to all; it must not be changed. It lacks Top and Params, which
// are most of what ten thousand of them would hold in memory.
func (c *KeyCache) readConf(path string, now time.Time) (*RenewalConf, error) {
	if c == nil {
		return ReadRenewalConf(path)
	}
	c.mu.Lock()
	known, ok := c.confs[path]
	c.mu.Unlock()
	if ok {
		if id, err := identify(path); err == nil && id == known.stat {
			return known.conf, nil
		}
	}
	conf, id, err := readRenewalConf(path)
	if conf != nil {
		conf.Top, conf.Params = nil, nil
	}
	if err == nil && id.settled(now) {
		c.mu.Lock()
		put(&c.confs, path, confRead{id, conf}, maxCachedFiles)
		c.mu.Unlock()
	}
	return conf, err
}

// leafOf returns the first certificate in a file of an archive. What is wrong with an old
// file is of no interest.
func (c *KeyCache) leafOf(path string, now time.Time) oldLeaf {
	if c != nil {
		c.mu.Lock()
		known, ok := c.archived[path]
		c.mu.Unlock()
		if id, err := identify(path); ok && err == nil && id == known.stat {
			return known.leaf
		}
	}
	data, id, err := readWhole(path, maxPEMSize)
	if err != nil {
		return oldLeaf{}
	}
	leaf := firstLeaf(data)
	if c != nil && id.settled(now) {
		c.mu.Lock()
		put(&c.archived, path, archived{id, leaf}, maxCachedFiles)
		c.mu.Unlock()
	}
	return leaf
}

// identify follows links and returns the identity of what they lead to.
func identify(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fileID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return newFileID(&st), nil
}

// identifyLink returns the identity of the name itself, which may be a link.
func identifyLink(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fileID{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return newFileID(&st), nil
}

func newFileID(st *unix.Stat_t) fileID {
	return fileID{
		dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mode: uint32(st.Mode),
		mtime: st.Mtim.Nano(), ctim: st.Ctim.Nano(),
	}
}
