package lineage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Certbot's lock in each of its folders, and where these are by default.
const (
	lockName       = ".certbot.lock"
	defaultLogsDir = "/var/log/letsencrypt"
	defaultWorkDir = "/var/lib/letsencrypt"
)

// locks are certbot's three locks, held.
type locks []*os.File

// lock takes the locks of the logs, the configuration and the work folder, in certbot's order,
// and never waits. A logs or work folder that is not there has no lock: certbot makes it, and
// asks for that of the configuration too.
func lock(p Place) (locks, error) {
	var all locks
	folders := []string{cmp.Or(p.LogsDir, defaultLogsDir), p.ConfigDir, cmp.Or(p.WorkDir, defaultWorkDir)}
	for i, folder := range folders {
		file, err := lockOne(filepath.Join(folder, lockName))
		if errors.Is(err, fs.ErrNotExist) && i != 1 {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, all.release())
		}
		all = append(all, file)
	}
	return all, nil
}

// release removes the lock files and then lets go of them, as certbot does.
func (l locks) release() error {
	var errs []error
	for _, file := range l {
		errs = append(errs, os.Remove(file.Name()), file.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("releasing the locks: %w", err)
	}
	return nil
}

// lockOne opens and locks a file, and tries again where its last holder removed it in between.
func lockOne(path string) (*os.File, error) {
	const attempts = 100
	for range attempts {
		// Neither a planted link nor a pipe in the lock's place leads astray or holds up.
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		request := unix.Flock_t{Type: unix.F_WRLCK}
		err = unix.FcntlFlock(file.Fd(), unix.F_SETLK, &request)
		switch {
		case err == nil && samePlace(file, path):
			return file, nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
			err = fmt.Errorf("%w: %q is held by process %d", ErrHeld, path, holder(file))
		case err != nil:
			err = fmt.Errorf("locking %q: %w", path, err)
		}
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("locking %q: it was removed %d times", path, attempts)
}

// samePlace reports whether the open file is still the one at the path.
func samePlace(file *os.File, path string) bool {
	open, errOpen := file.Stat()
	there, errThere := os.Lstat(path)
	return errOpen == nil && errThere == nil && os.SameFile(open, there)
}

// holder returns who has the lock; 0 where the kernel does not tell.
func holder(file *os.File) int {
	asked := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &asked); err != nil || asked.Type == unix.F_UNLCK {
		return 0
	}
	return max(0, int(asked.Pid))
}
