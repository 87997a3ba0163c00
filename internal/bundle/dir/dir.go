// Package dir is a [bundle.Store] in a folder that several hosts mount, such as one on NFS. The
// wiring opens it for a source or a publisher with a shared folder.
//
// An object that is created once is a file. One that is swapped is a folder with a file for each
// generation, 1, 2, 3 and so on, of which the highest counts. Both come to be in the same way: the
// content is written and synced under a name of its own in ".certmedic-new", and gets its name by
// link(2), which never replaces anything. So a compare-and-swap is the link to the next number:
// of two that go on from the same generation one fails. That needs no lock, which a killed holder
// would keep, and which NFS breaks by itself after a partition; rename(2) would not do, because it
// replaces whatever is there, and a generation that is renamed leaves nobody a pointer in between.
// The last generations stay, so that a writer that wakes up late cannot take an old number.
//
// It promises whole and durable objects to readers on any host, once the caches of its folders
// there have expired: a reader may be late (by up to a minute with NFS's defaults), never wrong.
// All hosts have to use the same user. Folders have mode 0700 and files 0600; a folder that others
// may write is refused. Where a file system has no hard links, [Open] says so.
package dir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/ownership"
)

const (
	newFolder = ".certmedic-new"

	// keepGenerations is how many generations of a swapped object stay: a writer that is so many
	// late finds its number taken.
	keepGenerations = 20

	// abandoned is how old a file in newFolder is when its writer is surely gone.
	abandoned = 24 * time.Hour

	// tries bounds how often something is tried again that others got in the way of.
	tries = 3
)

// Store is a folder.
type Store struct {
	root string
	step func() // after each change, for tests; nil: nothing
}

// Open opens the folder at path, which has to exist, and proves that the file system keeps what
// the store needs of it.
func Open(path string) (*Store, error) {
	s := &Store{root: filepath.Clean(path)}
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("opening the shared folder %q: it is no absolute path", path)
	}
	info, err := os.Stat(s.root)
	if err == nil && !info.IsDir() {
		err = errors.New("it is no folder")
	}
	if err == nil {
		err = ownership.Check(s.root)
	}
	if err == nil {
		err = s.prove()
	}
	if err != nil {
		return nil, fmt.Errorf("opening the shared folder %q: %w", path, err)
	}
	return s, nil
}

// OpenReader opens the folder at path for a consumer, which may be mounted read-only. Nothing is
// written or proved.
func OpenReader(path string) (bundle.Reader, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("opening the shared folder %q: it is no absolute path", path)
	}
	return &Store{root: filepath.Clean(path)}, nil
}

// prove links a file twice, of which the second has to fail, and sweeps what killed writers left.
func (s *Store) prove() error {
	temp, err := s.stage([]byte("probe"))
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	link := temp + ".probe"
	defer os.Remove(link)
	if err := os.Link(temp, link); err != nil {
		return fmt.Errorf("its file system%s has to have hard links: %w", called(s.Network()), err)
	}
	if err := os.Link(temp, link); !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("its file system%s makes a link in place of another: %w", called(s.Network()), err)
	}
	return s.sweep(time.Now())
}

func called(network string) string {
	if network == "" {
		return ""
	}
	return " (" + network + ")"
}

// Get implements [bundle.Reader].
func (s *Store) Get(_ context.Context, key, known string) (bundle.Object, error) {
	path, err := s.path(key)
	if err != nil {
		return bundle.Object{}, err
	}
	data, tag, err := s.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bundle.Object{}, s.missing()
	case err != nil:
		return bundle.Object{}, err
	case tag == known:
		return bundle.Object{}, bundle.ErrUnchanged
	}
	return bundle.Object{Data: data, Tag: tag}, nil
}

// missing tells an object that is not there from a folder that is not mounted.
func (s *Store) missing() error {
	if _, err := os.Stat(s.root); err != nil {
		return fmt.Errorf("the shared folder is gone: %w", err)
	}
	return bundle.ErrNotFound
}

// read reads an object, and again where its generation was removed meanwhile, or where NFS forgot
// the file behind a handle.
func (s *Store) read(path string) ([]byte, string, error) {
	for try := 1; ; try++ {
		data, tag, err := readOnce(path)
		if again := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESTALE); again && try < tries {
			continue
		}
		return data, tag, err
	}
}

