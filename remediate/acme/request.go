package acme

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/certmedic/certmedic/remediate/acme/answer"
)

const (
	defaultTimeout = 25 * time.Minute
	defaultKeyType = "ec256"
	maxNames       = 100
)

// Providers returns the names of the DNS providers that [DNS01] takes, sorted.
func Providers() []string { return answer.Providers() }

// normal returns the request as it is carried out: names in the form that CAs want, defaults
// filled in. The error names what cannot be.
func (r Request) normal() (Request, error) {
	directory, err := url.Parse(r.Directory)
	if err != nil || directory.Scheme != "https" || directory.Host == "" {
		return r, invalid("%q is no https URL of a directory", r.Directory)
	}
	if r.Names, err = normalNames(r.Names); err != nil {
		return r, err
	}
	if err := r.Challenge.check(r.Names); err != nil {
		return r, err
	}
	if !filepath.IsAbs(r.Work) {
		return r, invalid("the work folder %q is not an absolute path", r.Work)
	}
	if r.Account.Import == "" && !filepath.IsAbs(r.Account.Dir) {
		return r, invalid("the accounts' folder %q is not an absolute path", r.Account.Dir)
	}
	if r.KeyType == "" && r.ReuseKey == "" {
		r.KeyType = defaultKeyType
	}
	if r.KeyType != "" && !slices.Contains(keyTypes(), r.KeyType) {
		return r, invalid("key type %q is none of %q", r.KeyType, keyTypes())
	}
	r.Timeout = cmp.Or(max(0, r.Timeout), defaultTimeout)
	return r, nil
}

// normalNames returns DNS names in lower case and ASCII (RFC 5890) and addresses in their
// canonical form, each once.
func normalNames(names []string) ([]string, error) {
	var all []string
	for _, name := range names {
		normal, err := normalName(name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, normal) {
			all = append(all, normal)
		}
	}
	if len(all) == 0 || len(all) > maxNames {
		return nil, invalid("there are %d names; a certificate has 1 to %d", len(all), maxNames)
	}
	return all, nil
}

func normalName(name string) (string, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Zone() != "" {
			return "", invalid("the address %q has a zone", name)
		}
		return ip.Unmap().String(), nil
	}
	base, wildcard := strings.CutPrefix(strings.TrimSuffix(strings.ToLower(name), "."), "*.")
	ascii, err := idna.Lookup.ToASCII(base)
	if err != nil {
		return "", invalid("%q is no DNS name: %v", name, err)
	}
	if !isHostName(ascii) {
		return "", invalid("%q is neither a DNS name nor an IP address", name)
	}
	if wildcard {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// isHostName reports whether a lower-case name consists of letters, digits and hyphens in
// labels, and of two labels at least.
func isHostName(name string) bool {
	labels := strings.Split(name, ".")
	if len(name) > 253 || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// check finds out whether the names can be validated in this way.
func (c Challenge) check(names []string) error {
	if ways := count(c.HTTP01 != nil, c.TLSALPN01 != nil, c.DNS01 != nil); ways != 1 {
		return invalid("%d ways to validate the names are given; it takes one", ways)
	}
	if c.HTTP01 != nil && c.HTTP01.Webroot != "" && !filepath.IsAbs(c.HTTP01.Webroot) {
		return invalid("the webroot %q is not an absolute path", c.HTTP01.Webroot)
	}
	if c.DNS01 != nil && !slices.Contains(Providers(), c.DNS01.Provider) {
		return invalid("%q is none of the DNS providers %q", c.DNS01.Provider, Providers())
	}
	for _, name := range names {
		_, errIP := netip.ParseAddr(name)
		switch {
		case c.DNS01 == nil && strings.HasPrefix(name, "*."):
			return invalid("the wildcard %q can be validated by dns-01 only", name)
		case c.DNS01 != nil && errIP == nil:
			return invalid("the address %q cannot be validated by dns-01", name)
		}
	}
	return nil
}

// kind returns the type of challenge, as the CA names it (RFC 8555, section 8, and RFC 8737).
func (c Challenge) kind() string {
	switch {
	case c.HTTP01 != nil:
		return "http-01"
	case c.TLSALPN01 != nil:
		return "tls-alpn-01"
	}
	return "dns-01"
}

func count(conditions ...bool) int {
	n := 0
	for _, holds := range conditions {
		if holds {
			n++
		}
	}
	return n
}

// identity is what makes two requests ask for the same order.
type identity struct {
	Directory  string   `json:"directory"`
	Account    string   `json:"account"`
	Names      []string `json:"names"` // sorted
	KeyType    string   `json:"key_type"`
	MustStaple bool     `json:"must_staple"`
	Profile    string   `json:"profile"`
}

func (r Request) identity() identity {
	return identity{
		Directory: r.Directory, Account: cmp.Or(r.Account.Import, r.Account.Dir+" "+r.Account.Email),
		Names: slices.Sorted(slices.Values(r.Names)), KeyType: r.KeyType, MustStaple: r.MustStaple, Profile: r.Profile,
	}
}

// folder returns the name of the folder that is for orders of this identity.
func (i identity) folder() (string, error) {
	data, err := json.Marshal(i)
	if err != nil {
		return "", fmt.Errorf("naming the order's folder: %w", err)
	}
	return orderPrefix + digest(data), nil
}
