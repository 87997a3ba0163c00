package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

// TestAnIncidentNamesItsCause has certbot's deploy hook fail, where certmedic only observes: people
// are told why, where it is logged, and what mends it.
func TestAnIncidentNamesItsCause(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook(failOnce)
	slack, pager := slackfake.Unstarted(slackfake.Options{}), pdfake.New(pdfake.Options{})
	slack.URL = w.answer(slack)
	w.WriteFile("/etc/certmedic/slack.token", []byte(slack.Token+"\n"), 0o600)
	w.WriteFile("/etc/certmedic/pd.key", []byte("0123456789abcdef0123456789abcdef\n"), 0o600)
	w.watch(plan{mode: certmedic.ModeObserve, tells: fmt.Sprintf(
		`{name: ops, slack: {token_file: /etc/certmedic/slack.token, channel: %q, api_url: %q}}, {name: oncall, pagerduty: {routing_key_file: /etc/certmedic/pd.key, api_url: %q}}`,
		slack.Channel, slack.APIURL(), w.answer(pager))})

	version, _ := w.renew()
	w.awaitIncident("renewed-not-served", certmedic.StateFiring)
	in := w.awaitCause("renewed-not-served")
	if in.Cause != certmedic.CauseHookFailed || !strings.Contains(in.CauseSummary, hookFile) || !strings.Contains(in.Fix, "certmedic redeploy "+name) {
		w.fatalf("the cause is %q, %q, and the fix %q", in.Cause, in.CauseSummary, in.Fix)
	}
	for _, e := range in.Evidence {
		if strings.HasPrefix(e.Source, "/var/log/letsencrypt/") {
			t.Errorf("the open API shows the log: %+v", e)
		}
	}
	const logged = "reported error code 3"
	w.await("Slack shows the cause with the line of the log", patience, 100*time.Millisecond, func() bool {
		all := about(slack, "(hook_failed)")
		return len(all) == 1 && strings.Contains(all[0], logged) && strings.Contains(all[0], "nginx is busy") && strings.Contains(all[0], in.Fix)
	})
	w.await("PagerDuty has the cause with the line of the log", patience, 100*time.Millisecond, func() bool {
		all := pager.Incidents()
		if len(all) != 1 {
			return false
		}
		last, err := json.Marshal(all[0].Events[len(all[0].Events)-1])
		return err == nil && strings.Contains(string(last), "(hook_failed)") && strings.Contains(string(last), logged)
	})
	if page, err := w.get("/"); err != nil || !strings.Contains(string(page), "(hook_failed)") || strings.Contains(string(page), "nginx is busy") {
		t.Errorf("the page has no cause, or shows what the hook wrote: %v\n%s", err, page)
	}
	if r := w.certmedic("incidents"); !strings.Contains(r.Stdout, "(hook_failed)") || !strings.Contains(r.Stdout, logged) || !strings.Contains(r.Stdout, "fix:\n") {
		t.Errorf("certmedic incidents says\n%s", r.Stdout)
	}
	if r := w.certmedic("status"); !strings.Contains(r.Stdout, "renewed-not-served: hook_failed") {
		t.Errorf("certmedic status says\n%s", r.Stdout)
	}

	w.must("certmedic redeploy " + name)
	w.awaitServed(version)
	if ended := w.awaitIncident("renewed-not-served", certmedic.StateResolved); ended.Cause != certmedic.CauseHookFailed {
		t.Errorf("what ended has the cause %q", ended.Cause)
	}
	w.await("Slack heard of the end in the same conversation", patience, 100*time.Millisecond, func() bool {
		all := about(slack, "is still served")
		return len(all) == 1 && strings.Contains(all[0], "Resolved")
	})
	if all := pager.Incidents(); len(all) != 1 || all[0].Pages != 1 {
		t.Errorf("people were paged for %+v, want one page", all)
	}
	if v := w.view(); len(v.Incidents) > 0 {
		t.Errorf("there are open incidents: %+v", v.Incidents)
	}
}

// about returns what the messages of the channel show that hold a text.
func about(slack *slackfake.Server, text string) []string {
	var all []string
	for _, m := range slack.Messages() {
		if shown := m.Shown(); strings.Contains(shown, text) {
			all = append(all, shown)
		}
	}
	return all
}

// awaitCause waits until the open incident of a rule has a cause.
func (w *world) awaitCause(rule string) (found certmedic.Incident) {
	w.t.Helper()
	w.await(rule+" has a cause", patience, 100*time.Millisecond, func() bool {
		in, ok := w.incident(rule)
		found = in
		return ok && in.Cause != ""
	})
	return found
}

// answer serves the host from the test, until its end.
func (w *world) answer(h http.Handler) (url string) {
	w.t.Helper()
	listener, err := w.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until it is closed
	}()
	w.t.Cleanup(func() { _ = server.Close(); <-done })
	return "http://" + listener.Addr().String()
}
