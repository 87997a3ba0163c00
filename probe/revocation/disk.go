package revocation

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic/internal/atomicfile"
)

const (
	fileMagic     = "certmedic-crl 1"
	maxFileHeader = 8 << 10
	maxFileUnused = 30 * 24 * time.Hour // before a list that nobody fetches again is deleted
)

// keptFile is a list on disk: one line with the time of the fetch and the URL, then the
// list as it was fetched.
type keptFile struct {
	fetched time.Time
	list    []byte
}

func (c *Checker) path(url string, issuer *x509.Certificate) string {
	name := sha256.Sum256([]byte(listKey(url, issuer)))
	return filepath.Join(c.options.Dir, hex.EncodeToString(name[:])+".crl")
}

// readFile returns what is kept of a URL; nothing where the file is absent, broken, or of
// another URL.
func (c *Checker) readFile(url string, issuer *x509.Certificate) keptFile {
	if c.options.Dir == "" {
		return keptFile{}
	}
	f, err := os.Open(c.path(url, issuer))
	if err != nil {
		return keptFile{}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, c.options.MaxBytes+maxFileHeader))
	if err != nil {
		return keptFile{}
	}
	kept, err := parseFile(data, url)
	if err != nil {
		return keptFile{}
	}
	return kept
}

func parseFile(data []byte, url string) (keptFile, error) {
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	fields := strings.SplitN(strings.TrimPrefix(string(line), fileMagic+" "), " ", 2)
	if !bytes.HasPrefix(line, []byte(fileMagic+" ")) || len(fields) != 2 {
		return keptFile{}, fmt.Errorf("the first line is not %q TIME URL", fileMagic)
	}
	seconds, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return keptFile{}, fmt.Errorf("reading the time of the fetch: %w", err)
	}
	if fields[1] != strconv.Quote(url) {
		return keptFile{}, fmt.Errorf("it is of the URL %s", fields[1])
	}
	return keptFile{fetched: time.Unix(seconds, 0).UTC(), list: rest}, nil
}

func (k keptFile) bytes(url string) []byte {
	return append(fmt.Appendf(nil, "%s %d %q\n", fileMagic, k.fetched.Unix(), url), k.list...)
}

// writeFile keeps a list across restarts. Where that fails it is fetched again after a
// restart, and nothing else is lost, so that the error goes nowhere.
func (c *Checker) writeFile(url string, issuer *x509.Certificate, k keptFile) {
	if c.options.Dir == "" || os.MkdirAll(c.options.Dir, 0o700) != nil {
		return
	}
	if atomicfile.Write(c.path(url, issuer), k.bytes(url), 0o600, -1, -1) == nil {
		c.sweep(k.fetched)
	}
}

// sweep deletes the lists that were not fetched again for long: their authority gave them
// another URL, or nobody is watched any more who points to them.
func (c *Checker) sweep(now time.Time) {
	entries, err := os.ReadDir(c.options.Dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		ours := strings.HasSuffix(e.Name(), ".crl") || strings.HasPrefix(e.Name(), ".certmedic-")
		if err == nil && ours && now.Sub(info.ModTime()) > maxFileUnused {
			_ = os.Remove(filepath.Join(c.options.Dir, e.Name()))
		}
	}
}
