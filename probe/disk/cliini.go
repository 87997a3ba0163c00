package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// CLIIni holds what CONFIG_DIR/cli.ini says about hooks and the CA. It is as if it had been
// given on certbot's command line, so it wins over a renewal configuration.
type CLIIni struct {
	Path           string
	DeployHook     string // deploy-hook, or its old name renew-hook
	DeployHookLine int
	PreHook        Setting
	PostHook       Setting
	NoDirHooks     bool   // no-directory-hooks: renewal-hooks/ is not looked at
	LogsDir        string // logs-dir; empty: it is not set
	Server         string // the ACME directory that new certificates come from
}

// ReadCLIIni reads CONFIG_DIR/cli.ini in ConfigArgParse's syntax ("key = value",
// "key: value", "key value" or a lone key, which means true). A missing file is an
// empty one.
func ReadCLIIni(configDir string) (CLIIni, error) {
	ini := CLIIni{Path: filepath.Join(configDir, "cli.ini")}
	data, err := readFile(ini.Path, maxConfSize)
	if errors.Is(err, fs.ErrNotExist) {
		return ini, nil
	}
	if err != nil {
		return ini, fmt.Errorf("reading certbot's defaults: %w", err)
	}
	var renewHook string
	var renewLine int
	for i, line := range strings.Split(string(data), "\n") {
		key, value := iniLine(line)
		switch key {
		case "deploy-hook":
			ini.DeployHook, ini.DeployHookLine = value, i+1
		case "renew-hook":
			renewHook, renewLine = value, i+1
		case "pre-hook":
			ini.PreHook = Setting{Values: []string{value}, Line: i + 1}
		case "post-hook":
			ini.PostHook = Setting{Values: []string{value}, Line: i + 1}
		case "no-directory-hooks":
			ini.NoDirHooks = value == "true" || value == "True" || value == "1"
		case "logs-dir":
			ini.LogsDir = value
		case "server":
			ini.Server = value
		}
	}
	ini.DeployHook = cmp.Or(ini.DeployHook, renewHook)
	ini.DeployHookLine = cmp.Or(ini.DeployHookLine, renewLine)
	return ini, nil
}

// iniLine returns a line's key, with dashes and without leading ones, and its value.
// Both are empty for comments, headings and blank lines.
func iniLine(line string) (key, value string) {
	line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
	if line == "" || strings.ContainsRune("#;[", rune(line[0])) {
		return "", ""
	}
	end := strings.IndexAny(line, "=: \t")
	if end < 0 {
		end = len(line)
	}
	key = strings.ReplaceAll(strings.TrimLeft(line[:end], "-"), "_", "-")
	value = strings.TrimSpace(line[end:])
	if value == "" {
		return key, "true"
	}
	value = strings.TrimSpace(strings.TrimLeft(value[:1], "=:") + value[1:])
	return key, unquote(withoutComment(value))
}

// withoutComment cuts off a comment, which begins with a blank and # or ;.
func withoutComment(value string) string {
	if value == "" || value[0] == '"' || value[0] == '\'' {
		return value
	}
	for i := 1; i < len(value); i++ {
		if (value[i] == '#' || value[i] == ';') && (value[i-1] == ' ' || value[i-1] == '\t') {
			return strings.TrimSpace(value[:i])
		}
	}
	return value
}

func unquote(value string) string {
	if len(value) < 2 || (value[0] != '"' && value[0] != '\'') {
		return value
	}
	if end := strings.LastIndexByte(value, value[0]); end > 0 {
		return value[1:end]
	}
	return value
}
