// Package lineage writes into a certbot lineage as certbot itself does: a further version, or
// a pin that keeps certbot from renewing. The command `certmedic step lineage` calls it, in a
// process of its own, because POSIX locks end when a process closes any descriptor of a lock
// file, and the watchdog opens these files to ask who holds them.
//
// It promises that it writes only while it holds certbot's three locks, that a killed process
// leaves nothing that certbot stumbles over, that the same request finishes then what was
// begun, and that whatever it did can be taken back as long as certbot did not go on from it.
package lineage

import (
	"errors"

	"github.com/certmedic/certmedic"
)

// ErrHeld says that certbot, or a hook that it runs, is at work: it holds one of its locks.
var ErrHeld = errors.New("certbot is at work")

// ErrOvertaken says that somebody else changed the lineage since a request began to: nothing
// more was done.
var ErrOvertaken = errors.New("the lineage has changed meanwhile")

// ExitHeld is the exit code of a step that ended with [ErrHeld]: it did nothing, and can be tried
// again (EX_TEMPFAIL of sysexits.h).
const ExitHeld = 75

// Place is where a lineage is kept, as certbot's own files name it.
type Place struct {
	Lineage   string `json:"lineage"`    // its name, as in renewal/NAME.conf
	ConfigDir string `json:"config_dir"` // certbot's folder
	WorkDir   string `json:"work_dir"`   // empty: certbot's default
	LogsDir   string `json:"logs_dir"`   // empty: certbot's default
	Conf      string `json:"conf"`       // renewal/NAME.conf
	Live      string `json:"live"`       // the folder of the four links
	Archive   string `json:"archive"`    // the folder of the numbered files
}

// Do says what a request asks for.
type Do string

// What can be asked for. Certbot leads its links to the newest whole version at the beginning
// of each of its runs, so that a pin to an older one also takes a file out of each newer one:
// chainN.pem is called chainN.pem.certmedic until the pin ends.
const (
	Append  Do = "append"  // add the files as version N+1 and let the links lead to it
	Retract Do = "retract" // take back what an Append with the same work folder did
	Pin     Do = "pin"     // keep certbot from renewing: autorenew = False; with Version, also lead the links to it
	Unpin   Do = "unpin"   // what a Pin with the same work folder changed is as it was before
)

// Request is what `certmedic step lineage` is asked for.
type Request struct {
	Do      Do                    `json:"do"`
	Place   Place                 `json:"place"`
	Files   certmedic.StoredFiles `json:"files"`   // of Append: where the parts are now, in PEM
	Version certmedic.Fingerprint `json:"version"` // of the leaf in Files, or of the archive's version to lead to
	Work    string                `json:"work"`    // a folder, made 0700 where there is none, that remembers what was done, for Retract and Unpin

	// Name tells a Pin from an earlier one with the same work folder, whose place it takes. An Unpin of
	// that name takes back that one alone, so that the earlier one stands again; without a name, all.
	Name string `json:"name,omitempty"`
}
