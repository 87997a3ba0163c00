package bundle

import "errors"

// Encrypt encrypts what members of a cluster share besides versions, such as an order with its
// key, for those who can open what is published. There is no such thing in plaintext.
func (s Seal) Encrypt(data []byte) ([]byte, error) {
	way, err := s.sealing()
	switch {
	case err != nil:
		return nil, err
	case way.Way == WayPlaintext:
		return nil, errors.New("encrypting what members share: the private key is published in plaintext")
	}
	return s.seal(data)
}

// Decrypt returns what [Seal.Encrypt] was given.
func (o Opener) Decrypt(data []byte) ([]byte, error) {
	way, _, err := o.identities()
	switch {
	case err != nil:
		return nil, err
	case way == WayPlaintext:
		return nil, errors.New("decrypting what members share: there is neither an identity nor a passphrase")
	}
	return o.open(Sealing{Way: way}, data)
}
