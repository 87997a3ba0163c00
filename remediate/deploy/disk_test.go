package deploy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// mount makes a small file system of its own, which takes so many bytes.
func mount(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755,size="+size); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all but so many bytes of a file system, and returns what to remove to have them
// back.
func fill(t *testing.T, dir string, leave int) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := 0
	for block := make([]byte, 4096); ; size += len(block) {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(int64(max(0, size-leave))); err != nil {
		t.Fatal(err)
	}
	return ballast
}

// TestFullDisk runs out of space at each write of an installation: of the first file, of the
// second, of a folder, of the backup. Nothing changes, and nothing stays; once there is space,
// it works.
func TestFullDisk(t *testing.T) {
	const page = 4096
	for _, row := range []struct {
		about string
		leave int
		swap  bool
	}{
		{"not even the first file has room", 0, false},
		{"the second file has no room", page, false},
		{"the new folder has no room for its files", 0, true},
		{"the new folder has room for one file", page, true},
	} {
		t.Run(row.about, func(t *testing.T) {
			dir := mount(t, "64k")
			d := certmedic.Destination{Name: "web", Files: []certmedic.InstalledFile{
				{From: certmedic.PartFullchain, To: filepath.Join(dir, "fullchain.pem")}, {From: certmedic.PartPrivkey, To: filepath.Join(dir, "key.pem")},
			}}
			if row.swap {
				d = swapped(dir)
			}
			old, v := newVersion(t), newVersion(t)
			install(t, planSwap(t, old, d))
			ballast := fill(t, dir, row.leave)
			before := names(t, dir)
			_, err := deploy.Stage(planSwap(t, v, d), filepath.Join(t.TempDir(), "backup"))
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("error %v, want that there is no space", err)
			}
			if got := names(t, dir); !slices.Equal(got, before) || !holds(t, d, old) {
				t.Errorf("there are %q, want %q, and the old version", got, before)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			install(t, planSwap(t, v, d))
			if !holds(t, d, v) {
				t.Error("with space it is not installed")
			}
		})
	}
}

func TestFullDiskForBackups(t *testing.T) {
	state, dir := mount(t, "64k"), t.TempDir()
	d := destination(dir, certmedic.PartFullchain, certmedic.PartPrivkey)
	old := newVersion(t)
	install(t, planSwap(t, old, d))
	fill(t, state, 4096)
	_, err := deploy.Stage(planSwap(t, newVersion(t), d), filepath.Join(state, "backup"))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fmt.Sprint(err), "old content") {
		t.Errorf("error %v, want that there is no space for the old content", err)
	}
	wantNothingStaged(t, dir)
	if !holds(t, d, old) {
		t.Error("the old version is not in place")
	}
}

func TestReadOnlyTree(t *testing.T) {
	for _, swap := range []bool{false, true} {
		dir := mount(t, "64k")
		d := destination(dir, certmedic.PartFullchain, certmedic.PartPrivkey)
		if swap {
			d = swapped(dir)
		}
		old := newVersion(t)
		install(t, planSwap(t, old, d))
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		_, err := deploy.Stage(planSwap(t, newVersion(t), d), filepath.Join(t.TempDir(), "backup"))
		if !errors.Is(err, syscall.EROFS) || !holds(t, d, old) {
			t.Errorf("error %v, want that the file system is read-only", err)
		}
	}
}

// TestOtherFileSystem shows that a target on another file system than the backups, and one
// behind a link to another file system, are installed.
func TestOtherFileSystem(t *testing.T) {
	far, near := mount(t, "64k"), t.TempDir()
	d := destination(near, certmedic.PartFullchain, certmedic.PartPrivkey)
	target := write(t, far, "fullchain.pem", []byte("old"))
	if err := os.Symlink(target, d.Files[0].To); err != nil {
		t.Fatal(err)
	}
	v := newVersion(t)
	in := install(t, planSwap(t, v, d))
	if !holds(t, d, v) || read(t, target) != string(v.pair.FullchainPEM()) {
		t.Error("the version is not in place")
	}
	if err := deploy.PutBack(in.Changes()); err != nil || read(t, target) != "old" {
		t.Errorf("it is not put back: %v", err)
	}
	wantNothingStaged(t, far)
}

func TestLongPaths(t *testing.T) {
	for _, row := range []struct {
		about string
		name  string
		want  error
	}{
		{"a name as long as names can be", strings.Repeat("n", 255), nil},
		{"a longer name", strings.Repeat("n", 256), syscall.ENAMETOOLONG},
	} {
		dir := t.TempDir()
		v := newVersion(t)
		d := destination(dir, certmedic.PartPrivkey)
		d.Files[0].To = filepath.Join(dir, row.name)
		in, err := deploy.Stage(planSwap(t, v, d), filepath.Join(t.TempDir(), "backup"))
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.about, err, row.want)
		}
		if err == nil {
			if err := in.Commit(); err != nil || read(t, d.Files[0].To) != string(v.key) {
				t.Errorf("%s: it is not in place: %v", row.about, err)
			}
		}
		wantNothingStaged(t, dir)
	}
}
