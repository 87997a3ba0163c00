package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
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
	Version certmedic.Fingerprint `json:"version,omitempty"` // that the links lead to; empty: they were left
	From    targets               `json:"from,omitempty"`
	To      targets               `json:"to,omitempty"`
	Aside   []string              `json:"aside,omitempty"`  // files of newer versions, by their whole names
	Before  []byte                `json:"before,omitempty"` // the configuration; absent: it was off before
	After   []byte                `json:"after,omitempty"`
}

// pin keeps certbot from renewing, and from leading the links to another version. The links
// are moved first: what is put aside is then no longer where one of them leads.
func (c *change) pin() error {
	p, err := c.intend()
	if err != nil {
		return err
	}
	if p.Version != "" {
		if err := errors.Join(c.Place.among(p.From, p.To), c.Place.whole(p.To)); err != nil {
			return err
		}
		if err := c.lead(p.To); err != nil {
			return err
		}
		if err := c.putAside(p.Aside); err != nil {
			return err
		}
		c.say("the links of the lineage %q lead to version %s", c.Place.Lineage, p.Version.Short())
	}
	return c.switchOff(p)
}

// intend returns what an earlier attempt remembered, or finds out what there is to do.
func (c *change) intend() (pinned, error) {
	var p pinned
	known, err := c.recall(pinFile, &p)
	switch {
	case err != nil:
		return p, err
	case known && p.Version != c.Version:
		return p, fmt.Errorf("the work folder %q remembers a pin to another version, %q", c.Work, p.Version.Short())
	case known:
		return p, nil
	}
	if c.Version != "" {
		if p, err = c.hold(); err != nil {
			return p, err
		}
	}
	return p, c.remember(pinFile, p)
}

// hold finds the version in the archive that the links shall lead to, and what has to be put
// aside so that certbot leaves them there.
func (c *change) hold() (pinned, error) {
	from, err := c.Place.links()
	if err != nil {
		return pinned{}, err
	}
	versions, err := c.Place.versions()
	if err != nil {
		return pinned{}, err
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
	for _, path := range p.Aside {
		if err := c.rename(path+asideEnding, path); err != nil {
			return err
		}
	}
	if p.Version != "" {
		if err := c.leadBack(p); err != nil {
			return err
		}
	}
	if err := c.switchOn(p); err != nil {
		return err
	}
	return c.forget(pinFile)
}

func (c *change) leadBack(p pinned) error {
	err := errors.Join(c.Place.among(p.From, p.To), c.Place.whole(p.From))
	if errors.Is(err, ErrOvertaken) {
		c.say("the links stay: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	c.say("the links of the lineage %q lead to where they did", c.Place.Lineage)
	return c.lead(p.From)
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
