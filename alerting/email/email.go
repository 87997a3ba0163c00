// Package email sends mail through a server of the owner's choice: one message for each
// notification, as text and as HTML. Mail to the server is encrypted unless the configuration says
// otherwise, and nobody logs in without. A 5xx reply is final, a 4xx reply and a broken
// connection are tried again (RFC 5321, section 4.2.1).
//
// The messages of a conversation make one thread, and a message that is sent a second time,
// because the answer to the first was lost, has the same Message-ID. No header holds a line break
// that somebody else wrote, and the HTML holds no markup but its own.
package email

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/wneessen/go-mail"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/template"
)

// The ways to encrypt mail on its way to the server.
const (
	StartTLS = "starttls" // the connection becomes encrypted before anything is said, or it ends
	TLS      = "tls"      // it is encrypted from the first byte on
	Plain    = "none"
)

const defaultTimeout = 20 * time.Second

// Config is what an e-mail receiver needs.
type Config struct {
	Smarthost string // host:port
	From      string // a@example.com, or Name <a@example.com>
	To        []string
	Hello     string // how the server is greeted; empty: the name of this host

	Encryption         string         // [StartTLS], [TLS] or [Plain]; empty: StartTLS
	Roots              *x509.CertPool // that verify the server; nil: those of the system
	Username, Password string         // to log in; empty: nobody does

	Template   *template.Template // makes the text, and, where it defines them, the subject and the HTML; nil: our own
	BaseURL    string             // of certmedic's own page; empty: no link
	RunbookURL string             // stands in front of the name of a rule's runbook; empty: no link, unless the rule has a URL
	Timeout    time.Duration      // of one attempt; 0: 20 s
}

// Notifier sends mail.
type Notifier struct {
	config Config
	host   string
	port   int
	domain string // of the sender
	html   *markup
}

var (
	_ alerting.Notifier  = (*Notifier)(nil)
	_ alerting.Single    = (*Notifier)(nil)
	_ alerting.Previewer = (*Notifier)(nil)
)

// New returns a notifier.
func New(c Config) (*Notifier, error) {
	n := &Notifier{config: c}
	host, port, err := net.SplitHostPort(c.Smarthost)
	if err != nil {
		return nil, fmt.Errorf("email: the smarthost %q is not host:port", c.Smarthost)
	}
	if n.port, err = strconv.Atoi(port); err != nil || host == "" {
		return nil, fmt.Errorf("email: the smarthost %q is not host:port", c.Smarthost)
	}
	n.host, n.config.Timeout = host, cmp.Or(c.Timeout, defaultTimeout)
	switch n.config.Encryption = cmp.Or(c.Encryption, StartTLS); {
	case n.config.Encryption != StartTLS && n.config.Encryption != TLS && n.config.Encryption != Plain:
		return nil, fmt.Errorf("email: %q is none of starttls, tls and none", c.Encryption)
	case c.Username != "" && n.config.Encryption == Plain:
		return nil, errors.New("email: nobody logs in where mail is not encrypted")
	}
	if n.domain, err = domainOf(c); err != nil {
		return nil, err
	}
	if n.html, err = markupOf(c.Template); err != nil {
		return nil, err
	}
	if _, err := n.client(context.Background(), &connection{}); err != nil {
		return nil, fmt.Errorf("email: %w", err)
	}
	return n, n.rehearse()
}

// OneEvent says that a message with a template holds one event.
func (n *Notifier) OneEvent() bool { return n.config.Template != nil }

// Notify sends one message.
func (n *Notifier) Notify(ctx context.Context, notification alerting.Notification) (retry bool, err error) {
	if len(notification.Events) == 0 {
		return false, nil
	}
	message, err := n.message(notification)
	if err != nil {
		return false, fmt.Errorf("writing the mail: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, n.config.Timeout)
	defer cancel()
	err = n.send(ctx, message)
	if err == nil || message.IsDelivered() { // what goes wrong behind the server's word is none of the mail's business
		return false, nil
	}
	return !final(err), fmt.Errorf("sending mail through %q: %w", n.config.Smarthost, errors.Join(ctx.Err(), err))
}

// final reports whether the server's reply says that another attempt is of no use.
func final(err error) bool {
	var reply *textproto.Error
	var failed *mail.SendError
	switch {
	case errors.As(err, &failed):
		return failed.ErrorCode() >= 500
	case errors.As(err, &reply):
		return reply.Code >= 500
	}
	return false
}

func (n *Notifier) send(ctx context.Context, message *mail.Msg) error {
	c := &connection{}
	defer c.close() // the client leaves it open where a login fails
	client, err := n.client(ctx, c)
	if err != nil {
		return err
	}
	if err := client.DialWithContext(ctx); err != nil {
		return err
	}
	if err := client.Send(message); err != nil {
		return err
	}
	return client.Close()
}

func (n *Notifier) client(ctx context.Context, c *connection) (*mail.Client, error) {
	config := &tls.Config{ServerName: n.host, RootCAs: n.config.Roots, MinVersion: tls.VersionTLS12}
	options := []mail.Option{
		mail.WithPort(n.port), mail.WithTimeout(n.config.Timeout), mail.WithTLSConfig(config), mail.WithoutNoop(),
		mail.WithTLSPolicy(mail.NoTLS),
	}
	c.tls = nil
	switch n.config.Encryption {
	case StartTLS:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case TLS:
		c.tls = config
	}
	if !n.international() { // headers are encoded, so that no server on the way has to know UTF-8
		options = append(options, mail.WithoutSMTPUTF8())
	}
	if n.config.Hello != "" {
		options = append(options, mail.WithHELO(n.config.Hello))
	}
	if n.config.Username != "" {
		options = append(options, mail.WithUsername(n.config.Username), mail.WithPassword(n.config.Password),
			mail.WithOpportunisticSMTPAuth(mail.SMTPAuthPlain, mail.SMTPAuthLogin, mail.SMTPAuthCramMD5))
	}
	options = append(options, mail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
		return c.dial(ctx, dialing, network, address)
	}))
	return mail.NewClient(n.host, options...)
}

// international reports whether an address is one that only servers with SMTPUTF8 take (RFC 6531).
func (n *Notifier) international() bool {
	return slices.ContainsFunc(append([]string{n.config.From}, n.config.To...), func(mailbox string) bool {
		parsed, err := netmail.ParseAddress(mailbox)
		return err == nil && strings.ContainsFunc(parsed.Address, func(r rune) bool { return r > unicode.MaxASCII })
	})
}

// connection is the one to the server. The mail client itself obeys no context once it is
// connected.
type connection struct {
	tls  *tls.Config // nil: not encrypted from the beginning
	conn net.Conn
	stop func() bool
}

// dial connects, and has the end of sending cut the connection.
func (c *connection) dial(sending, dialing context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(dialing, network, address)
	if err != nil {
		return nil, err
	}
	c.conn = conn
	c.stop = context.AfterFunc(sending, func() { _ = conn.Close() })
	if c.tls == nil {
		return conn, nil
	}
	encrypted := tls.Client(conn, c.tls)
	return encrypted, encrypted.HandshakeContext(dialing)
}

func (c *connection) close() {
	if c.conn != nil {
		c.stop()
		_ = c.conn.Close() // the client may have closed it already
	}
}
