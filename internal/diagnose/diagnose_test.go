package diagnose

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/access"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/reach"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/script"
	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/host/unit"
)

// row is a case with the cause that has to be named.
type row struct {
	about string
	from  func() *Case
	with  func(c *Case)
	want  certmedic.Cause
	shown string // a part of the first line of evidence, with its source
}

func (r row) decide() Result {
	c := r.from()
	if r.with != nil {
		r.with(c)
	}
	return Decide(*c)
}

func renewalRows() []row {
	failing := func(cause certmedic.Cause, detail string) func(*Case) {
		return func(c *Case) { c.logs(failedRun(c.Now.Add(-6*time.Hour), cause, detail)) }
	}
	return []row{
		{"it should have been renewed, and nothing says why it was not", due, nil, certmedic.CauseRenewalOverdue, "version 7 is valid until"},
		{"no timer, no log", due, func(c *Case) { c.Jobs = nil; c.logs() }, certmedic.CauseRenewalNeverRan, "no timer, cron table or service"},
		{"the timer is masked", due, func(c *Case) { c.Jobs[0].Masked = true }, certmedic.CauseTimerDead, "certbot.timer:5 /usr/bin/certbot -q renew: is masked"},
		{"the timer is not enabled", due, func(c *Case) { c.Jobs[0].Enabled = false }, certmedic.CauseTimerDead, "is not enabled"},
		{"the timer last ran a month ago", due, func(c *Case) { c.Jobs[0].Last = c.Now.Add(-30 * day); c.logs() }, certmedic.CauseTimerDead, "30 days ago"},
		{"the cron line does nothing where systemd runs", due, func(c *Case) {
			c.Jobs = []schedule.Job{{Kind: schedule.Cron, Client: "certbot", File: "/etc/cron.d/certbot", Line: 12, Command: "certbot -q renew", Enabled: true, Guarded: "-d /run/systemd/system"}}
		}, certmedic.CauseTimerDead, "/etc/cron.d/certbot:12 certbot -q renew: does nothing here"},
		{"a schedule that is not understood is no dead one", due, func(c *Case) {
			c.Jobs[0].Problem, c.Jobs[0].Every = "certbot.timer:3: the schedule is not understood", 0
		}, certmedic.CauseRenewalOverdue, ""},
		{"autorenew = False", due, func(c *Case) {
			c.Conf.Autorenew = false
			c.Conf.Params["autorenew"] = disk.Setting{Values: []string{"False"}, Line: 14}
		}, certmedic.CauseAutorenewOff, "renewal/shop.conf:14 autorenew = False"},
		{"certbot says that it is not due", due, func(c *Case) {
			c.logs(run(c.Now.Add(-time.Hour), acmelog.NotDue))
			c.Conf.Top["renew_before_expiry"] = disk.Setting{Values: []string{"1 day"}, Line: 1}
		}, certmedic.CauseNotDue, "letsencrypt.log:40"},
		{"a manual authenticator without a hook", due, func(c *Case) {
			c.Conf.Authenticator = "manual"
			c.Conf.Params["authenticator"] = disk.Setting{Values: []string{"manual"}, Line: 9}
		}, certmedic.CauseManualAuthenticator, "shop.conf:9 authenticator = manual"},
		{"port 80 is taken", due, failing(certmedic.CausePortConflict, "Could not bind TCP port 80"), certmedic.CausePortConflict, "letsencrypt.log:40"},
		{"standalone beside nginx, without a word of the log", due, func(c *Case) {
			c.Conf.Authenticator = "standalone"
			c.Spots = append(c.Spots, Spot{Address: "192.0.2.1:80", Local: true, Processes: []Process{proc(100, 1, "nginx", ago(40*day))}})
		}, certmedic.CausePortConflict, "authenticator"},
		{"too many certificates", due, failing(certmedic.CauseRateLimited, "too many certificates (5) already issued"), certmedic.CauseRateLimited, "too many certificates"},
		{"the predecessor was replaced already", due, failing(certmedic.CauseReplacesConflict, "alreadyReplaced"), certmedic.CauseReplacesConflict, ""},
		{"the token is not found", due, failing(certmedic.CauseChallenge404, "Invalid response: 404"), certmedic.CauseChallenge404, ""},
		{"the CA was refused", due, failing(certmedic.CauseChallengeRefused, "Connection refused"), certmedic.CauseChallengeRefused, ""},
		{"the CA got no answer", due, failing(certmedic.CauseChallengeTimeout, "Timeout during connect"), certmedic.CauseChallengeTimeout, ""},
		{"insufficient authorization", due, failing(certmedic.CauseChallengeUnauthorized, "unauthorized"), certmedic.CauseChallengeUnauthorized, ""},
		{"NXDOMAIN", due, failing(certmedic.CauseDNSFailed, "NXDOMAIN looking up A for shop.test"), certmedic.CauseDNSFailed, ""},
		{"CAA forbids it", due, failing(certmedic.CauseCAAForbids, "CAA record for shop.test prevents issuance"), certmedic.CauseCAAForbids, ""},
		{"a CA would be forbidden, as far as is seen from here", due, func(c *Case) {
			c.Reach.All = []reach.Answer{{Name: "shop.test", Cause: certmedic.CauseNone}, {Name: "shop.test", Cause: certmedic.CauseCAAForbids, Evidence: said("DNS", "allows only other.example")}}
		}, certmedic.CauseCAAForbids, "DNS allows only"},
		{"the CA is down", due, failing(certmedic.CauseCAUnreachable, "Name or service not known"), certmedic.CauseCAUnreachable, ""},
		{"the disk is full", due, func(c *Case) { c.Disks = []Disk{{Path: "/etc/letsencrypt/archive", Free: 0, Inodes: true}} }, certmedic.CauseDiskFull, "0 bytes are free"},
		{"no inodes are left", due, func(c *Case) { c.Disks = []Disk{{Path: "/etc/letsencrypt/archive", Free: 1 << 30}} }, certmedic.CauseDiskFull, "no inodes"},
		{"live/ points to an older version", healthy, func(c *Case) {
			c.Stored.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.LineageBroken, "live/shop points to version 6 but the archive holds version 7: certbot links it")}
		}, certmedic.CauseLineageBroken, "live/shop points to version 6"},
		{"an older version has the higher number", due, func(c *Case) {
			c.Now = version(7).NotAfter.Add(day)
			c.Versions = []Version{{Number: 6, Leaf: version(8), Whole: true, Path: "/etc/letsencrypt/archive/shop/cert6.pem"}, {Number: 7, Leaf: version(7), Whole: true}}
		}, certmedic.CauseLineageBroken, "leads to version 7, which ended"},
		{"a line of the configuration is wrong", healthy, func(c *Case) {
			c.Stored.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.LineageBroken, "renewal/shop.conf:3: no key before the sign =")}
		}, certmedic.CauseLineageBroken, "renewal/shop.conf:3 no key"},
		{"the key is another one's", healthy, func(c *Case) {
			c.Stored.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.KeyMismatch, "privkey.pem does not belong to the leaf")}
		}, certmedic.CauseKeyMismatch, "privkey.pem"},
		{"the last attempt failed well before the end", healthy, func(c *Case) {
			c.logs(failedRun(ago(time.Hour), certmedic.CauseChallenge404, "404"))
		}, certmedic.CauseChallenge404, ""},
		{"nothing is stored, and the timer is dead", due, func(c *Case) { c.Stored.Chain = nil; c.Jobs[0].Masked = true }, certmedic.CauseTimerDead, ""},
		{"a lock file was left behind, to which the job gives way", due, func(c *Case) {
			c.Jobs[0].Script, c.Jobs[0].Lock, c.Jobs[0].LockLine = "/usr/local/bin/renew", "/srv/renewal.lock", 2
			c.Locks = []LockFile{{Path: "/srv/renewal.lock", Since: c.Now.Add(-time.Hour)}}
		}, certmedic.CauseLockHeld, "/usr/local/bin/renew:2"},
		{"a lock file of a moment ago may be meant", due, func(c *Case) {
			c.Jobs[0].Lock = "/srv/renewal.lock"
			c.Locks = []LockFile{{Path: "/srv/renewal.lock", Since: c.Now.Add(-time.Minute)}}
		}, certmedic.CauseRenewalOverdue, ""},
		{"the lock is held by a process out of sight", due, func(c *Case) {
			c.Stored.Lock = certmedic.Lock{State: certmedic.LockHeld, Path: "/etc/letsencrypt/.certbot.lock", Since: c.Now.Add(-time.Hour)}
		}, certmedic.CauseLockHeld, "cannot be seen from here"},
		{"a line of a file of the tree is wrong", healthy, func(c *Case) {
			c.Stored.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.LineageBroken, "renewal/shop.conf: no authenticator")}
		}, certmedic.CauseLineageBroken, "/etc/letsencrypt/renewal/shop.conf no authenticator"},
		{"another run holds the lock for an hour", due, func(c *Case) {
			c.Stored.Lock = certmedic.Lock{State: certmedic.LockHeld, Path: "/etc/letsencrypt/.certbot.lock", PID: 77}
			c.Holder = &Holder{Process: process.Process{PID: 77, Name: "certbot", Argv: []string{"certbot", "renew"}, Start: c.Now.Add(-time.Hour)}}
		}, certmedic.CauseLockHeld, "is held by process 77"},
	}
}

