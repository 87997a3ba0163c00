package script

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The words that a shell does by itself.
const (
	posixBuiltins = ". : [ alias bg break cd chdir command continue echo eval exec exit export false fg getopts hash jobs kill local printf pwd read readonly return set shift test times trap true type ulimit umask unalias unset wait"
	bashBuiltins  = "[[ bind builtin caller compgen complete compopt coproc declare dirs disown enable fc help history let logout mapfile popd pushd readarray shopt source suspend typeset"
)

// plainShell reports whether /bin/sh of a tree is known to be less than bash.
func plainShell(root string) bool {
	to, err := os.Readlink(root + "/bin/sh")
	return err == nil && strings.HasPrefix(filepath.Base(to), "dash")
}

func (s *Script) builtin(name string, e Environment) bool {
	if slices.Contains(strings.Fields(posixBuiltins), name) {
		return true
	}
	more := s.Language == "bash" || !plainShell(e.Root)
	return more && slices.Contains(strings.Fields(bashBuiltins), name)
}

// usual returns the folders where programs are, whatever PATH says.
func usual(root string) []string {
	folders := []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/snap/bin"}
	opt, _ := filepath.Glob(root + "/opt/*/bin")
	for _, folder := range opt[:min(len(opt), 50)] {
		folders = append(folders, strings.TrimPrefix(folder, root))
	}
	return folders
}

// find returns where a program is with the PATH of an environment, and where besides.
func find(name string, e Environment) (found, elsewhere string) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join("/", e.Folder, name)
		}
		if executable(e.Root + name) {
			return name, ""
		}
		return "", ""
	}
	folders := strings.Split(e.Path, ":")
	if e.Path == "" {
		folders = usual(e.Root)
	}
	for _, folder := range folders {
		if path := filepath.Join("/", folder, name); executable(e.Root + path) {
			return path, ""
		}
	}
	for _, folder := range usual(e.Root) {
		if path := filepath.Join(folder, name); executable(e.Root + path) {
			return "", path
		}
	}
	return "", ""
}

// programs tells which programs the script calls, each once.
func (s *Script) programs(r *reading) {
	e := s.withPath(r)
	asked := map[string]bool{} // programs that the script looks for itself
	for _, c := range r.calls {
		for _, name := range looksFor(c) {
			asked[name] = true
		}
	}
	seen := map[string]bool{}
	for _, c := range r.calls {
		names := slices.Clone(c.wrappers)
		if c.named && len(c.argv) > 0 {
			names = append(names, c.argv[0])
		}
		for _, name := range names {
			if c.host != "" || seen[name] || r.defined[name] || s.builtin(name, e) || !plainName.MatchString(name) {
				continue
			}
			p := Program{Name: name, Line: c.line, Optional: c.optional || asked[filepath.Base(name)]}
			p.Found, p.Elsewhere = find(name, e)
			seen[name] = !p.Optional // a call that every host makes counts
			s.Programs = append(s.Programs, p)
		}
	}
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_./+\[\]-]+$`)

// withPath returns the environment with the PATH that the script sets itself.
func (s *Script) withPath(r *reading) Environment {
	e := r.e
	switch value, ok := r.values["PATH"]; {
	case ok && e.Path == "" && strings.Contains(value, "$PATH"): // it adds to what is not known
	case ok && !strings.Contains(strings.ReplaceAll(value, "$PATH", ""), "$"):
		e.Path = strings.ReplaceAll(value, "$PATH", e.Path)
	case r.assigned["PATH"]:
		e.Path = ""
	}
	return e
}

// looksFor returns the programs that a command asks about before they are called.
func looksFor(c *call) []string {
	switch c.name() {
	case "command", "which", "type", "hash", "test", "[", "[[":
	default:
		return nil
	}
	var names []string
	for _, word := range c.argv[1:] {
		if !strings.HasPrefix(word, "-") {
			names = append(names, filepath.Base(word))
		}
	}
	return names
}

// missing turns what is called without being there into problems.
func (s *Script) missing(e Environment) {
	for _, p := range s.Programs {
		if p.Found != "" || p.Elsewhere != "" || p.Optional {
			continue
		}
		text := p.Name + " is not installed"
		if strings.Contains(p.Name, "/") {
			text = p.Name + " does not exist"
			if _, err := os.Stat(e.Root + p.Name); err == nil {
				s.problem("not_executable", p.Line, p.Name+" is not executable", "chmod u+x "+quoted(p.Name))
				continue
			}
		}
		s.problem("missing_program", p.Line, text, "")
	}
}
