package lineage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
)

// check proves that the paths are a lineage's, that they are there, and that nobody else may
// write what is behind them.
func (p Place) check() error {
	if p.Lineage == "" || !filepath.IsLocal(p.Lineage) || strings.ContainsRune(p.Lineage, filepath.Separator) {
		return fmt.Errorf("%q is not the name of a lineage", p.Lineage)
	}
	for _, path := range []string{p.ConfigDir, p.Conf, p.Live, p.Archive} {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q is not an absolute path", path)
		}
	}
	if want := filepath.Join(p.ConfigDir, "renewal", p.Lineage+".conf"); filepath.Clean(p.Conf) != want {
		return fmt.Errorf("its configuration is said to be %q, not %q", p.Conf, want)
	}
	if filepath.Clean(p.Live) == filepath.Clean(p.Archive) {
		return fmt.Errorf("%q is said to be both its links' folder and its archive", p.Live)
	}
	return errors.Join(checkOne(p.Conf, false), checkOne(p.Live, true), checkOne(p.Archive, true))
}

func checkOne(path string, folder bool) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case folder && !info.IsDir():
		return fmt.Errorf("%q is not a folder", path)
	case !folder && !info.Mode().IsRegular():
		return fmt.Errorf("%q is not a regular file", path)
	}
	return ownership.Check(path)
}

// The orders of the parts. The key is written first, so that no leaf is there without it. The
// links that services load from are moved last, one right after the other.
func writeOrder() []certmedic.FilePart {
	return []certmedic.FilePart{certmedic.PartPrivkey, certmedic.PartCert, certmedic.PartChain, certmedic.PartFullchain}
}

func linkOrder() []certmedic.FilePart {
	return []certmedic.FilePart{certmedic.PartCert, certmedic.PartChain, certmedic.PartFullchain, certmedic.PartPrivkey}
}

// targets are what the four links lead to, as the links have it.
type targets map[certmedic.FilePart]string

// numbered returns the targets for another version, beside where they are.
func (t targets) numbered(number int) targets {
	out := targets{}
	for part, target := range t {
		out[part] = filepath.Join(filepath.Dir(target), fileName(part, number))
	}
	return out
}

func fileName(part certmedic.FilePart, number int) string {
	return string(part) + strconv.Itoa(number) + ".pem"
}

func (p Place) link(part certmedic.FilePart) string {
	return filepath.Join(p.Live, string(part)+".pem")
}

func (p Place) archived(part certmedic.FilePart, number int) string {
	return filepath.Join(p.Archive, fileName(part, number))
}

// links reads the four links. Each has to be one, into the archive.
func (p Place) links() (targets, error) {
	all := targets{}
	for _, part := range linkOrder() {
		target, err := os.Readlink(p.link(part))
		if err != nil {
			return nil, fmt.Errorf("reading the links: %w", err)
		}
		if err := p.leadsIntoArchive(part, target); err != nil {
			return nil, err
		}
		all[part] = target
	}
	return all, nil
}

func (p Place) leadsIntoArchive(part certmedic.FilePart, target string) error {
	path := target
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.Live, path)
	}
	of, number := numberOf(filepath.Base(path))
	there, errThere := os.Stat(filepath.Dir(path))
	archive, errArchive := os.Stat(p.Archive)
	if err := errors.Join(errThere, errArchive); err != nil {
		return fmt.Errorf("following %q: %w", p.link(part), err)
	}
	if of != part || number == 0 || !os.SameFile(there, archive) {
		return fmt.Errorf("%q leads to %q, not to a %s of %q", p.link(part), target, part, p.Archive)
	}
	return nil
}

// numberOf splits the name of a file in an archive, such as "cert7.pem"; 0 for any other.
func numberOf(name string) (part certmedic.FilePart, number int) {
	stem, ok := strings.CutSuffix(name, ".pem")
	digits := strings.TrimLeft(stem, "abcdefghijklmnopqrstuvwxyz")
	part = certmedic.FilePart(stem[:len(stem)-len(digits)])
	if !ok || !slices.Contains(linkOrder(), part) || len(digits) > 9 || strings.Trim(digits, "0123456789") != "" {
		return "", 0
	}
	number, err := strconv.Atoi(digits)
	if err != nil {
		return "", 0
	}
	return part, number
}

// versions lists which parts the archive has of each number.
func (p Place) versions() (map[int][]certmedic.FilePart, error) {
	entries, err := os.ReadDir(p.Archive)
	if err != nil {
		return nil, fmt.Errorf("listing the archive: %w", err)
	}
	all := map[int][]certmedic.FilePart{}
	for _, entry := range entries {
		if part, number := numberOf(entry.Name()); number > 0 {
			all[number] = append(all[number], part)
		}
	}
	return all, nil
}

// highest returns the highest number of any part, 0 where there is none.
func (p Place) highest() (int, error) {
	all, err := p.versions()
	highest := 0
	for number := range all {
		highest = max(highest, number)
	}
	return highest, err
}

// lead moves the links, each in one rename, and syncs their folder.
func (c *change) lead(to targets) error {
	for _, part := range linkOrder() {
		link := c.Place.link(part)
		if now, err := os.Readlink(link); err == nil && now == to[part] {
			continue
		}
		temp := filepath.Join(c.Place.Live, ".certmedic-"+filepath.Base(link))
		err := os.Symlink(to[part], temp)
		if err == nil {
			err = os.Rename(temp, link)
		}
		if err != nil {
			return fmt.Errorf("moving the link %q: %w", link, err)
		}
		c.happened()
	}
	return syncDir(c.Place.Live)
}

// among proves that each link leads to one of several targets: where a request found it, or where
// that moved it.
func (p Place) among(all ...targets) error {
	now, err := p.links()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOvertaken, err)
	}
	for _, part := range linkOrder() {
		if !slices.ContainsFunc(all, func(t targets) bool { return t[part] == now[part] }) {
			return fmt.Errorf("%w: %q leads to %q", ErrOvertaken, p.link(part), now[part])
		}
	}
	return nil
}

// whole proves that all of the targets are there, so that no link ever leads nowhere.
func (p Place) whole(t targets) error {
	for _, part := range linkOrder() {
		path := t[part]
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.Live, path)
		}
		if _, err := os.Stat(path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: %q is gone, which %q led to", ErrOvertaken, path, p.link(part))
			}
			return err
		}
	}
	return nil
}
