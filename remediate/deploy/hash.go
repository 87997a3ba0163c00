package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Seal gives the plan its hash: 64 hexadecimal digits, which are the same as long as the plan would
// do the same, and others when anything of it changes. What it costs, and the notes, are not of what
// it would do; of its environment only what it adds to certmedic's own is.
func (p *Plan) Seal() error {
	told := *p
	told.Hash, told.Cost, told.Notes = "", "", nil
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(told); err != nil {
		return fmt.Errorf("hashing the plan: %w", err)
	}
	for _, c := range slices.Concat(p.Commands, p.Pushes) {
		fmt.Fprintf(h, "%d:", len(c.Request))
		h.Write(c.Request) // a hash never fails to take it
	}
	p.Hash = hex.EncodeToString(h.Sum(nil))
	return nil
}

// ShortHash returns the first 16 digits of the hash, enough for a person to tell plans apart.
func (p Plan) ShortHash() string { return p.Hash[:min(16, len(p.Hash))] }
