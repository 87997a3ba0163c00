package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const lateRules = "/etc/certmedic/rules/late.yml"

// watchLate has certmedic watch a certificate that certbot finds due, with a rule by which
// the version that is stored now is late.
func (w *world) watchLate(allow string) {
	w.t.Helper()
	w.WriteFile(lateRules, fmt.Appendf(nil, `rules:
  - name: late
    about: certificate
    when: certificate.stored_version == "%s"
    severity: warning
    summary: "{{.Certificate}} is late"
    runbook: https://example.test/late
    ladder: [{do: notify}, {do: renew}]
`, w.stored()), 0o644)
	w.configure(plan{mode: certmedic.ModeAuto, allow: allow, rules: lateRules})
	w.start()
}

// orders returns how many orders the CA has got.
func (w *world) orders() int {
	w.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(w.must("journalctl --sync; journalctl --unit pebble --output cat | grep -c 'Added order' || true")))
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestLateCertificateIsRenewedByCertbot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{days: 20}) // certbot finds it due
	w.hook("systemctl reload nginx\n")
	before, orders := w.stored(), w.orders()
	w.watchLate("renew")

	a := w.awaitOutcome(1, certmedic.OutcomeHealed)
	if a.Kind != certmedic.ActionRenew || a.By != "late" || a.Version != before || len(a.Runs) != 1 {
		t.Errorf("the history has %+v", a)
	}
	if open := strings.Join(a.Runs[0].Argv, " "); open != "certbot" {
		t.Errorf("everybody sees that %q was run", open)
	}
	var told []certmedic.Action // to who has a shell
	if r := w.certmedic("history", "--json"); json.Unmarshal([]byte(r.Stdout), &told) != nil || len(told) == 0 || len(told[0].Runs) != 1 {
		t.Fatalf("certmedic history --json says\n%s%s", r.Stdout, r.Stderr)
	}
	for _, part := range []string{"certbot renew --cert-name " + domain, "--config-dir /etc/letsencrypt", "--no-random-sleep-on-renew"} {
		if argv := strings.Join(told[0].Runs[0].Argv, " "); !strings.Contains(argv, part) {
			t.Errorf("certbot was run as %q, without %q", argv, part)
		}
	}
	if w.stored() == before || w.served(domain) != w.stored() {
		t.Errorf("%s is stored, %s is served, and before it was %s", w.stored().Short(), w.served(domain).Short(), before.Short())
	}
	w.awaitIncident("late", certmedic.StateResolved)
	w.stays("one order was placed", rounds, func() bool { return len(w.actions()) == 1 && w.orders() == orders+1 })
	if got := w.metric(`certmedic_actions_total{action="renew",outcome="healed"}`); got != "1" {
		t.Errorf("certmedic_actions_total says %q", got)
	}
	if r := w.certmedic("renew", name, "--plan"); r.Code != 0 || !strings.Contains(r.Stdout, "run      renew: certbot renew --cert-name "+domain) || w.orders() != orders+1 {
		t.Errorf("--plan exits %d, after %d orders:\n%s%s", r.Code, w.orders(), r.Stdout, r.Stderr)
	}
}

func TestFailedRenewalIsExplainedAndNotRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{days: 20})
	w.hook("systemctl reload nginx\n")
	w.must("echo 'location /.well-known/ { return 404; }' >/etc/nginx/acme.conf && sed -i '/server_name _;/a include /etc/nginx/acme.conf;' /etc/nginx/sites-enabled/default && systemctl reload nginx")
	before, orders := w.stored(), w.orders()
	w.watchLate("renew")

	a := w.awaitOutcome(1, certmedic.OutcomeFailed)
	if a.Outcome.Reason != "challenge_failed" {
		t.Errorf("it failed because of %s: %s", a.Outcome.Reason, a.Outcome.Detail)
	}
	var history []certmedic.Action
	r := w.certmedic("history", "--json") // the page, which is open to all, leaves output out
	if err := json.Unmarshal([]byte(r.Stdout), &history); err != nil || len(history) != 1 {
		w.fatalf("certmedic history --json: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	says := func(part string) bool {
		return slices.ContainsFunc(history[0].Outcome.Evidence, func(e certmedic.Evidence) bool { return strings.Contains(e.Line, part) })
	}
	if !says("Failed to renew certificate "+domain) || !says("Detail:") || !says("404") {
		t.Errorf("the evidence does not name certbot's error: %+v", history[0].Outcome.Evidence)
	}
	w.stays("nothing more is ordered for now", 20*time.Second, func() bool { return len(w.actions()) == 1 && w.orders() == orders+1 })
	if w.stored() != before || w.served(domain) != before {
		t.Errorf("%s is stored and %s is served, before it was %s", w.stored().Short(), w.served(domain).Short(), before.Short())
	}

	w.must("echo >/etc/nginx/acme.conf && systemctl reload nginx") // its owner mends it, and does not want to wait
	if r := w.certmedic("renew", name, "--yes"); r.Code != 0 || w.served(domain) == before {
		w.fatalf("a renewal by hand exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

func TestRenewalWhoseHookFailsIsRedeployed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{days: 20})
	w.hook(failOnce)
	before, orders := w.stored(), w.orders()
	w.watchLate("renew, redeploy")

	if a := w.awaitOutcome(1, certmedic.OutcomeUnverified); a.Kind != certmedic.ActionRenew || a.Outcome.Reason != "stored_not_served" {
		t.Errorf("the renewal ended %s (%s)", a.Outcome.Reason, a.Outcome.Detail)
	}
	if a := w.awaitOutcome(2, certmedic.OutcomeHealed); a.Kind != certmedic.ActionRedeploy {
		t.Errorf("it was healed by %+v", a)
	}
	if w.stored() == before || w.served(domain) != w.stored() {
		t.Errorf("%s is stored, %s is served, and before it was %s", w.stored().Short(), w.served(domain).Short(), before.Short())
	}
	if certbot, ours := w.hookRuns(); certbot != 1 || ours != 1 {
		t.Errorf("the hook was run %d times by certbot and %d times by certmedic", certbot, ours)
	}
	w.stays("one order was placed", rounds, func() bool { return w.orders() == orders+1 })
}
