package service

import (
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// isLocalName reports whether /etc/hosts has a name; one that cannot be told counts as had.
func isLocalName(name string) bool {
	if name == "" || name == "localhost" {
		return true
	}
	text, err := conf.OnDisk().Read("/etc/hosts")
	if err != nil {
		return true
	}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if words := strings.Fields(line); len(words) > 1 && slices.Contains(words[1:], name) {
			return true
		}
	}
	return false
}
