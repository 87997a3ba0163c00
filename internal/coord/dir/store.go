package dir

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/objects"
)

const (
	kept        = 16        // generations of an object that stay
	longestName = 150       // of an escaped key; what is longer is cut and named by its hash
	largestFile = 512 << 10 // of an object, whose value may be encoded
	atWork      = 32        // file operations at a time; those that hang count
	orphan      = 10 * time.Minute
	tempPrefix  = ".new-"
	clockPrefix = ".clock-"
)

var _ objects.Store = (*store)(nil)

// store keeps objects below a folder.
type store struct {
	root  string
	clock string        // a file of this member, which is touched to learn what time it is there
	slots chan struct{} // taken by file operations
}

// header precedes the value in a file.
type header struct {
	Key      string `json:"key"`
	Write    string `json:"write"`              // names this very write
	Previous string `json:"previous,omitempty"` // the write that it replaces
}

// version is a file of an object.
type version struct {
	header
	generation uint64
	value      []byte
	modified   time.Time
}

func (v version) tag() string { return strconv.FormatUint(v.generation, 10) + " " + v.Write }

// within does file operations, which nothing can cut short, and leaves them behind when ctx ends:
// on a server that is gone they hang. As many as may be at work may hang.
func within[T any](ctx context.Context, s *store, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("waiting for %q: %w", s.root, ctx.Err())
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-s.slots }()
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, fmt.Errorf("waiting for %q: %w", s.root, ctx.Err())
	}
}

// Get implements [objects.Store].
func (s *store) Get(ctx context.Context, key string) (objects.Object, bool, error) {
	o, err := within(ctx, s, func() (objects.Object, error) {
		v, err := s.newest(s.folder(key), key)
		if err != nil {
			return objects.Object{}, err
		}
		now, err := s.now()
		if err != nil || v.generation == 0 {
			return objects.Object{Now: now}, err
		}
		return objects.Object{Value: v.value, Tag: v.tag(), Modified: v.modified, Now: now}, nil
	})
	if err != nil {
		return o, false, fmt.Errorf("reading %q: %w", key, err)
	}
	return o, o.Tag != "", nil
}

// Swap implements [objects.Store].
func (s *store) Swap(ctx context.Context, key, tag string, value []byte) (string, error) {
	h := header{Key: key, Write: rand.Text()}
	generation := uint64(0)
	if tag != "" {
		number, write, _ := strings.Cut(tag, " ")
		var err error
		if generation, err = strconv.ParseUint(number, 10, 64); err != nil {
			return "", fmt.Errorf("writing %q: what should be its tag is %q", key, tag)
		}
		h.Previous = write
	}
	v := version{header: h, generation: generation + 1, value: value}
	tag, err := within(ctx, s, func() (string, error) { return v.tag(), s.add(s.folder(key), v) })
	if err != nil {
		return "", fmt.Errorf("writing %q: %w", key, err)
	}
	return tag, nil
}

// List implements [objects.Store].
func (s *store) List(ctx context.Context, prefix string) ([]string, error) {
	return within(ctx, s, func() ([]string, error) {
		entries, err := os.ReadDir(s.root)
		if err != nil {
			return nil, err
		}
		var keys []string
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			key, err := s.key(e.Name())
			if err != nil {
				return nil, err
			}
			if key != "" && strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		return keys, nil
	})
}

// folder returns where the versions of an object are.
func (s *store) folder(key string) string {
	name := url.QueryEscape(key)
	if len(name) > longestName {
		sum := sha256.Sum256([]byte(key))
		name = name[:longestName] + "=" + base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]) // an equals sign is escaped elsewhere
	}
	return filepath.Join(s.root, name)
}

// key is what [store.folder] has for a name; empty where there is nothing yet.
func (s *store) key(name string) (string, error) {
	if !strings.Contains(name, "=") {
		key, err := url.QueryUnescape(name)
		if err != nil {
			return "", fmt.Errorf("%q is nothing of ours: name a folder for certmedic alone", filepath.Join(s.root, name))
		}
		return key, nil
	}
	v, err := s.newest(filepath.Join(s.root, name), "")
	return v.Key, err
}

