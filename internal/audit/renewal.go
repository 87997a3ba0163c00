package audit

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/process"
)

const (
	critical = certmedic.SeverityCritical
	warning  = certmedic.SeverityWarning
	info     = certmedic.SeverityInfo
)

// renewalChecks look for what keeps certbot from renewing a lineage.
func renewalChecks() []check {
	return []check{
		{
			"lineage-broken", critical, "certbot skips a lineage because of its configuration or its links.",
			"every run leaves it out, and ends with exit code 1 for all of them.", "mend what is named, and see whether certbot certificates lists it", brokenLineage,
		},
		{
			"lineage-inconsistent", warning, "The links and files of a lineage do not fit together.",
			"services can read a certificate and a key that do not belong together, or an old version.", "certbot mends what it can at its next run; restore the rest from a backup", oddLineage,
		},
		{
			"lineage-without-configuration", warning, "There is a folder in live/ that no renewal configuration belongs to.",
			"certbot does not renew it: whoever serves from it will serve it until it ends.", "issue it anew, or remove the folder where nobody uses it", orphan,
		},
		{
			"autorenew-off", critical, "A lineage is switched off for renewal.",
			"certbot renew calls it not due, also when it has ended, and exits 0.", "set autorenew = True in the lineage's renewal configuration", autorenewOff,
		},
		{
			"manual-without-hook", critical, "A lineage is proven by hand, and no hook does that.",
			"a renewal that nobody watches cannot ask anybody, and fails.", "set manual_auth_hook, or use another authenticator", manualWithoutHook,
		},
		{
			"webroot-unusable", critical, "The webroot of a lineage cannot be written, or is not there.",
			"certbot cannot place what the CA fetches: the renewal fails.", "name the folder from which the web server answers: certbot reconfigure --cert-name NAME --webroot -w FOLDER", webrootUnusable,
		},
		{
			"standalone-port-taken", critical, "certbot's own web server needs a port on which something else listens.",
			"the renewal fails as long as that runs.", "use webroot or the server's plugin: certbot reconfigure --cert-name NAME --webroot -w FOLDER", portTaken,
		},
		{
			"plugin-missing", critical, "A lineage needs a plugin of certbot that is not installed.",
			"certbot cannot load the lineage's authenticator or installer: the renewal fails.", "install the plugin beside the certbot that renews", pluginMissing,
		},
		{
			"credentials-missing", critical, "The file with a DNS plugin's credentials is not there.",
			"the plugin cannot log in: the renewal fails.", "restore the file, readable for its owner only", credentialsMissing,
		},
		{
			"account-missing", critical, "The account at the CA that a lineage is renewed with is not on this host.",
			"certbot cannot sign the order: the renewal fails.", "restore accounts/ from a backup, or issue the lineage anew with another account", accountMissing,
		},
		{
			"staging-server", warning, "A lineage comes from a CA's staging directory.",
			"browsers and other clients do not trust what it issues.", "issue it anew from the production directory", stagingServer,
		},
	}
}

