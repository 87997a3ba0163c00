package check

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
)

// maxKeySize bounds key files, in bytes. The largest keys in use have a few thousand.
const maxKeySize = 1 << 20

// ReadKey returns the fingerprint of the public half of the first private key in a PEM
// file or a key store, opened with a passphrase of the reader where it is encrypted. The key
// is forgotten, and no error quotes any of it.
func ReadKey(reader disk.Reader, path string) (certmedic.Fingerprint, error) {
	data, err := readBounded(path)
	if err != nil {
		return "", fmt.Errorf("reading the key: %w", err)
	}
	defer clear(data)
	public, err := disk.PublicKey(data, reader.Passphrases)
	if err != nil {
		return "", fmt.Errorf("reading the key %q: %w", path, err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("reading the key %q: its kind is not supported", path)
	}
	sum := sha256.Sum256(spki)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:])), nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKeySize+1))
	if err == nil && len(data) > maxKeySize {
		err = fmt.Errorf("%q has more than %d bytes", path, maxKeySize)
	}
	return data, err
}
