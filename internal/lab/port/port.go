// Package port finds free TCP ports of 127.0.0.1, for programs that must be told their
// port before they start. Somebody else may take a port before it is used: callers that
// can listen on port 0 themselves do that instead.
package port

import (
	"context"
	"fmt"
	"net"
)

// Free returns the preferred port when it is free, and any free port otherwise. No
// preference is 0.
func Free(ctx context.Context, preferred int) (int, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", preferred))
	if err != nil && preferred != 0 {
		listener, err = config.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer func() { _ = listener.Close() }() // it was never used
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("finding a free port: %q is no TCP address", listener.Addr())
	}
	return address.Port, nil
}
