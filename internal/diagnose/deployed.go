package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/access"
	"github.com/certmedic/certmedic/probe/host/service"
)

// suspicionsOfPlaces are asked first where a stored version is not served: while a service looks
// elsewhere, or may not look, no hook can bring the version on.
func suspicionsOfPlaces() []suspicion {
	return []suspicion{staleMount, wrongServer, otherLineage, wrongPath, forbidden, confined}
}

// suspicionsOfCopies are asked where hooks said that all went well, or said nothing.
func suspicionsOfCopies() []suspicion {
	return []suspicion{staleMap, staleKeystore, staleCopy, noHook}
}

// staleMount: a process sees another file at the path than this host does.
func staleMount(c *Case) (suspect, bool) {
	leaf, _ := c.leaf()
	for _, p := range c.stuck() {
		for _, u := range c.used(LeadOwn, LeadCopy) {
			sees, known := p.Means[u.Path]
			if !known || sees.SHA256 == leaf.SHA256 || u.Leaf.SHA256 != leaf.SHA256 {
				continue
			}
			seen := p.Seen[u.Path]
			fix := remark("mount the folder in place of the single file; until then restart what has the mount", restart(p))
			return accuse(certmedic.CauseMountStale, Certain, fmt.Sprintf("Process %d (%s) sees another version at %q than the one that is stored.", p.PID, p.Name, u.Path), fix,
				said(fmt.Sprintf("/proc/%d/root%s", p.PID, u.Path), "holds version %s (inode %d, below the mount %s)", c.version(sees.SHA256), seen.Inode, cmp.Or(seen.Mount, "/")),
				said(cmp.Or(c.Stored.Files.Fullchain, c.Stored.Path, u.Path), "holds version %s", c.version(leaf.SHA256)))
		}
	}
	return innocent()
}

// covers reports whether a certificate is for a name.
func covers(leaf certmedic.CertFacts, name string) bool {
	_, parent, _ := strings.Cut(name, ".")
	return slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, name) || strings.EqualFold(n, "*."+parent) })
}

// nameAt returns the name that an endpoint asks for at an address.
func (c *Case) nameAt(address string) string {
	for _, a := range c.answers() {
		if a.Address == address {
			return cmp.Or(a.ServerName, host(a.endpoint.Address))
		}
	}
	return ""
}

// wrongServer: another server of the configuration answers to the name.
func wrongServer(c *Case) (suspect, bool) {
	for _, u := range c.used(LeadForeign) {
		name := c.nameAt(u.Address)
		if name == "" || u.Address == "" || covers(u.Leaf, name) || !c.serves(u.Address, u.Leaf) {
			continue
		}
		fix := remark(fmt.Sprintf("let the server of %s answer at %s: compare the names and the ports of both, then", name, u.Address), c.reload())
		return accuse(certmedic.CauseWrongVHost, Certain, fmt.Sprintf("Another server of the configuration of %s answers to %q at %s.", u.By, name, u.Address),
			fix, u.evidence("answers to "+name+" with the certificate in "+u.Path))
	}
	for _, a := range c.stale() {
		if certmedic.HasFinding(a.Findings, certmedic.NameMismatch) {
			return accuse(certmedic.CauseWrongVHost, Excluded, fmt.Sprintf("What answers at %s has a certificate for other names.", a.Address),
				remark("see which server answers to this name at this address", command("certmedic", "check", a.endpoint.Address)), a.evidence())
		}
	}
	return innocent()
}

// serves reports whether an address presents a leaf.
func (c *Case) serves(address string, leaf certmedic.CertFacts) bool {
	return slices.ContainsFunc(c.answers(), func(a answer) bool {
		return a.Address == address && leafOf(a.AddressObservation).SHA256 == leaf.SHA256 && leaf.SHA256 != ""
	})
}