func hookRows() []row {
	const hook = "/etc/letsencrypt/renewal-hooks/deploy/10-web"
	onlyHook := func(c *Case, s script.Script) {
		c.Hooks = []Hook{fileHook(hook, s)}
		c.logs(run(renewed(), acmelog.Renewed))
	}
	return []row{
		{"the client is at work", stuck, func(c *Case) {
			c.Stored.Lock = certmedic.Lock{State: certmedic.LockHeld, Path: "/etc/letsencrypt/.certbot.lock", PID: 77}
			c.Holder = &Holder{Process: process.Process{PID: 77, Start: c.Now.Add(-time.Minute)}}
		}, certmedic.CauseDeploying, "is held by process 77"},
		{"certmedic is at work", stuck, func(c *Case) {
			c.Actions = []certmedic.Action{{ID: "a1", Kind: certmedic.ActionRedeploy, StartedAt: c.Now, Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRunning}}}
		}, certmedic.CauseDeploying, "journal a1"},
		{"the hook ended with exit code 3", stuck, func(c *Case) {
			c.logs(run(renewed(), acmelog.Renewed, failedHookRun("systemctl reload nginx", 3, "oh no")))
		}, certmedic.CauseHookFailed, "letsencrypt.log:31"},
		{"it failed in an earlier run; since then nothing was due", stuck, func(c *Case) {
			c.logs(run(renewed(), acmelog.Renewed, failedHookRun("systemctl reload nginx", 3, "oh no")), run(ago(time.Hour), acmelog.NotDue))
		}, certmedic.CauseHookFailed, "letsencrypt.log:31"},
		{"the run was killed while the hook ran", stuck, func(c *Case) {
			r := run(renewed(), acmelog.Begun, hookRun("systemctl reload nginx"))
			r.Finished, r.Hooks[0].Ended = false, false
			c.logs(r)
		}, certmedic.CauseHookFailed, "letsencrypt.log:30"},
		{"certmedic's own attempt failed", stuck, func(c *Case) {
			c.logs()
			c.Actions = []certmedic.Action{{ID: "a1", Kind: certmedic.ActionRedeploy, StartedAt: ago(time.Hour), Runs: []certmedic.Run{{Name: hook, Result: certmedic.RunExited, ExitCode: 1, Stderr: "oh no"}}}}
		}, certmedic.CauseHookFailed, "journal a1"},
		{"a loop hides that a host failed", stuck, func(c *Case) {
			c.Spots, c.Observations = nil, nil
			c.serve(remote, version(6))
			c.Spots = []Spot{{Address: remote}}
			c.Used, c.Answering = nil, nil
			onlyHook(c, script.Script{Lints: []script.Lint{{Code: "last_status_wins", Line: 4, Text: "for h in a b; do scp ...; done", Why: "the status of all but the last host is lost"}}})
		}, certmedic.CauseHookFailed, "10-web:4"},
		{"the hook is not executable", stuck, func(c *Case) {
			c.Hooks = []Hook{{Kind: "deploy", Command: hook, Skipped: "hook not executable: certbot skips it silently", Script: script.Script{Path: hook}}}
			c.logs(run(renewed(), acmelog.Renewed))
		}, certmedic.CauseHookSkipped, hook},
		{"the hook's key has another name", stuck, func(c *Case) {
			c.Hooks = nil
			c.Conf.Params["deploy-hook"] = disk.Setting{Values: []string{"systemctl reload nginx"}, Line: 11}
			c.logs(run(renewed(), acmelog.Renewed))
		}, certmedic.CauseHookSkipped, "shop.conf:11 deploy-hook"},
		{"an old certbot, and certonly", stuck, func(c *Case) {
			onlyHook(c, script.Script{Reloads: []script.Reload{{Service: "nginx", Verb: "reload", Line: 2, Text: "systemctl reload nginx"}}})
			c.Hooks[0].Source = "/etc/letsencrypt/renewal-hooks/deploy/10-web"
			c.Runs[0].Arguments = []string{"certonly", "-d", "shop.test"}
		}, certmedic.CauseHookSkipped, "letsencrypt.log:1"},
		{"nothing reloads", stuck, func(c *Case) { c.Hooks = nil; c.logs(run(renewed(), acmelog.Renewed)) }, certmedic.CauseHookMissing, "renewal/shop.conf has no renew_hook"},
		{"the hook reloads nginx, and postfix is stale", healthy, func(c *Case) {
			c.serve(mail, version(6))
			c.Spots = append(c.Spots, Spot{Address: mail, Local: true, Processes: []Process{proc(200, 1, "master", ago(40*day))}})
			c.Answering = append(c.Answering, Answering{Address: mail, Kind: service.Postfix})
		}, certmedic.CauseHookMissing, "systemctl reload nginx"},
		{"the hook reloads nginx, and dovecot's helpers are stale", healthy, func(c *Case) {
			c.serve(mail, version(6))
			c.Spots = append(c.Spots, Spot{Address: mail, Local: true, Processes: []Process{proc(200, 1, "dovecot", ago(40*day)), proc(201, 200, "anvil", ago(40*day))}})
		}, certmedic.CauseHookMissing, "systemctl reload nginx"},
		{"the hook reloads the unit of the process, which has another name", stuck, func(c *Case) {
			c.Hooks = []Hook{reloadHook("systemctl reload proxy", "proxy")}
			for i := range c.Spots[0].Processes {
				c.Spots[0].Processes[i].Unit = "proxy.service"
			}
		}, certmedic.CauseOldWorker, "/proc/100"},
		{"the hook stands under a key that certbot does not know", stuck, func(c *Case) {
			c.Hooks = nil
			c.Conf.Params["deploy-hook"] = disk.Setting{Values: []string{"systemctl reload nginx"}, Line: 12}
			c.logs(run(renewed(), acmelog.Renewed))
		}, certmedic.CauseHookSkipped, "renewal/shop.conf:12"},
		{"the hook does not end", stuck, func(c *Case) {
			c.Stored.Lock = certmedic.Lock{State: certmedic.LockHeld, Path: "/etc/letsencrypt/.certbot.lock", PID: 77}
			c.Holder = &Holder{Process: process.Process{PID: 77, Start: c.Now.Add(-time.Hour)}, Children: []process.Process{{PID: 78, Argv: []string{"sleep", "infinity"}}}}
			r := run(c.Now.Add(-time.Hour), acmelog.Renewed, hookRun("sleep infinity"))
			r.Finished, r.Hooks[0].Ended = false, false
			c.logs(r)
		}, certmedic.CauseHookHung, "letsencrypt.log:30"},
		{"the hook has the line ends of Windows", stuck, func(c *Case) {
			onlyHook(c, script.Script{Problems: []script.Problem{{Kind: "crlf", Line: 1, Text: "the lines end as on Windows", Fix: "sed -i 's/\\r$//' " + hook}}})
		}, certmedic.CauseHookInterpreter, "10-web:1"},
		{"the kernel could not run it", stuck, func(c *Case) {
			c.logs(run(renewed(), acmelog.Renewed, failedHookRun("systemctl reload nginx", 126, "Exec format error")))
		}, certmedic.CauseHookInterpreter, "letsencrypt.log:31"},
		{"the hook calls what its PATH does not have", stuck, func(c *Case) {
			c.Hooks = []Hook{fileHook(hook, script.Script{Programs: []script.Program{{Name: "haproxyctl", Elsewhere: "/opt/bin/haproxyctl", Line: 3}}})}
			c.logs(run(renewed(), acmelog.Renewed, failedHookRun(hook, 127, hook+": 3: haproxyctl: not found")))
		}, certmedic.CauseHookEnvironment, "10-web:3"},
		{"exit code 127, and the hook is gone", stuck, func(c *Case) {
			c.logs(run(renewed(), acmelog.Renewed, failedHookRun("nginxctl reload", 127, "/bin/sh: 1: nginxctl: not found")))
		}, certmedic.CauseHookEnvironment, "letsencrypt.log:31"},
		{"the reload comes before the copy", stuck, func(c *Case) {
			onlyHook(c, script.Script{
				Reloads: []script.Reload{{Service: "nginx", Verb: "reload", Line: 2, Text: "systemctl reload nginx"}},
				Copies:  []script.Copy{{Verb: "cp", To: "/etc/ssl/shop.pem", Line: 3, Text: "cp fullchain.pem /etc/ssl/shop.pem"}},
			})
			c.Used = []Used{copyTo("/etc/ssl/shop.pem", version(7), false)}
		}, certmedic.CauseHookOrder, "10-web:2"},
		{"the copy is made before the renewal", stuck, func(c *Case) {
			h := fileHook("/etc/letsencrypt/renewal-hooks/pre/copy", script.Script{Copies: []script.Copy{{Verb: "cp", To: "/etc/ssl/shop.pem", Line: 3, Text: "cp fullchain.pem /etc/ssl/shop.pem"}}})
			h.Kind = "pre"
			c.Hooks = append(c.Hooks, h)
			c.Used = []Used{copyTo("/etc/ssl/shop.pem", version(6), false)}
		}, certmedic.CauseHookOrder, "pre/copy:3"},
		{"certbot's plugin could not reload nginx", stuck, func(c *Case) {
			c.logs(failedRun(renewed(), certmedic.CauseInstallerReloadFailed, "nginx restart failed"), run(ago(time.Hour), acmelog.NotDue))
		}, certmedic.CauseInstallerReloadFailed, "letsencrypt.log:40"},
	}
}

