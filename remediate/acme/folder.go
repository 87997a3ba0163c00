package acme

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/internal/atomicfile"
)

// phase is how far an order came, as far as this host knows.
type phase string

// The phases. Each is on disk before what it names is begun.
const (
	phaseNone       phase = ""
	phasePlacing    phase = "placing"    // the CA may have an order whose URL nobody here knows
	phasePlaced     phase = "placed"     // its URL is known
	phaseFinalizing phase = "finalizing" // the CA may know the key
	phaseIssued     phase = "issued"     // the files are there
)

// state is what is remembered of an order.
type state struct {
	Request   identity    `json:"request"`
	Phase     phase       `json:"phase"`
	URL       string      `json:"url,omitempty"`
	PlacedAt  time.Time   `json:"placed_at,omitzero"`
	Replaced  bool        `json:"replaced,omitempty"`
	Presented []presented `json:"presented,omitempty"` // answers that have to be taken away again
	Issued    *Issued     `json:"issued,omitempty"`
}

// presented is an answer to a challenge that somebody may still see.
type presented struct {
	Name  string `json:"name"`
	Token string `json:"token"`
}

const (
	stateFile = "order.json"
	keyFile   = "privkey.pem"
	lockFile  = "lock"

	orderPrefix = "order-"
)

// folder is where one order is kept while it is not finished. Nobody else uses it meanwhile.
type folder struct {
	dir  string
	lock *os.File
	step func(point string) // see job.step
	state
}

// openFolder opens the folder of a request below its work folder, and what is remembered there.
func openFolder(r Request, step func(string)) (*folder, error) {
	name, err := r.identity().folder()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(r.Work, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the work folder: %w", err)
	}
	if err := syncFolder(r.Work); err != nil {
		return nil, fmt.Errorf("making the work folder: %w", err)
	}
	lock, err := lockFolder(r.Work)
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir, lock: lock, step: step, state: state{Request: r.identity()}}
	if err := f.load(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// syncFolder has the names in a folder on disk.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockFolder has a folder for this process alone, until the file is closed or the process ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %q: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if err == unix.EWOULDBLOCK {
			return nil, errors.Join(&Error{Kind: KindBusy, Doing: "opening the folder", Detail: fmt.Sprintf("another process works in %q", dir)}, f.Close())
		}
		return nil, errors.Join(fmt.Errorf("locking %q: %w", dir, err), f.Close())
	}
	return f, nil
}

// waitFolder is [lockFolder] for a folder that others use for a moment only.
func waitFolder(ctx context.Context, dir string) (*os.File, error) {
	for {
		lock, err := lockFolder(dir)
		var busy *Error
		if !errors.As(err, &busy) {
			return lock, err
		}
		if errSleep := sleep(ctx, 50*time.Millisecond); errSleep != nil {
			return nil, err
		}
	}
}

func (f *folder) close() error { return f.lock.Close() }

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// load reads the state. One that cannot be read is an error: an order may hang on it.
func (f *folder) load() error {
	if err := atomicfile.SweepFolder(f.dir); err != nil {
		return err
	}
	data, err := os.ReadFile(f.path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	if err := json.Unmarshal(data, &f.state); err != nil {
		return fmt.Errorf("reading the order %q: %w", f.path(stateFile), err)
	}
	return nil
}

// save has the state on disk when it returns.
func (f *folder) save() error {
	data, err := json.MarshalIndent(f.state, "", "  ")
	if err != nil {
		return fmt.Errorf("saving the order: %w", err)
	}
	return f.write(stateFile, append(data, '\n'))
}

func (f *folder) write(name string, data []byte) error {
	f.step("before " + name)
	err := atomicfile.Write(f.path(name), data, 0o600, -1, -1)
	f.step("after " + name)
	return err
}

// forget drops the order. Its key stays for the next one, unless the CA may know it.
func (f *folder) forget() error {
	known := f.Phase == phaseFinalizing || f.Phase == phaseIssued
	f.state = state{Request: f.Request, Presented: f.Presented}
	if err := f.save(); err != nil {
		return err
	}
	if !known {
		return nil
	}
	return f.dropKey()
}

func (f *folder) dropKey() error {
	if err := os.Remove(f.path(keyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a key: %w", err)
	}
	return nil
}

// present remembers an answer before anybody can see it.
func (f *folder) present(p presented) error {
	if slices.Contains(f.Presented, p) {
		return nil
	}
	f.Presented = append(f.Presented, p)
	return f.save()
}

// withdrawn forgets an answer that was taken away.
func (f *folder) withdrawn(p presented) error {
	f.Presented = slices.DeleteFunc(f.Presented, func(q presented) bool { return q == p })
	return f.save()
}

// Close removes what the request's work folder holds, orders of other requests included. It is
// called once the certificate is installed: then none of them is wanted any more.
func Close(r Request) error {
	lock, err := lockFolder(r.Work)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(r.Work)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), orderPrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(r.Work, e.Name())))
		}
	}
	return errors.Join(err, lock.Close())
}

// digest names a folder after what it is for.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
