package diagnose

import (
	"cmp"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/unit"
	"github.com/certmedic/certmedic/probe/inspect"
)

// patience is how long a lock may be held before what holds it is taken to be stuck. The rule
// hook_hung waits as long.
const patience = 10 * time.Minute

// answer is what one address of an endpoint presents.
type answer struct {
	endpoint certmedic.Endpoint
	certmedic.AddressObservation
}

// leaf returns the newest version that the source holds, and whether there is one.
func (c *Case) leaf() (certmedic.CertFacts, bool) { return c.Stored.Leaf() }

// valid reports whether a version may be served now.
func (c *Case) valid(leaf certmedic.CertFacts) bool {
	return leaf.SHA256 != "" && !c.Now.Before(leaf.NotBefore) && c.Now.Before(leaf.NotAfter)
}

// answers returns every address that presented a leaf to clients that sent the name.
func (c *Case) answers() []answer {
	var all []answer
	for _, o := range c.Observations {
		for _, a := range o.Addresses {
			if a.Reached() && a.Variant != certmedic.VariantNoSNI {
				all = append(all, answer{o.Endpoint, a})
			}
		}
	}
	return all
}

// unreached returns the addresses at which nothing was presented.
func (c *Case) unreached() []answer {
	var all []answer
	for _, o := range c.Observations {
		for _, a := range o.Addresses {
			if !a.Reached() && a.Error != nil {
				all = append(all, answer{o.Endpoint, a})
			}
		}
	}
	return all
}

// stale returns the answers that are another version than the stored one.
func (c *Case) stale() []answer {
	leaf, ok := c.leaf()
	if !ok {
		return nil
	}
	var all []answer
	for _, o := range c.Observations {
		for _, a := range o.Addresses {
			served, reached := a.Leaf()
			if reached && served.SHA256 != leaf.SHA256 && a.Variant != certmedic.VariantNoSNI && compared(a, o.Addresses, leaf) {
				all = append(all, answer{o.Endpoint, a})
			}
		}
	}
	return all
}

// compared reports whether an answer is to be compared with the stored leaf, as [inspect.Drift]
// compares: a server may have one certificate for each type of key.
func compared(a certmedic.AddressObservation, all []certmedic.AddressObservation, leaf certmedic.CertFacts) bool {
	alike := func(o certmedic.AddressObservation) bool {
		return o.Reached() && o.Address == a.Address && o.ServerName == a.ServerName &&
			o.Variant != certmedic.VariantNoSNI && inspect.KeyClass(leafOf(o)) == inspect.KeyClass(leaf)
	}
	return alike(a) || a.Variant == certmedic.VariantUsual && !slices.ContainsFunc(all, alike)
}

func leafOf(a certmedic.AddressObservation) certmedic.CertFacts {
	leaf, _ := a.Leaf()
	return leaf
}

// current returns the answers that are the stored version.
func (c *Case) current() []answer {
	leaf, ok := c.leaf()
	return slices.DeleteFunc(c.answers(), func(a answer) bool { return !ok || leafOf(a.AddressObservation).SHA256 != leaf.SHA256 })
}

// affected reports whether an address is one at which something is wrong: where another
// version is served, or where nothing answers.
func (c *Case) affected(address string) bool {
	is := func(a answer) bool { return a.Address == address }
	return address == "" || slices.ContainsFunc(c.stale(), is) || slices.ContainsFunc(c.unreached(), is)
}

// used returns the files that are served from at the affected addresses.
func (c *Case) used(leads ...Lead) []Used {
	var all []Used
	for _, u := range c.Used {
		if c.affected(u.Address) && (len(leads) == 0 || slices.Contains(leads, u.Lead)) {
			all = append(all, u)
		}
	}
	return all
}

// place returns where a file is named, as evidence.
func (u Used) evidence(told string) certmedic.Evidence {
	if u.File == "" {
		return said(u.Path, "%s", told)
	}
	return at(u.File, u.Line, cmp.Or(u.Text, u.By+" reads "+u.Path)+": "+told)
}

// spot returns an address of an endpoint as this host sees it.
func (c *Case) spot(address string) (Spot, bool) {
	i := slices.IndexFunc(c.Spots, func(s Spot) bool { return s.Address == address })
	if i < 0 {
		return Spot{}, false
	}
	return c.Spots[i], true
}

// local reports whether an address is this host's.
func (c *Case) local(address string) bool {
	s, ok := c.spot(address)
	return ok && s.Local
}

// stuck returns the processes that answer at the affected addresses of this host.
func (c *Case) stuck() []Process {
	var all []Process
	for _, s := range c.Spots {
		if s.Local && c.affected(s.Address) {
			for _, p := range s.Processes {
				if !slices.ContainsFunc(all, func(o Process) bool { return o.PID == p.PID }) {
					all = append(all, p)
				}
			}
		}
	}
	return all
}