func serviceRows() []row {
	return []row{
		{"a copy was not renewed", stuck, func(c *Case) { c.Used = []Used{copyTo("/etc/ssl/shop.pem", version(6), false)} }, certmedic.CauseCopyStale, "/etc/ssl/shop.pem holds version 6"},
		{"a key store was not renewed", stuck, func(c *Case) { c.Used = []Used{copyTo("/etc/tomcat/shop.p12", version(6), true)} }, certmedic.CauseKeystoreStale, "/etc/tomcat/shop.p12 holds version 6"},
		{"a map was not made again", stuck, func(c *Case) {
			c.Services[0].Kind, c.Answering[0].Kind = service.Postfix, service.Postfix
			c.Services[0].Maps = []service.Map{{Source: "/etc/postfix/sni", Made: "/etc/postfix/sni.db", Holds: true, ModTime: ago(60 * day), File: "/etc/postfix/main.cf", Line: 20}}
		}, certmedic.CauseMapStale, "/etc/postfix/sni.db"},
		{"the process sees an old inode", stuck, func(c *Case) {
			c.Spots[0].Processes[0].Means[live] = version(6)
			c.Spots[0].Processes[0].Seen[live] = process.File{Inode: 5, Mount: live}
		}, certmedic.CauseMountStale, "inode 5"},
		{"the service may not enter live/", stuck, func(c *Case) { c.Denials = []Denial{denial(access.Mode, true)} }, certmedic.CausePermissionDenied, "/etc/letsencrypt/live drwx"},
		{"SELinux says no", stuck, func(c *Case) { c.Denials = []Denial{denial(access.SELinux, true)} }, certmedic.CauseMACDenied, ""},
		{"nginx reads the lineage shop-0001", stuck, func(c *Case) { c.Used[0].Lead, c.Used[0].Lineage = LeadOther, "shop-0001" }, certmedic.CauseDuplicateLineage, "sites-enabled/shop:5"},
		{"what is served is a version of shop-0001", stuck, func(c *Case) {
			c.Observations = nil
			c.serve(web, version(9))
			c.Others = []Other{{Name: "shop-0001", Path: "/etc/letsencrypt/live/shop-0001", Stored: certmedic.Stored{Known: []certmedic.Fingerprint{version(9).SHA256}}}}
		}, certmedic.CauseDuplicateLineage, web},
		{"nginx reads a numbered file of the archive", stuck, func(c *Case) {
			c.Used[0].Lead, c.Used[0].Path = LeadPinned, "/etc/letsencrypt/archive/shop/fullchain6.pem"
		}, certmedic.CauseWrongPath, "sites-enabled/shop:5"},
		{"nginx reads the certificate without its chain", healthy, func(c *Case) {
			c.Observations = nil
			c.serve(web, version(7), certmedic.NewFinding(certmedic.IncompleteChain, "no issuer"))
			c.Used[0].Count = 1
		}, certmedic.CauseWrongPath, "sites-enabled/shop:5"},
		{"another server answers to the name", stuck, func(c *Case) {
			c.Observations = nil
			c.serve(web, versionOf(3, "default.test"), certmedic.NewFinding(certmedic.NameMismatch, "not for shop.test"))
			c.Used = []Used{{Path: "/etc/ssl/default.pem", By: "nginx", Address: web, File: "/etc/nginx/sites-enabled/default", Line: 8, Lead: LeadForeign, Leaf: versionOf(3, "default.test"), Count: 1}}
		}, certmedic.CauseWrongVHost, "sites-enabled/default:8"},
		{"nginx refuses its configuration", stuck, func(c *Case) {
			c.Services[0].Problems = []service.Problem{{File: "/etc/nginx/sites-enabled/other", Line: 4, Text: "unknown directive \"servr\"", Sure: true}}
		}, certmedic.CauseConfigTestFailed, "sites-enabled/other:4"},
		{"nginx refused its configuration when it got the signal", stuck, func(c *Case) {
			c.Refusals = []Refusal{{service.Nginx, service.Problem{File: "/var/log/nginx/error.log", Line: 3, Text: "[emerg] unknown directive", Sure: true}}}
		}, certmedic.CauseConfigTestFailed, "/var/log/nginx/error.log:3"},
		{"the hook failed because its service does not run as the unit", stuck, func(c *Case) {
			c.Units = []unit.Unit{{Name: "nginx.service", Load: "loaded", Active: "failed", Sub: "failed"}}
			for i := range c.Spots[0].Processes {
				c.Spots[0].Processes[i].Unit = ""
			}
			c.logs(run(renewed(), acmelog.Renewed, failedHookRun("systemctl reload nginx", 1, "nginx.service is not active, cannot reload.")))
		}, certmedic.CauseReloadFailed, "nginx.service is failed"},
		{"somebody else's newer certificate is no version of this one", stuck, func(c *Case) {
			c.Observations = nil
			c.serve(web, versionOf(9, "default.test"), certmedic.NewFinding(certmedic.NameMismatch, "not for shop.test"))
		}, certmedic.CauseWrongVHost, web},
		{"the hook's loop hides that another host was left out", healthy, func(c *Case) {
			c.serve(remote, version(6))
			c.Spots = append(c.Spots, Spot{Address: remote})
			c.Hooks[0].Script.Lints = []script.Lint{{Code: "last_status_wins", Line: 3, Text: "scp ...", Why: "the loop goes on"}}
		}, certmedic.CauseHookFailed, "the loop goes on"},
		{"the hook's words say so", stuck, func(c *Case) {
			c.logs(run(renewed(), acmelog.Renewed, failedHookRun("systemctl reload nginx", 1, "nginx: [emerg] unknown directive\nnginx: configuration file /etc/nginx/nginx.conf test failed")))
		}, certmedic.CauseConfigTestFailed, "[emerg]"},
		{"systemd says that the reload failed", stuck, func(c *Case) {
			c.Units = []unit.Unit{{Name: "nginx.service", Load: "loaded", Active: "active", Sub: "running", Reload: "exit-code"}}
		}, certmedic.CauseReloadFailed, "nginx.service"},
		{"a process outside of its unit serves", stuck, func(c *Case) {
			c.Units = []unit.Unit{{Name: "nginx.service", Load: "loaded", Active: "failed", Sub: "failed"}}
			for i := range c.Spots[0].Processes {
				c.Spots[0].Processes[i].Unit = "certbot.service"
			}
		}, certmedic.CauseReloadFailed, "nginx.service"},
		{"the hook swallows the reload's failure", stuck, func(c *Case) {
			c.Hooks[0].Script.Lints = []script.Lint{{Code: "swallowed_failure", Line: 1, Text: "systemctl reload nginx || true", Why: "nobody learns that it failed"}}
		}, certmedic.CauseReloadFailed, "|| true"},
		{"a daemon that read the process ID once", stuck, func(c *Case) {
			c.Jobs = append(c.Jobs, schedule.Job{Kind: schedule.Loop, Client: "certmedic", Name: "x"}, schedule.Job{Kind: schedule.Loop, Client: "step", Name: "step.service", Command: "step ca renew --daemon --pid-file /run/nginx.pid", File: "/etc/systemd/system/step.service", Line: 4})
			c.Certificate.Source = certmedic.Source{Kind: certmedic.SourceFiles, Cert: live}
			c.Conf, c.Hooks = nil, nil
			c.Certificate.Destinations = []certmedic.Destination{{Name: "web"}}
			c.logs()
		}, certmedic.CauseReloadFailed, "step.service:4"},
		{"nothing listens", healthy, func(c *Case) {
			c.lose(web, certmedic.Unreachable, "connect: connection refused")
			c.Spots[0].Processes = nil
			c.Units = []unit.Unit{{Name: "nginx.service", Load: "loaded", Active: "failed", Result: "exit-code"}}
		}, certmedic.CauseServiceDown, web},
		{"hooks ran, and the process is from before", stuck, nil, certmedic.CauseOldWorker, "/proc/100"},
		{"a worker from before answers beside new ones", stuck, func(c *Case) {
			c.Spots[0].Processes = append(c.Spots[0].Processes, proc(103, 100, "nginx", renewed().Add(time.Minute)))
		}, certmedic.CauseOldWorker, "/proc/10"},
		{"another host does not answer", healthy, func(c *Case) { c.lose(remote, certmedic.Timeout, "i/o timeout"); c.Spots = []Spot{{Address: remote}} }, certmedic.CauseHostUnreachable, remote},
		{"the endpoint's name is gone", healthy, func(c *Case) { c.lose("shop.test:443", certmedic.DNSFailed, "no such host") }, certmedic.CauseDNSFailed, "no such host"},
		{"a node elsewhere was left out", healthy, func(c *Case) {
			c.serve(remote, version(6))
			c.Spots = append(c.Spots, Spot{Address: remote})
		}, certmedic.CauseSplitServing, remote},
	}
}

