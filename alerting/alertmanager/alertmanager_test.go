package alertmanager_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/alertmanager"
)

func TestConformance(t *testing.T) {
	alertingtest.TestNotifier(t, func(url string) alerting.Notifier { return build(t, alertmanager.Config{URLs: []string{url}}) })
}

func build(t *testing.T, c alertmanager.Config) *alertmanager.Notifier {
	t.Helper()
	n, err := alertmanager.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// alert is one as it was posted.
type alert struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
	GeneratorURL        string
}

// firing reports whether Alertmanager takes the alert for one that fires.
func (a alert) firing() bool { return a.EndsAt.After(time.Now()) }

// fake takes alerts, as the API of Alertmanager does.
type fake struct {
	*httptest.Server

	mu     sync.Mutex
	status int
	header http.Header
	path   string
	posts  [][]alert
}

func newFake(t *testing.T, start func(http.Handler) *httptest.Server) *fake {
	t.Helper()
	f := &fake{status: http.StatusOK}
	f.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var alerts []alert
		if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
			t.Error(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.header, f.path, f.posts = r.Header, r.Method+" "+r.URL.Path, append(f.posts, alerts)
		w.WriteHeader(f.status)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) answer(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
}

// last returns what was posted last, in words: whether each alert fires, and its labels.
func (f *fake) last() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.posts) == 0 {
		return nil
	}
	var all []string
	for _, a := range f.posts[len(f.posts)-1] {
		state := "ended"
		if a.firing() {
			state = "firing"
		}
		all = append(all, state+" "+fmt.Sprint(a.Labels))
	}
	return all
}

