package audit

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/script"
	"github.com/certmedic/certmedic/probe/host/service"
)

func serviceChecks() []check {
	return []check{
		{
			"no-reload", critical, "Nothing reloads a service that reads a certificate.",
			"it goes on with the version that it read when it started, until that ends.", "certbot reconfigure --cert-name NAME --deploy-hook 'systemctl reload SERVICE'", noReload,
		},
		{
			"wrong-reload", critical, "The hooks of a lineage reload another service than the one that reads it.",
			"the service goes on with the version that it read when it started, until that ends.", "reload it in the hook, too", wrongReload,
		},
		{
			"no-deploy-hook", info, "A lineage has no hook, no installer, and no service that is known here reads it.",
			"whatever uses it hears nothing of a new version.", "certbot reconfigure --cert-name NAME --deploy-hook COMMAND", noDeployHook,
		},
		{
			"uses-archive", critical, "A service reads a numbered file of the archive.",
			"a renewal writes files with another number: the service never reads them.", "name the link in live/ in its place", usesArchive,
		},
		{
			"uses-missing", critical, "A service's configuration names a certificate that is not there.",
			"the service does not start any more, and does not take a reload.", "name the certificate's present path", usesMissing,
		},
		{
			"uses-old-lineage", critical, "A service reads a lineage, and another one holds a newer certificate for the same names.",
			"what is renewed is not what is served.", "lead the service to the newer lineage, and certbot delete --cert-name the other", usesOld,
		},
		{
			"uses-unrenewed", critical, "A service reads from a folder of certbot that has no renewal configuration.",
			"certbot does not renew it: it is served until it ends.", "lead the service to a lineage that is renewed", usesUnrenewed,
		},
		{
			"copy-stale", critical, "A service reads a copy of a certificate that has been renewed since.",
			"what makes the copy did not run, or failed.", "make the copy anew and reload the service, and see why the hook did not", copyStale,
		},
		{
			"copy-without-hook", warning, "A service reads a copy of a certificate, and no hook makes that copy.",
			"after the next renewal the copy is the old version.", "let a deploy hook make the copy, or let the service read live/", copyWithoutHook,
		},
		{
			"map-stale", critical, "A table that holds certificates is older than they are.",
			"the service reads the table, not the files: a restart does not help.", "make the table anew", mapStale,
		},
		{
			"map-without-hook", warning, "A table holds certificates, and no hook makes it anew.",
			"after the next renewal the table holds the old version, whatever is reloaded.", "make the table in a deploy hook, before the reload", mapWithoutHook,
		},
		{
			"configuration-refused", critical, "A service would refuse its own configuration.",
			"every reload fails, so that no new certificate is loaded; after a restart it stays down.", "mend what is named", refused,
		},
		{
			"key-unreadable", critical, "A service may not read the private key that it is configured with.",
			"it fails when it next opens the file, which can be after a renewal.", "let its user, or a group of it, read the key and enter the folders above it", keyUnreadable,
		},
	}
}

// namesOf returns how hooks may call a service.
func namesOf(s service.Service) []string {
	names := []string{string(s.Kind)}
	for _, unit := range s.Units {
		name := strings.TrimSuffix(unit, ".service")
		bare, _, _ := strings.Cut(name, "@")
		names = append(names, name, bare)
	}
	return append(names, s.Programs...)
}

func isOf(s service.Service, name string) bool {
	name = strings.TrimSuffix(name, ".service")
	bare, _, _ := strings.Cut(name, "@")
	return slices.Contains(namesOf(s), name) || slices.Contains(namesOf(s), bare)
}

// isReload reports whether a command has a service of this host read its files again.
func isReload(r script.Reload) bool { return r.Host == "" && r.Verb != "map" && r.Verb != "copy" }

// opaque reports whether what a hook does is not seen here.
func opaque(h *Hook) bool {
	if !slices.Contains([]string{"sh", "bash", "dash", "ash", "ksh", "zsh"}, h.Script.Language) {
		return true
	}
	return slices.ContainsFunc(h.Script.Commands, func(c script.Command) bool {
		if len(c.Argv) == 0 {
			return false
		}
		name := filepath.Base(c.Argv[0])
		own := strings.Contains(c.Argv[0], "/") && !slices.Contains([]string{"/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/etc/init.d"}, filepath.Dir(c.Argv[0]))
		return own || strings.HasPrefix(name, "$") || slices.Contains([]string{"sh", "bash", ".", "source", "eval", "python", "python3", "perl", "make", "ansible-playbook", "run-parts"}, name)
	})
}

