package check

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe"
)

// Target is what a person asked about: a path, or an endpoint.
type Target struct {
	Text     string // as it was given
	Path     bool
	Endpoint certmedic.Endpoint // where it is no path
}

// ParseTarget tells paths from endpoints. A path has a slash and no "://", or begins with
// a dot, or exists; everything else is read by [probe.ParseTarget].
func ParseTarget(text string) (Target, error) {
	if isPath(text) {
		return Target{Text: text, Path: true}, nil
	}
	if scheme, _, ok := strings.Cut(text, "://"); ok && slices.Contains(laterProtocols(), strings.ToLower(scheme)) {
		return Target{}, fmt.Errorf("target %q: this version does not speak %s yet, only protocols that begin with TLS", text, strings.ToLower(scheme))
	}
	endpoint, err := probe.ParseTarget(text)
	if err != nil {
		return Target{}, err
	}
	return Target{Text: text, Endpoint: endpoint}, nil
}

func isPath(text string) bool {
	if strings.Contains(text, "://") {
		return false
	}
	if strings.Contains(text, "/") || strings.HasPrefix(text, ".") {
		return true
	}
	_, err := os.Stat(text)
	return err == nil
}

// laterProtocols begin in plain text, or are not TCP.
func laterProtocols() []string {
	return []string{
		"smtp", "imap", "pop3", "ftp", "ldap", "postgres", "mysql", "xmpp", "sieve", "nntp", "irc", "quic",
	}
}
