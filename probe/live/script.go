package live

import (
	"errors"
	"io"
	"net"
)

// runScript speaks the steps up to the one that begins TLS, and returns those after it;
// it speaks all where none begins TLS. As blackbox_exporter does, it reads lines until one
// matches, and ends what it sends in a newline. ExpectFailed says that the peer ended
// before a line matched. The caller sets the deadline of conn; [explainStart] explains the
// errors.
func runScript(conn net.Conn, steps []Step) (rest []Step, expectFailed bool, err error) {
	d := newDialogue(conn, "")
	for i, step := range steps {
		if err := d.step(step); err != nil {
			return nil, errors.Is(err, errNoMatch), d.end(err)
		}
		if step.StartTLS {
			return steps[i+1:], false, d.end(nil)
		}
	}
	return nil, false, nil
}

// errNoMatch is the error of a peer that ended before a line of it had matched.
var errNoMatch = errors.New("no line matched")

// step speaks one step of a script.
func (d *dialogue) step(s Step) error {
	send := s.Send
	if s.Expect != nil {
		line, match, err := d.expect(s)
		if err != nil {
			return err
		}
		send = string(s.Expect.ExpandString(nil, s.Send, line, match))
	}
	if send == "" {
		return nil
	}
	return d.write([]byte(send + "\n"))
}

// expect reads lines until one matches, and returns it with the places of what matched.
// The last line need not have an end.
func (d *dialogue) expect(s Step) (line string, match []int, err error) {
	d.awaited = "a line that matches " + quoted(s.Expect.String())
	last := ""
	for {
		line, err := d.line()
		ended := errors.Is(err, io.EOF)
		if ended {
			line = d.partial
		}
		if err != nil && !ended {
			return "", nil, err
		}
		if match := s.Expect.FindStringSubmatchIndex(line); match != nil && (line != "" || !ended) {
			return line, match, nil
		}
		if line != "" {
			last = line
		}
		if ended {
			ending := wrong("the server ended, and no line of it matched %s; its last one was %s", quoted(s.Expect.String()), quoted(last))
			return "", nil, errors.Join(ending, errNoMatch)
		}
	}
}
