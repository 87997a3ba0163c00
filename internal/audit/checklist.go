package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/schedule"
)

// State says how it is about a line of the checklist.
type State string

// The states. A line is done only where there is evidence for that.
const (
	Done    State = "done"
	NotDone State = "not done"
	Unknown State = "evidence unknown"
)

// Item is a line of the operational checklist.
type Item struct {
	Code     string `json:"code"`
	Title    string `json:"title"`
	State    State  `json:"state"`
	Evidence string `json:"evidence"` // what tells it, or would
	Place    Place  `json:"place,omitzero"`
}

// answer is what is known of a line.
type answer struct {
	state    State
	evidence string
	place    Place
}

func done(place Place, format string, args ...any) answer {
	return answer{Done, fmt.Sprintf(format, args...), place}
}

func missing(format string, args ...any) answer {
	return answer{NotDone, fmt.Sprintf(format, args...), Place{}}
}

func unknown(format string, args ...any) answer {
	return answer{Unknown, fmt.Sprintf(format, args...), Place{}}
}

func checklist(f *Facts) []Item {
	lines := []struct {
		code, title string
		answer      func(*Facts) answer
	}{
		{"installed", "Client and plugins are installed", installed},
		{"dry-run", "The renewal was tested by a dry run", dryRun},
		{"deploy-hook", "The deploy hook is there, can be run, and was rehearsed", hookReady},
		{"validated", "What is served is checked after a deployment", validated},
		{"scheduled", "A timer or cron renews", scheduled},
		{"monitored", "Failed renewals are noticed and told", monitored},
		{"runbook", "There is a runbook for a renewal by hand", declared("runbook", "a page that says how to renew by hand")},
		{"distributed", "The distribution to all servers was tested", distributed},
		{"rollback", "A rollback was proven", rolledBack},
		{"limits", "The CA's limits are watched", limits},
		{"outside", "Expiry is watched from outside", declared("outside", "who watches the expiry from another place")},
		{"drilled", "Failure and recovery were drilled", drilled},
		{"logs", "Logs are kept and watched", logs},
		{"notified", "Notifications are configured and were tested", notified},
		{"contacts", "Contacts and escalation are written down", contacts},
	}
	var all []Item
	for _, l := range lines {
		a := l.answer(f)
		all = append(all, Item{l.code, l.title, a.state, shown(a.evidence), Place{oneLine(a.place.File), a.place.Line}})
	}
	return all
}

// finds reports whether one of some checks finds anything.
func finds(f *Facts, looks ...func(*Facts) []Finding) (Finding, bool) {
	for _, look := range looks {
		if found := look(f); len(found) > 0 {
			return found[0], true
		}
	}
	return Finding{}, false
}

// withCertbot reports whether certbot keeps certificates here.
func (f *Facts) withCertbot() bool {
	return slices.ContainsFunc(f.Lineages, func(l Lineage) bool { return l.Client == "certbot" })
}

func installed(f *Facts) answer {
	if !f.withCertbot() {
		return unknown("certbot keeps no certificates here")
	}
	if found, ok := finds(f, pluginMissing); ok {
		return missing("%s", found.What)
	}
	if !f.Clients.Known {
		return unknown("no certbot was found in the usual places")
	}
	return done(Place{File: f.Clients.Certbot[0]}, "certbot is there, with every plugin that a lineage names")
}

// day is a time as the checklist shows it.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func dryRun(f *Facts) answer {
	rehearsal, ok := f.Own.newestOf(func(a certmedic.Action) bool { return a.Kind == certmedic.RehearseRenewal && rehearsed(a) })
	var best acmelog.Run
	for _, log := range f.Logs {
		for _, r := range log.Found.Runs {
			failed := slices.ContainsFunc(r.Renewals, func(n acmelog.Renewal) bool { return n.Result == acmelog.Failed || n.Result == acmelog.Broken })
			if r.DryRun && r.Finished && !failed && len(r.Renewals) > 0 && r.Ended.After(best.Ended) {
				best = r
			}
		}
	}
	switch {
	case ok && rehearsal.StartedAt.After(best.Ended):
		return done(Place{}, "certmedic rehearsed a renewal of %s on %s", rehearsal.Certificate, day(rehearsal.StartedAt))
	case !best.Ended.IsZero():
		return done(Place{best.Last.File, best.Last.Number}, "certbot renew --dry-run succeeded on %s", day(best.Ended))
	case !f.Sees(PartLogs) || len(f.Logs) == 0:
		return unknown("there is no log that could be read")
	}
	return unknown("no dry run is in the logs that are kept: certbot renew --dry-run, or certmedic hooks rehearse NAME")
}

