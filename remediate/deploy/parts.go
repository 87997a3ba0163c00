package deploy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/certmedic/certmedic"
)

// maxPart bounds what is read of one part of a version, in bytes.
const maxPart = 1 << 20

// parts holds the bytes of one version, read once, so that all files of a plan come from
// the same version even while the source changes.
type parts struct {
	bytes map[certmedic.FilePart][]byte
	paths map[certmedic.FilePart]string
}

// read reads a version and proves that it is the one that was judged, certificate by
// certificate, and that its key belongs to its leaf. Certificates and keys come out of their
// files one by one, so that a file that holds both never spreads the key.
func read(files certmedic.StoredFiles, chain []certmedic.CertFacts) (*parts, error) {
	p := &parts{map[certmedic.FilePart][]byte{}, map[certmedic.FilePart]string{
		certmedic.PartCert: files.Cert, certmedic.PartChain: cmp.Or(files.Chain, files.Cert),
		certmedic.PartFullchain: cmp.Or(files.Fullchain, files.Cert), certmedic.PartPrivkey: files.Privkey,
	}}
	certs, err := certificates(files)
	if err != nil {
		return nil, err
	}
	if err := judged(certs, chain); err != nil {
		return nil, fmt.Errorf("reading %q: %w", p.paths[certmedic.PartFullchain], err)
	}
	p.bytes[certmedic.PartCert] = encode(certs[:1])
	p.bytes[certmedic.PartChain] = encode(certs[1:])
	p.bytes[certmedic.PartFullchain] = encode(certs)
	key, err := blocks(files.Privkey, func(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") })
	if err != nil {
		return nil, fmt.Errorf("reading the key of the stored version: %w", err)
	}
	p.bytes[certmedic.PartPrivkey] = encode(key)
	if _, err := tls.X509KeyPair(p.bytes[certmedic.PartFullchain], p.bytes[certmedic.PartPrivkey]); err != nil {
		return nil, fmt.Errorf("pairing %q with its key %q: %w", p.paths[certmedic.PartFullchain], files.Privkey, err)
	}
	return p, nil
}

// Parts reads the parts of a stored version as they are installed, in PEM. It is an error if its
// files hold another version than the one that was judged, or a key of another one.
func Parts(stored certmedic.Stored) (map[certmedic.FilePart][]byte, error) {
	p, err := read(stored.Files, stored.Chain)
	if err != nil {
		return nil, err
	}
	return p.bytes, nil
}

// certificates reads the chain of a version, leaf first: the full chain where there is one,
// as that is what was judged, else the leaf's file and the chain's behind it.
func certificates(files certmedic.StoredFiles) ([]*pem.Block, error) {
	paths := []string{files.Fullchain}
	if files.Fullchain == "" {
		paths = []string{files.Cert, files.Chain}
	}
	var certs []*pem.Block
	for _, path := range paths {
		if path == "" {
			continue
		}
		more, err := blocks(path, func(kind string) bool { return kind == "CERTIFICATE" })
		if err != nil {
			return nil, fmt.Errorf("reading the chain of the stored version: %w", err)
		}
		certs = append(certs, more...)
	}
	return certs, nil
}

// judged proves that the certificates are those that were judged.
func judged(certs []*pem.Block, chain []certmedic.CertFacts) error {
	same := len(certs) == len(chain) && len(certs) > 0
	for i := 0; same && i < len(certs); i++ {
		sum := sha256.Sum256(certs[i].Bytes)
		same = certmedic.Fingerprint(hex.EncodeToString(sum[:])) == chain[i].SHA256
	}
	if !same {
		return errors.New("it holds another version than the one that was judged")
	}
	return nil
}

// blocks returns the PEM blocks of a file that are of the wanted kind.
func blocks(path string, wanted func(kind string) bool) ([]*pem.Block, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var found []*pem.Block
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if wanted(block.Type) {
			found = append(found, block)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%q holds no such PEM block", path)
	}
	return found, nil
}

func encode(all []*pem.Block) []byte {
	var b bytes.Buffer
	for _, block := range all {
		b.Write(pem.EncodeToMemory(block))
	}
	return b.Bytes()
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPart+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPart {
		return nil, fmt.Errorf("%q is larger than %d bytes", path, maxPart)
	}
	return data, nil
}
