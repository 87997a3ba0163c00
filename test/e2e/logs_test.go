package e2e_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/acmelog"
)

var updateLogs = flag.Bool("update-logs", false, "stage everything that logs_test.go can stage, and keep the logs for the tests of probe/host/acmelog")

// logFixtures is where the logs of real runs are kept.
const logFixtures = "../../probe/host/acmelog/testdata/certbot-2.1"

// staging makes certbot write a log about one thing.
type staging struct {
	name   string // of the fixture
	script string // run on the host, after the log was removed
	after  string // puts the host back
}

// reset takes away what a staging before may have left.
const reset = `rm -rf /var/log/letsencrypt/* ` + hookFile + ` /etc/letsencrypt/renewal-hooks/deploy/* /etc/nginx/acme.conf
touch /etc/nginx/acme.conf
systemctl start nginx && systemctl reload nginx
`

const (
	conf     = "/etc/letsencrypt/renewal/" + domain + ".conf"
	renewNow = "certbot renew --force-renewal --no-random-sleep-on-renew >/dev/null 2>&1 || true\n"
	saveConf = "cp " + conf + " /root/saved.conf\n"
	backConf = "cp /root/saved.conf " + conf + "\n"
)

// withHook returns a script that sets the deploy hook.
func withHook(body string) string {
	return "printf '%s\\n' '#!/bin/sh' '" + body + "' >" + hookFile + "\nchmod 755 " + hookFile + "\n"
}

// withParam returns a script that sets an option of the renewal configuration.
func withParam(key, value string) string {
	return saveConf + "sed -i '/^" + key + " =/d' " + conf + "\nsed -i '/^.renewalparams.$/a " + key + " = " + value + "' " + conf + "\n"
}

// answers returns a script that has nginx answer challenges in a way of its own.
func answers(directive string) string {
	return "echo 'location /.well-known/ { " + directive + " }' >/etc/nginx/acme.conf\nsystemctl reload nginx; sleep 1\n"
}

func hookStagings() []staging {
	return []staging{
		{"success", withHook("systemctl reload nginx") + strings.Replace(renewNow, "renew", "-q renew", 1), ""},
		{"hook-failed", withHook("echo \"nginx is busy\" >&2; exit 3") + renewNow, ""},
		{"hook-signal", withHook("kill -KILL $$") + renewNow, ""},
		{"hook-127", "printf '%s\\n' '#!/opt/none/bin/python3' 'print()' >" + hookFile + "\nchmod 755 " + hookFile + "\n" + renewNow, ""},
		{"hook-stderr", withHook("echo \"a warning only\" >&2") + renewNow, ""},
		{"hook-mode", withHook("exit 1") + "chmod 644 " + hookFile + "\n" + renewNow, ""},
		{"hook-conf", withParam("renew_hook", "/bin/false") + renewNow, backConf},
		{"hook-killed", withHook("sleep 60") + `certbot renew --force-renewal --no-random-sleep-on-renew >/dev/null 2>&1 &
			for try in $(seq 200); do pgrep -x sleep >/dev/null && break; sleep 0.1; done
			kill -KILL $!; pkill -x sleep; wait || true
			`, ""},
		{"hooks-prepost", withHook("true") + "certbot renew --force-renewal --no-random-sleep-on-renew --pre-hook 'echo begin' --post-hook 'echo end; exit 4' >/dev/null 2>&1 || true\n", backConf},
		{"dry-run", withHook("exit 1") + "certbot renew --dry-run --no-random-sleep-on-renew >/dev/null 2>&1 || true\n", ""},
		{
			"two-lineages", withHook("case $RENEWED_LINEAGE in */other*) echo no such host >&2; exit 7;; esac") +
				"certbot certonly --quiet --webroot --webroot-path /var/www/html --domain other.example.test\nrm -rf /var/log/letsencrypt/*\n" + renewNow,
			"certbot delete --non-interactive --cert-name other.example.test >/dev/null 2>&1\n",
		},
		{"appended", withHook("exit 5") + renewNow + withHook("true") + renewNow + saveConf + "sed -i '1i renew_before_expiry = 1 day' " + conf + "\n" +
			"certbot renew --no-random-sleep-on-renew >/dev/null 2>&1\n", backConf},
	}
}

