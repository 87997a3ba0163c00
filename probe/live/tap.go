package live

import (
	"crypto/x509"
	"fmt"
	"net"

	"golang.org/x/crypto/cryptobyte"

	"github.com/certmedic/certmedic"
)

// how many of the first received bytes a tap keeps.
const (
	tapForExplaining   = 64
	tapForCertificates = 256 << 10 // what crypto/tls accepts as one certificate message
)

// tapConn keeps the first bytes that the peer sends.
type tapConn struct {
	net.Conn
	limit int
	bytes []byte
}

// Read reads from the connection and keeps what is within the limit.
func (t *tapConn) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.bytes = append(t.bytes, p[:min(n, t.limit-len(t.bytes))]...)
	return n, err
}

// types of TLS records and handshake messages (RFC 5246 sections 6.2.1 and 7.4).
const (
	recordHandshake    = 22
	messageCertificate = 11
)

// certificatesIn returns the raw certificates of the certificate message in a stream of
// plain TLS records, as versions up to 1.2 send it; nil where there is none.
func certificatesIn(stream []byte) [][]byte {
	messages := cryptobyte.String(handshakeBytes(stream))
	for !messages.Empty() {
		var kind uint8
		var body, list cryptobyte.String
		if !messages.ReadUint8(&kind) || !messages.ReadUint24LengthPrefixed(&body) {
			return nil
		}
		if kind == messageCertificate && body.ReadUint24LengthPrefixed(&list) {
			return splitCertificates(list)
		}
	}
	return nil
}

// handshakeBytes joins the payloads of the leading handshake records.
func handshakeBytes(stream []byte) []byte {
	var joined []byte
	rest := cryptobyte.String(stream)
	for !rest.Empty() {
		var kind uint8
		var version uint16
		var payload cryptobyte.String
		if !rest.ReadUint8(&kind) || !rest.ReadUint16(&version) || !rest.ReadUint16LengthPrefixed(&payload) {
			break
		}
		if kind != recordHandshake {
			break
		}
		joined = append(joined, payload...)
	}
	return joined
}

func splitCertificates(list cryptobyte.String) [][]byte {
	var raw [][]byte
	for !list.Empty() {
		var der cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&der) {
			break
		}
		raw = append(raw, der)
	}
	return raw
}

// parseAll parses what it can, with a finding for each certificate that it cannot. The
// first one is the leaf: where that is broken, none is returned, so that no other
// certificate is taken for it.
func parseAll(raw [][]byte) ([]*x509.Certificate, []certmedic.Finding) {
	var certs []*x509.Certificate
	var findings []certmedic.Finding
	for i, der := range raw {
		c, err := x509.ParseCertificate(der)
		if err == nil {
			certs = append(certs, c)
			continue
		}
		detail := fmt.Sprintf("certificate %d of %d that the server sent cannot be parsed: %s", i+1, len(raw), printable(err.Error()))
		findings = append(findings, certmedic.NewFinding(certmedic.NotACertificate, detail))
		if i == 0 {
			return nil, findings
		}
	}
	return certs, findings
}
