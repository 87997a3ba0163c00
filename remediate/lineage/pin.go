package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
)

// pinFile remembers, in the work folder, what a Pin does.
const pinFile = "pin.json"

// asideEnding is what a file is called with while certbot must not see it.
const asideEnding = ".certmedic"

// pinned is what a Pin does: which links it moves, which files it puts aside, and what the
// configuration was.
type pinned struct {
	Name    string                `json:"name,omitempty"`
	Version certmedic.Fingerprint `json:"version,omitempty"` // that the links lead to; empty: they were left
	From    targets               `json:"from,omitempty"`
	To      targets               `json:"to,omitempty"`
	Aside   []string              `json:"aside,omitempty"`  // files of newer versions, by their whole names
	Before  []byte                `json:"before,omitempty"` // the configuration; absent: it was off before
	After   []byte                `json:"after,omitempty"`

	Was  *pinned  `json:"was,omitempty"`  // the pin whose place it takes
	Via  targets  `json:"via,omitempty"`  // where the links led then; From is where they led before all pins
	Back []string `json:"back,omitempty"` // what earlier pins had put aside
}

// Pinned reports whether a work folder remembers a Pin: one that began, and was not taken back; and
// whether it was that which keeps certbot from renewing, rather than the lineage's owner.
func Pinned(work string) (stands, switchedOff bool, err error) {
	var p pinned
	c := change{Request: Request{Work: work}}
	stands, err = c.recall(pinFile, &p)
	return stands, p.After != nil, err
}

// pin keeps certbot from renewing, and from leading the links to another version. The links
// are moved first: what is put aside is then no longer where one of them leads.
func (c *change) pin() error {
	p, err := c.intend()
	if err != nil {
		return err
	}
	if c.Version != "" {
		if err := c.leadTo(p); err != nil {
			return err
		}
		c.say("the links of the lineage %q lead to version %s", c.Place.Lineage, p.Version.Short())
	}
	return c.switchOff(p)
}

// leadTo leads the links to where they are pinned, and puts aside what is newer. What an earlier pin
// put aside, and this one does not, is back first: the links may lead there.
func (c *change) leadTo(p pinned) error {
	if err := c.Place.among(p.From, p.Via, p.To); err != nil {
		return err
	}
	if err := c.putBack(p.Back, p.Aside); err != nil {
		return err
	}
	if err := c.Place.whole(p.To); err != nil {
		return err
	}
	if err := c.lead(p.To); err != nil {
		return err
	}
	return c.putAside(p.Aside)
}

// intend returns what an earlier attempt remembered, or finds out what there is to do.
func (c *change) intend() (pinned, error) {
	var before, p pinned
	known, err := c.recall(pinFile, &before)
	switch {
	case err != nil:
		return p, err
	case known && (before.Name == c.Name && before.Version == c.Version || before.Name != c.Name && c.Version == ""):
		return before, nil
	case known && before.Name == c.Name:
		return p, fmt.Errorf("the work folder %q remembers a pin to another version, %q", c.Work, before.Version.Short())
	case known:
		p, err = c.instead(before)
	case c.Version != "":
		p, err = c.hold(pinned{})
	}
	if err != nil {
		return p, err
	}
	p.Name = c.Name
	return p, c.remember(pinFile, p)
}

// instead finds out what there is to do for a pin that takes the place of another one. In the end
// everything gets back to where it was before both, unless others led the links elsewhere since.
func (c *change) instead(was pinned) (pinned, error) {
	p, err := c.hold(was)
	if err != nil {
		return p, err
	}
	p.Before, p.After = was.Before, was.After
	p.Via, p.Back = p.From, append(was.Back, was.Aside...)
	if was.To != nil && c.Place.among(was.From, was.Via, was.To) == nil {
		p.From = was.From
	}
	was.Was = nil // nobody takes that back alone any more
	was.Aside = slices.DeleteFunc(slices.Clone(was.Aside), func(path string) bool { return isThere(path) })
	p.Was = &was
	return p, nil
}

// hold finds the version in the archive that the links shall lead to, and what has to be put
// aside so that certbot leaves them there. What an earlier pin put aside counts as if it was there.
func (c *change) hold(was pinned) (pinned, error) {
	from, err := c.Place.links()
	if err != nil {
		return pinned{}, err
	}
	versions, err := c.Place.versions()
	if err != nil {
		return pinned{}, err
	}
	for _, path := range append(was.Back, was.Aside...) {
		if part, n := numberOf(filepath.Base(path)); isThere(path+asideEnding) && !slices.Contains(versions[n], part) {
			versions[n] = append(versions[n], part)
		}
	}
	numbers := slices.Sorted(maps.Keys(versions))
	slices.Reverse(numbers)
	p := pinned{Version: c.Version, From: from}
	for _, n := range numbers {
		if len(versions[n]) < len(linkOrder()) {
			continue // certbot never leads the links to it
		}
		if c.isVersion(n) {
			p.To = from.numbered(n)
			return p, nil
		}
		p.Aside = append(p.Aside, c.Place.archived(certmedic.PartChain, n))
	}
	return pinned{}, fmt.Errorf("the archive %q holds no whole version %s", c.Place.Archive, c.Version.Short())
}

