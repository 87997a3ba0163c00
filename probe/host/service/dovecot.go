package service

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/dovecot"
)

func (b *builder) dovecot() {
	b.take(dovecot.Read(b.Conf))
	where := func(d conf.Directive) string {
		return told(d.In.Within("local_name", "local", "remote", "protocol", "inet_listener", "ssl_server", "ssl_client"))
	}
	b.settings(where, "ssl")
	base := b.last("base_dir", "")
	if base == "" {
		base = "/run/dovecot"
	}
	b.PIDFile = filepath.Join(base, "master.pid")
	c := dovecotCheck{builder: b, words: wordsOf(dovecotWords, 0)}
	c.check()
}

// dovecotCheck finds what `doveconf` would refuse, and what a login process would.
type dovecotCheck struct {
	*builder
	words  vocabulary
	modern bool // 2.4, whose settings are others
}

func (c *dovecotCheck) check() {
	for _, d := range c.directives {
		c.modern = c.modern || d.Name == "dovecot_config_version" || strings.HasPrefix(d.Name, "ssl_server")
	}
	for _, d := range c.directives {
		if !c.modern {
			c.known(d)
			c.value(d)
		}
		c.file(d)
	}
	if c.last("ssl", "") == "no" {
		return
	}
	for _, s := range c.Servers {
		d := conf.Directive{File: s.File, Line: s.Line}
		for _, pair := range s.Certificates {
			if !missing(pair.Cert) && !missing(pair.Key) {
				c.pair(d, pair, c.late)
			}
		}
	}
}

// known checks that there is a setting or a section of a name. Sections of plugins and of
// names that a person chose take any.
func (c *dovecotCheck) known(d conf.Directive) {
	if d.In.Within("plugin", "dict", "metric", "event_exporter", "labels") != nil || strings.Contains(d.Name, "/") || c.words[d.Name] != nil {
		return
	}
	if near := c.words.resembles(d.Name); near != "" {
		c.sure(d, "unknown setting %q%s", d.Name, near)
		return
	}
	c.maybe(d, "unknown setting %q", d.Name)
}

// value checks the values that are wrong by themselves.
func (c *dovecotCheck) value(d conf.Directive) {
	allowed := []string{"no", "yes", "required"}
	if d.Name != "ssl" || d.Opens != nil {
		return
	}
	if d.In.Within("inet_listener") != nil {
		allowed = allowed[:2]
	}
	if value := d.Args[0]; !slices.Contains(allowed, value) {
		c.sure(d, "ssl must be one of %s, not %q", strings.Join(allowed, ", "), value)
	}
}

// file checks that a file whose contents are a value is there. doveconf does not look; Dovecot
// does when it starts, even where TLS is off.
func (c *dovecotCheck) file(d conf.Directive) {
	if d.Opens != nil || len(d.Args) == 0 || !strings.HasPrefix(d.Name, "ssl") {
		return
	}
	path, contents := strings.CutPrefix(d.Args[0], "<")
	path = strings.TrimSpace(path)
	switch {
	case contents || c.modern && strings.HasSuffix(d.Name, "_file"):
		if path != "" && !strings.HasPrefix(path, "inline:") && missing(path) {
			c.late(d, "%s: the file %s does not exist, so dovecot will not start", d.Name, path)
		}
	case (d.Name == "ssl_cert" || d.Name == "ssl_key") && strings.HasPrefix(path, "/"):
		c.late(d, "%s: there is no < before %s, so the path itself is taken for the contents", d.Name, path)
	}
}
