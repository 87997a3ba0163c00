package issuer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// deployHooks runs the deploy hooks: the folder's in byte order, then the lineage's
// own, each once. Like certbot it has no timeout for them, and a hook that fails is
// logged and forgotten.
func (r run) deployHooks(lineage string, request Request) error {
	commands, err := executables(r.Tree.HookDir("deploy"))
	if err != nil {
		return err
	}
	if request.DeployHook != "" {
		commands = append(commands, request.DeployHook)
	}
	environment := append(slices.Clone(r.Env),
		"RENEWED_DOMAINS="+strings.Join(request.Names, " "),
		"RENEWED_LINEAGE="+r.Tree.Live(lineage))
	ran := map[string]bool{}
	for _, command := range commands {
		if ran[command] {
			continue
		}
		ran[command] = true
		r.deployHook(command, environment)
	}
	return nil
}

func (r run) deployHook(command string, environment []string) {
	r.log.Printf("INFO", "certbot.compat.misc", "Running deploy-hook command: %s", command)
	var stdout, stderr bytes.Buffer
	hook := exec.Command("/bin/sh", "-c", command)
	hook.Env, hook.Stdin, hook.Stdout, hook.Stderr = environment, os.Stdin, &stdout, &stderr
	if err := hook.Run(); err != nil {
		r.warn("WARNING", "certbot.display.ops", "Hook 'deploy-hook' reported error code %d", exitCode(err))
	}
	if said := strings.TrimSpace(stdout.String()); said != "" {
		r.notify("Hook 'deploy-hook' ran with output:\n%s", indent(said))
	}
	if said := strings.TrimSpace(stderr.String()); said != "" {
		r.warn("WARNING", "certbot.display.ops", "Hook 'deploy-hook' ran with error output:\n%s", indent(said))
	}
}

// executables returns the hooks of a folder as certbot finds them: executable regular
// files whose names do not end in a tilde. Others are passed over without a word.
func executables(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted by bytes
	if err != nil {
		return nil, fmt.Errorf("listing hooks: %w", err)
	}
	var found []string
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || strings.HasSuffix(path, "~") {
			continue
		}
		if unix.Access(path, unix.X_OK) == nil {
			found = append(found, path)
		}
	}
	return found, nil
}

// exitCode returns a command's exit code as Python's subprocess has it: negative for a
// signal.
func exitCode(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 127
	}
	if status, ok := exit.Sys().(interface{ Signal() unix.Signal }); ok && exit.ExitCode() < 0 {
		return -int(status.Signal())
	}
	return exit.ExitCode()
}

func indent(text string) string { return " " + strings.ReplaceAll(text, "\n", "\n ") }
