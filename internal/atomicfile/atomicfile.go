// Package atomicfile replaces files so that a reader, or a machine that lost its power,
// sees either the whole old content or the whole new one.
//
// Deployments stage several files first and rename them together; everything else that
// writes a file calls [Write]. Commit and abort are different verbs: a file that was
// only half written can never be renamed into place by cleaning up.
package atomicfile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	tempPrefix = ".certmedic-"
	tempLink   = "link" // in a folder that is made for a link
	maxLinks   = 40     // as the kernel's own bound on following links
)

// Write replaces the file at path with data, mode and owner. A uid or gid of -1 keeps
// the owner of the file that is replaced, or the process's own where there was none. Its
// access control list, its SELinux label and the attributes that people gave it are kept; it
// is an error where that cannot be done.
// A symbolic link at path stays: the file that it points to is replaced, in that file's
// folder. After an error nothing is left behind and the old file is untouched, except
// where the error says that the folder could not be synced: then the new file is in
// place, but may not survive a power failure.
func Write(path string, data []byte, mode fs.FileMode, uid, gid int) error {
	staged, err := Stage(path, data, mode, uid, gid)
	if err != nil {
		return err
	}
	return staged.Commit()
}

// Create writes a file that must not exist yet, whole or not at all.
func Create(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("creating %q: %w", path, err)
	}
	_, errWrite := f.Write(data)
	if err := errors.Join(errWrite, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing %q: %w", path, err), os.Remove(path))
	}
	return nil
}

// Staged is new content that is safely on disk beside its target, waiting for its
// rename. It must be ended with Commit or Abort, and is used by one goroutine.
type Staged struct {
	temp   string // empty once it was committed or aborted
	target string
}

// Stage writes data beside path, with its final mode and owner, and syncs it. The file
// at path is not touched before [Staged.Commit]. The arguments are those of [Write].
func Stage(path string, data []byte, mode fs.FileMode, uid, gid int) (*Staged, error) {
	return New{Data: data, Mode: mode, UID: uid, GID: gid, Like: path}.Stage(path)
}

// New is what a file shall become.
type New struct {
	Data     []byte
	Mode     fs.FileMode
	UID, GID int    // -1 keeps those of Like
	Like     string // the file whose owner and attributes are kept, with symbolic links followed; empty or missing: there is none
}