// deploys are the hooks that can bring a new version of a lineage on.
func (f *Facts) deploys(l *Lineage) []*Hook { return f.hooksOf(l, "deploy", "post", "job") }

// reloadOf says what becomes of a service when a lineage was renewed.
type reloadOf struct {
	known   bool     // something reloads it, or what a hook does is not seen
	hooks   []*Hook  // that were looked at
	instead []string // what they reload
}

func (f *Facts) reloads(l *Lineage, s service.Service) reloadOf {
	r := reloadOf{hooks: f.deploys(l)}
	for _, h := range r.hooks {
		r.known = r.known || opaque(h)
		for _, one := range h.Script.Reloads {
			if isReload(one) && isOf(s, one.Service) {
				r.known = true
			} else if isReload(one) && !slices.Contains(r.instead, one.Service) {
				r.instead = append(r.instead, one.Service)
			}
		}
	}
	r.known = r.known || l.Client != "certbot" || isOf(s, l.Param("installer")) || f.destined(l, s) || f.mentioned(s)
	return r
}

// destined reports whether certmedic's own steps reload a service.
func (f *Facts) destined(l *Lineage, s service.Service) bool {
	c, _ := f.own(l)
	return slices.ContainsFunc(c.Destinations, func(d certmedic.Destination) bool {
		return d.Local() && (d.Signal.PIDFile != "" || s.Kind == service.HAProxy && len(d.HAProxy.Sockets) > 0 || slices.ContainsFunc(d.Reload, func(word string) bool { return isOf(s, filepath.Base(word)) }))
	})
}

// mentioned reports whether a timer or cron reloads a service by itself.
func (f *Facts) mentioned(s service.Service) bool {
	return slices.ContainsFunc(f.Elsewhere, func(m Mention) bool {
		return slices.ContainsFunc(namesOf(s), func(name string) bool { return strings.Contains(m.Text, name) })
	})
}

// readers calls ask once for each service and lineage that it reads as it is. Postfix is left
// out: its processes are short-lived, and new ones read the files anew.
func (f *Facts) readers(ask func(s service.Service, u Used, l *Lineage, r reloadOf) (Finding, bool)) []Finding {
	var all []Finding
	type pair struct {
		service int
		lineage ID
	}
	seen := map[pair]bool{}
	for _, u := range f.Used {
		l, ok := f.lineage(u.Lineage)
		s := f.Services[u.Service]
		if id := (pair{u.Service, u.Lineage}); !ok || seen[id] || u.Lead != LeadOwn || s.Kind == service.Postfix || !f.Sees(PartJobs) {
			continue
		}
		seen[pair{u.Service, u.Lineage}] = true
		if found, ok := ask(s, u, l, f.reloads(l, s)); ok && len(all) < maxFindings {
			found.Subject, found.Place = l.Name, u.Place
			all = append(all, found)
		}
	}
	return all
}

func noReload(f *Facts) []Finding {
	return f.readers(func(s service.Service, u Used, l *Lineage, r reloadOf) (Finding, bool) {
		what := fmt.Sprintf("%s reads %s; %s has no installer and no hook that reloads it", s.Kind, u.Path, l.at("").File)
		return Finding{What: what, Fix: command("certbot", "reconfigure", "--cert-name", l.Name, "--deploy-hook", reloadCommand(s))}, !r.known && len(r.instead) == 0
	})
}

func wrongReload(f *Facts) []Finding {
	return f.readers(func(s service.Service, u Used, l *Lineage, r reloadOf) (Finding, bool) {
		what := fmt.Sprintf("%s reads %s, and the hooks of %s reload %s", s.Kind, u.Path, l.Name, strings.Join(r.instead, ", "))
		return Finding{What: what, Fix: remark("add to the hook", reloadCommand(s))}, !r.known && len(r.instead) > 0
	})
}

// reloadCommand reloads a service by its first unit.
func reloadCommand(s service.Service) string {
	if len(s.Units) == 0 {
		return "systemctl reload " + string(s.Kind)
	}
	return "systemctl reload " + strings.TrimSuffix(s.Units[0], ".service")
}

