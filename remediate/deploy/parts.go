package deploy

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"os"

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

// read reads a version and proves that its key belongs to its leaf, and that the leaf is
// the one that was judged.
func read(files certmedic.StoredFiles, chain []certmedic.CertFacts) (*parts, error) {
	p := &parts{map[certmedic.FilePart][]byte{}, map[certmedic.FilePart]string{
		certmedic.PartCert: files.Cert, certmedic.PartChain: files.Chain,
		certmedic.PartFullchain: files.Fullchain, certmedic.PartPrivkey: files.Privkey,
	}}
	for part, path := range p.paths {
		if path == "" {
			continue
		}
		data, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the %s of the stored version: %w", part, err)
		}
		p.bytes[part] = data
	}
	p.complete()
	full := p.bytes[certmedic.PartFullchain]
	if _, err := tls.X509KeyPair(full, p.bytes[certmedic.PartPrivkey]); err != nil {
		return nil, fmt.Errorf("pairing %q with its key %q: %w", p.paths[certmedic.PartFullchain], files.Privkey, err)
	}
	block, _ := pem.Decode(full)
	if sum := sha256.Sum256(block.Bytes); len(chain) == 0 || certmedic.Fingerprint(hex.EncodeToString(sum[:])) != chain[0].SHA256 {
		return nil, fmt.Errorf("reading %q: it holds another version than the one that was judged", files.Cert)
	}
	return p, nil
}

// complete derives the parts that the source does not keep as files of their own.
func (p *parts) complete() {
	cert, chain, full := p.bytes[certmedic.PartCert], p.bytes[certmedic.PartChain], p.bytes[certmedic.PartFullchain]
	if full == nil {
		full = append(bytes.Clone(cert), chain...)
		p.derive(certmedic.PartFullchain, full)
	}
	if _, rest := pem.Decode(full); chain == nil {
		p.derive(certmedic.PartChain, bytes.TrimLeft(rest, "\r\n"))
	}
	if block, _ := pem.Decode(full); block != nil {
		p.derive(certmedic.PartCert, pem.EncodeToMemory(block))
	}
}

func (p *parts) derive(part certmedic.FilePart, data []byte) {
	p.bytes[part] = data
	if p.paths[part] == "" {
		p.paths[part] = p.paths[certmedic.PartCert]
	}
}

func (p *parts) file(f certmedic.InstalledFile) File {
	data := p.bytes[f.From]
	sum := sha256.Sum256(data)
	return File{InstalledFile: f, Source: p.paths[f.From], Size: len(data), SHA256: hex.EncodeToString(sum[:]), data: data}
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
