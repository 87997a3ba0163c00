// Package version reads a stored version, and proves that it is the one that was judged:
// certificate by certificate, with the key that belongs to its leaf.
//
// Plans of deployments call it when they are made, and certmedic's own steps when they are carried
// out: what asks for a step holds paths and fingerprints ([Order]), never a key. It promises that all
// parts are of one version, even while the source changes, and that no error holds what it read.
package version

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// maxPart bounds what is read of one part of a version, in bytes.
const maxPart = 1 << 20

// Parts are the parts of a version as they are installed, in PEM.
type Parts map[certmedic.FilePart][]byte

// Read reads a version. Its chain is what was judged, leaf first. Certificates and keys come out of
// their files one by one, so that a file that holds both never spreads the key.
func Read(files certmedic.StoredFiles, chain []certmedic.Fingerprint) (Parts, error) {
	certs, err := certificates(files)
	if err != nil {
		return nil, err
	}
	if err := judged(certs, chain); err != nil {
		return nil, fmt.Errorf("reading %q: %w", whole(files), err)
	}
	key, err := blocks(files.Privkey, func(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") })
	if err != nil {
		return nil, fmt.Errorf("reading the key of the stored version: %w", err)
	}
	p := Parts{
		certmedic.PartCert: encode(certs[:1]), certmedic.PartChain: encode(certs[1:]),
		certmedic.PartFullchain: encode(certs), certmedic.PartPrivkey: encode(key),
	}
	if _, err := tls.X509KeyPair(p[certmedic.PartFullchain], p[certmedic.PartPrivkey]); err != nil {
		return nil, fmt.Errorf("pairing %q with its key %q: %w", whole(files), files.Privkey, err)
	}
	return p, nil
}

// whole is the file that names a version in errors.
func whole(files certmedic.StoredFiles) string {
	if files.Fullchain != "" {
		return files.Fullchain
	}
	return files.Cert
}

// Chain returns the fingerprints of a chain.
func Chain(chain []certmedic.CertFacts) []certmedic.Fingerprint {
	all := make([]certmedic.Fingerprint, 0, len(chain))
	for _, c := range chain {
		all = append(all, c.SHA256)
	}
	return all
}

// Order says which version a step is about.
type Order struct {
	Certificate string                  `json:"certificate"` // its name
	Files       certmedic.StoredFiles   `json:"files"`
	Chain       []certmedic.Fingerprint `json:"chain"`           // leaf first
	Token       uint64                  `json:"token,omitempty"` // of the lease under which it is given; 0: there is none
	Work        string                  `json:"work,omitempty"`  // a folder that the step may make for what others must not see, and removes again
}

// Of orders the version of a certificate that is stored.
func Of(certificate string, stored certmedic.Stored) Order {
	return Order{Certificate: certificate, Files: stored.Files, Chain: Chain(stored.Chain)}
}

// Version is a version with all its parts.
type Version struct {
	Order
	Parts Parts
	Leaf  *x509.Certificate
}

// Read reads the version that is ordered.
func (o Order) Read() (Version, error) {
	parts, err := Read(o.Files, o.Chain)
	if err != nil {
		return Version{}, err
	}
	block, _ := pem.Decode(parts[certmedic.PartCert])
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Version{}, fmt.Errorf("reading %q: %w", whole(o.Files), err)
	}
	return Version{Order: o, Parts: parts, Leaf: leaf}, nil
}

// Fingerprint returns the fingerprint of the leaf.
func (v Version) Fingerprint() certmedic.Fingerprint { return v.Chain[0] }

// Document is a version as programs and interfaces are given it: in JSON, or as what a template is
// filled in with. Certificates and key are in PEM.
type Document struct {
	Name        string   `json:"name"`        // of the certificate
	Fingerprint string   `json:"fingerprint"` // SHA-256 of the leaf, in lower-case hex
	SHA1        string   `json:"sha1"`        // of the leaf, in lower-case hex, as many interfaces tell certificates apart
	Serial      string   `json:"serial"`      // lower-case hex, two digits a byte
	NotAfter    string   `json:"not_after"`   // RFC 3339, in UTC
	Names       []string `json:"names"`       // DNS names of the leaf
	Token       uint64   `json:"token"`       // of the lease under which it is given; 0: there is none

	Cert      string `json:"cert"`
	Chain     string `json:"chain"` // empty where the leaf is the root's own
	Fullchain string `json:"fullchain"`
	Privkey   string `json:"privkey"`
}

// Document returns the version as a document. It holds the key.
func (v Version) Document() Document {
	sum := sha1.Sum(v.Leaf.Raw)
	d := Document{
		Name: v.Certificate, Fingerprint: string(v.Fingerprint()), SHA1: hex.EncodeToString(sum[:]),
		Serial: hex.EncodeToString(v.Leaf.SerialNumber.Bytes()), NotAfter: v.Leaf.NotAfter.UTC().Format(time.RFC3339),
		Names: v.Leaf.DNSNames, Token: v.Token,
		Cert: string(v.Parts[certmedic.PartCert]), Chain: string(v.Parts[certmedic.PartChain]),
		Fullchain: string(v.Parts[certmedic.PartFullchain]), Privkey: string(v.Parts[certmedic.PartPrivkey]),
	}
	if d.Names == nil {
		d.Names = []string{}
	}
	return d
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
func judged(certs []*pem.Block, chain []certmedic.Fingerprint) error {
	same := len(certs) == len(chain) && len(certs) > 0
	for i := 0; same && i < len(certs); i++ {
		sum := sha256.Sum256(certs[i].Bytes)
		same = certmedic.Fingerprint(hex.EncodeToString(sum[:])) == chain[i]
	}
	if !same {
		return errors.New("it holds another version than the one that was judged")
	}
	return nil
}

// blocks returns the PEM blocks of a file that are of the wanted kind.
func blocks(path string, wanted func(kind string) bool) ([]*pem.Block, error) {
	data, err := ReadFile(path)
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

// ReadFile reads a file of a version, of at most a MiB.
func ReadFile(path string) ([]byte, error) {
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
