package atomicfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/internal/atomicfile"
)

const (
	acl        = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// accessList is a list that lets uid 12345 read, as the kernel takes it: version 2, then the
// owner, a user, the group, the mask and the others, each with its bits and its id.
func accessList(mask uint16) []byte {
	const none = 0xffffffff
	var b bytes.Buffer
	write := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // never fails
	write(uint32(2))
	for _, entry := range []struct {
		tag, perm uint16
		id        uint32
	}{{0x01, 6, none}, {0x02, 4, 12345}, {0x04, 0, none}, {0x10, mask, none}, {0x20, 0, none}} {
		write(entry)
	}
	return b.Bytes()
}

func setAttribute(t *testing.T, path, name string, value []byte) {
	t.Helper()
	err := unix.Setxattr(path, name, value, 0)
	if errors.Is(err, unix.ENOTSUP) {
		t.Skipf("%s cannot be set here: %v", name, err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func attribute(t *testing.T, path, name string) string {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Getxattr(path, name, buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

// TestAttributesAreKept shows that whoever may read a file by its access control list may
// still do so when it was replaced, and that nobody else may.
func TestAttributesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	mustWrite(t, path, "old")
	setAttribute(t, path, acl, accessList(4))
	setAttribute(t, path, "user.note", bytes.Repeat([]byte("x"), 2000))
	before, note := attribute(t, path, acl), attribute(t, path, "user.note")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, []byte("new"), info.Mode().Perm(), -1, -1); err != nil {
		t.Fatal(err)
	}
	if read(t, path) != "new" || attribute(t, path, acl) != before || attribute(t, path, "user.note") != note {
		t.Errorf("list %q, note %q; want %q, %q", attribute(t, path, acl), attribute(t, path, "user.note"), before, note)
	}
	if err := atomicfile.Write(path, []byte("new"), 0o600, -1, -1); err != nil {
		t.Fatal(err)
	}
	if got := attribute(t, path, acl); got != string(accessList(0)) {
		t.Errorf("a narrower mode leaves the list as %q: its mask has to bound what it grants", got)
	}
}

// TestSELinuxLabelIsKept writes a label, which a machine without SELinux lets root do.
func TestSELinuxLabelIsKept(t *testing.T) {
	const label = "system_u:object_r:cert_t:s0\x00"
	path := filepath.Join(t.TempDir(), "cert.pem")
	mustWrite(t, path, "old")
	if err := unix.Setxattr(path, "security.selinux", []byte(label), 0); err != nil {
		t.Skipf("a label cannot be set here: %v", err)
	}
	if err := atomicfile.Write(path, []byte("new"), 0o644, -1, -1); err != nil {
		t.Fatal(err)
	}
	if got := attribute(t, path, "security.selinux"); got != label {
		t.Errorf("the label is %q, want %q", got, label)
	}
}

// TestNoListIsInherited shows that a folder's default list does not open a file to more people
// than those who may read the one that is replaced; a new file takes it, as any does.
func TestNoListIsInherited(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	mustWrite(t, path, "old")
	setAttribute(t, dir, aclDefault, accessList(4))
	if err := atomicfile.Write(path, []byte("new"), 0o640, -1, -1); err != nil {
		t.Fatal(err)
	}
	if got := attribute(t, path, acl); got != unix.ENODATA.Error() {
		t.Errorf("the replaced file has a list now: %q", got)
	}
	fresh := filepath.Join(dir, "fresh.pem")
	if err := atomicfile.Write(fresh, []byte("new"), 0o640, -1, -1); err != nil {
		t.Fatal(err)
	}
	if got := attribute(t, fresh, acl); got == unix.ENODATA.Error() {
		t.Error("a new file has not taken the default of its folder")
	}
}

func TestMkdirLike(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(old, 0o750|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	setAttribute(t, old, aclDefault, accessList(4))
	for _, row := range []struct {
		about, like string
		want        os.FileMode
	}{
		{"a folder like another one", old, 0o750 | os.ModeSetgid | os.ModeDir},
		{"a folder like one that is missing", filepath.Join(dir, "missing"), 0o755 | os.ModeDir},
	} {
		path := filepath.Join(dir, row.about)
		if err := atomicfile.MkdirLike(path, row.like); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != row.want {
			t.Errorf("%s has the mode %v, want %v (%v)", row.about, info.Mode(), row.want, err)
		}
		if got, want := attribute(t, path, aclDefault), attribute(t, row.like, aclDefault); got != want && row.like == old {
			t.Errorf("%s has the default list %q, want %q", row.about, got, want)
		}
	}
	if err := atomicfile.MkdirLike(old, old); !errors.Is(err, os.ErrExist) {
		t.Errorf("a folder that is there: %v", err)
	}
}

func TestLink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	for _, target := range []string{"one", "two", "two"} {
		if err := atomicfile.Link(target, link); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(link); err != nil || got != target {
			t.Errorf("the link says %q, want %q (%v)", got, target, err)
		}
	}
	wantNames(t, dir, "current")
	file := filepath.Join(dir, "file")
	mustWrite(t, file, "old")
	if err := atomicfile.Link("one", file); err == nil || read(t, file) != "old" {
		t.Errorf("a file was replaced by a link: %v", err)
	}
}

func TestCommitAll(t *testing.T) {
	dir := t.TempDir()
	stage := func(name string) *atomicfile.Staged {
		s, err := atomicfile.Stage(filepath.Join(dir, name), []byte("new"), 0o600, -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second, third := stage("first"), stage("second"), stage("third")
	if err := os.Mkdir(filepath.Join(dir, "second"), 0o755); err != nil { // no file can be renamed over it
		t.Fatal(err)
	}
	if err := atomicfile.CommitAll([]*atomicfile.Staged{first, second, third}); err == nil {
		t.Fatal("a rename that cannot be is none")
	}
	if read(t, filepath.Join(dir, "first")) != "new" || first.Path() != "" || third.Path() == "" {
		t.Errorf("after the second failed the first lies in %q and the third in %q", first.Path(), third.Path())
	}
	if err := third.Abort(); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, "first", "second")
}