func allRows() []row { return slices.Concat(renewalRows(), hookRows(), serviceRows()) }

func TestEachCauseIsNamed(t *testing.T) {
	named := map[certmedic.Cause]bool{certmedic.CauseNone: true, certmedic.CauseUnknown: true}
	for _, row := range allRows() {
		t.Run(row.about, func(t *testing.T) {
			r := row.decide()
			named[r.Cause] = true
			if r.Cause != row.want {
				t.Fatalf("the cause is %s, want %s; also %v; %s", r.Cause, row.want, causes(r.Also), told(r))
			}
			if len(r.Evidence) == 0 || r.Summary == "" || r.Confidence < Guessed || r.Fix == "" && r.Cause != certmedic.CauseDeploying {
				t.Errorf("something is missing: %s", told(r))
			}
			if first := r.Evidence[0].Source + " " + r.Evidence[0].Line; !strings.Contains(first, row.shown) {
				t.Errorf("the first evidence is %q, want %q", first, row.shown)
			}
			if r.ExitCode() != 2 && r.Cause != certmedic.CauseDeploying {
				t.Errorf("it ends with %d", r.ExitCode())
			}
		})
	}
	for _, cause := range certmedic.Causes() {
		if !named[cause] {
			t.Errorf("no case has the cause %s", cause)
		}
	}
}

