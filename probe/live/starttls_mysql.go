package live

import (
	"bytes"
	"encoding/binary"
	"net"
)

// capabilities of MySQL's clients and servers.
const (
	mysqlProtocol41       = 1 << 9
	mysqlTLS              = 1 << 11
	mysqlSecureConnection = 1 << 15
	mysqlPluginAuth       = 1 << 19

	mysqlOffer = mysqlProtocol41 | mysqlTLS | mysqlSecureConnection | mysqlPluginAuth
)

// first bytes of packets from MySQL's server.
const (
	mysqlError      = 0xff
	mysqlAuthSwitch = 0xfe
	mysqlVersion10  = 10
)

// beginMySQL speaks the protocol of MySQL and MariaDB up to TLS: the server greets with a
// handshake packet, and the client answers with an SSL request.
func beginMySQL(d *dialogue) error {
	greeting, err := d.mysqlPacket()
	if err != nil {
		return err
	}
	if greeting[0] == mysqlError {
		return mysqlRefusal(greeting)
	}
	if greeting[0] != mysqlVersion10 {
		return wrong("the server speaks version %d of the protocol of MySQL; only version 10 has TLS", greeting[0])
	}
	capabilities, ok := mysqlCapabilities(greeting)
	if !ok {
		return wrong("the server greets as MySQL does, but the greeting breaks off: %s", quoted(string(greeting)))
	}
	if capabilities&mysqlTLS == 0 {
		return wrong("the server does not offer TLS; it has no certificate that it can read, or TLS is switched off")
	}
	return d.write(mysqlPacket(1, mysqlClientHeader()))
}

// mysqlPacket reads one packet that is not empty: its length in three bytes, its number,
// its content.
func (d *dialogue) mysqlPacket() ([]byte, error) {
	head, err := d.bytes(4)
	if err != nil {
		return nil, err
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if size == 0 || size > maxPlainLine {
		return nil, d.unexpected("the protocol of MySQL", string(head))
	}
	return d.bytes(size)
}

func mysqlPacket(number byte, content []byte) []byte {
	size := len(content)
	return append([]byte{byte(size), byte(size >> 8), byte(size >> 16), number}, content...)
}

// mysqlCapabilities reads the lower half of the capabilities: they come after the version,
// which ends in a zero byte, the number of the connection (4), and random bytes (8 and 1).
func mysqlCapabilities(greeting []byte) (uint16, bool) {
	end := bytes.IndexByte(greeting, 0)
	at := end + 1 + 4 + 8 + 1
	if end < 0 || len(greeting) < at+2 {
		return 0, false
	}
	return binary.LittleEndian.Uint16(greeting[at:]), true
}

// mysqlRefusal is the error in an error packet, such as that too many connections were
// broken off and this host is blocked.
func mysqlRefusal(packet []byte) error {
	if len(packet) < 3 {
		return refused("the connection", string(packet))
	}
	code, text := binary.LittleEndian.Uint16(packet[1:]), packet[3:]
	if len(text) > 6 && text[0] == '#' { // the state of SQL
		text = text[6:]
	}
	return wrong("the server refused the connection with error %d: %s", code, quoted(string(text)))
}

// mysqlClientHeader is the SSL request: capabilities, the largest packet (4), the character
// set (utf8mb4), and zeros.
func mysqlClientHeader() []byte {
	header := make([]byte, 32)
	binary.LittleEndian.PutUint32(header, mysqlOffer)
	binary.LittleEndian.PutUint32(header[4:], 1<<24-1)
	header[8] = 45
	return header
}

// leaveMySQL logs in over TLS as nobody, which the server refuses. A client that leaves
// before it has tried counts as a broken connection, and after 100 of these
// (max_connect_errors) the server blocks every client of this host. A refused login does
// not count.
func leaveMySQL(conn net.Conn) {
	const maxRounds = 3 // the server may ask for another way to log in
	d := newDialogue(conn, "")
	login := append(mysqlClientHeader(), 0, 0) // no user, no password
	login = append(login, "mysql_native_password\x00"...)
	if d.write(mysqlPacket(2, login)) != nil {
		return
	}
	for round := range byte(maxRounds) {
		answer, err := d.mysqlPacket()
		if err != nil || answer[0] != mysqlAuthSwitch {
			return
		}
		if d.write(mysqlPacket(4+2*round, nil)) != nil {
			return
		}
	}
}
