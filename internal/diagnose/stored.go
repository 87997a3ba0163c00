package diagnose

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/script"
)

// suspicionsOfStored are asked where the version is stored, and its hooks did not bring it on.
// That a hook cannot even start lies deeper than that it failed.
func suspicionsOfStored() []suspicion {
	return []suspicion{brokenInterpreter, missingProgram, failedInstaller, failedHook, skippedHook, wrongOrder}
}

// cannotRun are the problems for which the kernel or the shell refuses a hook.
func cannotRun() []string { return []string{"crlf", "no_interpreter", "exec_format", "syntax"} }

// brokenInterpreter: the hook cannot be run at all.
func brokenInterpreter(c *Case) (suspect, bool) {
	for _, h := range c.hooks("deploy") {
		i := slices.IndexFunc(h.Script.Problems, func(p script.Problem) bool { return slices.Contains(cannotRun(), p.Kind) })
		if i < 0 || c.succeeded(h) {
			continue
		}
		p := h.Script.Problems[i]
		evidence := append([]certmedic.Evidence{h.at(p.Line, p.Text)}, c.resultOf(h)...)
		return accuse(certmedic.CauseHookInterpreter, Certain, fmt.Sprintf("The hook %s cannot be run: %s.", h.name(), p.Text), then(oneCommand(p.Fix), c.redeploy()), evidence...)
	}
	if h, ok := c.failed(); ok && (h.ExitCode == cannotExecute && !holds(h.Stderr, "permission denied") || holds(h.Stderr, "bad interpreter", "exec format error")) {
		evidence := slices.Concat(logged(h.Result), output(h.Result.Evidence().Source, h.Stderr), logged(h.At))
		return accuse(certmedic.CauseHookInterpreter, Certain, fmt.Sprintf("The hook %q cannot be run (exit code %d).", h.Command, h.ExitCode), remark("mend the hook's first line, or its mode, then", c.redeploy()), evidence...)
	}
	return innocent()
}

// oneCommand returns a fix that can stand among other commands.
func oneCommand(fix string) string {
	if strings.Contains(fix, "\n") || strings.HasPrefix(fix, "#") {
		return ""
	}
	return fix
}

// name names a hook for people.
func (h Hook) name() string { return fmt.Sprintf("%q", cmp.Or(h.Script.Path, h.Command)) }

// succeeded reports whether the log says that a hook ran for the stored version and did not fail.
func (c *Case) succeeded(h Hook) bool {
	return slices.ContainsFunc(c.hooksRan(), func(r ran) bool { return r.Command == h.Command && !r.Failed && r.Ended })
}

// resultOf returns the lines of the log about a hook.
func (c *Case) resultOf(h Hook) []certmedic.Evidence {
	for _, r := range c.hooksRan() {
		if r.Command == h.Command {
			return slices.Concat(logged(r.Result), output(r.Result.Evidence().Source, r.Stderr), logged(r.At))
		}
	}
	return nil
}

// The exit codes of a shell that cannot run a program, and that does not find it.
const (
	cannotExecute = 126
	notFound      = 127
)

// missingProgram: the hook calls what its PATH does not have.
func missingProgram(c *Case) (suspect, bool) {
	failed, hasFailed := c.failed()
	told := hasFailed && (failed.ExitCode == notFound || holds(failed.Stderr, "command not found", ": not found"))
	for _, h := range c.hooks("deploy") {
		i := slices.IndexFunc(h.Script.Programs, func(p script.Program) bool { return p.Found == "" })
		if i < 0 || c.succeeded(h) || told && failed.Command != h.Command {
			continue
		}
		p := h.Script.Programs[i]
		where := "it is nowhere on this host"
		fix := remark("install it, then", c.redeploy())
		if p.Elsewhere != "" {
			where = "it is " + p.Elsewhere
			fix = remark("write "+p.Elsewhere+" in its place, then", c.redeploy())
		}
		confidence := Excluded
		if told {
			confidence = Certain
		}
		evidence := append([]certmedic.Evidence{h.at(p.Line, fmt.Sprintf("%s is not found with the PATH of what starts the hook; %s", p.Name, where))}, c.resultOf(h)...)
		return accuse(certmedic.CauseHookEnvironment, confidence, fmt.Sprintf("The hook %s calls %q, which is not found.", h.name(), p.Name), fix, evidence...)
	}
	if !told {
		return innocent()
	}
	evidence := slices.Concat(logged(failed.Result), output(failed.Result.Evidence().Source, failed.Stderr), logged(failed.At))
	return accuse(certmedic.CauseHookEnvironment, Certain, fmt.Sprintf("The hook %q calls a program that is not found.", failed.Command), remark("write the program's whole path into the hook, then", c.redeploy()), evidence...)
}

