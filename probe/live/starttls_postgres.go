package live

import (
	"encoding/binary"
	"strings"
)

// postgresSSLRequest asks for TLS: its own length and the code 80877103.
const postgresSSLRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"

// beginPostgres asks a PostgreSQL server for TLS by an SSLRequest, the first thing that a
// client sends (chapter "Frontend/Backend Protocol", section "SSL Session Encryption").
func beginPostgres(d *dialogue) error {
	d.awaited = "its answer to SSLRequest"
	if err := d.write([]byte(postgresSSLRequest)); err != nil {
		return err
	}
	answer, err := d.bytes(1)
	if err != nil {
		return err
	}
	switch answer[0] {
	case 'S':
		if speaks("S"+d.buffered()) != "" { // SSH begins with an S as well
			return d.unexpected("the protocol of PostgreSQL", "S")
		}
		return nil
	case 'N':
		return wrong("the server does not offer TLS; ssl is off in its configuration")
	case 'E':
		return d.postgresError()
	default:
		return d.unexpected("the protocol of PostgreSQL", string(answer))
	}
}

// postgresError reads an ErrorResponse after its first byte: fields of a type, such as M for
// the message, and a text that ends in a zero byte.
func (d *dialogue) postgresError() error {
	length, err := d.bytes(4)
	if err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(length)
	if size < 4 || size > maxPlainLine {
		return d.unexpected("the protocol of PostgreSQL", "E"+string(length))
	}
	body, err := d.bytes(int(size) - 4)
	if err != nil {
		return err
	}
	for field := range strings.SplitSeq(string(body), "\x00") {
		if text, ok := strings.CutPrefix(field, "M"); ok {
			return refused("TLS", text)
		}
	}
	return refused("TLS", string(body))
}