// serving names the services that answer at the affected addresses, by their configurations
// and by their processes.
func (c *Case) serving() []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, a := range c.Answering {
		if c.affected(a.Address) {
			add(string(a.Kind))
		}
	}
	all := c.stuck()
	for _, p := range all {
		add(kindAmong(all, p))
	}
	return names
}

// kindAmong names a process as services are named: by the one that started it, where that is
// among them, as dovecot's and postfix' programs have names of their own.
func kindAmong(all []Process, p Process) string {
	for range all {
		i := slices.IndexFunc(all, func(o Process) bool { return o.PID == p.Parent && o.PID != p.PID })
		if i < 0 || !unfamiliar(KindOf(p.Process)) {
			break
		}
		p = all[i]
	}
	return KindOf(p.Process)
}

// KindOf names a process as services are named.
func KindOf(p process.Process) string {
	switch p.Name {
	case "httpd", "apache2":
		return "apache"
	case "master", "smtpd", "tlsproxy":
		return "postfix"
	case "imap-login", "pop3-login", "lmtp", "submission-login":
		return "dovecot"
	default:
		return p.Name
	}
}

// unit returns the unit that runs a process or a service of that name.
func (c *Case) unit(names ...string) (unit.Unit, bool) {
	for _, u := range c.Units {
		if slices.Contains(names, u.Name) && u.Load != "not-found" {
			return u, true
		}
	}
	return unit.Unit{}, false
}

// unitsOf returns the names of the units that may run a service.
func (c *Case) unitsOf(kind string) []string {
	var names []string
	for _, p := range c.stuck() {
		if KindOf(p.Process) == kind && strings.HasSuffix(p.Unit, ".service") {
			names = append(names, p.Unit)
		}
	}
	for _, s := range c.Services {
		if string(s.Kind) == kind {
			names = append(names, s.Units...)
		}
	}
	return names
}

// reload returns the command that makes the services at the affected addresses load files.
func (c *Case) reload() string {
	var commands []string
	for _, d := range c.Certificate.Destinations {
		if len(d.Reload) > 0 && d.Local() {
			return command(d.Reload...)
		}
	}
	for _, kind := range c.serving() {
		units := c.unitsOf(kind)
		if u, ok := c.unit(units...); ok && !u.Reloads && unfamiliar(kind) {
			commands = append(commands, command("systemctl", "restart", strings.TrimSuffix(u.Name, ".service")))
			continue
		}
		commands = append(commands, reloadOf(kind, units))
	}
	return then(commands...)
}

// reloadOf returns the usual command for a service. One that is not known is left to a person.
func reloadOf(kind string, units []string) string {
	name := map[string]string{"nginx": "nginx.service", "apache": "apache2.service", "haproxy": "haproxy.service", "postfix": "postfix.service", "dovecot": "dovecot.service"}[kind]
	if len(units) > 0 {
		name = units[0]
	}
	if name == "" {
		return ""
	}
	reload := command("systemctl", "reload", strings.TrimSuffix(name, ".service"))
	switch kind {
	case "nginx":
		return then("nginx -t", reload)
	case "apache":
		return then("apachectl configtest", reload)
	case "haproxy":
		return then("haproxy -c -f /etc/haproxy/haproxy.cfg", reload)
	default:
		return reload
	}
}

// redeploy returns the command that has the hooks or the steps run again. Where it is not known what
// deploys, that is a reload.
func (c *Case) redeploy() string {
	if c.Certificate.Source.Kind != certmedic.SourceCertbot && len(c.Certificate.Destinations) == 0 {
		return c.reload()
	}
	return command("certmedic", "redeploy", c.Certificate.Name)
}

// renew returns the command that renews the lineage by hand.
func (c *Case) renew(args ...string) string {
	if c.Certificate.Source.Kind != certmedic.SourceCertbot {
		return command("certmedic", "renew", c.Certificate.Name)
	}
	words := []string{"certbot", "renew", "--cert-name", c.Certificate.Source.Lineage}
	if dir := c.Certificate.Source.ConfigDir; filepath.Clean(dir) != "/etc/letsencrypt" {
		words = append(words, "--config-dir", dir)
	}
	return command(append(words, args...)...)
}

// confFile returns the path of the renewal configuration.
func (c *Case) confFile() string {
	return filepath.Join(c.Certificate.Source.ConfigDir, "renewal", c.Certificate.Source.Lineage+".conf")
}

// confLine is a line of the renewal configuration as evidence.
func (c *Case) confLine(key string) certmedic.Evidence {
	setting := c.Conf.Params[key]
	return at(c.confFile(), setting.Line, key+" = "+setting.String())
}

// overdue reports whether the stored version should have been replaced.
func (c *Case) overdue() bool {
	leaf, ok := c.leaf()
	return ok && (!c.Now.Before(leaf.NotAfter) || !c.Due.IsZero() && !c.Now.Before(c.Due))
}

// outcome is what a run did for this lineage.
type outcome struct {
	run acmelog.Run
	acmelog.Renewal
}

