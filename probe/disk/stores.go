package disk

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/probe/disk/keystore"
	"github.com/certmedic/certmedic/probe/inspect"
)

// maxPassphrase bounds a passphrase file, in bytes.
const maxPassphrase = 4096

// readPassphrase puts the passphrase of a file before those of the reader. A file that
// others may read or change is refused, as every secret is.
func (b *builder) readPassphrase(path string) {
	err := ownership.CheckSecret(path)
	var open *ownership.Error
	if errors.As(err, &open) {
		b.find(certmedic.FilePermissions, "%s: the passphrase is not used: %v", path, open)
		return
	}
	data, err := readFile(path, maxPassphrase)
	if err != nil {
		b.readFailed(path, err)
		return
	}
	text, _, _ := bytes.Cut(data, []byte("\n"))
	b.passphrases = append([][]byte{bytes.TrimSuffix(text, []byte("\r"))}, b.passphrases...)
}

// readStore reads the certificate of a key store that a source can mean: that of its private
// key, or where there is no key the one that ends first.
func (b *builder) readStore(path string, data []byte, id fileID) {
	entries, err := keystore.Read(data, b.passphrases)
	b.storeFailed(path, err)
	var keys, certs []keystore.Entry
	for _, e := range entries {
		if e.HasKey {
			keys = append(keys, e)
		} else {
			certs = append(certs, e)
		}
	}
	at := place{path, id, b.now}
	switch {
	case len(keys) == 1:
		b.takeEntry(path, keys[0], id)
	case len(keys) > 1 && b.reader.EndsFirst:
		b.takeItem(path, b.reader.entryItems(at, keys))
	case len(keys) > 1:
		b.find(certmedic.FileUnreadable, "%s: it holds %d private keys (%s): which one is meant cannot be told", path, len(keys), aliases(keys))
	case len(certs) == 1:
		b.takeEntry(path, certs[0], id)
	case len(certs) > 1:
		b.takeItem(path, b.reader.entryItems(at, certs))
	case err == nil:
		b.find(certmedic.NotACertificate, "%s: the key store is empty", path)
	}
}

// storeFailed records why a key store could not be opened.
func (b *builder) storeFailed(path string, err error) {
	switch {
	case err == nil:
	case errors.Is(err, keystore.ErrPassphrase) && len(b.passphrases) == 0:
		b.find(certmedic.FileUnreadable, "%s: it needs a passphrase", path)
	case errors.Is(err, keystore.ErrPassphrase):
		b.find(certmedic.FileUnreadable, "%s: %v", path, err)
	default:
		b.torn = true
		b.find(certmedic.NotACertificate, "%s: %v", path, err)
	}
}

// maxAliases bounds how many entries a finding names.
const maxAliases = 10

func aliases(entries []keystore.Entry) string {
	var names []string
	for i, e := range entries {
		if i == maxAliases {
			names = append(names, "and others")
			break
		}
		names = append(names, fmt.Sprintf("%q", e.Alias))
	}
	return strings.Join(names, ", ")
}

// takeEntry takes an entry's chain, and compares its key where it has one. The name is the
// file's, or the file's with the alias.
func (b *builder) takeEntry(name string, e keystore.Entry, id fileID) {
	b.certs = e.Certs
	refused := false
	for _, problem := range e.Problems {
		code := certmedic.NotACertificate
		if e.HasKey && errors.Is(problem, keystore.ErrPassphrase) {
			code = certmedic.FileUnreadable
		}
		refused = refused || e.HasKey
		b.find(code, "%s: %v", name, problem)
	}
	if e.HasKey && len(e.Certs) == 0 {
		b.find(certmedic.NotACertificate, "%s: a private key without a certificate", name)
	}
	if !e.HasKey {
		b.purpose = purposeOfTrusted(e.Certs)
		return
	}
	b.stored.Files.Privkey = b.stored.Path
	b.checkKeyMode(b.stored.Path, id)
	if !refused && e.Key != nil {
		b.compareKey(name, e.Key, nil)
	}
}

