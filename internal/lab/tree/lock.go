package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrLocked is returned when another process holds one of the locks.
var ErrLocked = errors.New("another instance of certbot is already running")

const lockName = ".certbot.lock"

// Locks are certbot's three locks, held. They are POSIX record locks: they belong to the
// process, and closing any other descriptor of the same file drops them.
type Locks struct{ files []*os.File }

// Lock takes the locks of the logs, the configuration and the work folder, in certbot's
// order, and never waits: [ErrLocked] says that another process has one of them.
func (t Tree) Lock() (*Locks, error) {
	locks := &Locks{}
	for _, dir := range []string{t.LogsDir, t.ConfigDir, t.WorkDir} {
		file, err := lock(filepath.Join(dir, lockName))
		if err != nil {
			return nil, errors.Join(err, locks.Release())
		}
		locks.files = append(locks.files, file)
	}
	return locks, nil
}

// Release removes the lock files and then lets go of the locks.
func (l *Locks) Release() error {
	var problems []error
	for _, file := range l.files {
		problems = append(problems, remove(file.Name()), file.Close())
	}
	l.files = nil
	return errors.Join(problems...)
}

// lock opens and locks a file, and tries again when the file was removed in between.
func lock(path string) (*os.File, error) {
	const attempts = 100
	for range attempts {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("locking %q: %w", path, err)
		}
		request := unix.Flock_t{Type: unix.F_WRLCK}
		err = unix.FcntlFlock(file.Fd(), unix.F_SETLK, &request)
		if err == nil && samePlace(file, path) {
			return file, nil
		}
		_ = file.Close() // nothing was written to it
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("locking %q: %w", path, ErrLocked)
		}
		if err != nil {
			return nil, fmt.Errorf("locking %q: %w", path, err)
		}
	}
	return nil, fmt.Errorf("locking %q: it was removed %d times", path, attempts)
}

// samePlace reports whether the open file is still the one at the path.
func samePlace(file *os.File, path string) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there)
}
