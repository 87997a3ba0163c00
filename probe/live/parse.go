package live

import (
	"fmt"
	"net/url"
	"slices"
)

// ParseProxy reads the URL of a proxy for [Settings]: SCHEME://[user:password@]host:port,
// the scheme http or https (CONNECT, RFC 9110 section 9.3.6), socks5 or socks5h (RFC 1928).
// The error does not show a password.
func ParseProxy(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("it is no proxy: it is SCHEME://host:port")
	}
	if schemes := []string{"http", "https", "socks5", "socks5h"}; !slices.Contains(schemes, u.Scheme) {
		return nil, fmt.Errorf("%q is no proxy's scheme: it is http, https, socks5 or socks5h", u.Scheme)
	}
	return u, nil
}
