package check

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/certmedic/certmedic"
)

// maxKeySize bounds key files, in bytes. The largest keys in use have a few thousand.
const maxKeySize = 1 << 20

// ReadKey returns the fingerprint of the public half of the first private key in a PEM
// file. The key is forgotten, and no error quotes any of it.
func ReadKey(path string) (certmedic.Fingerprint, error) {
	data, err := readBounded(path)
	if err != nil {
		return "", fmt.Errorf("reading the key: %w", err)
	}
	defer clear(data)
	public, err := publicKey(data)
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

// publicKey returns the public half of the first private key. Every turn of the loop
// takes a block off the data.
func publicKey(data []byte) (crypto.PublicKey, error) {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("no private key in the file")
		}
		data = rest
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, errors.New("the private key is encrypted")
		}
		signer, ok := parsePrivate(block).(crypto.Signer)
		if !ok {
			return nil, errors.New("the private key cannot be parsed")
		}
		return signer.Public(), nil
	}
}

// parsePrivate returns the key of a PKCS #8, PKCS #1 or SEC 1 block, nil where it holds
// none.
func parsePrivate(block *pem.Block) any {
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key
	}
	return nil
}
