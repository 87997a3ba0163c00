package atomicfile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certmedic/certmedic/internal/atomicfile"
)

func TestWriteReplacesContentModeAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cert.pem")
	for _, mode := range []fs.FileMode{0o600, 0o644, 0o640} {
		if err := atomicfile.Write(path, []byte(mode.String()), mode, -1, -1); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("mode is %v, want %v", info.Mode().Perm(), mode)
		}
		if got := read(t, path); got != mode.String() {
			t.Errorf("content is %q, want %q", got, mode)
		}
	}
	wantNames(t, dir, "cert.pem")
}

func TestWriteThroughLinks(t *testing.T) {
	tests := []struct {
		name   string // what the link is like
		link   string // what it says, relative to its folder
		exists bool   // whether its target does
	}{
		{"a link to a file in another folder replaces that file", "../archive/cert1.pem", true},
		{"a dangling link creates the file that it points to", "../archive/cert2.pem", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			live, archive := filepath.Join(root, "live"), filepath.Join(root, "archive")
			mustMkdir(t, live)
			mustMkdir(t, archive)
			link := filepath.Join(live, "cert.pem")
			if err := os.Symlink(tt.link, link); err != nil {
				t.Fatal(err)
			}
			if tt.exists {
				mustWrite(t, filepath.Join(live, tt.link), "old")
			}
			if err := atomicfile.Write(link, []byte("new"), 0o600, -1, -1); err != nil {
				t.Fatal(err)
			}
			if got, err := os.Readlink(link); err != nil || got != tt.link {
				t.Errorf("the link says %q, %v; want it untouched", got, err)
			}
			if got := read(t, link); got != "new" {
				t.Errorf("content is %q", got)
			}
			wantNames(t, live, "cert.pem")
			wantNames(t, archive, filepath.Base(tt.link))
		})
	}
}

func TestWriteRefusals(t *testing.T) {
	dir := t.TempDir()
	mustMkdir(t, filepath.Join(dir, "folder"))
	for _, link := range []string{"loop-a", "loop-b"} {
		other := map[string]string{"loop-a": "loop-b", "loop-b": "loop-a"}[link]
		if err := os.Symlink(other, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"folder", "loop-a", "fifo", "missing/file"} {
		err := atomicfile.Write(filepath.Join(dir, name), []byte("x"), 0o600, -1, -1)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error does not name it: %v", name, err)
		}
	}
	wantNames(t, dir, "fifo", "folder", "loop-a", "loop-b")
}

func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := atomicfile.Write(path, nil, 0o600, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	wantOwner(t, path, 1234, 4321)
	if err := atomicfile.Write(path, []byte("new"), 0o600, -1, -1); err != nil {
		t.Fatal(err)
	}
	wantOwner(t, path, 1234, 4321)
	if err := atomicfile.Write(path, []byte("new"), 0o600, -1, 7); err != nil {
		t.Fatal(err)
	}
	wantOwner(t, path, 1234, 7)
}

func TestStageCommitAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cert.pem")
	mustWrite(t, path, "old")

	staged, err := atomicfile.Stage(path, []byte("new"), 0o644, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("staging changed the target to %q", got)
	}
	if err := staged.Abort(); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, "cert.pem")
	if err := staged.Commit(); err == nil {
		t.Error("an aborted file was committed")
	}
	if got := read(t, path); got != "old" {
		t.Errorf("the target is %q after an abort", got)
	}

	staged, err = atomicfile.Stage(path, []byte("new"), 0o644, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := staged.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := staged.Abort(); err != nil {
		t.Errorf("aborting after a commit: %v", err)
	}
	if got := read(t, path); got != "new" {
		t.Errorf("the target is %q after the commit", got)
	}
	wantNames(t, dir, "cert.pem")
}

func TestCommitThatFailsRemovesTheStagedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cert.pem")
	staged, err := atomicfile.Stage(path, []byte("new"), 0o644, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	mustMkdir(t, path) // a file cannot be renamed over a folder
	if err := staged.Commit(); err == nil {
		t.Fatal("no error")
	}
	wantNames(t, dir, "cert.pem")
}

// stage leaves something staged behind, as a killed process does.
func stage(t *testing.T, path string) *atomicfile.Staged {
	t.Helper()
	staged, err := atomicfile.Stage(path, []byte("new"), 0o600, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	return staged
}

// TestSweepRemovesWhatWasStagedForOneFile shows that what others stage in the same folder, and
// what people keep there, stays.
func TestSweepRemovesWhatWasStagedForOneFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd[name]*")
	mustMkdir(t, dir)
	path, link, other := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "link.pem"), filepath.Join(dir, "other.pem")
	mustWrite(t, path, "kept")
	if err := os.Symlink("cert.pem", link); err != nil {
		t.Fatal(err)
	}
	stage(t, path)
	stage(t, link)
	theirs := stage(t, other)
	if err := atomicfile.Sweep(link); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, filepath.Base(theirs.Path()), "cert.pem", "link.pem")
	if err := theirs.Commit(); err != nil {
		t.Errorf("what was staged for another file is gone: %v", err)
	}
}

func TestSweepFolder(t *testing.T) {
	dir := t.TempDir()
	stage(t, filepath.Join(dir, "cert.pem"))
	stage(t, filepath.Join(dir, "key.pem"))
	half, persons := filepath.Join(dir, ".certmedic-123"), filepath.Join(dir, ".certmedic-backup")
	mustMkdir(t, half)
	if err := os.Symlink("somewhere", filepath.Join(half, "link")); err != nil { // killed before it was in place
		t.Fatal(err)
	}
	mustMkdir(t, persons)
	mustWrite(t, filepath.Join(persons, "key.pem"), "kept")
	if err := atomicfile.SweepFolder(dir); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, ".certmedic-backup")
	wantNames(t, persons, "key.pem")
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mustMkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func mustWrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantOwner(t *testing.T, path string, uid, gid uint32) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != uid || stat.Gid != gid {
		t.Errorf("owner is %d:%d, want %d:%d", stat.Uid, stat.Gid, uid, gid)
	}
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}
