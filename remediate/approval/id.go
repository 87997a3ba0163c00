package approval

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
)

// newID returns an identifier of two words of five letters, which can be read out: 32 random bits
// as consonants and vowels in turn (the proquints of arXiv:0901.4016).
func newID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return word(binary.BigEndian.Uint16(b[:2])) + "-" + word(binary.BigEndian.Uint16(b[2:]))
}

// word writes 16 bits as consonant, vowel, consonant, vowel, consonant.
func word(bits uint16) string {
	const consonants, vowels = "bdfghjklmnprstvz", "aiou"
	return string([]byte{
		consonants[bits>>12], vowels[bits>>10&3], consonants[bits>>6&15], vowels[bits>>4&3], consonants[bits&15],
	})
}

// sameID compares identifiers as people write them.
func sameID(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), b) }