func challengeStagings() []staging {
	return []staging{
		{"challenge-404", answers("return 404;") + renewNow, ""},
		{"challenge-unauthorized", answers("return 200 nothing;") + renewNow, ""},
		{"challenge-refused", "systemctl stop nginx\n" + renewNow, ""},
		{"challenge-timeout", "systemctl stop nginx\nsystemd-run --quiet --unit=mute python3 -c 'import socket,time; s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind((\"0.0.0.0\",80)); s.listen(9); time.sleep(600)'\nfor try in $(seq 100); do ss --listening --tcp --numeric | grep --quiet :80 && break; sleep 0.1; done\n" + renewNow, "systemctl stop mute\n"},
		{"challenge-dns", "cp /etc/hosts /root/hosts; sed 's/" + domain + "//' /root/hosts >/etc/hosts; sleep 6\n" + renewNow, "cat /root/hosts >/etc/hosts\n"},
		{"ca-unreachable", "systemctl stop pebble\n" + renewNow, ""}, // the last that needs the CA
	}
}

func hostStagings() []staging {
	return []staging{
		{"not-due", saveConf + "sed -i '1i renew_before_expiry = 1 day' " + conf + "\ncertbot renew --no-random-sleep-on-renew >/dev/null 2>&1\n", backConf},
		{"autorenew-off", withParam("autorenew", "False") + "certbot renew --no-random-sleep-on-renew >/dev/null 2>&1\n", backConf},
		{"lock-held", `python3 -c 'import fcntl,time; f=open("/var/lib/letsencrypt/.certbot.lock","w"); fcntl.lockf(f,fcntl.LOCK_EX); time.sleep(60)' &
			holder=$!; sleep 1
			` + renewNow + "kill $holder; wait || true; rm -f /var/lib/letsencrypt/.certbot.lock\n", ""},
		{
			"installer-reload", withHook("echo nonsense >/etc/nginx/conf.d/zz.conf") + "certbot renew --force-renewal --installer nginx --no-random-sleep-on-renew >/dev/null 2>&1 || true\n",
			"rm -f /etc/nginx/conf.d/zz.conf; pkill -x nginx; systemctl restart nginx\n" + backConf,
		},
		{
			"installer-config", saveConf + "echo nonsense >/etc/nginx/conf.d/zz.conf\ncertbot renew --force-renewal --installer nginx --no-random-sleep-on-renew >/dev/null 2>&1 || true\n",
			"rm -f /etc/nginx/conf.d/zz.conf\n" + backConf,
		},
		{"conf-broken", saveConf + "sed -i '/^authenticator/d' " + conf + "\n" + renewNow, backConf},
		{"conf-unreadable", saveConf + "echo '[[[' >>" + conf + "\n" + renewNow, backConf},
		{"links-mended", "ln -sfn ../../archive/" + domain + "/cert1.pem " + live + "/cert.pem\n" + saveConf + "sed -i '1i renew_before_expiry = 1 day' " + conf + "\ncertbot renew --no-random-sleep-on-renew >/dev/null 2>&1 || true\n", backConf},
		{"port-conflict", withParam("authenticator", "standalone") + renewNow, backConf},
		{"manual", withParam("authenticator", "manual") + renewNow, backConf},
		{"plugin-missing", withParam("authenticator", "dns-cloudflare") + renewNow, backConf},
		{"webroot-missing", saveConf + "sed -i 's#/var/www/html#/var/www/gone#' " + conf + "\n" + renewNow, backConf},
		{"account-missing", "mv /etc/letsencrypt/accounts /root/accounts\n" + renewNow, "rm -rf /etc/letsencrypt/accounts; mv /root/accounts /etc/letsencrypt/accounts\n"},
		{
			"disk-full", "cp -a /etc/letsencrypt/archive/" + domain + " /root/archive\nmount -t tmpfs -o size=1m tmpfs /etc/letsencrypt/archive/" + domain +
				"\ncp -a /root/archive/* /etc/letsencrypt/archive/" + domain + "/\ndd if=/dev/zero of=/etc/letsencrypt/archive/" + domain + "/fill bs=4k 2>/dev/null || true\n" + renewNow,
			"umount /etc/letsencrypt/archive/" + domain + "; rm -rf /root/archive\n",
		},
	}
}

