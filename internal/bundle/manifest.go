package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/certmedic/certmedic"
)

// format is the version of the form of manifests and pointers.
const format = 1

// The names of a publication's files.
const (
	manifestFile  = "manifest.json"
	pointerFile   = "current.json"
	versionsName  = "versions"
	certFile      = "cert.pem"
	chainFile     = "chain.pem"
	fullchainFile = "fullchain.pem"
	privkeyFile   = "privkey.pem"
	sealedFile    = "privkey.pem.age"
)

// Manifest says what belongs to a publication. It holds nothing secret.
type Manifest struct {
	Format    int                   `json:"format"`      // 1
	Name      string                `json:"name"`        // of the certificate
	Version   certmedic.Fingerprint `json:"version"`     // SHA-256 of the leaf
	SPKI      certmedic.Fingerprint `json:"spki_sha256"` // of its public key
	Serial    string                `json:"serial"`      // lower-case hex
	NotBefore time.Time             `json:"not_before"`
	NotAfter  time.Time             `json:"not_after"`
	Names     []string              `json:"names"` // DNS names, then IP addresses, as the leaf has them
	Parts     map[string]Part       `json:"parts"` // by file name
	Key       Sealing               `json:"key"`

	Token    uint64                `json:"token"`    // of the publisher's lease
	Sequence uint64                `json:"sequence"` // counts the publications of this certificate, from 1
	Previous certmedic.Fingerprint `json:"previous"` // the version that was current before; empty for the first
	Member   string                `json:"member"`   // who published it
	Time     time.Time             `json:"time"`     // when, by that member's clock
}

// Part is a file of a publication, as it is stored.
type Part struct {
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int    `json:"size"`   // bytes
}

// Sealing says how the private key is stored.
type Sealing struct {
	Way        Way      `json:"way"`
	Recipients []string `json:"recipients,omitempty"` // public, as the publisher was given them
}

// Way is how a private key is stored.
type Way string

// The ways to store a private key.
const (
	WayRecipients Way = "age"        // encrypted to age recipients
	WayPassphrase Way = "passphrase" // encrypted with age by a passphrase that publishers and consumers share
	WayPlaintext  Way = "plaintext"
)

// file returns the name of the file that holds the private key.
func (s Sealing) file() string {
	if s.Way == WayPlaintext {
		return privkeyFile
	}
	return sealedFile
}

// envelope is the content of manifest.json. What is signed are the bytes of the manifest as they
// stand in it.
type envelope struct {
	Manifest  json.RawMessage `json:"manifest"`
	Signature *signature      `json:"signature,omitempty"`
}

// pointer is the content of current.json.
type pointer struct {
	Format      int                   `json:"format"`
	Name        string                `json:"name"`
	Version     certmedic.Fingerprint `json:"version"`
	Publication string                `json:"publication"` // its folder in the version's
	Sequence    uint64                `json:"sequence"`
	Token       uint64                `json:"token"`
	Manifest    string                `json:"manifest_sha256"` // of manifest.json
	Previous    *predecessor          `json:"previous,omitempty"`
}

// predecessor is the publication that was current before.
type predecessor struct {
	Version     certmedic.Fingerprint `json:"version"`
	Publication string                `json:"publication"`
}

var (
	hexSHA256       = regexp.MustCompile(`^[0-9a-f]{64}$`)
	publicationName = regexp.MustCompile(`^[1-9][0-9]{0,19}-[0-9a-f]{16}$`)
)

// parsePointer reads current.json, and refuses what could lead out of the certificate's folder.
func parsePointer(data []byte, name string) (pointer, error) {
	var p pointer
	if err := decode(data, &p); err != nil {
		return pointer{}, fmt.Errorf("reading %s: %w", pointerFile, err)
	}
	ok := hexSHA256.MatchString(string(p.Version)) && hexSHA256.MatchString(p.Manifest) &&
		p.Sequence > 0 && publicationName.MatchString(p.Publication)
	if p.Previous != nil {
		ok = ok && hexSHA256.MatchString(string(p.Previous.Version)) && publicationName.MatchString(p.Previous.Publication)
	}
	switch {
	case p.Format != format:
		return pointer{}, fmt.Errorf("reading %s: its format is %d, and only %d is known", pointerFile, p.Format, format)
	case p.Name != name:
		return pointer{}, fmt.Errorf("reading %s: it is of %q, not of %q", pointerFile, p.Name, name)
	case !ok:
		return pointer{}, fmt.Errorf("reading %s: what it says cannot be", pointerFile)
	}
	return p, nil
}

// parseManifest reads manifest.json. Its signature is not verified yet.
func parseManifest(data []byte) (Manifest, envelope, error) {
	var e envelope
	var m Manifest
	err := decode(data, &e)
	if err == nil {
		err = decode(e.Manifest, &m)
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return Manifest{}, envelope{}, fmt.Errorf("reading %s: %w", manifestFile, err)
	}
	return m, e, nil
}

// check refuses a manifest whose parts are not those that a publication has.
func (m Manifest) check() error {
	if m.Format != format {
		return fmt.Errorf("its format is %d, and only %d is known", m.Format, format)
	}
	if !hexSHA256.MatchString(string(m.Version)) || !hexSHA256.MatchString(string(m.SPKI)) || m.Sequence == 0 {
		return errors.New("what it says cannot be")
	}
	if m.Key.Way != WayRecipients && m.Key.Way != WayPassphrase && m.Key.Way != WayPlaintext {
		return fmt.Errorf("the private key is stored as %q, which is not known", m.Key.Way)
	}
	known := 0
	for _, file := range []string{certFile, chainFile, fullchainFile, m.Key.file()} {
		part, ok := m.Parts[file]
		switch {
		case !ok && file == chainFile:
			continue
		case !ok:
			return fmt.Errorf("it lacks %s", file)
		case !hexSHA256.MatchString(part.SHA256) || part.Size <= 0 || part.Size > MaxObject:
			return fmt.Errorf("what it says of %s cannot be", file)
		}
		known++
	}
	if known != len(m.Parts) {
		return errors.New("it has parts that are not known")
	}
	return nil
}

// decode reads one JSON value with known keys and nothing behind it.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind its end")
	}
	return nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
