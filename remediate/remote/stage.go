package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// stagingMark begins the name of the folder beside a target in which files wait for their rename.
// The rest is the deployment's id, so that no two share one.
const stagingMark = ".certmedic-remote-"

// stage puts the new content beside its targets and the old content into the journal's folder.
// Nothing that a service reads is changed.
func (d *Deployment) stage(ctx context.Context) error {
	d.dir = path.Join(d.place.deployments, d.id)
	if err := d.place.mkdirOurs(d.dir); err != nil {
		d.dir = ""
		return err
	}
	d.journal = journal{Version: d.order.Version, Token: d.order.Token, StartedAt: time.Now().UTC(), Phase: phaseStaging}
	targets, err := d.targets()
	if err != nil {
		return err
	}
	if err := d.announce(targets); err != nil {
		return err
	}
	var changes []certmedic.Change
	if d.order.Destination.Swap != "" {
		change, err := d.stageFolder(ctx)
		if err != nil {
			return fmt.Errorf("staging a folder for %q: %w", d.order.Destination.Swap, err)
		}
		changes = append(changes, change)
	} else {
		for n, f := range d.order.inOrder() {
			change, err := d.stageFile(ctx, n, f, targets[n])
			if err != nil {
				return fmt.Errorf("staging %q: %w", f.To, err)
			}
			changes = append(changes, change)
		}
	}
	d.journal.Phase, d.journal.Changes = phaseCommitting, changes
	d.Changes = changes
	return d.place.writeJournal(d.dir, d.journal)
}

// targets returns what will be replaced, in the order of the files: with links followed, or the
// one link of a destination that swaps.
func (d *Deployment) targets() ([]string, error) {
	var targets []string
	if link := d.order.Destination.Swap; link != "" {
		targets = []string{link}
	} else {
		for _, f := range d.order.inOrder() {
			target, err := d.place.resolve(f.To)
			if err != nil {
				return nil, err
			}
			targets = append(targets, target)
		}
	}
	trusted := map[string]bool{}
	for _, target := range targets {
		dir := path.Dir(target)
		if trusted[dir] {
			continue
		}
		if err := d.place.trusted(dir, d.place.uid); err != nil {
			return nil, fmt.Errorf("checking the folder of %q: %w", target, err)
		}
		trusted[dir] = true
	}
	return targets, nil
}

// announce writes into the journal where something will be staged, and then makes these folders.
func (d *Deployment) announce(targets []string) error {
	var dirs []string
	seen := map[string]bool{}
	for _, target := range targets {
		if dir := d.staging(target); !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	d.journal.Staging = append(d.journal.Staging, dirs...)
	if err := d.place.writeJournal(d.dir, d.journal); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := d.sweepStaging(dir); err != nil {
			return err
		}
		if err := d.place.mkdirOurs(dir); err != nil {
			return err
		}
	}
	return nil
}

