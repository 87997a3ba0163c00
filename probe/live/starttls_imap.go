package live

import (
	"slices"
	"strings"
)

// beginIMAP speaks IMAP up to TLS, as RFC 9051 section 6.2.1 has it.
func beginIMAP(d *dialogue) error {
	greeting, err := d.line()
	if err != nil {
		return err
	}
	switch {
	case hasWord(greeting, "* PREAUTH"):
		return wrong("the server takes this client for logged in already, and offers no STARTTLS then: it greeted with %s", quoted(greeting))
	case hasWord(greeting, "* BYE"):
		return refused("the connection", greeting)
	case !hasWord(greeting, "* OK"):
		return d.unexpected("IMAP", greeting)
	}
	offers := greetingCapabilities(greeting)
	if !hasCapability(offers) {
		if offers, err = d.askCapabilities(); err != nil {
			return err
		}
	}
	if !hasCapability(offers) {
		return notOffered("STARTTLS", offers)
	}
	answer, _, err := d.askIMAP("a2", "STARTTLS")
	if err != nil {
		return err
	}
	if !hasWord(answer, "a2 OK") {
		return refused("STARTTLS", answer)
	}
	return nil
}

func (d *dialogue) askCapabilities() ([]string, error) {
	answer, untagged, err := d.askIMAP("a1", "CAPABILITY")
	if err != nil {
		return nil, err
	}
	if !hasWord(answer, "a1 OK") {
		return nil, refused("CAPABILITY", answer)
	}
	var offers []string
	for _, line := range untagged {
		if hasWord(line, "* CAPABILITY") {
			offers = append(offers, strings.Fields(line)[2:]...)
		}
	}
	return offers, nil
}

// askIMAP sends a command and reads up to its answer, which has the same tag.
func (d *dialogue) askIMAP(tag, command string) (answer string, untagged []string, err error) {
	if err := d.send(tag + " " + command); err != nil {
		return "", nil, err
	}
	for {
		line, err := d.line()
		switch {
		case err != nil:
			return "", nil, err
		case hasWord(line, tag):
			return line, untagged, nil
		case hasWord(line, "* BYE"):
			return "", nil, refused(command, line)
		}
		untagged = append(untagged, line)
	}
}

// greetingCapabilities returns the capabilities that some servers list in their greeting,
// as "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready".
func greetingCapabilities(greeting string) []string {
	_, list, found := strings.Cut(strings.ToUpper(greeting), "[CAPABILITY ")
	list, _, closed := strings.Cut(list, "]")
	if !found || !closed {
		return nil
	}
	return strings.Fields(list)
}

func hasCapability(offers []string) bool {
	return slices.ContainsFunc(offers, func(offer string) bool { return strings.EqualFold(offer, "STARTTLS") })
}
