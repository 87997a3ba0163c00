package disk

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/certmedic/certmedic"
)

// PreHooks returns the commands that `certbot renew` runs before it renews a lineage, in its
// order: the executable files of renewal-hooks/pre, then the hook of cli.ini or, where there is
// none, of the renewal configuration. Files that certbot skips without a word come back as
// findings. A source that is no lineage has none.
func PreHooks(src certmedic.Source) ([]Hook, []certmedic.Finding) { return renewHooks(src, "pre") }

// PostHooks returns the commands that `certbot renew` runs once it has ended with a lineage,
// whatever came of it, as [PreHooks] does.
func PostHooks(src certmedic.Source) ([]Hook, []certmedic.Finding) { return renewHooks(src, "post") }

func renewHooks(src certmedic.Source, kind string) ([]Hook, []certmedic.Finding) {
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
		hooks, findings = dirHooks(filepath.Join(src.ConfigDir, "renewal-hooks", kind), findings)
	}
	saved := map[string]Setting{"pre": ini.PreHook, "post": ini.PostHook}[kind]
	source := fmt.Sprintf("cli.ini:%d", saved.Line)
	if saved.Line == 0 {
		conf, err := ReadRenewalConf(confPath(src))
		if err != nil {
			findings = append(findings, certmedic.NewFinding(certmedic.LineageBroken, err.Error()))
		}
		if conf == nil {
			return hooks, findings
		}
		saved = conf.Params[kind+"_hook"]
		source = conf.place(saved.Line)
	}
	command := notNone(saved)
	if command != "" && !slices.ContainsFunc(hooks, func(h Hook) bool { return h.Command == command }) {
		hooks = append(hooks, Hook{Command: command, Path: commandPath(command), Source: source})
	}
	return hooks, findings
}
