package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// startError is why TLS could not begin: an error of the connection, or a [wrongError].
type startError struct {
	err     error
	awaited string // what the server had to send
	partial string // what it sent of that
	silent  bool   // it has not sent a byte at all
	advice  string
}

// Error says what was awaited and what came instead.
func (e *startError) Error() string { return "waiting for " + e.awaited + ": " + e.err.Error() }

// Unwrap returns the error of the connection.
func (e *startError) Unwrap() error { return e.err }

// wrongError is an answer of the server that does not lead to TLS, in words for people.
type wrongError struct{ detail string }

// Error returns the words.
func (e *wrongError) Error() string { return e.detail }

func wrong(format string, args ...any) error { return &wrongError{fmt.Sprintf(format, args...)} }

// addition says what there was of what was awaited, or what may help.
func (e *startError) addition() string {
	if e.partial == "" {
		return e.advice
	}
	addition := "; it sent only " + quoted(e.partial)
	if other := speaks(e.partial); other != "" {
		addition += ", which is " + other
	}
	return addition
}

// explainStart says why TLS could not begin. The error is one of [Protocol.start] or of
// runScript, after that time.
func explainStart(err error, took time.Duration) *certmedic.ProbeError {
	start := &startError{err: err, awaited: "its answer"}
	errors.As(err, &start)
	var own *wrongError
	switch {
	case errors.Is(err, context.Canceled):
		return failure(certmedic.Timeout, "the probe was cancelled before TLS began")
	case errors.As(err, &own):
		return failure(certmedic.StartTLSFailed, "%s", own.detail)
	case isTimeout(err):
		return failure(certmedic.Timeout, "connected, but the server did not send %s within %s%s", start.awaited, round(took), start.addition())
	case errors.Is(err, errTooLong):
		return failure(certmedic.StartTLSFailed, "the server sent more than %d bytes without an end where %s was due", maxPlainLine, start.awaited)
	case errors.Is(err, errTooMuch):
		return failure(certmedic.StartTLSFailed, "the server sent more than %d bytes in plain text and came to no end where %s was due", maxPlainTotal, start.awaited)
	case isReset(err):
		return failure(certmedic.StartTLSFailed, "the server reset the connection where %s was due%s", start.awaited, start.addition())
	case isEnd(err):
		return failure(certmedic.StartTLSFailed, "the server closed the connection where %s was due%s", start.awaited, start.addition())
	default:
		return failure(certmedic.StartTLSFailed, "%s", printable(err.Error()))
	}
}

// refused is the error of a server that answers no, or something else than it should.
func refused(command, answer string) error {
	return wrong("the server refused %s: %s", command, quoted(answer))
}

// notOffered is the error of a server that does not list what begins TLS.
func notOffered(command string, offers []string) error {
	if len(offers) == 0 {
		return wrong("the server does not offer %s; TLS is not switched on there, or not for this client", command)
	}
	return wrong("the server does not offer %s, only %s; TLS is not switched on there, or not for this client", command, quoted(strings.Join(offers, " ")))
}

// unexpected is the error of a server that speaks another protocol. What has arrived
// beyond got helps to tell which.
func (d *dialogue) unexpected(protocol, got string) error {
	return another(protocol, got+d.buffered())
}

func another(protocol, got string) error {
	if other := speaks(got); other != "" {
		return wrong("the server speaks %s, not %s: it sent %s", other, protocol, quoted(got))
	}
	return wrong("the server does not speak %s: it sent %s", protocol, quoted(got))
}

// speaks names the protocol that begins with these bytes, "" where that is not clear.
func speaks(got string) string {
	beginnings := []struct{ prefix, protocol string }{
		{"\x15\x03", "TLS from the first byte"},
		{"\x16\x03", "TLS from the first byte"},
		{"SSH-", "SSH"},
		{"HTTP/", "HTTP"},
		{"* OK", "IMAP"},
		{"+OK", "POP3"},
		{"220 ", "SMTP or FTP"},
		{"220-", "SMTP or FTP"},
		{"RFB 0", "VNC"},
		{"<stream:", "XMPP"},
		{"<?xml", "XML"},
		{"-ERR", "POP3 or Redis"},
		{"-DENIED", "Redis"},
	}
	for _, b := range beginnings {
		if strings.HasPrefix(got, b.prefix) {
			return b.protocol
		}
	}
	if len(got) > 3 && got[1:4] == "\x00\x00\x00" { // a first packet of less than 256 bytes
		return "MySQL"
	}
	return ""
}

// quoted quotes the beginning of what a server sent, with everything escaped that is not
// printable.
func quoted(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "..."
	}
	return strconv.Quote(s)
}
