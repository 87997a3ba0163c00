package live

// beginNNTP speaks NNTP up to TLS, as RFC 4642 has it.
func beginNNTP(d *dialogue) error {
	greeting, err := d.reply("NNTP")
	if err != nil {
		return err
	}
	if greeting.code != 200 && greeting.code != 201 {
		return d.refusedNNTP(greeting)
	}
	answer, err := d.ask("NNTP", "STARTTLS")
	if err != nil {
		return err
	}
	switch answer.code {
	case 382:
		return nil
	case 500, 502: // not understood, not available
		return wrong("the server does not offer STARTTLS; TLS is not switched on there, or not for this client: it answered %s", quoted(answer.String()))
	default:
		return refused("STARTTLS", answer.String())
	}
}

func (d *dialogue) refusedNNTP(greeting reply) error {
	if greeting.code == 220 {
		return d.unexpected("NNTP", greeting.String())
	}
	return refused("the connection", greeting.String())
}
