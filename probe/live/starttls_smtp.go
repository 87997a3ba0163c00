package live

import "net"

// beginSMTP speaks SMTP up to TLS, as RFC 3207 has it.
func beginSMTP(d *dialogue) error { return d.beginMail("SMTP", "EHLO") }

// beginLMTP speaks LMTP (RFC 2033), which is SMTP but for the word of its greeting.
func beginLMTP(d *dialogue) error { return d.beginMail("LMTP", "LHLO") }

func (d *dialogue) beginMail(protocol, hello string) error {
	greeting, err := d.reply(protocol)
	if err != nil {
		return err
	}
	if greeting.code != 220 {
		return refused("the connection", greeting.String())
	}
	offers, err := d.ask(protocol, hello+" "+addressLiteral(d.conn.LocalAddr()))
	if err != nil {
		return err
	}
	if offers.code != 250 {
		return refused(hello, offers.String())
	}
	if !offers.offers("STARTTLS") {
		return notOffered("STARTTLS", offers.lines[1:])
	}
	answer, err := d.ask(protocol, "STARTTLS")
	if err != nil {
		return err
	}
	if answer.code == 454 {
		return wrong("the server offers STARTTLS and then refuses it: %s; it often cannot read its certificate or key then, and its log says why", quoted(answer.String()))
	}
	if answer.code != 220 {
		return refused("STARTTLS", answer.String())
	}
	return nil
}

// ask sends a command and reads the reply.
func (d *dialogue) ask(protocol, command string) (reply, error) {
	if err := d.send(command); err != nil {
		return reply{}, err
	}
	return d.reply(protocol)
}

// addressLiteral returns this end's address in the form in which SMTP takes it for a name
// (RFC 5321 section 4.1.3). Servers that want a full name in EHLO take it as well.
func addressLiteral(local net.Addr) string {
	tcp, ok := local.(*net.TCPAddr)
	switch {
	case !ok:
		return "[127.0.0.1]"
	case tcp.IP.To4() != nil:
		return "[" + tcp.IP.String() + "]"
	default:
		return "[IPv6:" + tcp.IP.String() + "]"
	}
}