func hookReady(f *Facts) answer {
	if found, ok := finds(f, skippedHook, cannotRun, missingProgram, wrongKey, noReload, wrongReload); ok {
		return answer{NotDone, found.What, found.Place}
	}
	if len(f.Hooks) == 0 {
		if slices.ContainsFunc(f.Lineages, func(l Lineage) bool { return l.Param("installer") != "" }) {
			return unknown("certbot's installer reloads the server; whether that works is told by each renewal only")
		}
		return missing("there is no hook")
	}
	if a, ok := f.Own.newestOf(func(a certmedic.Action) bool { return a.Kind == certmedic.RehearseHooks && rehearsed(a) }); ok {
		return done(f.Hooks[0].Place, "it was rehearsed on %s", day(a.StartedAt))
	}
	for _, log := range f.Logs {
		for _, r := range slices.Backward(log.Found.Runs) {
			for _, h := range r.Hooks {
				if h.Kind == "deploy" && h.Ended && !h.Failed && !h.Skipped {
					return done(Place{h.At.File, h.At.Number}, "it ran, and did not fail, on %s", day(r.Ended))
				}
			}
		}
	}
	return unknown("that it ever ran is in no log: certmedic hooks rehearse NAME")
}

func validated(f *Facts) answer {
	if f.Own.Running {
		return done(Place{File: f.Own.File}, "certmedic compares what is served with what is stored after each change")
	}
	if a, ok := f.Own.newestOf(func(a certmedic.Action) bool { return a.Outcome.Kind == certmedic.OutcomeHealed }); ok {
		return done(Place{}, "certmedic verified a deployment of %s on %s", a.Certificate, day(a.EndedAt))
	}
	return unknown("nothing on this host looks at what is served after a renewal")
}

func scheduled(f *Facts) answer {
	if !f.Sees(PartJobs) {
		return unknown("what starts renewals could not be seen")
	}
	if found, ok := finds(f, noJob, timerStopped); ok {
		return answer{NotDone, found.What, found.Place}
	}
	i := slices.IndexFunc(f.Jobs, func(j schedule.Job) bool { return runs(j) })
	names, _ := f.clients()
	switch {
	case i < 0 && slices.ContainsFunc(names, f.loops):
		return done(Place{File: "/proc"}, "a process renews and sleeps in turn, as in a container")
	case i < 0 && slices.ContainsFunc(f.Lineages, func(l Lineage) bool { return f.renewsItself(&l) }):
		return done(Place{File: f.Own.File}, "certmedic renews")
	case i < 0:
		return missing("nothing starts renewals")
	}
	j := f.Jobs[i]
	return done(Place{j.File, j.Line}, "%s (%s)", j.Name, cmp.Or(j.Schedule, string(j.Kind)))
}

func monitored(f *Facts) answer {
	switch {
	case f.Own.Running && len(logOnly(f)) == 0:
		return done(Place{File: f.Own.File}, "certmedic runs, and tells %s", receivers(f))
	case f.Own.File != "" && len(logOnly(f)) > 0:
		return missing("certmedic tells a log only")
	case len(f.Own.Exporters) > 0:
		return unknown("%s is there; who is told cannot be seen from here", strings.Join(f.Own.Exporters, ", "))
	case f.Own.Unit != "" && f.Root != "":
		return unknown("%s starts certmedic; whether it runs cannot be seen in a tree", f.Own.Unit)
	}
	for _, j := range f.Jobs {
		if runs(j) && !j.Quiet && j.Sends != "" && !strings.Contains(j.Sends, "/dev/null") {
			return unknown("%s sends what it says (%s); whether that arrives is not known", j.Name, j.Sends)
		}
	}
	return missing("nothing on this host notices a failed renewal")
}

