package audit

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/script"
)

func hookChecks() []check {
	all := []check{
		{
			"hook-skipped", warning, "certbot passes over a file in a folder of hooks without a word.",
			"it looks as if it were run; nothing tells that it is not.", "make it executable, or remove it", skippedHook,
		},
		{
			"hook-misplaced", warning, "A hook lies where certbot does not look.",
			"certbot runs the files of renewal-hooks/pre, deploy and post only, and of no folder below.", "move it to renewal-hooks/deploy", misplacedHook,
		},
		{
			"hook-wrong-key", critical, "A renewal configuration sets a hook under a key that certbot does not know.",
			"certbot leaves the key out without a word: the hook is never run.", "certbot reconfigure --cert-name NAME --deploy-hook COMMAND", wrongKey,
		},
		{
			"hook-old-key", warning, "A renewal configuration has its deploy hook under the key deploy_hook.",
			"certbot reads it, and leaves it out when it writes the file anew, which it does at each renewal.", "rename the key to renew_hook", oldKey,
		},
		{
			"hooks-switched-off", warning, "There are files in the folders of hooks, and certbot is told to leave the folders out.",
			"none of them is run.", "remove no-directory-hooks from cli.ini, or the files", switchedOff,
		},
		{
			"hook-cannot-run", critical, "A hook cannot be run at all.",
			"the kernel or the shell refuses it; certbot notes that in its log, and exits 0.", "mend what is named", cannotRun,
		},
		{
			"hook-missing-program", critical, "A hook calls a program that is not found.",
			"the hook fails where it calls it; certbot notes that in its log, and exits 0.", "install the program, or write its whole path", missingProgram,
		},
		{
			"hook-writable", critical, "Others than root can change a hook.",
			"whoever can change it becomes root at the next renewal.", "close it, and the folders above it, to others", writableHook,
		},
	}
	return append(all, lintChecks()...)
}

func skippedHook(f *Facts) []Finding {
	var all []Finding
	for _, h := range f.Hooks {
		if h.Skipped == "" || backupOf(f, h) || strings.Contains(h.Skipped, "not executable") && noHook(filepath.Base(h.Place.File)) {
			continue
		}
		fix := ""
		if strings.Contains(h.Skipped, "not executable") {
			fix = command("chmod", "u+x", h.Place.File) // not for everybody: hooks hold tokens
		} else if strings.HasSuffix(h.Place.File, "~") {
			fix = command("mv", h.Place.File, strings.TrimRight(h.Place.File, "~"))
		}
		all = append(all, Finding{Subject: filepath.Base(h.Place.File), Place: h.Place, What: h.Skipped, Fix: fix})
	}
	return all
}

// noHook reports whether a file is called as what people leave beside hooks, and do not mean to be
// run.
func noHook(name string) bool {
	aside := []string{".md", ".txt", ".rst", ".bak", ".old", ".orig", ".save", ".off", ".disabled", ".sample", ".example", ".dist", ".swp", ".dpkg-old", ".dpkg-dist", ".dpkg-new", ".rpmsave", ".rpmnew"}
	return strings.HasPrefix(name, ".") || strings.HasPrefix(strings.ToUpper(name), "README") || slices.Contains(aside, strings.ToLower(filepath.Ext(name)))
}

// backupOf reports whether a file is what an editor left of a hook.
func backupOf(f *Facts, h Hook) bool {
	name := strings.TrimRight(h.Place.File, "~")
	return name != h.Place.File && slices.ContainsFunc(f.Hooks, func(o Hook) bool { return o.Place.File == name })
}

func misplacedHook(f *Facts) []Finding {
	var all []Finding
	for _, t := range f.Trees {
		for _, path := range t.Misplaced {
			to := filepath.Join(t.Dir, "renewal-hooks", "deploy")
			all = append(all, Finding{Subject: filepath.Base(path), Place: Place{File: path}, What: path + " is in none of the folders that certbot runs", Fix: command("mv", path, to+"/")})
		}
	}
	return all
}

// wrongKeys are those that people write for renew_hook, pre_hook and post_hook.
var wrongKeys = []string{"deploy-hook", "renew-hook", "pre-hook", "post-hook", "deployhook", "renewhook", "deploy_hooks", "renew_hooks", "post_renew_hook", "renewal_hook"}

func wrongKey(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		for _, key := range wrongKeys {
			if s, ok := l.Conf.Params[key]; ok {
				return misnamed(l, key, s.String(), s.Line)
			}
		}
		for _, key := range append([]string{"renew_hook", "deploy_hook", "pre_hook", "post_hook"}, wrongKeys...) {
			if s, ok := l.Conf.Top[key]; ok {
				return misnamed(l, key+" (outside of [renewalparams])", s.String(), s.Line)
			}
		}
		return none()
	})(f)
}

