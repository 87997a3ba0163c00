package check

import (
	"os"
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
// a dot, or exists, be it a link that leads nowhere; everything else is read by [probe.ParseTarget].
func ParseTarget(text string) (Target, error) {
	if isPath(text) {
		return Target{Text: text, Path: true}, nil
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
	_, err := os.Lstat(text)
	return err == nil
}
