package script

import (
	"slices"
	"strings"
	"testing"
)

const (
	cpCert = "cp $RENEWED_LINEAGE/fullchain.pem /etc/x/\n"
	reload = "systemctl reload postfix\n"
)

// TestLints has a bad and a good script for each code.
func TestLints(t *testing.T) {
	signalled := map[string]string{"nginx.service": "[Service]\nExecReload=/bin/sh -c \"/bin/kill -s HUP $(/bin/cat /var/run/nginx.pid)\"\n"}
	rows := []struct {
		about, code, bad string
		line             int
		good             string
		with             func(*Environment)
		signalled        bool // nginx's unit sends a signal and nothing else
	}{
		{about: "rsync keeps links with -a", code: "live_links_copied", bad: "rsync -az /etc/letsencrypt/live/ web2:/etc/ssl/live/", line: 1, good: "rsync -azL /etc/letsencrypt/live/ web2:/etc/ssl/live/"},
		{about: "cp -r keeps the links inside", code: "live_links_copied", bad: "cp -r \"$RENEWED_LINEAGE\" /etc/app/tls", line: 1, good: "cp -rL \"$RENEWED_LINEAGE\" /etc/app/tls"},
		{about: "cp -a keeps a link that a variable names", code: "live_links_copied", bad: "d=/etc/letsencrypt/live/a.example\ncp -a $d/fullchain.pem /etc/app/", line: 2, good: "d=/etc/letsencrypt/live/a.example\ncp -p $d/fullchain.pem /etc/app/"},
		{about: "tar keeps links without -h", code: "live_links_copied", bad: "tar czf /root/x.tgz -C / etc/letsencrypt/live", line: 1, good: "tar chzf /root/x.tgz -C / etc/letsencrypt/live"},
		{
			about: "a loop over hosts", code: "last_status_wins", line: 2,
			bad:  "for h in a b; do\n  ssh -i k $h systemctl reload nginx\ndone",
			good: "for h in a b; do\n  ssh -i k $h systemctl reload nginx || failed=1\ndone\nexit $failed",
		},
		{
			about: "set -e does not stop before &&", code: "last_status_wins", line: 3,
			bad:  "set -e\nfor h in a b; do\n  scp -i k $RENEWED_LINEAGE/cert.pem $h:/x && ssh -i k $h systemctl reload nginx\ndone",
			good: "set -e\nfor h in a b; do\n  scp -i k $RENEWED_LINEAGE/cert.pem $h:/x\n  ssh -i k $h systemctl reload nginx\ndone",
		},
		{about: "a signal tests nothing", code: "untested_reload", bad: "kill -HUP $(cat /run/nginx.pid)", line: 1, good: "nginx -t && kill -HUP $(cat /run/nginx.pid)"},
		{about: "a test whose status is not looked at is none", code: "untested_reload", bad: "nginx -t\npkill -HUP nginx", line: 2, good: "if ! nginx -t; then exit 1; fi\npkill -HUP nginx"},
		{about: "a signal to a container", code: "untested_reload", bad: "docker kill -s HUP nginx", line: 1, good: "docker exec nginx nginx -t && docker kill -s HUP nginx"},
		{about: "a unit that only signals", code: "untested_reload", bad: "systemctl reload nginx", line: 1, good: "nginx -t && systemctl reload nginx", signalled: true},
		{about: "|| true", code: "swallowed_failure", bad: "systemctl reload postfix || true", line: 1, good: "systemctl reload postfix || exit 1"},
		{about: "|| echo", code: "swallowed_failure", bad: cpCert[:len(cpCert)-1] + " || echo 'copy failed'", line: 1, good: cpCert[:len(cpCert)-1] + " || { echo 'copy failed'; exit 1; }"},
		{about: "exit 0 at the end", code: "swallowed_failure", bad: "systemctl reload postfix 2>/dev/null\nexit 0", line: 1, good: "set -e\nsystemctl reload postfix\nexit 0"},
		{about: "a pipe takes the status", code: "swallowed_failure", bad: "systemctl reload postfix | logger -t hook", line: 1, good: "systemctl reload postfix 2>&1"},
		{about: "a key in /tmp", code: "shared_tmp_key", bad: "cp $RENEWED_LINEAGE/privkey.pem /tmp/key.pem", line: 1, good: "cp $RENEWED_LINEAGE/privkey.pem $(mktemp -d)/key.pem"},
		{about: "a key in /tmp of another host", code: "shared_tmp_key", bad: "scp -i k $RENEWED_LINEAGE/privkey.pem web2:/tmp/", line: 1, good: "scp -i k $RENEWED_LINEAGE/privkey.pem web2:/etc/ssl/private/"},
		{about: "nginx is restarted", code: "restart_not_reload", bad: "systemctl restart nginx", line: 1, good: "systemctl restart vsftpd"},
		{about: "apache is restarted by its init script", code: "restart_not_reload", bad: "service apache2 restart", line: 1, good: "service apache2 reload"},
		{about: "the first of two statuses is lost", code: "no_set_e", bad: cpCert + reload, line: 1, good: "set -e\n" + cpCert + reload},
		{about: "a reload is lost among echoes", code: "no_set_e", bad: "systemctl reload dovecot\necho done", line: 1, good: "systemctl reload dovecot || exit\necho done"},
		{about: "a program in /snap/bin", code: "missing_program", bad: "helm upgrade x y", line: 1, good: "/snap/bin/helm upgrade x y"},
		{about: "a program that is looked for first", code: "missing_program", bad: "helm upgrade x y", line: 1, good: "if command -v helm; then helm upgrade x y; fi"},
		{about: "the script sets its own PATH", code: "missing_program", bad: "helm upgrade x y", line: 1, good: "export PATH=$PATH:/snap/bin\nhelm upgrade x y"},
		{about: "chmod of a key", code: "open_key_mode", bad: "chmod 644 /etc/x/privkey.pem", line: 1, good: "chmod 640 /etc/x/privkey.pem"},
		{about: "chmod of all that was copied", code: "open_key_mode", bad: "set -e\ncp $RENEWED_LINEAGE/privkey.pem /etc/x/\nchmod a+r /etc/x/*", line: 3, good: "set -e\ncp $RENEWED_LINEAGE/fullchain.pem /etc/x/\nchmod a+r /etc/x/*"},
		{about: "a pem that holds the key is made", code: "open_key_mode", bad: "cat $RENEWED_LINEAGE/privkey.pem >/etc/x/all.pem", line: 1, good: "umask 077\ncat $RENEWED_LINEAGE/privkey.pem >/etc/x/all.pem"},
		{about: "install with an open mode", code: "open_key_mode", bad: "install -m 0644 $RENEWED_LINEAGE/privkey.pem /etc/x/", line: 1, good: "install -m 0640 $RENEWED_LINEAGE/privkey.pem /etc/x/"},
		{
			about: "one lineage of several", code: "fixed_lineage", line: 1, with: func(e *Environment) { e.Shared = true },
			bad:  "cp /etc/letsencrypt/live/a.example/fullchain.pem /etc/x/",
			good: "[ $RENEWED_LINEAGE = /etc/letsencrypt/live/a.example ] || exit 0\ncp /etc/letsencrypt/live/a.example/fullchain.pem /etc/x/",
		},
		{about: "a variable that nobody sets", code: "unknown_variable", bad: "for l in $RENEWED_LINEAGES; do echo $l; done", line: 1, good: "for l in $RENEWED_DOMAINS; do echo $l; done"},
		{about: "a variable of the manual plugin", code: "unknown_variable", bad: "set -e\ncp /x/$CERTBOT_DOMAIN/cert.pem /y", line: 2, good: "[ -n \"$CERTBOT_DOMAIN\" ] || exit 0\ncp /x/$CERTBOT_DOMAIN/cert.pem /y"},
		{about: "a post hook has no lineage", code: "unknown_variable", bad: "cp $RENEWED_LINEAGE/cert.pem /y", line: 1, good: "cp /etc/letsencrypt/live/a/cert.pem /y", with: func(e *Environment) { e.Kind = Post }},
		{about: "certbot in a hook", code: "runs_certbot", bad: "certbot renew --cert-name b", line: 1, good: "certbot --version"},
		{about: "read", code: "waits_for_input", bad: "read answer\necho $answer", line: 1, good: "while read line; do echo $line; done </etc/hosts"},
		{about: "ssh that may ask", code: "waits_for_input", bad: "ssh web2 systemctl reload nginx", line: 1, good: "ssh -o BatchMode=yes web2 systemctl reload nginx"},
		{about: "openssl that asks", code: "waits_for_input", bad: "openssl pkcs12 -export -in $RENEWED_LINEAGE/cert.pem -inkey $RENEWED_LINEAGE/privkey.pem -out /x.p12", line: 1, good: "openssl pkcs12 -export -in $RENEWED_LINEAGE/cert.pem -inkey $RENEWED_LINEAGE/privkey.pem -out /x.p12 -passout file:/p"},
		{about: "sudo of a user", code: "waits_for_input", bad: "sudo systemctl reload postfix", line: 1, good: "sudo -n systemctl reload postfix", with: func(e *Environment) { e.User = "acme" }},
		{about: "a copy in a pre hook", code: "old_before_new", bad: "cp /etc/letsencrypt/live/a/cert.pem /srv/", line: 1, good: "cp /etc/letsencrypt/live/a/cert.pem /srv/backup/", with: func(e *Environment) { e.Kind = Pre }},
		{about: "a reload in the background", code: "background", bad: "systemctl reload postfix &", line: 1, good: "systemctl reload postfix"},
		{about: "a reload that is not waited for", code: "background", bad: "systemctl --no-block reload postfix", line: 1, good: "systemctl reload postfix"},
		{about: "step's PID file", code: "pid_file_once", bad: "step ca renew --daemon --pid-file /run/nginx.pid a.crt a.key", line: 1, good: "step ca renew --daemon --exec 'systemctl reload nginx' a.crt a.key"},
	}
	seen := map[string]bool{}
	plain, other := host(t, nil), host(t, signalled)
	for _, row := range rows {
		root := plain
		if row.signalled {
			root = other
		}
		put(t, root+"/snap/bin/helm", "#!/bin/sh\n", 0o755)
		e := environment(root, Deploy)
		if row.with != nil {
			row.with(&e)
		}
		put(t, root+"/bad", "#!/bin/bash\n"+row.bad+"\n", 0o755)
		put(t, root+"/good", "#!/bin/bash\n"+row.good+"\n", 0o755)
		found := slices.DeleteFunc(Read("/bad", e).Lints, func(l Lint) bool { return l.Code != row.code })
		if len(found) != 1 || found[0].Line != row.line+1 || found[0].Why == "" || found[0].Fix == "" || found[0].Text == "" {
			t.Errorf("%s: %s is not found in line %d of %q: %+v", row.about, row.code, row.line+1, row.bad, found)
		}
		if s := Read("/good", e); len(s.Lints)+len(s.Problems) > 0 {
			t.Errorf("%s: the good one has %+v %+v", row.about, s.Lints, s.Problems)
		}
		seen[row.code] = true
	}
	for code, about := range Codes() {
		if !seen[code] || !strings.HasSuffix(about, ".") {
			t.Errorf("%s (%q) has no example, or no sentence", code, about)
		}
	}
}
