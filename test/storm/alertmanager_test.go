package storm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
)

// managerSettings says by which settings Alertmanager is beside us.
const managerSettings = `Alertmanager: group_wait 200ms as ours, group_interval 1s, one group for each conversation, all else as it comes
(repeat_interval 4h, its log of notifications and silences written every 15m). It is fed as by Prometheus: what fires is posted
every second, what has ended for a minute more. A post counts as told twice where it says the very same as an earlier one.
It has no acknowledgements.`

const (
	postEvery  = time.Second
	keepPosted = time.Minute // what has ended
)

// manager is the real Alertmanager of Debian, with a Prometheus that posts to it.
type manager struct {
	fakes   *fakes
	program string
	dir     string
	address string
	http    *http.Client
	wake    chan struct{} // holds a token when an alert changed

	mu     sync.Mutex
	alerts map[string]*alert // by conversation and rule
}

// alert is one, as Prometheus keeps it.
type alert struct {
	Labels   map[string]string `json:"labels"`
	StartsAt time.Time         `json:"startsAt"`
	EndsAt   time.Time         `json:"endsAt"`

	ended bool
	taken bool // Alertmanager has it as it is
}

// managerProgram runs Debian's Alertmanager.
const managerProgram = "../../scripts/alertmanager"

// hasManager reports whether Debian's Alertmanager can be had and run; with CI=true it has to be.
func hasManager(t *testing.T) bool {
	t.Helper()
	out, err := exec.Command(managerProgram, "--version").CombinedOutput()
	switch {
	case err == nil:
		return true
	case os.Getenv("CI") == "true":
		t.Fatalf("CI=true and there is no Alertmanager: %v: %s", err, out)
	}
	t.Logf("there is no Alertmanager to go through the same: %v: %s", err, out)
	return false
}

