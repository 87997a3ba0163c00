package live

import (
	"strconv"
	"strings"
)

// beginSieve speaks ManageSieve up to TLS, as RFC 5804 section 2.2 has it.
func beginSieve(d *dialogue) error {
	answer, offers, err := d.sieveAnswer()
	if err != nil {
		return err
	}
	if !hasWord(answer, "OK") {
		return refused("the connection", answer)
	}
	if !hasCapability(offers) {
		return notOffered("STARTTLS", offers)
	}
	if err := d.send("STARTTLS"); err != nil {
		return err
	}
	answer, _, err = d.sieveAnswer()
	if err != nil {
		return err
	}
	if !hasWord(answer, "OK") {
		return refused("STARTTLS", answer)
	}
	return nil
}

// sieveAnswer reads up to the line with the answer. Before it there are the names of the
// capabilities, in quotes, where there are any.
func (d *dialogue) sieveAnswer() (answer string, offers []string, err error) {
	for {
		line, err := d.sieveLine()
		if err != nil {
			return "", nil, err
		}
		if hasWord(line, "OK") || hasWord(line, "NO") || hasWord(line, "BYE") {
			return line, offers, nil
		}
		name, _, closed := strings.Cut(strings.TrimPrefix(line, `"`), `"`)
		if !closed {
			return "", nil, d.unexpected("ManageSieve", line)
		}
		offers = append(offers, name)
	}
}

// sieveLine reads a line with the literals in it, such as {5}, which may hold ends of
// lines themselves.
func (d *dialogue) sieveLine() (string, error) {
	line, err := d.line()
	for err == nil {
		size, ok := literalSize(line)
		if !ok {
			return line, nil
		}
		literal, failed := d.bytes(size)
		if failed != nil {
			return "", failed
		}
		var rest string
		rest, err = d.line()
		line += " " + string(literal) + rest
	}
	return "", err
}

// literalSize returns the number in the {5} or {5+} at the end of a line.
func literalSize(line string) (int, bool) {
	at := strings.LastIndexByte(line, '{')
	if at < 0 || !strings.HasSuffix(line, "}") {
		return 0, false
	}
	size, err := strconv.ParseUint(strings.TrimSuffix(line[at+1:len(line)-1], "+"), 10, 31)
	return int(size), err == nil
}
