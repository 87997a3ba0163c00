package diagnose

import (
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
)

// The times of the cases: the certificate was renewed a day ago.

func noon() time.Time                   { return time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC) }
func ago(d time.Duration) time.Time     { return noon().Add(-d) }
func renewed() time.Time                { return ago(24 * time.Hour) }
func version(n int) certmedic.CertFacts { return versionOf(n, "shop.test") }

const (
	day    = 24 * time.Hour
	web    = "192.0.2.1:443"
	mail   = "192.0.2.1:25"
	remote = "198.51.100.7:443"
	live   = "/etc/letsencrypt/live/shop/fullchain.pem"
	logs   = "/var/log/letsencrypt/letsencrypt.log"
)

// versionOf is the n-th version, issued n-7 days after the one that was stored a day ago.
func versionOf(n int, name string) certmedic.CertFacts {
	from := renewed().Add(time.Duration(n-7) * 60 * day)
	sha := certmedic.Fingerprint(string(rune('a'+n)) + "0000000000000000000000000000000000000000000000000000000000000000")[:64]
	if name != "shop.test" {
		sha = "f" + sha[1:]
	}
	return certmedic.CertFacts{SHA256: sha, NotBefore: from, NotAfter: from.Add(90 * day), DNSNames: []string{name}, KeyType: "ec256", Issuer: "CN=R1"}
}

// healthy is a case in which nothing is wrong: nginx serves version 7 from live/, and its hook
// was run.
func healthy() *Case {
	c := &Case{Now: noon(), Subject: "shop"}
	c.Certificate = certmedic.Certificate{
		Name: "shop", Source: certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: "/etc/letsencrypt", Lineage: "shop"},
		Endpoints: []certmedic.Endpoint{{Address: "shop.test:443", Protocol: "tls"}},
	}
	c.Stored = certmedic.Stored{
		Since: renewed(), Path: live, Version: "7", Chain: []certmedic.CertFacts{version(7)}, Names: []string{"shop.test"},
		Known: []certmedic.Fingerprint{version(6).SHA256, version(7).SHA256}, Lock: certmedic.Lock{State: certmedic.LockFree},
		Files: certmedic.StoredFiles{Fullchain: live, Privkey: "/etc/letsencrypt/live/shop/privkey.pem"},
	}
	c.Due = version(7).NotAfter.Add(-21 * day)
	c.Versions = []Version{{Number: 6, Leaf: version(6), Whole: true}, {Number: 7, Leaf: version(7), Whole: true}}
	c.Conf = &disk.RenewalConf{Authenticator: "webroot", Autorenew: true, Params: map[string]disk.Setting{
		"authenticator": {Values: []string{"webroot"}, Line: 9}, "webroot_path": {Values: []string{"/var/www/html"}, Line: 10},
	}, Top: map[string]disk.Setting{}}
	c.Hooks = []Hook{reloadHook("systemctl reload nginx", "nginx")}
	c.Runs = []acmelog.Run{run(renewed(), acmelog.Renewed, hookRun("systemctl reload nginx"))}
	c.Log = acmelog.Log{Folder: "/var/log/letsencrypt", Runs: c.Runs}
	c.Jobs = []schedule.Job{{
		Kind: schedule.Timer, Client: "certbot", Name: "certbot.timer", Command: "/usr/bin/certbot -q renew", File: "/lib/systemd/system/certbot.timer", Line: 5,
		Enabled: true, Last: ago(6 * time.Hour), Every: 12 * time.Hour,
	}}
	c.Services = []service.Service{{Kind: service.Nginx, Conf: "/etc/nginx/nginx.conf", Units: []string{"nginx.service"}}}
	c.Answering = []Answering{{Address: web, Name: "shop.test", Kind: service.Nginx, Server: conf.Server{File: "/etc/nginx/sites-enabled/shop", Line: 3}}}
	c.Used = []Used{{Path: live, By: "nginx", Address: web, File: "/etc/nginx/sites-enabled/shop", Line: 5, Lead: LeadOwn, Leaf: version(7), Count: 2}}
	c.Spots = []Spot{{Address: web, Local: true, Processes: []Process{
		proc(100, 1, "nginx", ago(40*day)), proc(101, 100, "nginx", renewed().Add(time.Minute)),
	}}}
	c.serve(web, version(7))
	return c
}

