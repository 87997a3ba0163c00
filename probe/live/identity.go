package live

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/certmedic/certmedic"
)

// certificate answers a peer that asks for a client certificate: with the first of ours
// that it says to accept, else with none. It notes that it was asked. crypto/tls calls it
// once it trusts the peer's signature.
func (a *attempt) certificate(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	a.asked = true
	ours := a.request.settings().Certificates
	for i := range ours {
		if info.SupportsCertificate(&ours[i]) == nil {
			a.presented = true
			return &ours[i], nil
		}
	}
	return &tls.Certificate{}, nil
}

// refusedUs notes that the peer ended the connection because of our certificate, or
// because we have none.
func (a *attempt) refusedUs(err error) {
	detail := "the server demands a client certificate; what it serves was read without one"
	if a.presented {
		detail = "the server refused the client certificate that was presented"
		if alert, ok := remoteAlert(err); ok {
			detail += fmt.Sprintf(", with the TLS alert %q", alert)
		}
	}
	a.result.Findings = append(a.result.Findings, certmedic.NewFinding(certmedic.ClientCertRequired, detail))
}

// bounds of the wait for a TLS 1.3 server's answer to our certificate.
const (
	minRefusalWait = 250 * time.Millisecond
	maxRefusalWait = 2 * time.Second
)

// refusalWait is how long a refusal may take after a handshake that took so long.
func refusalWait(handshake time.Duration) time.Duration {
	return min(max(minRefusalWait, 2*handshake), maxRefusalWait)
}

// awaitRefusal waits for the alert that a TLS 1.3 server sends only after the client has
// finished the handshake (RFC 8446 section 4.4.2.4), and returns it. A server that says
// nothing, or something else, asked for a certificate without minding the answer.
func (a *attempt) awaitRefusal(conn net.Conn) error {
	deadline := time.Now().Add(refusalWait(a.result.Handshake))
	if a.deadline.Before(deadline) {
		deadline = a.deadline
	}
	if conn.SetReadDeadline(deadline) != nil {
		return nil
	}
	n, err := conn.Read(make([]byte, 1))
	if n > 0 || err == nil || !isRemote(err) {
		return nil
	}
	return err
}