func readOnce(path string) ([]byte, string, error) {
	generation, err := highest(path)
	if err != nil {
		return nil, "", err
	}
	if generation > 0 {
		path = filepath.Join(path, strconv.FormatUint(generation, 10))
	}
	if err := ownership.Check(path); err != nil {
		return nil, "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, bundle.MaxObject+1))
	if err != nil {
		return nil, "", err
	}
	if len(data) > bundle.MaxObject {
		return nil, "", fmt.Errorf("reading %q: it is larger than %d bytes", path, bundle.MaxObject)
	}
	sum := sha256.Sum256(data)
	return data, fmt.Sprintf("%d-%s", generation, hex.EncodeToString(sum[:8])), nil
}

// highest returns the generation that counts, and 0 where path is a file.
func highest(path string) (uint64, error) {
	generations, err := list(path)
	if errors.Is(err, syscall.ENOTDIR) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(generations) == 0 {
		return 0, fs.ErrNotExist // a writer has made no more than the folder
	}
	return generations[len(generations)-1], nil
}

// list returns the generations in a folder, the lowest first.
func list(path string) ([]uint64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(bundle.MaxListed)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var all []uint64
	for _, name := range names {
		if n, err := strconv.ParseUint(name, 10, 64); err == nil && n > 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// Create implements [bundle.Writer].
func (s *Store) Create(_ context.Context, key string, data []byte) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		if err := s.mkdir(filepath.Dir(path)); err != nil {
			return err
		}
		err := s.link(path, data)
		if errors.Is(err, fs.ErrNotExist) && try < tries {
			continue // somebody who removed the last file there took the folder along
		}
		return err
	}
}

// Swap implements [bundle.Writer].
func (s *Store) Swap(_ context.Context, key, tag string, data []byte) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := s.mkdir(path); err != nil {
		return err
	}
	_, now, err := s.read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if now != tag {
		return bundle.ErrConflict
	}
	number, _, _ := strings.Cut(tag, "-")
	generation, _ := strconv.ParseUint(number, 10, 64) // 0 where there is none yet
	generation++
	if err := s.link(filepath.Join(path, strconv.FormatUint(generation, 10)), data); err != nil {
		return err
	}
	return s.confirm(path, generation)
}

// confirm makes sure that a generation that was just written is the highest, as it is not where
// its writer slept until its number was free again, and removes those that are long past.
func (s *Store) confirm(path string, generation uint64) error {
	all, err := list(path)
	if err != nil {
		return err
	}
	if all[len(all)-1] > generation+keepGenerations/2 {
		return errors.Join(bundle.ErrConflict, os.Remove(filepath.Join(path, strconv.FormatUint(generation, 10))))
	}
	for _, old := range all[:max(0, len(all)-keepGenerations)] {
		if err := os.Remove(filepath.Join(path, strconv.FormatUint(old, 10))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.happened()
	}
	return nil
}

// link gives new content its name, which must be free.
func (s *Store) link(path string, data []byte) error {
	temp, err := s.stage(data)
	if err != nil {
		return err
	}
	s.happened()
	err = os.Link(temp, path)
	if err != nil && linked(temp) {
		err = nil // NFS: the answer to the first try was lost, and the second one found its link
	}
	s.happened()
	errTemp := os.Remove(temp)
	if errors.Is(err, fs.ErrExist) {
		return bundle.ErrConflict
	}
	s.happened()
	return errors.Join(err, errTemp, atomicfile.SyncDir(filepath.Dir(path)))
}

// linked reports whether a file has a second name.
func linked(path string) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 2
}

// stage writes and syncs new content under a name of its own.
func (s *Store) stage(data []byte) (string, error) {
	if len(data) > bundle.MaxObject {
		return "", fmt.Errorf("it has %d bytes, of at most %d", len(data), bundle.MaxObject)
	}
	folder := filepath.Join(s.root, newFolder)
	if err := s.mkdir(folder); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(folder, "*") // mode 0600
	if err != nil {
		return "", err
	}
	s.happened()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// mkdir makes a folder below the root, with those above it, and refuses one that others may write.
func (s *Store) mkdir(path string) error {
	if path == s.root {
		return ownership.Check(path)
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := s.mkdir(filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		s.happened()
		if err := atomicfile.SyncDir(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return ownership.Check(path)
}

// sweep removes what killed writers left.
func (s *Store) sweep(now time.Time) error {
	folder := filepath.Join(s.root, newFolder)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || now.Sub(info.ModTime()) < abandoned {
			continue
		}
		if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// List implements [bundle.Keeper]. Objects that are swapped are not listed.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	path, err := s.path(strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return nil, err
	}
	var keys []string
	seen := 0
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		if seen++; seen > bundle.MaxListed {
			return fmt.Errorf("there are more than %d files and folders", bundle.MaxListed)
		}
		if !entry.Type().IsRegular() {
			return ctx.Err()
		}
		if _, err := strconv.ParseUint(entry.Name(), 10, 64); err != nil {
			keys = append(keys, strings.TrimPrefix(name, s.root+"/"))
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("listing %q: %w", path, err)
	}
	return keys, nil
}

// Remove implements [bundle.Keeper]. Folders that become empty go, too.
func (s *Store) Remove(_ context.Context, key string) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.happened()
	for folder := filepath.Dir(path); folder != s.root; folder = filepath.Dir(folder) {
		if err := os.Remove(folder); err != nil {
			break // it holds something else, or is gone
		}
	}
	return nil
}

// path returns where an object lies.
func (s *Store) path(key string) (string, error) {
	if !bundle.ValidKey(key) {
		return "", fmt.Errorf("%q is no key", key)
	}
	return filepath.Join(s.root, filepath.FromSlash(key)), nil
}

func (s *Store) happened() {
	if s.step != nil {
		s.step()
	}
}
