package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/service"
)

// suspicionsOfService are asked before hooks are: a hook fails because the service refuses.
func suspicionsOfService() []suspicion {
	return []suspicion{brokenConfiguration, downService, outsideUnit}
}

// suspicionsOfLoad are asked where hooks and copies are in order, or not known.
func suspicionsOfLoad() []suspicion {
	return []suspicion{failedReload, refusedConfiguration, hiddenFailure, lingeringWorker}
}

// brokenConfiguration: the service refuses its configuration, and goes on with the old one.
func brokenConfiguration(c *Case) (suspect, bool) {
	for _, s := range c.Services {
		if !slices.Contains(c.serving(), string(s.Kind)) {
			continue
		}
		for _, p := range s.Problems {
			if p.Sure && !p.Late {
				fix := remark("mend "+place(p.File, p.Line)+", then", reloadOf(string(s.Kind), c.unitsOf(string(s.Kind))))
				return accuse(certmedic.CauseConfigTestFailed, Certain, fmt.Sprintf("%s refuses its configuration: %s.", s.Kind, p.Text), fix, append([]certmedic.Evidence{at(p.File, p.Line, p.Text)}, c.saidByHook()...)...)
			}
		}
	}
	if evidence := c.saidByHook(); len(evidence) > 0 {
		return accuse(certmedic.CauseConfigTestFailed, Certain, "The service refused its configuration when the hook wanted to reload it.", cmp.Or(c.reload(), c.redeploy()), evidence...)
	}
	return innocent()
}

// saidByHook returns what a failed hook wrote about the service's configuration.
func (c *Case) saidByHook() []certmedic.Evidence {
	h, ok := c.failed()
	if !ok || !holds(h.Stderr, "[emerg]", "configuration file", "syntax error on line", "configtest failed", "fatal errors found in configuration", "[alert]") {
		return nil
	}
	return slices.Concat(output(h.Result.Evidence().Source, h.Stderr), logged(h.Result))
}

// refusedConfiguration: the service's log says that it kept what it had when it was to load files. The
// mistake may have been mended since.
func refusedConfiguration(c *Case) (suspect, bool) {
	for _, r := range slices.Backward(c.Refusals) {
		if slices.Contains(c.serving(), string(r.Kind)) {
			return accuse(certmedic.CauseConfigTestFailed, Certain, fmt.Sprintf("%s refused its configuration when it was reloaded, and went on with what it had.", r.Kind),
				cmp.Or(c.reload(), c.redeploy()), at(r.File, r.Line, r.Text))
		}
	}
	return innocent()
}

// downService: nothing listens at an address of this host.
func downService(c *Case) (suspect, bool) {
	for _, a := range c.unreached() {
		s, known := c.spot(a.Address)
		refused := holds(a.Error.Detail, "refused")
		if !known || !refused || len(s.Processes) > 0 {
			continue
		}
		confidence := Excluded
		var fix string
		evidence := []certmedic.Evidence{a.evidence()}
		if s.Local && !c.unseen(PartProcesses) {
			confidence = Certain
			evidence = append(evidence, said("/proc/net/tcp", "no process of this host listens at %s", a.Address))
		}
		for _, u := range c.Units {
			if u.Load == "loaded" && u.Active != "active" && s.Local {
				evidence = append(evidence, said("systemd "+u.Name, "is %s (%s), result %s, since %s", u.Active, u.Sub, u.Result, when(u.Changed)))
				fix = then(command("systemctl", "restart", u.Name), command("systemctl", "status", "--no-pager", u.Name))
			}
		}
		if fix == "" {
			fix = remark("start the service of "+a.Address+", then", command("certmedic", "check", a.endpoint.Address))
		}
		return accuse(certmedic.CauseServiceDown, confidence, "Nothing listens at "+a.Address+".", fix, evidence...)
	}
	return innocent()
}

// outsideUnit: a reload of the unit goes to something else than what serves.
func outsideUnit(c *Case) (suspect, bool) {
	for _, kind := range c.serving() {
		u, ok := c.unit(c.unitsOf(kind)...)
		rogue := c.rogue(kind, u.Name)
		if !ok || rogue == nil || u.Active == "active" {
			continue
		}
		fix := then(command("kill", "-"+graceful(kind), fmt.Sprint(rogue.PID)), command("systemctl", "start", u.Name))
		return accuse(certmedic.CauseReloadFailed, Certain, fmt.Sprintf("%s is not running as %s: a reload of the unit does not reach process %d, which serves.", kind, u.Name, rogue.PID), fix,
			said("systemd "+u.Name, "is %s (%s)", u.Active, u.Sub),
			said(fmt.Sprintf("/proc/%d", rogue.PID), "%s runs outside of the unit (%s), since %s", rogue.Name, cmp.Or(rogue.Unit, "in none"), when(rogue.Start)))
	}
	return innocent()
}

