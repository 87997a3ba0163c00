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
	kept  []byte
	few   [tapForExplaining]byte // where kept begins, so that few bytes cost no allocation
}

// newTap returns a tap that keeps enough to explain a failure, or all certificates.
func newTap(conn net.Conn, certificates bool) *tapConn {
	t := &tapConn{Conn: conn, limit: tapForExplaining}
	t.kept = t.few[:0]
	if certificates {
		t.limit = tapForCertificates
	}
	return t
}

// Read reads from the connection and keeps what is within the limit.
func (t *tapConn) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.kept = append(t.kept, p[:min(n, t.limit-len(t.kept))]...)
	return n, err
}

// types of TLS records and handshake messages (RFC 5246 sections 6.2.1 and 7.4).
const (
	recordHandshake    = 22
	messageCertificate = 11
)

// certificatesIn returns the raw certificates of the certificate message in a stream of
// plain TLS records, as versions up to 1.2 send it; nil where there is none. Of a message
// that is cut short it returns those that are whole.
func certificatesIn(stream []byte) [][]byte {
	messages := cryptobyte.String(handshakeBytes(stream))
	for !messages.Empty() {
		var kind uint8
		if !messages.ReadUint8(&kind) {
			return nil
		}
		body := readAtMost(&messages)
		if kind == messageCertificate {
			return splitCertificates(readAtMost(&body))
		}
	}
	return nil
}

// readAtMost reads what a length of 24 bits announces, or as much of it as is there.
func readAtMost(s *cryptobyte.String) cryptobyte.String {
	var length uint32
	var part []byte
	if !s.ReadUint24(&length) || !s.ReadBytes(&part, min(int(length), len(*s))) {
		*s = nil
	}
	return part
}

// handshakeBytes joins the payloads of the leading handshake records, the last of which
// may be cut short.
func handshakeBytes(stream []byte) []byte {
	var joined []byte
	rest := cryptobyte.String(stream)
	for !rest.Empty() {
		var kind uint8
		var version, length uint16
		if !rest.ReadUint8(&kind) || !rest.ReadUint16(&version) || !rest.ReadUint16(&length) {
			break
		}
		if kind != recordHandshake {
			break
		}
		present := min(int(length), len(rest))
		joined = append(joined, rest[:present]...)
		rest = rest[present:]
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

// maxBroken bounds how many broken certificates of a peer are looked at.
const maxBroken = 10

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
		if len(findings) == maxBroken {
			break
		}
		detail := fmt.Sprintf("certificate %d of %d that the server sent cannot be parsed: %s", i+1, len(raw), printable(err.Error()))
		findings = append(findings, certmedic.NewFinding(certmedic.NotACertificate, detail))
		if i == 0 {
			return nil, findings
		}
	}
	return certs, findings
}