// TestLogs makes a few logs anew, and finds in them what was staged: the fixtures of the
// classifier are what certbot really writes.
func TestLogs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{days: 20})
	w.must("sed -i '/server_name _;/a include /etc/nginx/acme.conf;' /etc/nginx/sites-enabled/default; touch /etc/nginx/acme.conf")
	all := slices.Concat(hookStagings(), hostStagings(), challengeStagings())
	if *updateLogs {
		for _, s := range all {
			w.keepLog(s)
		}
		return
	}
	for name, want := range map[string]acmelog.Attempt{
		"hook-failed":   {Word: acmelog.AttemptHookFailed},
		"not-due":       {Word: acmelog.AttemptNotDue},
		"challenge-404": {Word: acmelog.AttemptFailed, Cause: certmedic.CauseChallenge404},
	} {
		at := slices.IndexFunc(all, func(s staging) bool { return s.name == name })
		path := filepath.Join(t.TempDir(), "letsencrypt.log")
		if err := os.WriteFile(path, []byte(w.log(all[at])), 0o600); err != nil {
			t.Fatal(err)
		}
		log := acmelog.Read(acmelog.Options{Path: path})
		if got := log.Attempts("/etc/letsencrypt")[domain]; got.Word != want.Word || got.Cause != want.Cause || len(log.Runs) != 1 {
			t.Errorf("%s: %d runs, and of the last attempt the log tells %s (%s): %q", name, len(log.Runs), got.Word, got.Cause, got.At.Text)
		}
	}
}

// TestLogIsAFact has a rule ask what certbot's log tells: that a hook failed, and then that
// another renewal went well.
func TestLogIsAFact(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	const rules = "/etc/certmedic/rules/log.yml"
	w.WriteFile(rules, []byte(`rules:
  - name: attempt-failed
    about: certificate
    when: certificate.renewal_log == "hook_failed"
    severity: warning
`), 0o644)
	w.configure(plan{mode: certmedic.ModeObserve, rules: rules})
	w.start()
	w.hook("exit 3\n")
	w.renew()
	w.awaitIncident("attempt-failed", certmedic.StateFiring)
	if out := w.certmedic("incidents").Stdout; !strings.Contains(out, "/var/log/letsencrypt/letsencrypt.log:") || !strings.Contains(out, "reported error code 3") {
		t.Errorf("the incident does not show the line of the log:\n%s", out)
	}
	w.hook("systemctl reload nginx\n")
	w.renew()
	w.awaitIncident("attempt-failed", certmedic.StateResolved)
}

// log stages something and returns certbot's log of it.
func (w *world) log(s staging) string {
	w.t.Helper()
	if _, err := w.Sh(w.t.Context(), reset+s.script); err != nil {
		w.t.Fatal(err)
	}
	log := w.must("cat /var/log/letsencrypt/letsencrypt.log || true")
	w.must(s.after + "\ntrue\n")
	return log
}

// keepLog keeps the log of something as a fixture.
func (w *world) keepLog(s staging) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(logFixtures, s.name+".log"), []byte(shortened(w.log(s))), 0o644); err != nil {
		w.t.Error(err)
	}
}

// shortened leaves out what was sent to the CA and what it answered.
func shortened(log string) string {
	var b strings.Builder
	record := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+:[A-Z]+:([^:]*):`)
	keep := true
	for line := range strings.Lines(log) {
		if m := record.FindStringSubmatch(line); m != nil {
			keep = m[1] != "acme.client" && m[1] != "acme.challenges" && m[1] != "urllib3.connectionpool"
		}
		if keep {
			b.WriteString(line)
		}
	}
	return b.String()
}
