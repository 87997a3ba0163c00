package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxLinks bounds the links that are followed, as the kernel does.
const maxLinks = 40

// The permissions, as in the bits of a mode.
const (
	mayRead   = 4
	maySearch = 1
)

// node is a folder, a link or a file on the way to a file, with what the kernel asks of it.
type node struct {
	path     string // inside the root, free of links
	kind     fs.FileMode
	mode     uint32 // with the bits above the permissions
	uid, gid int
	acl      acl
	label    string // of SELinux
	want     uint32 // what has to be allowed
	within   *node  // of a last link: the folder that it is in
}

// walk goes to a file as the kernel does, component by component. It returns each folder that is
// searched once, links that are followed at the end, and the file.
func walk(root, path string) ([]node, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, errors.New("the path is not absolute")
	}
	at, err := inspect(root, "/")
	if err != nil {
		return nil, err
	}
	var way []node
	rest := components(path)
	for links := 0; len(rest) > 0; {
		if at.kind != fs.ModeDir {
			return nil, fmt.Errorf("%q: %w", at.path, syscall.ENOTDIR)
		}
		at.want = maySearch
		if !slices.ContainsFunc(way, func(n node) bool { return n.path == at.path }) {
			way = append(way, at)
		}
		next, err := inspect(root, filepath.Join(at.path, rest[0]))
		if err != nil {
			return nil, err
		}
		rest = rest[1:]
		if next.kind != fs.ModeSymlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("%q: %w", path, syscall.ELOOP)
		}
		target, err := os.Readlink(real(root, next.path))
		if err != nil {
			return nil, err
		}
		if len(rest) == 0 {
			folder := at
			next.within = &folder
			way = append(way, next)
		}
		rest = append(components(target), rest...)
		if strings.HasPrefix(target, "/") {
			if at, err = inspect(root, "/"); err != nil {
				return nil, err
			}
		}
	}
	at.want = mayRead
	return append(way, at), nil
}

// components returns the names of a path. ".." stays: [filepath.Join] goes up from a path that
// is free of links, as the kernel does.
func components(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

// real returns where a path inside a root is for this process. The root may be a link of /proc,
// hence its name is followed by a slash at least.
func real(root, path string) string { return strings.TrimSuffix(root, "/") + path }

func inspect(root, path string) (node, error) {
	name := real(root, path)
	info, err := os.Lstat(name)
	if err != nil {
		return node{}, err
	}
	n := node{path: path, kind: info.Mode().Type(), uid: nobody, gid: nobody}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		n.uid, n.gid, n.mode = int(sys.Uid), int(sys.Gid), sys.Mode
	}
	data, err := attribute(name, "system.posix_acl_access")
	if err == nil {
		n.acl, err = parseACL(data)
	}
	if err != nil {
		return node{}, fmt.Errorf("reading the access control list of %q: %w", path, err)
	}
	data, err = attribute(name, "security.selinux")
	if err != nil {
		return node{}, fmt.Errorf("reading the label of %q: %w", path, err)
	}
	n.label = strings.TrimRight(string(data), "\x00")
	return n, nil
}

// attribute reads an extended attribute; none where the file, or its file system, has it not.
func attribute(path, name string) ([]byte, error) {
	buf := make([]byte, 1<<10)
	size, err := unix.Lgetxattr(path, name, buf)
	if errors.Is(err, unix.ERANGE) {
		buf = make([]byte, 64<<10) // the most that Linux allows (xattr(7))
		size, err = unix.Lgetxattr(path, name, buf)
	}
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return buf[:size], nil
}
