package service

import (
	"encoding/pem"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/disk"
)

// maxPEM is how much of a file is looked at, in bytes.
const maxPEM = 4 << 20

// pair records what is wrong with a certificate's file and its key's, once for each pair: with
// record, one of the builder's, what the service is sure to refuse. What only cannot be read
// or parsed here may still be good for the service.
func (b *builder) pair(d conf.Directive, p conf.Pair, record func(conf.Directive, string, ...any)) {
	if b.pairs[p] {
		return
	}
	b.pairs[p] = true
	cert := look(p.Cert)
	if cert.read && !cert.has("CERTIFICATE") {
		record(d, "%s holds no certificate in PEM form", p.Cert)
		return
	}
	stored := disk.Read(certmedic.Source{Kind: certmedic.SourceFiles, Cert: p.Cert, Key: p.Key}, time.Time{})
	for _, finding := range stored.Findings {
		switch finding.Code {
		case certmedic.FileMissing, certmedic.ChainOrder:
			record(d, "%s", finding.Detail)
		case certmedic.KeyMismatch:
			if isMismatch(p.Key) {
				record(d, "%s", finding.Detail)
			} else {
				b.maybe(d, "%s", finding.Detail)
			}
		case certmedic.FileUnreadable, certmedic.NotACertificate:
			b.maybe(d, "%s", finding.Detail)
		}
	}
}

// isMismatch reports whether a key that does not fit is understood here, or there is none: one of
// a kind that is not known here may fit all the same.
func isMismatch(path string) bool {
	key := look(path)
	defer clear(key.data)
	_, err := disk.PublicKey(key.data, nil)
	return err == nil || key.read && !key.has("PRIVATE KEY")
}

// looked is what a file holds.
type looked struct {
	data []byte
	read bool
}

// look reads a regular file; what cannot be read is told elsewhere.
func look(path string) looked {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return looked{}
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return looked{}
	}
	data, err := io.ReadAll(io.LimitReader(file, maxPEM))
	return looked{data: data, read: err == nil && len(data) < maxPEM}
}

// has reports whether there is a PEM block whose type ends so.
func (l looked) has(kind string) bool {
	for block, rest := pem.Decode(l.data); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, kind) {
			return true
		}
	}
	return false
}