// failedReload: systemd says so.
func failedReload(c *Case) (suspect, bool) {
	for _, kind := range c.serving() {
		u, ok := c.unit(c.unitsOf(kind)...)
		if !ok || u.Reload == "" || u.Reload == "success" {
			continue
		}
		fix := then(reloadOf(kind, []string{u.Name}), command("journalctl", "-u", u.Name, "-n", "20", "--no-pager"))
		return accuse(certmedic.CauseReloadFailed, Certain, fmt.Sprintf("The last reload of %s failed.", u.Name), fix,
			said("systemd "+u.Name, "is %s (%s); its last reload ended with %s", u.Active, u.Sub, u.Reload))
	}
	return oncePID(c)
}

// rogue returns a process that serves outside of its unit.
func (c *Case) rogue(kind, unitName string) *Process {
	for _, p := range c.stuck() {
		if KindOf(p.Process) == kind && p.Unit != unitName && p.Container == "" {
			return &p
		}
	}
	return nil
}

// graceful is the signal by which a service ends once its clients are served, where it has one.
func graceful(kind string) string {
	switch service.Kind(kind) {
	case service.Nginx:
		return "QUIT"
	case service.HAProxy:
		return "USR1"
	}
	return "TERM"
}

// oncePID: a renewing daemon that read the service's process ID once signals one that is gone.
func oncePID(c *Case) (suspect, bool) {
	for _, j := range c.starters() {
		_, option, found := strings.Cut(j.Command, "--pid-file")
		if !found || j.Client != "step" {
			continue
		}
		return accuse(certmedic.CauseReloadFailed, Excluded, "The daemon that renews read the service's process ID once, at its own start, and signals that since.",
			remark("use --exec with a reload in place of --pid-file, and start the daemon again", command("systemctl", "restart", j.Name)), at(j.File, j.Line, "--pid-file"+option))
	}
	return innocent()
}

// hiddenFailure: the hook cannot tell that its reload, or a host of its loop, failed.
func hiddenFailure(c *Case) (suspect, bool) {
	codes := map[string]certmedic.Cause{
		"swallowed_failure": certmedic.CauseReloadFailed, "background": certmedic.CauseReloadFailed, "pid_file_once": certmedic.CauseReloadFailed,
		"last_status_wins": certmedic.CauseHookFailed, "runs_certbot": certmedic.CauseHookFailed,
	}
	for _, h := range c.hooks("deploy") {
		for _, l := range h.Script.Lints {
			cause, ok := codes[l.Code]
			if !ok || l.Code == "last_status_wins" && !slices.ContainsFunc(c.stale(), func(a answer) bool { return !c.local(a.Address) }) {
				continue
			}
			evidence := append([]certmedic.Evidence{h.at(l.Line, l.Text+": "+l.Why)}, c.started()...)
			confidence := Excluded
			if l.Code == "last_status_wins" { // and what was left out is on another host
				confidence = Certain
			}
			return accuse(cause, confidence, fmt.Sprintf("The hook %s hides a failure: %s.", h.name(), strings.TrimSuffix(l.Why, ".")), remark(cmp.Or(l.Fix, "mend the hook, then"), c.redeploy()), evidence...)
		}
	}
	return innocent()
}

// lingeringWorker: what answers was started before the files were new.
func lingeringWorker(c *Case) (suspect, bool) {
	evidence := c.started()
	if len(evidence) == 0 {
		return innocent()
	}
	newer := 0
	since := c.renewedAt()
	for _, p := range c.stuck() {
		if p.Start.After(since) {
			newer++
		}
	}
	if newer > 0 && c.workers() {
		return accuse(certmedic.CauseOldWorker, Certain, "A worker from before the reload still answers beside the new ones.",
			remark("end the old workers: a reload leaves them as long as they have connections", cmp.Or(c.restart(), c.reload())), evidence...)
	}
	return accuse(certmedic.CauseOldWorker, Excluded, "The process that serves was started before the version was there, and nothing shows that it loaded it.", cmp.Or(c.reload(), c.restart(), c.redeploy()), evidence...)
}

// workers reports whether an old process is a worker: its master alone is older wherever a
// reload starts new workers below it.
func (c *Case) workers() bool {
	since := c.renewedAt()
	all := c.stuck()
	return slices.ContainsFunc(all, func(p Process) bool {
		isMaster := slices.ContainsFunc(all, func(o Process) bool { return o.Parent == p.PID })
		return p.Start.Before(since) && !isMaster
	})
}

// restart returns the command that ends old processes, too.
func (c *Case) restart() string {
	for _, p := range c.stuck() {
		if again := restart(p); again != "" {
			return again
		}
	}
	return ""
}

func restart(p Process) string {
	switch {
	case p.Container != "":
		return command("docker", "restart", p.Container)
	case strings.HasSuffix(p.Unit, ".service"):
		return command("systemctl", "restart", p.Unit)
	default:
		return ""
	}
}
