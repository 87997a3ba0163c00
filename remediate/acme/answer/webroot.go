// Package answer answers the challenges of an ACME CA on this host or in DNS: by a file below a
// web server's folder, by listening for a moment, by a TXT record. Package acme calls it.
//
// It promises to take away what it showed, and not to write outside of the folder that it was
// given, whatever links are in there.
package answer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

const challengeFolder = ".well-known/acme-challenge"

// Webroot answers http-01 by files that a web server serves (RFC 8555, section 8.3).
type Webroot struct{ root *os.Root }

// OpenWebroot makes the folder for answers below the folder that is served at /. Links within it
// are followed as long as they stay in there. The folder stays: others may be using it by then.
func OpenWebroot(dir string) (*Webroot, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the webroot: %w", err)
	}
	w := &Webroot{root: root}
	for _, folder := range []string{".well-known", challengeFolder} {
		if err := w.mkdir(folder); err != nil {
			return nil, errors.Join(fmt.Errorf("making %q in the webroot %q: %w", folder, dir, err), w.Close())
		}
	}
	return w, nil
}

// mkdir makes a folder that the web server can enter, unless it is there.
func (w *Webroot) mkdir(folder string) error {
	err := w.root.Mkdir(folder, 0o755)
	if errors.Is(err, fs.ErrExist) {
		info, err := w.root.Stat(folder)
		if err == nil && !info.IsDir() {
			err = errors.New("there is something else of that name")
		}
		return err
	}
	if err != nil {
		return err
	}
	return w.root.Chmod(folder, 0o755) // whatever the umask is
}

// Present writes the answer, readable for the web server; it is there whole or not at all.
func (w *Webroot) Present(name, token, keyAuth string) error {
	if err := w.CleanUp(name, token, keyAuth); err != nil { // what a killed run left
		return err
	}
	f, err := w.root.OpenFile(draft(token), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	_, err = f.WriteString(keyAuth)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = w.root.Rename(draft(token), challengeFolder+"/"+token)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing the answer: %w", err), w.root.Remove(draft(token)))
	}
	return nil
}

// draft is where an answer is written, before it gets its name.
func draft(token string) string { return challengeFolder + "/.certmedic-" + token }

// CleanUp removes the answer. One that is gone already is no error.
func (w *Webroot) CleanUp(_, token, _ string) error {
	for _, path := range []string{draft(token), challengeFolder + "/" + token} {
		if err := w.root.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the answer: %w", err)
		}
	}
	return nil
}

// Close lets go of the folder.
func (w *Webroot) Close() error { return w.root.Close() }