func causes(all []certmedic.Suspect) (out []certmedic.Cause) {
	for _, s := range all {
		out = append(out, s.Cause)
	}
	return out
}

func told(r Result) string {
	text, _ := json.MarshalIndent(r, "", " ")
	return string(text)
}

func TestAHealthyCaseHasNone(t *testing.T) {
	for _, row := range []row{
		{about: "nginx serves it from live/"},
		{about: "from a copy", with: func(c *Case) { c.Used = []Used{copyTo("/etc/ssl/shop.pem", version(7), false)} }},
		{about: "nobody may look at processes", with: func(c *Case) {
			c.Spots[0].Processes = nil
			c.Unseen = []Unseen{{PartProcesses, "not root"}}
		}},
		{about: "there is no log", with: func(c *Case) { c.logs(); c.Unseen = []Unseen{{PartLog, "no such folder"}} }},
		{about: "the master is older than the version", with: func(c *Case) { c.Spots[0].Processes[0].Start = ago(400 * day) }},
		{about: "a hook failed, and somebody reloaded by hand", with: func(c *Case) {
			c.logs(run(renewed(), acmelog.Renewed, failedHookRun("systemctl reload nginx", 1, "no")))
		}},
		{about: "there is no hook, and the service was restarted", with: func(c *Case) { c.Hooks = nil }},
		{about: "a run failed before the version was stored", with: func(c *Case) {
			c.logs(failedRun(ago(3*day), certmedic.CauseChallenge404, "404"), run(renewed(), acmelog.Renewed, hookRun("systemctl reload nginx")), run(ago(time.Hour), acmelog.NotDue))
		}},
		{about: "a rehearsal failed", with: func(c *Case) {
			r := failedRun(ago(time.Hour), certmedic.CauseChallenge404, "404")
			r.DryRun = true
			c.logs(run(renewed(), acmelog.Renewed, hookRun("systemctl reload nginx")), r)
		}},
		{about: "an RSA certificate beside it", with: func(c *Case) {
			rsa := version(3)
			rsa.KeyType = "rsa2048"
			a := c.Observations[0].Addresses[0]
			a.Variant, a.Chain = certmedic.VariantRSA, []certmedic.CertFacts{rsa}
			c.Observations[0].Addresses = append(c.Observations[0].Addresses, a)
		}},
		{about: "clients without a name get another one", with: func(c *Case) {
			a := c.Observations[0].Addresses[0]
			a.Variant, a.Chain = certmedic.VariantNoSNI, []certmedic.CertFacts{versionOf(2, "default.test")}
			c.Observations[0].Addresses = append(c.Observations[0].Addresses, a)
		}},
		{about: "two addresses", with: func(c *Case) { c.serve(remote, version(7)) }},
		{about: "plain files as the source", with: func(c *Case) {
			c.Certificate.Source = certmedic.Source{Kind: certmedic.SourceFiles, Cert: live}
			c.Conf, c.Hooks, c.Jobs = nil, nil, nil
			c.logs()
		}},
		{about: "findings that do not matter here", with: func(c *Case) {
			c.Observations[0].Addresses[0].Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.NoSCT, "none"), certmedic.NewFinding(certmedic.WeakKey, "rsa1024")}
		}},
		{about: "a target of which nothing is kept here", with: func(c *Case) {
			observed := c.Observations
			*c = Case{Now: c.Now, Subject: "shop.test:443", Observations: observed}
		}},
	} {
		row.from = healthy
		if r := row.decide(); r.Cause != certmedic.CauseNone || r.ExitCode() != 0 || len(r.Also) > 0 || r.Fix != "" || r.Stage != certmedic.StageServed || r.Evidence == nil {
			t.Errorf("%s: %s", row.about, told(r))
		}
	}
}

