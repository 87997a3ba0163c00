package testhost

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dial connects from the host to an address, as a process on it would. The host part is
// an IP address, the name of a host of the network, or "localhost". It is safe for
// concurrent use, and has the shape of [net.Dialer.DialContext].
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	literal, err := h.literal(address)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	err = h.inNetwork(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, literal)
		return err
	})
	return conn, err
}

// Listen listens on an address of the host, so that a server in the test process can be
// reached by the hosts. Addresses are as for [Host.Dial].
func (h *Host) Listen(network, address string) (net.Listener, error) {
	literal, err := h.literal(address)
	if err != nil {
		return nil, err
	}
	var l net.Listener
	err = h.inNetwork(func() error {
		l, err = net.Listen(network, literal)
		return err
	})
	return l, err
}

// ListenPacket is [Host.Listen] for datagrams.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	literal, err := h.literal(address)
	if err != nil {
		return nil, err
	}
	var c net.PacketConn
	err = h.inNetwork(func() error {
		c, err = net.ListenPacket(network, literal)
		return err
	})
	return c, err
}

// literal replaces a host's name by its address. Names must not reach the net package,
// which would resolve them on threads that are not in the host's network.
func (h *Host) literal(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	switch known := h.net.address(host); {
	case host == "": // every address of the host
	case host == "localhost":
		host = "127.0.0.1"
	case known != "":
		host = known
	case net.ParseIP(host) == nil:
		return "", fmt.Errorf("no host %q in this network", host)
	}
	return net.JoinHostPort(host, port), nil
}

// inNetwork calls fn on a thread that is in the host's network namespace. Sockets stay
// in the namespace that they were made in.
func (h *Host) inNetwork(fn func() error) error {
	pid := h.PID()
	if pid == 0 {
		return fmt.Errorf("host %q is down", h.name)
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			result <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("entering the network of %q: %w", h.name, err)
			return
		}
		result <- fn()
	}()
	return <-result
}
