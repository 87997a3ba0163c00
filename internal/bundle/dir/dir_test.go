package dir_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/bundletest"
	"github.com/certmedic/certmedic/internal/bundle/dir"
)

func open(t *testing.T, path string) *dir.Store {
	t.Helper()
	store, err := dir.Open(path)
	must(t, err)
	return store
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	bundletest.Test(t, open(t, root))
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := entry.Info()
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[entry.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	}))
	if left, err := os.ReadDir(filepath.Join(root, ".certmedic-new")); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestTmpfs runs the checks in memory too, where there is such a folder.
func TestTmpfs(t *testing.T) {
	t.Parallel()
	root, ok := inMemory(t)
	if !ok {
		t.Skip("there is no tmpfs")
	}
	store := open(t, root)
	bundletest.Test(t, store)
	if name := store.Network(); name != "" {
		t.Errorf("it is said to be on %q", name)
	}
}

// inMemory returns a folder on a tmpfs, where syncing costs nothing; elsewhere where there is none.
func inMemory(t *testing.T) (root string, ok bool) {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "certmedic")
	if err != nil {
		return t.TempDir(), false
	}
	t.Cleanup(func() { must(t, os.RemoveAll(root)) })
	return root, true
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	public := filepath.Join(root, "public")
	must(t, os.Mkdir(public, 0o700))
	must(t, os.Chmod(public, 0o777))
	for path, says := range map[string]string{
		filepath.Join(root, "none"): "no such file", file: "no folder", "relative": "absolute", "/proc/self": "",
		public: "may be written by others", filepath.Join(public, "below"): "no such file",
	} {
		if _, err := dir.Open(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", path, err, says)
		}
	}
	if _, err := dir.OpenReader("relative"); err == nil {
		t.Error("a relative path was taken")
	}
}

// TestOpenedLater holds that permissions which are widened later are seen.
func TestOpenedLater(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store := open(t, root)
	must(t, store.Create(t.Context(), "a/b", []byte("x")))
	must(t, os.Chmod(filepath.Join(root, "a"), 0o777))
	if _, err := store.Get(t.Context(), "a/b", ""); err == nil || !strings.Contains(err.Error(), "may be written by others") {
		t.Errorf("read: %v", err)
	}
	if err := store.Create(t.Context(), "a/c", []byte("x")); err == nil || !strings.Contains(err.Error(), "may be written by others") {
		t.Errorf("written: %v", err)
	}
}

// TestReader holds that a folder that is not mounted is told from one without the object.
func TestReader(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "mount")
	r, err := dir.OpenReader(root)
	must(t, err)
	if _, err := r.Get(t.Context(), "a/b", ""); err == nil || errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("not mounted: %v", err)
	}
	must(t, os.Mkdir(root, 0o700))
	if _, err := r.Get(t.Context(), "a/b", ""); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("mounted, and empty: %v", err)
	}
	if left, _ := os.ReadDir(root); len(left) != 0 {
		t.Errorf("a reader wrote %v", left)
	}
	must(t, os.WriteFile(filepath.Join(root, "a"), bytes.Repeat([]byte("x"), bundle.MaxObject+1), 0o600))
	if _, err := r.Get(t.Context(), "a", ""); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large file: %v", err)
	}
}

// TestWriterSleeps has a writer read a generation and link its successor only when that number
// was removed long ago: it is told that somebody was there first, and nobody reads what it wrote.
func TestWriterSleeps(t *testing.T) {
	t.Parallel()
	const key = "a/current.json"
	root := t.TempDir()
	store, late := open(t, root), open(t, root)
	must(t, store.Swap(t.Context(), key, "", []byte("0")))
	swap := func(n int) {
		o, err := store.Get(t.Context(), key, "")
		must(t, err)
		must(t, store.Swap(t.Context(), key, o.Tag, []byte(strconv.Itoa(n))))
	}
	o, err := store.Get(t.Context(), key, "")
	must(t, err)
	steps := 0
	dir.OnStep(late, func() {
		if steps++; steps == 1 { // it has looked, and is about to link
			for n := range dir.KeepGenerations + 5 {
				swap(n)
			}
		}
	})
	if err := late.Swap(t.Context(), key, o.Tag, []byte("late")); !errors.Is(err, bundle.ErrConflict) {
		t.Errorf("the late writer: %v", err)
	}
	if steps < 2 {
		t.Error("it did not come to link")
	}
	if now, err := store.Get(t.Context(), key, ""); err != nil || string(now.Data) != strconv.Itoa(dir.KeepGenerations+4) {
		t.Errorf("it holds %q, %v", now.Data, err)
	}
	names, err := os.ReadDir(filepath.Join(root, key))
	must(t, err)
	if len(names) != dir.KeepGenerations {
		t.Errorf("%d generations stay", len(names))
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	open(t, root)
	old, young := filepath.Join(root, ".certmedic-new", "old"), filepath.Join(root, ".certmedic-new", "young")
	for _, path := range []string{old, young} {
		must(t, os.WriteFile(path, nil, 0o600))
	}
	before := time.Now().Add(-dir.Abandoned - time.Hour)
	must(t, os.Chtimes(old, before, before))
	open(t, root)
	if _, err := os.Lstat(old); err == nil {
		t.Error("what was abandoned stays")
	}
	if _, err := os.Lstat(young); err != nil {
		t.Errorf("what is being written: %v", err)
	}
}

// TestManyObjects holds that a listing has an end.
func TestManyObjects(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store := open(t, root)
	must(t, os.Mkdir(filepath.Join(root, "a"), 0o700))
	for n := range bundle.MaxListed + 1 {
		must(t, os.WriteFile(filepath.Join(root, "a", fmt.Sprintf("f%d", n)), nil, 0o600))
	}
	if _, err := store.List(t.Context(), "a/"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}
