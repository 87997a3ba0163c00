package live

// beginFTP speaks FTP up to TLS on the control connection, as RFC 4217 has it.
func beginFTP(d *dialogue) error {
	greeting, err := d.reply("FTP")
	for err == nil && greeting.code == 120 { // ready in some minutes; 220 follows (RFC 959 section 5.4)
		greeting, err = d.reply("FTP")
	}
	if err != nil {
		return err
	}
	if greeting.code != 220 {
		return refused("the connection", greeting.String())
	}
	answer, err := d.ask("FTP", "AUTH TLS")
	if err != nil {
		return err
	}
	switch answer.code {
	case 234:
		return nil
	case 500, 502, 504, 530: // not understood, or no other command than a login
		return wrong("the server does not offer AUTH TLS; TLS is not switched on there: it answered %s", quoted(answer.String()))
	default:
		return refused("AUTH TLS", answer.String())
	}
}
