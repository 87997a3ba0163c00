package remote

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"
)

// maxLinks bounds the symbolic links that are followed, as the kernel does.
const maxLinks = 40

// maxEntries bounds what is looked at in a folder of the host.
const maxEntries = 10000

// disk is the file system of a host.
type disk struct{ *sftp.Client }

// atomic reports whether the server can rename a file over another one.
func (d disk) atomic() bool {
	_, ok := d.HasExtension("posix-rename@openssh.com")
	return ok
}

// replace renames a file, also over another one where the server can do that.
func (d disk) replace(from, to string) error {
	if d.atomic() {
		return named("renaming", to, d.PosixRename(from, to))
	}
	return named("renaming", to, d.Rename(from, to))
}

// read returns the content of a file of at most maxFile bytes.
func (d disk) read(name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, named("reading", name, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, named("reading", name, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("reading %q: it is larger than %d bytes", name, maxFile)
	}
	return data, nil
}

// create writes a file that must not exist yet, in a folder that nobody else can enter, and reads
// it back.
func (d disk) create(name string, data []byte) error {
	f, err := d.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return named("creating", name, err)
	}
	_, errWrite := f.Write(data)
	if err := errors.Join(f.Chmod(0o600), errWrite, d.sync(f), f.Close()); err != nil {
		return named("writing", name, err)
	}
	back, err := d.read(name)
	if err == nil && sum(back) != sum(data) {
		err = fmt.Errorf("reading %q back: it is not what was written", name)
	}
	return err
}

// sync makes what was written survive a power failure, where the server offers that.
func (d disk) sync(f *sftp.File) error {
	if _, ok := d.HasExtension("fsync@openssh.com"); !ok {
		return nil
	}
	return f.Sync()
}

// syncDir makes a rename survive a power failure, where the server lets a folder be opened.
func (d disk) syncDir(name string) {
	f, err := d.Open(name)
	if err != nil {
		return
	}
	_ = d.sync(f)
	_ = f.Close()
}

// mkdirOurs makes a folder that nobody else can enter.
func (d disk) mkdirOurs(name string) error {
	if err := d.Mkdir(name); err != nil {
		return named("making the folder", name, err)
	}
	return named("making the folder", name, d.Chmod(name, 0o700))
}

// removeTree removes a folder of ours, which may be gone already.
func (d disk) removeTree(name string) error {
	err := d.RemoveAll(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return named("removing", name, err)
}

// resolve follows symbolic links at a path, because the last one may lead to a file that does not
// exist yet.
func (d disk) resolve(name string) (string, error) {
	target := name
	for range maxLinks {
		info, err := d.Lstat(target)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && info.Mode().IsRegular():
			return target, nil
		case err != nil:
			return "", named("looking at", target, err)
		case info.Mode()&fs.ModeSymlink == 0:
			return "", fmt.Errorf("%q is not a regular file", target)
		}
		link, err := d.ReadLink(target)
		if err != nil {
			return "", named("reading the link", target, err)
		}
		if !path.IsAbs(link) {
			link = path.Dir(target) + "/" + link // not cleaned: ".." after a linked folder is the parent of where that leads
		}
		target = link
	}
	return "", fmt.Errorf("%q: more than %d symbolic links", name, maxLinks)
}

// stat returns what is at a path; nil where nothing is.
func (d disk) stat(name string) (*sftp.FileStat, fs.FileInfo, error) {
	info, err := d.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, named("looking at", name, err)
	}
	stat, ok := info.Sys().(*sftp.FileStat)
	if !ok {
		return nil, nil, fmt.Errorf("looking at %q: the server does not say whose it is", name)
	}
	return stat, info, nil
}

// trusted checks that nobody but root and uid may write a folder or its parents. As on this host,
// a folder of root with the sticky bit is accepted as a parent, and a group only if it is root's.
func (d disk) trusted(dir string, uid uint32) error {
	real, err := d.RealPath(dir)
	if err != nil {
		return named("looking at", dir, err)
	}
	at := ""
	for _, name := range append([]string{""}, strings.Split(strings.Trim(real, "/"), "/")...) {
		at = path.Join("/", at, name)
		stat, info, err := d.stat(at)
		if err != nil {
			return err
		}
		if stat == nil {
			return fmt.Errorf("%q: %w", at, fs.ErrNotExist)
		}
		perm := info.Mode().Perm()
		switch {
		case stat.UID != 0 && stat.UID != uid:
			return fmt.Errorf("%q on the host belongs to another user (uid %d)", at, stat.UID)
		case at != real && stat.UID == 0 && info.Mode()&fs.ModeSticky != 0:
		case perm&0o002 != 0, perm&0o020 != 0 && stat.GID != 0:
			return fmt.Errorf("%q on the host may be written by others (mode %04o)", at, perm)
		}
	}
	return nil
}

func named(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", doing, name, err)
}