// now returns what time it is for the file system.
func (s *store) now() (time.Time, error) {
	err := unix.Utimes(s.clock, nil)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(s.clock, nil, 0o600)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("asking for the time: %w", err)
	}
	info, err := os.Stat(s.clock)
	if err != nil {
		return time.Time{}, fmt.Errorf("asking for the time: %w", err)
	}
	return info.ModTime(), nil
}

// generations returns those of an object, the newest first, and names what writers left behind.
func generations(folder string) (all []uint64, temporary []string, err error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && n > 0 {
			all = append(all, n)
		} else if strings.HasPrefix(e.Name(), tempPrefix) {
			temporary = append(temporary, e.Name())
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all, temporary, err
}

func path(folder string, generation uint64) string {
	return filepath.Join(folder, fmt.Sprintf("%020d", generation))
}

// newest returns the newest version of an object; the generation is 0 where there is none. A listing
// can be older than the removal of what it names.
func (s *store) newest(folder, key string) (version, error) {
	for try := 0; ; try++ {
		all, _, err := generations(folder)
		if err != nil || len(all) == 0 {
			return version{}, err
		}
		v, err := readVersion(folder, all[0])
		gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESTALE)
		if gone && try < 3 {
			continue
		}
		if err == nil && key != "" && v.Key != key {
			err = fmt.Errorf("%q is of the object %q", path(folder, all[0]), v.Key)
		}
		return v, err
	}
}

func readVersion(folder string, generation uint64) (version, error) {
	v := version{generation: generation}
	name := path(folder, generation)
	f, err := os.Open(name)
	if err != nil {
		return v, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return v, err
	}
	if info.Size() > largestFile {
		return v, fmt.Errorf("%q has %d bytes, more than %d", name, info.Size(), largestFile)
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return v, fmt.Errorf("reading %q: %w", name, err)
	}
	first, value, _ := strings.Cut(string(data), "\n")
	if err := json.Unmarshal([]byte(first), &v.header); err != nil {
		return v, fmt.Errorf("reading %q: %w", name, err)
	}
	v.value, v.modified = []byte(value), info.ModTime()
	return v, nil
}

// add makes a version the newest one. [coord.ErrStale] says that another writer was first.
func (s *store) add(folder string, v version) error {
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	} else if err == nil {
		if err := syncFolder(s.root); err != nil {
			return err
		}
	}
	if err := link(folder, v); err != nil {
		return err
	}
	all, temporary, err := generations(folder)
	if err != nil {
		return err
	}
	if err := stands(folder, v, all); err != nil {
		return err
	}
	s.tidy(folder, all, temporary)
	return nil
}

// link writes a version under another name and links it to its own, whole and on disk.
func link(folder string, v version) error {
	first, err := json.Marshal(v.header)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, tempPrefix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(slices.Concat(first, []byte("\n"), v.value))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	err = os.Link(f.Name(), path(folder, v.generation))
	if errors.Is(err, fs.ErrExist) && !linked(f.Name()) {
		return coord.ErrStale
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(folder)
}

// linked reports whether a file has its second name: a server that did not hear that its answer arrived is
// asked again, and then finds the name taken, by this very file.
func linked(name string) bool {
	var st unix.Stat_t
	return unix.Stat(name, &st) == nil && st.Nlink == 2
}

// stands reports by ErrStale that a version which was linked is none, as there is a newer one that does not
// follow it.
func stands(folder string, v version, all []uint64) error {
	if len(all) == 0 || all[0] <= v.generation {
		return nil
	}
	next, err := readVersion(folder, v.generation+1)
	if err != nil || next.Previous != v.Write {
		return coord.ErrStale
	}
	return nil
}

// tidy removes what is not needed any more. What it cannot remove is left for the next writer.
func (s *store) tidy(folder string, all []uint64, temporary []string) {
	for _, n := range all[min(kept, len(all)):] {
		_ = os.Remove(path(folder, n))
	}
	for _, name := range temporary {
		name = filepath.Join(folder, name)
		now, errNow := s.now()
		info, err := os.Stat(name)
		if err == nil && errNow == nil && now.Sub(info.ModTime()) > orphan {
			_ = os.Remove(name)
		}
	}
}

// syncFolder makes new names survive a power failure.
func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
