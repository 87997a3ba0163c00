package e2e_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// stagingURL is where the CA of a world is asked for rehearsals: it has no other directory.
const stagingURL = "https://localhost:14000/dir"

// hooksLog has a line for each pre and post hook that ran.
const hooksLog = "/var/log/around"

// rehearse adds to the configuration what is rehearsed.
func (w *world) rehearse(settings string) {
	w.t.Helper()
	w.must(`sed -i '/^    remediation:/i \    rehearse: {` + settings + `}' ` + configFile)
}

// lineage lists what certbot keeps of the lineage, with all that a change of it would change.
func (w *world) lineage() string {
	w.t.Helper()
	return w.must(`cd /etc/letsencrypt; find archive live renewal -printf '%p %i %m %u:%g %s %T@ %C@ %l\n' | sort; sha256sum renewal/*.conf archive/*/*`)
}

// told returns the history as a person on the host sees it, newest first.
func (w *world) told() []certmedic.Action {
	w.t.Helper()
	var all []certmedic.Action
	r := w.certmedic("history", name, "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil {
		w.fatalf("certmedic history --json: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	return all
}

func TestHooksAreRehearsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	w.watch(plan{mode: certmedic.ModePlan})
	before, orders := w.lineage(), w.orders()
	try := func(about string, code int, says ...string) {
		t.Helper()
		r := w.certmedic("hooks", "rehearse", name, "--yes")
		for _, part := range says {
			if !strings.Contains(r.Stdout, part) {
				t.Errorf("%s: it does not say %q:\n%s", about, part, r.Stdout)
			}
		}
		if r.Code != code {
			w.fatalf("%s: exit code %d, want %d:\n%s%s", about, r.Code, code, r.Stdout, r.Stderr)
		}
	}

	try("a hook that works", 0, "rehearsed, nothing failed", hookFile+": exit code 0")
	if certbot, ours := w.hookRuns(); certbot != 0 || ours != 1 {
		t.Errorf("the hook was run %d times by certbot and %d times by certmedic", certbot, ours)
	}
	w.hook("echo 'nginx: no reload today' >&2\nexit 3\n")
	try("a hook that fails", 2, "exit code 3", "nginx: no reload today")
	last := w.told()[0]
	if last.Kind != certmedic.RehearseHooks || len(last.Runs) != 1 || last.Runs[0].ExitCode != 3 || last.Runs[0].Duration == 0 || !strings.Contains(last.Runs[0].Stderr, "no reload today") {
		t.Errorf("the history has %+v", last)
	}
	w.awaitEvidence("rehearsal-failed", hookFile, "exit code 3", "nginx: no reload today")
	if code := w.metric(`certmedic_hook_last_exit_code{certificate="shop",rehearsal="hooks"}`); code != "3" {
		t.Errorf("certmedic_hook_last_exit_code says %q", code)
	}
	w.hook("systemctl stop nginx\n")
	try("a hook that takes the service down, with exit code 0", 2, "presents no certificate any more")
	w.must("systemctl start nginx")
	w.must("chmod o+w " + hookFile)
	try("a hook that others may write", 1, "refused", "may be written by others")
	w.hook("systemctl reload nginx\n")
	w.must("chmod o-w " + hookFile)
	try("a hook that was mended", 0)
	w.awaitIncident("rehearsal-failed", certmedic.StateResolved)
	if w.lineage() != before || w.orders() != orders {
		t.Error("the lineage was changed, or something was ordered")
	}
}

// withHooksAround gives the lineage pre and post hooks in every place that certbot has for them.
func (w *world) withHooksAround() {
	w.t.Helper()
	for _, kind := range []string{"pre", "post"} {
		w.WriteFile("/etc/letsencrypt/renewal-hooks/"+kind+"/10-log", []byte("#!/bin/sh\necho folder-"+kind+" >>"+hooksLog+"\n"), 0o755)
	}
	w.must(`echo "post-hook = echo ini-post >>` + hooksLog + `" >>/etc/letsencrypt/cli.ini`)
	w.must(`sed -i '/^\[renewalparams\]/a pre_hook = echo conf-pre >>` + hooksLog + `' /etc/letsencrypt/renewal/` + domain + `.conf`)
}

func (w *world) ranAround() string {
	w.t.Helper()
	return strings.Join(strings.Fields(w.must("cat "+hooksLog+" 2>/dev/null || true")), " ")
}

func TestRenewalIsRehearsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	w.withHooksAround()
	w.configure(plan{mode: certmedic.ModePlan})
	w.rehearse("staging: '" + stagingURL + "'")
	w.start()
	before, orders, version := w.lineage(), w.orders(), w.stored()

	r := w.certmedic("renew", name, "--plan")
	if !strings.Contains(r.Stdout, "run      renew: certbot renew") || w.orders() != orders {
		t.Errorf("--plan exits %d, after %d orders:\n%s%s", r.Code, w.orders()-orders, r.Stdout, r.Stderr)
	}
	r = w.certmedic("renew", name, "--dry-run")
	if r.Code != 0 || w.orders() != orders+1 {
		w.fatalf("--dry-run exits %d, after %d orders:\n%s%s", r.Code, w.orders()-orders, r.Stdout, r.Stderr)
	}
	for _, part := range []string{
		"pre hook /etc/letsencrypt/renewal-hooks/pre/10-log (renewal-hooks/pre/10-log): left out", "pre hook echo conf-pre", "(renewal/" + domain + ".conf:",
		"post hook echo ini-post", "(cli.ini:", "deploy hook " + hookFile, "rehearsed, nothing failed",
	} {
		if !strings.Contains(r.Stdout, part) {
			t.Errorf("--dry-run does not say %q:\n%s", part, r.Stdout)
		}
	}
	certbot, ours := w.hookRuns()
	if ran := w.ranAround(); ran != "" || certbot+ours != 0 {
		t.Errorf("hooks ran: %q, deploy hooks %d times", ran, certbot+ours)
	}
	if r = w.certmedic("renew", name, "--dry-run", "--run-hooks", "--yes"); r.Code != 0 || w.ranAround() != "folder-pre conf-pre folder-post ini-post" {
		t.Errorf("--run-hooks exits %d and runs %q:\n%s%s", r.Code, w.ranAround(), r.Stdout, r.Stderr)
	}
	w.must("echo 'location /.well-known/ { return 404; }' >/etc/nginx/acme.conf && sed -i '/server_name _;/a include /etc/nginx/acme.conf;' /etc/nginx/sites-enabled/default && systemctl reload nginx")
	if r = w.certmedic("renew", name, "--dry-run"); r.Code != 2 || !strings.Contains(r.Stdout, "Detail:") || !strings.Contains(r.Stdout, "404") {
		t.Errorf("a rehearsal that has to fail exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	w.awaitIncident("rehearsal-failed", certmedic.StateFiring)
	if after := w.lineage(); after != before || w.stored() != version {
		t.Errorf("the lineage was\n%s\nand is\n%s", before, after)
	}
}

func TestRehearsalsOnSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	w.configure(plan{mode: certmedic.ModeAuto})
	w.rehearse("hooks: 168h, renewal: 720h, staging: '" + stagingURL + "'")
	w.start()
	rehearsed := func(kind certmedic.ActionKind) (n int) {
		for _, a := range w.actions() {
			if a.Kind == kind && a.Outcome.Kind != certmedic.OutcomeRunning && a.Outcome.Kind != certmedic.OutcomeRefused {
				n++
			}
		}
		return n
	}
	once := func() bool {
		return rehearsed(certmedic.RehearseHooks) == 1 && rehearsed(certmedic.RehearseRenewal) == 1
	}
	w.await("both are rehearsed once", 2*patience, 200*time.Millisecond, once)
	w.restart()
	w.stays("a restart is no reason to do it again", patience, once)
	w.hook("exit 4\n")
	w.await("a hook that was changed is rehearsed again", 3*patience, 500*time.Millisecond, func() bool { return rehearsed(certmedic.RehearseHooks) == 2 })
	w.awaitIncident("rehearsal-failed", certmedic.StateFiring)
	if all := w.actions(); slices.ContainsFunc(all, func(a certmedic.Action) bool { return a.By != "schedule" }) {
		t.Errorf("the history has %+v", all)
	}
}

func TestKilledCertbotGetsItsPostHooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{days: 20}) // certbot finds it due
	w.hook("systemctl reload nginx\n")
	w.must(`cat >/usr/local/bin/answer <<'EOF'
#!/bin/sh
exec sleep 300
EOF
		chmod +x /usr/local/bin/answer
		sed -i -e 's/^authenticator = .*/authenticator = manual/' -e '/^\[renewalparams\]/a manual_auth_hook = /usr/local/bin/answer\npre_hook = systemctl stop nginx\npost_hook = systemctl start nginx' /etc/letsencrypt/renewal/` + domain + `.conf`)
	w.watch(plan{mode: certmedic.ModeAuto})
	before := w.served(domain)
	w.must("systemd-run --quiet --unit=person certmedic renew " + name + " --yes")
	w.await("the pre hook has stopped nginx, and the authenticator hangs", 2*patience, 100*time.Millisecond, func() bool {
		r, err := w.Sh(t.Context(), "! systemctl is-active --quiet nginx && pgrep -x sleep")
		return err == nil && r.Code == 0
	})
	w.must("pkill -KILL -x certbot")
	w.awaitServed(before)
	a := w.awaitOutcome(1, certmedic.OutcomeFailed)
	last := w.told()[0]
	if len(last.Runs) != 2 || last.Runs[0].Result != certmedic.RunSignaled || !strings.HasPrefix(last.Runs[1].Name, "post-hook: systemctl start nginx") || !last.Runs[1].Succeeded() {
		t.Errorf("the history has %+v", last)
	}
	if !slices.ContainsFunc(a.Outcome.Evidence, func(e certmedic.Evidence) bool { return e.Line == "every bound address presents a certificate" }) {
		t.Errorf("the evidence is %+v", a.Outcome.Evidence)
	}
}
