package live

import (
	"slices"
	"strings"
)

// beginIRC speaks IRC up to TLS, as the tls extension of IRCv3 has it.
func beginIRC(d *dialogue) error {
	offers, err := d.ircCapabilities()
	if err != nil {
		return err
	}
	if !slices.Contains(offers, "tls") {
		return notOffered("STARTTLS", offers)
	}
	if err := d.send("STARTTLS"); err != nil {
		return err
	}
	for {
		line, err := d.line()
		if err != nil {
			return err
		}
		switch command, _ := parseIRC(line); command {
		case "670": // go on
			return nil
		case "ERROR", "691", "421", "451": // failed, unknown command, not registered
			return refused("STARTTLS", line)
		}
	}
}

// ircCapabilities asks what the server offers (CAP LS). Notices may come before the answer,
// which may have several lines: all but the last have a "*" before the list.
func (d *dialogue) ircCapabilities() ([]string, error) {
	if err := d.send("CAP LS 302"); err != nil {
		return nil, err
	}
	var offers []string
	for {
		line, err := d.line()
		if err != nil {
			return nil, err
		}
		command, params := parseIRC(line)
		switch {
		case command == "CAP" && len(params) > 2 && params[1] == "LS":
			offers = append(offers, strings.Fields(params[len(params)-1])...)
			if params[2] != "*" || len(params) == 3 {
				return offers, nil
			}
		case command == "ERROR":
			return nil, refused("the connection", line)
		case command == "421" || command == "451": // a server without capabilities has no STARTTLS either
			return nil, wrong("the server does not offer STARTTLS: it answered %s", quoted(line))
		case speaks(line) != "":
			return nil, d.unexpected("IRC", line)
		}
	}
}

// parseIRC splits a message into its command and parameters (RFC 1459 section 2.3.1).
func parseIRC(line string) (command string, params []string) {
	if strings.HasPrefix(line, ":") { // the sender
		_, line, _ = strings.Cut(line, " ")
	}
	line, trailing, found := strings.Cut(line, " :")
	words := strings.Fields(line)
	if found {
		words = append(words, trailing)
	}
	if len(words) == 0 {
		return "", nil
	}
	return words[0], words[1:]
}
