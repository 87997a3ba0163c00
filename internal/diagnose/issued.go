package diagnose

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/schedule"
)

// suspicionsOfIssued are asked where no newer version was issued or stored.
func suspicionsOfIssued() []suspicion {
	return []suspicion{
		fullDisk, brokenLineage, mismatchedKey, switchedOff, byHand, takenPort, failedRenewal, met, leftLock, deadTimer, neverRan, putOff, overdue,
	}
}

// fullDisk: the tree cannot take a new version.
func fullDisk(c *Case) (suspect, bool) {
	const needed = 1 << 20 // a version and its log
	for _, d := range c.Disks {
		why := ""
		switch {
		case !d.Inodes:
			why = "no inodes are left"
		case d.Free < needed:
			why = fmt.Sprintf("%d bytes are free", d.Free)
		default:
			continue
		}
		fix := remark("free some space, then", c.renew())
		return accuse(certmedic.CauseDiskFull, Certain, "There is no space left below "+d.Path+".", fix, said(d.Path, "%s", why))
	}
	return innocent()
}

// brokenLineage: certbot skips the lineage, or moves its links to something else.
func brokenLineage(c *Case) (suspect, bool) {
	var evidence []certmedic.Evidence
	for _, f := range c.Stored.Findings {
		if f.Code == certmedic.LineageBroken {
			file, line, rest := split(f.Detail)
			if file != "" && !filepath.IsAbs(file) {
				file = filepath.Join(c.Certificate.Source.ConfigDir, file)
			}
			evidence = append(evidence, at(cmp.Or(file, c.confFile()), line, rest))
		}
	}
	evidence = append(evidence, c.misordered()...)
	if len(evidence) == 0 {
		return innocent()
	}
	for _, note := range notes(c.Runs, certmedic.CauseLineageBroken) {
		evidence = append(evidence, logged(note.At)...)
	}
	fix := remark("mend what the evidence names, then look whether certbot takes the lineage", command("certbot", "certificates", "--cert-name", c.Certificate.Source.Lineage))
	return accuse(certmedic.CauseLineageBroken, Certain, "The lineage is not as certbot needs it.", fix, evidence...)
}

// misordered says that live/ leads to a version that has ended while the archive holds one that
// has not: certbot goes by numbers, and links the highest at every run.
func (c *Case) misordered() []certmedic.Evidence {
	leaf, stored := c.leaf()
	if !stored || c.valid(leaf) {
		return nil
	}
	for _, v := range slices.Backward(c.Versions) {
		if c.valid(v.Leaf) && v.Leaf.NotBefore.After(leaf.NotBefore) {
			return []certmedic.Evidence{
				said(c.Stored.Path, "leads to version %s, which ended at %s", c.Stored.Version, when(leaf.NotAfter)),
				said(v.Path, "is version %d, valid until %s, with a lower number", v.Number, when(v.Leaf.NotAfter)),
			}
		}
	}
	return nil
}

// split takes the place in front of a finding's text apart: "renewal/shop.conf:3: ...".
func split(detail string) (file string, line int, rest string) {
	head, tail, found := strings.Cut(detail, ": ")
	name, number, numbered := strings.Cut(head, ":")
	if !found || strings.ContainsAny(name, " ") || !strings.Contains(name, "/") {
		return "", 0, detail
	}
	if numbered {
		if _, err := fmt.Sscanf(number, "%d", &line); err != nil {
			return "", 0, detail
		}
	}
	return name, line, tail
}

// notes returns what runs noted of a kind, the newest first.
func notes(runs []acmelog.Run, cause certmedic.Cause) []acmelog.Note {
	var all []acmelog.Note
	for _, run := range slices.Backward(runs) {
		for _, n := range run.Notes {
			if n.Cause == cause {
				all = append(all, n)
			}
		}
	}
	return all
}

