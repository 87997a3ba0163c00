package e2e_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting/webhook"
)

const rulesFile = "/etc/certmedic/rules/ours.yml"

// set writes a configuration that watches the certificate and acts on nothing: the extra
// keys of the certificate, each on a line of its own, and further sections.
func (w *world) set(ofCertificate, sections string) {
	w.t.Helper()
	w.WriteFile(configFile, fmt.Appendf(nil, `certificates:
  - name: %s
    source: {certbot: {lineage: %s}}
    endpoints: [{address: "%s:443"}]
%s%s`, name, domain, domain, ofCertificate, sections), 0o644)
}

// told returns the configuration's section for one webhook that hears of incidents.
func (a *alerts) told() string {
	return fmt.Sprintf("alerting: {receivers: [{name: hook, webhook: {url: %q}}]}\n", a.url)
}

// kill kills certmedic as a crash does, and waits until systemd has started it again.
func (w *world) kill() {
	w.t.Helper()
	restarts := func() string { return w.must("systemctl show --property NRestarts --value certmedic") }
	before := restarts()
	w.must("systemctl kill --signal=KILL --kill-who=main certmedic")
	w.await("systemd has started certmedic again", patience, 100*time.Millisecond, func() bool { return restarts() != before })
	w.awaitReady()
}

// awaitTold waits until the webhook heard so often of a rule, and all that waits was sent.
func (w *world) awaitTold(rule string, times int) []webhook.Body {
	w.t.Helper()
	w.await(fmt.Sprintf("the webhook heard %d times of %s", times, rule), patience, 100*time.Millisecond, func() bool {
		return len(w.alerts.about(rule)) >= times && w.metric("certmedic_notification_queue_oldest_seconds") == "0"
	})
	return w.alerts.about(rule)
}

// seconds returns the value of a series that is a time in unix seconds, and whether there is
// such a series.
func (w *world) seconds(series string) (time.Time, bool) {
	value, err := strconv.ParseFloat(w.metric(series), 64)
	return time.UnixMilli(int64(value * 1000)), err == nil
}

// twoRules are a rule that is written in named conditions and one in CEL. The second step of
// the first waits for something that the test does.
const twoRules = `rules:
  - name: payments-drift
    about: certificate
    condition: {label: {team: payments}, drift: true}
    for: 6s
    severity: warning
    summary: "{{.Labels.team}} waits for {{.Certificate}}"
    ladder:
      - do: notify
      - {do: notify, when: '"file_permissions" in certificate.stored_findings', severity: critical}
  - name: somebody-elses-drift
    about: certificate
    when: 'certificate.drift && "team" in certificate.labels && certificate.labels["team"] != "payments"'
    severity: critical
  - name: long-key-drift
    about: certificate
    when: 'certificate.drift && certificate.lifetime > days(30) && certificate.labels["team"].startsWith("pay")'
    severity: info
    for: 1s
`

func TestOwnRuleOverCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("exit 1\n")
	w.WriteFile(rulesFile, []byte(twoRules), 0o644)
	w.set("    labels: {team: payments}\n", "probe: {interval: 1s}\nrules: {files: [/etc/certmedic/rules/*.yml]}\n"+w.alerts.told())
	w.start()
	w.awaitStage(certmedic.StageServed)

	w.renew()
	pending := w.awaitIncident("payments-drift", certmedic.StatePending)
	w.kill()
	if told := w.alerts.about("payments-drift"); len(told) > 0 {
		t.Errorf("a rule that only is pending was told: %+v", told)
	}
	firing := w.awaitIncident("payments-drift", certmedic.StateFiring)
	if firing.ID != pending.ID || firing.FiringAt.Sub(firing.PendingAt) < 6*time.Second {
		t.Errorf("%s was pending, and after a crash %s fires, pending from %s, firing from %s", pending.ID, firing.ID, firing.PendingAt, firing.FiringAt)
	}
	w.awaitTold("payments-drift", 1)
	w.kill()
	w.stays("it goes on firing, its second step waits, and it is not told again", 3*time.Second, func() bool {
		in, _ := w.incident("payments-drift")
		return in.ID == firing.ID && in.State == certmedic.StateFiring && in.Severity == certmedic.SeverityWarning && len(w.alerts.about("payments-drift")) == 1
	})

	w.must("chmod 644 " + live + "/privkey.pem")
	w.awaitTold("payments-drift", 2)
	w.kill()
	w.must("chmod 600 " + live + "/privkey.pem && systemctl reload nginx")
	w.awaitIncident("payments-drift", certmedic.StateResolved)
	w.awaitIncident("long-key-drift", certmedic.StateResolved)
	w.awaitTold("payments-drift", 3)
	w.stays("nothing more happens", 3*time.Second, func() bool {
		in, _ := w.incident("payments-drift")
		return in.ID == firing.ID && in.State == certmedic.StateResolved
	})
	w.checkTold(firing)
	if in, ok := w.incident("somebody-elses-drift"); ok {
		t.Errorf("a rule for another team has an incident: %+v", in)
	}
}

// awaitStage waits until the certificate has reached a stage.
func (w *world) awaitStage(stage certmedic.Stage) {
	w.t.Helper()
	w.await(fmt.Sprintf("the stage is %s", stage), patience, 50*time.Millisecond, func() bool { return w.view().Stage == stage })
}

