package live

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certmedic/certmedic"
)

func failure(reason certmedic.FindingCode, format string, args ...any) *certmedic.ProbeError {
	return &certmedic.ProbeError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func explainConnect(err error, took time.Duration) *certmedic.ProbeError {
	switch {
	case errors.Is(err, context.Canceled):
		return failure(certmedic.Timeout, "the probe was cancelled while connecting")
	case isTimeout(err):
		return failure(certmedic.Timeout, "no answer to the connection attempt within %s", round(took))
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure(certmedic.Unreachable, "the connection was refused; nothing listens there")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return failure(certmedic.Unreachable, "there is no route to this address")
	case errors.Is(err, syscall.ECONNRESET):
		return failure(certmedic.Unreachable, "the connection was reset while connecting")
	default:
		return failure(certmedic.Unreachable, "%s", printable(err.Error()))
	}
}

// explainHandshake says why a handshake failed. Received are the first bytes that the
// peer sent.
func explainHandshake(err error, took time.Duration, received []byte) *certmedic.ProbeError {
	var header tls.RecordHeaderError
	switch {
	case errors.Is(err, context.Canceled):
		return failure(certmedic.Timeout, "the probe was cancelled during the handshake")
	case isTimeout(err):
		return failure(certmedic.Timeout, "connected, but the TLS handshake did not end within %s", round(took))
	case speaksOther(err):
		return failure(certmedic.HandshakeFailed, "the peer does not speak TLS: it sent %s", firstLine(received))
	case errors.As(err, &header):
		return failure(certmedic.HandshakeFailed, "the peer sent a broken TLS record: %s", printable(header.Msg))
	case isReset(err) && len(received) == 0:
		return failure(certmedic.Unreachable, "the connection was reset before the peer sent anything")
	case isReset(err):
		return failure(certmedic.HandshakeFailed, "the connection was reset during the handshake")
	case isEnd(err) && len(received) == 0:
		return failure(certmedic.HandshakeFailed, "the peer closed the connection without answering the handshake")
	case isEnd(err):
		return failure(certmedic.HandshakeFailed, "the peer closed the connection during the handshake")
	}
	if alert, ok := remoteAlert(err); ok {
		return failure(certmedic.HandshakeFailed, "the peer ended the handshake with the TLS alert %q", alert)
	}
	return failure(certmedic.HandshakeFailed, "%s", ownWords(err))
}

// ownWords explains an error that crypto/tls found in what the peer sent. Its text has to
// do, as in [findingsOf].
func ownWords(err error) string {
	text := strings.TrimPrefix(err.Error(), "tls: ")
	if strings.Contains(text, "empty certificates message") || strings.Contains(text, "certificateMsg when waiting for *tls.certificateMsg") {
		return "the server sent no certificate"
	}
	if strings.Contains(text, "RSA key larger than") {
		return printable(text) + ", by which no signature is verified; its certificate can be read only with TLS 1.2 and before"
	}
	if broken, ok := strings.CutPrefix(text, "local error: tls: "); ok {
		return "the peer breaks the rules of TLS: " + broken
	}
	return printable(text)
}

// findingsOf returns what an error of crypto/tls says about the peer's certificates.
// crypto/tls has no error values for these, so that their text has to do; a test holds
// it to the text.
func findingsOf(err error) []certmedic.Finding {
	if _, why, ok := strings.Cut(err.Error(), "failed to parse certificate from server: "); ok {
		detail := "a certificate that the server sent cannot be parsed: " + printable(why)
		return []certmedic.Finding{certmedic.NewFinding(certmedic.NotACertificate, detail)}
	}
	_, why, ok := strings.Cut(err.Error(), "invalid signature by the server certificate: ")
	if ok && strings.Contains(why, "verification") {
		detail := "the server's signature does not fit the leaf that it sends: its private key belongs to another certificate"
		return []certmedic.Finding{certmedic.NewFinding(certmedic.KeyMismatch, detail)}
	}
	return nil
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		(errors.As(err, &timeout) && timeout.Timeout())
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// speaksOther reports whether the peer's first bytes are no TLS record at all.
func speaksOther(err error) bool {
	var header tls.RecordHeaderError
	return errors.As(err, &header) && header.Conn != nil
}

// mayLikeOther reports whether a failed handshake may succeed with another offer: not
// where time was the matter, where no TLS is spoken, or where the name was refused.
func mayLikeOther(err error) bool {
	alert, _ := remoteAlert(err)
	return !isTimeout(err) && !speaksOther(err) && alert != "unrecognized name"
}

// isALPNRefusal reports whether the peer speaks none of the protocols that were offered
// by ALPN (RFC 7301 section 3.2).
func isALPNRefusal(err error) bool {
	alert, _ := remoteAlert(err)
	return alert == "no application protocol"
}

// isRemote reports whether the peer ended the connection, by alert or without one.
func isRemote(err error) bool {
	_, alert := remoteAlert(err)
	return alert || isReset(err) || isEnd(err)
}

func remoteAlert(err error) (string, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return "", false
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: "), true
}

// firstLine quotes the beginning of what a peer sent, up to the first end of line.
func firstLine(received []byte) string {
	line, _, _ := strings.Cut(string(received), "\n")
	return strconv.Quote(strings.TrimSuffix(line, "\r"))
}

// printable returns the text with everything that is not printable escaped.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// maxShown is how many bytes of a peer's text an explanation shows.
const maxShown = 200

func shortened(s string) string {
	if len(s) > maxShown {
		return s[:maxShown] + "..."
	}
	return s
}

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
