package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const deniedRules = "/etc/certmedic/rules/denied.yml"

// watchDenied has certmedic watch with a rule that wants a rollback as soon as a denied key is in
// use; the shipped one waits for five minutes.
func (w *world) watchDenied(p plan) {
	w.t.Helper()
	w.WriteFile(deniedRules, []byte(`rules:
  - name: denied
    about: certificate
    when: certificate.key_denied
    severity: critical
    summary: "{{.Certificate}} uses a denied key"
    runbook: https://example.test/denied
    ladder: [{do: notify}, {do: rollback}]
`), 0o644)
	p.mode, p.rules, p.adjust = certmedic.ModeAuto, deniedRules, "key-denied-in-use: {disabled: true}"
	if p.allow == "" {
		p.allow = "rollback"
	}
	w.watch(p)
}

// deny puts the key of the stored version on the deny list.
func (w *world) deny() {
	w.t.Helper()
	if r := w.certmedic("key", "deny", name, "--yes"); r.Code != 0 {
		w.fatalf("certmedic key deny exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// archive returns which number the links lead to, and the numbers in the archive.
func (w *world) archive() string {
	w.t.Helper()
	return strings.TrimSpace(w.must("basename $(readlink " + live + "/cert.pem); ls /etc/letsencrypt/archive/" + domain + " | grep -c ^privkey"))
}

func TestRollbackSurvivesCertbotAndEndsWithANewVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	w.watchDenied(plan{})
	good := w.stored()
	bad, _ := w.renew()
	w.awaitServed(bad)
	w.deny()

	a := w.awaitOutcome(1, certmedic.OutcomeHealed)
	if a.Kind != certmedic.ActionRollback || a.By != "denied" || a.Version != good {
		t.Errorf("the history has %+v", a)
	}
	if w.served(domain) != good || w.stored() != good || w.archive() != "cert3.pem\n3" {
		t.Errorf("%s is served and %s is stored as %q, want %s as number 3", w.served(domain).Short(), w.stored().Short(), w.archive(), good.Short())
	}
	l := w.view().Loan
	if l == nil || l.Version != good || l.Instead != bad || l.Way != "append-only" || l.Pinned || l.Until.Before(time.Now()) {
		t.Fatalf("the status has the loan %+v", l)
	}
	if got := w.metric(`certmedic_rollback_deadline_timestamp_seconds{certificate="shop"`); got == "" {
		t.Error("no metric tells the deadline")
	}
	if r := w.certmedic("status"); !strings.Contains(r.Stdout, "rolled back to "+good.Short()) {
		t.Errorf("certmedic status does not say so:\n%s", r.Stdout)
	}
	w.awaitIncident("rolled-back", certmedic.StateFiring)

	if out := w.must("certbot renew 2>&1"); !strings.Contains(out, "not yet due") || strings.Contains(out, "fixing") {
		t.Errorf("certbot says\n%s", out)
	}
	w.restart()
	w.stays("the rollback stands", rounds, func() bool {
		return w.served(domain) == good && w.stored() == good && w.archive() == "cert3.pem\n3" && w.view().Loan != nil
	})
	if n := len(w.actions()); n != 1 {
		t.Errorf("%d actions were taken: %+v", n, w.actions())
	}

	better, _ := w.renew()
	w.awaitServed(better)
	w.await("the loan has ended", patience, 100*time.Millisecond, func() bool { return w.view().Loan == nil })
	w.awaitIncident("rolled-back", certmedic.StateResolved)
	if got := w.metric(`certmedic_rollback_deadline_timestamp_seconds{certificate="shop"`); got != "" {
		t.Errorf("the metric still tells a deadline: %s", got)
	}
}

// TestSecondRollbackKeepsCertbotFromRenewing has the versions that certbot renews turn out bad twice.
func TestSecondRollbackKeepsCertbotFromRenewing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{days: 20}) // certbot finds every version due
	w.hook("systemctl reload nginx\n")
	w.watchDenied(plan{})
	good, conf := w.stored(), w.must("cat /etc/letsencrypt/renewal/"+domain+".conf")
	for n := 1; n <= 2; n++ {
		bad, _ := w.renew()
		w.awaitServed(bad)
		w.deny()
		w.awaitOutcome(n, certmedic.OutcomeHealed)
		w.awaitServed(good)
	}
	if l := w.view().Loan; l == nil || l.Count != 2 || !l.Pinned {
		t.Fatalf("the status has the loan %+v", l)
	}
	w.await("people are paged", patience, 100*time.Millisecond, func() bool {
		in, ok := w.incident("rolled-back")
		return ok && in.Severity == certmedic.SeverityCritical
	})
	orders := w.orders()
	if out := w.must("certbot renew 2>&1"); !strings.Contains(out, "not yet due") || w.orders() != orders {
		t.Errorf("certbot renews what it is kept from renewing:\n%s", out)
	}
	if r := w.certmedic("renew", name, "--force", "--yes"); r.Code != 0 {
		t.Errorf("a renewal by hand exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	w.await("the loan has ended", patience, 100*time.Millisecond, func() bool { return w.view().Loan == nil })
	off := func(conf string) string {
		var lines []string
		for line := range strings.Lines(conf) {
			if strings.HasPrefix(line, "autorenew") {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	if now := w.must("cat /etc/letsencrypt/renewal/" + domain + ".conf"); off(now) != off(conf) {
		t.Errorf("certbot is still kept from renewing:\n%s", now)
	}
	if out := w.must("certbot renew 2>&1"); !strings.Contains(out, "all renewals succeeded") {
		t.Errorf("certbot does not renew again:\n%s", out)
	}
}

func TestRollbackByDeploySteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.must(`install -d /etc/ssl/shop && cp ` + live + `/fullchain.pem /etc/ssl/shop/ && cp ` + live + `/privkey.pem /etc/ssl/shop/key.pem`)
	w.serveTLS("shop", domain, "/etc/ssl/shop/fullchain.pem", "/etc/ssl/shop/key.pem")
	w.watchDenied(plan{deploy: steps, allow: "redeploy, rollback"})
	good := w.stored()
	bad, _ := w.renew()
	w.awaitOutcome(1, certmedic.OutcomeHealed) // redeployed
	w.deny()

	a := w.awaitOutcome(2, certmedic.OutcomeHealed)
	if a.Kind != certmedic.ActionRollback || w.served(domain) != good || w.stored() != bad {
		t.Errorf("%s is served, %s is stored, after %+v", w.served(domain).Short(), w.stored().Short(), a)
	}
	if l := w.view().Loan; l == nil || l.Way != "deploy-path" || l.Instead != bad {
		t.Errorf("the status has the loan %+v", l)
	}
	w.await("what is lent is no drift", patience, 100*time.Millisecond, func() bool {
		_, drifts := w.incident("renewed-not-served")
		return !drifts || w.resolved("renewed-not-served")
	})
	w.stays("the rollback stands, and what was left is not installed", rounds, func() bool {
		_, drifts := w.incident("renewed-not-served")
		return w.served(domain) == good && len(w.actions()) == 2 && (!drifts || w.resolved("renewed-not-served"))
	})
	if r := w.certmedic("redeploy", name, "--yes"); r.Code != 1 {
		t.Errorf("what was left is installed by hand, exit code %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}

	better, _ := w.renew()
	w.awaitServed(better) // redeployed, as drift is
	w.await("the loan has ended", patience, 100*time.Millisecond, func() bool { return w.view().Loan == nil })
}

func (w *world) resolved(rule string) bool {
	in, ok := w.incident(rule)
	return ok && in.State == certmedic.StateResolved
}

func TestRollbackIsRefusedWhereNothingIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	w.watch(plan{mode: certmedic.ModeAuto, allow: "rollback"})
	first := w.stored()
	w.deny()
	second, _ := w.renew()
	w.awaitServed(second)
	if r := w.certmedic("rollback", name, "--yes"); r.Code != 1 || !strings.Contains(r.Stdout, "nothing that is served is invalid") {
		t.Errorf("where nothing is wrong it exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	w.deny()
	before := w.archive()
	for _, args := range [][]string{{"--yes"}, {"--yes", "--force"}, {"--dry-run"}, {"--yes", "--force", "--to", string(first)}} {
		r := w.certmedic(append([]string{"rollback", name}, args...)...)
		says := r.Stdout + r.Stderr
		if r.Code != 1 || !strings.Contains(says, "no_candidate") && !strings.Contains(says, "no version of") || !strings.Contains(says, fmt.Sprintf("%s of the archive: denied_key", first.Short())) {
			t.Errorf("certmedic rollback %q exits %d:\n%s", args, r.Code, says)
		}
	}
	if w.archive() != before || w.served(domain) != second {
		t.Errorf("something was done: %q, %s is served", w.archive(), w.served(domain).Short())
	}
}