// failedInstaller: certbot's plugin could not reload the server.
func failedInstaller(c *Case) (suspect, bool) {
	for _, o := range c.outcomes() {
		if o.Cause == certmedic.CauseInstallerReloadFailed && !o.run.Ended.Before(c.Stored.Since.Add(-around)) {
			evidence := append(logged(o.At), certmedic.Evidence{Source: o.At.Evidence().Source, Line: o.Detail, Output: true})
			return accuse(certmedic.CauseInstallerReloadFailed, Certain, Explain(o.Cause).Means, cmp.Or(c.reload(), c.redeploy()), evidence...)
		}
		if o.Result == acmelog.Renewed {
			break
		}
	}
	return innocent()
}

// failedHook: the log, or certmedic's own journal, says that it failed.
func failedHook(c *Case) (suspect, bool) {
	h, ok := c.failed()
	if !ok {
		return failedAction(c)
	}
	evidence := slices.Concat(logged(h.Result), output(h.Result.Evidence().Source, h.Stderr), logged(h.At))
	if known, ok := c.hookOf(h.Command); ok {
		for _, l := range known.Script.Lints {
			evidence = append(evidence, known.at(l.Line, l.Text+": "+l.Why))
		}
	}
	evidence = append(evidence, c.rehearsed(h.Command)...)
	return accuse(certmedic.CauseHookFailed, Certain, h.failure(), remark("mend the hook, then run it again", c.redeploy()), evidence...)
}

// failure says how a hook failed.
func (h ran) failure() string {
	switch {
	case h.run.Client == acmelog.Lego || h.run.Client == acmelog.ACMESh: // which tell no exit code, or not of what
		return fmt.Sprintf("The command that %s runs after a renewal failed, and it is not run again.", h.run.Client)
	case h.cutShort():
		return fmt.Sprintf("The run that started the deploy hook %q was ended before it had, and certbot does not run it again.", h.Command)
	case h.ExitCode < 0:
		return fmt.Sprintf("The deploy hook %q was ended by signal %d, and certbot does not run it again.", h.Command, -h.ExitCode)
	default:
		return fmt.Sprintf("The deploy hook %q failed with exit code %d, and certbot does not run it again.", h.Command, h.ExitCode)
	}
}

// failedAction: the last redeployment by certmedic failed in a command.
func failedAction(c *Case) (suspect, bool) {
	for _, a := range c.Actions {
		if a.Kind == certmedic.ActionRenew || a.Kind.Rehearses() || a.StartedAt.Before(c.Stored.Since) {
			continue
		}
		for _, r := range a.Runs {
			if r.Result == certmedic.RunExited && r.ExitCode != 0 {
				evidence := append([]certmedic.Evidence{said("journal "+a.ID, "%s: %s ended with exit code %d", a.Kind, r.Name, r.ExitCode)}, output("journal "+a.ID, r.Stderr)...)
				return accuse(certmedic.CauseHookFailed, Certain, fmt.Sprintf("%q failed with exit code %d when certmedic ran it.", r.Name, r.ExitCode), remark("mend it, then run it again", c.redeploy()), evidence...)
			}
		}
		return innocent() // what came before it says nothing of now
	}
	return innocent()
}

// rehearsed returns the lines in which a dry run left the hook out: nobody had ever seen it run.
func (c *Case) rehearsed(commandLine string) []certmedic.Evidence {
	for _, run := range slices.Backward(c.Runs) {
		for _, h := range run.Hooks {
			if h.Skipped && h.Command == commandLine {
				return logged(h.At)
			}
		}
	}
	return nil
}

// skippedHook: certbot passes a hook over without a word.
func skippedHook(c *Case) (suspect, bool) {
	var evidence []certmedic.Evidence
	var fixes []string
	for _, h := range c.Hooks {
		if h.Kind == "deploy" && h.Skipped != "" {
			evidence = append(evidence, said(cmp.Or(h.Script.Path, h.Command, h.Source), "%s", h.Skipped))
			fixes = append(fixes, unskip(h))
		}
	}
	misplaced, fix := c.misplacedHook()
	evidence, fixes = append(evidence, misplaced...), append(fixes, fix)
	if len(evidence) == 0 {
		return innocent()
	}
	confidence := Certain
	if len(c.hooksRan()) > 0 || len(c.hooks("deploy")) > 0 && !c.unseen(PartLog) && len(c.Runs) > 0 {
		confidence = Excluded // another hook ran, or was to run: which of them had to bring the version on is not told
	}
	return accuse(certmedic.CauseHookSkipped, confidence, "There is a deploy hook that certbot passes over without a word.", then(append(fixes, c.redeploy())...), evidence...)
}

// unskip returns the command that has certbot take a hook.
func unskip(h Hook) string {
	path := cmp.Or(h.Script.Path, h.Command)
	switch {
	case path == "" || !filepath.IsAbs(path):
		return ""
	case strings.HasSuffix(path, "~"):
		return command("mv", path, strings.TrimRight(path, "~"))
	case holds(h.Skipped, "not executable"):
		return command("chmod", "0755", path)
	default:
		return ""
	}
}

