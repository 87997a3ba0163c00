package schedule

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/host/script"
)

// clientOf names the ACME client that a command has renew certificates; empty where it does not.
func clientOf(argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	words := argv[1:]
	says := func(any ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(any, w) })
	}
	switch name := filepath.Base(argv[0]); name {
	case "certbot", "certbot-auto", "letsencrypt", "letsencrypt-auto", "certbot-renew", "certbot.renew":
		if says("certificates", "show_account", "delete", "revoke", "--version", "--help", "plugins", "register", "unregister") {
			return ""
		}
		return "certbot"
	case "snap":
		if says("run") && slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "certbot.") || w == "certbot" }) {
			return "certbot"
		}
	case "acme.sh":
		if says("--cron", "--renew", "--renew-all", "--renewAll", "-r", "--issue", "--installcronjob") {
			return "acme.sh"
		}
	case "lego":
		if says("renew", "run") {
			return "lego"
		}
	case "dehydrated", "letsencrypt.sh":
		if says("-c", "--cron") {
			return "dehydrated"
		}
	case "step":
		if says("renew", "certificate") {
			return "step"
		}
	case "getssl", "simp_le", "uacme", "acme-client", "acmetool", "acme-tiny", "acme_tiny.py", "certwarden-client", "tlspc":
		return strings.TrimSuffix(name, ".py")
	case "certmedic":
		if says("renew", "serve") {
			return "certmedic"
		}
	case "python", "python3", "perl":
		if len(words) > 0 {
			return clientOf(words)
		}
	default:
		if slices.Contains(engines, name) {
			return contained(words)
		}
	}
	return ""
}

// engines are the programs that run containers.
var engines = []string{"docker", "docker-compose", "podman", "podman-compose", "nerdctl"}

// contained names the client that a container is started for, by what its image, its service or it
// itself is called: its own command may be to renew.
func contained(words []string) string {
	verb := slices.IndexFunc(words, func(w string) bool { return slices.Contains([]string{"run", "exec", "start", "restart", "up"}, w) })
	if verb < 0 {
		return ""
	}
	rest := words[verb+1:]
	for _, client := range []string{"certbot", "acme.sh", "lego", "dehydrated"} {
		i := slices.IndexFunc(rest, func(w string) bool {
			return !strings.HasPrefix(w, "-") && !strings.Contains(w, ":/") && strings.Contains(w, client)
		})
		if i < 0 {
			continue
		}
		own := slices.ContainsFunc(rest[i+1:], func(w string) bool { return slices.Contains([]string{"renew", "--cron", "-c"}, w) })
		if own || words[verb] != "run" && words[verb] != "exec" {
			return client
		}
	}
	return ""
}

// resident names the servers that renew their certificates themselves for as long as they run.
func resident(argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	switch name := filepath.Base(argv[0]); {
	case (name == "caddy" || name == "certmedic") && slices.ContainsFunc(argv, func(w string) bool { return w == "run" || w == "serve" }):
		return name
	case name == "traefik" || name == "autocert" || name == "certwarden":
		return name
	case name == "step" && slices.Contains(argv, "renew") && slices.Contains(argv, "--daemon"):
		return "step"
	}
	return ""
}

// runner says how a command line is run.
type runner struct {
	user, path, folder string
}

// readCommand fills in what the command line of a job tells. It says false where the line
// runs no client, neither itself nor by a script that it calls.
func (l *looker) readCommand(j *Job, text string, r runner) bool {
	e := script.Environment{Path: r.path, Folder: r.folder, Kind: script.Job, User: r.user, Root: l.root}
	outer := script.Parse(text, e)
	for _, c := range outer.Commands {
		if c.Host != "" {
			continue
		}
		if client := clientOf(c.Argv); client != "" {
			l.take(j, client, c, outer)
			return true
		}
		file, byShell := scriptOf(c.Argv)
		if file == "" {
			continue
		}
		inner := script.Read(file, e)
		if byShell { // neither its mode nor its first line counts
			inner.Problems = slices.DeleteFunc(inner.Problems, func(p script.Problem) bool {
				return p.Line == 0 && p.Kind == "not_executable" || p.Kind == "no_interpreter"
			})
		}
		for _, called := range inner.Commands {
			if lock := l.lock(called); lock != "" && j.Lock == "" {
				j.Lock, j.LockLine = lock, called.Line
			}
			if client := clientOf(called.Argv); client != "" && called.Host == "" {
				l.take(j, client, called, inner)
				j.Script, j.Sends = file, sends(c, called)
				j.Guarded = l.guard(c.Guard)
				return true
			}
		}
		j.Lock, j.LockLine = "", 0
	}
	return false
}

