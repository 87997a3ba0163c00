package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
)

// Installation is the files of a plan, staged beside their targets: on disk and synced, but
// nothing that a service reads has changed yet. End it with Commit or Abort.
type Installation struct {
	staged  []*atomicfile.Staged
	changes []certmedic.Change
}

// Stage copies what the targets hold now to backupDir (0700, created here) and stages the
// new content. On error nothing is left staged.
func Stage(p Plan, backupDir string) (*Installation, error) {
	in := &Installation{}
	if len(p.Files) == 0 {
		return in, nil
	}
	if err := os.MkdirAll(backupDir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the backup folder: %w", err)
	}
	for n, f := range p.Files {
		if err := in.stage(f, filepath.Join(backupDir, "file"+strconv.Itoa(n))); err != nil {
			return nil, errors.Join(fmt.Errorf("staging %q: %w", f.To, err), in.Abort())
		}
	}
	return in, nil
}

func (in *Installation) stage(f File, backup string) error {
	change, err := keep(f.To, backup)
	if err != nil {
		return err
	}
	mode, err := modeOf(f, change)
	if err != nil {
		return err
	}
	uid, gid, err := ownerOf(f.Owner)
	if err != nil {
		return err
	}
	staged, err := atomicfile.Stage(f.To, f.data, mode, uid, gid)
	if err != nil {
		return err
	}
	change.After = f.SHA256
	in.staged = append(in.staged, staged)
	in.changes = append(in.changes, change)
	return nil
}

// keep copies the present file to backup, 0600, and describes it.
func keep(path, backup string) (certmedic.Change, error) {
	change := certmedic.Change{Path: path, UID: -1, GID: -1}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return change, nil
	}
	if err != nil {
		return change, err
	}
	data, err := readFile(path)
	if err != nil {
		return change, err
	}
	if err := atomicfile.Write(backup, data, 0o600, -1, -1); err != nil {
		return change, fmt.Errorf("keeping the old content: %w", err)
	}
	sum := sha256.Sum256(data)
	change.Backup, change.Before = backup, hex.EncodeToString(sum[:])
	change.Mode = uint32(info.Mode().Perm())
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		change.UID, change.GID = int(stat.Uid), int(stat.Gid)
	}
	return change, nil
}

// Changes describes what Commit replaces, for the journal.
func (in *Installation) Changes() []certmedic.Change { return in.changes }

// Commit renames every staged file over its target. After an error some targets may be
// new: [PutBack] makes all of them old again.
func (in *Installation) Commit() error {
	for _, s := range in.staged {
		if err := s.Commit(); err != nil {
			return errors.Join(fmt.Errorf("installing %q: %w", s.Target(), err), in.Abort())
		}
	}
	return nil
}

// Abort removes what is staged and not committed.
func (in *Installation) Abort() error {
	var errs []error
	for _, s := range in.staged {
		errs = append(errs, s.Abort())
	}
	return errors.Join(errs...)
}

// PutBack restores the files that the changes describe, with their old mode and owner, and
// removes those that did not exist. It goes on after an error and reports all of them.
func PutBack(changes []certmedic.Change) error {
	var errs []error
	for _, c := range changes {
		if err := putBack(c); err != nil {
			errs = append(errs, fmt.Errorf("putting back %q: %w", c.Path, err))
		}
	}
	return errors.Join(errs...)
}

func putBack(c certmedic.Change) error {
	if c.Backup == "" {
		if err := os.Remove(resolved(c.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	data, err := readFile(c.Backup)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != c.Before {
		return fmt.Errorf("the backup %q is not what was kept", c.Backup)
	}
	return atomicfile.Write(c.Path, data, fs.FileMode(c.Mode), c.UID, c.GID)
}

// Installed reports whether every file of the changes holds its new content.
func Installed(changes []certmedic.Change) bool {
	for _, c := range changes {
		data, err := readFile(c.Path)
		if err != nil {
			return false
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != c.After {
			return false
		}
	}
	return true
}

// Sweep removes what a killed process had staged for the file at path. Call it only while
// nothing else installs files.
func Sweep(path string) error { return atomicfile.Sweep(filepath.Dir(resolved(path))) }

// resolved follows symbolic links, as an installation does; a path that cannot be followed
// is left as it is.
func resolved(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// modeOf returns the mode that a file gets: the configured one, else the present one, else
// 0644, and 0600 for keys.
func modeOf(f File, old certmedic.Change) (fs.FileMode, error) {
	if f.Mode != "" {
		mode, err := strconv.ParseUint(f.Mode, 8, 12)
		if err != nil {
			return 0, fmt.Errorf("mode %q is not octal", f.Mode)
		}
		return fs.FileMode(mode), nil
	}
	switch {
	case old.Before != "":
		return fs.FileMode(old.Mode), nil
	case f.From == certmedic.PartPrivkey:
		return 0o600, nil
	}
	return 0o644, nil
}

// ownerOf resolves "user:group"; -1 keeps what is there.
func ownerOf(owner string) (uid, gid int, err error) {
	uid, gid = -1, -1
	name, group, _ := strings.Cut(owner, ":")
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return -1, -1, fmt.Errorf("looking up user %q: %w", name, err)
		}
		if uid, err = strconv.Atoi(u.Uid); err != nil {
			return -1, -1, fmt.Errorf("looking up user %q: %w", name, err)
		}
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return -1, -1, fmt.Errorf("looking up group %q: %w", group, err)
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return -1, -1, fmt.Errorf("looking up group %q: %w", group, err)
		}
	}
	return uid, gid, nil
}