// outcomeChecks look at what came of renewals, and at what they are set to.
func outcomeChecks() []check {
	return []check{
		{
			"certificate-expired", critical, "A stored certificate has ended.",
			"whoever serves it is not trusted, and nothing has renewed it.", "certmedic diagnose NAME", expired,
		},
		{
			"renewal-overdue", warning, "A stored certificate should have been renewed by now.",
			"the renewals that were due did not happen, or failed.", "certmedic diagnose NAME", overdue,
		},
		{
			"renewal-failed", warning, "The last attempt to renew a lineage failed.",
			"the next one will meet the same, unless somebody mended it.", "certmedic diagnose NAME", renewalFailed,
		},
		{
			"deploy-hook-failed", critical, "The deploy hook failed at the last renewal.",
			"certbot ends with exit code 0 all the same, and does not run the hook again before the next renewal.", "mend the hook, and run it: certmedic redeploy NAME", hookFailed,
		},
		{
			"duplicate-lineage", warning, "Several lineages are for the same names.",
			"each renewal spends the CA's limits for this set of names several times, and services can read the one that is not renewed.", "keep one, lead the services to it, and certbot delete --cert-name the others", duplicates,
		},
		{
			"renew-before-expiry", warning, "The time at which a lineage is renewed does not fit its lifetime.",
			"a number of days that was right for 90 days is wrong for shorter lives: it is renewed at every run, or too late for a second try.", "remove renew_before_expiry: certbot 4 and later renew by share of life, and when the CA says", renewBefore,
		},
		{
			"must-staple", critical, "A renewal asks for must-staple, which the CA does not issue any more.",
			"Let's Encrypt refuses such orders since May 2025, and has no OCSP responder since August 2025.", "set must_staple = False in the lineage's renewal configuration", mustStapleAsked,
		},
	}
}

func brokenLineage(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) {
		if len(l.Broken) == 0 {
			return none()
		}
		at := Place{File: filepath.Join(l.Tree, "renewal", l.Name+".conf")}
		return Finding{Place: at, What: few(l.Broken)}, true
	})
}

// few joins the first of some sentences.
func few(all []string) string {
	const shown = 2
	if len(all) <= shown {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:shown], "; "), len(all)-shown)
}

func oddLineage(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) {
		return Finding{Place: Place{File: l.Folder}, What: few(l.Odd)}, len(l.Odd) > 0
	})
}

func orphan(f *Facts) []Finding {
	var all []Finding
	for _, t := range f.Trees {
		for _, name := range t.Orphans {
			folder := filepath.Join(t.Dir, "live", name)
			all = append(all, Finding{Subject: name, Place: Place{File: folder}, What: fmt.Sprintf("%s has no renewal/%s.conf", folder, name)})
		}
	}
	return all
}

// autorenewOff finds those that nobody but certbot would renew.
func autorenewOff(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		if l.Conf.Autorenew {
			return none()
		}
		at := l.at("autorenew")
		return Finding{Place: at, What: "autorenew = " + l.Param("autorenew"), Fix: command("sed", "-i", fmt.Sprintf("%ds/=.*/= True/", at.Line), at.File)}, true
	})(f)
}

func manualWithoutHook(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		if l.Conf.Authenticator != "manual" || l.Param("manual_auth_hook") != "" {
			return none()
		}
		return Finding{
			Place: l.at("authenticator"), What: "authenticator = manual, and there is no manual_auth_hook",
			Fix: remark("write a hook that places the proof, then", command("certbot", "reconfigure", "--cert-name", l.Name, "--manual", "--manual-auth-hook")+" HOOK"),
		}, true
	})(f)
}

func webrootUnusable(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		i := slices.IndexFunc(l.Webroots, func(w Webroot) bool { return w.Problem != "" })
		if l.Conf.Authenticator != "webroot" || i < 0 {
			return none()
		}
		w := l.Webroots[i]
		return Finding{
			Place: w.Place, What: fmt.Sprintf("the webroot %s %s", w.Path, w.Problem),
			Fix: remark("name the folder from which the web server answers:", command("certbot", "reconfigure", "--cert-name", l.Name, "--webroot", "-w")+" FOLDER"),
		}, true
	})(f)
}

// portTaken finds listeners on the port of standalone. A pre hook may well stop them, so that
// lineages with one are left out.
func portTaken(f *Facts) []Finding {
	return ofCertbot(func(f *Facts, l *Lineage) (Finding, bool) {
		port := 80
		if n, err := strconv.Atoi(l.Param("http01_port")); err == nil {
			port = n
		}
		if l.Conf.Authenticator != "standalone" || len(f.hooksOf(l, "pre", "job")) > 0 || !f.Sees(PartProcesses) {
			return none()
		}
		for _, p := range f.Listening(port) {
			if p.Name != "certbot" && !strings.HasPrefix(p.Name, "python") {
				return Finding{Place: l.at("authenticator"), What: fmt.Sprintf("authenticator = standalone, and %s (process %d) listens on port %d", p.Name, p.PID, port)}, true
			}
		}
		return none()
	})(f)
}

