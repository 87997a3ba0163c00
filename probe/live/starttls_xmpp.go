package live

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// namespaces of RFC 6120.
const (
	spaceStream = "http://etherx.jabber.org/streams"
	spaceTLS    = "urn:ietf:params:xml:ns:xmpp-tls"
)

// beginXMPP speaks XMPP as a client up to TLS, as RFC 6120 section 5 has it.
func beginXMPP(d *dialogue) error { return d.beginStream("jabber:client") }

// beginXMPPServer does the same as another server would.
func beginXMPPServer(d *dialogue) error { return d.beginStream("jabber:server") }

func (d *dialogue) beginStream(namespace string) error {
	d.awaited = "its XMPP stream"
	if err := d.write([]byte(streamOpening(namespace, d.serverName))); err != nil {
		return err
	}
	if _, err := d.in.Peek(1); err != nil {
		return err
	}
	head := d.buffered()
	if text := strings.TrimSpace(head); text != "" && text[0] != '<' {
		return another("XMPP", head)
	}
	err := d.negotiateStream(xml.NewDecoder(d.in)) // reads byte by byte, and so never more than it needs
	var broken *xml.SyntaxError
	if errors.As(err, &broken) && d.source.err == nil {
		return another("XMPP", head)
	}
	return err
}

func streamOpening(namespace, domain string) string {
	var to strings.Builder
	if domain != "" {
		to.WriteString("' to='")
		_ = xml.EscapeText(&to, []byte(domain)) // a strings.Builder takes everything
	}
	return "<?xml version='1.0'?><stream:stream xmlns='" + namespace + "' xmlns:stream='" + spaceStream + to.String() + "' version='1.0'>"
}

// negotiateStream reads the opening of the server's stream and its features, asks for TLS,
// and reads the answer.
func (d *dialogue) negotiateStream(in *xml.Decoder) error {
	stream, err := nextElement(in)
	if err != nil {
		return err
	}
	if stream.Name != (xml.Name{Space: spaceStream, Local: "stream"}) {
		return another("XMPP", "<"+stream.Name.Local+">")
	}
	d.awaited = "its list of features"
	offers, err := d.streamFeatures(in)
	if err != nil {
		return err
	}
	if !hasCapability(offers) {
		return notOffered("STARTTLS", offers)
	}
	d.awaited = "its answer to STARTTLS"
	if err := d.write([]byte("<starttls xmlns='" + spaceTLS + "'/>")); err != nil {
		return err
	}
	answer, err := nextElement(in)
	if err != nil {
		return err
	}
	if answer.Name != (xml.Name{Space: spaceTLS, Local: "proceed"}) {
		return refused("STARTTLS", "<"+answer.Name.Local+">")
	}
	return in.Skip()
}

// streamFeatures returns the names of the features that the server offers.
func (d *dialogue) streamFeatures(in *xml.Decoder) ([]string, error) {
	element, err := nextElement(in)
	if err != nil {
		return nil, err
	}
	var children struct {
		All []struct{ XMLName xml.Name } `xml:",any"`
	}
	if err := in.DecodeElement(&children, &element); err != nil {
		return nil, err
	}
	var names []string
	for _, child := range children.All {
		names = append(names, child.XMLName.Local)
	}
	if element.Name.Local == "error" {
		return nil, wrong("the server refused the stream to %q with the error %s", d.serverName, quoted(strings.Join(names, " ")))
	}
	return names, nil
}

// nextElement reads up to the beginning of the next element. The end of the stream comes
// as the end of the connection.
func nextElement(in *xml.Decoder) (xml.StartElement, error) {
	for {
		token, err := in.Token()
		if err != nil {
			return xml.StartElement{}, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			return token, nil
		case xml.EndElement:
			return xml.StartElement{}, io.EOF
		}
	}
}
