// Package ownership decides whether a file is safe to believe: whether nobody but root
// and the user of this process can change it, or put another file in its place.
//
// The configuration loader calls it for the configuration itself, for files that hold
// secrets and for programs that will be run; the remedies call it for hooks before each
// run. It promises to look at every component of the path as given, and of the path
// behind each symbolic link, and to say which one is too open and how to close it. It
// changes nothing.
package ownership

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxLinks bounds the symbolic links that are followed, as the kernel does.
const maxLinks = 40

// Error says that a component of a path is too open. Problem and Fix are sentences for
// the owner of the host.
type Error struct {
	Path    string // the component that is too open, free of symbolic links
	Problem string // such as "may be written by others (mode 0666, owner root:root)"
	Fix     string // a command that closes it, such as "chmod go-w /etc/certmedic"
}

// Error returns the component, what is wrong with it and how to put it right.
func (e *Error) Error() string {
	return fmt.Sprintf("%q %s; to fix it: %s", e.Path, e.Problem, e.Fix)
}

// Check reports whether only root and the effective user of this process can change the
// file at path. The file, its parent folders and the symbolic links on the way have to
// belong to one of the two, and nobody else may write the file or the folders. A group
// may write only if it is root's (gid 0) or has the owner as its only member. A folder that others may write is accepted as
// a parent if it belongs to root and has the sticky bit, as /tmp has.
//
// The error is an [*Error], or wraps the [fs.PathError] of a path that cannot be looked
// at; it is [fs.ErrNotExist] where the file is missing.
func Check(path string) error {
	_, err := checkPath(path)
	return err
}

// CheckSecret is [Check] for a file that holds a secret: others may not read it either.
// Its group may.
func CheckSecret(path string) error {
	last, err := checkPath(path)
	if err != nil {
		return err
	}
	if last.info.Mode().Perm()&0o004 != 0 {
		return last.problem("holds a secret and may be read by others", "chmod o-rwx")
	}
	return nil
}

// component is one name of a path that is free of symbolic links.
type component struct {
	path string
	info fs.FileInfo
}

// checkPath walks from the root to the file, and returns the file itself.
func checkPath(path string) (component, error) {
	if path == "" {
		return component{}, fmt.Errorf("checking the owner of a file: the path is empty")
	}
	rest, err := names(path)
	if err != nil {
		return component{}, err
	}
	at, err := look("/")
	if err != nil {
		return component{}, err
	}
	links := 0
	for len(rest) > 0 {
		if err := at.checkFolder(); err != nil {
			return component{}, err
		}
		next, err := look(filepath.Join(at.path, rest[0]))
		if err != nil {
			return component{}, err
		}
		rest = rest[1:]
		if next.info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return component{}, fmt.Errorf("checking the owner of %q: more than %d symbolic links", path, maxLinks)
		}
		if at, rest, err = next.follow(at, rest); err != nil {
			return component{}, err
		}
	}
	return at, at.checkFile()
}

// names splits a path into its components. It does not clean the path: "link/.." is
// the parent of the link's target.
func names(path string) ([]string, error) {
	if !strings.HasPrefix(path, "/") {
		folder, err := os.Getwd()
		if err != nil {
			return nil, fmt.Errorf("checking the owner of %q: %w", path, err)
		}
		path = folder + "/" + path
	}
	return strings.Split(strings.Trim(path, "/"), "/"), nil
}

func look(path string) (component, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return component{}, fmt.Errorf("checking the owner of a file: %w", err)
	}
	return component{path: path, info: info}, nil
}

// follow returns where the walk goes on after a symbolic link in the folder.
func (c component) follow(folder component, rest []string) (component, []string, error) {
	if err := c.checkOwner(); err != nil {
		return component{}, nil, err
	}
	target, err := os.Readlink(c.path)
	if err != nil {
		return component{}, nil, fmt.Errorf("checking the owner of a file: %w", err)
	}
	if strings.HasPrefix(target, "/") {
		if folder, err = look("/"); err != nil {
			return component{}, nil, err
		}
	}
	steps := strings.Split(strings.Trim(target, "/"), "/")
	return folder, append(steps, rest...), nil
}

// checkFolder checks a parent. Sticky folders of root are shared by design: what lies
// in them belongs to its owner alone, and that owner is checked next.
func (c component) checkFolder() error {
	if c.info.Mode()&fs.ModeSticky != 0 && c.info.IsDir() && c.owner().Uid == 0 {
		return nil
	}
	return c.checkFile()
}

func (c component) checkFile() error {
	if err := c.checkOwner(); err != nil {
		return err
	}
	mode := c.info.Mode().Perm()
	if mode&0o002 != 0 {
		return c.problem("may be written by others", "chmod go-w")
	}
	if mode&0o020 != 0 && c.owner().Gid != 0 && !local().private(c.owner().Gid, c.owner().Uid) {
		return c.problem("may be written by its group", "chmod g-w")
	}
	return nil
}

func (c component) checkOwner() error {
	euid := os.Geteuid()
	uid := int(c.owner().Uid)
	if uid == 0 || uid == euid {
		return nil
	}
	return c.problem("belongs to another user", "chown -h "+strconv.Itoa(euid))
}

func (c component) owner() *syscall.Stat_t {
	stat, ok := c.info.Sys().(*syscall.Stat_t)
	if !ok { // never on Unix; nobody's file is then nobody's to trust
		return &syscall.Stat_t{Uid: ^uint32(0), Gid: ^uint32(0)}
	}
	return stat
}

func (c component) problem(what, command string) error {
	stat := c.owner()
	return &Error{
		Path: c.path,
		Problem: fmt.Sprintf("%s (mode %04o, owner %s:%s)", what, c.info.Mode().Perm(),
			userName(stat.Uid), groupName(stat.Gid)),
		Fix: command + " " + argument(c.path),
	}
}

func userName(uid uint32) string {
	return nameIn(local().passwd, uid)
}

func groupName(gid uint32) string {
	return nameIn(local().group, gid)
}

// nameIn returns the name that a local database has for a number; else the number. Name services
// are not asked: in the tree of another host their libraries would be that host's.
func nameIn(database string, id uint32) string {
	for _, fields := range records(database, 3) {
		if fields[2] == number(id) {
			return fields[0]
		}
	}
	return number(id)
}

// argument quotes a path so that a person can paste it.
func argument(path string) string {
	plain := strings.IndexFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+@", r) &&
			(r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
	if plain {
		return path
	}
	return strconv.Quote(path)
}
