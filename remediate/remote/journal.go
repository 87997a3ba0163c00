package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/certmedic/certmedic"
)

// phase says how far a deployment came on the host.
type phase string

const (
	phaseStaging    phase = "staging"    // nothing that a service reads has changed
	phaseCommitting phase = "committing" // some files may be new
	phaseInstalled  phase = "installed"  // all files are new, the commands run
)

const (
	journalName = "journal.json"
	overMark    = ".over" // behind the name of a deployment that ended, and only has to be removed
)

// journal is what a deployment leaves on the host for whoever comes after it. It lies in a folder
// of its own, beside the old contents.
type journal struct {
	Version   certmedic.Fingerprint `json:"version"`
	Token     uint64                `json:"token"`
	StartedAt time.Time             `json:"started_at"`
	Phase     phase                 `json:"phase"`
	Prepared  bool                  `json:"prepared"` // something was made of the new files
	Reloaded  bool                  `json:"reloaded"` // a reload was begun
	Staging   []string              `json:"staging"`  // folders beside the targets, for what is staged
	Stale     []string              `json:"stale"`    // folders of a link that are not needed once this deployment is kept
	Changes   []certmedic.Change    `json:"changes"`  // Backup is the name within the journal's folder
}

// write replaces the journal in a folder. It fails where another one claimed the folder.
func (d disk) writeJournal(dir string, j journal) error {
	data, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the journal on the host: %w", err)
	}
	next := path.Join(dir, journalName+".next")
	if err := d.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return named("writing the journal on the host:", next, err)
	}
	if err := d.create(next, data); err != nil {
		return fmt.Errorf("writing the journal on the host: %w", err)
	}
	at := path.Join(dir, journalName)
	if !d.atomic() { // then there may be no journal for a moment, with its successor beside it
		if err := d.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return named("writing the journal on the host:", at, err)
		}
	}
	if err := d.replace(next, at); err != nil {
		return fmt.Errorf("writing the journal on the host: %w", err)
	}
	d.syncDir(dir)
	return nil
}

// readJournal reads the journal of a folder; ok is false where none was written yet.
func (d disk) readJournal(dir string) (j journal, ok bool, err error) {
	data, err := d.read(path.Join(dir, journalName))
	first := errors.Is(err, fs.ErrNotExist)
	if first && !d.atomic() {
		data, err = d.read(path.Join(dir, journalName+".next"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return journal{}, false, nil
	}
	if err != nil {
		return journal{}, false, err
	}
	if err := json.Unmarshal(data, &j); err != nil && first {
		return journal{}, false, nil // the first one was not written to its end
	} else if err != nil {
		return journal{}, false, named("reading the journal of the host", dir, err)
	}
	return j, true, nil
}