// ifThere matches a condition that asks for nothing but a file.
var ifThere = regexp.MustCompile(`^(?:\[|test)\s+-[efds]\s+"?(/[^\s"$*?]+)"?(?:\s+\])?$`)

// lock returns the file that has a script end where it is there, as scripts have it that are not to
// run at the same time; empty where there is none.
func (l *looker) lock(c script.Command) string {
	if len(c.Argv) == 0 || c.Argv[0] != "exit" && c.Argv[0] != "return" {
		return ""
	}
	m := ifThere.FindStringSubmatch(strings.TrimSpace(c.Guard))
	if m == nil || !l.exists(m[1]) {
		return ""
	}
	return m[1]
}

func sends(outer, inner script.Command) string {
	if outer.Quiet || inner.Quiet {
		return ">/dev/null"
	}
	return ""
}

// scriptOf returns the script that a command runs, itself or by a shell that is given it.
func scriptOf(argv []string) (file string, byShell bool) {
	if len(argv) == 0 {
		return "", false
	}
	name := filepath.Base(argv[0])
	if slices.Contains([]string{"sh", "bash", "dash", "ash", ".", "source"}, name) {
		for _, word := range argv[1:] {
			if filepath.IsAbs(word) {
				return word, true
			}
		}
		return "", false
	}
	if filepath.IsAbs(argv[0]) && filepath.Ext(name) != ".py" && !strings.HasPrefix(argv[0], "/usr/bin/") && !strings.HasPrefix(argv[0], "/bin/") {
		return argv[0], false
	}
	return "", false
}

// take fills in what a client's own command tells.
func (l *looker) take(j *Job, client string, c script.Command, of script.Script) {
	j.Client, j.Command = client, c.Text
	j.Guarded = l.guard(c.Guard)
	j.Quiet, j.Force, j.DryRun, j.Hooks = options(client, c.Argv)
	if c.Quiet {
		j.Sends = ">/dev/null"
	}
	for _, p := range of.Problems {
		if p.Kind != "missing_program" || strings.HasPrefix(p.Text, c.Argv[0]+" ") {
			j.Problem = p.Text
			break
		}
	}
	for _, p := range of.Programs {
		if p.Name == c.Argv[0] && p.Found == "" && j.Problem == "" {
			j.Problem = missing(p, j.Path)
		}
	}
	if slices.Contains(engines, filepath.Base(c.Argv[0])) {
		j.Path = "" // what the client runs has the container's
	}
}

func missing(p script.Program, path string) string {
	if p.Elsewhere == "" {
		return p.Name + " is not installed"
	}
	return p.Name + " is not found with PATH=" + path + "; it is " + p.Elsewhere
}

// options reads a client's flags.
func options(client string, argv []string) (quiet, force, dry bool, hooks []string) {
	for i, word := range argv {
		name, value, given := strings.Cut(word, "=")
		if !given && i+1 < len(argv) {
			value = argv[i+1]
		}
		switch name {
		case "-q", "--quiet", "-qn", "-nq":
			quiet = true
		case "--force-renewal", "--force-renew", "--renew-by-default":
			force = true
		case "--force", "-f", "-x":
			force = force || client == "acme.sh" && name != "-x" || client == "getssl" && name != "-x" || client == "dehydrated" && name != "-f"
		case "--dry-run":
			dry = true
		case "--deploy-hook", "--renew-hook", "--post-hook", "--pre-hook", "--reloadcmd", "--renewhook", "--run-hook", "--exec", "--hook", "-k":
			if value != "" {
				hooks = append(hooks, value)
			}
		}
		if filepath.Base(word) == "certbot.renew" {
			quiet = true // the snap runs certbot -q renew
		}
	}
	return quiet, force, dry, hooks
}

// noSystemd matches the condition that keeps a cron line from running beside a timer.
var noSystemd = regexp.MustCompile(`(?:\\?!\s*(?:\[\s*|test\s+)?-[de]|^! .*-[de])\s+/run/systemd/system`)

// guard returns a condition where it keeps a command from running on this host.
func (l *looker) guard(condition string) string {
	if l.systemd && noSystemd.MatchString(condition) {
		return condition
	}
	return ""
}