// mismatchedKey: the key beside the certificate is another one's.
func mismatchedKey(c *Case) (suspect, bool) {
	for _, f := range c.Stored.Findings {
		if f.Code == certmedic.KeyMismatch {
			fix := remark("put the key back that belongs to the certificate, or have both replaced", c.renew("--force-renewal"))
			return accuse(certmedic.CauseKeyMismatch, Certain, "The stored key does not belong to the stored certificate.", fix, said(c.Stored.Files.Privkey, "%s", f.Detail))
		}
	}
	return innocent()
}

// switchedOff: autorenew = False.
func switchedOff(c *Case) (suspect, bool) {
	if c.Conf == nil || c.Conf.Autorenew {
		return innocent()
	}
	fix := then(command("sed", "-i", "s/^autorenew *=.*/autorenew = True/", c.confFile()), c.renew())
	return accuse(certmedic.CauseAutorenewOff, Certain, "Renewal is switched off for this lineage.", fix, c.confLine("autorenew"))
}

// byHand: nobody but a person can answer the CA's challenge.
func byHand(c *Case) (suspect, bool) {
	if c.Conf == nil || c.Conf.Authenticator != "manual" || c.Conf.Params["manual_auth_hook"].String() != "" {
		return innocent()
	}
	fix := remark("choose a way that needs no person, such as", c.toWebroot())
	return accuse(certmedic.CauseManualAuthenticator, Certain, "The certificate was issued by hand, and cannot be renewed without a person.", fix, c.confLine("authenticator"))
}

// takenPort: the client would listen on port 80 itself, and somebody else does.
func takenPort(c *Case) (suspect, bool) {
	if c.Conf == nil || c.Conf.Authenticator != "standalone" || len(c.hooks("pre")) > 0 {
		return innocent()
	}
	port := cmp.Or(c.Conf.Params["http01_port"].String(), "80")
	for _, s := range c.Spots {
		if !s.Local || !strings.HasSuffix(s.Address, ":"+port) || len(s.Processes) == 0 {
			continue
		}
		p := s.Processes[0]
		fix := then(c.toWebroot(), c.renew())
		return accuse(certmedic.CausePortConflict, Excluded, fmt.Sprintf("certbot wants port %s for itself, and %s listens there.", port, p.Name), fix,
			c.confLine("authenticator"), said(s.Address, "process %d (%s) listens", p.PID, p.Name))
	}
	return innocent()
}

// failedRenewal: the client's log says why the last renewal failed.
func failedRenewal(c *Case) (suspect, bool) {
	o, failed := c.failure()
	if !failed || o.Cause == "" || o.Cause == certmedic.CauseUnknown {
		return innocent()
	}
	evidence := append(logged(o.At), certmedic.Evidence{Source: o.At.Evidence().Source, Line: o.Detail, Output: true})
	summary := Explain(o.Cause).Means
	if !o.Until.IsZero() {
		summary += " It asks to wait until " + when(o.Until) + "."
	}
	return accuse(o.Cause, Certain, summary, c.cure(o), evidence...)
}

// cure says what to do about a renewal that failed.
func (c *Case) cure(o outcome) string {
	try := c.renew("--dry-run")
	switch o.Cause {
	case certmedic.CauseRateLimited:
		wait := "wait a week, or until the oldest certificate of the same names is seven days old"
		if !o.Until.IsZero() {
			wait = "wait until " + when(o.Until)
		}
		return remark(wait+"; try at the staging directory meanwhile", try)
	case certmedic.CauseReplacesConflict:
		return remark("order without naming the old certificate", c.renew("--force-renewal"))
	case certmedic.CauseChallenge404, certmedic.CauseChallengeUnauthorized:
		return remark("have the folder of the challenges served from the webroot that the configuration names, then", c.lookAtWebroot(), try)
	case certmedic.CauseChallengeRefused, certmedic.CauseChallengeTimeout:
		return remark("let everybody reach port 80 of every address of the names (firewall, router, AAAA records), then", try)
	case certmedic.CauseDNSFailed:
		return remark("mend the DNS records of the name, then", try)
	case certmedic.CauseCAAForbids:
		return remark("let the CAA record allow this CA, then", try)
	case certmedic.CauseManualAuthenticator:
		return c.toWebroot()
	case certmedic.CausePortConflict:
		return remark("renew through the server that has the port, or stop it in a pre hook", c.toWebroot())
	case certmedic.CauseLockHeld:
		return "ps -ef | grep [c]ertbot"
	default:
		return try
	}
}

