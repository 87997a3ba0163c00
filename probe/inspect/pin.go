package inspect

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// CheckPin reports whether a pin has the form of those in Options: "sha256/" and the base64
// of the SHA-256 of a SubjectPublicKeyInfo (RFC 7469 section 2.4).
func CheckPin(pin string) error {
	encoded, ok := strings.CutPrefix(pin, "sha256/")
	hash, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(hash) != 32 {
		return fmt.Errorf("%q is not sha256/ and the base64 of 32 bytes", pin)
	}
	return nil
}
