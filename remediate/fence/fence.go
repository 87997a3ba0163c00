// Package fence keeps a member of a cluster that comes late from undoing what another one did: beside
// the files of a destination on this host is a file, [Name], with the highest token by which they were
// installed for each certificate. The remediator raises it right before it renames new files into place,
// and asks it before it puts old ones back.
//
// It promises that a token lower than the one there is refused, also when several processes on one host
// install into one folder, and that a reader never sees half a file. It says nothing about who may act
// now; that is the coordinator's.
package fence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
)

// Name is the name of the file. A pattern such as * does not match it, so that no server loads it.
const Name = ".certmedic-token"

// ErrHigher says that a higher token is there: another member has installed since.
var ErrHigher = errors.New("another member was here since, with a higher token")

// The bounds of the file, and of waiting for another process that has the folder.
const (
	maxSize  = 1 << 20
	lockWait = 5 * time.Second
	lockStep = 10 * time.Millisecond
)

// Check refuses a token that is lower than the one in a folder of the files that change. A folder that
// is not there knows none.
func Check(changes []certmedic.Change, certificate string, token uint64) error {
	for _, dir := range folders(changes) {
		if _, err := read(dir, certificate, token); err != nil {
			return err
		}
	}
	return nil
}

// Raise makes a token known in every folder of the files that change, and refuses one that is lower than what is
// there. Folders that it comes to first may know it then.
func Raise(changes []certmedic.Change, certificate string, token uint64) error {
	for _, dir := range folders(changes) {
		if err := raise(dir, certificate, token); err != nil {
			return err
		}
	}
	return nil
}

// folders returns the folders of files, each once, in an order that is the same for all.
func folders(changes []certmedic.Change) []string {
	var dirs []string
	for _, c := range changes {
		dirs = append(dirs, filepath.Dir(c.Path))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

func raise(dir, certificate string, token uint64) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	known, err := read(dir, certificate, token)
	if err != nil || known[certificate] == token {
		return err
	}
	known[certificate] = token
	data, err := json.Marshal(known)
	if err != nil {
		return fmt.Errorf("encoding the tokens of %q: %w", dir, err)
	}
	return atomicfile.Write(filepath.Join(dir, Name), append(data, '\n'), 0o600, -1, -1)
}

// read returns the tokens that a folder knows, and refuses one that is lower than the certificate's.
func read(dir, certificate string, token uint64) (map[string]uint64, error) {
	known := map[string]uint64{}
	path := filepath.Join(dir, Name)
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return known, nil
	case err != nil:
		return nil, fmt.Errorf("reading the tokens: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the tokens: %w", err)
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("reading the tokens: %q is larger than %d bytes", path, maxSize)
	}
	if err := json.Unmarshal(data, &known); err != nil {
		return nil, fmt.Errorf("reading the tokens of %q: %w", path, err)
	}
	if known == nil {
		known = map[string]uint64{}
	}
	if highest := known[certificate]; highest > token {
		return nil, fmt.Errorf("the token of %q in %q is %d, and this one %d: %w", certificate, path, highest, token, ErrHigher)
	}
	return known, nil
}

// lock waits until no other process raises a token in a folder. File systems that know no such locks have none.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("locking the tokens: %w", err)
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(lockStep) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil, errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EBADF), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS):
			return func() { _ = f.Close() }, nil // which ends the lock
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(end):
		default:
			return nil, errors.Join(fmt.Errorf("locking the tokens of %q: %w", dir, err), f.Close())
		}
	}
}
