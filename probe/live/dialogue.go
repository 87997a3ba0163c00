package live

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
)

// bounds of what a server may say in plain text before TLS begins.
const (
	maxPlainLine  = 4 << 10  // bytes of one line or message
	maxPlainTotal = 64 << 10 // bytes in all
	maxQuoted     = 200      // bytes of it that an error quotes
)

// dialogue is the exchange in plain text before TLS begins. Its connection has the
// deadline of the whole attempt. What is read is bounded by maxPlainTotal.
type dialogue struct {
	conn       net.Conn
	in         *bufio.Reader // over conn; must be empty when TLS begins
	source     *boundedReader
	serverName string // what the protocol asks for, such as XMPP's domain; empty where none is known

	awaited string   // what the server has to send next, as errors name it
	partial string   // the beginning of a line or message whose end never came
	carrier net.Conn // where the protocol wraps TLS into its own packets; nil: TLS is spoken over conn
}

func newDialogue(conn net.Conn, serverName string) *dialogue {
	source := &boundedReader{from: conn, left: maxPlainTotal}
	return &dialogue{
		conn:       conn,
		in:         bufio.NewReaderSize(source, maxPlainLine),
		source:     source,
		serverName: serverName,
		awaited:    "its greeting",
	}
}

var (
	errTooMuch = errors.New("too much plain text")
	errTooLong = errors.New("a line or message that is too long")
)

// boundedReader reads so many bytes and no more. It remembers why it ended.
type boundedReader struct {
	from io.Reader
	left int
	err  error
}

// Read reads what is within the bound.
func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.err = errTooMuch
		return 0, b.err
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil {
		b.err = err
	}
	return n, err
}

// send writes a line, or several, and notes that their answer is awaited.
func (d *dialogue) send(command string) error {
	d.awaited = "its answer to " + strings.TrimSpace(command)
	return d.write([]byte(command + "\r\n"))
}

func (d *dialogue) write(message []byte) error {
	_, err := d.conn.Write(message)
	return err
}

// line reads one line and returns it without its end. It is valid until the next read.
func (d *dialogue) line() (string, error) {
	line, err := d.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errTooLong
	}
	if err != nil {
		d.partial = string(line)
		return "", err
	}
	return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
}

// bytes reads a part of a message of that length.
func (d *dialogue) bytes(n int) ([]byte, error) {
	if n > maxPlainLine {
		return nil, errTooLong
	}
	part := make([]byte, n)
	got, err := io.ReadFull(d.in, part)
	if err != nil {
		d.partial = string(part[:got])
	}
	return part, err
}

// buffered returns what has arrived and was not read, without waiting for more.
func (d *dialogue) buffered() string {
	rest, _ := d.in.Peek(d.in.Buffered())
	return string(rest)
}

// start speaks the protocol up to the TLS handshake, and returns the connection over which
// TLS is spoken: conn itself, but for protocols that wrap TLS. The caller sets the deadline
// of conn; [explainStart] explains the errors.
func (p Protocol) start(conn net.Conn, serverName string) (net.Conn, error) {
	if p.begin == nil {
		return conn, nil
	}
	d := newDialogue(conn, serverName)
	if err := d.end(p.begin(d)); err != nil {
		p.advise(err)
		return nil, err
	}
	if d.carrier != nil {
		return d.carrier, nil
	}
	return conn, nil
}

// advise adds, to the error of a server that never said a word, that it may be waiting for
// TLS itself.
func (p Protocol) advise(err error) {
	var start *startError
	if !errors.As(err, &start) || !start.silent || !isTimeout(err) {
		return
	}
	if twin, unknown := ParseProtocol(p.Name + "s"); unknown == nil {
		start.advice = "; a server that speaks TLS from the first byte waits too: its protocol is " + twin.Name
	}
}

// end returns what was wrong with the exchange, nil when TLS can begin. What is in the
// buffer by then came in plain text after the server had agreed to TLS: somebody may have
// put it there for the client to take it for the server's protected words (CVE-2011-0411).
func (d *dialogue) end(err error) error {
	if err == nil && d.in.Buffered() == 0 {
		return nil
	}
	if err == nil {
		err = wrong("the server sent more in plain text after it had agreed to TLS: %s; somebody on the way may have put it there (response injection)", quoted(d.buffered()))
	}
	var own *wrongError
	if !errors.As(err, &own) && d.source.err != nil {
		err = d.source.err
	}
	return &startError{err: err, awaited: d.awaited, partial: d.partial, silent: d.source.left == maxPlainTotal}
}
