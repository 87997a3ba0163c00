package acmelog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// logOf writes messages as certbot does: "LEVEL:LOGGER:TEXT", a second apart.
func logOf(messages ...string) []byte {
	at := time.Date(2026, 11, 23, 6, 25, 0, 0, time.UTC)
	var b strings.Builder
	for i, m := range messages {
		fmt.Fprintf(&b, "%s:%s\n", at.Add(time.Duration(i)*time.Second).Format(stampLayout), m)
	}
	return []byte(b.String())
}

// How runs begin: of certbot 2.x to 5.x, of 1.x, and of 0.x, which said it in another order.
var (
	opening2 = []string{
		"DEBUG:certbot._internal.main:certbot version: 5.6.0",
		"DEBUG:certbot._internal.main:Location of certbot entry point: /snap/certbot/5000/bin/certbot",
		"DEBUG:certbot._internal.main:Arguments: ['-q', '--preconfigured-renewal']",
		"DEBUG:certbot._internal.main:Discovered plugins: PluginsRegistry(PluginEntryPoint#webroot)",
		"DEBUG:certbot._internal.log:Root logging level set at 40",
		"DEBUG:certbot._internal.display.obj:Notifying user: Processing /etc/letsencrypt/renewal/shop.example.test.conf",
	}
	opening0 = []string{
		"DEBUG:certbot.log:Root logging level set at 20",
		"INFO:certbot.log:Saving debug log to /var/log/letsencrypt/letsencrypt.log",
		"DEBUG:certbot.main:certbot version: 0.31.0",
		"DEBUG:certbot.main:Arguments: ['-q']",
		"DEBUG:certbot.main:Discovered plugins: PluginsRegistry(PluginEntryPoint#webroot)",
		"INFO:certbot.renewal:Cert is due for renewal, auto-renewing...",
	}
	stored0 = []string{
		"DEBUG:certbot.storage:Writing new private key to /etc/letsencrypt/archive/shop.example.test/privkey4.pem.",
		"DEBUG:certbot.storage:Writing certificate to /etc/letsencrypt/archive/shop.example.test/cert4.pem.",
		"DEBUG:certbot.storage:Writing new config /etc/letsencrypt/renewal/shop.example.test.conf.new.",
	}
	stored2 = []string{"DEBUG:certbot._internal.storage:Writing new config /etc/letsencrypt/renewal/shop.example.test.conf.new."}
)

func joined(parts ...[]string) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// one returns the only run of a log.
func one(t *testing.T, about string, data []byte) Run {
	t.Helper()
	runs := certbotRuns("letsencrypt.log", data, 0)
	if len(runs) != 1 {
		t.Fatalf("%s: %d runs: %+v", about, len(runs), runs)
	}
	return runs[0]
}

