package script

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/host/unit"
)

// order is what a command tells a service.
type order struct {
	service string
	verb    string // as in [Reload]
	tests   bool   // the reload itself tests the configuration, and fails where that is wrong
	unit    string // the systemd unit that is reloaded; empty: none
}

// verbOf returns how a word for a service says reload or restart; empty where it says neither.
func verbOf(word string) string {
	switch word {
	case "reload", "reload-or-restart", "reload-or-try-restart", "try-reload-or-restart", "force-reload", "graceful", "hup", "reopen":
		return "reload"
	case "restart", "try-restart", "condrestart", "full-restart":
		return "restart"
	}
	return ""
}

// orders returns what a command tells services.
func orders(c *call) []order {
	argv := c.argv
	switch name := c.name(); name {
	case "systemctl":
		return systemctl(argv[1:])
	case "service", "rc-service", "invoke-rc.d", "rcctl", "initctl", "sv", "monit", "supervisorctl", "launchctl", "pm2":
		return serviceCommand(name, argv[1:])
	case "kill", "pkill", "killall", "snap", "s6-svc":
		return signals(name, c)
	case "docker", "podman", "docker-compose", "podman-compose", "nerdctl", "kubectl":
		return containerOrder(composeless(argv))
	default:
		if strings.HasPrefix(argv[0], "/etc/init.d/") || strings.HasPrefix(argv[0], "/etc/rc.d/") {
			return serviceCommand("service", append([]string{name}, argv[1:]...))
		}
		return ownCommand(name, argv[1:])
	}
}

func systemctl(words []string) []order {
	plain, options := operands(words, "-t -p -H -M -s -o -n --signal --type --property --host --machine --kill-who --kill-whom --job-mode")
	if len(plain) < 2 {
		return nil
	}
	verb := verbOf(plain[0])
	if plain[0] == "kill" && slices.ContainsFunc(options, isReloadSignal) {
		verb = "signal"
	}
	var all []order
	for _, name := range plain[1:] {
		o := order{service: strings.TrimSuffix(name, ".service"), verb: verb}
		if verb == "reload" {
			o.unit = o.service + ".service"
		}
		if verb != "" {
			all = append(all, o)
		}
	}
	return all
}

// serviceCommand reads "service NAME VERB" and those that have the words the other way round.
func serviceCommand(tool string, words []string) []order {
	plain, _ := operands(words, "")
	if len(plain) < 2 {
		return nil
	}
	verb, name := verbOf(plain[1]), plain[0]
	if verb == "" {
		verb, name = verbOf(plain[0]), plain[len(plain)-1]
	}
	if verb == "" && plain[0] == "signal" && len(plain) > 2 && isReloadSignal(plain[1]) {
		verb = "signal"
	}
	if verb == "" {
		return nil
	}
	tested := tool == "service" || tool == "invoke-rc.d" || tool == "rc-service" // their scripts test before, for those that can be tested
	return []order{{service: name, verb: verb, tests: tested && verb == "reload"}}
}

var reloadSignal = regexp.MustCompile(`(?i)^(?:-s=?|--signal=?|-)?(?:SIG)?(?:HUP|USR1|USR2|WINCH|1)$`)

func isReloadSignal(word string) bool { return reloadSignal.MatchString(word) }

// signals reads what sends a signal: to a PID from a file, or to processes by name.
func signals(tool string, c *call) []order {
	words := c.argv[1:]
	if len(words) < 2 {
		return nil
	}
	target := words[len(words)-1]
	switch {
	case tool == "snap" && verbOf(words[0]) != "":
		return []order{{service: target, verb: verbOf(words[0])}}
	case tool == "s6-svc":
		return []order{{service: path.Base(target), verb: "signal"}}
	case tool == "snap" || !reloadSignal.MatchString(words[0]) && !(words[0] == "-s" && isReloadSignal(words[1])):
		return nil
	case tool == "kill":
		found := pidFile.FindStringSubmatch(strings.Join(words, " "))
		if found == nil {
			return nil
		}
		target = found[1] + found[2]
	}
	return []order{{service: path.Base(target), verb: "signal"}}
}

var pidFile = regexp.MustCompile(`([A-Za-z0-9_-]+)\.pid|pidof\s+(?:-s\s+)?([A-Za-z0-9_-]+)`)

// containerOrder reads what is told to a container as a whole.
func containerOrder(words []string) []order {
	if len(words) < 2 {
		return nil
	}
	plain, options := operands(words[1:], dockerValues+" -s --signal -t --time")
	if len(plain) == 0 {
		return nil
	}
	name := plain[len(plain)-1]
	switch {
	case words[0] == "restart":
		return []order{{service: name, verb: "restart"}}
	case words[0] == "kill" && slices.ContainsFunc(options, isReloadSignal):
		return []order{{service: name, verb: "signal"}}
	case words[0] == "service" && plain[0] == "update", words[0] == "rollout" && plain[0] == "restart":
		return []order{{service: path.Base(name), verb: "restart"}}
	}
	return nil
}

