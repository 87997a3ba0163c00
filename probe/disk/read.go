package disk

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

// Content is what one read of a source found: the facts, and the certificates
// themselves for whoever verifies them.
type Content struct {
	Stored     certmedic.Stored
	Certs      []*x509.Certificate // leaf first, as Stored.Chain
	KeyMatches bool                // a private key is kept beside the leaf and belongs to it
	Purpose    inspect.Purpose     // what the leaf has to be good for, as far as where it is kept tells
	Which      string              // of several certificates in a file the one that this is: it ends first; empty: there is one

	// torn says that the parts do not fit together, as while a writer is at work.
	torn bool
}

// Reader reads sources. Its zero value is ready.
type Reader struct {
	Keys *KeyCache // remembers what was read before; nil reads and parses everything each time

	// Passphrases open key stores and encrypted keys. They are tried in order, behind the
	// one that a source names itself; the empty one and "changeit" are tried last, for key
	// stores only.
	Passphrases [][]byte

	// EndsFirst has the certificate that ends first stand for all in a key store with several
	// private keys. Otherwise such a store cannot be a source, because which of them is meant
	// cannot be told.
	EndsFirst bool

	named bool // by a kubeconfig, and so no kubeconfig itself
}

// Read reads a source once, as it is at this moment. It never fails: what is wrong is
// among the findings. See [Reader.Read].
func Read(src certmedic.Source, now time.Time) certmedic.Stored {
	return Reader{}.Read(src, now).Stored
}

// Settle reads a source, again and again for up to two seconds while it is torn. See
// [Reader.Settle].
func Settle(ctx context.Context, src certmedic.Source, now func() time.Time) certmedic.Stored {
	return Reader{}.Settle(ctx, src, now).Stored
}

// Read reads a source once. The findings are those of the files alone: dates, names
// and trust are for package inspect to judge. A lineage's locks are asked too, see
// [AskLock]. Nothing is stored for a source of kind none.
func (r Reader) Read(src certmedic.Source, now time.Time) Content {
	b := r.builder(now)
	switch src.Kind {
	case certmedic.SourceCertbot:
		b.readLineage(src)
	case certmedic.SourceFiles:
		b.readFiles(src)
		b.stored.Directory = src.Directory
	case certmedic.SourceACME, certmedic.SourceShared:
		b.readIssued(src)
	}
	return b.content()
}

func (r Reader) builder(now time.Time) *builder {
	b := &builder{reader: r, now: now, passphrases: r.Passphrases}
	b.stored.Time = now
	b.stored.Lock.State = certmedic.LockFree
	return b
}

// The pace of [Reader.Settle].
const (
	settleFor   = 2 * time.Second
	settleEvery = 100 * time.Millisecond
)

// Settle reads a source every 100 ms for up to two seconds while its parts do not fit
// together: a key of another version than the leaf, half of a file, a lineage whose
// links are being moved. It returns the first whole state, or the last torn one.
func (r Reader) Settle(ctx context.Context, src certmedic.Source, now func() time.Time) Content {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		content := r.Read(src, now())
		if !content.torn {
			return content
		}
		select {
		case <-ctx.Done():
			return content
		case <-tick.C:
		}
	}
}

// builder gathers what one read finds.
type builder struct {
	reader      Reader
	now         time.Time
	passphrases [][]byte
	stored      certmedic.Stored
	certs       []*x509.Certificate
	leaf        certmedic.CertFacts // see leafFacts
	keyMatches  bool
	purpose     inspect.Purpose
	which       string
	torn        bool
}

// leafFacts returns the facts of the first certificate, which must be there.
func (b *builder) leafFacts() certmedic.CertFacts {
	if b.leaf.SHA256 == "" {
		b.leaf = b.reader.Keys.facts(b.certs[0])
	}
	return b.leaf
}

func (b *builder) content() Content {
	for i, cert := range b.certs {
		if i == 0 {
			b.stored.Chain = append(make([]certmedic.CertFacts, 0, len(b.certs)), b.leafFacts())
			continue
		}
		b.stored.Chain = append(b.stored.Chain, b.reader.Keys.facts(cert))
	}
	if leaf, ok := b.stored.Leaf(); ok {
		b.know(leaf.SHA256)
		b.stored.Names = namesOf(b.certs[0])
		if b.stored.Version == "" {
			b.stored.Version = leaf.SHA256.Short()
		}
	}
	return Content{Stored: b.stored, Certs: b.certs, KeyMatches: b.keyMatches, Purpose: b.purpose, Which: b.which, torn: b.torn}
}