func TestHooksOfAllVersions(t *testing.T) {
	for _, row := range []struct {
		about string
		log   []string
		want  Hook
	}{
		{
			"since 1.16 a hook that fails is a warning, and what it wrote another",
			joined(opening2, stored2, []string{
				"INFO:certbot.compat.misc:Running deploy-hook command: /usr/local/bin/reload",
				"WARNING:certbot.display.ops:Hook 'deploy-hook' reported error code 1",
				"WARNING:certbot.display.ops:Hook 'deploy-hook' ran with error output:\n one\n two",
				"DEBUG:certbot._internal.renewal:no renewal failures",
			}),
			Hook{Kind: "deploy", Command: "/usr/local/bin/reload", Lineage: shop, Ended: true, Failed: true, ExitCode: 1, Stderr: "one\ntwo"},
		},
		{
			"a hook that a signal ended has its number",
			joined(opening2, stored2, []string{
				"INFO:certbot.compat.misc:Running deploy-hook command: /usr/local/bin/reload",
				"WARNING:certbot.display.ops:Hook 'deploy-hook' reported error code -9",
			}),
			Hook{Kind: "deploy", Command: "/usr/local/bin/reload", Lineage: shop, Ended: true, Failed: true, ExitCode: -9},
		},
		{
			"up to 1.15 it is an error that names the command",
			joined(opening2, stored2, []string{
				"INFO:certbot.compat.misc:Running deploy-hook command: /usr/local/bin/reload --now",
				"ERROR:certbot.compat.misc:deploy-hook command \"/usr/local/bin/reload --now\" returned error code 3",
				"ERROR:certbot.compat.misc:Error output from deploy-hook command reload:\nnginx is busy\n",
			}),
			Hook{Kind: "deploy", Command: "/usr/local/bin/reload --now", Lineage: shop, Ended: true, Failed: true, ExitCode: 3, Stderr: "nginx is busy"},
		},
		{
			"0.x names the kind only at the start, and the lineage only in the files it writes",
			joined(opening0, stored0, []string{
				"INFO:certbot.hooks:Running deploy-hook command: /usr/local/bin/reload",
				"ERROR:certbot.hooks:Hook command \"/usr/local/bin/reload\" returned error code 127",
				"ERROR:certbot.hooks:Error output from reload:\n/bin/sh: 1: /usr/local/bin/reload: not found\n",
				"DEBUG:certbot.renewal:no renewal failures",
			}),
			Hook{Kind: "deploy", Command: "/usr/local/bin/reload", Lineage: shop, Ended: true, Failed: true, ExitCode: 127, Stderr: "/bin/sh: 1: /usr/local/bin/reload: not found"},
		},
		{
			"the hooks of the manual plugin are told with the name they were for",
			joined(opening2, []string{
				"INFO:certbot.compat.misc:Running manual-auth-hook command: /root/dns add",
				"WARNING:certbot.display.ops:Hook '--manual-auth-hook' for shop.example.test reported error code 2",
				"WARNING:certbot.display.ops:Hook '--manual-auth-hook' for shop.example.test ran with error output:\n no API key",
			}),
			Hook{Kind: "manual-auth", Command: "/root/dns add", Lineage: shop, Ended: true, Failed: true, ExitCode: 2, Stderr: "no API key"},
		},
		{
			"0.x does not say when it starts those",
			joined(opening0, []string{"ERROR:certbot.hooks:Hook command \"/root/dns add\" returned error code 2"}),
			Hook{Kind: "manual", Command: "/root/dns add", Ended: true, Failed: true, ExitCode: 2},
		},
		{
			"a hook of 0.x that a dry run leaves out is a warning",
			joined(opening0, []string{"WARNING:certbot.hooks:Dry run: skipping deploy hook command: /usr/local/bin/reload"}),
			Hook{Kind: "deploy", Command: "/usr/local/bin/reload", Skipped: true},
		},
		{
			"a hook after which nothing was written has not ended",
			joined(opening2, stored2, []string{"INFO:certbot.compat.misc:Running deploy-hook command: sleep 600"}),
			Hook{Kind: "deploy", Command: "sleep 600", Lineage: shop},
		},
		{
			"but a post-hook has, after which nothing is written",
			joined(opening2, stored2, []string{
				"DEBUG:certbot._internal.renewal:no renewal failures",
				"INFO:certbot.compat.misc:Running post-hook command: systemctl start nginx",
			}),
			Hook{Kind: "post", Command: "systemctl start nginx", Ended: true},
		},
	} {
		run := one(t, row.about, logOf(row.log...))
		if len(run.Hooks) != 1 {
			t.Errorf("%s: %+v", row.about, run.Hooks)
			continue
		}
		got := run.Hooks[0]
		got.At, got.Result = Line{}, Line{}
		if got != row.want {
			t.Errorf("%s: the hook is\n%+v, want\n%+v", row.about, got, row.want)
		}
	}
}

