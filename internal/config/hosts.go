package config

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/hint"
)

// Host is another host that certificates are deployed to, over ssh.
type Host struct {
	Name           string   `yaml:"name" required:"true" doc:"The name by which deploy.on and jump mean it."`
	Address        string   `yaml:"address" required:"true" doc:"host or host:port, an IPv6 address with a port in brackets. Without a port: 22."`
	User           string   `yaml:"user" doc:"The user to log in as."`
	KeyFiles       []string `yaml:"key_files,omitempty" form:"path" doc:"Private ssh keys, tried in order. Others may not read them. Absent, and without an agent: id_ed25519, id_ecdsa and id_rsa in the folder .ssh of certmedic's user, those that are there."`
	PassphraseFile string   `yaml:"passphrase_file,omitempty" form:"path" doc:"A file whose first line opens the keys that are encrypted. Others may not read it."`
	Agent          string   `yaml:"agent,omitempty" form:"path" doc:"The socket of an ssh-agent, which is asked after the key files."`
	KnownHosts     []string `yaml:"known_hosts,omitempty" form:"path" doc:"Files in the form of OpenSSH's known_hosts, by which the host proves who it is; nobody is believed unseen. Others may not write them. Absent: /etc/ssh/ssh_known_hosts and .ssh/known_hosts of certmedic's user, those that are there."`
	Jump           []string `yaml:"jump,omitempty" doc:"The names of hosts by way of which it is reached, the first one first."`
	Sudo           bool     `yaml:"sudo,omitempty" doc:"Whether commands and the sftp server run under \"sudo -n --\". sudoers then has to allow the user, without a password, the sftp server and \"timeout -k 5s 300s COMMAND\" for each command of the destinations, where 300s is remediation.command_timeout in seconds."`
	SFTPServer     string   `yaml:"sftp_server,omitempty" form:"path" doc:"With sudo: the path of the sftp server on the host. Absent: it is looked for where distributions have it."`
	Serves         []string `yaml:"serves,omitempty" doc:"The IP addresses at which it serves, by which what clients get there is told from what they get from others. Absent: the address, or what its name resolves to."`
}

func (h *Host) setDefaults() { h.User = "root" }

// Rollout says how a version gets to the hosts of a destination.
type Rollout struct {
	Canary   int     `yaml:"canary" doc:"How many hosts get a version before anybody else does, in the order of on; this host, where it is one of them, is the first. It has to be seen served there."`
	Wave     Percent `yaml:"wave" doc:"How many of all hosts get it next, together, and again after those; at least one."`
	Parallel int     `yaml:"parallel" doc:"How many hosts are at work at the same time, at most."`
	Tolerate Percent `yaml:"tolerate" doc:"How many of all hosts may refuse it before no further one begins. What the first hosts refuse nobody else gets. Hosts that cannot be reached are no refusal: they get it when they are back."`
}

func (r *Rollout) setDefaults() { r.Canary, r.Wave, r.Parallel, r.Tolerate = 1, "25%", 5, "0%" }

// build returns the roll-out with the usual values as zeros. What is wrong was reported before.
func (r *Rollout) build() certmedic.Rollout {
	if r == nil {
		return certmedic.Rollout{}
	}
	wave, _ := r.Wave.number()
	tolerated, _ := r.Tolerate.number()
	return certmedic.Rollout{Canaries: r.Canary, Wave: wave, Parallel: r.Parallel, Tolerated: tolerated}
}

// Percent is a whole number of percent as a person writes it: "25%".
type Percent string

// number returns it as a number from 0 to 100.
func (p Percent) number() (int, error) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(string(p)), "%")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n > 100 {
		return 0, fmt.Errorf("%q is no whole number of percent from 0%% to 100%%", string(p))
	}
	return n, nil
}

// Host returns what is known of a host that deploy.on or jump means: one that is listed under
// hosts, or one that is written out as [user@]host[:port]. It is not there where ok is false.
func (c *Config) Host(on string) (h Host, ok bool) {
	if i := slices.IndexFunc(c.Hosts, func(h Host) bool { return h.Name == on }); i >= 0 {
		return c.Hosts[i], true
	}
	return writtenOut(on)
}

// writtenOut reads [user@]host[:port]. A word alone is none: it would be the name of a host that is
// missing under hosts.
func writtenOut(on string) (h Host, ok bool) {
	h.setDefaults()
	h.Name, h.Address = on, on
	if user, address, named := strings.Cut(on, "@"); named {
		h.User, h.Address = user, address
	}
	plain := !strings.ContainsAny(on, "@:.")
	return h, !plain && isLogin(h.User) && isHostAddress(h.Address)
}

// Split returns the address of a host without its port, and the port; 0 where it has none.
func (h Host) Split() (address string, port int) {
	host, digits, err := net.SplitHostPort(h.Address)
	if err != nil {
		return strings.Trim(h.Address, "[]"), 0
	}
	port, _ = strconv.Atoi(digits)
	return host, port
}

