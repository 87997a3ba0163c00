package config

import (
	"fmt"
	"net/url"
	"time"
)

func (v *validator) discover(all []Discover) {
	for i, d := range all {
		key := fmt.Sprintf("discover[%d]", i)
		if d.Certbot != nil {
			v.absolute(key+".certbot.config_dir", d.Certbot.ConfigDir)
		}
		if d.Tree != nil {
			v.absolute(key+".tree.dir", d.Tree.Dir)
		}
		for name, server := range map[string]*DiscoverServer{"nginx": d.Nginx, "apache": d.Apache, "haproxy": d.HAProxy, "postfix": d.Postfix, "dovecot": d.Dovecot} {
			if server != nil {
				v.path(key+"."+name+".config", server.Config)
				v.argv(key+"."+name+".command", server.Command)
			}
		}
		for name, server := range map[string]*DiscoverServer{"haproxy": d.HAProxy, "postfix": d.Postfix, "dovecot": d.Dovecot} {
			if server != nil && server.Command != nil {
				v.errorf(key+"."+name+".command", "of %s the files are parsed, and no command's output", name)
			}
		}
		if d.FileSD != nil {
			for j, pattern := range d.FileSD.Files {
				v.pattern(fmt.Sprintf("%s.file_sd.files[%d]", key, j), pattern)
			}
		}
		v.discoverNet(key, d)
	}
}

// discoverNet checks what asks others.
func (v *validator) discoverNet(key string, d Discover) {
	if d.HTTPSD != nil {
		u, err := url.Parse(string(d.HTTPSD.URL))
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			v.errorf(key+".http_sd.url", "%q is no URL of http or https", d.HTTPSD.URL)
		}
		v.refresh(key+".http_sd.refresh_interval", d.HTTPSD.RefreshInterval)
	}
	if d.DNS == nil {
		return
	}
	v.refresh(key+".dns.refresh_interval", d.DNS.RefreshInterval)
	for j, name := range d.DNS.Names {
		if !isHostName(name) {
			v.errorf(fmt.Sprintf("%s.dns.names[%d]", key, j), "%q is no DNS name", name)
		}
	}
	least := 0
	if d.DNS.Type == "A" || d.DNS.Type == "AAAA" {
		least = 1
	}
	v.between(key+".dns.port", d.DNS.Port, least, 65535)
}

func (v *validator) refresh(key string, every time.Duration) {
	if every < time.Second {
		v.errorf(key, "must be at least 1s, not %s", every)
	}
}
