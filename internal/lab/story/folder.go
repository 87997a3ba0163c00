package story

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// marker is the file that says that a folder belongs to a story. It is locked while one
// is played there.
const marker = ".certlab"

// folder is the story's folder, and the only place that it writes to.
type folder struct {
	path string
	lock *os.File
}

// openFolder takes a folder that is missing, empty or of an earlier story, and empties
// it. Its mode does not depend on the umask: certmedic refuses what others may write.
func openFolder(dir string) (*folder, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o755); err != nil {
		return nil, err
	}
	if err := ours(path); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, marker), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another story is played in %q: %w", path, err), lock.Close())
	}
	f := &folder{path: path, lock: lock}
	if err := f.empty(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// ours refuses a folder that holds anything else than a story's files.
func ours(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(path, marker)); err != nil {
		return fmt.Errorf("folder %q is not empty and not of an earlier story", path)
	}
	return nil
}

func (f *folder) empty() error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == marker {
			continue
		}
		if err := os.RemoveAll(filepath.Join(f.path, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// at returns the path of a file of the story.
func (f *folder) at(parts ...string) string {
	return filepath.Join(append([]string{f.path}, parts...)...)
}

// mkdir makes a folder with a mode that does not depend on the umask.
func (f *folder) mkdir(name string, mode os.FileMode) error {
	if err := os.Mkdir(f.at(name), mode); err != nil {
		return err
	}
	return os.Chmod(f.at(name), mode)
}

// write writes a file with a mode that does not depend on the umask, and returns its
// path.
func (f *folder) write(name string, content []byte, mode os.FileMode) (string, error) {
	path := f.at(name)
	if err := os.WriteFile(path, content, mode); err != nil {
		return "", err
	}
	return path, os.Chmod(path, mode)
}

func (f *folder) close() error { return f.lock.Close() }
