package audit

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/access"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/script"
	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/host/unit"
)

const aDay = 24 * time.Hour

func noon() time.Time { return time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC) }

const (
	dir      = "/etc/letsencrypt"
	confFile = dir + "/renewal/shop.conf"
)

// param makes settings of a renewal configuration, each on a line of its own from 10 on.
func param(pairs ...string) map[string]disk.Setting {
	all := map[string]disk.Setting{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = disk.Setting{Values: []string{pairs[i+1]}, Line: 10 + i/2}
	}
	return all
}

// lineage makes a lineage that was issued 30 days ago for 90 days.
func lineage(name string, names ...string) Lineage {
	leaf := certmedic.CertFacts{
		SHA256: certmedic.Fingerprint(strings.Repeat("ab", 32)), DNSNames: names, KeyType: "ec256",
		NotBefore: noon().Add(-30 * aDay), NotAfter: noon().Add(60 * aDay),
	}
	return Lineage{
		Client: "certbot", Tree: dir, Name: name, Folder: dir + "/live/" + name,
		Conf: &disk.RenewalConf{
			Path: dir + "/renewal/" + name + ".conf", ConfigDir: dir, Lineage: name, Authenticator: "webroot", Installer: "nginx", Autorenew: true,
			Server: "https://acme-v02.api.letsencrypt.org/directory", Params: param("authenticator", "webroot", "installer", "nginx", "account", "0123"), Top: param("version", "2.1.0"),
		},
		Stored: certmedic.Stored{Path: dir + "/live/" + name + "/cert.pem", Chain: []certmedic.CertFacts{leaf}, Since: noon().Add(-30 * aDay), Directory: "https://acme-v02.api.letsencrypt.org/directory"},
		Leaf:   Leaf{Signature: "ECDSA-SHA384"}, Due: noon().Add(37 * aDay), Key: access.Facts{Path: dir + "/archive/" + name + "/privkey1.pem", Mode: 0o600, Owner: "root:root"},
		Webroots: []Webroot{{Path: "/var/www/html", Place: Place{confFile, 13}}},
	}
}