// checkTold checks the whole story of the incident as the webhook heard it: each part once.
func (w *world) checkTold(in certmedic.Incident) {
	w.t.Helper()
	want := []string{"firing warning", "update critical", "resolved critical"}
	var got []string
	for _, b := range w.alerts.about(in.Rule) {
		got = append(got, fmt.Sprintf("%s %s", b.Event, b.Severity))
		if b.Incident != in.ID || b.DedupKey != in.DedupKey || b.Summary != "payments waits for shop" {
			w.t.Errorf("the webhook heard %q of %s in %s, want %s in %s", b.Summary, b.Incident, b.DedupKey, in.ID, in.DedupKey)
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("the webhook heard %q, want %q", got, want)
	}
}

// ownersRule asks for a label, with or without asking whether it is there.
func ownersRule(guard string) string {
	return `rules: [{name: owners-drift, about: certificate, when: '` + guard + `certificate.labels["owner"] == "alice"', severity: warning}]` + "\n"
}

func TestRuleThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	w.WriteFile(rulesFile, []byte(ownersRule("")), 0o644)
	w.set("", "probe: {interval: 1s}\nrules: {files: [/etc/certmedic/rules/*.yml]}\n"+w.alerts.told())
	w.start()

	in := w.awaitIncident("rule-error", certmedic.StateFiring)
	if in.Subject.Kind != certmedic.AboutFleet || !slices.Contains(in.Members, name) || !mentions(in.Evidence, "owners-drift", "owner") {
		t.Errorf("the incident does not say which rule lacks what, and where: %+v", in)
	}
	told := w.awaitTold("rule-error", 1)[0]
	if told.Event != "firing" || told.Certificate != "" || !strings.HasPrefix(told.DedupKey, "certmedic/fleet/") || !mentions(told.Evidence, "owners-drift", "owner") {
		t.Errorf("the webhook heard %+v", told)
	}
	w.checkFailuresGrow()
	if r := w.certmedic("incidents", "--json"); !strings.Contains(r.Stdout, in.ID) {
		t.Errorf("certmedic incidents does not list %s:\n%s%s", in.ID, r.Stdout, r.Stderr)
	}
	if r := w.certmedic("status"); r.Code != 1 || !strings.Contains(r.Stdout, "rule-error") {
		t.Errorf("certmedic status exits %d, want 1 and rule-error:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := w.certmedic("rules", "list", "--against", "daemon"); r.Code != 0 || !strings.Contains(r.Stderr, `"owners-drift" cannot be asked about 1 of 1`) {
		t.Errorf("certmedic rules list --against daemon exits %d, and does not tell of owners-drift:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}

	w.WriteFile(rulesFile, []byte(ownersRule(`"owner" in certificate.labels && `)), 0o644)
	w.must("systemctl reload certmedic")
	w.awaitIncident("rule-error", certmedic.StateResolved)
	if last := w.awaitTold("rule-error", 2); len(last) != 2 || last[1].Event != "resolved" || last[1].DedupKey != told.DedupKey {
		t.Errorf("the webhook heard %+v", last)
	}
	if r := w.certmedic("status"); r.Code != 0 {
		t.Errorf("certmedic status exits %d once the rule is right:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// checkFailuresGrow checks that evaluations of the rule fail and are counted, and those of
// others not.
func (w *world) checkFailuresGrow() {
	w.t.Helper()
	failures := func(rule string) int {
		n, _ := strconv.Atoi(w.metric(`certmedic_rule_evaluation_failures_total{rule="` + rule + `"}`))
		return n
	}
	before := failures("owners-drift")
	w.await("further failures are counted", patience, 200*time.Millisecond, func() bool { return failures("owners-drift") > before })
	if before == 0 || failures("renewed-not-served") > 0 {
		w.t.Errorf("owners-drift failed %d times before, renewed-not-served %d times", before, failures("renewed-not-served"))
	}
}

// mentions reports whether a line of evidence from a source has a word.
func mentions(evidence []certmedic.Evidence, source, word string) bool {
	return slices.ContainsFunc(evidence, func(e certmedic.Evidence) bool { return e.Source == source && strings.Contains(e.Line, word) })
}

func TestGoodNewsAreToldWhereWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	news := listen(t, w.Host)
	w.set("", fmt.Sprintf(`probe: {interval: 1s}
alerting:
  receivers: [{name: incidents, webhook: {url: %q}}, {name: news, webhook: {url: %q}}]
  routes: [{to: [incidents]}, {to: [news], events: true}]
`, w.alerts.url, news.url))
	w.start()
	w.awaitStage(certmedic.StageServed)
	heard := func() []string { return said(news.about("")) }

	first, _ := w.renew() // certbot alone, and its hook works
	want := []string{"renewed " + string(first), "deployed " + string(first)}
	w.await("the good news were told", patience, 100*time.Millisecond, func() bool { return slices.Equal(heard(), want) })

	w.hook("exit 1\n")
	second, _ := w.renew()
	w.awaitTold("renewed-not-served", 1)
	want = append(want, "renewed "+string(second))
	w.await("the renewal was told", patience, 100*time.Millisecond, func() bool { return slices.Equal(heard(), want) })
	w.restart()
	w.awaitReady()
	w.stays("nothing is told of a version that is served nowhere, or again", 3*time.Second, func() bool { return slices.Equal(heard(), want) })

	w.must("systemctl reload nginx") // somebody repairs it by hand
	want = append(want, "deployed "+string(second))
	w.await("the deployment was told", patience, 100*time.Millisecond, func() bool { return slices.Equal(heard(), want) })
	w.awaitIncident("renewed-not-served", certmedic.StateResolved)
	w.restart()
	w.awaitStage(certmedic.StageServed)
	w.stays("no news are told twice", 3*time.Second, func() bool { return slices.Equal(heard(), want) })
	if got := said(w.alerts.about("")); len(got) > 0 {
		t.Errorf("the receiver that wants incidents only heard %q", got)
	}
	if got := said(news.about("renewed-not-served")); len(got) > 0 {
		t.Errorf("the receiver that another one comes before heard %q", got)
	}
}

// said returns the kind of each notification and the version that it is about.
func said(bodies []webhook.Body) []string {
	var all []string
	for _, b := range bodies {
		all = append(all, string(b.Event)+" "+string(b.SHA256))
	}
	return all
}

func TestRenewalWindowOfTheCA(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("systemctl reload nginx\n")
	// The host does not trust the CA any more, certmedic alone does.
	w.must(`cat /etc/pebble/cert.pem /etc/pebble/root.pem >/etc/pebble/trusted.pem
		cp /etc/ssl/certs/ca-certificates.crt /root/with-pebble.crt
		head --lines=-$(wc --lines </etc/pebble/trusted.pem) /root/with-pebble.crt >/root/without-pebble.crt
		cp /root/without-pebble.crt /etc/ssl/certs/ca-certificates.crt`)
	w.set("", "probe: {interval: 1s, roots: /etc/pebble/trusted.pem}\n"+w.alerts.told())
	w.start()
	// Pebble's window is two days, around the moment when a third of the life is left.
	w.awaitWindow(w.expires().Add(-30*24*time.Hour + 24*time.Hour))
	if in, ok := w.incident("renewal-overdue"); ok {
		t.Errorf("a renewal that is not due is overdue: %+v", in)
	}

	w.must(`systemctl stop certmedic
		cp /root/with-pebble.crt /etc/ssl/certs/ca-certificates.crt
		certbot renew --quiet --force-renewal
		certbot revoke --quiet --cert-name ` + domain + ` --no-delete-after-revoke --reason superseded
		cp /root/without-pebble.crt /etc/ssl/certs/ca-certificates.crt
		systemctl start certmedic`)
	asked := time.Now()
	w.awaitReady()
	in := w.awaitIncident("renewal-overdue", certmedic.StateFiring)
	if len(in.Evidence) != 1 || !strings.HasSuffix(in.Evidence[0].Line, " by ari") {
		t.Errorf("the evidence does not say that it follows from the CA's window: %+v", in.Evidence)
	}
	w.awaitWindow(asked.Add(-time.Hour)) // what the CA says of a version that it revoked
	w.awaitTold("renewal-overdue", 1)

	w.must("systemctl stop pebble")
	for range 4 { // what is read first differs from start to start
		w.restart()
		w.awaitReady()
		w.awaitWindow(asked.Add(-time.Hour))
		w.awaitStage(certmedic.StageServed)
		if again, ok := w.incident("renewal-overdue"); !ok || again.ID != in.ID || again.State != certmedic.StateFiring {
			w.fatalf("after a restart the incident is %s, %s, want %s, firing", again.ID, again.State, in.ID)
		}
	}
	w.stays("it is told once, also while the CA cannot be asked", 7*time.Second, func() bool {
		again, ok := w.incident("renewal-overdue")
		return ok && again.ID == in.ID && again.State == certmedic.StateFiring && len(w.alerts.about("renewal-overdue")) == 1
	})
}

// expires returns when the version that is stored ends.
func (w *world) expires() time.Time {
	w.t.Helper()
	text := strings.TrimSpace(w.must("openssl x509 -in " + live + "/cert.pem -noout -enddate"))
	end, err := time.Parse("notAfter=Jan _2 15:04:05 2006 MST", text)
	if err != nil {
		w.fatalf("%v", err)
	}
	return end
}

// awaitWindow waits until the CA's window is known to end at about this time, and checks that
// the renewal counts as overdue from then on.
func (w *world) awaitWindow(end time.Time) {
	w.t.Helper()
	const series = `{certificate="` + name + `"}`
	w.await(fmt.Sprintf("the window is known to end at %s", end), patience, 100*time.Millisecond, func() bool {
		known, ok := w.seconds("certmedic_ari_window_end_timestamp_seconds" + series)
		return ok && known.Sub(end).Abs() < patience
	})
	window, _ := w.seconds("certmedic_ari_window_end_timestamp_seconds" + series)
	if due, ok := w.seconds("certmedic_renewal_due_timestamp_seconds" + series); !ok || !due.Equal(window) {
		w.t.Errorf("the renewal is due at %s, the window ends at %s", due, window)
	}
}