// toWebroot returns the command that has the lineage renewed by way of a folder that is served.
func (c *Case) toWebroot() string {
	return command("certbot", "reconfigure", "--cert-name", c.Certificate.Source.Lineage, "--webroot", "-w", "/var/www/html")
}

// lookAtWebroot shows the folder in which tokens are placed.
func (c *Case) lookAtWebroot() string {
	if c.Conf == nil {
		return ""
	}
	root := c.Conf.Params["webroot_path"]
	if len(root.Values) == 0 || root.Values[0] == "" {
		return ""
	}
	return command("ls", "-ld", filepath.Join(root.Values[0], ".well-known/acme-challenge"))
}

// met: what was tried in the place of a CA did not work.
func met(c *Case) (suspect, bool) {
	for _, a := range c.Reach.All {
		if a.Cause == "" || a.Cause == certmedic.CauseNone || a.Cause == certmedic.CauseUnknown {
			continue
		}
		what := Explain(a.Cause).Means
		if a.Name != "" {
			what = fmt.Sprintf("%s (%q)", what, a.Name)
		}
		confidence := Excluded
		if a.Cause == certmedic.CauseChallengeTimeout || a.Cause == certmedic.CauseChallengeRefused {
			confidence = Guessed // from inside, a router may lead a host's own public address nowhere
		}
		fix := remark(cmp.Or(strings.TrimPrefix(a.Fix, "# "), "mend what the evidence says, then"), c.renew("--dry-run"))
		return accuse(a.Cause, confidence, what, fix, a.Evidence)
	}
	return innocent()
}

// leftLock: what starts renewals gives way to a file that somebody left behind.
func leftLock(c *Case) (suspect, bool) {
	for _, j := range c.starters() {
		i := slices.IndexFunc(c.Locks, func(l LockFile) bool { return l.Path == j.Lock })
		if i < 0 || !works(j) || c.Now.Sub(c.Locks[i].Since) < patience {
			continue
		}
		l := c.Locks[i]
		fix := remark("look whether a renewal really is at work somewhere; if none is", command("rm", l.Path), c.renew())
		return accuse(certmedic.CauseLockHeld, Certain, fmt.Sprintf("What starts renewals ends at once, because %q is there.", l.Path), fix,
			at(j.Script, j.LockLine, "ends where "+l.Path+" is there"), said(l.Path, "is there since %s", when(l.Since)), at(j.File, j.Line, cmp.Or(j.Command, j.Name)+": runs "+j.Script))
	}
	return innocent()
}

// deadTimer: what should start renewals does not.
func deadTimer(c *Case) (suspect, bool) {
	jobs := c.starters()
	if len(jobs) == 0 || c.Certificate.Source.Kind != certmedic.SourceCertbot || c.unseen(PartJobs) || slices.ContainsFunc(jobs, works) && !c.silent(jobs) {
		return innocent()
	}
	var evidence []certmedic.Evidence
	for _, j := range jobs {
		evidence = append(evidence, at(j.File, j.Line, cmp.Or(j.Command, j.Name)+": "+why(c, j)))
	}
	fix := remark("have it started again, then", c.renew())
	for _, j := range jobs {
		if j.Kind == schedule.Timer {
			unmask := ""
			if j.Masked {
				unmask = command("systemctl", "unmask", j.Name)
			}
			fix = then(unmask, command("systemctl", "enable", "--now", j.Name), c.renew())
		}
	}
	return accuse(certmedic.CauseTimerDead, Certain, "What should start renewals does not start them.", fix, evidence...)
}

