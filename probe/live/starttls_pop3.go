package live

// beginPOP3 speaks POP3 up to TLS, as RFC 2595 section 4 has it.
func beginPOP3(d *dialogue) error {
	greeting, err := d.line()
	if err != nil {
		return err
	}
	if hasWord(greeting, "-ERR") {
		return refused("the connection", greeting)
	}
	if !hasWord(greeting, "+OK") {
		return d.unexpected("POP3", greeting)
	}
	if err := d.send("STLS"); err != nil {
		return err
	}
	answer, err := d.line()
	if err != nil {
		return err
	}
	if !hasWord(answer, "+OK") {
		return wrong("the server refused STLS, as one does where TLS is not switched on: %s", quoted(answer))
	}
	return nil
}
