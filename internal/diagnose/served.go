package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// suspicions returns what is asked, in order: what lies deeper first.
func (w way) suspicions() []suspicion {
	switch w.trouble {
	case deploying:
		return []suspicion{atWork}
	case locked:
		return []suspicion{hungHook, heldLock}
	case notIssued:
		return suspicionsOfIssued()
	case notStored:
		return []suspicion{otherLineage, brokenLineage}
	case notServed:
		return slices.Concat([]suspicion{mismatchedKey, brokenLineage}, suspicionsOfPlaces(), suspicionsOfService(), suspicionsOfStored(), suspicionsOfCopies(), suspicionsOfLoad(), suspicionsOfAddresses())
	case unreachable, alone:
		return slices.Concat([]suspicion{unresolved}, suspicionsOfService(), []suspicion{wrongServer, badChain, outdated}, suspicionsOfAddresses())
	case bad:
		return slices.Concat([]suspicion{mismatchedKey, wrongServer, badChain, outdated}, suspicionsOfPlaces())
	default:
		return nil
	}
}

// latent returns what is not what is wrong now, and will be next time or beside it.
func (w way) latent() []suspicion {
	switch w.trouble {
	case deploying, locked, notIssued, alone:
		return nil
	case fine:
		return []suspicion{switchedOff, byHand}
	default:
		return []suspicion{failedRenewal, switchedOff, byHand, fullDisk}
	}
}

// suspicionsOfAddresses are asked last: what they see is where, and seldom why.
func suspicionsOfAddresses() []suspicion { return []suspicion{lostHost, splitAddresses} }

// atWork: the client holds its lock, or certmedic runs a command.
func atWork(c *Case) (suspect, bool) {
	if c.acting() {
		a := c.Actions[0]
		return accuse(certmedic.CauseDeploying, Certain, fmt.Sprintf("certmedic itself is at work on it: %s since %s.", a.Kind, when(a.StartedAt)), "", said("journal "+a.ID, "%s by %s: %s", a.Kind, a.By, a.Why))
	}
	return accuse(certmedic.CauseDeploying, Certain, "The client holds its lock: a renewal or a hook is under way.", "", c.lockEvidence()...)
}

// lockEvidence says who holds the lock, and what that waits for.
func (c *Case) lockEvidence() []certmedic.Evidence {
	l := c.Stored.Lock
	evidence := []certmedic.Evidence{said(l.Path, "is held by process %d", l.PID)}
	if l.PID == 0 {
		evidence = []certmedic.Evidence{said(l.Path, "is held by a process that cannot be seen from here, as of another container")}
	}
	if c.Holder == nil {
		return evidence
	}
	evidence = append(evidence, said(fmt.Sprintf("/proc/%d", c.Holder.Process.PID), "%s, since %s", strings.Join(c.Holder.Process.Argv, " "), when(c.Holder.Process.Start)))
	for _, p := range c.Holder.Children {
		evidence = append(evidence, said(fmt.Sprintf("/proc/%d", p.PID), "%s, since %s, below it", strings.Join(p.Argv, " "), when(p.Start)))
	}
	return evidence
}

// hungHook: the client has waited for a hook for long.
func hungHook(c *Case) (suspect, bool) {
	n := len(c.Log.Runs)
	var line []certmedic.Evidence
	name := ""
	if n > 0 && !c.Log.Runs[n-1].Finished {
		if hooks := c.Log.Runs[n-1].Hooks; len(hooks) > 0 && !hooks[len(hooks)-1].Ended {
			name, line = hooks[len(hooks)-1].Command, logged(hooks[len(hooks)-1].At)
		}
	}
	if name == "" && (c.Holder == nil || len(c.Holder.Children) == 0) {
		return innocent()
	}
	confidence := Certain
	if name == "" {
		confidence = Excluded
		name = strings.Join(c.Holder.Children[0].Argv, " ")
	}
	age, _ := c.lockAge()
	return accuse(certmedic.CauseHookHung, confidence, fmt.Sprintf("The hook %q was started and does not end; certbot has held its lock for %s.", name, span(age)), c.endHolder(true), append(line, c.lockEvidence()...)...)
}

// heldLock: the client has been at work for long, with nothing to show for it.
func heldLock(c *Case) (suspect, bool) {
	age, _ := c.lockAge()
	evidence := c.lockEvidence()
	for _, n := range notes(c.Log.Runs, certmedic.CauseLockHeld) {
		evidence = append(evidence, logged(n.At)...)
		break
	}
	return accuse(certmedic.CauseLockHeld, Excluded+0.2, fmt.Sprintf("The client's lock has been held for %s, and every other run ends at once.", span(age)), c.endHolder(false), evidence...)
}