// outcomes returns what runs that were no rehearsals did for this lineage, the newest first.
func (c *Case) outcomes() []outcome {
	var all []outcome
	for _, run := range slices.Backward(c.Runs) {
		if run.DryRun {
			continue
		}
		for _, r := range run.Renewals {
			if c.isThis(r.Lineage) {
				all = append(all, outcome{run, r})
			}
		}
	}
	return all
}

func (c *Case) isThis(lineage string) bool {
	return lineage == "" || lineage == c.Certificate.Source.Lineage || lineage == c.Certificate.Name || lineage == c.Logged
}

// failure returns the last renewal, if that failed and nothing was stored since. One that
// failed only at the reload did store its version.
func (c *Case) failure() (outcome, bool) {
	for _, o := range c.outcomes() {
		switch o.Result {
		case acmelog.NotDue:
			if !c.overdue() {
				return outcome{}, false
			}
		case acmelog.Failed, acmelog.Broken:
			late := o.run.Ended.After(c.Stored.Since)
			return o, late && !o.Stored && o.Cause != certmedic.CauseInstallerReloadFailed
		case acmelog.Begun:
		default:
			return outcome{}, false
		}
	}
	return outcome{}, false
}

// around is how far a hook's start may lie from the time of the files that it was run for.
const around = time.Hour

// ran is a deploy hook that a run started for this version.
type ran struct {
	run acmelog.Run
	acmelog.Hook
}

// hooksRan returns the deploy hooks that were run since the stored version was stored, in their
// order, of the last run that ran any. None: no run did, as far as the log goes.
func (c *Case) hooksRan() []ran {
	for _, run := range slices.Backward(c.Runs) {
		if run.DryRun || !run.Ended.IsZero() && run.Ended.Before(c.Stored.Since.Add(-around)) {
			continue
		}
		var all []ran
		for _, h := range run.Hooks {
			if (h.Kind == "deploy" || h.Kind == "reload") && !h.Skipped && c.isFor(h) {
				all = append(all, ran{run, h})
			}
		}
		if len(all) > 0 {
			return all
		}
	}
	return nil
}

func (c *Case) isFor(h acmelog.Hook) bool {
	return c.isThis(h.Lineage) || filepath.Base(h.Lineage) == c.Certificate.Source.Lineage
}

// cutShort reports whether a hook was started and nothing came after it, though its run is over.
func (h ran) cutShort() bool { return !h.Ended && !h.run.Finished }

// failed returns the hook that failed for the stored version: of certbot's run, or of an
// attempt of certmedic's own since.
func (c *Case) failed() (ran, bool) {
	for _, h := range c.hooksRan() {
		if h.Failed || h.cutShort() {
			return h, true
		}
	}
	return ran{}, false
}

// deployHooks returns the hooks of a kind that certbot would run.
func (c *Case) hooks(kind string) []Hook {
	var all []Hook
	for _, h := range c.Hooks {
		if h.Kind == kind && h.Skipped == "" {
			all = append(all, h)
		}
	}
	return all
}

// hookOf returns what is known of a hook that the log names.
func (c *Case) hookOf(commandLine string) (Hook, bool) {
	i := slices.IndexFunc(c.Hooks, func(h Hook) bool { return h.Command == commandLine })
	if i < 0 {
		return Hook{}, false
	}
	return c.Hooks[i], true
}

// at is a line of a hook as evidence. A command line has its place in the configuration.
func (h Hook) at(line int, text string) certmedic.Evidence {
	if h.Script.Path == "" {
		return said(cmp.Or(h.Source, h.Command), "%s", text)
	}
	return at(h.Script.Path, line, text)
}

// starters returns the jobs that would renew this lineage.
func (c *Case) starters() []schedule.Job {
	var all []schedule.Job
	for _, j := range c.Jobs {
		fits := j.Client == "" || j.Client == "certmedic" || c.Certificate.Source.Kind != certmedic.SourceCertbot || j.Client == "certbot"
		if fits {
			all = append(all, j)
		}
	}
	return all
}

// works reports whether a job starts by itself and can run. A schedule that is only not
// understood here may be a good one.
func works(j schedule.Job) bool {
	sound := j.Problem == "" || strings.Contains(j.Problem, "not understood")
	return j.Enabled && !j.Masked && j.Guarded == "" && sound && !j.DryRun
}

// lockAge returns for how long the lock has been held, and whether that is known.
func (c *Case) lockAge() (time.Duration, bool) {
	if c.Holder != nil && !c.Holder.Process.Start.IsZero() {
		return c.Now.Sub(c.Holder.Process.Start), true
	}
	if since := c.Stored.Lock.Since; !since.IsZero() {
		return c.Now.Sub(since), true
	}
	if n := len(c.Log.Runs); n > 0 && !c.Log.Runs[n-1].Finished {
		return c.Now.Sub(c.Log.Runs[n-1].Started), true
	}
	return 0, false
}

// host returns the host of an address.
func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}