// Stage is the function [Stage] for a file that may follow another one, elsewhere.
func (n New) Stage(path string) (*Staged, error) {
	target, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("staging %q: %w", path, err)
	}
	if n.Like != "" {
		if n.Like, err = resolve(n.Like); err != nil {
			return nil, fmt.Errorf("staging %q: %w", path, err)
		}
	}
	if n.UID, n.GID, err = keepOwner(n.Like, n.UID, n.GID); err != nil {
		return nil, fmt.Errorf("staging %q: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(target), tempPattern(target)) // 0600 from its first byte on
	if err != nil {
		return nil, fmt.Errorf("staging %q: %w", path, err)
	}
	if err := errors.Join(n.fill(f), f.Close()); err != nil {
		return nil, fmt.Errorf("staging %q: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return &Staged{temp: f.Name(), target: target}, nil
}

// Target returns the path that Commit will replace, with symbolic links resolved.
func (s *Staged) Target() string { return s.target }

// Path returns where the staged content lies now; empty once it was committed or aborted.
func (s *Staged) Path() string { return s.temp }

// Commit renames the staged file over its target and syncs the folder. When the rename
// fails, the staged file is removed and the target is as it was.
func (s *Staged) Commit() error {
	if err := s.rename(); err != nil {
		return err
	}
	return s.sync()
}

// CommitAll renames the staged files over their targets in the given order, directly one after
// the other, and syncs their folders then. It ends at the first rename that fails; what was not
// renamed is still staged.
func CommitAll(all []*Staged) error {
	var failed error
	renamed := 0
	for _, s := range all {
		if failed = s.rename(); failed != nil {
			break
		}
		renamed++
	}
	errs := []error{failed}
	synced := map[string]bool{}
	for _, s := range all[:renamed] {
		if dir := filepath.Dir(s.target); !synced[dir] {
			synced[dir] = true
			errs = append(errs, s.sync())
		}
	}
	return errors.Join(errs...)
}

func (s *Staged) rename() error {
	if s.temp == "" {
		return fmt.Errorf("committing %q: it was committed or aborted before", s.target)
	}
	temp := s.temp
	s.temp = ""
	if err := os.Rename(temp, s.target); err != nil {
		return fmt.Errorf("committing %q: %w", s.target, errors.Join(err, os.Remove(temp)))
	}
	return nil
}

// sync makes a rename survive a power failure.
func (s *Staged) sync() error {
	if err := SyncDir(filepath.Dir(s.target)); err != nil {
		return fmt.Errorf("committing %q: it is in place, but syncing its folder: %w", s.target, err)
	}
	return nil
}

// Abort removes the staged file. The target is as it was. After Commit or an earlier
// Abort it does nothing, so it can be deferred.
func (s *Staged) Abort() error {
	if s.temp == "" {
		return nil
	}
	temp := s.temp
	s.temp = ""
	if err := os.Remove(temp); err != nil {
		return fmt.Errorf("aborting %q: %w", s.target, err)
	}
	return nil
}

// tempPattern is how what is staged for a target is called, beside it. What is staged for another
// one in the same folder is called otherwise.
func tempPattern(target string) string {
	sum := sha256.Sum256([]byte(filepath.Base(target))) // not the whole path, which can be spelled in several ways
	return fmt.Sprintf("%s%x-*", tempPrefix, sum[:6])
}

// Sweep removes what a killed process had staged for the file or the link at path, which is
// followed. What is staged for others beside it stays. Call it only while nothing else stages for path.
func Sweep(path string) error {
	errs := []error{sweep(filepath.Dir(path), tempPattern(path))}
	if target, err := resolve(path); err == nil && target != path {
		errs = append(errs, sweep(filepath.Dir(target), tempPattern(target)))
	}
	return errors.Join(errs...)
}

// SweepFolder removes what killed processes had staged for any file or link in dir. Call it only
// while nothing else stages files there.
func SweepFolder(dir string) error { return sweep(dir, tempPrefix+"*") }

func sweep(dir, pattern string) error {
	names, err := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
	if err != nil {
		return fmt.Errorf("sweeping %q: %w", dir, err)
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, removeStaged(name))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweeping %q: %w", dir, err)
	}
	return nil
}

// removeStaged removes a file, or a folder that holds no more than a link that was not in place
// yet. A folder that holds anything else is somebody's own.
func removeStaged(name string) error {
	info, err := os.Lstat(name)
	if err == nil && info.IsDir() {
		link := filepath.Join(name, tempLink)
		if _, errLink := os.Readlink(link); errLink == nil {
			err = os.Remove(link)
		}
	}
	if err == nil {
		err = os.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	return err
}

// fill gives the file its owner before its mode: a change of owner clears mode bits, and
// the wider mode must not hold while the file still has another owner. The mode comes last,
// because it bounds what an access control list grants.
func (n New) fill(f *os.File) error {
	if _, err := f.Write(n.Data); err != nil {
		return err
	}
	if n.UID != -1 || n.GID != -1 {
		if err := f.Chown(n.UID, n.GID); err != nil {
			return err
		}
	}
	if err := mirror(f, n.Like); err != nil {
		return err
	}
	if err := f.Chmod(n.Mode); err != nil {
		return err
	}
	return f.Sync()
}

// resolve follows symbolic links at path by hand, because the last one may point to a
// file that does not exist yet.
func resolve(path string) (string, error) {
	target, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range maxLinks {
		info, err := os.Lstat(target)
		if errors.Is(err, fs.ErrNotExist) {
			return target, nil
		}
		if err != nil {
			return "", err
		}
		if info.Mode().IsRegular() {
			return target, nil
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return "", fmt.Errorf("%q is not a regular file", target)
		}
		link, err := os.Readlink(target)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(link) {
			// Joined without cleaning: `..` after a linked folder means the parent of
			// where that link leads.
			link = filepath.Dir(target) + string(filepath.Separator) + link
		}
		target = link
	}
	return "", syscall.ELOOP
}

// keepOwner replaces -1 by the present owner of the target. It stays -1 where that is
// what a new file gets anyway, so that no privilege is needed.
func keepOwner(target string, uid, gid int) (int, int, error) {
	info, err := os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return uid, gid, nil
	}
	if err != nil {
		return 0, 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return uid, gid, nil
	}
	if uid == -1 && int(stat.Uid) != os.Geteuid() {
		uid = int(stat.Uid)
	}
	if gid == -1 {
		gid = int(stat.Gid)
	}
	return uid, gid, nil
}

// MkdirLike makes a folder with the mode, owner and attributes of the one at like, or with
// mode 0755 where like is empty or missing.
func MkdirLike(path, like string) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(like)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Chmod(path, 0o755)
	}
	if err != nil {
		return fmt.Errorf("making %q like %q: %w", path, like, errors.Join(err, os.Remove(path)))
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := resemble(dir, like, info); err != nil {
		return fmt.Errorf("making %q like %q: %w", path, like, errors.Join(err, os.Remove(path)))
	}
	return nil
}

func resemble(dir *os.File, like string, info fs.FileInfo) error {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := dir.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	if err := mirror(dir, like); err != nil {
		return err
	}
	return dir.Chmod(info.Mode() & (fs.ModePerm | fs.ModeSetgid | fs.ModeSticky))
}

// Link leads the symbolic link at path to target by one rename, or makes it where there is
// none, and syncs its folder. What is at path has to be a link, or nothing.
func Link(target, path string) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("linking %q: it is there and is no symbolic link", path)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), tempPattern(path)) // a name of our own, for a link cannot have one made
	if err != nil {
		return fmt.Errorf("linking %q: %w", path, err)
	}
	defer os.Remove(dir)
	temp := filepath.Join(dir, tempLink)
	if err := os.Symlink(target, temp); err != nil {
		return fmt.Errorf("linking %q: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("linking %q: %w", path, errors.Join(err, os.Remove(temp)))
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("linking %q: it is in place, but syncing its folder: %w", path, err)
	}
	return nil
}

// SyncDir makes the names in a folder survive a power failure.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func escapeGlob(dir string) string {
	var out []byte
	for i := range len(dir) {
		if c := dir[i]; c == '*' || c == '?' || c == '[' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, dir[i])
	}
	return string(out)
}
