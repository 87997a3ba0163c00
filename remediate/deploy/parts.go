package deploy

import (
	"cmp"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

// parts holds the bytes of one version, read once, so that all files of a plan come from
// the same version even while the source changes.
type parts struct {
	bytes version.Parts
	paths map[certmedic.FilePart]string
}

// read reads a version that was judged.
func read(files certmedic.StoredFiles, chain []certmedic.CertFacts) (*parts, error) {
	all, err := version.Read(files, version.Chain(chain))
	if err != nil {
		return nil, err
	}
	return &parts{all, map[certmedic.FilePart]string{
		certmedic.PartCert: files.Cert, certmedic.PartChain: cmp.Or(files.Chain, files.Cert),
		certmedic.PartFullchain: cmp.Or(files.Fullchain, files.Cert), certmedic.PartPrivkey: files.Privkey,
	}}, nil
}

// Parts reads the parts of a stored version as they are installed, in PEM. It is an error if its
// files hold another version than the one that was judged, or a key of another one.
func Parts(stored certmedic.Stored) (map[certmedic.FilePart][]byte, error) {
	return version.Read(stored.Files, version.Chain(stored.Chain))
}

// readFile reads a file that is about to be replaced, or put back.
func readFile(path string) ([]byte, error) { return version.ReadFile(path) }