// otherLineage: what is served is of another lineage with the same names.
func otherLineage(c *Case) (suspect, bool) {
	lineage := func(name string) string {
		return remark(fmt.Sprintf("lead the service to one of the two; once nothing reads %q, certbot delete --cert-name removes it. Then", name), c.reload())
	}
	for _, u := range c.used(LeadOther) {
		if u.Lineage == c.Certificate.Source.Lineage {
			continue
		}
		return accuse(certmedic.CauseDuplicateLineage, Certain, fmt.Sprintf("%s reads another lineage, %q.", u.By, u.Lineage), lineage(u.Lineage), u.evidence("of the lineage "+u.Lineage))
	}
	for _, a := range append(c.stale(), servedNewer(c)...) {
		served := leafOf(a.AddressObservation).SHA256
		for _, o := range c.Others {
			if slices.Contains(o.Stored.Known, served) {
				return accuse(certmedic.CauseDuplicateLineage, Certain, fmt.Sprintf("What is served is of another lineage for the same names, %q.", o.Name), lineage(o.Name),
					a.evidence(), said(o.Path, "holds this version"))
			}
		}
	}
	return innocent()
}

// wrongPath: the configuration names a file that a renewal does not change.
func wrongPath(c *Case) (suspect, bool) {
	for _, u := range c.used(LeadPinned, LeadForeign) {
		if u.Lead == LeadForeign && !covers(u.Leaf, cmp.Or(c.nameAt(u.Address), first(c.Stored.Names))) {
			continue
		}
		told := "is a numbered file of the archive, which a renewal never changes"
		if u.Lead == LeadForeign {
			told = "is no file that this certificate's renewal writes"
		}
		want := cmp.Or(c.Stored.Files.Fullchain, c.Stored.Path)
		fix := remark(fmt.Sprintf("write %s in its place in %s, then", want, place(u.File, u.Line)), c.reload())
		return accuse(certmedic.CauseWrongPath, Certain, fmt.Sprintf("%s reads %q, which %s.", u.By, u.Path, told), fix, u.evidence(told))
	}
	return innocent()
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// forbidden: modes or an access control list keep the service out.
func forbidden(c *Case) (suspect, bool) {
	return denied(c, certmedic.CausePermissionDenied, access.Mode, access.ACL)
}

// confined: SELinux or AppArmor keeps the service out.
func confined(c *Case) (suspect, bool) {
	return denied(c, certmedic.CauseMACDenied, access.SELinux, access.AppArmor)
}

func denied(c *Case, cause certmedic.Cause, by ...access.Means) (suspect, bool) {
	for _, d := range c.Denials {
		if !slices.Contains(by, d.By) || !slices.Contains(c.serving(), d.Service) {
			continue
		}
		confidence := Certain
		if !d.Sure {
			confidence = Guessed
		}
		var fix string
		switch d.By {
		case access.SELinux:
			fix = then(command("restorecon", "-Rv", d.Denial.Path), c.reload())
		case access.AppArmor:
			fix = remark("let the profile of "+d.Service+" read "+d.Path+", then", c.reload())
		default:
			fix = then(command("setfacl", "-m", fmt.Sprintf("u:%d:rX", d.Who.UID), d.Denial.Path), c.reload())
		}
		return accuse(cause, confidence, fmt.Sprintf("%s may not read %q.", d.Service, d.Path), fix, said(d.Denial.Path, "%s", d.Why))
	}
	return innocent()
}

// staleMap: a table that holds certificates is older than the version.
func staleMap(c *Case) (suspect, bool) {
	for _, s := range c.Services {
		if !slices.Contains(c.serving(), string(s.Kind)) {
			continue
		}
		for _, m := range s.Maps {
			if !m.Holds || !m.ModTime.Before(c.Stored.Since) {
				continue
			}
			make := command(m.Make...)
			if len(m.Make) == 0 {
				make = command("postmap", "-F", m.Source)
			}
			make = then(make, reloadOf(string(s.Kind), c.unitsOf(string(s.Kind))))
			return accuse(certmedic.CauseMapStale, Certain, fmt.Sprintf("%s reads the table %q, which was not made again since the version was stored.", s.Kind, m.Made), make,
				said(m.Made, "is of %s; the version was stored at %s", when(m.ModTime), when(c.Stored.Since)), at(m.File, m.Line, m.Source))
		}
	}
	return innocent()
}

// staleKeystore: a key store holds an older version.
func staleKeystore(c *Case) (suspect, bool) {
	return behind(c, true, certmedic.CauseKeystoreStale, "has the key store %q, into which the new version was not imported")
}

// staleCopy: a copy holds an older version.
func staleCopy(c *Case) (suspect, bool) {
	return behind(c, false, certmedic.CauseCopyStale, "reads the copy %q, which was not renewed")
}

func behind(c *Case, keystore bool, cause certmedic.Cause, told string) (suspect, bool) {
	leaf, _ := c.leaf()
	for _, u := range c.used(LeadCopy) {
		if u.Keystore != keystore || u.Leaf.SHA256 == "" || u.Leaf.SHA256 == leaf.SHA256 {
			continue
		}
		evidence := []certmedic.Evidence{
			said(u.Path, "holds version %s, written %s", c.version(u.Leaf.SHA256), when(u.ModTime)),
			u.evidence("holds another version than the source"),
		}
		evidence = append(evidence, c.copying(u.Path)...)
		return accuse(cause, Certain, u.By+" "+fmt.Sprintf(told, u.Path)+".", c.copyAgain(u), evidence...)
	}
	return innocent()
}

// copying returns the lines of hooks that copy to a path, and what is wrong with how they do.
func (c *Case) copying(path string) []certmedic.Evidence {
	var out []certmedic.Evidence
	for _, h := range c.hooks("deploy") {
		for _, copied := range h.Script.Copies {
			if strings.Contains(path, strings.Trim(copied.To, `"'`)) && copied.To != "" {
				out = append(out, h.at(copied.Line, copied.Text))
			}
		}
		for _, l := range h.Script.Lints {
			if slices.Contains([]string{"live_links_copied", "last_status_wins", "fixed_lineage", "unknown_variable"}, l.Code) {
				out = append(out, h.at(l.Line, l.Text+": "+l.Why))
			}
		}
	}
	return out
}

// copyAgain says how a copy gets the new version.
func (c *Case) copyAgain(u Used) string {
	if len(c.hooks("deploy")) > 0 || len(c.Certificate.Destinations) > 0 {
		return c.redeploy()
	}
	if u.Keystore {
		return remark("import the version into " + u.Path + ", and have a deploy hook do so from now on")
	}
	// A copy alone could part a certificate from its key, which may be in the same file.
	return remark(fmt.Sprintf("lead the configuration to %s and its key, or put both into %s as it holds them now. Then",
		cmp.Or(c.Stored.Files.Fullchain, c.Stored.Path), u.Path), c.reload())
}

// noHook: nothing tells the service to load what is new.
func noHook(c *Case) (suspect, bool) {
	if c.Certificate.Source.Kind == certmedic.SourceCertbot && c.Conf == nil || len(c.Certificate.Destinations) > 0 {
		return innocent()
	}
	if c.Certificate.Source.Kind == certmedic.SourceFiles { // whoever writes them may have a command for it
		return innocent()
	}
	hooks := append(c.hooks("deploy"), c.hooks("post")...)
	jobs := 0
	for _, j := range c.starters() {
		if jobs += len(j.Hooks); strings.Contains(j.Command, "--pid-file") || strings.Contains(j.Command, "--signal") {
			jobs++ // step signals by itself
		}
	}
	installer := c.Conf != nil && c.Conf.Installer != ""
	if len(hooks) == 0 && jobs == 0 && !installer && !c.skips() {
		return accuse(certmedic.CauseHookMissing, Certain, "Nothing tells the service to load the new version: there is no deploy hook.", c.addHook(), c.noHookEvidence()...)
	}
	return noHookFor(c, hooks, jobs)
}

// skips reports whether there is a deploy hook that certbot passes over.
func (c *Case) skips() bool {
	misplaced, _ := c.misplacedHook()
	return len(misplaced) > 0 || slices.ContainsFunc(c.Hooks, func(h Hook) bool { return h.Kind == "deploy" && h.Skipped != "" })
}

// addHook writes a deploy hook that reloads what serves.
func (c *Case) addHook() string {
	reload := c.reload()
	if reload == "" || c.Certificate.Source.Kind != certmedic.SourceCertbot {
		return remark("have the service reloaded after each renewal, by a deploy hook or by certmedic: see deploy in the configuration")
	}
	return then(command("certbot", "reconfigure", "--cert-name", c.Certificate.Source.Lineage, "--deploy-hook", reload), reload)
}

func (c *Case) noHookEvidence() []certmedic.Evidence {
	evidence := []certmedic.Evidence{}
	if c.Conf != nil {
		evidence = append(evidence, at(c.confFile(), 0, "has no renew_hook and no installer"), said(c.Certificate.Source.ConfigDir+"/renewal-hooks/deploy", "holds no hook"))
	}
	return append(evidence, c.started()...)
}

// started says since when the processes run that serve the old version.
func (c *Case) started() []certmedic.Evidence {
	var out []certmedic.Evidence
	since := c.renewedAt()
	for _, p := range c.stuck() {
		if p.Start.Before(since) {
			out = append(out, said(fmt.Sprintf("/proc/%d", p.PID), "%s was started at %s; the files are of %s", p.Name, when(p.Start), when(since)))
		}
	}
	return out
}

// renewedAt returns when what the services read last changed.
func (c *Case) renewedAt() time.Time {
	newest := c.Stored.Since
	for _, u := range c.used(LeadCopy) {
		if u.ModTime.After(newest) {
			newest = u.ModTime
		}
	}
	return newest
}

// noHookFor: there are hooks, and none of them is for what serves the old version.
func noHookFor(c *Case, hooks []Hook, jobs int) (suspect, bool) {
	kinds := c.serving()
	if len(kinds) == 0 || jobs > 0 || len(hooks) == 0 || slices.ContainsFunc(kinds, unfamiliar) {
		return innocent()
	}
	var evidence []certmedic.Evidence
	var units []string
	for _, p := range c.stuck() {
		units = append(units, p.Unit)
	}
	for _, h := range hooks {
		if h.Unread || h.Script.Language != "sh" && h.Script.Language != "bash" || opaque(h) {
			return innocent()
		}
		for _, r := range h.Script.Reloads {
			if slices.Contains(kinds, kindOfService(r.Service)) || slices.Contains(units, unitName(r.Service)) || r.Verb == "copy" || r.Service == "" {
				return innocent()
			}
			evidence = append(evidence, h.at(r.Line, r.Text))
		}
	}
	if len(evidence) == 0 {
		return innocent()
	}
	if c.Conf != nil && slices.Contains(kinds, c.Conf.Installer) {
		return innocent()
	}
	summary := fmt.Sprintf("No hook reloads %s, which serves the old version.", strings.Join(kinds, " and "))
	return accuse(certmedic.CauseHookMissing, Excluded, summary, c.addHook(), append(evidence, c.started()...)...)
}

// unfamiliar reports whether it is not known what a service's reload looks like.
func unfamiliar(kind string) bool { return !slices.Contains(service.Kinds(), service.Kind(kind)) }

// opaque reports whether a hook calls a program that may do anything.
func opaque(h Hook) bool {
	return len(h.Script.Reloads) == 0
}

func unitName(name string) string { return strings.TrimSuffix(name, ".service") + ".service" }

// kindOfService names a service as configurations are named.
func kindOfService(name string) string {
	switch strings.TrimSuffix(name, ".service") {
	case "apache2", "httpd":
		return "apache"
	default:
		return strings.TrimSuffix(name, ".service")
	}
}
