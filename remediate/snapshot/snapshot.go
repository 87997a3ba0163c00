// Package snapshot keeps good versions of certificates: copies of those that were seen served
// everywhere with nothing wrong, for the day on which nothing better is left. The app takes
// them when the watchdog says so, lists them for people, and has them removed when their key
// is denied.
//
// A snapshot is a folder STATE_DIR/snapshots/CERTIFICATE/VERSION, 0700, with cert.pem,
// chain.pem, fullchain.pem, privkey.pem and meta.json, 0600, copied and never linked: certbot
// deletes its oldest versions. It is there whole or not at all, also after kill -9. What is
// opened was checked byte by byte; what was changed since it was kept is listed as broken and
// never handed out. A key that is denied is never kept.
package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// ErrDenied says that a version is not kept because its key is on the deny list.
var ErrDenied = errors.New("its key is denied")

// ErrBroken says that a snapshot is not what it was when it was taken.
var ErrBroken = errors.New("the kept version is broken")

// Snapshot is a kept version, as its meta.json describes it.
type Snapshot struct {
	Certificate string                `json:"certificate"`
	Version     certmedic.Fingerprint `json:"version"`
	Names       []string              `json:"names"` // in the order of the source: common name first
	Chain       []certmedic.CertFacts `json:"chain"` // leaf first: issuer, dates and key
	Taken       time.Time             `json:"taken"`
	Verified    []string              `json:"verified"`        // the addresses that were seen to serve it
	Files       map[string]string     `json:"files,omitempty"` // by name, the SHA-256 of the content in hex

	Broken string `json:"broken,omitempty"` // why it must not be used; only of what is listed
}

// Leaf returns the facts of the kept leaf; of a broken snapshot there may be none.
func (s Snapshot) Leaf() (leaf certmedic.CertFacts, ok bool) {
	if len(s.Chain) == 0 {
		return certmedic.CertFacts{}, false
	}
	return s.Chain[0], true
}

// Options are what a [Store] needs.
type Options struct {
	Dir    string                                // of all snapshots; made when it is needed
	Denied func(spki certmedic.Fingerprint) bool // whether a key is on the deny list
}

// Store is the folder of all snapshots. It is safe for concurrent use by one process.
type Store struct {
	o  Options
	mu sync.Mutex
}

// New returns a store. It does nothing before it is asked.
func New(o Options) *Store { return &Store{o: o} }