// usualPort is sshd's where an address names none.
const usualPort = 22

// at says where a host is: two with the same answer are one.
func (h Host) at() string {
	address, port := h.Split()
	return strings.Join(append(slices.Clone(h.Jump), strings.ToLower(address), strconv.Itoa(cmp.Or(port, usualPort))), "\x00")
}

// isIt returns the name by which a host was meant first, of all by which it can be meant.
func (v *validator) isIt(on string) string {
	at, listed := v.spots[on]
	if h, ok := writtenOut(on); !listed && ok {
		at = h.at()
	}
	if at == "" {
		return on
	}
	if v.first[at] == "" {
		v.first[at] = on
	}
	return v.first[at]
}

func isHostAddress(s string) bool {
	if host, digits, err := net.SplitHostPort(s); err == nil {
		port, err := strconv.Atoi(digits)
		return err == nil && port > 0 && port < 65536 && (isAddress(host) || isHostName(host))
	}
	return isAddress(strings.Trim(s, "[]")) || isHostName(s)
}

// isLogin reports whether a word can be a user's name on a host.
func isLogin(s string) bool {
	return isName(s) && !strings.HasPrefix(s, "-")
}

// nodes returns the hosts of all destinations, in the order in which they are named; none where
// that is this host alone.
func (c *Config) nodes(all []certmedic.Destination) []certmedic.Node {
	var nodes []certmedic.Node
	elsewhere := false
	for _, d := range all {
		hosts := d.Hosts
		if len(hosts) == 0 && !d.Push.Some() {
			hosts = []string{certmedic.LocalHost}
		}
		for _, name := range hosts {
			elsewhere = elsewhere || name != certmedic.LocalHost
			if !slices.ContainsFunc(nodes, func(n certmedic.Node) bool { return n.Name == name }) {
				nodes = append(nodes, certmedic.Node{Name: name, Addresses: c.serves(name)})
			}
		}
	}
	if !elsewhere {
		return nil
	}
	return nodes
}

// serves returns the addresses at which a host serves, or its name.
func (c *Config) serves(name string) []string {
	h, ok := c.Host(name)
	if !ok {
		return nil
	}
	if len(h.Serves) > 0 {
		return h.Serves
	}
	address, _ := h.Split()
	return []string{address}
}

// sshHosts checks what is listed under hosts.
func (v *validator) sshHosts(c *Config) {
	names := map[string]string{}
	v.spots, v.first = map[string]string{}, map[string]string{}
	for i, h := range c.Hosts {
		v.spots[h.Name] = h.at()
		key := fmt.Sprintf("hosts[%d]", i)
		v.name(key+".name", h.Name, names)
		if h.Name == certmedic.LocalHost {
			v.errorf(key+".name", "%q is this host itself, which needs no ssh", h.Name)
		}
		v.sshHost(key, h)
		v.jumps(key+".jump", c, h)
	}
	v.known = slices.Sorted(maps.Keys(names))
}

func (v *validator) sshHost(key string, h Host) {
	if !isHostAddress(h.Address) {
		v.errorf(key+".address", "%q is not host or host:port, with an IPv6 address in brackets", h.Address)
	}
	if !isLogin(h.User) {
		v.errorf(key+".user", "%q is no name of a user", h.User)
	}
	v.paths(key+".key_files", h.KeyFiles)
	v.paths(key+".known_hosts", h.KnownHosts)
	v.path(key+".passphrase_file", h.PassphraseFile)
	v.path(key+".agent", h.Agent)
	v.path(key+".sftp_server", h.SFTPServer)
	if h.SFTPServer != "" && !h.Sudo {
		v.errorf(key+".sftp_server", "is for sudo; without it sshd starts its own")
	}
	for i, address := range h.Serves {
		if !isAddress(address) {
			v.errorf(fmt.Sprintf("%s.serves[%d]", key, i), "%q is no IP address", address)
		}
	}
}

func (v *validator) paths(key string, all []string) {
	for i, path := range all {
		v.absolute(fmt.Sprintf("%s[%d]", key, i), path)
	}
}

// maxJumps bounds how many hosts lie before another one.
const maxJumps = 8

// jumps checks that a host can be reached by way of others that are listed, without a circle.
func (v *validator) jumps(key string, c *Config, h Host) {
	for i, name := range h.Jump {
		if !slices.ContainsFunc(c.Hosts, func(o Host) bool { return o.Name == name }) {
			v.errorf(fmt.Sprintf("%s[%d]", key, i), "there is no host %q under hosts", name)
			return
		}
	}
	if _, err := c.Way(h); err != nil {
		v.errorf(key, "%s", err)
	}
}

// Way returns the hosts by way of which a host is reached, those before these included, the first one
// first. The error says that it would never come to an end, or is too long.
func (c *Config) Way(h Host) ([]Host, error) { return c.way(h, []string{h.Name}) }

