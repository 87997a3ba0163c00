package sd

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/certmedic/certmedic/internal/netguard"
)

// NewClient returns a client for [Fetch] that gives each request this long. It takes no proxy
// from the environment and keeps no connections. Wherever a name or a redirect leads, it does
// not connect to what [netguard.Sensitive] reports; private and loopback addresses are fine.
func NewClient(timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout, Control: refuseSensitive}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{
		DialContext: dialer.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
	}}
}

// refuseSensitive judges the address that is about to be connected to.
func refuseSensitive(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connecting to %q: %w", address, err)
	}
	if netguard.Sensitive(target.Addr()) {
		return fmt.Errorf("%s: addresses of this kind are not connected to", target.Addr())
	}
	return nil
}
