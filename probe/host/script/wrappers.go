package script

import (
	"path"
	"slices"
	"strings"
)

// wrapperValues are programs that run another one: the options of each that take a value, and
// how many words besides stand before the command.
var wrapperValues = map[string]struct {
	options string
	words   int
}{
	"sudo": {"-u -g -h -p -C -r -t -T -U -D -R --user --group --host --prompt --chdir", 0},
	"doas": {"-u -C", 0}, "nice": {"-n", 0}, "ionice": {"-c -n", 0}, "nohup": {"", 0}, "setsid": {"", 0},
	"timeout": {"-k -s --kill-after --signal", 1}, "chronic": {"", 0}, "env": {"-u -C --unset --chdir", 0}, "exec": {"-a", 0},
	"command": {"", 0}, "stdbuf": {"-i -o -e", 0}, "flock": {"-w -E", 1}, "sshpass": {"-p -f -d -e", 0}, "runuser": {"-u -g -G", 0}, "chrt": {"-p", 1},
	"xargs": {"-I -n -P -L -d -E -s", 0}, "time": {"-f -o", 0}, "unbuffer": {"", 0}, "cronic": {"", 0}, "torsocks": {"", 0},
	"logsave": {"", 1}, "systemd-cat": {"-t -p", 0}, "systemd-inhibit": {"--who --why --what --mode", 0}, "systemd-run": {"-p -u -M -E --unit --property --on-active", 0},
}

// unwrap returns the command that wrappers run, and the wrappers.
func unwrap(argv []string) (inner, wrappers []string) {
	for range 6 {
		if len(argv) == 0 {
			return argv, wrappers
		}
		name := path.Base(argv[0])
		w, ok := wrapperValues[name]
		if !ok || name == "command" && len(argv) > 1 && strings.HasPrefix(argv[1], "-") {
			return argv, wrappers
		}
		rest := skipOptions(argv[1:], w.options)
		for len(rest) > 0 && (name == "env" || name == "sudo") && assignment(rest[0]) {
			rest = rest[1:]
		}
		if len(rest) <= w.words {
			return argv, wrappers
		}
		wrappers = append(wrappers, argv[0])
		argv = rest[w.words:]
	}
	return argv, wrappers
}

// assignment reports whether a word sets a variable, as NAME=VALUE.
func assignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") == ""
}

// skipOptions returns the words from the first that is no option. values are the options that
// take the next word, separated by spaces.
func skipOptions(words []string, values string) []string {
	for len(words) > 0 && strings.HasPrefix(words[0], "-") && words[0] != "-" {
		if words[0] == "--" {
			return words[1:]
		}
		n := 1
		if takesNext(words[0], values) {
			n = min(2, len(words))
		}
		words = words[n:]
	}
	return words
}

// takesNext reports whether an option, or the last letter of several in one word, takes the
// next word as its value.
func takesNext(word, values string) bool {
	list := strings.Fields(values)
	if strings.HasPrefix(word, "--") {
		return slices.Contains(list, word)
	}
	for i, letter := range word[1:] {
		if slices.Contains(list, "-"+string(letter)) {
			return i == len(word)-2 // else the rest of the word is its value
		}
	}
	return false
}

// operands returns the words that are no options, wherever they stand, and the options.
func operands(words []string, values string) (plain, options []string) {
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "--":
			return append(plain, words[i+1:]...), options
		case !strings.HasPrefix(word, "-") || word == "-":
			plain = append(plain, word)
		case takesNext(word, values) && i+1 < len(words):
			i++
			options = append(options, word, words[i])
		default:
			options = append(options, word)
		}
	}
	return plain, options
}

// The options that take a value, of programs that copy or reach other hosts.
const (
	sshValues     = "-i -p -o -F -J -l -L -R -D -c -m -b -e -E -S -W -w -B -I -O -Q"
	scpValues     = "-i -P -o -F -J -S -c -l -D -X"
	rsyncValues   = "-e -f -B -T -M --rsh --exclude --include --filter --rsync-path --chown --chmod --password-file --bwlimit --timeout --port --exclude-from --include-from --files-from --log-file --temp-dir --backup-dir"
	copyValues    = "-S -t --target-directory --suffix"
	installValues = "-m -o -g -S -t --mode --owner --group --target-directory --suffix"
	dockerValues  = "-e -u -w -f -p -H -c --env --user --workdir --env-file --file --project-name --host --context --detach-keys --index --profile --project-directory"
	suValues      = "-s -g -G -w --shell --group"
)

// shells are the programs that take a command line behind -c.
var shells = []string{"sh", "bash", "dash", "ash", "zsh", "ksh"}

// commandLine returns the text that a command has a shell run, and where: empty for here.
func commandLine(argv []string) (text, host string, ok bool) {
	if len(argv) == 0 {
		return "", "", false
	}
	switch name := path.Base(argv[0]); {
	case slices.Contains(shells, name) || name == "su" || name == "runuser":
		for i, word := range argv[1:] {
			flag := strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "--") && strings.HasSuffix(word, "c")
			if (flag || word == "--command") && i+2 < len(argv) {
				return argv[i+2], "", true
			}
		}
	case name == "eval" && len(argv) > 1:
		return strings.Join(argv[1:], " "), "", true
	case name == "ssh":
		rest := skipOptions(argv[1:], sshValues)
		if len(rest) < 2 {
			return "", "", false
		}
		if more := skipOptions(rest[1:], sshValues); len(more) > 0 { // options may stand behind the host
			return strings.Join(more, " "), rest[0], true
		}
	}
	return "", "", false
}

// contained returns the command that is run inside of a container, and which container.
func contained(argv []string) (inner []string, container string, ok bool) {
	words := composeless(argv)
	if len(words) == 0 || words[0] != "exec" {
		return nil, "", false
	}
	rest := skipOptions(words[1:], dockerValues)
	if len(rest) < 2 {
		return nil, "", false
	}
	if rest[1] == "--" {
		rest = slices.Delete(slices.Clone(rest), 1, 2)
	}
	return rest[1:], rest[0], len(rest) > 1
}

// composeless returns the words behind docker, podman, or docker compose, from their verb.
func composeless(argv []string) []string {
	if len(argv) == 0 {
		return nil
	}
	name := path.Base(argv[0])
	if !slices.Contains([]string{"docker", "podman", "docker-compose", "podman-compose", "nerdctl", "lxc", "pct", "kubectl"}, name) {
		return nil
	}
	words := skipOptions(argv[1:], dockerValues)
	if len(words) > 0 && words[0] == "compose" {
		words = skipOptions(words[1:], dockerValues)
	}
	if len(words) > 0 && words[0] == "container" {
		words = words[1:]
	}
	return words
}