// misplacedHook looks for a hook that stands where certbot does not look: under a key that it
// does not know, in a folder that is switched off, or behind a verb that runs no hooks.
func (c *Case) misplacedHook() (evidence []certmedic.Evidence, fix string) {
	if c.Conf != nil {
		for _, key := range []string{"deploy-hook", "renew-hook", "deployhook", "renewhook", "post_renew_hook", "deploy_hooks", "renew_hooks"} {
			if s, ok := c.Conf.Params[key]; ok && s.Line > 0 {
				evidence = append(evidence, at(c.confFile(), s.Line, key+" = "+s.String()+": certbot knows renew_hook only"))
				fix = command("sed", "-i", fmt.Sprintf("%ds/^ *%s/renew_hook/", s.Line, key), c.confFile())
			}
		}
	}
	if c.Ini.NoDirHooks && c.hasFolderHooks() {
		evidence = append(evidence, at(c.Ini.Path, 0, "no-directory-hooks: the hooks in renewal-hooks/ are not run"))
		fix = command("sed", "-i", "/no-directory-hooks/d", c.Ini.Path)
	}
	if run, ok := c.byOldVerb(); ok {
		evidence = append(evidence, logged(run.First)...)
	}
	return evidence, fix
}

func (c *Case) hasFolderHooks() bool {
	return slices.ContainsFunc(c.Hooks, func(h Hook) bool { return h.Kind == "deploy" && strings.Contains(h.Source, "renewal-hooks/") })
}

// byOldVerb returns the run that stored the version, if it ran by another verb than renew with a
// certbot before 5.3, which runs the hooks of the folder for that verb only.
func (c *Case) byOldVerb() (acmelog.Run, bool) {
	for _, o := range c.outcomes() {
		if o.Result != acmelog.Renewed {
			continue
		}
		verb := slices.ContainsFunc(o.run.Arguments, func(a string) bool { return a == "certonly" || a == "run" })
		return o.run, verb && len(o.run.Hooks) == 0 && before(o.run.Version, 5, 3) && c.hasFolderHooks()
	}
	return acmelog.Run{}, false
}

// before compares a version such as "2.1.0"; one that cannot be read is before none.
func before(version string, major, minor int) bool {
	var x, y int
	if n, _ := fmt.Sscanf(version, "%d.%d", &x, &y); n != 2 {
		return false
	}
	return x < major || x == major && y < minor
}

// wrongOrder: the service was reloaded before the copy was made, or the copy was made of the old
// version.
func wrongOrder(c *Case) (suspect, bool) {
	for _, h := range c.hooks("pre") {
		if len(h.Script.Copies) > 0 && len(c.used(LeadCopy)) > 0 {
			copied := h.Script.Copies[0]
			return accuse(certmedic.CauseHookOrder, Certain, fmt.Sprintf("The hook %s copies before the new version is there.", h.name()),
				remark("make it a deploy hook, then", c.redeploy()), h.at(copied.Line, copied.Text))
		}
	}
	hooks := c.hooks("deploy")
	for i, h := range hooks {
		reload, copied := firstReload(h.Script), firstCopy(h.Script)
		if reload != nil && copied != nil && reload.Line < copied.Line && len(h.Script.Reloads) == 1 {
			return accuse(certmedic.CauseHookOrder, Certain, fmt.Sprintf("The hook %s reloads before it copies.", h.name()),
				remark("turn the two lines round, then", c.redeploy()), h.at(reload.Line, reload.Text), h.at(copied.Line, copied.Text))
		}
		if reload == nil || slices.ContainsFunc(hooks[i+1:], func(o Hook) bool { return firstReload(o.Script) != nil }) {
			continue
		}
		if later := slices.IndexFunc(hooks[i+1:], func(o Hook) bool { return firstCopy(o.Script) != nil }); later >= 0 {
			o := hooks[i+1+later]
			copied := firstCopy(o.Script)
			return accuse(certmedic.CauseHookOrder, Certain, fmt.Sprintf("The hook %s reloads before %s copies.", h.name(), o.name()),
				remark("rename the hooks, so that the copy sorts first, then", c.redeploy()), h.at(reload.Line, reload.Text), o.at(copied.Line, copied.Text))
		}
	}
	return innocent()
}

func firstReload(s script.Script) *script.Reload {
	for i := range s.Reloads {
		if s.Reloads[i].Verb != "copy" && s.Reloads[i].Verb != "map" {
			return &s.Reloads[i]
		}
	}
	return nil
}

func firstCopy(s script.Script) *script.Copy {
	if len(s.Copies) == 0 {
		return nil
	}
	return &s.Copies[0]
}