func TestUnknownRatherThanWrong(t *testing.T) {
	for _, row := range []row{
		{about: "an address elsewhere serves an old version, and nothing is known of it", from: stuck, with: func(c *Case) {
			c.Observations, c.Spots, c.Used, c.Answering = nil, []Spot{{Address: remote}}, nil, nil
			c.serve(remote, version(6))
		}},
		{about: "nothing is known that serves it", from: healthy, with: func(c *Case) { c.Observations, c.Certificate.Endpoints = nil, nil }},
		{about: "a newer version is served than anybody here has", from: healthy, with: func(c *Case) { c.Observations = nil; c.serve(web, version(9)) }},
		{about: "nothing could be seen but that it is not served", from: stuck, with: func(c *Case) {
			c.logs()
			c.Hooks, c.Jobs, c.Spots, c.Used, c.Answering, c.Services, c.Conf = nil, nil, nil, nil, nil, nil, nil
			c.Unseen = []Unseen{{PartLog, "not root"}, {PartProcesses, "not root"}}
		}},
	} {
		if r := row.decide(); r.Cause != certmedic.CauseUnknown || r.ExitCode() != 3 || r.Summary == "" || r.Confidence >= Guessed {
			t.Errorf("%s: %s", row.about, told(r))
		}
	}
}