// Listening returns the processes that listen on a TCP port, on any address.
func (f *Facts) Listening(port int) []process.Process {
	var all []process.Process
	for _, s := range f.Processes.Sockets {
		if s.Network != "tcp" || int(s.Address.Port()) != port {
			continue
		}
		for _, pid := range s.PIDs {
			if p, ok := f.Processes.Process(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// builtIn reports whether a plugin is part of certbot itself.
func builtIn(plugin string) bool {
	return slices.Contains([]string{"", "manual", "null", "standalone", "webroot"}, plugin)
}

func pluginMissing(f *Facts) []Finding {
	return ofCertbot(func(f *Facts, l *Lineage) (Finding, bool) {
		if !f.Clients.Known {
			return none()
		}
		for _, key := range []string{"authenticator", "installer"} {
			plugin := l.Param(key)
			if _, short, ok := strings.Cut(plugin, ":"); ok { // as certbot before 1.0 had them
				plugin = short
			}
			if builtIn(plugin) || slices.Contains(f.Clients.Plugins, plugin) {
				continue
			}
			return Finding{
				Place: l.at(key), What: fmt.Sprintf("%s = %s, which is none of the plugins in %s", key, plugin, strings.Join(f.Clients.Packages, ", ")),
				Fix: remark("or as certbot itself was installed: snap, pip", command("apt-get", "install", "python3-certbot-"+plugin)),
			}, true
		}
		return none()
	})(f)
}

func credentialsMissing(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		for _, c := range l.Credentials {
			if c.Missing {
				return Finding{Place: c.Place, What: c.Path + " does not exist"}, true
			}
		}
		return none()
	})(f)
}

func accountMissing(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		if !l.Account.Missing {
			return none()
		}
		return Finding{Place: l.at("account"), What: fmt.Sprintf("account = %s, and there is no %s", l.Account.ID, l.Account.Path)}, true
	})(f)
}

func stagingServer(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		if !strings.Contains(l.Conf.Server, "staging") {
			return none()
		}
		return Finding{Place: l.at("server"), What: "server = " + l.Conf.Server}, true
	})(f)
}

func expired(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) {
		leaf := l.Cert()
		if leaf.NotAfter.IsZero() || f.Now.Before(leaf.NotAfter) {
			return none()
		}
		return Finding{Place: Place{File: l.Stored.Path}, What: "it ended at " + leaf.NotAfter.UTC().Format(time.RFC3339), Fix: command("certmedic", "diagnose", l.Name)}, true
	})
}

func overdue(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) {
		leaf := l.Cert()
		if l.Due.IsZero() || f.Now.Before(l.Due) || !f.Now.Before(leaf.NotAfter) {
			return none()
		}
		what := fmt.Sprintf("it should have been renewed by %s, and ends at %s", l.Due.UTC().Format(time.DateOnly), leaf.NotAfter.UTC().Format(time.RFC3339))
		return Finding{Place: Place{File: l.Stored.Path}, What: what, Fix: command("certmedic", "diagnose", l.Name)}, true
	})
}

func renewalFailed(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) { return attempted(l, acmelog.AttemptFailed) })
}

func hookFailed(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) {
		found, ok := attempted(l, acmelog.AttemptHookFailed)
		found.Fix = remark("mend the hook, then", command("certmedic", "redeploy", l.Name))
		return found, ok
	})
}

func attempted(l *Lineage, word acmelog.Word) (Finding, bool) {
	a := l.Attempt
	if a.Word != word {
		return none()
	}
	return Finding{Place: Place{a.At.File, a.At.Number}, What: a.At.Text, Fix: command("certmedic", "diagnose", l.Name)}, true
}

