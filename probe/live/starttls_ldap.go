package live

import "fmt"

// tags of LDAP's messages (RFC 4511 section 4), in BER.
const (
	tagInteger          = 0x02
	tagOctetString      = 0x04
	tagEnumerated       = 0x0a
	tagSequence         = 0x30
	tagExtendedResponse = 0x78 // [APPLICATION 24]
)

// ldapStartTLS is the extended request with StartTLS's name, 1.3.6.1.4.1.1466.20037 (RFC
// 4511 section 4.14.1), as message 1.
const ldapStartTLS = "\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"

// beginLDAP speaks LDAP up to TLS.
func beginLDAP(d *dialogue) error {
	d.awaited = "its answer to StartTLS"
	if err := d.write([]byte(ldapStartTLS)); err != nil {
		return err
	}
	message, err := d.ldapMessage()
	if err != nil {
		return err
	}
	code, diagnostic, ok := parseExtendedResponse(message)
	if !ok {
		return wrong("the server answered StartTLS with something that is no extended response: %s", quoted(string(message)))
	}
	if code != 0 {
		return wrong("the server refused StartTLS with the LDAP result %s: %s", ldapResult(code), quoted(diagnostic))
	}
	return nil
}

// ldapMessage reads one message, without its tag and length.
func (d *dialogue) ldapMessage() ([]byte, error) {
	head, err := d.bytes(2)
	if err != nil {
		return nil, err
	}
	if head[0] != tagSequence {
		return nil, d.unexpected("LDAP", string(head))
	}
	size := int(head[1])
	if size >= 0x80 { // the length follows; Active Directory writes four bytes always
		long, err := d.bytes(size & 0x7f)
		if err != nil {
			return nil, err
		}
		if size = berLength(long); size < 0 {
			return nil, wrong("the server sent a message of LDAP with a length that cannot be: %s", quoted(string(head)+string(long)))
		}
	}
	return d.bytes(size)
}

// berLength reads the bytes of a long length; -1 where there are none, or too many.
func berLength(long []byte) int {
	if len(long) == 0 || len(long) > 4 {
		return -1
	}
	size := 0
	for _, b := range long {
		size = size<<8 | int(b)
	}
	return size
}

// parseExtendedResponse reads the result code and the diagnostic message.
func parseExtendedResponse(message []byte) (code int, diagnostic string, ok bool) {
	tag, _, rest := readBER(message)
	if tag != tagInteger {
		return 0, "", false
	}
	tag, response, _ := readBER(rest)
	if tag != tagExtendedResponse {
		return 0, "", false
	}
	tag, result, rest := readBER(response)
	if tag != tagEnumerated || len(result) != 1 {
		return 0, "", false
	}
	_, _, rest = readBER(rest) // matchedDN
	if tag, text, _ := readBER(rest); tag == tagOctetString {
		diagnostic = string(text)
	}
	return int(result[0]), diagnostic, true
}

// readBER reads one element. Package cryptobyte takes DER only, where lengths have one
// form; servers of LDAP send any. The tag is 0 where there is no whole element.
func readBER(in []byte) (tag byte, content, rest []byte) {
	if len(in) < 2 {
		return 0, nil, nil
	}
	size, body := int(in[1]), in[2:]
	if size >= 0x80 {
		n := size & 0x7f
		if n > len(body) {
			return 0, nil, nil
		}
		size, body = berLength(body[:n]), body[n:]
	}
	if size < 0 || size > len(body) {
		return 0, nil, nil
	}
	return in[0], body[:size], body[size:]
}

// ldapResult names the results that servers give to StartTLS.
func ldapResult(code int) string {
	name := map[int]string{1: "operationsError", 2: "protocolError", 10: "referral", 51: "busy", 52: "unavailable", 53: "unwillingToPerform", 80: "other"}[code]
	if name == "" {
		return fmt.Sprint(code)
	}
	return fmt.Sprintf("%d (%s)", code, name)
}
