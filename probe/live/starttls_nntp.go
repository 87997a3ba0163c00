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
	if err == nil && answer.code == 401 { // as innd answers the hosts that it exchanges articles with
		answer, err = d.askAsReader("STARTTLS")
	}
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

// askAsReader has a server that is there for other servers first become one for readers
// (RFC 3977 section 5.3).
func (d *dialogue) askAsReader(command string) (reply, error) {
	answer, err := d.ask("NNTP", "MODE READER")
	if err != nil || answer.code != 200 && answer.code != 201 {
		return answer, err
	}
	return d.ask("NNTP", command)
}

func (d *dialogue) refusedNNTP(greeting reply) error {
	if greeting.code == 220 {
		return d.unexpected("NNTP", greeting.String())
	}
	return refused("the connection", greeting.String())
}
