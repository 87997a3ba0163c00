package snapshot

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certmedic/certmedic"
)

// load reads a snapshot and checks that it is what was kept: every file by its hash, and what
// meta.json says of the certificates by the certificates. After an error it returns what
// meta.json says all the same, as far as it can be read.
func load(dir string) (Snapshot, error) {
	kept, err := loadMeta(dir)
	if errors.Is(err, fs.ErrNotExist) && !exists(dir) {
		return Snapshot{}, err
	}
	if err == nil {
		err = check(dir, kept)
	}
	if err != nil {
		return kept, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return kept, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// loadMeta reads meta.json. Where it cannot be read, the folder's date stands for when the
// snapshot was taken.
func loadMeta(dir string) (Snapshot, error) {
	path := filepath.Join(dir, metaFile)
	data, err := readFile(path)
	var kept Snapshot
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err == nil && len(kept.Chain) == 0 {
		err = errors.New("it describes no certificate")
	}
	if err == nil {
		return kept, nil
	}
	kept = Snapshot{}
	if info, errStat := os.Stat(dir); errStat == nil {
		kept.Taken = info.ModTime()
	}
	return kept, fmt.Errorf("reading %q: %w", path, err)
}

// check proves that the files are those that were kept.
func check(dir string, kept Snapshot) error {
	ownName := filepath.Base(filepath.Dir(dir)) == folder(kept.Certificate) && filepath.Base(dir) == folder(string(kept.Version))
	if !ownName || kept.Chain[0].SHA256 != kept.Version {
		return fmt.Errorf("%q describes another version", filepath.Join(dir, metaFile))
	}
	contents := map[certmedic.FilePart][]byte{}
	for _, part := range fileParts() {
		path := filepath.Join(dir, fileOf(part))
		data, err := readFile(path)
		if err != nil {
			return fmt.Errorf("reading it: %w", err)
		}
		if digest(data) != kept.Files[fileOf(part)] {
			return fmt.Errorf("%q was changed since it was kept", path)
		}
		contents[part] = data
	}
	fullchain := filepath.Join(dir, fileOf(certmedic.PartFullchain))
	if err := described(contents[certmedic.PartFullchain], kept.Chain); err != nil {
		return fmt.Errorf("comparing %q with %s: %w", fullchain, metaFile, err)
	}
	if _, err := tls.X509KeyPair(contents[certmedic.PartFullchain], contents[certmedic.PartPrivkey]); err != nil {
		return fmt.Errorf("pairing %q with its key: %w", fullchain, err)
	}
	return nil
}

// described checks that facts are those of the certificates in PEM.
func described(data []byte, chain []certmedic.CertFacts) error {
	n := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		if n == len(chain) {
			return errors.New("there are more certificates than were kept")
		}
		f := chain[n]
		same := digest(c.Raw) == string(f.SHA256) && spkiOf(c) == f.SPKISHA256 &&
			c.NotBefore.Equal(f.NotBefore) && c.NotAfter.Equal(f.NotAfter)
		if !same {
			return fmt.Errorf("certificate %d is another one", n+1)
		}
		n++
	}
	if n != len(chain) {
		return errors.New("there are fewer certificates than were kept")
	}
	return nil
}

func spkiOf(c *x509.Certificate) certmedic.Fingerprint {
	return certmedic.Fingerprint(digest(c.RawSubjectPublicKeyInfo))
}

// keysOf returns the hashes of the keys that a snapshot tells of: by its description and by
// its certificate, which agree unless it is broken.
func keysOf(dir string) []certmedic.Fingerprint {
	var keys []certmedic.Fingerprint
	if kept, err := loadMeta(dir); err == nil {
		keys = append(keys, kept.Chain[0].SPKISHA256)
	}
	data, err := readFile(filepath.Join(dir, fileOf(certmedic.PartCert)))
	if err != nil {
		return keys
	}
	if block, _ := pem.Decode(data); block != nil {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			keys = append(keys, spkiOf(c))
		}
	}
	return keys
}
