package execx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultPath is searched where the command's environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// LookPath returns the absolute path of the program that [Run] would start for a command, and
// says why it cannot be run.
func LookPath(c Command) (string, error) { return lookPath(c) }

// lookPath finds the program as the command's own environment and directory would, and
// says why it cannot be run before anything was started.
func lookPath(c Command) (string, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return "", errors.New("the command is empty")
	}
	name := c.Argv[0]
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(c.Dir, name)
		}
		abs, err := filepath.Abs(name)
		if err != nil {
			return "", fmt.Errorf("looking for %q: %w", name, err)
		}
		return abs, executable(abs)
	}
	for _, dir := range filepath.SplitList(pathOf(c.Env)) {
		// A relative folder would run whatever lies in the working directory.
		path := filepath.Join(dir, name)
		if filepath.IsAbs(dir) && executable(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %q in PATH %q", name, pathOf(c.Env))
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("no such program: %q", path)
	case err != nil:
		return fmt.Errorf("looking at the program: %w", err)
	case info.IsDir():
		return fmt.Errorf("%q is a directory", path)
	case info.Mode()&0o111 == 0 || unix.Access(path, unix.X_OK) != nil:
		return fmt.Errorf("%q is not executable", path)
	}
	return nil
}

func pathOf(env []string) string {
	path := defaultPath
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
		}
	}
	return path
}

// shellLeftovers lists the variables that a shell exports by itself, as far as env does
// not set them.
func shellLeftovers(env []string) string {
	var names strings.Builder
	for _, name := range []string{"PWD", "OLDPWD", "SHLVL"} {
		if !hasVariable(env, name) {
			names.WriteString(" " + name)
		}
	}
	return names.String()
}

func hasVariable(env []string, name string) bool {
	for _, entry := range env {
		if strings.HasPrefix(entry, name+"=") {
			return true
		}
	}
	return false
}