func managerIn(t *testing.T, s scale, f *fakes) subject {
	t.Helper()
	m := &manager{
		fakes: f, program: managerProgram, dir: t.TempDir(), address: freeAddress(t),
		http: &http.Client{Timeout: 5 * time.Second}, wake: make(chan struct{}, 1), alerts: map[string]*alert{},
	}
	if err := os.WriteFile(filepath.Join(m.dir, "alertmanager.yml"), []byte(m.config(t, s)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var posting sync.WaitGroup
	posting.Go(func() { m.feed(ctx) })
	t.Cleanup(func() { cancel(); posting.Wait() })
	return m
}

// config has a receiver for every team, with both places.
func (m *manager) config(t *testing.T, s scale) string {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {pagerduty_url: %q}\nroute:\n  receiver: team0\n  group_by: [conversation]\n  group_wait: %v\n  group_interval: 1s\n  routes:\n", m.fakes.pagerURL+"/v2/enqueue", groupWait)
	for team := range s.teams {
		fmt.Fprintf(&b, "    - {matchers: [team = t%d], receiver: team%d}\n", team, team)
	}
	b.WriteString("receivers:\n")
	for team := range s.teams {
		hook := httptest.NewServer(plain{m.fakes.channels[team].WebhookURL(), m.http})
		t.Cleanup(hook.Close)
		fmt.Fprintf(&b, `  - name: team%d
    slack_configs: [{api_url: %q, send_resolved: true, channel: "#certs", title: '{{ .GroupLabels.conversation }} {{ .Status }} {{ range .Alerts.Firing }}{{ .Labels.alertname }} {{ end }}', text: "", fallback: ""}]
    pagerduty_configs: [{routing_key: %q, send_resolved: true, severity: critical, class: '{{ .GroupLabels.conversation }}'}]
`, team, hook.URL, routingKey(team))
	}
	return b.String()
}

// plain hands a message of Alertmanager on, whose text is in an attachment, which the fake has not.
type plain struct {
	to     string
	client *http.Client
}

func (p plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct{ Attachments []struct{ Title string } }
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil || len(m.Attachments) != 1 {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	body, err := json.Marshal(map[string]string{"text": strings.TrimSpace(m.Attachments[0].Title)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := p.client.Post(p.to, "application/json", bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler) // as the fake did
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body) // the caller may be dead
}

func (m *manager) command() *exec.Cmd {
	return exec.Command(m.program, "--config.file="+m.dir+"/alertmanager.yml", "--storage.path="+m.dir+"/data", "--web.listen-address="+m.address, "--cluster.listen-address=")
}

func (m *manager) ready() bool {
	answer, err := m.http.Get("http://" + m.address + "/-/ready")
	if err != nil {
		return false
	}
	return errors.Join(answer.Body.Close()) == nil && answer.StatusCode == http.StatusOK
}

func (m *manager) set(c certificate, conversation string, what trouble) error {
	m.mu.Lock()
	now := time.Now()
	for _, rule := range []trouble{soon, gone} {
		key := conversation + " " + string(rule)
		a, holds := m.alerts[key], what == rule || what == gone
		switch {
		case holds && a == nil:
			labels := map[string]string{"alertname": string(rule), "conversation": conversation, "certificate": c.name, "team": fmt.Sprintf("t%d", c.team)}
			m.alerts[key] = &alert{Labels: labels, StartsAt: now}
		case !holds && a != nil && !a.ended:
			a.ended, a.EndsAt, a.taken = true, now, false
		}
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return nil
}

// feed posts when something changes, and every second.
func (m *manager) feed(ctx context.Context) {
	tick := time.NewTicker(postEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		m.post(ctx)
		select {
		case <-m.wake:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// post posts everything, as Prometheus does.
func (m *manager) post(ctx context.Context) {
	m.mu.Lock()
	all := map[string]alert{}
	now := time.Now()
	for key, a := range m.alerts {
		if !a.ended {
			a.EndsAt = now.Add(4 * postEvery)
		} else if now.Sub(a.EndsAt) > keepPosted {
			delete(m.alerts, key)
			continue
		}
		all[key] = *a
	}
	m.mu.Unlock()
	if len(all) == 0 || m.ask(ctx, http.MethodPost, "/alerts", slices.Collect(maps.Values(all)), nil) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, posted := range all {
		if a := m.alerts[key]; a.ended == posted.ended {
			a.taken = true
		}
	}
}

func (m *manager) ask(ctx context.Context, method, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+m.address+"/api/v2"+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := m.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

func (m *manager) look(context.Context) (firing map[string]string, all map[string]*told) {
	m.mu.Lock()
	firing = map[string]string{}
	for _, a := range m.alerts {
		if a.ended != a.taken { // it fires there, or does still
			firing[a.Labels["certificate"]] = a.Labels["conversation"]
		}
	}
	m.mu.Unlock()
	all = map[string]*told{}
	m.fakes.pages(all, func(in pdfake.Incident) string { return in.Events[0].Payload.Class })
	m.fakes.posts(all)
	return firing, all
}

func (m *manager) silence(ctx context.Context, c certificate) (string, error) {
	var s struct{ SilenceID string }
	err := m.ask(ctx, http.MethodPost, "/silences", map[string]any{
		"matchers": []map[string]any{{"name": "certificate", "value": c.name, "isRegex": false, "isEqual": true}},
		"startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour), "createdBy": "ann", "comment": "the storm",
	}, &s)
	return s.SilenceID, err
}

// held is a silence as Alertmanager shows it.
type held struct {
	ID       string
	Status   struct{ State string }
	Matchers []struct{ Value string }
}

func (m *manager) active(ctx context.Context, fits func(held) bool) (ids []string, err error) {
	var all []held
	err = m.ask(ctx, http.MethodGet, "/silences", nil, &all)
	for _, s := range all {
		if s.Status.State == "active" && fits(s) {
			ids = append(ids, s.ID)
		}
	}
	return ids, err
}

func (m *manager) silenced(ctx context.Context, id string) (bool, error) {
	ids, err := m.active(ctx, func(s held) bool { return s.ID == id })
	return len(ids) > 0, err
}

func (m *manager) unsilence(ctx context.Context, c certificate) error {
	ids, err := m.active(ctx, func(s held) bool { return s.Matchers[0].Value == c.name })
	for _, id := range ids {
		err = errors.Join(err, m.ask(ctx, http.MethodDelete, "/silence/"+id, nil, nil))
	}
	return err
}

func (m *manager) acknowledges() bool { return false }

func (m *manager) acknowledge(context.Context, string) error { return nil }

func (m *manager) acknowledged(context.Context, string) (bool, error) { return false, nil }