// duplicates finds lineages for the same names. Two kinds of keys for the same names, as some
// serve side by side, are two certificates.
func duplicates(f *Facts) []Finding {
	type identity struct{ names, key string }
	first := map[identity]*Lineage{}
	return forEach(f, func(l *Lineage) (Finding, bool) {
		leaf := l.Cert()
		if len(leaf.DNSNames) == 0 {
			return none()
		}
		key, _, _ := strings.Cut(strings.TrimRight(leaf.KeyType, "0123456789"), "-")
		id := identity{strings.Join(slices.Sorted(slices.Values(leaf.DNSNames)), " "), key}
		other, ok := first[id]
		if !ok {
			first[id] = l
			return none()
		}
		return Finding{Place: l.at(""), What: fmt.Sprintf("%s (%s) and %s (%s) are both for %s", other.Name, other.Client, l.Name, l.Client, id.names)}, true
	})
}

// beforeDefault is when certbot before 4.0 renews a lineage that says nothing of it.
const beforeDefault = 30 * 24 * time.Hour

// renewBefore finds times that leave too little for a second try, or that are longer than the
// whole life.
func renewBefore(f *Facts) []Finding {
	return ofCertbot(func(f *Facts, l *Lineage) (Finding, bool) {
		life := l.Cert().Lifetime()
		set, ok := l.Conf.Top["renew_before_expiry"]
		before, known := interval(set.String())
		at, what := Place{l.Conf.Path, set.Line}, "renew_before_expiry = "+set.String()
		if !ok {
			before, known = beforeDefault, olderThan(l.Conf.Top["version"].String(), 4)
			at, what = l.at(""), fmt.Sprintf("certbot %s renews 30 days before the end", l.Conf.Top["version"].String())
		}
		_, every := f.every(l.Client)
		switch {
		case life == 0 || !known:
			return none()
		case before >= life:
			return Finding{Place: at, What: fmt.Sprintf("%s, and it is valid for %s in all: it is renewed at every run", what, days(life))}, true
		case ok && (before < life/12 || before < 2*every):
			return Finding{Place: at, What: fmt.Sprintf("%s of %s: a renewal that fails leaves no time for a second try", what, days(life))}, true
		}
		return none()
	})(f)
}

// interval reads certbot's English intervals; a number alone is of days.
func interval(text string) (time.Duration, bool) {
	var n float64
	unit := "days"
	if _, err := fmt.Sscanf(text, "%g %s", &n, &unit); err != nil {
		if _, err := fmt.Sscanf(text, "%g", &n); err != nil {
			return 0, false
		}
	}
	for name, d := range map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour, "year": 365 * 24 * time.Hour} {
		if strings.TrimSuffix(unit, "s") == name {
			return time.Duration(n * float64(d)), true
		}
	}
	return 0, false
}

// olderThan compares the first number of a version; one that cannot be read is no older.
func olderThan(version string, major int) bool {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	return err == nil && n < major
}

// days says a duration in whole days, or in hours where it is short.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d < 10*day {
		return fmt.Sprintf("%d hours", d.Round(time.Hour)/time.Hour)
	}
	return fmt.Sprintf("%d days", d.Round(day)/day)
}

func isLetsEncrypt(l *Lineage) bool {
	return strings.Contains(l.Stored.Directory, "letsencrypt.org") || l.Conf != nil && strings.Contains(l.Conf.Server, "letsencrypt.org")
}

func mustStapleAsked(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		if l.Param("must_staple") != "True" || !isLetsEncrypt(l) {
			return none()
		}
		at := l.at("must_staple")
		return Finding{Place: at, What: "must_staple = True", Fix: command("sed", "-i", fmt.Sprintf("%ds/=.*/= False/", at.Line), at.File)}, true
	})(f)
}