func TestOfTwoCausesTheOneThatExplainsIsNamed(t *testing.T) {
	with := func(all ...func(c *Case)) func(*Case) {
		return func(c *Case) {
			for _, f := range all {
				f(c)
			}
		}
	}
	broken := func(c *Case) {
		c.Services[0].Problems = []service.Problem{{File: "/etc/nginx/nginx.conf", Line: 4, Text: "unexpected }", Sure: true}}
	}
	hookFails := func(c *Case) {
		c.logs(run(renewed(), acmelog.Renewed, failedHookRun("systemctl reload nginx", 1, "Job for nginx.service failed.")))
	}
	renewalFails := func(c *Case) {
		c.logs(append(c.Runs, failedRun(ago(time.Hour), certmedic.CauseRateLimited, "too many"))...)
	}
	oldCopy := func(c *Case) { c.Used = []Used{copyTo("/etc/ssl/shop.pem", version(6), false)} }
	pinned := func(c *Case) { c.Used[0].Lead = LeadPinned }
	off := func(c *Case) {
		c.Conf.Autorenew = false
		c.Conf.Params["autorenew"] = disk.Setting{Values: []string{"False"}, Line: 14}
	}
	for _, row := range []struct {
		row
		also certmedic.Cause
	}{
		{row{"the hook failed because the configuration is broken", stuck, with(hookFails, broken), certmedic.CauseConfigTestFailed, ""}, certmedic.CauseHookFailed},
		{row{"the hook failed, and so the copy is old", stuck, with(hookFails, oldCopy), certmedic.CauseHookFailed, ""}, certmedic.CauseCopyStale},
		{row{"a numbered file is served, and the hook failed", stuck, with(hookFails, pinned), certmedic.CauseWrongPath, ""}, certmedic.CauseHookFailed},
		{row{"not served now, and the next renewal fails", stuck, with(hookFails, renewalFails), certmedic.CauseHookFailed, ""}, certmedic.CauseRateLimited},
		{row{"nothing sure now, and the next renewal fails", stuck, renewalFails, certmedic.CauseOldWorker, ""}, certmedic.CauseRateLimited},
		{row{"not served now, and never renewed again", stuck, with(hookFails, off), certmedic.CauseHookFailed, ""}, certmedic.CauseAutorenewOff},
		{row{"the disk is full, and the timer is dead", due, func(c *Case) { c.Disks = []Disk{{Path: "/etc"}}; c.Jobs[0].Masked = true }, certmedic.CauseDiskFull, ""}, certmedic.CauseTimerDead},
		{row{"all is well, and it will not be renewed", healthy, off, certmedic.CauseNone, ""}, certmedic.CauseAutorenewOff},
	} {
		r := row.decide()
		if r.Cause != row.want || !slices.Contains(causes(r.Also), row.also) {
			t.Errorf("%s: the cause is %s, want %s; also %v, want %s", row.about, r.Cause, row.want, causes(r.Also), row.also)
		}
	}
}

