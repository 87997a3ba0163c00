package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// validator says what is wrong with values that could be read.
type validator struct {
	*report
	broken  map[string]bool
	modules map[string]Module // those that endpoints may name
	known   []string          // the names of hosts, sorted
	spots   map[string]string // where hosts are, by name
	first   map[string]string // the first name of a host, by where it is
}

// errorf adds a problem, unless the value, or something around it, could not be read in
// the first place.
func (v *validator) errorf(key, format string, args ...any) {
	if !v.unread(key) {
		v.report.errorf(key, format, args...)
	}
}

func (v *validator) unread(key string) bool {
	for key != "" {
		if v.broken[key] {
			return true
		}
		key = key[:max(strings.LastIndexByte(key, '.'), strings.LastIndexByte(key, '['), 0)]
	}
	return v.broken[""]
}

func (v *validator) config(c *Config) {
	v.absolute("state_dir", c.StateDir)
	v.remediation(c.Remediation)
	v.probe(c)
	v.modules = c.Modules
	for name, m := range c.Modules {
		v.module("modules."+name, m)
	}
	v.discover(c.Discover)
	v.sshHosts(c)
	v.certificates(c.Certificates)
	v.watch(c.Watch)
	v.rules(c.Rules)
	v.alerting(c.Alerting)
	v.audit(c.Audit)
	v.cluster(c.Cluster)
	v.published(c)
	if len(c.Discover)+len(c.Certificates)+len(c.Watch) == 0 && !v.broken[""] {
		v.warnf("", "nothing is watched: there is no entry under certificates, watch or discover")
	}
}

func (v *validator) remediation(r Remediation) {
	v.between("remediation.max_actions_per_hour", r.MaxActionsPerHour, 0, 3600)
	v.between("remediation.max_concurrent", r.MaxConcurrent, 1, 1024)
	if _, err := r.MaxShare.Fraction(); err != nil {
		v.errorf("remediation.max_share", "%s", err)
	}
	v.positive("remediation.approval_expires", r.ApprovalExpires)
	v.absolute("remediation.freeze_file", r.FreezeFile)
	v.windows("remediation.windows", r.Windows)
}

func (v *validator) probe(c *Config) {
	p := c.Probe
	if p.Interval < time.Second {
		v.errorf("probe.interval", "must be at least 1s, not %s", p.Interval)
	}
	v.positive("probe.timeout", p.Timeout)
	v.notNegative("probe.deploy_grace", p.DeployGrace)
	v.between("probe.concurrency", p.Concurrency, 1, 65536)
	if len(p.Roots) == 0 {
		v.errorf("probe.roots", "needs at least one of system, or a path")
	}
	for i, root := range p.Roots {
		v.root(rootKey(c, i), root)
	}
	for i, target := range p.AllowTargets {
		v.target(fmt.Sprintf("probe.allow_targets[%d]", i), target)
	}
	for i, server := range p.Resolvers {
		_, plain := netip.ParseAddr(server)
		_, withPort := netip.ParseAddrPort(server)
		if plain != nil && withPort != nil {
			v.errorf(fmt.Sprintf("probe.resolvers[%d]", i), "%q is neither an IP address nor IP:port", server)
		}
	}
}

// rootKey returns the key of one of the roots, which may stand alone without a list.
func rootKey(c *Config, i int) string {
	key := fmt.Sprintf("probe.roots[%d]", i)
	if _, listed := c.positions.byKey[key]; !listed {
		return "probe.roots"
	}
	return key
}

func (v *validator) root(key, root string) {
	switch {
	case root == "system", root == "mozilla":
	case !filepath.IsAbs(root):
		v.errorf(key, "%q is none of system, mozilla and an absolute path", root)
	}
}

func (v *validator) target(key, target string) {
	if _, err := netip.ParseAddr(target); err == nil {
		return
	}
	if _, err := netip.ParsePrefix(target); err == nil {
		return
	}
	if !isHostName(strings.TrimPrefix(target, "*.")) {
		v.errorf(key, "%q is no host name, address or network such as 10.0.0.0/8", target)
	}
}

func (v *validator) rules(r Rules) {
	for name, a := range r.Adjust {
		key := "rules.adjust." + name
		if a.For != nil {
			v.notNegative(key+".for", *a.For)
		}
		if a.KeepFiringFor != nil {
			v.notNegative(key+".keep_firing_for", *a.KeepFiringFor)
		}
		for i, step := range a.Ladder {
			v.notNegative(fmt.Sprintf("%s.ladder[%d].after", key, i), step.After)
		}
	}
	for i, pattern := range r.Files {
		v.pattern(fmt.Sprintf("rules.files[%d]", i), pattern)
	}
}

func (v *validator) labels(key string, labels map[string]string) {
	for name := range labels {
		switch {
		case slices.Contains([]string{"certificate", "endpoint", "address"}, name):
			v.errorf(key+"."+name, "the label %q is certmedic's own", name)
		case !isLabel(name):
			v.errorf(key+"."+name, "%q is no label name: letters, digits and _, not beginning with a digit or __", name)
		}
	}
}

// isLabel reports whether Prometheus takes s as the name of a label that is not its own.
func isLabel(s string) bool {
	if s == "" || strings.HasPrefix(s, "__") || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !isAlphanumeric(r) && r != '_' }) < 0
}

// name checks the name of a certificate, receiver or destination. Where it was seen
// before, seen holds the key of the first.
func (v *validator) name(key, name string, seen map[string]string) {
	if !isName(name) {
		v.errorf(key, "%q is no name: it is made of letters, digits and . _ * -", name)
		return
	}
	if first, twice := seen[name]; twice {
		v.errorf(key, "the name %q is taken by %s in line %d", name, first, v.positions.of(first).Line)
		return
	}
	seen[name] = key
}

// isName leaves out what means another folder: names become those of folders and pages.
func isName(s string) bool {
	return s != "" && s != "." && s != ".." && strings.IndexFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune("._*-", r)
	}) < 0
}

func isHostName(s string) bool {
	if s == "" || len(s) > 253 || strings.HasPrefix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune("._-", r)
	}) < 0
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// path checks an optional path.
func (v *validator) path(key, path string) {
	if path != "" {
		v.absolute(key, path)
	}
}

func (v *validator) absolute(key, path string) {
	switch {
	case path == "":
		v.errorf(key, "needs a path")
	case !filepath.IsAbs(path):
		v.errorf(key, "%q is not an absolute path", path)
	case strings.ContainsRune(path, 0):
		v.errorf(key, "%q holds a NUL byte", path)
	}
}

// pattern checks an absolute path that may have wildcards.
func (v *validator) pattern(key, pattern string) {
	v.absolute(key, pattern)
	if _, err := filepath.Match(pattern, ""); err != nil {
		v.errorf(key, "%q is no pattern: %s", pattern, err)
	}
}

func (v *validator) between(key string, n, least, most int) {
	if n < least || n > most {
		v.errorf(key, "must be between %d and %d, not %d", least, most, n)
	}
}

func (v *validator) positive(key string, d time.Duration) {
	if d <= 0 {
		v.errorf(key, "must be longer than 0s, not %s", d)
	}
}

func (v *validator) notNegative(key string, d time.Duration) {
	if d < 0 {
		v.errorf(key, "must not be negative, as %s is", d)
	}
}

// lastKey returns what stands behind "modules." of a key.
func lastKey(key string) string {
	_, name, _ := strings.Cut(key, ".")
	return name
}
