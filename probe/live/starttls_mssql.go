package live

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// types of TDS packets and of options in a PRELOGIN message (MS-TDS sections 2.2.3.1.1 and
// 2.2.6.5).
const (
	tdsTabular  = 0x04
	tdsPreLogin = 0x12

	optionEncryption = 0x01
	optionEnd        = 0xff

	encryptionOn           = 0x01
	encryptionNotSupported = 0x02

	tdsHeader     = 8
	tdsPacket     = 4096 // the largest packet before a login
	tdsEndMessage = 0x01
)

// preLogin asks for encryption: the version of the client (0) and its wish, each with the
// offset and the length of its value.
const preLogin = "\x00\x00\x0b\x00\x06" + "\x01\x00\x11\x00\x01" + "\xff" + "\x00\x00\x00\x00\x00\x00" + "\x01"

// beginMSSQL speaks TDS up to TLS. The handshake is carried in packets of TDS, which
// [tdsConn] does.
func beginMSSQL(d *dialogue) error {
	d.awaited = "its answer to PRELOGIN"
	if err := d.write(tdsMessage([]byte(preLogin))); err != nil {
		return err
	}
	head, err := d.bytes(tdsHeader)
	if err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint16(head[2:])) - tdsHeader
	if head[0] != tdsTabular || size <= 0 {
		return d.unexpected("TDS", string(head))
	}
	answer, err := d.bytes(size)
	if err != nil {
		return err
	}
	encryption, ok := tdsEncryption(answer)
	if !ok {
		return wrong("the server's answer to PRELOGIN says nothing of encryption: %s", quoted(string(answer)))
	}
	if encryption == encryptionNotSupported {
		return wrong("the server does not offer TLS: it has no certificate that it can use")
	}
	d.carrier = &tdsConn{Conn: d.conn, in: bufio.NewReader(d.conn)}
	return nil
}

// tdsEncryption finds what a PRELOGIN message says of encryption.
func tdsEncryption(message []byte) (byte, bool) {
	for at := 0; at+5 <= len(message) && message[at] != optionEnd; at += 5 {
		offset := int(binary.BigEndian.Uint16(message[at+1:]))
		size := binary.BigEndian.Uint16(message[at+3:])
		if message[at] == optionEncryption && size == 1 && offset < len(message) {
			return message[offset], true
		}
	}
	return 0, false
}

// tdsMessage wraps bytes into as many packets as they need.
func tdsMessage(content []byte) []byte {
	var message []byte
	for first := true; first || len(content) > 0; first = false {
		part := content[:min(len(content), tdsPacket-tdsHeader)]
		content = content[len(part):]
		status := byte(0)
		if len(content) == 0 {
			status = tdsEndMessage
		}
		size := tdsHeader + len(part)
		message = append(message, tdsPreLogin, status, byte(size>>8), byte(size), 0, 0, 0, 0)
		message = append(message, part...)
	}
	return message
}

// tdsConn carries a TLS handshake in packets of TDS (MS-TDS section 3.2.5.2). After the
// handshake servers send plain records of TLS, and so does it then.
type tdsConn struct {
	net.Conn
	in    *bufio.Reader
	left  int  // of the packet that is being read
	plain bool // the server has stopped wrapping
}

// Read reads what the server's packets hold.
func (c *tdsConn) Read(p []byte) (int, error) {
	if c.left == 0 && !c.plain {
		if err := c.nextPacket(); err != nil {
			return 0, err
		}
	}
	if c.plain {
		return c.in.Read(p)
	}
	n, err := c.in.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *tdsConn) nextPacket() error {
	const firstRecordType, lastRecordType = 20, 23 // of TLS (RFC 8446 appendix B.1)
	kind, err := c.in.Peek(1)
	if err != nil {
		return err
	}
	if kind[0] >= firstRecordType && kind[0] <= lastRecordType {
		c.plain = true
		return nil
	}
	var head [tdsHeader]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if (head[0] != tdsPreLogin && head[0] != tdsTabular) || size <= tdsHeader {
		return fmt.Errorf("the server sent something else than a packet of TDS: %q", head)
	}
	c.left = size - tdsHeader
	return nil
}

// Write sends the bytes as one message.
func (c *tdsConn) Write(p []byte) (int, error) {
	if c.plain {
		return c.Conn.Write(p)
	}
	if _, err := c.Conn.Write(tdsMessage(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
