package script

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Codes returns what is looked for: each code with a sentence.
func Codes() map[string]string {
	codes := map[string]string{}
	for _, c := range checks {
		codes[c.code] = c.about
	}
	return codes
}

// check looks for one habit. It returns the places; why and fix are filled in where it leaves
// them empty.
type check struct {
	code, about, why, fix string
	look                  func(*evidence) []Lint
}

// evidence is what the checks look at.
type evidence struct {
	*reading
	script *Script
	copies []copied
	kind   string // of the script, such as deploy
}

var checks = []check{
	{
		"live_links_copied", "The links of live/ are copied in place of what they lead to.",
		"live/ holds links into archive/: copied as links, they lead nowhere at the destination, or to a version that is not copied again.",
		"copy what the links lead to: rsync -L, cp -L, tar -h", liveLinks,
	},
	{
		"last_status_wins", "A loop over hosts ends with the status of the last host only.",
		"when this fails for any host but the last, the loop goes on and the script ends as if all was well.",
		"collect the status: put status=0 before the loop, || status=1 behind the command, and exit $status at the end", lastStatus,
	},
	{
		"untested_reload", "A service is sent a signal to reload without a test of its configuration.",
		"a signal always succeeds: with a mistake anywhere in its configuration the service keeps the old certificate, and nobody is told.",
		"", untestedReload,
	},
	{
		"swallowed_failure", "The status of what deploys is thrown away.",
		"a failure here looks like success to whatever runs the script, so that it is neither logged nor tried again.",
		"let the failure be the script's: leave out what comes behind the command", swallowed,
	},
	{
		"shared_tmp_key", "A private key is written below a temporary folder that everybody shares.",
		"everybody on the host can look into /tmp, and may have put a link of that name there before.",
		`dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; and write the key to "$dir"`, sharedTmp,
	},
	{
		"restart_not_reload", "A service that can reload is restarted.",
		"a restart cuts all connections, and with a mistake anywhere in its configuration the service stays down.",
		"", restarted,
	},
	{
		"no_set_e", "Several commands matter, and the script goes on when one fails.",
		"when this fails, the script goes on, and ends with the status of its last command.",
		"put set -e at the top of the script, or && between the commands", noErrexit,
	},
	{
		"missing_program", "A program lies outside of the PATH that the script is run with.", "", "", outsidePath,
	},
	{
		"open_key_mode", "Everybody on the host may read a private key.",
		"whoever can log in to this host, or gets into any of its services, can take the key.",
		"", openKey,
	},
	{
		"fixed_lineage", "A hook that is run for every lineage acts for one of them only.",
		"it is run for every certificate of this host, and does the same each time: what is done for this one is done for none of the others.",
		`act for "$RENEWED_LINEAGE", or begin with: [ "$(basename "$RENEWED_LINEAGE")" = NAME ] || exit 0`, fixedLineage,
	},
	{
		"unknown_variable", "A variable is used that is never set for such a hook.", "", "", unknownVariable,
	},
	{
		"runs_certbot", "A hook calls certbot.",
		"the certbot that runs the hook holds the lock until the hook has ended, so this one gives up at once.",
		"leave it out, or start it from a timer of its own", runsCertbot,
	},
	{
		"waits_for_input", "A command waits for somebody to type.", "", "", waitsForInput,
	},
	{
		"old_before_new", "A certificate is copied before the new one is there.",
		"a pre hook is run before the renewal: what it copies is the old version.",
		"make it a deploy hook: certbot reconfigure --cert-name NAME --deploy-hook COMMAND", oldBeforeNew,
	},
	{
		"background", "A reload or a copy is left to run in the background.",
		"nobody waits for how it ends, and it may read the files while the next step changes them.",
		"leave out the & or the option that does not wait", background,
	},
	{
		"pid_file_once", "A daemon reads a PID file once, when it starts.",
		"step reads the file once: after the service was restarted, it signals a process that is gone, or another one.",
		"use --exec 'systemctl reload SERVICE' in place of --pid-file", pidFileOnce,
	},
}

func (s *Script) lint(r *reading, copies []copied) {
	e := &evidence{reading: r, script: s, copies: copies, kind: cmp.Or(r.e.Kind, Deploy)}
	for _, c := range checks {
		for _, l := range c.look(e) {
			l.Code = c.code
			l.Why, l.Fix = cmp.Or(l.Why, c.why), cmp.Or(l.Fix, c.fix)
			if !slices.Contains(s.Lints, l) {
				s.Lints = append(s.Lints, l)
			}
		}
	}
	slices.SortStableFunc(s.Lints, func(a, b Lint) int { return cmp.Compare(a.Line, b.Line) })
}

func at(c *call) Lint { return Lint{Line: c.line, Text: c.text} }

// livePath matches what leads to the links of a lineage, or to folders of them.
var livePath = regexp.MustCompile(`(?:letsencrypt|certbot|acme)[^ ]*/live(?:/|$)|\$\{?RENEWED_LINEAGE`)

func isLive(paths []string) bool { return slices.ContainsFunc(paths, livePath.MatchString) }

