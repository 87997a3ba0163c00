package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

// Hook is one deploy hook of a lineage. certbot runs it as `/bin/sh -c COMMAND`.
type Hook struct {
	Command string // the path of a hook in the folder, or a shell command
	Path    string // the file to check before it is run; empty where the command does not begin with an absolute path
	FromDir bool   // from renewal-hooks/deploy
	Source  string // where it is set, such as "renewal/shop.conf:12"
}

// DeployHooks returns a lineage's deploy hooks in the order in which certbot runs
// them: the executable files of renewal-hooks/deploy, sorted by the bytes of their
// path, then the hook of cli.ini or, where there is none, of the renewal
// configuration, unless the folder held the same command. Files that certbot skips
// without a word come back as findings. A source that is no lineage has no hooks.
func DeployHooks(src certmedic.Source) ([]Hook, []certmedic.Finding) {
	if src.Kind != certmedic.SourceCertbot {
		return nil, nil
	}
	var hooks []Hook
	var findings []certmedic.Finding
	ini, err := ReadCLIIni(src.ConfigDir)
	if err != nil {
		findings = append(findings, certmedic.NewFinding(certmedic.FileUnreadable, err.Error()))
	}
	if !ini.NoDirHooks {
		hooks, findings = dirHooks(filepath.Join(src.ConfigDir, "renewal-hooks", "deploy"), findings)
	}
	hook, ok, err := savedHook(src, ini)
	if err != nil {
		findings = append(findings, certmedic.NewFinding(certmedic.LineageBroken, err.Error()))
	}
	same := func(h Hook) bool { return h.Command == hook.Command }
	if ok && !slices.ContainsFunc(hooks, same) {
		hooks = append(hooks, hook)
	}
	return hooks, findings
}

func dirHooks(dir string, findings []certmedic.Finding) ([]Hook, []certmedic.Finding) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, findings
	}
	if err != nil {
		return nil, append(findings, certmedic.NewFinding(certmedic.FileUnreadable, err.Error()))
	}
	var hooks []Hook
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			continue
		}
		if why := skipped(path, info, err); why != "" {
			findings = append(findings, certmedic.NewFinding(certmedic.FilePermissions,
				fmt.Sprintf("%s: %s: certbot skips it silently", path, why)))
			continue
		}
		source := "renewal-hooks/" + filepath.Base(dir) + "/" + entry.Name()
		hooks = append(hooks, Hook{Command: path, Path: path, FromDir: true, Source: source})
	}
	slices.SortFunc(hooks, func(a, b Hook) int { return strings.Compare(a.Path, b.Path) })
	return hooks, findings
}

// skipped says why certbot does not take a file of the folder for a hook.
func skipped(path string, info fs.FileInfo, err error) string {
	switch {
	case err != nil:
		return "hook cannot be read"
	case !info.Mode().IsRegular():
		return "hook is not a regular file"
	case strings.HasSuffix(path, "~"):
		return "hook's name ends with ~"
	case unix.Access(path, unix.X_OK) != nil:
		return "hook not executable"
	}
	return ""
}

// savedHook returns the hook that is set as a command, not as a file in the folder.
func savedHook(src certmedic.Source, ini CLIIni) (Hook, bool, error) {
	if ini.DeployHook != "" {
		source := fmt.Sprintf("cli.ini:%d", ini.DeployHookLine)
		return Hook{Command: ini.DeployHook, Path: commandPath(ini.DeployHook), Source: source}, true, nil
	}
	conf, err := ReadRenewalConf(confPath(src))
	if conf == nil || conf.RenewHook == "" {
		return Hook{}, false, err
	}
	hook := Hook{Command: conf.RenewHook, Path: commandPath(conf.RenewHook), Source: conf.place(conf.HookLine())}
	return hook, true, err
}

// commandPath returns the first word of a shell command when that is an absolute path.
func commandPath(command string) string {
	command = strings.TrimSpace(command)
	if command == "" {
		return ""
	}
	word := command
	if quote := command[0]; quote == '"' || quote == '\'' {
		word, _, _ = strings.Cut(command[1:], string(quote))
	} else if end := strings.IndexAny(command, " \t\n;&|<>()"); end >= 0 {
		word = command[:end]
	}
	if !filepath.IsAbs(word) || strings.ContainsAny(word, "$`*?[") {
		return ""
	}
	return word
}

func confPath(src certmedic.Source) string {
	return filepath.Join(src.ConfigDir, "renewal", src.Lineage+".conf")
}
