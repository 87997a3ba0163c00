package disk

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
)

// RenewalConf is certbot's renewal/NAME.conf. Paths are as the file has them; an
// absent one is empty.
type RenewalConf struct {
	Path      string // of the file itself
	ConfigDir string // the tree that holds it
	Lineage   string // NAME

	Cert, Privkey, Chain, Fullchain string // the links in live/
	ArchiveDir                      string

	// The following are of [renewalparams].
	Server        string // the ACME directory
	Authenticator string
	Installer     string
	RenewHook     string // the deploy hook: renew_hook, or deploy_hook where there is none
	WorkDir       string
	LogsDir       string
	Autorenew     bool // true unless the file says False

	Top    map[string]Setting // every key above the first section
	Params map[string]Setting // every key of [renewalparams]

	wrong []string // see problems
}

// maxConfSize bounds configuration files, in bytes. Real ones have a few hundred.
const maxConfSize = 1 << 20

// ReadRenewalConf reads CONFIG_DIR/renewal/NAME.conf. When the file has mistakes it
// returns what could be read together with an error that names each as
// "renewal/NAME.conf:LINE: ..."; when it could not be read at all it returns nil.
func ReadRenewalConf(path string) (*RenewalConf, error) {
	conf, _, err := readRenewalConf(path)
	return conf, err
}

func readRenewalConf(path string) (*RenewalConf, fileID, error) {
	data, id, err := readWhole(path, maxConfSize)
	if err != nil {
		return nil, id, fmt.Errorf("reading renewal configuration: %w", err)
	}
	folder, file := filepath.Split(path)
	sections, err := configObj(filepath.Join(filepath.Base(folder), file), data)
	conf := &RenewalConf{
		Path:      path,
		ConfigDir: filepath.Dir(filepath.Clean(folder)),
		Lineage:   strings.TrimSuffix(file, ".conf"),
		Top:       sections[""],
		Params:    sections["renewalparams"],
	}
	conf.fill()
	return conf, id, err
}

func (c *RenewalConf) fill() {
	c.Cert, c.Privkey = c.top("cert"), c.top("privkey")
	c.Chain, c.Fullchain = c.top("chain"), c.top("fullchain")
	c.ArchiveDir = c.top("archive_dir")
	c.Server = c.param("server")
	c.Authenticator, c.Installer = c.param("authenticator"), c.param("installer")
	c.RenewHook = cmp.Or(c.param("renew_hook"), c.param("deploy_hook"))
	c.WorkDir, c.LogsDir = c.param("work_dir"), c.param("logs_dir")
	c.Autorenew = !isFalse(c.param("autorenew"))
	c.wrong = c.findProblems()
}

// Line returns the line of a key above the sections, or of "renewalparams.KEY"; 0
// where the file has no such key.
func (c *RenewalConf) Line(key string) int {
	if param, ok := strings.CutPrefix(key, "renewalparams."); ok {
		return c.Params[param].Line
	}
	return c.Top[key].Line
}

// Commands returns the commands that certbot runs before, during and after a renewal of the
// lineage, as its configuration has them.
func (c *RenewalConf) Commands() []string {
	var all []string
	for _, key := range []string{"pre_hook", "renew_hook", "deploy_hook", "post_hook"} {
		if command := c.param(key); command != "" {
			all = append(all, command)
		}
	}
	return all
}

// HookLine returns the line of the deploy hook, 0 where there is none.
func (c *RenewalConf) HookLine() int {
	if c.param("renew_hook") != "" {
		return c.Line("renewalparams.renew_hook")
	}
	return c.Line("renewalparams.deploy_hook")
}

// place names the file, with a line if there is one, as findings do.
func (c *RenewalConf) place(line int) string {
	name := "renewal/" + c.Lineage + ".conf"
	if line == 0 {
		return name
	}
	return fmt.Sprintf("%s:%d", name, line)
}

func (c *RenewalConf) top(key string) string { return notNone(c.Top[key]) }

func (c *RenewalConf) param(key string) string { return notNone(c.Params[key]) }

// notNone returns a setting's text; certbot writes an unset value as None.
func notNone(s Setting) string {
	if text := s.String(); text != "None" {
		return text
	}
	return ""
}

// isFalse follows ConfigObj's as_bool.
func isFalse(text string) bool {
	switch strings.ToLower(text) {
	case "false", "off", "no", "0":
		return true
	}
	return false
}

// problems says what certbot would refuse about the file, so that it skips the lineage
// in every run.
func (c *RenewalConf) problems() []string { return c.wrong }

func (c *RenewalConf) findProblems() []string {
	var out []string
	for _, key := range []string{"cert", "privkey", "chain", "fullchain"} {
		if c.top(key) == "" {
			out = append(out, fmt.Sprintf("%s: the key %q is missing, certbot skips this lineage", c.place(0), key))
		}
	}
	switch {
	case c.Params == nil:
		out = append(out, c.place(0)+": the section [renewalparams] is missing, certbot skips this lineage")
	case c.Authenticator == "":
		out = append(out, c.place(0)+": no authenticator in [renewalparams], certbot skips this lineage")
	}
	return out
}

// errorLines returns the lines of an error that may join several, one for each mistake.
func errorLines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}
