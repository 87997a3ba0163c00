package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerKey is where a connection's peer is kept in a request's context.
type peerKey struct{}

// ListenSocket listens on a Unix socket that only root and this process's user may use. A
// socket that a killed daemon left behind is replaced: whoever calls this holds the state.
func ListenSocket(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replacing the socket of the commands: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for the commands: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the socket of the commands to others: %w", err), l.Close())
	}
	return &trusted{l}, nil
}

// trusted accepts connections of root and of this process's user only. The folder's and the
// socket's modes keep others out; this holds even where they were changed.
type trusted struct{ net.Listener }

// Accept returns the next connection of somebody who may speak to the daemon.
func (t *trusted) Accept() (net.Conn, error) {
	for {
		c, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := credentials(c)
		if err == nil && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid()) {
			return &peerConn{c, peer}, nil
		}
		_ = c.Close() // refused; there is nothing else to do with it
	}
}

type peerConn struct {
	net.Conn
	peer *unix.Ucred
}

// ConnContext puts the peer of a connection of the socket into its requests' contexts.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.(*peerConn); ok {
		return context.WithValue(ctx, peerKey{}, p.peer)
	}
	return ctx
}

// peerOf returns who is at the other end of the socket; nil on other listeners.
func peerOf(ctx context.Context) *unix.Ucred {
	peer, _ := ctx.Value(peerKey{}).(*unix.Ucred)
	return peer
}

func credentials(c net.Conn) (*unix.Ucred, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var inner error
	err = raw.Control(func(fd uintptr) { peer, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return peer, errors.Join(err, inner)
}