func (f *fake) want(t *testing.T, want ...string) {
	t.Helper()
	if got := f.last(); !slices.Equal(got, want) {
		t.Errorf("posted\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// notify hands a notification over, and keeps what the notifier remembers in it.
func notify(t *testing.T, n *alertmanager.Notifier, notification *alerting.Notification) {
	t.Helper()
	notification.Remember = func(memory json.RawMessage) error { notification.Memory = memory; return nil }
	if retry, err := n.Notify(t.Context(), *notification); retry || err != nil {
		t.Fatalf("retry %v, error %v", retry, err)
	}
}

func event(kind alerting.Kind, id string, severity certmedic.Severity) alerting.Event {
	e := alertingtest.Notification().Events[0]
	e.Kind, e.Severity, e.Incident = kind, severity, alertingtest.Incident(id, "rule-"+id, severity)
	return e
}

func told(open []alerting.Event, events ...alerting.Event) *alerting.Notification {
	return &alerting.Notification{Receiver: "am", Conversation: "certmedic/shop/e1", Status: alerting.StatusFiring, Events: events, Open: open}
}

func TestAnAlert(t *testing.T) {
	f := newFake(t, httptest.NewServer)
	n := build(t, alertmanager.Config{URLs: []string{f.URL + "/am/"}, BaseURL: "https://certmedic.example.com/", RunbookURL: "https://wiki/"})
	e := event(alerting.KindFiring, "a", certmedic.SeverityCritical)
	e.Drill, e.Undelivered, e.Incident.Runbook, e.Incident.NextStep = true, "chat rejected it", "expired", "renew at 12:00"
	e.Certificate.Labels = map[string]string{"team": "a", "alertname": "mine", "not-a-label": "x", "empty": ""}
	e.Incident.Subject.Endpoint, e.Incident.Subject.Address = "shop.example.com:443", "192.0.2.1:443"
	e.Incident.Members = slices.Repeat([]string{"192.0.2.1:443"}, 103)
	before := time.Now()
	notification := told(nil, e)
	notification.Ack = &alerting.Ack{By: "ann"}
	notify(t, n, notification)
	if f.path != "POST /am/api/v2/alerts" || f.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", f.path, f.header)
	}
	a := f.posts[0][0]
	wantLabels := map[string]string{
		"alertname": "rule-a", "certificate": "shop", "severity": "critical", "team": "a", "drill": "true",
		"endpoint": "shop.example.com:443", "address": "192.0.2.1:443",
	}
	if !maps.Equal(a.Labels, wantLabels) {
		t.Errorf("labels %v", a.Labels)
	}
	for name, want := range map[string]string{
		"summary": "[DRILL] sümmary", "reason": "reason", "runbook_url": "https://wiki/expired", "evidence": "hook: exit 1",
		"next_step": "renew at 12:00", "acknowledged_by": "ann", "dedup_key": "certmedic/shop/e1", "not_after": "2026-03-01T00:00:00Z",
		"undelivered": "chat rejected it",
	} {
		if a.Annotations[name] != want {
			t.Errorf("annotation %s is %q, want %q", name, a.Annotations[name], want)
		}
	}
	if members := a.Annotations["members"]; strings.Count(members, "192.0.2.1:443") != 100 || !strings.HasSuffix(members, ", and 3 more") {
		t.Errorf("members %q", members)
	}
	if !a.StartsAt.Equal(e.Incident.FiringAt) || a.GeneratorURL != "https://certmedic.example.com/" {
		t.Errorf("starts at %v, generated by %q", a.StartsAt, a.GeneratorURL)
	}
	if left := a.EndsAt.Sub(before); left < 3*time.Minute || left > 5*time.Minute {
		t.Errorf("ends in %v, want some posts ahead", left)
	}
}

func TestAnIncidentThatGetsWorseIsOneAlert(t *testing.T) {
	f := newFake(t, httptest.NewServer)
	n := build(t, alertmanager.Config{URLs: []string{f.URL}})
	const warning, critical = "map[alertname:rule-a certificate:shop severity:warning team:a]", "map[alertname:rule-a certificate:shop severity:critical team:a]"
	first := event(alerting.KindFiring, "a", certmedic.SeverityWarning)
	notification := told([]alerting.Event{first}, first)
	notify(t, n, notification)
	f.want(t, "firing "+warning)

	worse := event(alerting.KindUpdate, "a", certmedic.SeverityCritical)
	notification.Events, notification.Open = []alerting.Event{worse}, []alerting.Event{worse}
	notify(t, n, notification)
	f.want(t, "ended "+warning, "firing "+critical)

	end := event(alerting.KindResolved, "a", certmedic.SeverityCritical)
	end.Certificate.Labels = map[string]string{"team": "b"} // since then the configuration was changed
	notification.Events, notification.Open = []alerting.Event{end}, nil
	notify(t, n, notification)
	f.want(t, "ended "+critical)
	if string(notification.Memory) != "{}" {
		t.Errorf("after the end %s is remembered", notification.Memory)
	}
}

func TestOtherIncidentsAreOtherAlerts(t *testing.T) {
	f := newFake(t, httptest.NewServer)
	n := build(t, alertmanager.Config{URLs: []string{f.URL}})
	a, b := event(alerting.KindFiring, "a", certmedic.SeverityWarning), event(alerting.KindFiring, "b", certmedic.SeverityWarning)
	notify(t, n, told([]alerting.Event{a, b}, b))
	f.want(t, "firing map[alertname:rule-a certificate:shop severity:warning team:a]", "firing map[alertname:rule-b certificate:shop severity:warning team:a]")

	resolved := event(alerting.KindResolved, "a", certmedic.SeverityWarning)
	notify(t, n, told([]alerting.Event{b}, resolved))
	f.want(t, "ended map[alertname:rule-a certificate:shop severity:warning team:a]", "firing map[alertname:rule-b certificate:shop severity:warning team:a]")
}

func TestWhatIsNoIncidentIsNotPosted(t *testing.T) {
	f := newFake(t, httptest.NewServer)
	n := build(t, alertmanager.Config{URLs: []string{f.URL}})
	open := event(alerting.KindFiring, "a", certmedic.SeverityWarning)
	notify(t, n, told([]alerting.Event{open}, event(alerting.KindRenewed, "", certmedic.SeverityInfo)))
	f.want(t)
	notify(t, n, told(nil, alerting.Event{Kind: alerting.KindHeartbeat, Time: time.Now()}))
	f.want(t, "firing map[alertname:certmedic-heartbeat severity:info]")
}

func TestTheEndIsNeverBeforeTheBeginning(t *testing.T) {
	f := newFake(t, httptest.NewServer)
	n := build(t, alertmanager.Config{URLs: []string{f.URL}})
	end := event(alerting.KindResolved, "a", certmedic.SeverityWarning)
	end.Time = end.Incident.FiringAt.Add(-time.Hour)
	notify(t, n, told(nil, end))
	if a := f.posts[0][0]; a.EndsAt.Before(a.StartsAt) {
		t.Errorf("from %v to %v", a.StartsAt, a.EndsAt)
	}
}

func TestEveryInstanceIsPostedTo(t *testing.T) {
	a, b := newFake(t, httptest.NewServer), newFake(t, httptest.NewServer)
	n := build(t, alertmanager.Config{URLs: []string{a.URL, b.URL}})
	e := event(alerting.KindFiring, "a", certmedic.SeverityWarning)
	const fires = "firing map[alertname:rule-a certificate:shop severity:warning team:a]"

	a.answer(http.StatusServiceUnavailable)
	notification := told([]alerting.Event{e}, e)
	notify(t, n, notification) // one that takes it is enough
	a.want(t, fires)
	b.want(t, fires)

	open := []alerting.Notification{*told([]alerting.Event{e})}
	open[0].Memory = notification.Memory
	if err := n.Refresh(t.Context(), open); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(a.URL, "http://")) {
		t.Errorf("an instance that does not answer is not told of: %v", err)
	}
	a.answer(http.StatusOK)
	if err := n.Refresh(t.Context(), open); err != nil {
		t.Error(err)
	}
	a.want(t, fires)

	a.answer(http.StatusBadRequest)
	b.answer(http.StatusServiceUnavailable)
	if retry, err := n.Notify(t.Context(), *notification); !retry || err == nil {
		t.Errorf("retry %v, error %v: one of the two may take it later", retry, err)
	}
	b.answer(http.StatusBadRequest)
	if retry, err := n.Notify(t.Context(), *notification); retry || err == nil {
		t.Errorf("retry %v, error %v: none of them ever takes it", retry, err)
	}
}

func TestManyAlertsArePostedInParts(t *testing.T) {
	f := newFake(t, httptest.NewServer)
	n := build(t, alertmanager.Config{URLs: []string{f.URL}})
	var open []alerting.Notification
	for i := range 1200 {
		e := event(alerting.KindFiring, fmt.Sprint(i), certmedic.SeverityWarning)
		open = append(open, *told([]alerting.Event{e}))
	}
	if err := n.Refresh(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	if len(f.posts) != 3 || len(f.posts[2]) != 200 {
		t.Errorf("%d posts, want 3 of at most 500 alerts", len(f.posts))
	}
}

func TestLogins(t *testing.T) {
	f := newFake(t, httptest.NewTLSServer)
	roots := x509.NewCertPool()
	roots.AddCert(f.Certificate())
	for name, tt := range map[string]struct {
		config alertmanager.Config
		want   string
	}{
		"a user":         {alertmanager.Config{Username: "ann", Password: "pw"}, "Basic YW5uOnB3"},
		"a bearer token": {alertmanager.Config{BearerToken: "t0ken"}, "Bearer t0ken"},
		"nobody":         {alertmanager.Config{}, ""},
	} {
		tt.config.URLs, tt.config.Roots = []string{f.URL}, roots
		notify(t, build(t, tt.config), told(nil, event(alerting.KindFiring, "a", certmedic.SeverityWarning)))
		if got := f.header.Get("Authorization"); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	n := build(t, alertmanager.Config{URLs: []string{f.URL}})
	if retry, err := n.Notify(t.Context(), *told(nil, event(alerting.KindFiring, "a", certmedic.SeverityWarning))); !retry || err == nil {
		t.Errorf("retry %v, error %v for a server that no root vouches for", retry, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, urls := range [][]string{nil, {""}, {"example.com/s3cr3t"}, {"http://ok", "ftp://example.com/s3cr3t"}, {"http:///s3cr3t"}, {"http://a b/s3cr3t"}} {
		if _, err := alertmanager.New(alertmanager.Config{URLs: urls}); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: error %v", urls, err)
		}
	}
}

func FuzzMemory(f *testing.F) {
	f.Add([]byte(`{"i1":{"alertname":"x"}}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"i1":null}`))
	n, err := alertmanager.New(alertmanager.Config{URLs: []string{"http://127.0.0.1"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, memory []byte) {
		notification := alertingtest.Notification()
		notification.Memory = memory
		if _, err := n.Preview(notification); err != nil {
			t.Error(err)
		}
	})
}

func TestACauseIsAnAnnotation(t *testing.T) {
	f := newFake(t, httptest.NewServer)
	n := build(t, alertmanager.Config{URLs: []string{f.URL}})
	first := told(nil, event(alerting.KindFiring, "a", certmedic.SeverityWarning))
	notify(t, n, first)
	e := event(alerting.KindUpdate, "a", certmedic.SeverityWarning)
	e.Incident = alertingtest.Diagnosed(e.Incident)
	second := told([]alerting.Event{e}, e)
	second.Memory = first.Memory
	notify(t, n, second)
	if len(f.posts) != 2 || len(f.posts[1]) != 1 || !maps.Equal(f.posts[0][0].Labels, f.posts[1][0].Labels) {
		t.Fatalf("posted %+v, want the same alert twice", f.posts)
	}
	if got := f.posts[1][0].Annotations; !strings.HasSuffix(got["cause"], "(hook_failed)") || got["fix"] != e.Incident.Fix {
		t.Errorf("annotations %v", got)
	}
}