func receivers(f *Facts) string {
	var names []string
	for _, r := range f.Own.Receivers {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// declared returns the answer that the configuration gives under a key of `audit:`.
func declared(key, wanted string) func(*Facts) answer {
	return func(f *Facts) answer {
		set, ok := f.Own.Declared[key]
		switch {
		case !ok:
			return unknown("certmedic.yml can name %s: audit.%s", wanted, key)
		case set.Absent:
			return answer{NotDone, set.Value + " is not there", set.Place}
		}
		return done(set.Place, "%s", set.Value)
	}
}

// distributed judges by redeployments that were verified on every address.
func distributed(f *Facts) answer {
	moves := func(a certmedic.Action) bool {
		return a.Outcome.Kind == certmedic.OutcomeHealed && (a.Kind == certmedic.ActionRedeploy || a.Kind == certmedic.ActionRenew)
	}
	if a, ok := f.Own.newestOf(moves); ok {
		return done(Place{}, "a %s of %s was seen on every address on %s", a.Kind, a.Certificate, day(a.EndedAt))
	}
	if a, ok := f.Own.newestOf(func(a certmedic.Action) bool { return a.Kind == certmedic.RehearseHooks && rehearsed(a) }); ok {
		return unknown("the hooks of %s were rehearsed on %s; that every server took the certificate is not proven", a.Certificate, day(a.StartedAt))
	}
	return unknown("no deployment was verified on every address: certmedic redeploy NAME")
}

func rolledBack(f *Facts) answer {
	if a, ok := f.Own.newestOf(func(a certmedic.Action) bool {
		return a.Kind == certmedic.ActionRollback && a.Outcome.Kind == certmedic.OutcomeHealed
	}); ok {
		return done(Place{}, "a rollback of %s was verified on %s", a.Certificate, day(a.EndedAt))
	}
	if f.Sees(PartOwn) && f.Own.Snapshots == 0 {
		return missing("there is no version to go back to")
	}
	return unknown("none was ever done: certmedic rollback NAME --dry-run shows what it would do")
}

func limits(f *Facts) answer {
	if f.Own.Running {
		return done(Place{File: f.Own.File}, "certmedic counts what is spent of them")
	}
	return missing("nobody counts what is spent of them")
}

func drilled(f *Facts) answer {
	if e, ok := f.Own.exercise("drill"); ok {
		return done(Place{}, "a drill reached %s on %s", e.Receiver, day(e.Time))
	}
	return unknown("no drill is on record: certmedic drill")
}

// exercise returns the newest exercise of a kind that a receiver took.
func (o Own) exercise(kind string) (newest Exercise, ok bool) {
	for _, e := range o.Exercises {
		if e.Kind == kind && e.Time.After(newest.Time) {
			newest, ok = e, true
		}
	}
	return newest, ok
}

func logs(f *Facts) answer {
	if found, ok := finds(f, logsShort, logsEndless); ok {
		return answer{NotDone, found.What, found.Place}
	}
	var kept Log
	for _, l := range f.Logs {
		if len(l.Found.Runs) > 0 {
			kept = l
		}
	}
	switch {
	case len(kept.Found.Runs) == 0:
		return unknown("there is no log that could be read")
	case !f.Own.Running:
		return unknown("%s goes back to %s; who reads it is not known", kept.Folder, day(kept.Found.Oldest))
	}
	return done(Place{File: kept.Folder}, "they go back to %s, and certmedic reads them", day(kept.Found.Oldest))
}

func notified(f *Facts) answer {
	if f.Own.File == "" || len(logOnly(f)) > 0 {
		return missing("no receiver that reaches people is configured here")
	}
	e, ok := f.Own.exercise("test")
	if d, drilled := f.Own.exercise("drill"); drilled && d.Time.After(e.Time) {
		e, ok = d, true
	}
	if !ok {
		return unknown("they are configured (%s), and no test is on record: certmedic receivers test", receivers(f))
	}
	return done(Place{File: f.Own.File}, "%s took a %s on %s", e.Receiver, e.Kind, day(e.Time))
}

func contacts(f *Facts) answer {
	a := declared("contacts", "the page with who is called, and who after them")(f)
	if a.state == Unknown && f.Own.Escalates.File != "" {
		a.evidence = "critical messages have a route of their own; " + a.evidence
		a.place = f.Own.Escalates
	}
	return a
}