func liveLinks(e *evidence) []Lint {
	if bytesContain(e.data, "/archive") {
		return nil // they are copied together, and the links hold
	}
	var found []Lint
	for _, m := range e.copies {
		keeps := m.Verb == "rsync" && !has(m.options, "L", "--copy-links", "--copy-unsafe-links") && has(m.options, "alr", "--archive", "--links", "--recursive") ||
			m.Verb == "cp" && !has(m.options, "LH", "--dereference") && has(m.options, "adPrR", "--archive", "--no-dereference", "--recursive", "--preserve=links")
		if keeps && isLive(m.From) {
			found = append(found, at(m.call))
		}
	}
	for _, c := range e.calls {
		if c.name() != "tar" || len(c.argv) < 3 || !isLive(c.argv[2:]) {
			continue
		}
		first := strings.TrimPrefix(c.argv[1], "-")
		if strings.Contains(first, "c") && !strings.Contains(first, "h") && !has(c.argv[1:], "h", "--dereference") {
			found = append(found, at(c))
		}
	}
	return found
}

func bytesContain(data []byte, s string) bool { return strings.Contains(string(data), s) }

// has reports whether options hold one of some letters, or one of the long names.
func has(options []string, letters string, long ...string) bool {
	for _, o := range options {
		short := strings.HasPrefix(o, "-") && !strings.HasPrefix(o, "--")
		if slices.Contains(long, o) || short && strings.ContainsAny(o[1:], letters) {
			return true
		}
	}
	return false
}

// matters reports whether a command is one that a deployment is made of.
func (e *evidence) matters(c *call) bool {
	if len(c.argv) == 0 || c.fallback {
		return false
	}
	if slices.ContainsFunc(e.copies, func(m copied) bool { return m.call == c }) || len(orders(c)) > 0 {
		return true
	}
	return remote(c)
}

// remote reports whether a command reaches another host.
func remote(c *call) bool {
	switch c.name() {
	case "ssh", "scp", "sftp":
		return true
	case "rsync":
		plain, _ := operands(c.argv[1:], rsyncValues)
		return slices.ContainsFunc(plain, func(p string) bool { return strings.Contains(p, ":") })
	}
	return false
}

func lastStatus(e *evidence) []Lint {
	for _, c := range e.calls {
		if c.loop && c.unseen() && c.lost == "" && remote(c) && strings.Contains(c.text, "$") {
			return []Lint{at(c)}
		}
	}
	return nil
}

func noErrexit(e *evidence) []Lint {
	if len(lastStatus(e)) > 0 {
		return nil // told already
	}
	for _, c := range e.calls {
		if c.host == "" && !c.errexit && c.lost == "" && c.unseen() && e.matters(c) {
			return []Lint{at(c)}
		}
	}
	return nil
}

func swallowed(e *evidence) []Lint {
	var found []Lint
	for _, c := range e.calls {
		if c.host != "" || !e.matters(c) || c.handled {
			continue
		}
		l := at(c)
		switch {
		case strings.HasPrefix(c.lost, "|| "):
			l.Text += " " + c.lost
		case strings.HasPrefix(c.lost, "; ") && !c.errexit:
			l.Fix = fmt.Sprintf("put set -e at the top, or leave out %q at the end", strings.TrimPrefix(c.lost, "; "))
		case c.piped && !c.pipefail && len(orders(c)) > 0:
			l.Fix = "put set -o pipefail at the top (bash), or redirect its output to a file in place of the pipe"
		default:
			continue
		}
		found = append(found, l)
	}
	return found
}

func background(e *evidence) []Lint {
	var found []Lint
	for _, c := range e.calls {
		noBlock := c.name() == "systemctl" && slices.Contains(c.argv, "--no-block")
		if e.matters(c) && c.host == "" && (c.lost == "&" && !bytesContain(e.data, "wait") || noBlock && len(orders(c)) > 0) {
			found = append(found, at(c))
		}
	}
	return found
}

func untestedReload(e *evidence) []Lint {
	tests := map[string]string{"nginx": "nginx -t", "apache": "apachectl configtest", "haproxy": "haproxy -c -f /etc/haproxy/haproxy.cfg"}
	var found []Lint
	for _, r := range e.script.Reloads {
		f := family(r.Service)
		if f == "" || r.Tested || r.Verb != "reload" && r.Verb != "signal" {
			continue
		}
		found = append(found, Lint{Line: r.Line, Text: r.Text, Fix: "put its test before it: " + tests[f] + " && " + r.Text})
	}
	return found
}

func restarted(e *evidence) []Lint {
	var found []Lint
	for _, c := range e.calls {
		if len(c.argv) == 0 || c.fallback || slices.Contains([]string{"docker", "podman", "docker-compose", "podman-compose", "kubectl", "nerdctl"}, c.name()) {
			continue // a container that is restarted gets its mounts anew
		}
		for _, o := range orders(c) {
			if o.verb == "restart" && family(o.service) != "" {
				l := at(c)
				l.Fix = "reload it: systemctl reload " + o.service
				found = append(found, l)
			}
		}
	}
	return found
}

func outsidePath(e *evidence) []Lint {
	var found []Lint
	for _, p := range e.script.Programs {
		if p.Found == "" && p.Elsewhere != "" && !p.Optional {
			found = append(found, Lint{
				Line: p.Line, Text: p.Name,
				Why: fmt.Sprintf("%s is not found with PATH=%s, with which the script is run: it fails there, and works in a login shell.", p.Name, e.e.Path),
				Fix: "write it as " + p.Elsewhere,
			})
		}
	}
	return found
}
