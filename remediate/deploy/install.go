package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
)

// Installation is the files of a plan, staged beside their targets: on disk and synced, but
// nothing that a service reads has changed yet. End it with Commit or Abort.
type Installation struct {
	staged  []*atomicfile.Staged
	folders []*folder
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
		if f.Swap != "" {
			continue
		}
		if err := in.stage(f, filepath.Join(backupDir, "file"+strconv.Itoa(n))); err != nil {
			return nil, errors.Join(err, in.Abort())
		}
	}
	for _, link := range swaps(p.Files) {
		if err := in.stageFolder(link, p.Files); err != nil {
			return nil, errors.Join(fmt.Errorf("staging a folder for %q: %w", link, err), in.Abort())
		}
	}
	return in, nil
}

func (in *Installation) stage(f File, backup string) error {
	change, err := keep(f.To, backup)
	if err != nil {
		return fmt.Errorf("staging %q: %w", f.To, err)
	}
	staged, err := f.stageAt(f.To)
	if err != nil {
		return err
	}
	change.After = sum(f.data)
	in.staged = append(in.staged, staged)
	in.changes = append(in.changes, change)
	return nil
}

// stageAt stages the file at a path, with the owner and the attributes of the one that it
// replaces, and reads it again.
func (f File) stageAt(path string) (*atomicfile.Staged, error) {
	mode, err := modeOf(f)
	if err != nil {
		return nil, fmt.Errorf("staging %q: %w", f.To, err)
	}
	uid, gid := -1, -1
	if f.owned {
		if uid, gid, err = ownerOf(f.Owner); err != nil {
			return nil, fmt.Errorf("staging %q: %w", f.To, err)
		}
	}
	staged, err := atomicfile.New{Data: f.data, Mode: mode, UID: uid, GID: gid, Like: f.To}.Stage(path)
	if err != nil {
		return nil, err
	}
	data, err := readFile(staged.Path())
	if err == nil && !bytes.Equal(data, f.data) {
		err = errors.New("it is not what was written")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading what was staged for %q: %w", f.To, err), staged.Abort())
	}
	return staged, nil
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
	change.Backup, change.Before = backup, sum(data)
	change.Mode = uint32(info.Mode().Perm())
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		change.UID, change.GID = int(stat.Uid), int(stat.Gid)
	}
	return change, nil
}

// Changes describes what Commit replaces, for the journal.
func (in *Installation) Changes() []certmedic.Change { return in.changes }

// Commit renames every staged file over its target, directly one after the other, in the order
// of the plan, and leads the links of folders to the new ones. After an error some targets may
// be new: [PutBack] makes all of them old again.
func (in *Installation) Commit() error {
	err := atomicfile.CommitAll(in.staged)
	for _, f := range in.folders {
		if err == nil {
			err = f.commit()
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("installing: %w", err), in.Abort())
	}
	return nil
}

// Abort removes what is staged and not committed.
func (in *Installation) Abort() error {
	var errs []error
	for _, s := range in.staged {
		errs = append(errs, s.Abort())
	}
	for _, f := range in.folders {
		errs = append(errs, f.abort())
	}
	return errors.Join(errs...)
}

// PutBack restores the files that the changes describe, with their old mode and owner, removes
// those that did not exist, and leads links back. Everything is staged before the first rename,
// as an installation is. It goes on after an error and reports all of them.
func PutBack(changes []certmedic.Change) error {
	var errs []error
	var staged []*atomicfile.Staged
	for _, c := range changes {
		if c.Backup == "" {
			continue
		}
		old, err := stageBackup(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("putting back %q: %w", c.Path, err))
			continue
		}
		staged = append(staged, old)
	}
	for len(staged) > 0 {
		if err := atomicfile.CommitAll(staged); err != nil {
			errs = append(errs, fmt.Errorf("putting back: %w", err))
		}
		staged = slices.DeleteFunc(staged, func(s *atomicfile.Staged) bool { return s.Path() == "" })
	}
	for _, c := range changes {
		if err := remove(c); err != nil {
			errs = append(errs, fmt.Errorf("putting back %q: %w", c.Path, err))
		}
	}
	return errors.Join(errs...)
}

// stageBackup stages the old content of a file that was replaced.
func stageBackup(c certmedic.Change) (*atomicfile.Staged, error) {
	data, err := readFile(c.Backup)
	if err != nil {
		return nil, err
	}
	if sum(data) != c.Before {
		return nil, fmt.Errorf("the backup %q is not what was kept", c.Backup)
	}
	return atomicfile.Stage(c.Path, data, fs.FileMode(c.Mode), c.UID, c.GID)
}

// remove takes away what was not there before, and leads a link back.
func remove(c certmedic.Change) error {
	switch {
	case c.LinkAfter != "":
		return leadBack(c)
	case c.Backup != "":
		return nil
	}
	if err := os.Remove(resolved(c.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Installed reports whether every file of the changes holds its new content, and every link
// leads to its new folder.
func Installed(changes []certmedic.Change) bool {
	for _, c := range changes {
		if c.LinkAfter != "" {
			if target, err := os.Readlink(c.Path); err != nil || target != c.LinkAfter {
				return false
			}
			continue
		}
		if data, err := readFile(c.Path); err != nil || sum(data) != c.After {
			return false
		}
	}
	return true
}

// Sweep removes what a killed process had staged for the file, or the link of a folder, at
// path, and folders that links once led to, but for the last. What is staged for others in the same
// folder stays. Call it only while nothing else installs there.
func Sweep(path string) error {
	return errors.Join(sweepFolders(path), atomicfile.Sweep(path))
}

// resolved follows symbolic links, as an installation does; a path that cannot be followed
// is left as it is.
func resolved(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}