func noDeployHook(f *Facts) []Finding {
	return ofCertbot(func(f *Facts, l *Lineage) (Finding, bool) {
		used := slices.ContainsFunc(f.Used, func(u Used) bool { return u.Lineage == l.ID() })
		c, _ := f.own(l)
		if used || l.Param("installer") != "" || len(f.deploys(l)) > 0 || len(c.Destinations) > 0 || !f.Sees(PartJobs) {
			return none()
		}
		return Finding{Place: l.at(""), What: "installer = None, and no hook is run for it", Fix: command("certbot", "reconfigure", "--cert-name", l.Name, "--deploy-hook") + " COMMAND"}, true
	})(f)
}

// usedFindings asks a question of every file that a service reads, once for each place.
func usedFindings(f *Facts, ask func(s service.Service, u Used) (what, fix string)) []Finding {
	var all []Finding
	for _, u := range f.Used {
		what, fix := ask(f.Services[u.Service], u)
		if what == "" || len(all) >= maxFindings {
			continue
		}
		found := Finding{Subject: string(f.Services[u.Service].Kind), Place: u.Place, What: what, Fix: fix}
		if l, ok := f.lineage(u.Lineage); ok {
			found.Subject = l.Name
		}
		if !slices.ContainsFunc(all, func(o Finding) bool { return o.Place == found.Place && o.What == found.What }) {
			all = append(all, found)
		}
	}
	return all
}

func usesArchive(f *Facts) []Finding {
	return usedFindings(f, func(s service.Service, u Used) (string, string) {
		l, ok := f.lineage(u.Lineage)
		if u.Lead != LeadPinned || !ok {
			return "", ""
		}
		kind := strings.TrimRight(strings.TrimSuffix(filepath.Base(u.Path), ".pem"), "0123456789")
		return fmt.Sprintf("%s reads %s", s.Kind, u.Path), remark("write " + filepath.Join(l.Folder, kind+".pem") + " in its place, and reload")
	})
}

func usesMissing(f *Facts) []Finding {
	return usedFindings(f, func(s service.Service, u Used) (string, string) {
		if u.Lead != LeadMissing {
			return "", ""
		}
		return fmt.Sprintf("%s is to read %s, which does not exist", s.Kind, u.Path), ""
	})
}

// usesOld takes a lineage for superseded where another one with the same kind of key is for all
// of its names and ends later.
func usesOld(f *Facts) []Finding {
	return usedFindings(f, func(s service.Service, u Used) (string, string) {
		l, ok := f.lineage(u.Lineage)
		if u.Lead != LeadOwn && u.Lead != LeadPinned || !ok {
			return "", ""
		}
		for i := range f.Lineages {
			other := &f.Lineages[i]
			if newer(other, l) {
				return fmt.Sprintf("%s reads %s, which ends at %s; %s is for the same names, and ends at %s", s.Kind, u.Path,
					l.Cert().NotAfter.UTC().Format(time.DateOnly), other.Folder, other.Cert().NotAfter.UTC().Format(time.DateOnly)), ""
			}
		}
		return "", ""
	})
}

func newer(other, l *Lineage) bool {
	mine, theirs := l.Cert(), other.Cert()
	if len(mine.DNSNames) == 0 || other.ID() == l.ID() || !theirs.NotAfter.After(mine.NotAfter.Add(24*time.Hour)) {
		return false
	}
	kind := func(c certmedic.CertFacts) string { return strings.TrimRight(c.KeyType, "0123456789") }
	return kind(mine) == kind(theirs) && !slices.ContainsFunc(mine.DNSNames, func(name string) bool { return !slices.Contains(theirs.DNSNames, name) })
}

func usesUnrenewed(f *Facts) []Finding {
	return usedFindings(f, func(s service.Service, u Used) (string, string) {
		for _, t := range f.Trees {
			for _, name := range t.Orphans {
				if (u.Lineage == ID{}) && u.Lead != LeadMissing && filepath.Dir(u.Path) == filepath.Join(t.Dir, "live", name) {
					return fmt.Sprintf("%s reads %s, and there is no renewal/%s.conf", s.Kind, u.Path, name), ""
				}
			}
		}
		return "", ""
	})
}

