package lineage

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
)

// maxPart bounds what is read of one part, in bytes.
const maxPart = 1 << 20

// readParts reads the parts of a version as certbot would write them, and proves that they
// are one: its leaf is the version, the key belongs to it, and there is a chain.
func readParts(files certmedic.StoredFiles, version certmedic.Fingerprint) (map[certmedic.FilePart][]byte, error) {
	paths := []string{files.Fullchain}
	if files.Fullchain == "" {
		paths = []string{files.Cert, files.Chain}
	}
	var certs []*pem.Block
	for _, path := range paths {
		more, err := blocks(path, "CERTIFICATE")
		if err != nil {
			return nil, err
		}
		certs = append(certs, more...)
	}
	key, err := blocks(files.Privkey, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parts := map[certmedic.FilePart][]byte{
		certmedic.PartCert: encode(certs[:1]), certmedic.PartChain: encode(certs[1:]),
		certmedic.PartFullchain: encode(certs), certmedic.PartPrivkey: encode(key[:1]),
	}
	return parts, one(parts, certs, version)
}

// one proves that the parts are of the version.
func one(parts map[certmedic.FilePart][]byte, certs []*pem.Block, version certmedic.Fingerprint) error {
	if got := certmedic.Fingerprint(digest(certs[0].Bytes)); got != version {
		return fmt.Errorf("the files hold version %q, not %q", got, version)
	}
	if len(certs) == 1 {
		return errors.New("the files hold no chain, without which certbot cannot read a version")
	}
	for i, c := range certs {
		if _, err := x509.ParseCertificate(c.Bytes); err != nil {
			return fmt.Errorf("reading certificate %d: %w", i+1, err)
		}
	}
	if _, err := tls.X509KeyPair(parts[certmedic.PartFullchain], parts[certmedic.PartPrivkey]); err != nil {
		return fmt.Errorf("pairing the leaf with its key: %w", err)
	}
	return nil
}

// blocks returns the PEM blocks of a file whose type ends so; there has to be one.
func blocks(path, ending string) ([]*pem.Block, error) {
	data, err := readOwn(path)
	if err != nil {
		return nil, err
	}
	var found []*pem.Block
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, ending) {
			found = append(found, block)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%q holds no %s in PEM", path, strings.ToLower(ending))
	}
	return found, nil
}

// readOwn reads a file that nobody else may write.
func readOwn(path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not an absolute path", path)
	}
	if err := ownership.Check(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPart+1))
	if err == nil && len(data) > maxPart {
		err = fmt.Errorf("%q is larger than %d bytes", path, maxPart)
	}
	return data, err
}

func encode(all []*pem.Block) []byte {
	var b bytes.Buffer
	for _, block := range all {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
	}
	return b.Bytes()
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