func TestTheWay(t *testing.T) {
	reach := func(r Result) string {
		var b strings.Builder
		for _, s := range r.Way {
			b.WriteString(map[Reach]string{Reached: "+", Stopped: "x", Ahead: "."}[s.Reach])
		}
		return b.String()
	}
	for _, row := range []struct {
		about string
		from  func() *Case
		with  func(*Case)
		stage certmedic.Stage
		way   string
	}{
		{"served everywhere", healthy, nil, certmedic.StageServed, "+++++"},
		{"not renewed", due, nil, certmedic.StageIssued, "x...."},
		{"the service reads the new file", stuck, nil, certmedic.StageDeployed, "+++x."},
		{"the service reads an old copy", stuck, func(c *Case) { c.Used = []Used{copyTo("/etc/ssl/x", version(6), false)} }, certmedic.StageStored, "++x.."},
		{"nobody knows what the service reads", stuck, func(c *Case) { c.Used = nil }, certmedic.StageStored, "++x.."},
		{"one of two addresses", healthy, func(c *Case) { c.serve(remote, version(6)) }, certmedic.StageLoaded, "++++x"},
		{"a newer one is served", healthy, func(c *Case) { c.Observations = nil; c.serve(web, version(9)) }, certmedic.StageIssued, "+x..."},
		{"the client is at work", stuck, func(c *Case) { c.Stored.Lock.State = certmedic.LockHeld }, certmedic.StageDeploying, "+++x."},
	} {
		c := row.from()
		if row.with != nil {
			row.with(c)
		}
		if r := Decide(*c); r.Stage != row.stage || reach(r) != row.way {
			t.Errorf("%s: stage %q, way %s, want %q, %s", row.about, r.Stage, reach(r), row.stage, row.way)
		}
	}
}

// TestHostileNames puts what a server or a file may be called where a shell or a terminal reads.
func TestHostileNames(t *testing.T) {
	const hostile = "a'; rm -rf ~ #\x1b[31m$(id)`id`\nrm -rf /\n"
	for _, row := range allRows() {
		c := row.from()
		if row.with != nil {
			row.with(c)
		}
		c.Certificate.Name, c.Certificate.Source.Lineage = hostile, hostile
		for i := range c.Used {
			c.Used[i].Path = "/etc/ssl/" + hostile
		}
		r := Decide(*c)
		for line := range strings.Lines(r.Fix) {
			if strings.ContainsRune(r.Fix, '\x1b') {
				t.Errorf("%s: the fix %q holds an escape", row.about, r.Fix)
			}
			if strings.HasPrefix(line, "#") {
				continue
			}
			if strings.HasPrefix(line, "rm -rf") {
				t.Errorf("%s: the fix %q has a command of its own", row.about, r.Fix)
			}
			if strings.Contains(line, "$(id)") && !strings.Contains(line, "'") {
				t.Errorf("%s: the fix %q is not quoted", row.about, r.Fix)
			}
		}
		if strings.ContainsAny(told(r), "\x1b\x00") {
			t.Errorf("%s: an escape came through", row.about)
		}
	}
	if got := command("certbot", "--cert-name", "it's", "$(id)"); got != `certbot --cert-name "it's" '$(id)'` {
		t.Errorf("quoted as %s", got)
	}
}

func TestSecretsStayBehind(t *testing.T) {
	c := stuck()
	c.logs(run(renewed(), acmelog.Renewed, failedHookRun("deploy --token abcdef123456", 1, "PASSWORD=hunter2 failed\n-----BEGIN PRIVATE KEY-----\nMIGH\n")))
	if text := told(Decide(*c)); strings.Contains(text, "hunter2") || strings.Contains(text, "abcdef123456") || strings.Contains(text, "MIGH") {
		t.Errorf("a secret came through: %s", text)
	}
}

func TestEveryCauseIsExplained(t *testing.T) {
	seen := map[string]certmedic.Cause{}
	for _, cause := range certmedic.Causes() {
		e := Explain(cause)
		if e.Means == "" || e.Look == "" {
			t.Errorf("%s is not explained", cause)
		}
		if other, ok := seen[e.Means]; ok {
			t.Errorf("%s and %s have the same words", cause, other)
		}
		seen[e.Means] = cause
	}
}

func ExampleDecide() {
	c := stuck()
	c.logs(run(renewed(), acmelog.Renewed, failedHookRun("systemctl reload nginx", 1, "Job for nginx.service failed.")))
	r := Decide(*c)
	fmt.Println(r.Stage, r.Cause, r.Confidence)
	fmt.Println(r.Evidence[0].Source)
	fmt.Println(r.Fix)
	// Output:
	// deployed hook_failed 0.95
	// /var/log/letsencrypt/letsencrypt.log:31
	// # mend the hook, then run it again
	// certmedic redeploy shop
}

func TestOfWhatIsKnownNowhereNothingWasReached(t *testing.T) {
	c := Case{Now: noon(), Subject: "nowhere.example", Observations: []certmedic.Observation{{
		Endpoint:  certmedic.Endpoint{Address: "nowhere.example:443"},
		Addresses: []certmedic.AddressObservation{{Address: "nowhere.example:443", Error: &certmedic.ProbeError{Reason: certmedic.DNSFailed, Detail: "no such host"}}},
	}}}
	for _, step := range Decide(c).Way {
		if step.Reach == Reached {
			t.Errorf("%s counts as reached", step.Stage)
		}
	}
}