// Take keeps the version that a source holds and that was verified: seen served by these
// addresses. It reads the source's files again and keeps nothing unless they hold that very
// version with its key. A version that is kept already stays as it was taken first. Older
// snapshots of the certificate go as [Store.Sweep] says.
func (s *Store) Take(certificate string, stored certmedic.Stored, verified []string, now time.Time) (Snapshot, error) {
	leaf, ok := stored.Leaf()
	if !ok {
		return Snapshot{}, fmt.Errorf("keeping a version of %q: nothing is stored", certificate)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Denied(leaf.SPKISHA256) {
		return Snapshot{}, fmt.Errorf("keeping version %s of %q: %w", leaf.SHA256.Short(), certificate, ErrDenied)
	}
	if kept, err := load(s.dir(certificate, leaf.SHA256)); err == nil {
		return kept, nil
	}
	parts, err := deploy.Parts(stored)
	if err != nil {
		return Snapshot{}, fmt.Errorf("keeping version %s of %q: %w", leaf.SHA256.Short(), certificate, err)
	}
	taken := Snapshot{
		Certificate: certificate, Version: leaf.SHA256, Names: stored.Names, Chain: stored.Chain,
		Taken: now.UTC(), Verified: slices.Sorted(slices.Values(verified)), Files: map[string]string{},
	}
	if err := s.write(taken, parts); err != nil {
		return Snapshot{}, fmt.Errorf("keeping version %s of %q: %w", leaf.SHA256.Short(), certificate, err)
	}
	return taken, s.retire(folder(certificate), now)
}

// List returns the snapshots of a certificate, those that were issued last first. What was
// changed since it was kept is among them, as broken.
func (s *Store) List(certificate string) ([]Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.list(folder(certificate))
	for i := range all {
		all[i].Certificate = certificate
	}
	return all, err
}

// Open returns a kept version as a source would hold it, to be deployed from there. It checks
// every byte first: the error wraps [ErrBroken] and names the file that was changed, wraps
// [ErrDenied] where the key was denied, or fs.ErrNotExist where no such version is kept.
func (s *Store) Open(certificate string, version certmedic.Fingerprint) (certmedic.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := s.dir(certificate, version)
	kept, err := load(dir)
	if err != nil {
		return certmedic.Stored{}, fmt.Errorf("opening version %s of %q: %w", version.Short(), certificate, err)
	}
	if s.o.Denied(kept.Chain[0].SPKISHA256) {
		return certmedic.Stored{}, fmt.Errorf("opening version %s of %q: %w", version.Short(), certificate, ErrDenied)
	}
	at := func(part certmedic.FilePart) string { return filepath.Join(dir, fileOf(part)) }
	return certmedic.Stored{
		Time: kept.Taken, Since: kept.Taken, Path: at(certmedic.PartCert), Version: version.Short(),
		Chain: kept.Chain, Names: kept.Names, Known: []certmedic.Fingerprint{version},
		Lock: certmedic.Lock{State: certmedic.LockFree},
		Files: certmedic.StoredFiles{
			Cert: at(certmedic.PartCert), Chain: at(certmedic.PartChain),
			Fullchain: at(certmedic.PartFullchain), Privkey: at(certmedic.PartPrivkey),
		},
	}, nil
}

// Forget removes a snapshot; one that is not there is no error.
func (s *Store) Forget(certificate string, version certmedic.Fingerprint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := s.dir(certificate, version)
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return remove(dir)
}

func (s *Store) dir(certificate string, version certmedic.Fingerprint) string {
	return filepath.Join(s.o.Dir, folder(certificate), folder(string(version)))
}

// list reads the snapshots in a certificate's folder.
func (s *Store) list(name string) ([]Snapshot, error) {
	parent := filepath.Join(s.o.Dir, name)
	versions, _, err := subfolders(parent)
	if err != nil {
		return nil, fmt.Errorf("listing kept versions: %w", err)
	}
	all := make([]Snapshot, 0, len(versions))
	for _, version := range versions {
		kept, err := load(filepath.Join(parent, version))
		if err != nil {
			kept.Broken, kept.Version, kept.Certificate = err.Error(), certmedic.Fingerprint(version), nameOf(name)
		}
		all = append(all, kept)
	}
	slices.SortStableFunc(all, newestFirst)
	return all, nil
}

// newestFirst orders by when versions began to be valid; what cannot be told comes last.
func newestFirst(a, b Snapshot) int {
	leafA, _ := a.Leaf()
	leafB, _ := b.Leaf()
	if byBegin := leafB.NotBefore.Compare(leafA.NotBefore); byBegin != 0 {
		return byBegin
	}
	return b.Taken.Compare(a.Taken)
}

// write puts a snapshot in its place, whole, in one rename. A broken one makes way.
func (s *Store) write(taken Snapshot, parts map[certmedic.FilePart][]byte) error {
	dir := s.dir(taken.Certificate, taken.Version)
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	stage, err := os.MkdirTemp(parent, tempPrefix)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(stage, taken, parts), makeWay(dir)); err != nil {
		return errors.Join(err, os.RemoveAll(stage))
	}
	if err := os.Rename(stage, dir); err != nil {
		return errors.Join(err, os.RemoveAll(stage))
	}
	return errors.Join(syncDir(parent), syncDir(s.o.Dir))
}

func makeWay(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return remove(dir)
}

// fill writes the files of a snapshot to a folder and syncs all of it.
func fill(dir string, taken Snapshot, parts map[certmedic.FilePart][]byte) error {
	for _, part := range fileParts() {
		taken.Files[fileOf(part)] = digest(parts[part])
		if err := atomicfile.Create(filepath.Join(dir, fileOf(part)), parts[part], 0o600); err != nil {
			return err
		}
	}
	meta, err := json.MarshalIndent(taken, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", metaFile, err)
	}
	return errors.Join(atomicfile.Create(filepath.Join(dir, metaFile), append(meta, '\n'), 0o600), syncDir(dir))
}

// metaFile describes a snapshot.
const metaFile = "meta.json"

func fileParts() []certmedic.FilePart {
	return []certmedic.FilePart{certmedic.PartCert, certmedic.PartChain, certmedic.PartFullchain, certmedic.PartPrivkey}
}

func fileOf(part certmedic.FilePart) string { return string(part) + ".pem" }