func TestRenewalsOfAllVersions(t *testing.T) {
	report := func(word string) string {
		return "DEBUG:certbot._internal.display.obj:Notifying user:   /etc/letsencrypt/live/shop.example.test/fullchain.pem (" + word + ")"
	}
	for _, row := range []struct {
		about  string
		log    []string
		result Result
		cause  certmedic.Cause
		line   int
	}{
		{"5.x succeeds", joined(opening2, stored2, []string{report("success"), "DEBUG:certbot._internal.renewal:no renewal failures"}), Renewed, "", 8},
		{"0.x succeeds, and does not say so", joined(opening0, stored0, []string{"DEBUG:certbot.renewal:no renewal failures"}), Renewed, "", 9},
		{
			"0.x fails at a challenge",
			joined(opening0, []string{
				"WARNING:certbot.renewal:Attempting to renew cert (shop.example.test) from /etc/letsencrypt/renewal/shop.example.test.conf produced an unexpected error: Failed authorization procedure. shop.example.test (http-01): urn:ietf:params:acme:error:unauthorized :: The client lacks sufficient authorization :: Invalid response from http://shop.example.test/.well-known/acme-challenge/x: \"<html>\n<head><title>404 Not Found</title></head>\". Skipping.",
				"ERROR:certbot.log:1 renew failure(s), 0 parse failure(s)",
			}),
			Failed, certmedic.CauseChallenge404, 7,
		},
		{
			"1.x tells the problem among its important notes",
			joined(opening2, []string{
				"WARNING:certbot._internal.auth_handler:Challenge failed for domain shop.example.test",
				"DEBUG:certbot._internal.reporter:Reporting to user: The following errors were reported by the server:\n\nDomain: shop.example.test\nType:   connection\nDetail: Fetching http://shop.example.test/.well-known/acme-challenge/x: Timeout during connect (likely firewall problem)\n\nTo fix these errors",
				"WARNING:certbot._internal.renewal:Attempting to renew cert (shop.example.test) from /etc/letsencrypt/renewal/shop.example.test.conf produced an unexpected error: Some challenges have failed.. Skipping.",
			}),
			Failed, certmedic.CauseChallengeTimeout, 12,
		},
		{
			"3.x is limited",
			joined(opening2, []string{"ERROR:certbot._internal.renewal:Failed to renew certificate shop.example.test with error: urn:ietf:params:acme:error:rateLimited :: There were too many requests of a given type :: too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2026-11-24 10:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/"}),
			Failed, certmedic.CauseRateLimited, 7,
		},
		{
			"2.x has no words for a refusal of which the CA has some",
			joined(opening2, []string{
				"DEBUG:acme.client:Received response:\nHTTP 409\nContent-Type: application/problem+json\n\n{\"type\": \"urn:ietf:params:acme:error:alreadyReplaced\",\n  \"detail\": \"it already has a replacement order\"}",
				"ERROR:certbot._internal.renewal:Failed to renew certificate shop.example.test with error: ",
			}),
			Failed, certmedic.CauseReplacesConflict, 11,
		},
		{
			"the words of the error decide, and not what was refused before it",
			joined(opening2, []string{
				"DEBUG:acme.client:Received response:\nHTTP 400\n\n{\"type\": \"urn:ietf:params:acme:error:rateLimited\"}",
				"ERROR:certbot._internal.renewal:Failed to renew certificate shop.example.test with error: Could not bind TCP port 80 because it is already in use",
			}),
			Failed, certmedic.CausePortConflict, 11,
		},
		{
			"Apache cannot be reloaded after the new version was stored",
			joined(opening2, stored2, []string{"ERROR:certbot._internal.renewal:Failed to renew certificate shop.example.test with error: Error while running apache2ctl graceful.\nhttpd not running, trying to start"}),
			Failed, certmedic.CauseInstallerReloadFailed, 8,
		},
		{
			"nginx cannot be reloaded for the challenge, before anything was stored",
			joined(opening2, []string{"ERROR:certbot._internal.renewal:Failed to renew certificate shop.example.test with error: nginx restart failed:\nbind() to 0.0.0.0:80 failed"}),
			Failed, certmedic.CauseReloadFailed, 7,
		},
		{"only the report says that it failed", joined(opening2, []string{report("failure")}), Failed, certmedic.CauseUnknown, 7},
		{"it was skipped", joined(opening2, []string{"DEBUG:certbot._internal.display.obj:Notifying user: Certificate not yet due for renewal"}), NotDue, "", 7},
		{"1.x reports all at once", joined(opening2, []string{"DEBUG:certbot._internal.display.obj:Notifying user: The following certs are not due for renewal yet:\n  /etc/letsencrypt/live/shop.example.test/fullchain.pem expires on 2027-01-01 (skipped)\nNo renewals were attempted."}), NotDue, "", 8},
		{
			"a configuration references nonsense",
			joined(opening2, []string{"ERROR:certbot._internal.renewal:An error occurred while parsing /etc/letsencrypt/renewal/shop.example.test.conf. The error was Expected True or False for autorenew but found x. Skipping the file."}),
			Broken, certmedic.CauseLineageBroken, 7,
		},
		{
			"5.x says whose configuration it could not take",
			joined(opening2, []string{"ERROR:certbot._internal.renewal:Renewal configuration file /etc/letsencrypt/renewal/shop.example.test.conf (cert: shop.example.test) produced an unexpected error: 'server'. Skipping."}),
			Broken, certmedic.CauseLineageBroken, 7,
		},
		{"certonly names the file", []string{
			opening2[0], "DEBUG:certbot._internal.main:Arguments: ['--webroot', '-d', 'shop.example.test']",
			"DEBUG:certbot._internal.display.obj:Notifying user: \nSuccessfully received certificate.\nCertificate is saved at: /etc/letsencrypt/live/shop.example.test/fullchain.pem\nKey is saved at:         /etc/letsencrypt/live/shop.example.test/privkey.pem",
		}, Renewed, "", 5},
		{"certonly fails for the lineage it was given", []string{
			opening2[0], "DEBUG:certbot._internal.main:Arguments: ['--cert-name', 'shop.example.test']",
			"INFO:certbot._internal.main:Renewing an existing certificate",
			"DEBUG:certbot._internal.log:Exiting abnormally:\nTraceback (most recent call last):\n  File x",
			"ERROR:certbot._internal.log:An unexpected error occurred:",
			"ERROR:certbot._internal.log:requests.exceptions.ConnectionError: HTTPSConnectionPool(host='acme-v02.api.letsencrypt.org', port=443): Max retries exceeded with url: /directory",
		}, Failed, certmedic.CauseCAUnreachable, 8},
		{"it was begun, and the log ends", joined(opening2, []string{"INFO:certbot._internal.auth_handler:Waiting for verification..."}), Begun, "", 0},
	} {
		run := one(t, row.about, logOf(row.log...))
		if len(run.Renewals) != 1 || run.Renewals[0].Lineage != shop {
			t.Errorf("%s: %+v", row.about, run.Renewals)
			continue
		}
		if n := run.Renewals[0]; n.Result != row.result || n.Cause != row.cause || n.At.Number != row.line {
			t.Errorf("%s: %s because of %q in line %d: %s", row.about, n.Result, n.Cause, n.At.Number, n.Detail)
		}
		if n := run.Renewals[0]; strings.ContainsAny(n.Detail, "\n") || strings.Contains(n.Detail, "Traceback") {
			t.Errorf("%s: the detail is %q", row.about, n.Detail)
		}
	}
}

