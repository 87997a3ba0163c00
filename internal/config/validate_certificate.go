package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

func (v *validator) certificates(all []Certificate) {
	names, targets := map[string]string{}, map[string]string{}
	for i, c := range all {
		key := fmt.Sprintf("certificates[%d]", i)
		v.name(key+".name", c.Name, names)
		if (c.ACME() != nil || c.Source.Shared != nil) && strings.HasPrefix(c.Name, ".") {
			v.errorf(key+".name", "%q is to be the name of a folder: it must not begin with a dot", c.Name)
		}
		v.labels(key+".labels", c.Labels)
		v.source(key+".source", c.Source)
		v.endpoints(key+".endpoints", c.Endpoints)
		v.deploy(key+".deploy", c, targets)
		v.renew(key+".renew", c)
		v.rehearse(key+".rehearse", c)
		v.rollback(key+".rollback", c)
		v.allow(key+".remediation.allow", c)
	}
	for i, c := range all {
		for j, d := range c.Deploy {
			v.swap(fmt.Sprintf("certificates[%d].deploy[%d]", i, j), d, targets)
		}
	}
}

func (v *validator) allow(key string, c Certificate) {
	for i, kind := range c.Remediation.Allow {
		switch kind {
		case certmedic.ActionRenew:
			if c.Source.Certbot == nil && c.Renew == nil && c.Source.ACME == nil {
				v.warnf(fmt.Sprintf("%s[%d]", key, i), "there is no way to renew it: the source is no lineage of certbot, and there is no renew")
			}
		case certmedic.ActionRollback:
			v.rollbackAllowed(key, i, c)
		}
	}
}

func (v *validator) source(key string, s Source) {
	if s.Certbot != nil {
		v.absolute(key+".certbot.config_dir", s.Certbot.ConfigDir)
		lineage := s.Certbot.Lineage
		if lineage == "" || lineage == "." || lineage == ".." || strings.ContainsAny(lineage, "/\x00") {
			v.errorf(key+".certbot.lineage", "%q is no lineage: it is NAME of renewal/NAME.conf", lineage)
		}
	}
	if s.ACME != nil {
		v.acme(key+".acme", s.ACME, true)
	}
	if s.Shared != nil {
		v.shared(key+".shared", s.Shared)
	}
	if s.Files != nil {
		v.absolute(key+".files.cert", s.Files.Cert)
		v.path(key+".files.key", s.Files.Key)
		v.path(key+".files.chain", s.Files.Chain)
		v.path(key+".files.passphrase_file", s.Files.PassphraseFile)
	}
}

