package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadWhole(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	const limit = 1000
	for _, row := range []struct {
		about, path string
		size        int // -1 for any
		wrong       string
	}{
		{"an empty file", write("empty", 0), 0, ""},
		{"a small file", write("small", 10), 10, ""},
		{"a file as large as may be", write("full", limit), limit, ""},
		{"a file that is too large", write("large", limit+1), 0, "larger than 1000 bytes"},
		{"a file of which the kernel does not tell the size", "/proc/self/statm", -1, ""},
		{"a folder", dir, 0, "not a regular file"},
		{"a pipe that nobody writes to", pipe, 0, "not a regular file"},
		{"a file that is not there", filepath.Join(dir, "gone"), 0, "no such file"},
	} {
		data, id, err := readWhole(row.path, limit)
		switch {
		case row.wrong != "":
			if err == nil || !strings.Contains(err.Error(), row.wrong) {
				t.Errorf("%s: error %v, want %q", row.about, err, row.wrong)
			}
		case err != nil:
			t.Errorf("%s: %v", row.about, err)
		case row.size >= 0 && (len(data) != row.size || id.size != int64(row.size)), len(data) == 0 && row.size != 0:
			t.Errorf("%s: %d bytes, said to be %d, want %d", row.about, len(data), id.size, row.size)
		}
	}
}

// TestReadAll reads a file of which the size was told before it changed.
func TestReadAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		about       string
		told, limit int64
		want        string
	}{
		{"as it was", 10, 20, "0123456789"},
		{"it grew", 4, 20, "0123456789"},
		{"it grew from nothing", 0, 20, "0123456789"},
		{"it shrank", 15, 20, "0123456789"},
		{"it grew beyond the limit", 4, 9, ""},
	} {
		fd, err := openFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := readAll(fd, row.told, row.limit)
		if string(data) != row.want || (err == nil) == (row.want == "") {
			t.Errorf("%s: %q, %v", row.about, data, err)
		}
		unix.Close(fd)
	}
}

func TestListFolder(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 300 { // more than the kernel tells at once
		name := fmt.Sprintf("%s%d.pem", strings.Repeat("long", 20), i)
		want = append(want, name)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := listFolder(dir)
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d names of %d: %v", len(got), len(want), err)
	}
	if _, err := listFolder(filepath.Join(dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if _, err := listFolder(filepath.Join(dir, want[0])); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
}

func TestReadLink(t *testing.T) {
	dir := t.TempDir()
	for _, target := range []string{"a", strings.Repeat("b", 255), strings.Repeat("c", 256), strings.Repeat("d/", 1000)} {
		path := filepath.Join(dir, target[:1])
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		if got, err := readLink(path); got != target || err != nil {
			t.Errorf("a target of %d bytes: %d bytes, %v", len(target), len(got), err)
		}
	}
	if _, err := readLink(dir); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := readLink(filepath.Join(dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link that is not there: %v", err)
	}
}