func TestNotesOfARun(t *testing.T) {
	for _, row := range []struct {
		about, message string
		cause          certmedic.Cause
	}{
		{"another one runs", "ERROR:certbot._internal.log:Another instance of Certbot is already running.", certmedic.CauseLockHeld},
		{"links are mended", "WARNING:certbot._internal.storage:Found a new certificate /archive/ that was not linked to in /live/; fixing...", certmedic.CauseHookSkipped},
		{"the CA was not asked", "WARNING:certbot._internal.renewal:An error occurred requesting ACME Renewal Information (ARI). If this problem persists", certmedic.CauseUnknown},
		{"a hook is not there", "ERROR:certbot._internal.log:Unable to find deploy-hook command reload-all in the PATH.\n(PATH is /usr/bin:/bin)\nSee also the --disable-hook-validation option.", certmedic.CauseHookMissing},
		{"a hook may not be executed", "ERROR:certbot._internal.log:/root/reload-hook command deploy exists, but is not executable.", certmedic.CauseHookSkipped},
		{"a hook may not be executed, as the words were meant", "ERROR:certbot.log:deploy-hook command /root/reload exists, but is not executable.", certmedic.CauseHookSkipped},
		{"the log cannot be written", "ERROR:certbot._internal.log:The following error was encountered:\n[Errno 13] Permission denied: '/var/log/letsencrypt/.certbot.lock'\nEither run as root", certmedic.CausePermissionDenied},
	} {
		run := one(t, row.about, logOf(append(opening2[:5:5], row.message)...))
		if len(run.Notes) != 1 || run.Notes[0].Cause != row.cause || run.Notes[0].At.Number != 6 {
			t.Errorf("%s: %+v", row.about, run.Notes)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, row := range []struct {
		list string
		want Run
	}{
		{`['-q', 'renew', '--deploy-hook', 'it\'s']`, Run{Arguments: []string{"-q", "renew", "--deploy-hook", "it's"}, Quiet: true}},
		{`['--dry-run', "a'b"]`, Run{Arguments: []string{"--dry-run", "a'b"}, DryRun: true}},
		{`[u'--force-renew']`, Run{Arguments: []string{"--force-renew"}, Forced: true}},
		{`[]`, Run{}},
		{`['unfinished`, Run{}},
		{`['--token=secret-of-the-house']`, Run{Arguments: []string{"--token=***"}}},
	} {
		run := one(t, row.list, logOf("DEBUG:certbot.main:Arguments: "+row.list))
		if fmt.Sprint(run.Arguments) != fmt.Sprint(row.want.Arguments) || run.Quiet != row.want.Quiet || run.DryRun != row.want.DryRun || run.Forced != row.want.Forced {
			t.Errorf("%s: %q, quiet %v, dry run %v, forced %v", row.list, run.Arguments, run.Quiet, run.DryRun, run.Forced)
		}
	}
}

func TestRunsAreToldApart(t *testing.T) {
	run2, run0 := joined(opening2, []string{"DEBUG:certbot._internal.renewal:no renewal failures"}), joined(opening0, stored0)
	for _, row := range []struct {
		about string
		log   []string
		runs  int
	}{
		{"two of the new order", joined(run2, run2), 2},
		{"two of the old order", joined(run0, run0), 2},
		{"one of each", joined(run2, run0, run2), 3},
		{"the first was killed as soon as it began", joined(opening2[:1], run2), 2},
		{"the first was killed while its hook ran", joined(opening2, []string{"INFO:certbot.compat.misc:Running deploy-hook command: x"}, run2), 2},
		{"the beginning is cut off", joined(run2[4:], run2), 2},
		{"nothing but an end", []string{"DEBUG:certbot._internal.renewal:no renewal failures"}, 1},
		{"nothing", nil, 0},
	} {
		if got := certbotRuns("x", logOf(row.log...), 0); len(got) != row.runs {
			t.Errorf("%s: %d runs, want %d", row.about, len(got), row.runs)
		}
	}
	killed := certbotRuns("x", logOf(joined(opening2, stored2, []string{"INFO:certbot.compat.misc:Running deploy-hook command: x"}, run2)...), 0)
	if killed[0].Finished || killed[0].Hooks[0].Ended || !killed[1].Finished {
		t.Errorf("the run that was killed: %+v", killed[0])
	}
	warned := append([]byte("2026-11-23 06:25:00,000:WARNING:certbot._internal.cli:Use of --x is deprecated\n"), logOf(run2...)...)
	if got := one(t, "a warning in front", warned); got.First.Number != 1 || got.Version != "5.6.0" {
		t.Errorf("with a warning in front it is %+v", got)
	}
}

func TestClockThatWasSetBack(t *testing.T) {
	early := strings.ReplaceAll(string(logOf(opening2...)), "2026-11-23", "2026-11-22")
	runs := certbotRuns("x", append(logOf(opening2...), early...), 0)
	if len(runs) != 2 || !runs[1].Started.Before(runs[0].Started) {
		t.Errorf("the runs are not in the order of the file: %+v", runs)
	}
}

func TestDamagedLogs(t *testing.T) {
	long := string(logOf(opening2...)) + strings.Repeat("x", 10<<20) + "\n2026-11-23 07:00:00,000:DEBUG:certbot._internal.renewal:no renewal failures\n"
	if run := one(t, "a line of 10 MB", []byte(long)); !run.Finished {
		t.Error("what stands behind a line of 10 MB was not read")
	}
	invalid := logOf(append(opening2[:6:6], "ERROR:certbot._internal.renewal:Failed to renew certificate shop.example.test with error: \xff\xfe\x1b[31m")...)
	if n := one(t, "invalid UTF-8", invalid).Renewals; len(n) != 1 || n[0].Detail != "\uFFFD" {
		t.Errorf("invalid UTF-8: %+v", n)
	}
	cut := logOf(opening2...)
	for i := 0; i < len(cut); i += 13 {
		certbotRuns("x", cut[i:], 0)
		certbotRuns("x", cut[:i], 0)
	}
	if runs := certbotRuns("x", []byte("no log at all\n\x00\x01\n"), 0); len(runs) != 0 {
		t.Errorf("%+v", runs)
	}
}
