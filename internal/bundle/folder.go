package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/certmedic/certmedic/internal/atomicfile"
)

// The names in a consumer's folder, beside "versions".
const (
	currentLink  = "current"
	freshFolder  = ".new"
	acceptedFile = "accepted.json"
)

// keepLocal is how many versions stay in a consumer's folder.
const keepLocal = 5

// folder is where a consumer keeps versions, as sources of kind acme are kept: a folder "versions"
// with one folder for each, and the link "current" to one of them.
type folder struct{ path string }

// file is a part as it lies in the folder.
type file struct {
	name string
	data []byte
	mode fs.FileMode
}

func (b Bundle) files() []file {
	all := []file{
		{privkeyFile, b.Privkey, 0o600},
		{certFile, b.Cert, 0o644},
		{chainFile, b.Chain, 0o644},
		{fullchainFile, b.Fullchain, 0o644},
	}
	return slices.DeleteFunc(all, func(f file) bool { return f.data == nil })
}

// install makes a version the current one. A reader finds one version or the other, whole; so
// does whoever comes after a kill.
func (f folder) install(b Bundle) error {
	versions := filepath.Join(f.path, versionsName)
	if err := os.MkdirAll(versions, 0o700); err != nil {
		return err
	}
	fresh := filepath.Join(versions, freshFolder)
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	name := b.Manifest.Version.Short()
	if _, err := os.Lstat(filepath.Join(versions, name)); err == nil && !f.holds(name, b) {
		name = fmt.Sprintf("%s-%d-%d", name, b.Mark.Token, b.Mark.Sequence) // the same leaf with another chain, or one that was tampered with
		if !f.holds(name, b) {
			if err := os.RemoveAll(filepath.Join(versions, name)); err != nil {
				return err
			}
		}
	}
	if !f.holds(name, b) {
		if err := add(versions, fresh, name, b.files()); err != nil {
			return err
		}
	}
	if err := atomicfile.SweepFolder(f.path); err != nil {
		return err
	}
	if err := atomicfile.Link(filepath.Join(versionsName, name), filepath.Join(f.path, currentLink)); err != nil {
		return err
	}
	return f.prune(name)
}

// holds reports whether a version lies there exactly so.
func (f folder) holds(name string, b Bundle) bool {
	for _, want := range b.files() {
		path := filepath.Join(f.path, versionsName, name, want.name)
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != want.mode || info.Size() != int64(len(want.data)) {
			return false
		}
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, want.data) {
			return false
		}
	}
	return true
}

// add writes a version beside the others, and gives its folder the name when all of it is on disk.
func add(versions, fresh, name string, files []file) error {
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(fresh, f.name)
		if err := atomicfile.Create(path, f.data, f.mode); err != nil {
			return err
		}
		if err := os.Chmod(path, f.mode); err != nil { // whatever the umask
			return err
		}
	}
	if err := atomicfile.SyncDir(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, filepath.Join(versions, name)); err != nil {
		return err
	}
	return atomicfile.SyncDir(versions)
}

// leads reports whether the link leads to a folder of this version that holds all its files.
func (f folder) leads(b Bundle) bool {
	target, err := os.Readlink(filepath.Join(f.path, currentLink))
	return err == nil && filepath.Dir(target) == versionsName && f.holds(filepath.Base(target), b)
}

// prune removes all but the newest versions.
func (f folder) prune(current string) error {
	versions := filepath.Join(f.path, versionsName)
	entries, err := os.ReadDir(versions)
	if err != nil {
		return err
	}
	type aged struct {
		name string
		at   time.Time
	}
	var others []aged
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && entry.Name() != current {
			others = append(others, aged{entry.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(others, func(a, b aged) int { return b.at.Compare(a.at) })
	var errs []error
	for _, old := range others[min(keepLocal-1, len(others)):] {
		errs = append(errs, os.RemoveAll(filepath.Join(versions, old.name)))
	}
	return errors.Join(errs...)
}

// Accepted returns the mark of what was accepted last; see [Memory].
func (f folder) Accepted() (Mark, error) {
	path := filepath.Join(f.path, acceptedFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Mark{}, nil
	}
	if err != nil {
		return Mark{}, fmt.Errorf("reading what was accepted before: %w", err)
	}
	var m Mark
	if err := decode(data, &m); err != nil {
		return Mark{}, fmt.Errorf("reading what was accepted before, in %q: %w", path, err)
	}
	return m, nil
}

// Accept remembers a mark; see [Memory].
func (f folder) Accept(m Mark) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(f.path, acceptedFile), append(data, '\n'), 0o600, -1, -1)
}
