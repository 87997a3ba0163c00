package live

import (
	"encoding/binary"
	"fmt"
)

// rdpRequest is a connection request of X.224 in a TPKT (MS-RDPBCGR section 2.2.1.1) that
// offers TLS and CredSSP, which runs over TLS.
const rdpRequest = "\x03\x00\x00\x13" + "\x0e\xe0\x00\x00\x00\x00\x00" + "\x01\x00\x08\x00\x03\x00\x00\x00"

// parts of the answer (MS-RDPBCGR sections 2.2.1.2.1 and 2.2.1.2.2).
const (
	tpktVersion    = 3
	tpktHeader     = 4
	x224Confirm    = 0xd0
	x224Header     = 7
	rdpNegotiation = 8 // bytes of a response or a failure
	rdpResponse    = 2
	rdpFailure     = 3
)

// beginRDP speaks RDP up to TLS.
func beginRDP(d *dialogue) error {
	d.awaited = "its answer to the connection request"
	if err := d.write([]byte(rdpRequest)); err != nil {
		return err
	}
	head, err := d.bytes(tpktHeader)
	if err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint16(head[2:])) - tpktHeader
	if head[0] != tpktVersion || size < x224Header {
		return d.unexpected("RDP", string(head))
	}
	confirm, err := d.bytes(size)
	if err != nil {
		return err
	}
	if confirm[1] != x224Confirm {
		return refused("the connection", string(confirm))
	}
	return rdpChoice(confirm[x224Header:])
}

// rdpChoice reads what the server chose.
func rdpChoice(negotiation []byte) error {
	if len(negotiation) < rdpNegotiation {
		return wrong("the server does not offer TLS: it knows the old security of RDP only")
	}
	value := binary.LittleEndian.Uint32(negotiation[4:])
	switch {
	case negotiation[0] == rdpFailure:
		return wrong("the server refused TLS: %s", rdpRefusal(value))
	case negotiation[0] != rdpResponse:
		return refused("TLS", string(negotiation))
	case value == 0:
		return wrong("the server chose the old security of RDP instead of TLS")
	}
	return nil
}

// rdpRefusal says what the codes of MS-RDPBCGR section 2.2.1.2.2 mean.
func rdpRefusal(code uint32) string {
	switch code {
	case 2:
		return "its configuration allows the old security of RDP only (SSL_NOT_ALLOWED_BY_SERVER)"
	case 3:
		return "it has no certificate (SSL_CERT_NOT_ON_SERVER)"
	case 6:
		return "it asks for TLS with a client certificate (SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER)"
	default:
		return fmt.Sprintf("it gave the failure code %d", code)
	}
}
