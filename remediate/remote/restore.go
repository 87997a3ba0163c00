package remote

import (
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

// restoreFiles puts back what a deployment changed. A file that holds neither what was there before
// nor what the deployment brought is somebody else's work by now, and stays.
func (d *Deployment) restoreFiles() error {
	if err := d.mine(); err != nil {
		return err
	}
	if err := d.unstage(); err != nil {
		return err
	}
	d.journal.Staging = nil
	var targets []string
	ours := make([]bool, len(d.journal.Changes))
	for n, c := range d.journal.Changes {
		holds, err := d.holds(c)
		if err != nil {
			return err
		}
		if holds == holdsNew {
			ours[n] = true
			targets = append(targets, c.Path)
		}
		if holds == holdsForeign {
			d.note("%q was changed by somebody else meanwhile, and stays", c.Path)
		}
	}
	if len(targets) == 0 {
		return nil
	}
	if err := d.announce(targets); err != nil {
		return err
	}
	for n, c := range d.journal.Changes {
		if ours[n] {
			if err := d.stageOld(n, c); err != nil {
				return fmt.Errorf("putting back %q: %w", c.Path, err)
			}
		}
	}
	if err := d.mine(); err != nil {
		return err
	}
	return d.commitOld(ours)
}

// holding says whose content is at a path.
type holding int

const (
	holdsOld holding = iota
	holdsNew
	holdsForeign
)

// holds tells what is at the path of a change now.
func (d *Deployment) holds(c certmedic.Change) (holding, error) {
	now, before, after := "", c.Before, c.After
	if c.LinkAfter != "" {
		before, after = c.LinkBefore, c.LinkAfter
		link, err := d.place.ReadLink(c.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return holdsForeign, named("reading the link", c.Path, err)
		}
		now = link
	} else {
		data, err := d.place.read(c.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return holdsForeign, err
		}
		if err == nil {
			now = sum(data)
		}
	}
	switch now {
	case before: // also where both are the same
		return holdsOld, nil
	case after:
		return holdsNew, nil
	}
	return holdsForeign, nil
}

// stageOld stages what was there before.
func (d *Deployment) stageOld(n int, c certmedic.Change) error {
	at := path.Join(d.staging(c.Path), staged(n))
	if c.LinkAfter != "" {
		if c.LinkBefore == "" {
			return nil
		}
		return d.place.Symlink(c.LinkBefore, at)
	}
	if c.Backup == "" {
		return nil
	}
	data, err := d.place.read(path.Join(d.dir, path.Base(c.Backup)))
	if err != nil {
		return err
	}
	if sum(data) != c.Before {
		return fmt.Errorf("the backup %q is not what was kept", c.Backup)
	}
	if err := d.place.create(at, data); err != nil {
		return err
	}
	return d.place.chown(at, c.UID, c.GID, fs.FileMode(c.Mode).Perm())
}

// commitOld renames what was there before over its targets, and removes what was not there.
func (d *Deployment) commitOld(ours []bool) error {
	for n, c := range d.journal.Changes {
		if !ours[n] {
			continue
		}
		var err error
		if c.Backup == "" && c.LinkBefore == "" {
			err = gone(d.place.Remove(c.Path))
		} else {
			err = d.place.replace(path.Join(d.staging(c.Path), staged(n)), c.Path)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("putting back %q: %w", c.Path, err), claimed(d.mine()))
		}
	}
	for n, c := range d.journal.Changes {
		if ours[n] {
			d.place.syncDir(path.Dir(c.Path))
		}
	}
	return d.unstage()
}

// found says what takeOver came upon.
type found int

const (
	nothing found = iota
	restored
	adopted
)

