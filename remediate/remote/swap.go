package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// folderMark is between the name of a link and what makes the name of a folder its own. No name is
// used twice: whoever removes a folder late removes nobody else's.
const folderMark = ".certmedic-remote-"

// What waits in the staging folder of a link.
const (
	stagedFolder = "folder"
	stagedLink   = "link"
)

// stageFolder stages all files of a destination in a new folder, and a link to it.
func (d *Deployment) stageFolder(ctx context.Context) (certmedic.Change, error) {
	link := d.order.Destination.Swap
	change := certmedic.Change{Path: link, UID: -1, GID: -1}
	before, err := d.place.leadsTo(link)
	if err != nil {
		return change, err
	}
	if before != "" && !d.place.atomic() {
		return change, errors.New("it exists, and the server has no posix-rename@openssh.com to replace it at once")
	}
	if err := d.onlyOurs(link, link, maxLinks); err != nil {
		return change, err
	}
	if d.journal.Stale, err = d.place.staleFolders(link, before); err != nil {
		return change, err
	}
	change.LinkBefore, change.LinkAfter = before, path.Base(link)+folderMark+random()
	if err := d.fillFolder(ctx, path.Join(d.staging(link), stagedFolder), link); err != nil {
		return change, err
	}
	return change, named("making the link", link, d.place.Symlink(change.LinkAfter, path.Join(d.staging(link), stagedLink)))
}

// fillFolder makes the new folder and its files, each like the one that it replaces.
func (d *Deployment) fillFolder(ctx context.Context, root, link string) error {
	if err := d.mkdirLike(root, link); err != nil {
		return err
	}
	for _, f := range d.order.inOrder() {
		below := strings.TrimPrefix(f.To, link+"/")
		dir := ""
		for _, name := range strings.Split(path.Dir(below), "/") {
			if dir = path.Join(dir, name); dir == "." || dir == "" {
				continue
			}
			if err := d.mkdirLike(path.Join(root, dir), path.Join(link, dir)); err != nil {
				return err
			}
		}
		at := path.Join(root, below)
		if err := d.place.create(at, f.Data); err != nil {
			return err
		}
		if err := d.dress(ctx, at, f, f.To); err != nil {
			return fmt.Errorf("%q: %w", f.To, err)
		}
		d.place.syncDir(path.Dir(at))
	}
	return nil
}

// mkdirLike makes a folder with the owner and the mode of another one, or 0755. It may be there.
func (d *Deployment) mkdirLike(at, like string) error {
	if info, err := d.place.Lstat(at); err == nil && info.IsDir() {
		return nil
	}
	if err := d.place.mkdirOurs(at); err != nil {
		return err
	}
	stat, info, err := d.place.stat(like)
	if err != nil {
		return err
	}
	if stat == nil {
		return named("making the folder", at, d.place.Chmod(at, 0o755))
	}
	return d.place.chown(at, int(stat.UID), int(stat.GID), info.Mode().Perm())
}

// leadsTo returns what a link says; empty where there is none.
func (d disk) leadsTo(link string) (string, error) {
	info, err := d.Lstat(link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", named("looking at", link, err)
	case info.IsDir():
		return "", fmt.Errorf("it is a folder, which cannot be replaced by one rename; make it a link on the host, once, by: mv %[1]s %[1]s.1 && ln -s %[2]s.1 %[1]s", link, path.Base(link))
	case info.Mode()&fs.ModeSymlink == 0:
		return "", errors.New("it is neither a symbolic link nor missing")
	}
	_, target, err := d.stat(link)
	if err != nil {
		return "", err
	}
	if target == nil || !target.IsDir() {
		return "", errors.New("it does not lead to a folder")
	}
	return d.ReadLink(link)
}

// onlyOurs proves that the folder that a link leads to holds no file that the new one would lack.
func (d *Deployment) onlyOurs(dir, link string, depth int) error {
	entries, err := d.place.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return named("reading the folder", dir, err)
	}
	if len(entries) > maxEntries || depth == 0 {
		return fmt.Errorf("reading the folder %q: there is more in it than can be looked at", dir)
	}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		if e.IsDir() {
			if err := d.onlyOurs(at, link, depth-1); err != nil {
				return err
			}
			continue
		}
		if !slices.ContainsFunc(d.order.Files, func(f File) bool { return f.To == at }) {
			return fmt.Errorf("its folder holds %q, which is no file of the destination and would be lost", strings.TrimPrefix(at, link+"/"))
		}
	}
	return nil
}

// staleFolders returns the folders of a link but for the one that it leads to.
func (d disk) staleFolders(link, leadsTo string) ([]string, error) {
	entries, err := d.ReadDir(path.Dir(link))
	if err != nil {
		return nil, named("reading the folder", path.Dir(link), err)
	}
	var stale []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), path.Base(link)+folderMark) && e.IsDir() && e.Name() != path.Base(leadsTo) {
			stale = append(stale, path.Join(path.Dir(link), e.Name()))
		}
	}
	return stale, nil
}

// tidy removes the folders that nobody needs any more: of a deployment that is kept those that were
// there before the last one, of one that was put back its own.
func (d *Deployment) tidy(kept bool) error {
	var errs []error
	if kept {
		for _, dir := range d.journal.Stale {
			errs = append(errs, d.place.removeTree(dir))
		}
		return errors.Join(errs...)
	}
	for _, c := range d.journal.Changes {
		if c.LinkAfter == "" {
			continue
		}
		now, err := d.place.ReadLink(c.Path)
		if gone(err) == nil && now != c.LinkAfter {
			err = d.place.removeTree(path.Join(path.Dir(c.Path), c.LinkAfter))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
