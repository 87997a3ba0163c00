package lineage

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
)

// appendFile remembers, in the work folder, what an Append does.
const appendFile = "append.json"

// appended is what an Append does: which number the version has, what its files are, and where
// the links led before.
type appended struct {
	Version certmedic.Fingerprint         `json:"version"`
	Number  int                           `json:"number"`
	Sums    map[certmedic.FilePart]string `json:"sums"` // SHA-256 of each file, in hex
	Before  targets                       `json:"before"`
}

func (a appended) after() targets { return a.Before.numbered(a.Number) }

// append adds the version under the next number, or finishes what an attempt at it began.
func (c *change) append() error {
	parts, err := readParts(c.Files, c.Version)
	if err != nil {
		return err
	}
	a, err := c.begin(parts)
	if err != nil {
		return err
	}
	if err := c.unchanged(a); err != nil {
		return err
	}
	for _, part := range writeOrder() {
		if err := c.write(part, a.Number, parts[part]); err != nil {
			return err
		}
	}
	if err := c.lead(a.after()); err != nil {
		return err
	}
	c.say("version %s is number %d of the lineage %q now", a.Version.Short(), a.Number, c.Place.Lineage)
	return nil
}

// begin returns what an earlier attempt remembered, or chooses the number as certbot does:
// the highest that any part has, and one more.
func (c *change) begin(parts map[certmedic.FilePart][]byte) (appended, error) {
	sums := map[certmedic.FilePart]string{}
	for part, data := range parts {
		sums[part] = digest(data)
	}
	var a appended
	known, err := c.recall(appendFile, &a)
	switch {
	case err != nil:
		return a, err
	case known && (a.Version != c.Version || !maps.Equal(a.Sums, sums)):
		return a, fmt.Errorf("the work folder %q remembers another version, %s", c.Work, a.Version.Short())
	case known:
		return a, nil
	}
	before, err := c.Place.links()
	if err != nil {
		return a, err
	}
	highest, err := c.Place.highest()
	if err != nil {
		return a, err
	}
	a = appended{Version: c.Version, Number: highest + 1, Sums: sums, Before: before}
	return a, c.remember(appendFile, a)
}

// unchanged proves that nobody went on from what the request found or did: the links lead to
// one of the two, there is no newer version, and the files of this one are ours.
func (c *change) unchanged(a appended) error {
	if err := c.Place.among(a.Before, a.after()); err != nil {
		return err
	}
	highest, err := c.Place.highest()
	if err != nil {
		return err
	}
	if highest > a.Number {
		return fmt.Errorf("%w: the archive holds version %d, which is newer than %d", ErrOvertaken, highest, a.Number)
	}
	for _, part := range writeOrder() {
		path := c.Place.archived(part, a.Number)
		data, err := readOwn(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking at %q: %w", path, err)
		}
		if digest(data) != a.Sums[part] {
			return fmt.Errorf("%w: %q is somebody else's", ErrOvertaken, path)
		}
	}
	return nil
}

// write puts a part into the archive, whole or not at all.
func (c *change) write(part certmedic.FilePart, number int, data []byte) error {
	path := c.Place.archived(part, number)
	if _, err := os.Lstat(path); err == nil {
		return nil // see unchanged
	}
	mode, gid, err := c.like(part, number)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, data, mode, -1, gid); err != nil {
		return err
	}
	c.happened()
	return nil
}

// like returns the mode and the group of a part as certbot gives them to a successor: a key
// keeps the group of the one before it, what that may do with it, and whether others may read
// it; the rest is for all to read, unless the one before it was not.
func (c *change) like(part certmedic.FilePart, number int) (mode fs.FileMode, gid int, err error) {
	mode, kept := fs.FileMode(0o600), fs.FileMode(0o074)
	if part != certmedic.PartPrivkey {
		kept = 0o044
	}
	versions, err := c.Place.versions()
	if err != nil {
		return 0, 0, err
	}
	numbers := slices.Sorted(maps.Keys(versions))
	slices.Reverse(numbers)
	for _, n := range numbers {
		if n >= number || !slices.Contains(versions[n], part) {
			continue
		}
		info, err := os.Stat(c.Place.archived(part, n))
		if err != nil {
			continue // a link to a key that is gone says nothing
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			return mode | info.Mode()&kept, int(stat.Gid), nil
		}
	}
	if part != certmedic.PartPrivkey {
		mode |= kept
	}
	return mode, -1, nil
}

// retract leads the links back and removes the files, as far as an Append got.
func (c *change) retract() error {
	var a appended
	known, err := c.recall(appendFile, &a)
	if err != nil {
		return err
	}
	if !known {
		c.say("nothing was added to the lineage %q", c.Place.Lineage)
		return nil
	}
	if err := errors.Join(c.unchanged(a), c.Place.whole(a.Before)); err != nil {
		return err
	}
	if err := c.lead(a.Before); err != nil {
		return err
	}
	order := writeOrder()
	slices.Reverse(order) // the key goes last, so that no leaf is ever there without it
	for _, part := range order {
		if err := os.Remove(c.Place.archived(part, a.Number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing version %d: %w", a.Number, err)
		}
		c.happened()
	}
	if err := syncDir(c.Place.Archive); err != nil {
		return err
	}
	c.say("version %s is no longer number %d of the lineage %q", a.Version.Short(), a.Number, c.Place.Lineage)
	return c.forget(appendFile)
}
