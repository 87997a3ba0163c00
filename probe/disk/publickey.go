package disk

import "crypto"

// PublicKey returns the public half of the first private key in a PEM file, or of the one
// private key in a key store, opened with the first passphrase that fits where it is
// encrypted. Its errors never hold any of the key.
func PublicKey(data []byte, passphrases [][]byte) (crypto.PublicKey, error) {
	return parseKey(data, passphrases)
}