func copyStale(f *Facts) []Finding {
	return usedFindings(f, func(s service.Service, u Used) (string, string) {
		l, ok := f.lineage(u.Lineage)
		if u.Lead != LeadCopy || !u.Stale || !ok {
			return "", ""
		}
		return fmt.Sprintf("%s reads %s, which holds an earlier version than %s", s.Kind, u.Path, l.Folder), ""
	})
}

func copyWithoutHook(f *Facts) []Finding {
	return usedFindings(f, func(s service.Service, u Used) (string, string) {
		l, ok := f.lineage(u.Lineage)
		if u.Lead != LeadCopy || u.Stale || !ok || l.Client != "certbot" || f.copies(l, u.Path) {
			return "", ""
		}
		return fmt.Sprintf("%s reads %s, which is a copy of the certificate in %s", s.Kind, u.Path, l.Folder), ""
	})
}

// copies reports whether something writes a file when a lineage was renewed, or what is done then
// is not seen.
func (f *Facts) copies(l *Lineage, path string) bool {
	c, _ := f.own(l)
	for _, d := range c.Destinations {
		if d.Local() && slices.ContainsFunc(d.Files, func(i certmedic.InstalledFile) bool { return i.To == path }) {
			return true
		}
	}
	return slices.ContainsFunc(f.deploys(l), func(h *Hook) bool {
		return opaque(h) || slices.ContainsFunc(h.Script.Copies, func(c script.Copy) bool {
			return c.To == path || strings.TrimSuffix(c.To, "/") == filepath.Dir(path) || strings.ContainsAny(c.To, "$*?`")
		})
	})
}

// mapFindings asks a question of every table that holds certificates, with one of the lineages
// that are in it.
func mapFindings(f *Facts, ask func(m service.Map, l *Lineage) string) []Finding {
	var all []Finding
	for _, s := range f.Services {
		for _, m := range s.Maps {
			i := slices.IndexFunc(f.Lineages, func(l Lineage) bool {
				return slices.ContainsFunc(m.Names, func(name string) bool { return l.Folder != "" && filepath.Dir(name) == l.Folder })
			})
			if i < 0 || !m.Holds {
				continue
			}
			if what := ask(m, &f.Lineages[i]); what != "" {
				found := Finding{Subject: f.Lineages[i].Name, Place: Place{m.File, m.Line}, What: what}
				if len(m.Make) > 0 {
					found.Fix = command(m.Make...)
				}
				all = append(all, found)
			}
		}
	}
	return all
}

func mapStale(f *Facts) []Finding {
	return mapFindings(f, func(m service.Map, l *Lineage) string {
		if m.ModTime.IsZero() || l.Stored.Since.IsZero() || !m.ModTime.Before(l.Stored.Since) {
			return ""
		}
		return fmt.Sprintf("%s was made at %s, and %s was renewed at %s", m.Made, m.ModTime.UTC().Format(time.RFC3339), l.Name, l.Stored.Since.UTC().Format(time.RFC3339))
	})
}

func mapWithoutHook(f *Facts) []Finding {
	return mapFindings(f, func(m service.Map, l *Lineage) string {
		for _, h := range f.deploys(l) {
			if opaque(h) || slices.ContainsFunc(h.Script.Reloads, func(r script.Reload) bool { return r.Verb == "map" }) {
				return ""
			}
		}
		if c, ok := f.own(l); ok && slices.ContainsFunc(c.Destinations, func(d certmedic.Destination) bool { return d.Local() && len(d.Prepare) > 0 }) {
			return ""
		}
		return fmt.Sprintf("%s holds the certificate of %s", m.Made, l.Name)
	})
}

func refused(f *Facts) []Finding {
	var all []Finding
	for i, s := range f.Services {
		for _, p := range s.Problems {
			told := slices.ContainsFunc(f.Used, func(u Used) bool {
				return u.Service == i && u.Lead == LeadMissing && u.Place == Place{p.File, p.Line}
			})
			if p.Sure && !told && f.Sees(PartServices) {
				all = append(all, Finding{Subject: string(s.Kind), Place: Place{p.File, p.Line}, What: p.Text})
			}
		}
	}
	return all
}

func keyUnreadable(f *Facts) []Finding {
	var all []Finding
	for _, d := range f.Denials {
		if d.Sure {
			all = append(all, Finding{Subject: string(f.Services[d.Service].Kind), Place: d.Place, What: fmt.Sprintf("%s: %s", d.Path, d.Why)})
		}
	}
	return all
}
