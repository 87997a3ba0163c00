package live

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// maxHopAddresses bounds how many addresses of a redirect's host are tried.
const maxHopAddresses = 4

// hop asks for the target of a redirect, over a new connection. No certificate of ours is
// presented there, and no header of the settings is sent to another host, for they may
// hold secrets.
func (v *visit) hop(ctx context.Context) (*answer, error) {
	ctx, cancel := context.WithDeadline(ctx, v.deadline)
	defer cancel()
	conn, err := v.open(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer v.bound(ctx, conn)()
	var header http.Header
	if first, err := v.attempt.request.url(""); err == nil && first.Host == v.target.Host {
		header = v.want.Header
	}
	if v.target.Scheme == "http" {
		return v.exchange(conn, header)
	}
	config := v.offer.config(v.target.Hostname())
	secure := tls.Client(conn, config)
	defer secure.Close()
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("tls handshake: %w", err)
	}
	return v.exchange(secure, header)
}

// open connects to the first address of the target's host that can be reached.
func (v *visit) open(ctx context.Context) (net.Conn, error) {
	host := v.target.Hostname()
	port, err := strconv.ParseUint(cmp.Or(v.target.Port(), defaultPort(v.target.Scheme)), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port of the redirect: %w", err)
	}
	addresses, err := v.dialer.Redirect(ctx, host)
	if err != nil {
		return nil, err
	}
	reason := errors.New("the host has no addresses")
	for _, address := range addresses[:min(len(addresses), maxHopAddresses)] {
		start := time.Now()
		conn, err := v.dialer.connect(ctx, &Request{
			Address:  netip.AddrPortFrom(address, uint16(port)),
			Host:     net.JoinHostPort(host, strconv.FormatUint(port, 10)),
			Settings: &Settings{Proxy: v.request.settings().Proxy},
		})
		if err == nil {
			return conn, nil
		}
		reason = errors.New(explainConnect(err, time.Since(start)).Detail)
	}
	return nil, reason
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}
