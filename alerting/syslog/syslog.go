// Package syslog writes one record for each event to syslog: to servers in the form of RFC 5424,
// by UDP (RFC 5426), TCP (RFC 6587, with octet counting) or TLS (RFC 5425), and to the socket of
// this host in the older form of RFC 3164, which is what journald and other local daemons read.
//
// A record is one line whatever is in the event, and structured data is escaped. Syslog answers
// nothing: what the network took counts as delivered, and what it did not is tried again.
package syslog

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic/alerting"
)

// The ways to reach a server.
const (
	Local = "local" // the socket of this host
	UDP   = "udp"
	TCP   = "tcp"
	TLS   = "tls"
)

const (
	defaultTimeout = 10 * time.Second
	localSocket    = "/dev/log"
	maxDatagram    = 2048    // bytes; every receiver should take so many (RFC 5424, section 6.1)
	maxRecord      = 8 << 10 // bytes of a record in a stream
)

// Config is what a syslog receiver needs.
type Config struct {
	Network  string // [Local], [UDP], [TCP] or [TLS]; empty: Local
	Address  string // host:port; for Local the path of a socket, empty: /dev/log
	Facility string // by its name, such as daemon or local0; empty: daemon
	Tag      string // the program's name; empty: certmedic

	Roots      *x509.CertPool // that verify a TLS server; nil: those of the system
	RunbookURL string         // stands in front of the name of a rule's runbook; empty: the name alone is told
	Timeout    time.Duration  // of one attempt; 0: 10 s
}

// Notifier writes to one syslog.
type Notifier struct {
	config   Config
	facility int
	hostname string
	pid      int
}

var (
	_ alerting.Notifier  = (*Notifier)(nil)
	_ alerting.Single    = (*Notifier)(nil)
	_ alerting.Previewer = (*Notifier)(nil)
)

// facilities are the names of facilities, in the order of their codes (RFC 5424, section 6.2.1).
// Codes 12 to 15 have no name that programs agree on.
func facilities() []string {
	return []string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "", "", "", "",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
}

// New returns a notifier.
func New(c Config) (*Notifier, error) {
	c.Network, c.Tag, c.Timeout = cmp.Or(c.Network, Local), cmp.Or(c.Tag, "certmedic"), cmp.Or(c.Timeout, defaultTimeout)
	if c.Network == Local {
		c.Address = cmp.Or(c.Address, localSocket)
	}
	n := &Notifier{config: c, facility: slices.Index(facilities(), cmp.Or(c.Facility, "daemon")), pid: os.Getpid()}
	switch {
	case n.facility < 0:
		return nil, fmt.Errorf("syslog: no facility %q", c.Facility)
	case !slices.Contains([]string{Local, UDP, TCP, TLS}, c.Network):
		return nil, fmt.Errorf("syslog: %q is none of local, udp, tcp and tls", c.Network)
	case c.Address == "":
		return nil, errors.New("syslog: the address of the server is missing")
	case token(c.Tag, maxTag) != c.Tag:
		return nil, fmt.Errorf("syslog: %q is no name of a program", c.Tag)
	}
	name, err := os.Hostname()
	if err != nil {
		name = "" // a record without its host is better than none
	}
	n.hostname = token(name, maxHost)
	return n, nil
}

// OneEvent says that every record holds one event.
func (n *Notifier) OneEvent() bool { return true }

// Notify writes the events one by one.
func (n *Notifier) Notify(ctx context.Context, notification alerting.Notification) (retry bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, n.config.Timeout)
	defer cancel()
	conn, err := n.dial(ctx)
	if err != nil {
		return true, fmt.Errorf("reaching syslog: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	for _, e := range notification.Events {
		if _, err := conn.Write(frame(conn.RemoteAddr().Network(), n.record(notification, e))); err != nil {
			return true, fmt.Errorf("writing to syslog: %w", err)
		}
	}
	return false, nil
}

// Preview returns the records, one a line.
func (n *Notifier) Preview(notification alerting.Notification) ([]byte, error) {
	var out strings.Builder
	for _, e := range notification.Events {
		out.WriteString(n.record(notification, e))
		out.WriteByte('\n')
	}
	return []byte(out.String()), nil
}

func (n *Notifier) dial(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{}
	switch n.config.Network {
	case TLS:
		config := &tls.Config{RootCAs: n.config.Roots, MinVersion: tls.VersionTLS12}
		return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", n.config.Address)
	case Local:
		conn, err := dialer.DialContext(ctx, "unixgram", n.config.Address)
		if err != nil {
			return dialer.DialContext(ctx, "unix", n.config.Address) // a few daemons listen for streams
		}
		return conn, nil
	default:
		return dialer.DialContext(ctx, n.config.Network, n.config.Address)
	}
}

// frame delimits a record as its transport wants it: by its length in a stream (RFC 6587, section
// 3.4.1), by a NUL byte in a stream to this host's socket. A datagram is a record.
func frame(transport, record string) []byte {
	switch transport {
	case "tcp":
		return []byte(strconv.Itoa(len(record)) + " " + record)
	case "unix":
		return []byte(record + "\x00")
	default:
		return []byte(record)
	}
}
