package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The attributes of a file that say who may read it, beside its mode: POSIX access control
// lists (acl(5)) and the label of SELinux.
const (
	attributeACL     = "system.posix_acl_access"
	attributeDefault = "system.posix_acl_default" // of a folder: for what is made in it
	attributeSELinux = "security.selinux"
	attributeUser    = "user." // what people attach to files
)

// maxAttribute bounds an attribute, as Linux does (xattr(7)), in bytes.
const maxAttribute = 64 << 10

// mirror gives the open file the attributes of the file at path: its access control list, its
// SELinux label, and those of people. A list that the file has by its folder's default, and the
// other file has not, is taken away. Where there is no file at path, nothing is to be kept.
func mirror(f *os.File, path string) error {
	wanted, err := attributes(func(buf []byte) (int, error) { return unix.Listxattr(path, buf) },
		func(name string, buf []byte) (int, error) { return unix.Getxattr(path, name, buf) })
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the attributes of %q: %w", path, err)
	}
	fd := int(f.Fd())
	present, err := attributes(func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
	if err != nil {
		return fmt.Errorf("reading the attributes of %q: %w", f.Name(), err)
	}
	for name, value := range wanted {
		if had, ok := present[name]; ok && bytes.Equal(had, value) {
			continue
		}
		if err := unix.Fsetxattr(fd, name, value, 0); err != nil {
			return fmt.Errorf("keeping the attribute %q of %q: %w", name, path, err)
		}
	}
	for _, list := range []string{attributeACL, attributeDefault} {
		if present[list] == nil || wanted[list] != nil {
			continue
		}
		if err := unix.Fremovexattr(fd, list); err != nil {
			return fmt.Errorf("taking away the access control list that %q has not: %w", path, err)
		}
	}
	return nil
}

// attributes reads the attributes that are kept, by name. A file system that has none says so
// by an error, which is none here.
func attributes(list func([]byte) (int, error), get func(string, []byte) (int, error)) (map[string][]byte, error) {
	found := map[string][]byte{}
	names, err := grown(list)
	if errors.Is(err, unix.ENOTSUP) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(string(names), "\x00") {
		if !slices.Contains([]string{attributeACL, attributeDefault, attributeSELinux}, name) && !strings.HasPrefix(name, attributeUser) {
			continue
		}
		value, err := grown(func(buf []byte) (int, error) { return get(name, buf) })
		if errors.Is(err, unix.ENODATA) {
			continue // it was taken away meanwhile
		}
		if err != nil {
			return nil, err
		}
		found[name] = value
	}
	return found, nil
}

// grown calls read with a buffer that is large enough.
func grown(read func([]byte) (int, error)) ([]byte, error) {
	for size := 1 << 10; ; size *= 8 {
		buf := make([]byte, size)
		n, err := read(buf)
		if errors.Is(err, unix.ERANGE) && size <= maxAttribute {
			continue
		}
		if err != nil {
			return nil, err
		}
		return slices.Clip(buf[:n]), nil
	}
}