// healthy is a host that is set up as certbot's guide has it: Debian's package with its timer, and
// nginx, which certbot reloads.
func healthy() *Facts {
	return &Facts{
		Now:      noon(),
		Trees:    []Tree{{Dir: dir, Ini: disk.CLIIni{Path: dir + "/cli.ini"}, Backups: Setting{Value: "0", Place: Place{dir + "/cli.ini", 1}}, Folders: []access.Facts{{Path: dir + "/live", Mode: 0o700}}}},
		Lineages: []Lineage{lineage("shop", "shop.example.com")},
		Clients:  Clients{Known: true, Certbot: []string{"/usr/lib/python3/dist-packages/certbot"}, Plugins: []string{"nginx"}, Packages: []string{"/usr/lib/python3/dist-packages"}},
		Jobs: []schedule.Job{
			{Kind: schedule.Cron, Client: "certbot", Name: "certbot", Command: "certbot -q renew", File: "/etc/cron.d/certbot", Line: 17, Enabled: true, Guarded: `! -d /run/systemd/system`, Quiet: true, Every: 13 * time.Hour},
			{Kind: schedule.Timer, Client: "certbot", Name: "certbot.timer", Command: "certbot -q renew", File: "/lib/systemd/system/certbot.timer", Line: 5, Enabled: true, Quiet: true, Every: 24 * time.Hour, Last: noon().Add(-8 * time.Hour)},
		},
		Units: []unit.Unit{{Name: "certbot.timer", Load: "loaded", Active: "active"}},
		Services: []service.Service{{
			Kind: service.Nginx, Conf: "/etc/nginx/nginx.conf", Units: []string{"nginx.service"}, Programs: []string{"nginx"}, Users: []string{"root"},
			Servers: []conf.Server{{Names: []string{"shop.example.com"}, File: "/etc/nginx/sites-enabled/shop", Line: 3}},
			Settings: []service.Setting{
				{Name: "ssl_protocols", Values: []string{"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}, File: "/etc/nginx/nginx.conf", Line: 30},
				{Name: "ssl_protocols", Values: []string{"TLSv1.2", "TLSv1.3"}, Where: "server shop", File: dir + "/options-ssl-nginx.conf", Line: 6},
				{Name: "ssl_ciphers", Values: []string{"ECDHE-ECDSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:!RC4:!aNULL"}, Where: "server shop", File: dir + "/options-ssl-nginx.conf", Line: 8},
			},
		}},
		Used:  []Used{{Path: dir + "/live/shop/fullchain.pem", Key: dir + "/live/shop/privkey.pem", Place: Place{"/etc/nginx/sites-enabled/shop", 3}, Lead: LeadOwn, Lineage: ID{dir, "shop"}, Known: true}},
		Logs:  []Log{{Tree: dir, Folder: "/var/log/letsencrypt", Rotated: &Rotation{Place{"/etc/logrotate.d/certbot", 1}, 84 * aDay}}},
		Disks: []Disk{{Path: dir, Free: 10 << 30, Total: 100 << 30, Inodes: true}},
		Clock: Clock{Known: true, Synced: true},
	}
}

// hook makes a deploy hook of shop from a command line.
func hook(command string) Hook {
	return Hook{Kind: "deploy", Command: command, Place: Place{confFile, 14}, Script: script.Parse(command, script.Environment{Path: "/usr/sbin:/usr/bin:/sbin:/bin"}), Lineages: []ID{{dir, "shop"}}}
}

// unhooked takes certbot's installer away, so that hooks alone reload.
func unhooked(f *Facts, hooks ...Hook) {
	f.Lineages[0].Conf.Installer = ""
	delete(f.Lineages[0].Conf.Params, "installer")
	f.Hooks = hooks
}

// authenticator has shop proven in another way.
func authenticator(f *Facts, name string) {
	f.Lineages[0].Conf.Authenticator = name
	f.Lineages[0].Conf.Params["authenticator"] = disk.Setting{Values: []string{name}, Line: 10}
}

func set(f *Facts, key, value string) {
	f.Lineages[0].Conf.Params[key] = disk.Setting{Values: []string{value}, Line: 20}
}

// leaf changes the certificate of shop.
func leaf(f *Facts) *certmedic.CertFacts { return &f.Lineages[0].Stored.Chain[0] }

// lives has shop's certificate valid for some time, of which a tenth is over.
func lives(f *Facts, life time.Duration) {
	leaf(f).NotBefore, leaf(f).NotAfter = noon().Add(-life/10), noon().Add(life-life/10)
	f.Lineages[0].Due = leaf(f).NotAfter.Add(-life / 4)
}

func listening(name string, port string) process.Table {
	return process.Table{Processes: []process.Process{{PID: 7, Name: name}}, Sockets: []process.Socket{{Network: "tcp", Address: addr("0.0.0.0:" + port), PIDs: []int{7}}}}
}

// example is what a check finds, and what is like it and right.
type example struct {
	code  string
	wrong func(*Facts)
	right func(*Facts) // nil: the healthy host is enough
}

func TestEveryCheckHasBothExamples(t *testing.T) {
	for _, e := range examples() {
		t.Run(e.code, func(t *testing.T) {
			f := healthy()
			e.wrong(f)
			r := Examine(f, Options{Only: []string{e.code}})
			if len(r.Findings) == 0 {
				t.Fatal("the check finds nothing")
			}
			found := r.Findings[0]
			if found.What == "" || found.Why == "" || found.Fix == "" || found.Place.File == "" && !placeless(e.code) {
				t.Errorf("what, why, fix or place is missing: %+v", found)
			}
			f = healthy()
			if e.right != nil {
				e.right(f)
			}
			if r := Examine(f, Options{Only: []string{e.code}}); len(r.Findings) > 0 {
				t.Errorf("the check finds something where all is right: %+v", r.Findings[0])
			}
		})
	}
}

// placeless are codes about the host as a whole.
func placeless(code string) bool {
	return slices.Contains([]string{"no-job", "unmonitored", "no-snapshot", "snapshot-broken", "clock-unsynchronised"}, code)
}

func TestEveryCheckIsInATable(t *testing.T) {
	known := map[string]bool{}
	for _, e := range examples() {
		known[e.code] = true
	}
	seen := map[string]bool{}
	for _, c := range Checks() {
		if !known[c.Code] {
			t.Errorf("%s has no examples", c.Code)
		}
		if seen[c.Code] || c.Code != strings.ToLower(c.Code) || strings.ContainsAny(c.Code, "_ ") {
			t.Errorf("%s is there twice, or is not lower case with hyphens", c.Code)
		}
		seen[c.Code] = true
	}
}

func TestAHealthyHostHasOnlyRemarks(t *testing.T) {
	r := Examine(healthy(), Options{})
	if r.Status != certmedic.StatusOK || r.ExitCode() != 0 {
		t.Errorf("the status is %s", r.Status)
	}
	for _, f := range r.Findings {
		if f.Severity != certmedic.SeverityInfo {
			t.Errorf("%+v", f)
		}
	}
}

func TestOptions(t *testing.T) {
	f := healthy()
	f.Lineages[0].Conf.Autorenew = false
	for _, row := range []struct {
		about  string
		o      Options
		status certmedic.Status
		has    bool
	}{
		{"everything", Options{}, certmedic.StatusCritical, true},
		{"one code", Options{Only: []string{"autorenew-off"}}, certmedic.StatusCritical, true},
		{"another code", Options{Only: []string{"no-job"}}, certmedic.StatusOK, false},
		{"without the code", Options{Skip: []string{"autorenew-off"}}, certmedic.StatusOK, false},
		{"what is critical", Options{Least: certmedic.SeverityCritical}, certmedic.StatusCritical, true},
	} {
		r := Examine(f, row.o)
		has := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == "autorenew-off" })
		if r.Status != row.status || has != row.has {
			t.Errorf("%s: status %s, found %v", row.about, r.Status, has)
		}
		if row.o.Least != "" && slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity != row.o.Least }) {
			t.Errorf("%s: there is more", row.about)
		}
	}
}

