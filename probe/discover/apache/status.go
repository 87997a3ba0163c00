package apache

import (
	"errors"
	"fmt"
	"strings"
)

// status is what `apachectl -S` tells. Its zero value tells nothing.
type status struct {
	root    string
	defines map[string]string
	hosts   map[string]bool // by file:line; nil where nothing is told
}

// has reports whether the server has a host. What is not told is not denied, and the
// hosts of macros are told in other words.
func (s status) has(h *host) bool {
	return s.hosts == nil || h.macro || s.hosts[fmt.Sprintf("%s:%d", h.file, h.line)]
}

// parseStatus reads lines of the forms
//
//	*:443                  shop.example.com (/etc/apache2/sites-enabled/shop.conf:2)
//	         default server shop.example.com (/etc/apache2/sites-enabled/shop.conf:2)
//	         port 443 namevhost shop.example.com (/etc/apache2/sites-enabled/shop.conf:2)
//	ServerRoot: "/etc/apache2"
//	Define: DUMP_VHOSTS
func parseStatus(output string) (status, error) {
	if !strings.Contains(output, "VirtualHost configuration:") {
		return status{}, errors.New("reading apache's virtual hosts: the output of apachectl -S holds none")
	}
	s := status{defines: map[string]string{}, hosts: map[string]bool{}}
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if root, ok := strings.CutPrefix(line, "ServerRoot: "); ok {
			s.root = strings.Trim(root, `"`)
		}
		if define, ok := strings.CutPrefix(line, "Define: "); ok {
			name, value, _ := strings.Cut(define, "=")
			s.defines[name] = value
		}
		open := strings.LastIndex(line, " (")
		if open < 0 || !strings.HasSuffix(line, ")") {
			continue
		}
		s.hosts[line[open+2:len(line)-1]] = true
	}
	return s, nil
}