func (c *Config) way(h Host, passed []string) ([]Host, error) {
	var all []Host
	for _, name := range h.Jump {
		if slices.Contains(passed, name) {
			return nil, fmt.Errorf("the way to %q leads by way of itself: %s", passed[0], strings.Join(append(passed, name), ", "))
		}
		jump, ok := c.Host(name)
		if !ok {
			return nil, fmt.Errorf("there is no host %q under hosts", name)
		}
		before, err := c.way(jump, append(slices.Clone(passed), name))
		if err != nil {
			return nil, err
		}
		if all = append(append(all, before...), jump); len(all) > maxJumps {
			return nil, fmt.Errorf("the way to %q has more than %d hosts", passed[0], maxJumps)
		}
	}
	return all, nil
}

// on checks where a destination is.
func (v *validator) on(key string, hosts []string) {
	if len(hosts) == 0 {
		v.errorf(key, "needs at least one host")
	}
	seen := map[string]bool{}
	for i, host := range hosts {
		at := fmt.Sprintf("%s[%d]", key, i)
		_, out := writtenOut(host)
		switch {
		case seen[host]:
			v.errorf(at, "%q is there twice", host)
		case host == certmedic.LocalHost, slices.Contains(v.known, host), out:
		case strings.ContainsAny(host, "@:"):
			v.errorf(at, "%q is not [user@]host[:port], with an IPv6 address in brackets", host)
		default:
			v.errorf(at, "there is no host %q under hosts%s; one that is not listed is written as user@host", host, hint.For(host, append(slices.Clone(v.known), certmedic.LocalHost)))
		}
		seen[host] = true
	}
}

// elsewhere checks what a destination on other hosts cannot have, and how they get a version.
func (v *validator) elsewhere(key string, d Destination) {
	remote := slices.ContainsFunc(d.On, func(host string) bool { return host != certmedic.LocalHost })
	switch {
	case !remote && d.Rollout != nil:
		v.errorf(key+".rollout", "is for destinations on other hosts")
	case remote && d.HAProxy != nil:
		v.errorf(key+".haproxy", "HAProxy's runtime socket is for this host only; on others it is a reload")
	case remote && d.Signal != nil:
		v.errorf(key+".signal", "signals are for this host only; on others they are the command reload, such as pkill -HUP -F FILE")
	}
	if r := d.Rollout; r != nil {
		v.between(key+".rollout.canary", r.Canary, 1, 1000)
		v.between(key+".rollout.parallel", r.Parallel, 1, 1000)
		if n, err := r.Wave.number(); err != nil || n == 0 {
			v.errorf(key+".rollout.wave", "%q is no whole number of percent from 1%% to 100%%", string(r.Wave))
		}
		if _, err := r.Tolerate.number(); err != nil {
			v.errorf(key+".rollout.tolerate", "%s", err)
		}
	}
	if !remote {
		return
	}
	for i, f := range d.Files {
		if filepath.Clean(f.To) != f.To || f.To == "/" {
			v.errorf(fmt.Sprintf("%s.files[%d].to", key, i), "%q is no clean path of a file, as other hosts need it", f.To)
		}
	}
}

// maxHosts bounds the hosts of a certificate, over all of its destinations: what is known of them has to
// fit into one record that members share.
const maxHosts = 400

// many reports a certificate with more hosts than can be kept account of.
func (v *validator) many(key string, all []Destination) {
	n, names := 0, map[string]string{}
	for _, d := range all {
		n += len(d.On)
		for _, name := range d.On {
			is := v.isIt(name)
			if other, ok := names[is]; ok && other != name {
				v.errorf(key, "%q and %q are one host: write it the same way everywhere", other, name)
			}
			names[is] = name
		}
	}
	if n > maxHosts {
		v.errorf(key, "names %d hosts, more than %d for one certificate", n, maxHosts)
	}
}

// targetsOf returns a path of a destination on each of its hosts.
func (v *validator) targetsOf(d Destination, path string) []string {
	var all []string
	for _, host := range d.On {
		switch {
		case path == "":
		case host == certmedic.LocalHost:
			all = append(all, path)
		default:
			all = append(all, v.isIt(host)+":"+path)
		}
	}
	return all
}

// isLocal reports whether a destination is on this host, beside others or not.
func (d Destination) isLocal() bool { return slices.Contains(d.On, certmedic.LocalHost) }

// hosts reports ssh keys that others may read, and known_hosts that they may change.
func (f *fileChecker) hosts(all []Host) {
	for i, h := range all {
		key := fmt.Sprintf("hosts[%d]", i)
		for j, file := range h.KeyFiles {
			f.secret(fmt.Sprintf("%s.key_files[%d]", key, j), file)
		}
		for j, file := range h.KnownHosts {
			f.unchanged(fmt.Sprintf("%s.known_hosts[%d]", key, j), file)
		}
		f.secret(key+".passphrase_file", h.PassphraseFile)
	}
}
