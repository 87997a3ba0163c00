package live

import (
	"bufio"
	"net"
)

// bounds of what a server may say in plain text before TLS begins.
const (
	maxPlainLine  = 4 << 10  // bytes of one line or message
	maxPlainTotal = 64 << 10 // bytes in all
)

// dialogue is the exchange in plain text before TLS begins. Its connection has the
// deadline of the whole attempt. What is read is bounded by maxPlainTotal.
type dialogue struct {
	conn       net.Conn
	in         *bufio.Reader // over conn; must be empty when TLS begins
	serverName string        // what the protocol asks for, such as XMPP's domain; empty where none is known
}
