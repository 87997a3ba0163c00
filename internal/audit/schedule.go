package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/unit"
)

func scheduleChecks() []check {
	return []check{
		{
			"no-job", critical, "Nothing on this host starts the renewal of its certificates.",
			"they end one after the other, and nobody runs certbot by hand in time.", "systemctl enable --now certbot.timer", noJob,
		},
		{
			"job-unable", warning, "What should start renewals is switched off or cannot run.",
			"it looks as if renewals were taken care of.", "mend it, or remove it where another one does its work", jobUnable,
		},
		{
			"timer-stopped", warning, "A timer is enabled, and systemd does not have it running.",
			"it starts again only when the host does.", "systemctl start TIMER", timerStopped,
		},
		{
			"several-jobs", warning, "Several jobs renew the same certificates.",
			"where they meet, one finds the lock held and fails; two that force renewals spend the CA's limits twice.", "keep one of them", severalJobs,
		},
		{
			"job-forces", critical, "A job renews at every run, whether that is due or not.",
			"it spends the CA's limit of five certificates a week for the same names: then not even a needed renewal is issued.", "remove --force-renewal from the command", jobForces,
		},
		{
			"job-rehearses", warning, "A job only rehearses: it has --dry-run.",
			"nothing is renewed by it.", "remove --dry-run from the command, where it is meant to renew", jobRehearses,
		},
		{
			"job-late", warning, "A job did not run when it should have.",
			"the host, the timer or cron was stopped; renewals wait for it.", "systemctl status certbot.timer", jobLate,
		},
		{
			"job-too-rare", critical, "A job runs too rarely for the lifetime of a certificate.",
			"a renewal that fails once leaves no time for a second try before the end.", "run it at least twice a day", tooRare,
		},
		{
			"ari-window-missed", info, "A job runs more rarely than the window in which the CA wants a certificate to be replaced.",
			"the window is about a fiftieth of the lifetime: outside of it a renewal counts against the CA's limits.", "run the job every hour for certificates of a few days", windowMissed,
		},
		{
			"job-quiet", info, "A job says nothing but errors, and nobody is told of its failures.",
			"certbot -q does not even tell that a deploy hook failed: that stands in its log only.", "certmedic serve", jobQuiet,
		},
	}
}

// clients returns the clients that keep certificates here, with how many.
func (f *Facts) clients() (names []string, count map[string]int) {
	count = map[string]int{}
	for _, l := range f.Lineages {
		if count[l.Client]++; count[l.Client] == 1 {
			names = append(names, l.Client)
		}
	}
	return names, count
}

// renewsItself reports whether certmedic itself renews a lineage.
func (f *Facts) renewsItself(l *Lineage) bool {
	c, ok := f.own(l)
	return ok && c.Mode == certmedic.ModeAuto && c.Allows(certmedic.ActionRenew)
}

func noJob(f *Facts) []Finding {
	if !f.Sees(PartJobs) {
		return nil
	}
	var all []Finding
	names, count := f.clients()
	for _, client := range names {
		byUs := slices.ContainsFunc(f.Lineages, func(l Lineage) bool { return l.Client == client && f.renewsItself(&l) })
		if len(f.jobsOf(client)) > 0 || byUs || f.loops(client) {
			continue
		}
		found := Finding{Subject: client, What: fmt.Sprintf("no timer and no line of cron runs %s, which keeps %d certificates here", client, count[client])}
		for _, j := range f.Jobs {
			if j.Client == client {
				found.Place, found.What = Place{j.File, j.Line}, found.What+": "+asleep(j)
			}
		}
		if client != "certbot" {
			found.Fix = remark("install the timer or the line of cron that " + client + " comes with")
		}
		all = append(all, found)
	}
	return all
}

// loops reports whether a shell renews and sleeps in turn, as those containers do that share a tree
// with this host.
func (f *Facts) loops(client string) bool {
	return slices.ContainsFunc(f.Processes.Processes, func(p process.Process) bool {
		line := strings.Join(p.Argv, " ")
		return strings.Contains(line, client+" renew") && strings.Contains(line, "sleep")
	})
}

// asleep says why a job does not run.
func asleep(j schedule.Job) string {
	switch {
	case j.Masked:
		return j.Name + " is masked"
	case j.Guarded != "":
		return j.Name + " does not run beside systemd (" + j.Guarded + ")"
	case !j.Enabled:
		return j.Name + " is not enabled"
	case j.DryRun:
		return j.Name + " only rehearses"
	}
	return cmp.Or(j.Problem, j.Name)
}

// jobFindings asks a question of every job.
func jobFindings(f *Facts, ask func(schedule.Job) (what, fix string)) []Finding {
	var all []Finding
	for _, j := range f.Jobs {
		if what, fix := ask(j); what != "" {
			all = append(all, Finding{Subject: j.Name, Place: Place{j.File, j.Line}, What: what, Fix: fix})
		}
	}
	return all
}