// isVersion reports whether a number is the wanted version, with its key.
func (c *change) isVersion(number int) bool {
	at := func(part certmedic.FilePart) string { return c.Place.archived(part, number) }
	_, err := readParts(certmedic.StoredFiles{
		Fullchain: at(certmedic.PartFullchain), Privkey: at(certmedic.PartPrivkey),
	}, c.Version)
	return err == nil
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (c *change) putAside(paths []string) error {
	for _, path := range paths {
		if isThere(path) && isThere(path+asideEnding) {
			return fmt.Errorf("putting %q aside: there is a %q", path, path+asideEnding)
		}
		if err := c.rename(path, path+asideEnding); err != nil {
			return err
		}
	}
	return nil
}

// putBack gives files that were put aside their names again, but for some.
func (c *change) putBack(paths, but []string) error {
	for _, path := range paths {
		if slices.Contains(but, path) {
			continue
		}
		if err := c.rename(path+asideEnding, path); err != nil {
			return err
		}
	}
	return nil
}

// rename moves a file in the archive; one that was moved already stays, and so does one whose
// new name somebody else has taken.
func (c *change) rename(from, to string) error {
	switch {
	case !isThere(from):
		return nil
	case isThere(to):
		c.say("%q stays aside: there is a %q", from, to)
		return nil
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("putting aside: %w", err)
	}
	c.happened()
	return syncDir(c.Place.Archive)
}

// switchOff writes autorenew = False, unless it is off. Somebody's change between two attempts
// is kept.
func (c *change) switchOff(p pinned) error {
	conf, s, err := c.readConf()
	if err != nil {
		return err
	}
	if s.off() {
		c.say("certbot does not renew the lineage %q", c.Place.Lineage)
		return nil
	}
	p.Before, p.After = conf, s.with(s.offLine())
	if err := c.remember(pinFile, p); err != nil {
		return err
	}
	if err := c.writeConf(p.After); err != nil {
		return err
	}
	c.say("certbot is kept from renewing the lineage %q: autorenew = False in %q", c.Place.Lineage, c.Place.Conf)
	return nil
}

func (c *change) readConf() ([]byte, setting, error) {
	conf, err := readOwn(c.Place.Conf)
	if err != nil {
		return nil, setting{}, fmt.Errorf("reading the renewal configuration: %w", err)
	}
	s, err := settingIn(conf)
	if err != nil {
		return nil, s, fmt.Errorf("reading %q: %w", c.Place.Conf, err)
	}
	return conf, s, nil
}

func (c *change) writeConf(data []byte) error {
	info, err := os.Stat(c.Place.Conf)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(c.Place.Conf, data, info.Mode().Perm(), -1, -1); err != nil {
		return err
	}
	c.happened()
	return nil
}

// unpin puts back what Pin changed. What is no longer as Pin left it is somebody else's by now:
// it stays, and is told.
func (c *change) unpin() error {
	var p pinned
	known, err := c.recall(pinFile, &p)
	if err != nil {
		return err
	}
	if !known {
		c.say("the lineage %q is not pinned", c.Place.Lineage)
		return nil
	}
	switch {
	case c.Name != "" && c.Name != p.Name:
		c.say("the lineage %q is pinned as it was before", c.Place.Lineage)
		return nil
	case c.Name != "" && p.Was != nil:
		return c.unpinLast(p)
	}
	if err := c.putBack(append(p.Aside, p.Back...), nil); err != nil {
		return err
	}
	if p.To != nil {
		if _, err := c.leadBack(p, p.From); err != nil {
			return err
		}
	}
	if err := c.switchOn(p); err != nil {
		return err
	}
	return c.forget(pinFile)
}

// unpinLast has the pin stand again whose place another one took.
func (c *change) unpinLast(p pinned) error {
	if err := c.putBack(p.Aside, p.Was.Aside); err != nil {
		return err
	}
	back, err := c.leadBack(p, p.Via)
	if err != nil {
		return err
	}
	if back {
		err = c.putAside(p.Was.Aside)
	}
	if !bytes.Equal(p.After, p.Was.After) {
		err = errors.Join(err, c.switchOn(p))
	}
	if err != nil {
		return err
	}
	return c.remember(pinFile, p.Was)
}

// leadBack leads the links of a pin to where they led before, and reports whether they do: they
// stay where somebody else led them.
func (c *change) leadBack(p pinned, to targets) (bool, error) {
	err := errors.Join(c.Place.among(p.From, p.Via, p.To), c.Place.whole(to))
	if errors.Is(err, ErrOvertaken) {
		c.say("the links stay: %v", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.say("the links of the lineage %q lead to where they did", c.Place.Lineage)
	return true, c.lead(to)
}

// switchOn puts the configuration back to the byte, or only its line where others changed the
// rest of it.
func (c *change) switchOn(p pinned) error {
	if p.After == nil {
		return nil
	}
	conf, now, err := c.readConf()
	if errors.Is(err, fs.ErrNotExist) {
		c.say("the renewal configuration is gone: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	before, err := settingIn(p.Before)
	switch {
	case err != nil:
		return fmt.Errorf("reading what was remembered: %w", err)
	case bytes.Equal(conf, p.Before):
		return nil
	case bytes.Equal(conf, p.After):
		conf = p.Before
	case !now.off():
		c.say("autorenew was set by somebody else meanwhile and stays")
		return nil
	default:
		conf = now.with(before.line())
	}
	c.say("certbot renews the lineage %q again", c.Place.Lineage)
	return c.writeConf(conf)
}
