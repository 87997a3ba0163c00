package lineage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/internal/ownership"
)

// Run carries out a request, the JSON of a [Request], and tells on out what it did. It takes
// the locks of certbot and never waits for them: the error wraps [ErrHeld] where another
// process has one, and [ErrOvertaken] where the lineage is not what an earlier attempt at the
// same request left. It must be called in a process that opens no lock of certbot's elsewhere.
func Run(ctx context.Context, request []byte, out io.Writer) error {
	return run(ctx, request, out, func() {})
}

// run tells happened after each step that a killed process would leave behind.
func run(ctx context.Context, request []byte, out io.Writer, happened func()) error {
	c := &change{out: out, happened: happened}
	decoder := json.NewDecoder(bytes.NewReader(request))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c.Request); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	if c.isGone() {
		c.say("the lineage %q is gone, with whatever there was to take back", c.Place.Lineage)
		return nil
	}
	if err := errors.Join(ctx.Err(), c.check()); err != nil {
		return fmt.Errorf("checking the request for the lineage %q: %w", c.Place.Lineage, err)
	}
	held, err := lock(c.Place)
	if err != nil {
		return fmt.Errorf("locking the lineage %q: %w", c.Place.Lineage, err)
	}
	if err := errors.Join(c.carryOut(), held.release()); err != nil {
		return fmt.Errorf("carrying out %q for the lineage %q: %w", c.Do, c.Place.Lineage, err)
	}
	return nil
}

// change is a request while it is carried out.
type change struct {
	Request
	out      io.Writer
	happened func()
}

// check looks at what was asked for before anything is written.
func (c *change) check() error {
	switch c.Do {
	case Append, Retract, Pin, Unpin:
	default:
		return fmt.Errorf("it asks for %q, which there is not", c.Do)
	}
	if err := c.Place.check(); err != nil {
		return err
	}
	if !filepath.IsAbs(c.Work) {
		return fmt.Errorf("the work folder %q is not an absolute path", c.Work)
	}
	if err := os.MkdirAll(c.Work, 0o700); err != nil {
		return fmt.Errorf("making the work folder: %w", err)
	}
	if err := ownership.Check(c.Work); err != nil {
		return fmt.Errorf("checking the work folder: %w", err)
	}
	return nil
}

// isGone reports whether there is nothing left of what is to be taken back, as after a
// `certbot delete`, which leaves the folder of the configurations.
func (c *change) isGone() bool {
	_, errTree := os.Lstat(filepath.Dir(c.Place.Conf))
	_, errConf := os.Lstat(c.Place.Conf)
	_, errLive := os.Lstat(c.Place.Live)
	undoes := (c.Do == Retract || c.Do == Unpin) && filepath.IsAbs(c.Place.Conf) && filepath.IsAbs(c.Place.Live)
	return undoes && errTree == nil && errors.Is(errConf, os.ErrNotExist) && errors.Is(errLive, os.ErrNotExist)
}

// carryOut does what is asked for, under the locks. Staged files of a killed process go first.
func (c *change) carryOut() error {
	for _, folder := range []string{c.Place.Archive, c.Place.Live, filepath.Dir(c.Place.Conf)} {
		if err := atomicfile.SweepFolder(folder); err != nil {
			return err
		}
	}
	switch c.Do {
	case Append:
		return c.append()
	case Retract:
		return c.retract()
	case Pin:
		return c.pin()
	default:
		return c.unpin()
	}
}

// say tells what was done, or left.
func (c *change) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format+"\n", args...) // nobody acts on what is told
}

// remember keeps what a request is about to do, on disk before it does it.
func (c *change) remember(file string, what any) error {
	data, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("encoding %q: %w", file, err)
	}
	if err := atomicfile.Write(filepath.Join(c.Work, file), data, 0o600, -1, -1); err != nil {
		return err
	}
	c.happened()
	return nil
}

// recall reads what was remembered; ok is false where nothing was.
func (c *change) recall(file string, what any) (ok bool, err error) {
	path := filepath.Join(c.Work, file)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, what)
	}
	if err != nil {
		return false, fmt.Errorf("reading what was remembered in %q: %w", path, err)
	}
	return true, nil
}

// forget ends the memory of a request that was taken back.
func (c *change) forget(file string) error {
	if err := os.Remove(filepath.Join(c.Work, file)); err != nil {
		return fmt.Errorf("forgetting what was done: %w", err)
	}
	c.happened()
	return syncDir(c.Work)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing a folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing %q: %w", dir, err)
	}
	return nil
}