// renew checks how a certificate is renewed.
func (v *validator) renew(key string, c Certificate) {
	if c.Renew == nil {
		return
	}
	v.renewedBy(key, c)
	v.argv(key+".command", c.Renew.Command)
	if c.Renew.Certbot == nil {
		return
	}
	if c.Source.Certbot == nil {
		v.errorf(key+".certbot", "the source is no lineage of certbot; use command")
	}
	for i, arg := range c.Renew.Certbot.Args {
		name, _, _ := strings.Cut(arg, "=")
		switch at := fmt.Sprintf("%s.certbot.args[%d]", key, i); {
		case arg == "" || strings.ContainsRune(arg, 0):
			v.errorf(at, "%q is no argument", arg)
		case givenToCertbot(name):
			v.errorf(at, "%q is for certmedic to give", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Renew.Certbot.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(c.Renew.Certbot.Env[name], 0) {
			v.errorf(key+".certbot.env", "%q is no variable", name)
		}
	}
}

// renewedBy checks that the way fits the source.
func (v *validator) renewedBy(key string, c Certificate) {
	a, files := c.Renew.ACME, c.Source.Files
	switch {
	case c.Source.ACME != nil:
		v.errorf(key, "source.acme says how it is renewed")
	case c.Source.Shared != nil:
		v.errorf(key, "what is shared is renewed where it is published")
	case a != nil && files != nil && (files.Key == "" || files.PassphraseFile != ""):
		v.errorf(key+".acme", "what is issued is stored as a certificate and a key in PEM: source.files needs a key, and no passphrase_file")
	}
	if a != nil {
		v.acme(key+".acme", a, false)
		if a.Directory == letsEncryptStaging {
			v.errorf(key+".acme.directory", "nobody trusts what the staging directory issues, and it would be stored in place of what is there")
		}
	}
}

// givenToCertbot reports whether an argument is one of these, also where it is cut short, as
// certbot takes them.
func givenToCertbot(name string) bool {
	short := len(name) > 1 && name[1] != '-' && (strings.HasPrefix(name, "-d") || strings.HasPrefix(name, "-c"))
	return short || slices.ContainsFunc(setForCertbot(), func(set string) bool {
		return name == set || len(name) > 3 && strings.HasPrefix(name, "--") && strings.HasPrefix(set, name)
	})
}

// setForCertbot lists the arguments that say what is renewed, and whether for real.
func setForCertbot() []string {
	return []string{
		"--cert-name", "--config-dir", "-d", "--domain", "--domains", "--force-renewal", "--renew-by-default",
		"--dry-run", "--test-cert", "--staging", "-c", "--config", "--server",
	}
}

func (v *validator) endpoints(key string, all []Endpoint) {
	seen := map[string]string{}
	for i, e := range all {
		at := fmt.Sprintf("%s[%d]", key, i)
		v.endpoint(at, e.Address, protocolOf(e.Protocol, v.modules[e.Module]), e.ServerName)
		v.way(at, e.Module, e.Addresses, e.Pins)
		v.labels(at+".labels", e.Labels)
		protocol := protocolOf(e.Protocol, v.modules[e.Module])
		same := withPort(e.Address, protocol) + " " + protocol + " " + e.ServerName
		v.once(at, same, seen)
	}
}

// way checks how an endpoint is probed.
func (v *validator) way(key, module string, addresses, pins []string) {
	if _, known := v.modules[module]; module != "" && !known {
		v.errorf(key+".module", "there is no module %q", module)
	}
	for i, address := range addresses {
		if !isAddress(address) {
			v.errorf(fmt.Sprintf("%s.addresses[%d]", key, i), "%q is no IP address", address)
		}
	}
	for i, pin := range pins {
		v.pin(fmt.Sprintf("%s.pins[%d]", key, i), pin)
	}
}

// once reports what stands in a list for the second time.
func (v *validator) once(key, what string, seen map[string]string) {
	if first, twice := seen[what]; twice {
		v.errorf(key, "is the same endpoint as %s in line %d", first, v.positions.of(first).Line)
		return
	}
	seen[what] = key
}

func (v *validator) watch(all []Watch) {
	seen := map[string]string{}
	for i, w := range all {
		key := fmt.Sprintf("watch[%d]", i)
		v.labels(key+".labels", w.Labels)
		switch {
		case w.File != "":
			v.pattern(key+".file", w.File)
			v.path(key+".passphrase_file", w.Passphrase)
			if w.Protocol != "" || w.ServerName != "" || w.Module != "" || w.Family != "" || w.WithoutSNI || len(w.Addresses)+len(w.Pins) > 0 {
				v.errorf(key, "protocol, server_name, module, family, addresses, without_sni and pins are for addresses, not for files")
			}
		case w.Address != "":
			v.endpoint(key, w.Address, protocolOf(w.Protocol, v.modules[w.Module]), w.ServerName)
			v.way(key, w.Module, w.Addresses, w.Pins)
			if w.Passphrase != "" {
				v.errorf(key+".passphrase_file", "is for files")
			}
			v.once(key, w.endpointName(v.modules), seen)
		default:
			v.errorf(key, "the address or file is empty")
		}
	}
}

func (v *validator) endpoint(key, address, protocol, serverName string) {
	if serverName != "" && !isHostName(serverName) && !isAddress(serverName) {
		v.errorf(key+".server_name", "%q is no DNS name", serverName)
	}
	host, number, err := net.SplitHostPort(withPort(address, protocol))
	if err != nil {
		v.errorf(key+".address", "%q is not host:port, with an IPv6 address in brackets", address)
		return
	}
	if !isHostName(host) && !isAddress(host) {
		v.errorf(key+".address", "%q is neither a DNS name nor an IP address", host)
	}
	if n, err := strconv.Atoi(number); err != nil || n < 1 || n > 65535 {
		v.errorf(key+".address", "%q is no port between 1 and 65535", number)
	}
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func (v *validator) pin(key, pin string) {
	if err := inspect.CheckPin(pin); err != nil {
		v.errorf(key, "%s", err)
	}
}

// argv checks a command that may be absent, but not empty.
func (v *validator) argv(key string, argv []string) {
	switch {
	case argv == nil:
	case len(argv) == 0:
		v.errorf(key, "is an empty command")
	case argv[0] == "" || strings.ContainsRune(strings.Join(argv, ""), 0):
		v.errorf(key, "%q is no command", argv)
	case strings.Contains(argv[0], "/") && !filepath.IsAbs(argv[0]):
		v.errorf(key+"[0]", "%q is neither an absolute path nor a plain name", argv[0])
	case len(argv) == 1 && strings.Contains(argv[0], " "):
		v.errorf(key+"[0]", "%q is one word; write the program and each argument as an element of its own", argv[0])
	}
}
