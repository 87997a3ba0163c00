package tlsd

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// misbehave handles a connection whose fault shows before TLS begins, and reports
// whether it did.
func misbehave(conn net.Conn, fault Fault) bool {
	switch fault {
	case Stall:
		waitForClose(conn)
	case StallHandshake:
		readRecord(conn)
		waitForClose(conn)
	case Reset:
		if stream, ok := conn.(*net.TCPConn); ok {
			_ = stream.SetLinger(0) // closing now sends RST
		}
	case Garbage:
		_, _ = io.WriteString(conn, "\x00\xff220 this is not TLS\r\n\x00")
		readRecord(conn) // so that closing does not reset what was written
	case PlainHTTP:
		readRecord(conn)
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	default:
		return false
	}
	return true
}

// waitForClose returns when the peer has gone or the connection's deadline has passed.
func waitForClose(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// readRecord takes one TLS record (RFC 8446, section 5.1) or what there is of it.
func readRecord(conn net.Conn) {
	header := make([]byte, 5)
	if _, err := io.ReadFull(conn, header); err != nil {
		return
	}
	length := int64(binary.BigEndian.Uint16(header[3:]))
	_, _ = io.CopyN(io.Discard, conn, length)
}

// answer reads one HTTP request and answers it with the node's name.
func answer(conn net.Conn, name string) {
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
		return
	}
	body := name + "\n"
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	_ = conn.Close() // says goodbye in TLS; the client may be gone
}

// slowConn writes one byte at a time.
type slowConn struct {
	net.Conn
	pace time.Duration
}

// Write writes p with a pause before each byte.
func (c slowConn) Write(p []byte) (int, error) {
	for i := range p {
		time.Sleep(c.pace)
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
