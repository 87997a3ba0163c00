package roots

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxFileSize bounds a file of roots, in bytes: a bundle of all public ones has a
// quarter of a megabyte.
const maxFileSize = 8 << 20

// maxFiles bounds how many files of a folder are read; a host's /etc/ssl/certs has a few
// hundred.
const maxFiles = 10_000

const pemBegin = "-----BEGIN "

// rootFile is how files of roots are called: by what they hold, or as OpenSSL's c_rehash
// calls them, "1a2b3c4d.0".
var rootFile = regexp.MustCompile(`(?i)^[^.].*\.(pem|crt|cer|der)$|^[0-9a-f]{8}\.[0-9]+$`)

func path(name string) (*x509.CertPool, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, bare(err)
	}
	if info.IsDir() {
		return Folder(name)
	}
	return File(name)
}

// File loads the certificates of a file: any number in PEM, or one in DER. PEM blocks of
// other kinds are passed over. A certificate that cannot be read is an error that says
// which one, counted from 1.
func File(name string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	return pool, addFile(pool, name)
}

// Folder loads the files of a folder that are called *.pem, *.crt, *.cer or *.der, or by
// a hash as OpenSSL does, links included. It does not descend. Errors name the file.
func Folder(name string) (*x509.CertPool, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, bare(err)
	}
	pool := x509.NewCertPool()
	count := 0
	for _, entry := range entries {
		if entry.IsDir() || !rootFile.MatchString(entry.Name()) {
			continue
		}
		if count++; count > maxFiles {
			return nil, fmt.Errorf("it has more than %d files", maxFiles)
		}
		if err := addFile(pool, filepath.Join(name, entry.Name())); err != nil {
			return nil, fmt.Errorf("file %q: %w", entry.Name(), err)
		}
	}
	if count == 0 {
		return nil, errors.New("the folder has no file called *.pem, *.crt, *.cer or *.der")
	}
	return pool, nil
}

func addFile(pool *x509.CertPool, name string) error {
	data, err := read(name)
	if err != nil {
		return err
	}
	if !bytes.Contains(data, []byte(pemBegin)) {
		cert, err := x509.ParseCertificate(data)
		if err != nil {
			return errors.New("it holds no certificate, neither in PEM nor in DER")
		}
		pool.AddCert(cert)
		return nil
	}
	return addPEM(pool, data)
}

// addPEM adds the certificates of PEM blocks. A block that begins and cannot be decoded
// is an error too: the standard decoder passes over it in silence.
func addPEM(pool *x509.CertPool, data []byte) error {
	number := 0
	for {
		i := bytes.Index(data, []byte(pemBegin))
		if i < 0 {
			break
		}
		data = data[i:]
		kind, _, _ := strings.Cut(string(data[len(pemBegin):min(len(data), 80)]), "-----")
		block, rest := pem.Decode(data)
		isCertificate := kind == "CERTIFICATE" || kind == "X509 CERTIFICATE"
		if isCertificate {
			number++
		}
		if block == nil || bytes.Count(data[:len(data)-len(rest)], []byte(pemBegin)) > 1 {
			return fmt.Errorf("certificate %d: its PEM block is broken", max(1, number))
		}
		data = rest
		if !isCertificate {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", number, err)
		}
		pool.AddCert(cert)
	}
	if number == 0 {
		return errors.New("its PEM blocks hold no certificate")
	}
	return nil
}

// read reads a file up to its bound. A pipe or a device is refused, because it may never
// end.
func read(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, bare(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, bare(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, bare(err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("it has more than %d bytes", maxFileSize)
	}
	return data, nil
}

// bare returns an error of the operating system without the path, which the caller has
// named.
func bare(err error) error {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}
