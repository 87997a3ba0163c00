package disk

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

// lockName is the file on which certbot holds a POSIX record lock while it works.
const lockName = ".certbot.lock"

// Where certbot keeps its other folders by default, for the default config folder.
const (
	defaultConfigDir = "/etc/letsencrypt"
	defaultWorkDir   = "/var/lib/letsencrypt"
	defaultLogsDir   = "/var/log/letsencrypt"
)

// AskLock asks whether certbot, or a hook that it runs, is at work on a tree: it asks
// the kernel (F_GETLK) who holds .certbot.lock in the config folder and in the work
// and logs folders as far as they are known, and takes no lock. A missing file is a
// free lock, because certbot removes it on release. conf may be nil. Since is left for
// the caller, who knows when it asked before.
//
// A process that itself holds one of these locks must not call it: closing any
// descriptor of a file drops all of the process's record locks on it.
func AskLock(configDir string, conf *RenewalConf) certmedic.Lock {
	unknown := certmedic.Lock{State: certmedic.LockFree}
	for _, folder := range lockFolders(configDir, conf) {
		path := filepath.Join(folder, lockName)
		held, pid, err := askFile(path)
		if held {
			return certmedic.Lock{State: certmedic.LockHeld, Path: path, PID: pid}
		}
		if err != nil && unknown.State == certmedic.LockFree {
			unknown = certmedic.Lock{State: certmedic.LockUnknown, Path: path, Detail: err.Error()}
		}
	}
	return unknown
}

func lockFolders(configDir string, conf *RenewalConf) []string {
	folders := []string{configDir}
	work, logs := "", ""
	if filepath.Clean(configDir) == defaultConfigDir {
		work, logs = defaultWorkDir, defaultLogsDir
	}
	if conf != nil && conf.WorkDir != "" {
		work = conf.WorkDir
	}
	if conf != nil && conf.LogsDir != "" {
		logs = conf.LogsDir
	}
	for _, folder := range []string{work, logs} {
		if folder != "" {
			folders = append(folders, folder)
		}
	}
	return folders
}

// askFile asks who holds a write lock on a file. The holder's pid is 0 where the
// kernel does not tell, as for a holder in another pid namespace.
func askFile(path string) (held bool, pid int, err error) {
	// O_NONBLOCK, so that a pipe in the lock's place cannot hold us up.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, fmt.Errorf("opening the lock %q: %w", path, err)
	}
	defer unix.Close(fd)
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &lock); err != nil {
		return false, 0, fmt.Errorf("asking for the lock %q: %w", path, err)
	}
	return lock.Type != unix.F_UNLCK, max(0, int(lock.Pid)), nil
}
