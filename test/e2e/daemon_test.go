package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/testhost"
	"github.com/certmedic/certmedic/internal/watchdog"
)

const configFile = "/etc/certmedic/certmedic.yml"

// plan is what differs between the configurations of the tests.
type plan struct {
	mode   certmedic.Mode
	deploy string // the value of the certificate's `deploy`; empty: certbot's hooks
	allow  string // what is allowed; empty: redeploy
	rules  string // a file of rules beside the shipped ones; empty: none
	adjust string // changes to the shipped rules, in YAML; empty: none
	limits string // further settings of `remediation`, in YAML; empty: as they are by default
	tells  string // further receivers, in YAML; empty: none
}

// watch configures certmedic, starts it as the service that it ships, and waits until it
// has seen that the stored version is served: from then on the endpoint is known as the
// certificate's.
func (w *world) watch(p plan) {
	w.t.Helper()
	w.configure(p)
	w.start()
	w.await("certmedic sees the stored version served", patience, 50*time.Millisecond, func() bool {
		return strings.HasPrefix(w.metric(`certmedic_served_matches_stored{certificate="shop"`), "1")
	})
}

func (w *world) configure(p plan) {
	w.t.Helper()
	if p.deploy != "" {
		p.deploy = "    deploy: " + p.deploy + "\n"
	}
	if p.rules != "" || p.adjust != "" {
		p.rules = "rules: {files: [" + p.rules + "], adjust: {" + p.adjust + "}}\n"
	}
	if p.limits != "" {
		p.limits = ", " + p.limits
	}
	if p.tells != "" {
		p.tells = ", " + p.tells
	}
	w.WriteFile(configFile, fmt.Appendf(nil, `remediation: {mode: %s%s}
probe: {interval: 2s}
certificates:
  - name: %s
    source: {certbot: {lineage: %s}}
    endpoints: [{address: "%s:443"}]
    remediation: {mode: auto, allow: [%s]}
%s%salerting:
  receivers: [{name: log, log: {}}, {name: hook, webhook: {url: "%s"}}%s]
`, p.mode, p.limits, name, domain, domain, cmp.Or(p.allow, "redeploy"), p.deploy, p.rules, w.alerts.url, p.tells), 0o644)
}

// start starts certmedic by the unit that it ships.
func (w *world) start() {
	w.t.Helper()
	unit, err := os.ReadFile("../../docs/systemd/certmedic.service")
	if err != nil {
		w.t.Fatal(err)
	}
	w.WriteFile("/etc/systemd/system/certmedic.service", unit, 0o644)
	w.must("install " + w.tools + "/certmedic /usr/local/bin/ && systemctl daemon-reload && systemctl start certmedic")
	w.awaitReady()
}

func (w *world) awaitReady() {
	w.t.Helper()
	w.await("certmedic is ready", patience, 20*time.Millisecond, func() bool {
		_, err := w.get("/-/ready")
		return err == nil
	})
}

// get asks certmedic for a page.
func (w *world) get(path string) ([]byte, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: w.Dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get("http://localhost:9879" + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return body, err
}

func (w *world) getJSON(path string, into any) {
	w.t.Helper()
	body, err := w.get(path)
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		w.fatalf("asking certmedic for %s: %v", path, err)
	}
}

// metric returns the value of the first series that begins so; empty if there is none.
func (w *world) metric(series string) string {
	page, _ := w.get("/metrics")
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, series) {
			return strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:])
		}
	}
	return ""
}

// actions returns everything that certmedic did, newest first.
func (w *world) actions() []certmedic.Action {
	w.t.Helper()
	var all []certmedic.Action
	w.getJSON("/api/v1/history", &all)
	return all
}

// incident returns the newest incident of a rule.
func (w *world) incident(rule string) (certmedic.Incident, bool) {
	w.t.Helper()
	var all []certmedic.Incident
	w.getJSON("/api/v1/incidents", &all)
	for _, in := range all {
		if in.Rule == rule {
			return in, true
		}
	}
	return certmedic.Incident{}, false
}

// awaitIncident waits until the newest incident of a rule is in a state.
func (w *world) awaitIncident(rule string, state certmedic.IncidentState) certmedic.Incident {
	w.t.Helper()
	var found certmedic.Incident
	w.await(fmt.Sprintf("there is an incident %s that is %s", rule, state), patience, 100*time.Millisecond, func() bool {
		in, ok := w.incident(rule)
		found = in
		return ok && in.State == state
	})
	return found
}

// awaitEvidence waits until an incident of a rule fires, and checks what certmedic shows to
// a person on the host for it, and to the webhook: a command, how it ended, and a line of
// its output.
func (w *world) awaitEvidence(rule, command, how, output string) {
	w.t.Helper()
	w.awaitIncident(rule, certmedic.StateFiring)
	var all []certmedic.Incident
	r := w.certmedic("incidents", "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil {
		w.fatalf("certmedic incidents --json: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	at := slices.IndexFunc(all, func(in certmedic.Incident) bool { return in.Rule == rule })
	if at < 0 {
		w.fatalf("certmedic incidents does not list %s, which fires:\n%s", rule, r.Stdout)
	}
	w.await("the webhook heard of "+rule, patience, 100*time.Millisecond, func() bool { return len(w.alerts.about(rule)) > 0 })
	for to, evidence := range map[string][]certmedic.Evidence{"a person": all[at].Evidence, "the webhook": w.alerts.about(rule)[0].Evidence} {
		i := slices.IndexFunc(evidence, func(e certmedic.Evidence) bool { return e.Source == command && e.Line == how })
		if i < 0 || i+1 == len(evidence) || !strings.Contains(evidence[i+1].Line, output) {
			w.t.Errorf("the evidence of %s for %s is %+v, want %s, %s, and %q", rule, to, evidence, command, how, output)
		}
	}
}

// awaitOutcome waits until certmedic ended its n-th action, and checks how.
func (w *world) awaitOutcome(n int, kind certmedic.OutcomeKind) certmedic.Action {
	w.t.Helper()
	var last certmedic.Action
	w.await(fmt.Sprintf("action %d has ended", n), patience, 100*time.Millisecond, func() bool {
		all := w.actions()
		if len(all) < n {
			return false
		}
		last = all[len(all)-n]
		return last.Outcome.Kind != certmedic.OutcomeRunning
	})
	if last.Outcome.Kind != kind {
		w.fatalf("action %d ended %s (%s), want %s", n, last.Outcome.Kind, last.Outcome.Detail, kind)
	}
	return last
}

// restart restarts certmedic as its service manager does.
func (w *world) restart() {
	w.t.Helper()
	w.must("systemctl restart certmedic")
	w.awaitReady()
}

// view returns how certmedic sees the certificate now.
func (w *world) view() watchdog.View {
	w.t.Helper()
	var s api.Status
	w.getJSON("/api/v1/status", &s)
	if len(s.Certificates) != 1 {
		w.fatalf("certmedic watches %d certificates", len(s.Certificates))
	}
	return s.Certificates[0]
}

// certmedic runs a command of certmedic on the host.
func (w *world) certmedic(args ...string) testhost.Result {
	w.t.Helper()
	r, err := w.Run(w.t.Context(), append([]string{"certmedic"}, args...)...)
	if err != nil {
		w.fatalf("certmedic %q: %v", args, err)
	}
	return r
}
