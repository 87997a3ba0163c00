package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	netmail "net/mail"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/body"
	templates "github.com/certmedic/certmedic/alerting/template"
)

const maxSubject = 200 // characters

// words are what a message says.
type words struct{ subject, text, html string }

// message writes the mail about a notification.
func (n *Notifier) message(notification alerting.Notification) (*mail.Msg, error) {
	said, err := n.words(notification)
	if err != nil {
		return nil, err
	}
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := m.From(n.config.From); err != nil {
		return nil, err
	}
	if err := m.To(n.config.To...); err != nil {
		return nil, err
	}
	m.Subject(said.subject)
	m.SetDateWithValue(latest(notification.Events))
	m.SetUserAgent("certmedic")
	m.SetMessageIDWithValue(n.id(identities(notification.Events)...))
	thread := "<" + n.id(notification.Conversation) + ">"
	m.SetGenHeader(mail.HeaderInReplyTo, thread)
	m.SetGenHeader(mail.HeaderReferences, thread)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834, section 5
	m.SetGenHeader(mail.HeaderXAutoResponseSuppress, "All")
	m.SetBodyString(mail.TypeTextPlain, said.text)
	if said.html != "" {
		m.AddAlternativeString(mail.TypeTextHTML, said.html)
	}
	return m, nil
}

// id returns a Message-ID that stands for these words. It is so short that its header is seldom
// folded, which not every program that follows threads can read.
func (n *Notifier) id(of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return "certmedic." + hex.EncodeToString(sum[:10]) + "@" + n.domain
}

func identities(events []alerting.Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, e.Identity())
	}
	return all
}

func latest(events []alerting.Event) time.Time {
	at := events[0].Time
	for _, e := range events {
		if e.Time.After(at) {
			at = e.Time
		}
	}
	return at
}

// domainOf returns what stands behind the @ of the sender.
func domainOf(c Config) (string, error) {
	for _, to := range c.To {
		if _, err := netmail.ParseAddress(to); err != nil {
			return "", fmt.Errorf("email: the recipient %q is no mail address", to)
		}
	}
	from, err := netmail.ParseAddress(c.From)
	if err != nil || len(c.To) == 0 {
		return "", fmt.Errorf("email: the sender %q is no mail address, or there is no recipient", c.From)
	}
	return from.Address[strings.LastIndexByte(from.Address, '@')+1:], nil
}

func (n *Notifier) words(notification alerting.Notification) (words, error) {
	if n.config.Template != nil {
		return n.own(notification)
	}
	l := n.letterOf(notification)
	html, err := l.html()
	return words{subject: l.Subject, text: l.text(), html: html}, err
}

// own returns what the template makes of the first event.
func (n *Notifier) own(notification alerting.Notification) (words, error) {
	e, t := notification.Events[0], n.config.Template
	b := body.Of(notification, e)
	if address := body.Runbook(n.config.RunbookURL, b.Runbook); address != "" {
		b.Runbook = address
	}
	said := words{subject: subject(notification, e)}
	text, err := t.Fill(b)
	if err != nil {
		return words{}, err
	}
	said.text = string(text)
	if t.Defines("subject") {
		line, err := t.FillNamed("subject", b)
		if err != nil {
			return words{}, err
		}
		said.subject = header(string(line))
	}
	said.html, err = n.html.fill(b)
	return said, err
}

// rehearse writes a mail about every kind of event, so that the template is known to work before
// it is needed.
func (n *Notifier) rehearse() error {
	sample := body.Sample()
	for _, e := range sample.Events {
		one := sample
		one.Events = []alerting.Event{e}
		if _, err := n.message(one); err != nil {
			return fmt.Errorf("email: about an event %q: %w", e.Kind, err)
		}
	}
	return nil
}

// Preview returns the mail as it would be sent.
func (n *Notifier) Preview(notification alerting.Notification) ([]byte, error) {
	m, err := n.message(notification)
	if err != nil {
		return nil, err
	}
	m.SetEncoding(mail.NoEncoding)
	var out bytes.Buffer
	_, err = m.WriteTo(&out)
	return out.Bytes(), err
}

// markup is the part of a template that makes HTML. What it is filled with is escaped for the
// place where it stands.
type markup struct{ html *template.Template }

// markupOf returns nil where the template makes none.
func markupOf(t *templates.Template) (*markup, error) {
	if t == nil || !t.Defines("html") {
		return nil, nil
	}
	parsed, err := template.New("mail").Option("missingkey=error").Funcs(templates.Functions()).Parse(t.Source())
	if err != nil {
		return nil, fmt.Errorf("email: the template: %w", err)
	}
	return &markup{parsed}, nil
}

func (m *markup) fill(b body.Body) (string, error) {
	if m == nil {
		return "", nil
	}
	data, err := b.Map()
	if err != nil {
		return "", err
	}
	var out templates.Bounded
	err = m.html.ExecuteTemplate(&out, "html", data)
	return out.String(), err
}