// sweepStaging removes what earlier deployments of this destination staged beside dir after they had
// lost their journal. Who is still at work there finds nothing to rename.
func (d *Deployment) sweepStaging(dir string) error {
	beside := path.Dir(dir)
	entries, err := d.place.ReadDir(beside)
	if err != nil {
		return named("reading the folder", beside, err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagingMark+d.id[:idKey+1]) {
			if err := d.place.removeTree(path.Join(beside, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// staging returns the folder in which a file waits for its rename to a target.
func (d *Deployment) staging(target string) string {
	return path.Join(path.Dir(target), stagingMark+path.Base(d.dir))
}

func staged(n int) string { return "file" + strconv.Itoa(n) }

// stageFile stages one file and keeps what it replaces.
func (d *Deployment) stageFile(ctx context.Context, n int, f File, target string) (certmedic.Change, error) {
	change := certmedic.Change{Path: target, UID: -1, GID: -1, After: sum(f.Data)}
	stat, info, err := d.place.stat(target)
	if err != nil {
		return change, err
	}
	if stat != nil {
		if !d.place.atomic() {
			return change, errors.New("it exists, and the server has no posix-rename@openssh.com to replace it at once")
		}
		old, err := d.place.read(target)
		if err != nil {
			return change, err
		}
		change.Backup, change.Before = staged(n), sum(old)
		change.Mode, change.UID, change.GID = uint32(info.Mode().Perm()), int(stat.UID), int(stat.GID)
		if err := d.place.create(path.Join(d.dir, change.Backup), old); err != nil {
			return change, fmt.Errorf("keeping the old content: %w", err)
		}
	}
	at := path.Join(d.staging(target), staged(n))
	if err := d.place.create(at, f.Data); err != nil {
		return change, err
	}
	return change, d.dress(ctx, at, f, target)
}

// dress gives a staged file its owner and then its mode: those that are configured, else those of
// the file at like, else those of a new file beside it.
func (d *Deployment) dress(ctx context.Context, at string, f File, like string) error {
	mode := fs.FileMode(0o644)
	if f.From.HasKey() {
		mode = 0o600
	}
	uid, gid := -1, -1
	stat, info, err := d.place.stat(like)
	switch {
	case err != nil:
		return err
	case stat != nil:
		uid, gid = int(stat.UID), int(stat.GID)
		if mode = info.Mode().Perm(); f.From.HasKey() {
			mode &^= 0o007 // what was there may have held no key; who wants all to read it says so by mode
		}
	default:
		if gid, err = d.groupOf(path.Dir(like)); err != nil {
			return err
		}
	}
	if f.Owner != "" {
		if uid, gid, err = d.owner(ctx, f.Owner, uid, gid); err != nil {
			return err
		}
	}
	if f.Mode != "" {
		bits, _ := strconv.ParseUint(f.Mode, 8, 12) // checked with the order
		mode = fs.FileMode(bits).Perm()
	}
	return d.place.chown(at, uid, gid, mode)
}

// groupOf returns the group that a folder gives to what is made in it; -1 where it gives none.
func (d *Deployment) groupOf(dir string) (int, error) {
	stat, info, err := d.place.stat(dir)
	if err != nil || stat == nil || info.Mode()&fs.ModeSetgid == 0 {
		return -1, err
	}
	return int(stat.GID), nil
}

// chown gives a file its owner, where it has another one, and its mode. The mode comes last: a
// change of owner clears bits, and the wider mode must not hold for the wrong owner.
func (d disk) chown(at string, uid, gid int, mode fs.FileMode) error {
	stat, _, err := d.stat(at)
	if err != nil || stat == nil {
		return cmp.Or(err, fs.ErrNotExist)
	}
	if uid == -1 {
		uid = int(stat.UID)
	}
	if gid == -1 {
		gid = int(stat.GID)
	}
	if uid != int(stat.UID) || gid != int(stat.GID) {
		if err := d.Chown(at, uid, gid); err != nil {
			return fmt.Errorf("giving it to %d:%d: %w", uid, gid, err)
		}
	}
	return named("setting the mode of", at, d.Chmod(at, mode))
}

// commit renames what is staged over its targets, directly one after the other.
func (d *Deployment) commit() error {
	if err := d.mine(); err != nil {
		return errors.Join(err, d.abort())
	}
	for n, c := range d.journal.Changes {
		if err := d.commitOne(n, c); err != nil {
			return errors.Join(err, claimed(d.mine()))
		}
	}
	for _, c := range d.journal.Changes {
		d.place.syncDir(path.Dir(c.Path))
	}
	d.journal.Phase = phaseInstalled
	if err := d.place.writeJournal(d.dir, d.journal); err != nil {
		return errors.Join(err, claimed(d.mine()))
	}
	return d.unstage()
}

func (d *Deployment) commitOne(n int, c certmedic.Change) error {
	staging := d.staging(c.Path)
	if c.LinkAfter == "" {
		return d.place.replace(path.Join(staging, staged(n)), c.Path)
	}
	next := path.Join(path.Dir(c.Path), c.LinkAfter)
	if err := d.place.Rename(path.Join(staging, stagedFolder), next); err != nil {
		return named("renaming the new folder to", next, err)
	}
	return d.place.replace(path.Join(staging, stagedLink), c.Path)
}

// claimed keeps of an error that somebody else took over.
func claimed(err error) error {
	if errors.Is(err, ErrClaimed) || errors.Is(err, ErrFenced) {
		return ErrClaimed
	}
	return nil
}

// unstage removes the folders in which something waited.
func (d *Deployment) unstage() error {
	var errs []error
	for _, dir := range d.journal.Staging {
		errs = append(errs, d.place.removeTree(dir))
	}
	return errors.Join(errs...)
}

// abort ends a deployment that has renamed nothing.
func (d *Deployment) abort() error {
	if d.dir == "" {
		return nil
	}
	if _, err := d.place.Lstat(d.dir); errors.Is(err, fs.ErrNotExist) {
		d.dir = ""
		return errors.Join(ErrClaimed, d.unstage())
	}
	if err := d.unstage(); err != nil {
		return err
	}
	return d.over(false)
}