func jobUnable(f *Facts) []Finding {
	return jobFindings(f, func(j schedule.Job) (string, string) {
		switch {
		case j.Guarded != "" || j.DryRun || j.Kind == schedule.Loop && !j.Enabled, j.Masked && len(f.jobsOf(j.Client)) > 0:
			return "", "" // that is how it is meant
		case j.Masked:
			return cmp.Or(j.Problem, j.Name+" is masked"), command("systemctl", "unmask", j.Name)
		case unable(j):
			return j.Problem, ""
		case !j.Enabled && len(f.jobsOf(j.Client)) == 0:
			return j.Name + " is not enabled", command("systemctl", "enable", "--now", j.Name)
		}
		return "", ""
	})
}

func timerStopped(f *Facts) []Finding {
	return jobFindings(f, func(j schedule.Job) (string, string) {
		i := slices.IndexFunc(f.Units, func(u unit.Unit) bool { return u.Name == j.Name })
		if i < 0 || !runs(j) || f.Units[i].Load != "loaded" || slices.Contains([]string{"active", "activating", "reloading"}, f.Units[i].Active) {
			return "", ""
		}
		return fmt.Sprintf("systemd says that it is %s", f.Units[i].Active), command("systemctl", "start", j.Name)
	})
}

func severalJobs(f *Facts) []Finding {
	var all []Finding
	names, _ := f.clients()
	for _, client := range names {
		jobs := f.jobsOf(client)
		whole := slices.DeleteFunc(slices.Clone(jobs), func(j schedule.Job) bool { return strings.Contains(j.Command, "--cert-name") })
		for _, j := range whole[min(1, len(whole)):] {
			first := whole[0]
			all = append(all, Finding{
				Subject: client, Place: Place{j.File, j.Line},
				What: fmt.Sprintf("%s (%s) runs %s as well as %s (%s:%d)", j.Name, cmp.Or(j.Schedule, string(j.Kind)), client, first.Name, first.File, first.Line),
			})
		}
	}
	return all
}

func jobForces(f *Facts) []Finding {
	return jobFindings(f, func(j schedule.Job) (string, string) {
		if !j.Force || !runs(j) {
			return "", ""
		}
		return j.Command, ""
	})
}

func jobRehearses(f *Facts) []Finding {
	return jobFindings(f, func(j schedule.Job) (string, string) {
		if !j.DryRun || len(f.jobsOf(j.Client)) > 0 {
			return "", ""
		}
		return j.Command, ""
	})
}

// jobLate judges by the stamps of timers, which say when they last ran.
func jobLate(f *Facts) []Finding {
	return jobFindings(f, func(j schedule.Job) (string, string) {
		if f.Root != "" || !runs(j) || j.Last.IsZero() || j.Every == 0 || f.Now.Sub(j.Last) < 2*j.Every+time.Hour {
			return "", ""
		}
		return fmt.Sprintf("it last ran at %s, and is to run every %s", j.Last.UTC().Format(time.RFC3339), days(j.Every)), command("systemctl", "status", j.Name)
	})
}

// left is how much of a life is left when clients renew: a third, half of a short one.
func left(life time.Duration) time.Duration {
	if life < 10*24*time.Hour {
		return life / 2
	}
	return life / 3
}

// rarest finds the lineage of each client with the shortest life, and asks whether its job runs
// often enough for it.
func rarest(f *Facts, enough func(life, every time.Duration) bool, say string) []Finding {
	var all []Finding
	names, _ := f.clients()
	for _, client := range names {
		j, every := f.every(client)
		var shortest *Lineage
		for i := range f.Lineages {
			l := &f.Lineages[i]
			if l.Client == client && l.Cert().Lifetime() > 0 && (shortest == nil || l.Cert().Lifetime() < shortest.Cert().Lifetime()) {
				shortest = l
			}
		}
		if every == 0 || shortest == nil || enough(shortest.Cert().Lifetime(), every) {
			continue
		}
		all = append(all, Finding{
			Subject: j.Name, Place: Place{j.File, j.Line},
			What: fmt.Sprintf("it runs every %s (%s), and %s is valid for %s in all%s", days(every), j.Schedule, shortest.Name, days(shortest.Cert().Lifetime()), say),
		})
	}
	return all
}

func tooRare(f *Facts) []Finding {
	return rarest(f, func(life, every time.Duration) bool { return 2*every < left(life) }, "")
}

// window is how long a CA's window lasts, as a share of the lifetime: Let's Encrypt's is 2 %.
const window = 50

func windowMissed(f *Facts) []Finding {
	return rarest(f, func(life, every time.Duration) bool { return every <= life/window || 2*every >= left(life) }, ": the CA's window for it is shorter")
}

func jobQuiet(f *Facts) []Finding {
	if f.watched() {
		return nil
	}
	return jobFindings(f, func(j schedule.Job) (string, string) {
		told := j.Sends != "" && !strings.Contains(j.Sends, "/dev/null")
		if !runs(j) || told || !j.Quiet && !strings.Contains(j.Sends, "/dev/null") {
			return "", ""
		}
		return j.Command, ""
	})
}

// watched reports whether something on this host watches certificates.
func (f *Facts) watched() bool { return f.Own.Running || f.Own.Unit != "" || len(f.Own.Exporters) > 0 }