// silent reports whether every job that could run should have run long ago and did not.
func (c *Case) silent(jobs []schedule.Job) bool {
	for _, j := range jobs {
		last := j.Last
		if n := len(c.Log.Runs); n > 0 && c.Log.Runs[n-1].Started.After(last) {
			last = c.Log.Runs[n-1].Started
		}
		if works(j) && (last.IsZero() || j.Every == 0 || c.Now.Sub(last) < 2*j.Every+24*time.Hour) {
			return false
		}
	}
	return true
}

func why(c *Case, j schedule.Job) string {
	switch {
	case j.Masked:
		return "is masked"
	case j.Problem != "":
		return j.Problem
	case j.Guarded != "":
		return "does nothing here: " + j.Guarded
	case !j.Enabled:
		return "is not enabled"
	case j.DryRun:
		return "is a dry run only"
	default:
		return "last ran " + when(j.Last) + ", " + span(c.Now.Sub(j.Last)) + " ago"
	}
}

// neverRan: nothing starts renewals at all.
func neverRan(c *Case) (suspect, bool) {
	if len(c.starters()) > 0 || c.unseen(PartJobs) || c.Certificate.Source.Kind != certmedic.SourceCertbot {
		return innocent()
	}
	confidence, evidence := Excluded, []certmedic.Evidence{said("/etc/systemd, /etc/cron*", "no timer, cron table or service starts certbot")}
	if len(c.Log.Runs) == 0 && !c.unseen(PartLog) {
		if confidence = Certain; len(c.Versions) > 1 {
			confidence = Guessed // it was renewed before, by something that cannot be seen from here
		}
		evidence = append(evidence, said(cmp.Or(c.Log.Folder, "/var/log/letsencrypt"), "no run of certbot is on record"))
	} else if n := len(c.Log.Runs); n > 0 {
		evidence = append(evidence, logged(c.Log.Runs[n-1].First)...)
	}
	fix := then("systemctl enable --now certbot.timer", c.renew())
	return accuse(certmedic.CauseRenewalNeverRan, confidence, "Nothing on this host starts renewals.", fix, evidence...)
}

// putOff: certbot ran and thinks that it is too early.
func putOff(c *Case) (suspect, bool) {
	all := c.outcomes()
	if len(all) == 0 || all[0].Result != acmelog.NotDue || !c.overdue() {
		return innocent()
	}
	evidence := logged(all[0].At)
	fix := c.renew("--force-renewal")
	if c.Conf != nil && c.Conf.Top["renew_before_expiry"].Line > 0 {
		setting := c.Conf.Top["renew_before_expiry"]
		evidence = append(evidence, at(c.confFile(), setting.Line, "renew_before_expiry = "+setting.String()))
		fix = then(command("sed", "-i", "/^renew_before_expiry/d", c.confFile()), c.renew())
	}
	return accuse(certmedic.CauseNotDue, Certain, "certbot ran, and says that the certificate is not yet due.", fix, evidence...)
}

// skewed is how far clocks may differ before dates are in doubt.
const skewed = 5 * time.Minute

// overdue: nothing says more than that.
func overdue(c *Case) (suspect, bool) {
	leaf, _ := c.leaf()
	if !c.overdue() {
		return innocent()
	}
	evidence := []certmedic.Evidence{said(c.Stored.Path, "version %s is valid until %s, and was due at %s", c.Stored.Version, when(leaf.NotAfter), when(c.Due))}
	if c.Reach.Skewed && c.Reach.Skew.Abs() > skewed {
		evidence = append(evidence, said("the CA's clock", "this host's clock differs from it by %s", span(c.Reach.Skew)))
	}
	return accuse(certmedic.CauseRenewalOverdue, Guessed, "The certificate should have been replaced by now, and nothing says why it was not.", c.renew("--dry-run"), evidence...)
}
