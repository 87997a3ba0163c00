package acme

import (
	"context"
	"crypto"
)

// ObtainAt is [Obtain] with a function that is told every point at which a kill makes a
// difference.
var ObtainAt = obtain

// Register makes an account for a key, and returns its URI.
func Register(ctx context.Context, r Request, key crypto.Signer) (string, error) {
	c, err := dial(ctx, r, key, "", func(string) {})
	if err != nil {
		return "", err
	}
	defer c.close()
	return c.register("", binding{})
}