// purposeOfTrusted says what a certificate is good for that a key store holds without a key:
// others are verified with it, unless it is the leaf of an authority that is not there.
func purposeOfTrusted(certs []*x509.Certificate) inspect.Purpose {
	if len(certs) > 0 && (certs[0].IsCA || bytes.Equal(certs[0].RawIssuer, certs[0].RawSubject)) {
		return inspect.PurposeAuthority
	}
	return inspect.PurposeServer
}

// storeItems returns an item for each entry of a key store.
func (r Reader) storeItems(at place, data []byte) []Item {
	b := r.begin(at)
	entries, err := keystore.Read(data, b.passphrases)
	if len(entries) == 0 {
		b.storeFailed(at.path, err)
		if err == nil {
			b.find(certmedic.NotACertificate, "%s: the key store is empty", at.path)
		}
		return []Item{b.item(at.path)}
	}
	items := r.entryItems(at, entries)
	if err != nil {
		b.storeFailed(at.path, err)
		for i := range items {
			items[i].Stored.Findings = append(slices.Clone(b.stored.Findings), items[i].Stored.Findings...)
		}
	}
	return items
}

// entryItems returns an item for each entry.
func (r Reader) entryItems(at place, entries []keystore.Entry) []Item {
	items := make([]Item, 0, len(entries))
	for i, e := range entries {
		b := r.begin(at)
		name := at.path
		switch {
		case e.Alias != "":
			name += "#" + e.Alias
		case len(entries) > 1:
			name += fmt.Sprintf("#%d", i+1)
		}
		b.takeEntry(name, e, at.id)
		items = append(items, b.item(name))
	}
	return items
}

// place is a file that a person named, as it was when it was read.
type place struct {
	path string
	id   fileID
	now  time.Time
}

// begin starts a read of something within a file.
func (r Reader) begin(at place) *builder {
	b := r.builder(at.now)
	b.stored.Path = at.path
	b.stored.Since = since(at.path)
	b.stored.Files = certmedic.StoredFiles{Fullchain: at.path}
	return b
}

func (b *builder) item(target string) Item {
	src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: b.stored.Path, Key: b.stored.Files.Privkey}
	return Item{Target: target, Source: src, Content: b.content()}
}

// checkKeyMode sees who may read a file that holds a private key.
func (b *builder) checkKeyMode(path string, id fileID) {
	if id.mode&0o026 != 0 {
		b.find(certmedic.FilePermissions, "%s: mode %04o: the private key is open to others", linked(path), id.mode&0o777)
	}
}

// compareKey records whether a private key that was just read belongs to the leaf.
func (b *builder) compareKey(name string, public crypto.PublicKey, err error) {
	switch {
	case errors.Is(err, errEncryptedKey), errors.Is(err, keystore.ErrPassphrase):
		b.find(certmedic.FileUnreadable, "%s: %v", name, err)
	case err != nil:
		b.torn = true
		b.find(certmedic.KeyMismatch, "%s: %v", name, err)
	case len(b.certs) == 0:
	case !samePublicKey(public, b.certs[0].PublicKey):
		b.torn = true
		b.find(certmedic.KeyMismatch, "%s: the private key does not belong to the certificate in %s%s", name, b.stored.Path, b.keyHint(public))
	default:
		b.keyMatches = true
	}
}

// keyHint says where the certificate stands that a private key does belong to.
func (b *builder) keyHint(public crypto.PublicKey) string {
	for i, c := range b.certs {
		if samePublicKey(public, c.PublicKey) {
			return fmt.Sprintf(", but to the one that stands there as number %d: put it first", i+1)
		}
	}
	return ""
}

// linked names a file, with what it is a link to.
func linked(path string) string {
	if target, err := os.Readlink(path); err == nil {
		return fmt.Sprintf("%s (a link to %s)", path, target)
	}
	return path
}

// holdsCertificates reports whether the bytes are of a form that holds certificates, sound
// or not.
func holdsCertificates(data []byte) bool {
	for _, kind := range []string{"CERTIFICATE-----", "X509 CERTIFICATE-----", "TRUSTED CERTIFICATE-----"} {
		if bytes.Contains(data, []byte(pemBegin+kind)) {
			return true
		}
	}
	return keystore.Detect(data) != keystore.None || isCertificate(data) || isKubeconfig(data)
}