func TestWhatIsShownIsClean(t *testing.T) {
	f := healthy()
	f.Lineages[0].Conf.Autorenew = false
	f.Lineages[0].Name = "shop\x1b[2J"
	set(f, "autorenew", "False\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----")
	f.Unseen = []Unseen{{PartJobs, "\x1b]0;x\x07"}}
	r := Examine(f, Options{})
	for _, text := range []string{r.Findings[0].Subject, r.Findings[0].What, r.Unseen[0].Why} {
		if strings.ContainsAny(text, "\x1b\x07\n") || strings.Contains(text, "MIIE") {
			t.Errorf("%q is shown", text)
		}
	}
}

// TestFixesDoNoHarm has fixes that break what works where they are pasted.
func TestFixesDoNoHarm(t *testing.T) {
	for _, row := range []struct {
		about, code string
		wrong       func(*Facts)
		fix         string
	}{
		{"a hook stays closed to others", "hook-skipped", func(f *Facts) {
			f.Hooks = []Hook{{Place: Place{File: "/x/a"}, Skipped: "hook not executable", FromDir: true}}
		}, "chmod u+x /x/a"},
		{"the group of a key keeps its rights", "key-readable", func(f *Facts) { f.Lineages[0].Key.OthersRead = true }, "chmod o-rwx " + dir + "/archive/shop/privkey1.pem"},
		{"services that are not root are not locked out", "tree-open", func(f *Facts) { f.Trees[0].Folders[0].Mode = 0o755 }, "# where no service reads them but as root: chmod 0700 " + dir + "/live"},
		{
			"a command without its secret is no command", "hook-wrong-key", func(f *Facts) { set(f, "deploy-hook", "curl https://x/?token=abcdefgh") },
			"# certbot reconfigure --cert-name shop --deploy-hook 'curl https://x/?token=***'",
		},
		{
			"a command that was cut off is no command", "hook-wrong-key", func(f *Facts) { set(f, "deploy-hook", strings.Repeat("long ", 200)) },
			"# certbot reconfigure --cert-name shop --deploy-hook 'long long",
		},
	} {
		f := healthy()
		row.wrong(f)
		found := Examine(f, Options{Only: []string{row.code}}).Findings
		if len(found) == 0 || !strings.HasPrefix(found[0].Fix, row.fix) || !strings.HasPrefix(row.fix, "#") && found[0].Fix != row.fix {
			t.Errorf("%s: %+v", row.about, found)
		}
	}
}