// takeOver claims every deployment that is open for the destination on the host, and ends it: one
// that finish says yes to is gone on with, what was begun is put back.
func (d *Deployment) takeOver(ctx context.Context, finish func(journal) (bool, error)) (found, error) {
	var entries []fs.FileInfo
	err := d.work(ctx, func() (err error) {
		entries, err = d.place.ReadDir(d.place.deployments)
		return named("reading the folder", d.place.deployments, err)
	})
	if err != nil {
		return nothing, err
	}
	if len(entries) > maxEntries {
		return nothing, fmt.Errorf("reading the folder %q: more than %d entries", d.place.deployments, maxEntries)
	}
	all := nothing
	for n, e := range entries {
		one, err := d.takeOne(ctx, e.Name(), n, finish)
		if err != nil {
			return nothing, fmt.Errorf("ending what an earlier deployment left in %q: %w", d.place.deployments, err)
		}
		all = max(all, one)
	}
	return all, nil
}

// takeOne claims one deployment by renaming its folder, so that whoever began it has no journal.
func (d *Deployment) takeOne(ctx context.Context, name string, n int, finish func(journal) (bool, error)) (found, error) {
	from := path.Join(d.place.deployments, name)
	if strings.HasSuffix(name, overMark) || strings.HasPrefix(name, "whoami-") {
		return nothing, d.work(ctx, func() error { return d.place.removeTree(from) })
	}
	mine, took := path.Join(d.place.deployments, d.id+"-"+strconv.Itoa(n)), false
	kept := false
	err := d.work(ctx, func() error {
		if err := d.place.Rename(from, mine); err != nil {
			return named("claiming", from, gone(err)) // not there any more: somebody else claimed it, or it ended
		}
		j, ok, err := d.place.readJournal(mine)
		if err != nil {
			return err
		}
		if !ok { // it ended before it had staged anything
			return d.place.removeTree(mine)
		}
		took, d.dir, d.journal = true, mine, j
		if err := d.unstage(); err != nil {
			return err
		}
		kept, err = finish(j)
		return err
	})
	switch {
	case err != nil || !took:
		return nothing, err
	case kept:
		d.Changes = d.journal.Changes
		d.note("gone on with the deployment of %s that began at %s", d.journal.Version.Short(), d.journal.StartedAt.Format(time.RFC3339))
		return adopted, nil
	case d.journal.Phase == phaseStaging:
		d.note("a deployment of %s that began at %s had changed nothing yet", d.journal.Version.Short(), d.journal.StartedAt.Format(time.RFC3339))
		return nothing, d.work(ctx, d.abort)
	}
	d.note("the deployment of %s that began at %s was put back", d.journal.Version.Short(), d.journal.StartedAt.Format(time.RFC3339))
	bad, err := d.restore(ctx)
	if err == nil && bad != nil {
		d.note("the old files are back, but %s", runFailed(*bad).Detail)
	}
	return restored, err
}

// same reports whether a deployment that is open on the host is the very one that was ordered, with
// all its files in place: then what is left to do are the commands.
func (d *Deployment) same(j journal) (bool, error) {
	if j.Phase != phaseInstalled || j.Version != d.order.Version {
		return false, nil
	}
	for _, c := range j.Changes {
		holds, err := d.holds(c)
		if err != nil {
			return false, err
		}
		if unchanged := c.LinkAfter == "" && c.After == c.Before; holds != holdsNew && !(unchanged && holds == holdsOld) {
			return false, nil
		}
	}
	if len(d.order.Files) == 0 {
		return true, nil
	}
	if d.order.Destination.Swap != "" {
		return d.sameFolder(j)
	}
	brought := map[string]string{}
	for _, c := range j.Changes {
		brought[c.Path] = c.After
	}
	for _, f := range d.order.Files {
		target, err := d.place.resolve(f.To)
		if err != nil || brought[target] != sum(f.Data) {
			return false, err
		}
	}
	return len(brought) == len(d.order.Files), nil
}

// sameFolder reports whether the folder that a link was led to holds the files of the order.
func (d *Deployment) sameFolder(j journal) (bool, error) {
	if len(j.Changes) != 1 || j.Changes[0].Path != d.order.Destination.Swap {
		return false, nil
	}
	for _, f := range d.order.Files {
		data, err := d.place.read(f.To)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil || sum(data) != sum(f.Data) {
			return false, err
		}
	}
	return true, nil
}

func (d *Deployment) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}
