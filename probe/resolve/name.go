package resolve

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"
)

// ToASCII returns an international host name as DNS holds it, in its xn-- form, by the
// lookup rules of IDNA (UTS 46, nontransitional). A host that is ASCII already, which
// includes IP addresses, is returned as it is. A name that would become an IP address is
// refused, as nobody means to write one so.
func ToASCII(host string) (string, error) {
	if isASCII(host) {
		return host, nil
	}
	if !utf8.ValidString(host) {
		return "", fmt.Errorf("host %q is not UTF-8", host)
	}
	name, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return "", fmt.Errorf("host %q is no international name: %q", host, err.Error())
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", fmt.Errorf("host %q is no international name, but the IP address %s in other characters", host, name)
	}
	return name, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 127 })
}

// toName returns the host as it is asked for, and an error where it cannot be a name.
func toName(host string) (string, *Error) {
	name, err := ToASCII(host)
	if err != nil {
		return "", &Error{Host: host, Reason: ReasonNXDomain, Detail: err.Error()}
	}
	if _, ok := dns.IsDomainName(name); !ok || canonical(name) == "" {
		return "", &Error{Host: host, Reason: ReasonNXDomain, Detail: "it is not a domain name"}
	}
	return name, nil
}