func TestUnseenIsNotWrong(t *testing.T) {
	f := healthy()
	unhooked(f)
	f.Jobs, f.Clients, f.Clock = nil, Clients{}, Clock{}
	f.Unseen = []Unseen{{PartJobs, "may not be read"}, {PartOwn, "busy"}}
	for _, found := range Examine(f, Options{}).Findings {
		if slices.Contains([]string{"no-job", "no-reload", "plugin-missing", "clock-unsynchronised", "no-snapshot"}, found.Code) {
			t.Errorf("%s is taken for wrong: %s", found.Code, found.What)
		}
	}
}

func TestNames(t *testing.T) {
	apache := service.Service{Kind: service.Apache, Units: []string{"apache2.service", "httpd.service"}, Programs: []string{"apache2", "httpd"}}
	for name, want := range map[string]bool{"apache2": true, "httpd": true, "apache": true, "apache2@intern": true, "apache2.service": true, "nginx": false, "": false} {
		if isOf(apache, name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestInterval(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30 days": 30 * aDay, "30": 30 * aDay, "2 weeks": 14 * aDay, "12 hours": 12 * time.Hour, "soon": 0, "": 0, "3 moons": 0,
	} {
		if got, ok := interval(text); got != want || ok != (want > 0) {
			t.Errorf("%q is %s, %v", text, got, ok)
		}
	}
}

func TestCiphers(t *testing.T) {
	for list, want := range map[string]string{
		"HIGH:!aNULL:!MD5":                    "",
		"ECDHE-RSA-AES128-GCM-SHA256":         "",
		"ALL:!RC4:!3DES:+RC4+RSA":             "",
		"HIGH:RC4-SHA":                        "RC4-SHA",
		"DES-CBC3-SHA:ECDHE-RSA-DES-CBC3-SHA": "DES-CBC3-SHA,ECDHE-RSA-DES-CBC3-SHA",
		"HIGH:3DES:!3DES":                     "",
		"EXPORT NULL":                         "EXPORT,NULL",
	} {
		if got := strings.Join(weakIn(list), ","); got != want {
			t.Errorf("%s lets %q in, want %q", list, got, want)
		}
	}
}

func TestApacheVersions(t *testing.T) {
	for words, want := range map[string]string{
		"all -SSLv3":                          "TLSv1 TLSv1.1",
		"all -SSLv2 -SSLv3 -TLSv1 -TLSv1.1":   "",
		"TLSv1.2":                             "",
		"-all +TLSv1.2 +TLSv1.3":              "",
		"+SSLv3 +TLSv1.2":                     "SSLv3",
		"all -SSLv3 -TLSv1 -TLSv1.1 +TLSv1.1": "TLSv1.1",
	} {
		if got := strings.Join(apacheVersions(strings.Fields(words)), " "); got != want {
			t.Errorf("SSLProtocol %s has %q, want %q", words, got, want)
		}
	}
}

func TestChecklistHasEvidence(t *testing.T) {
	items := Examine(healthy(), Options{}).Checklist
	if len(items) != 15 {
		t.Errorf("it has %d lines", len(items))
	}
	for _, item := range items {
		if item.Evidence == "" {
			t.Errorf("%s is %s without evidence", item.Code, item.State)
		}
	}
}

// run is a run of certbot that ended yesterday.
func run(dry, failed bool) acmelog.Run {
	result := acmelog.Renewal{Lineage: "shop", Result: acmelog.Renewed}
	if failed {
		result.Result = acmelog.Failed
	}
	return acmelog.Run{
		DryRun: dry, Finished: true, Ended: noon().Add(-aDay), Renewals: []acmelog.Renewal{result}, Last: acmelog.Line{File: "/var/log/letsencrypt/letsencrypt.log", Number: 9},
		Hooks: []acmelog.Hook{{Kind: "deploy", Lineage: "shop", Ended: true, Skipped: dry, Failed: failed}},
	}
}

func TestChecklist(t *testing.T) {
	action := func(kind certmedic.ActionKind, outcome certmedic.OutcomeKind) func(*Facts) {
		return func(f *Facts) {
			f.Own.Actions = []certmedic.Action{{Certificate: "shop", Kind: kind, StartedAt: noon(), EndedAt: noon(), Outcome: certmedic.Outcome{Kind: outcome}}}
		}
	}
	page := func(key string, absent bool) func(*Facts) {
		return func(f *Facts) { f.Own.Declared = map[string]Setting{key: {Value: "/srv/page.md", Absent: absent}} }
	}
	for _, row := range []struct {
		about, code string
		change      func(*Facts)
		want        State
	}{
		{"the package is there with its plugins", "installed", func(*Facts) {}, Done},
		{"a plugin is not", "installed", func(f *Facts) { f.Clients.Plugins = nil }, NotDone},
		{"no certbot is found", "installed", func(f *Facts) { f.Clients = Clients{} }, Unknown},
		{"no dry run is in the log", "dry-run", func(*Facts) {}, Unknown},
		{"a dry run succeeded", "dry-run", func(f *Facts) { f.Logs[0].Found.Runs = []acmelog.Run{run(true, false)} }, Done},
		{"a dry run failed", "dry-run", func(f *Facts) { f.Logs[0].Found.Runs = []acmelog.Run{run(true, true)} }, Unknown},
		{"a renewal that is none", "dry-run", func(f *Facts) { f.Logs[0].Found.Runs = []acmelog.Run{run(false, false)} }, Unknown},
		{"certmedic rehearsed", "dry-run", action(certmedic.RehearseRenewal, certmedic.OutcomeRehearsed), Done},
		{"its rehearsal failed", "dry-run", action(certmedic.RehearseRenewal, certmedic.OutcomeFailed), Unknown},
		{"the installer reloads", "deploy-hook", func(*Facts) {}, Unknown},
		{"nothing reloads", "deploy-hook", func(f *Facts) { unhooked(f) }, NotDone},
		{"a hook that never ran", "deploy-hook", func(f *Facts) { unhooked(f, hook("systemctl reload nginx")) }, Unknown},
		{"a hook that ran", "deploy-hook", func(f *Facts) {
			unhooked(f, hook("systemctl reload nginx"))
			f.Logs[0].Found.Runs = []acmelog.Run{run(false, false)}
		}, Done},
		{"nobody looks at what is served", "validated", func(*Facts) {}, Unknown},
		{"certmedic does", "validated", func(f *Facts) { f.Own.Running = true }, Done},
		{"the timer", "scheduled", func(*Facts) {}, Done},
		{"no timer", "scheduled", func(f *Facts) { f.Jobs = nil }, NotDone},
		{"a container that renews", "scheduled", func(f *Facts) {
			f.Jobs = nil
			f.Processes.Processes = []process.Process{{PID: 9, Argv: []string{"sh", "-c", "while :; do certbot renew; sleep 12h; done"}}}
		}, Done},
		{"jobs that may not be read", "scheduled", func(f *Facts) { f.Jobs, f.Unseen = nil, []Unseen{{PartJobs, "denied"}} }, Unknown},
		{"nobody notices", "monitored", func(*Facts) {}, NotDone},
		{"certmedic tells people", "monitored", func(f *Facts) {
			f.Own = Own{File: "c.yml", Running: true, Receivers: []Receiver{{Name: "ops", Kind: "slack"}}}
		}, Done},
		{"certmedic tells a log", "monitored", func(f *Facts) {
			f.Own = Own{File: "c.yml", Running: true, Receivers: []Receiver{{Name: "log", Kind: "log"}}}
		}, NotDone},
		{"no runbook is named", "runbook", func(*Facts) {}, Unknown},
		{"a runbook is", "runbook", page("runbook", false), Done},
		{"it is not there", "runbook", page("runbook", true), NotDone},
		{"nothing was deployed", "distributed", func(*Facts) {}, Unknown},
		{"a redeployment healed", "distributed", action(certmedic.ActionRedeploy, certmedic.OutcomeHealed), Done},
		{"one is not verified", "distributed", action(certmedic.ActionRedeploy, certmedic.OutcomeUnverified), Unknown},
		{"nothing to go back to", "rollback", func(*Facts) {}, NotDone},
		{"a snapshot", "rollback", func(f *Facts) { f.Own.Snapshots = 1 }, Unknown},
		{"a rollback healed", "rollback", action(certmedic.ActionRollback, certmedic.OutcomeHealed), Done},
		{"nobody counts", "limits", func(*Facts) {}, NotDone},
		{"certmedic counts", "limits", func(f *Facts) { f.Own.Running = true }, Done},
		{"somebody outside", "outside", page("outside", false), Done},
		{"no drill", "drilled", func(*Facts) {}, Unknown},
		{"a drill", "drilled", func(f *Facts) { f.Own.Exercises = []Exercise{{"drill", "ops", noon()}} }, Done},
		{"logs that nobody reads", "logs", func(f *Facts) { f.Logs[0].Found.Runs = []acmelog.Run{run(false, false)} }, Unknown},
		{"logs that certmedic reads", "logs", func(f *Facts) {
			f.Logs[0].Found.Runs, f.Own.Running = []acmelog.Run{run(false, false)}, true
		}, Done},
		{"logs that are gone too soon", "logs", func(f *Facts) { f.Logs[0].Rotated.Keeps = 7 * aDay }, NotDone},
		{"nobody is told", "notified", func(*Facts) {}, NotDone},
		{"a receiver that was never tried", "notified", func(f *Facts) {
			f.Own = Own{File: "c.yml", Receivers: []Receiver{{Name: "ops", Kind: "slack"}}}
		}, Unknown},
		{"a receiver that took a test", "notified", func(f *Facts) {
			f.Own = Own{File: "c.yml", Receivers: []Receiver{{Name: "ops", Kind: "slack"}}, Exercises: []Exercise{{"test", "ops", noon()}}}
		}, Done},
		{"contacts", "contacts", page("contacts", false), Done},
		{"no contacts, and a route for what is critical", "contacts", func(f *Facts) { f.Own.Escalates = Place{"c.yml", 4} }, Unknown},
	} {
		f := healthy()
		row.change(f)
		i := slices.IndexFunc(checklist(f), func(item Item) bool { return item.Code == row.code })
		if item := checklist(f)[i]; item.State != row.want {
			t.Errorf("%s: %s is %s (%s), want %s", row.about, row.code, item.State, item.Evidence, row.want)
		}
	}
}