func misnamed(l *Lineage, key, value string, line int) (Finding, bool) {
	option := "--deploy-hook"
	for _, kind := range []string{"pre", "post"} {
		if strings.HasPrefix(key, kind) && !strings.Contains(key, "renew") {
			option = "--" + kind + "-hook"
		}
	}
	return Finding{Place: Place{l.Conf.Path, line}, What: key + " = " + value, Fix: command("certbot", "reconfigure", "--cert-name", l.Name, option, value)}, true
}

func oldKey(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		if l.Param("deploy_hook") == "" || l.Param("renew_hook") != "" {
			return none()
		}
		at := l.at("deploy_hook")
		return Finding{Place: at, What: "deploy_hook = " + l.Param("deploy_hook"), Fix: command("sed", "-i", fmt.Sprintf("%ds/deploy_hook/renew_hook/", at.Line), at.File)}, true
	})(f)
}

func switchedOff(f *Facts) []Finding {
	var all []Finding
	for _, t := range f.Trees {
		if t.Ini.NoDirHooks && t.Hooked {
			all = append(all, Finding{Subject: t.Dir, Place: Place{File: t.Ini.Path}, What: "no-directory-hooks is set"})
		}
	}
	return all
}

// hookFindings asks a question of every hook that certbot takes.
func hookFindings(f *Facts, ask func(Hook) []Finding) []Finding {
	var all []Finding
	for _, h := range f.Hooks {
		if h.Skipped != "" || len(all) >= maxFindings {
			continue
		}
		for _, found := range ask(h) {
			found.Subject = cmp.Or(found.Subject, subjectOf(h))
			all = append(all, found)
		}
	}
	return all
}

// subjectOf names a hook by its lineage, where it is of one, else by its file.
func subjectOf(h Hook) string {
	if len(h.Lineages) == 1 {
		return h.Lineages[0].Name
	}
	return filepath.Base(h.Place.File)
}

// in returns the place of a line of a hook: of its script, or of what sets the command.
func (h Hook) in(line int) Place {
	if h.Script.Path != "" {
		return Place{h.Script.Path, line}
	}
	return h.Place
}

func cannotRun(f *Facts) []Finding {
	return hookFindings(f, func(h Hook) []Finding {
		for _, p := range h.Script.Problems {
			if p.Kind == "unreadable" && !f.Sees(PartLineages) || p.Kind == "missing_program" || p.Kind == "name" {
				continue
			}
			return []Finding{{Place: h.in(p.Line), What: p.Text, Fix: p.Fix}}
		}
		return nil
	})
}

func missingProgram(f *Facts) []Finding {
	return hookFindings(f, func(h Hook) []Finding {
		var all []Finding
		for _, p := range h.Script.Programs {
			if p.Found != "" || p.Optional {
				continue
			}
			found := Finding{Place: h.in(p.Line), What: p.Name + " is nowhere on this host"}
			if p.Elsewhere != "" {
				found.What = fmt.Sprintf("%s is %s, which is outside of the PATH that the hook is run with", p.Name, p.Elsewhere)
				found.Fix = remark("write " + p.Elsewhere + " in its place")
			}
			all = append(all, found)
		}
		return all
	})
}

func writableHook(f *Facts) []Finding {
	return hookFindings(f, func(h Hook) []Finding { return open(h.Writable) })
}

func open(writable []Writable) []Finding {
	var all []Finding
	for _, w := range writable {
		all = append(all, Finding{Place: Place{File: w.Path}, What: w.Problem, Fix: w.Fix})
	}
	return all
}

// lintSeverity says how bad a habit is; what is not listed is a warning.
var lintSeverity = map[string]certmedic.Severity{
	"no_set_e":           info,
	"restart_not_reload": info,
	"background":         info,
	"untested_reload":    info,
	"runs_certbot":       critical,
	"open_key_mode":      critical,
	"old_before_new":     critical,
}

// lintChecks makes a check of each habit that package script looks for.
func lintChecks() []check {
	codes := script.Codes()
	names := make([]string, 0, len(codes))
	for code := range codes {
		if code != "missing_program" { // which has a check of its own
			names = append(names, code)
		}
	}
	slices.Sort(names)
	var all []check
	for _, code := range names {
		all = append(all, check{
			"hook-" + strings.ReplaceAll(code, "_", "-"), cmp.Or(lintSeverity[code], warning), codes[code],
			"the script says at its place why that hurts.", "as the finding says",
			func(f *Facts) []Finding { return lints(f, code) },
		})
	}
	return all
}

func lints(f *Facts, code string) []Finding {
	return hookFindings(f, func(h Hook) []Finding {
		var all []Finding
		for _, l := range h.Script.Lints {
			if l.Code == code {
				all = append(all, Finding{Place: h.in(l.Line), What: l.Text, Why: l.Why, Fix: asComment(l.Fix)})
			}
		}
		return all
	})
}

// asComment makes words to a person a comment of the shell.
func asComment(fix string) string {
	if fix == "" || strings.HasPrefix(fix, "#") {
		return fix
	}
	return remark(fix)
}