func (b *builder) find(code certmedic.FindingCode, format string, args ...any) {
	b.stored.Findings = append(b.stored.Findings, certmedic.NewFinding(code, fmt.Sprintf(format, args...)))
}

func (b *builder) know(version certmedic.Fingerprint) {
	if version != "" && !slices.Contains(b.stored.Known, version) {
		b.stored.Known = append(b.stored.Known, version)
	}
}

// keep notes a file of the version; what could not be opened, or is none, has no mode to tell.
func (b *builder) keep(path string, id fileID) {
	file := certmedic.KeptFile{Path: path, Mode: id.mode & 0o777}
	if id.mode&unix.S_IFMT == unix.S_IFREG && !slices.Contains(b.stored.Kept, file) {
		b.stored.Kept = append(b.stored.Kept, file)
	}
}

// readCerts reads the certificates of a file and records what is wrong with it.
func (b *builder) readCerts(path string) []*x509.Certificate {
	data, id, err := readWhole(path, maxPEMSize)
	if err != nil {
		b.readFailed(path, err)
		return nil
	}
	b.keepNamed(path, id)
	return b.takeCerts(path, data)
}

// takeCerts parses the certificates of a file and records what is wrong with it.
func (b *builder) takeCerts(path string, data []byte) []*x509.Certificate {
	certs, errs := b.parseCertificates(data)
	for _, err := range errs {
		b.torn = true
		b.find(certmedic.NotACertificate, "%s: %v", path, err)
	}
	return certs
}

func (b *builder) readFailed(path string, err error) {
	code := certmedic.FileUnreadable
	if errors.Is(err, fs.ErrNotExist) {
		code = certmedic.FileMissing
		b.torn = true
	}
	b.find(code, "%s: %v", linked(path), reason(err))
}

// keyFile is a private key's file. Its bytes are nil where a key in it matched a leaf
// before: as long as it and that leaf stay as they were, it is not read again.
type keyFile struct {
	path string
	data []byte
	id   fileID
	err  error // why it could not be read
}

// checkKey sees whether the key in a file belongs to the leaf, and who may read it.
func (b *builder) checkKey(path string) {
	f := b.openKey(path)
	b.keepNamed(path, f.id)
	b.takeKey(f)
}

// openKey reads a key's file, or only looks in which state it is.
func (b *builder) openKey(path string) keyFile {
	f := keyFile{path: path}
	if b.reader.Keys.knowsKey(path) {
		f.id, f.err = identify(path)
	} else {
		f.data, f.id, f.err = readWhole(path, maxPEMSize)
	}
	return f
}

// takeKey judges a key's file, and forgets the key.
func (b *builder) takeKey(f keyFile) {
	defer func() { clear(f.data) }()
	known := false
	if f.err == nil && f.data == nil && len(b.certs) > 0 {
		known = b.reader.Keys.matched(f.path, keyMatch{f.id, b.leafFacts().SHA256})
		if !known {
			f.data, f.id, f.err = readWhole(f.path, maxPEMSize)
		}
	}
	if f.err != nil {
		b.readFailed(f.path, f.err)
		return
	}
	b.checkKeyMode(f.path, f.id)
	switch {
	case known:
		b.keyMatches = true
	case len(b.certs) > 0:
		b.matchKey(f)
	}
}

// matchKey compares the key in a file with the leaf, and remembers one that matches.
func (b *builder) matchKey(f keyFile) {
	public, err := parseKey(f.data, b.passphrases)
	b.compareKey(f.path, public, err)
	if b.keyMatches && f.id.settled(b.now) {
		b.reader.Keys.rememberMatch(f.path, keyMatch{f.id, b.leafFacts().SHA256})
	}
}

// reason returns what went wrong without the operation and the path, which the caller
// has named already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// namesOf lists a certificate's names in certbot's order: the common name, if it is
// among the alternative names or there are none, then the DNS names and the addresses.
func namesOf(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	name := cert.Subject.CommonName
	if name == "" || (len(names) > 0 && !slices.Contains(names, name)) {
		return names
	}
	others := slices.DeleteFunc(names, func(n string) bool { return n == name })
	return append([]string{name}, others...)
}

// sameCerts reports whether two lists hold the same certificates in the same order.
func sameCerts(a, b []*x509.Certificate) bool {
	return slices.EqualFunc(a, b, func(x, y *x509.Certificate) bool { return bytes.Equal(x.Raw, y.Raw) })
}
