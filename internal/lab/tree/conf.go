package tree

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Param is one line of a renewal configuration's [renewalparams].
type Param struct{ Key, Value string }

// WriteConf writes renewal/NAME.conf, by way of NAME.conf.new as certbot does.
func (t Tree) WriteConf(lineage string, params []Param) error {
	var text strings.Builder
	text.WriteString("# renew_before_expiry = 30 days\nversion = 2.1.0\n")
	fmt.Fprintf(&text, "archive_dir = %s\n", t.Archive(lineage))
	for _, kind := range kinds() {
		fmt.Fprintf(&text, "%s = %s\n", kind, filepath.Join(t.Live(lineage), kind+".pem"))
	}
	text.WriteString("\n# Options used in the renewal process\n[renewalparams]\n")
	for _, param := range params {
		fmt.Fprintf(&text, "%s = %s\n", param.Key, quote(param.Value))
	}
	path := t.confPath(lineage)
	if err := writeFile(path+".new", []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("writing the configuration of %q: %w", lineage, err)
	}
	return os.Rename(path+".new", path)
}

// ReadConf returns the [renewalparams] of a lineage. It reads what WriteConf writes and
// what a person would change in it, not all of ConfigObj.
func (t Tree) ReadConf(lineage string) ([]Param, error) {
	path := t.confPath(lineage)
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of %q: %w", lineage, err)
	}
	var params []Param
	section := ""
	for i, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found {
			return nil, fmt.Errorf("%s:%d: no = in %q", path, i+1, line)
		}
		if section == "[renewalparams]" {
			params = append(params, Param{strings.TrimSpace(key), unquote(strings.TrimSpace(value))})
		}
	}
	return params, nil
}

// Value returns the value of a parameter; empty where there is none.
func Value(params []Param, key string) string {
	for _, param := range params {
		if param.Key == key {
			return param.Value
		}
	}
	return ""
}

func (t Tree) confPath(lineage string) string {
	return filepath.Join(t.ConfigDir, "renewal", lineage+".conf")
}

// quote writes a value as ConfigObj does: bare where that is unambiguous.
func quote(value string) string {
	if value != "" && !strings.ContainsAny(value, ",#'\"") && strings.TrimSpace(value) == value {
		return value
	}
	if strings.Contains(value, `"`) {
		return "'" + value + "'"
	}
	return `"` + value + `"`
}

func unquote(value string) string {
	if len(value) >= 2 && value[0] == value[len(value)-1] && (value[0] == '"' || value[0] == '\'') {
		return value[1 : len(value)-1]
	}
	return value
}