// endHolder returns the command that ends what holds the lock: the hook, so that certbot goes on,
// or certbot itself.
func (c *Case) endHolder(hook bool) string {
	switch {
	case hook && c.Holder != nil && len(c.Holder.Children) > 0:
		last := c.Holder.Children[len(c.Holder.Children)-1]
		return then(command("kill", fmt.Sprint(last.PID)), c.redeploy())
	case c.Stored.Lock.PID > 0:
		return then(command("kill", fmt.Sprint(c.Stored.Lock.PID)), c.renew())
	default:
		return "ps -ef | grep [c]ertbot"
	}
}

// unresolved: the endpoint's name leads nowhere.
func unresolved(c *Case) (suspect, bool) {
	for _, a := range c.unreached() {
		if a.Error.Reason == certmedic.DNSFailed {
			return accuse(certmedic.CauseDNSFailed, Certain, fmt.Sprintf("The name of %q does not resolve.", a.endpoint.Address), command("dig", host(a.endpoint.Address)), a.evidence())
		}
	}
	return innocent()
}

// lostHost: an address elsewhere does not answer.
func lostHost(c *Case) (suspect, bool) {
	for _, a := range c.unreached() {
		if c.local(a.Address) || a.Error.Reason != certmedic.Timeout && a.Error.Reason != certmedic.Unreachable {
			continue
		}
		confidence := Certain
		if c.unseen(PartProcesses) {
			confidence = Excluded
		}
		return accuse(certmedic.CauseHostUnreachable, confidence, a.Address+" does not answer from here.", command("certmedic", "check", a.endpoint.Address), a.evidence())
	}
	return innocent()
}

// splitAddresses: some addresses have the version, others do not.
func splitAddresses(c *Case) (suspect, bool) {
	stale, current := c.stale(), c.current()
	if len(stale) == 0 || len(current) == 0 {
		if c.Certificate.Source.Kind != certmedic.SourceNone || !c.split() {
			return innocent()
		}
		stale = c.answers()
	}
	confidence := Excluded
	if !slices.ContainsFunc(stale, func(a answer) bool { return c.local(a.Address) }) {
		confidence = Certain
	}
	var evidence []certmedic.Evidence
	var addresses []string
	for _, a := range stale {
		evidence = append(evidence, a.evidence())
		addresses = append(addresses, a.Address)
	}
	for _, a := range current {
		evidence = append(evidence, a.evidence())
	}
	return accuse(certmedic.CauseSplitServing, confidence, "Not all addresses serve the same version: "+strings.Join(addresses, ", ")+" was left behind.",
		remark("bring the version to these addresses, and reload what serves there", c.redeploy()), evidence...)
}

// badChain: what is served lacks its chain, because the leaf alone was configured.
func badChain(c *Case) (suspect, bool) {
	for _, a := range c.answers() {
		if !certmedic.HasFinding(a.Findings, certmedic.IncompleteChain) {
			continue
		}
		for _, u := range c.Used {
			if u.Count == 1 && (u.Address == a.Address || u.Address == "") && u.File != "" {
				fix := remark(fmt.Sprintf("write fullchain.pem in place of %s in %s, then", u.Path, place(u.File, u.Line)), c.reload())
				return accuse(certmedic.CauseWrongPath, Certain, fmt.Sprintf("%s reads %q, which holds the certificate without its chain.", u.By, u.Path), fix, u.evidence("holds one certificate"))
			}
		}
		return accuse(certmedic.CauseWrongPath, Guessed, "The service presents the certificate without its chain, as cert.pem holds it.", remark("have it read fullchain.pem", command("certmedic", "check", a.endpoint.Address)), a.evidence())
	}
	return innocent()
}

// outdated: what is served has ended or was revoked, and only a renewal helps.
func outdated(c *Case) (suspect, bool) {
	for _, a := range c.answers() {
		for _, f := range a.Findings {
			if f.Code == certmedic.Expired || f.Code == certmedic.Revoked {
				return accuse(certmedic.CauseRenewalOverdue, Guessed, "What is served is no longer valid: "+f.Detail+".", remark("renew it where it is kept", command("certmedic", "check", a.endpoint.Address)), a.evidence())
			}
		}
	}
	return innocent()
}