// stuck is healthy, but that nginx was not reloaded: it serves version 6.
func stuck() *Case {
	c := healthy()
	c.Observations = nil
	c.serve(web, version(6))
	c.Spots[0].Processes[1].Start = ago(40 * day)
	return c
}

// due is healthy, but that version 7 should have been replaced.
func due() *Case {
	c := healthy()
	c.Now = noon().Add(80 * day)
	c.Jobs[0].Last = c.Now.Add(-6 * time.Hour)
	return c
}

// serve adds what an address presents.
func (c *Case) serve(address string, leaf certmedic.CertFacts, findings ...certmedic.Finding) {
	a := certmedic.AddressObservation{Address: address, ServerName: "shop.test", Protocol: "tls", Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{leaf}, Findings: findings}
	c.observe(a)
}

func (c *Case) observe(a certmedic.AddressObservation) {
	c.Observations = append(c.Observations, certmedic.Observation{Endpoint: certmedic.Endpoint{Address: "shop.test:443", Protocol: a.Protocol}, Time: c.Now, Addresses: []certmedic.AddressObservation{a}})
}

// lose makes an address answer nothing.
func (c *Case) lose(address string, reason certmedic.FindingCode, detail string) {
	c.Observations = nil
	c.observe(certmedic.AddressObservation{Address: address, ServerName: "shop.test", Protocol: "tls", Stage: certmedic.ProbeConnect, Error: &certmedic.ProbeError{Reason: reason, Detail: detail}})
}

func proc(pid, parent int, name string, start time.Time) Process {
	return Process{Process: process.Process{PID: pid, Parent: parent, Name: name, Start: start, Unit: name + ".service"}, Seen: map[string]process.File{}, Means: map[string]certmedic.CertFacts{}}
}

func line(n int, text string) acmelog.Line { return acmelog.Line{File: logs, Number: n, Text: text} }

func run(start time.Time, result acmelog.Result, hooks ...acmelog.Hook) acmelog.Run {
	return acmelog.Run{
		Client: acmelog.Certbot, Version: "2.1.0", Started: start, Ended: start.Add(time.Minute), Finished: true, Hooks: hooks,
		Renewals: []acmelog.Renewal{{Lineage: "shop", Result: result, At: line(40, "the renewal of shop")}}, First: line(1, "certbot version: 2.1.0"),
	}
}

// failedRun is a run in which the renewal failed.
func failedRun(start time.Time, cause certmedic.Cause, detail string) acmelog.Run {
	r := run(start, acmelog.Failed)
	r.Renewals[0].Cause, r.Renewals[0].Detail = cause, detail
	r.Renewals[0].At = line(40, "Failed to renew certificate shop with error: "+detail)
	return r
}

func hookRun(command string) acmelog.Hook {
	return acmelog.Hook{Kind: "deploy", Command: command, Lineage: "shop", Ended: true, At: line(30, "Running deploy-hook command: "+command)}
}

func failedHookRun(command string, code int, stderr string) acmelog.Hook {
	h := hookRun(command)
	h.Failed, h.ExitCode, h.Stderr = true, code, stderr
	h.Result = line(31, "Hook 'deploy-hook' reported error code")
	return h
}

func (c *Case) logs(runs ...acmelog.Run) {
	c.Runs = runs
	c.Log.Runs = runs
}

func reloadHook(command, serviceName string) Hook {
	return Hook{Kind: "deploy", Command: command, Source: "/etc/letsencrypt/renewal/shop.conf:12", Script: script.Script{
		Text: command, Language: "sh", Reloads: []script.Reload{{Service: serviceName, Verb: "reload", Line: 1, Text: command}},
	}}
}

func fileHook(path string, s script.Script) Hook {
	s.Path = path
	if s.Language == "" {
		s.Language = "sh"
	}
	return Hook{Kind: "deploy", Command: path, Source: path, Script: s}
}

func copyTo(path string, leaf certmedic.CertFacts, keystore bool) Used {
	return Used{Path: path, By: "nginx", Address: web, File: "/etc/nginx/sites-enabled/shop", Line: 5, Lead: LeadCopy, Leaf: leaf, Count: 2, Keystore: keystore, ModTime: ago(60 * day)}
}

func denial(by access.Means, sure bool) Denial {
	return Denial{Service: "nginx", Who: access.Identity{Name: "www-data", UID: 33}, Path: live, Denial: access.Denial{Path: "/etc/letsencrypt/live", By: by, Why: "drwx------ root:root: www-data (uid 33) may not enter it", Sure: sure}}
}