// ownCommand reads the commands that services bring themselves.
func ownCommand(name string, words []string) []order {
	line := strings.Join(words, " ")
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(line, p) })
	}
	switch {
	case (name == "nginx" || name == "openresty" || name == "tengine" || name == "angie") && has("-s reload"):
		return []order{{service: name, verb: "reload", tests: true}}
	case slices.Contains([]string{"apachectl", "apache2ctl", "httpd", "apache2"}, name) && has("graceful", "restart"):
		verb := "reload"
		if !has("graceful") {
			verb = "restart"
		}
		return []order{{service: "apache2", verb: verb, tests: true}}
	case name == "haproxy" && has("-sf", "-st"):
		return []order{{service: "haproxy", verb: "reload", tests: true}}
	case name == "socat" && has("haproxy", ".sock"):
		return []order{{service: "haproxy", verb: "copy", tests: true}}
	case name == "postmap" || name == "makemap":
		return []order{{service: "postfix", verb: "map", tests: true}}
	case controls[name] != "" && has("reload", "reconfigure"):
		return []order{{service: controls[name], verb: "reload", tests: true}}
	case name == "psql" && has("pg_reload_conf"):
		return []order{{service: "postgresql", verb: "reload", tests: true}}
	case (name == "mysql" || name == "mariadb") && has("RELOAD TLS", "FLUSH SSL"):
		return []order{{service: name, verb: "reload", tests: true}}
	case name == "gitlab-ctl" && len(words) > 0 && verbOf(words[0]) != "":
		return []order{{service: words[len(words)-1], verb: verbOf(words[0]), tests: true}}
	}
	return nil
}

// controls are the programs that services are told to reload with, and their services.
var controls = map[string]string{
	"postfix": "postfix", "dovecot": "dovecot", "doveadm": "dovecot", "caddy": "caddy", "prosodyctl": "prosody", "ejabberdctl": "ejabberd",
	"pg_ctl": "postgresql", "pg_ctlcluster": "postgresql", "named": "named", "rndc": "named", "squid": "squid", "varnishreload": "varnish",
}

// family names the services whose configuration can be tested; empty for others.
func family(service string) string {
	for _, f := range []struct{ part, name string }{
		{"nginx", "nginx"}, {"openresty", "nginx"}, {"angie", "nginx"}, {"apache", "apache"}, {"httpd", "apache"}, {"haproxy", "haproxy"},
	} {
		if strings.Contains(service, f.part) && !strings.Contains(service, "lighttpd") && !strings.Contains(service, "exporter") {
			return f.name
		}
	}
	return ""
}

// testOf returns the family whose configuration a command tests; empty where it does not.
func testOf(c *call) string {
	words := c.argv[1:]
	has := func(list ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(list, w) })
	}
	switch name := c.name(); {
	case family(name) == "nginx" && has("-t", "-T", "-tq", "-qt"):
		return "nginx"
	case slices.Contains([]string{"apachectl", "apache2ctl", "httpd", "apache2"}, name) && has("configtest", "-t"):
		return "apache"
	case name == "haproxy" && has("-c"):
		return "haproxy"
	case name == "service" && has("configtest", "checkconfig", "config"):
		return family(words[0])
	}
	return ""
}

// reloads tells what makes services load files.
func (s *Script) reloads(r *reading) {
	tested := map[string]bool{}
	for _, c := range r.calls {
		if len(c.argv) == 0 {
			continue
		}
		if f := testOf(c); f != "" && (c.handled || c.exempt || c.errexit) && c.lost == "" {
			tested[f] = true
		}
		for _, o := range orders(c) {
			if o.unit != "" && (c.host != "" || reloadTests(r.e.Root, o.unit)) {
				o.tests = true
			}
			s.Reloads = append(s.Reloads, Reload{
				Service: o.service, Verb: o.verb, Tested: o.tests || tested[family(o.service)],
				Host: c.host, Line: c.line, Text: c.text,
			})
		}
	}
}

// reloadTests reports whether the reload of a unit fails where the configuration is wrong. A
// unit that only sends a signal does not; of one that is not here it is assumed.
func reloadTests(root, name string) bool {
	f, err := unit.Tree{Root: root}.Load(name)
	if err != nil {
		return true
	}
	for _, reload := range f.All("Service", "ExecReload") {
		if !bareSignal.MatchString(strings.TrimLeft(reload.Value, "-+!:@ ")) {
			return true
		}
	}
	return f.Get("Service", "Type") == "notify-reload"
}

var bareSignal = regexp.MustCompile(`^(?:/usr)?(?:/bin/)?(?:sh -c .*)?kill\s|^(?:/usr)?/bin/sh -c .*kill\s`)
