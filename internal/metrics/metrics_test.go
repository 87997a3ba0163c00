package metrics_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/metrics"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)

// source is what an exporter is asked to show.
type source struct {
	views  []watchdog.View
	rules  []rules.Rule
	oldest time.Time
	states []alerting.State
}

func (s source) Views() []watchdog.View    { return s.views }
func (source) Fleet() []certmedic.Incident { return nil }

func (s source) Rules() []rules.Rule    { return s.rules }
func (s source) QueueOldest() time.Time { return s.oldest }

func (s source) Receivers() []alerting.State { return s.states }

func leaf(sha certmedic.Fingerprint, from, until time.Duration) certmedic.CertFacts {
	return certmedic.CertFacts{
		SHA256: sha, Serial: "00af", Issuer: "CN=R11", Subject: "CN=shop", NotBefore: now.Add(from), NotAfter: now.Add(until),
	}
}

const day = 24 * time.Hour

// healthy returns the view of a certificate that is served as it is stored.
func healthy(name string) watchdog.View {
	same := true
	served := leaf("aa", -30*day, 60*day)
	return watchdog.View{
		Name: name, Stage: certmedic.StageServed,
		Stored: &watchdog.StoredView{Path: "/live/cert.pem", Version: "7", Chain: []certmedic.CertFacts{served}},
		Certs:  certmedic.Certificate{Endpoints: []certmedic.Endpoint{{Address: name + ":443", Protocol: "tls"}}},
		Endpoints: []watchdog.EndpointView{{
			Address: name + ":443", Protocol: "tls", Time: now,
			Addresses: []watchdog.AddressView{{
				AddressObservation: certmedic.AddressObservation{
					Address: "192.0.2.1:443", Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{served},
					TLS:     &certmedic.TLSFacts{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Group: "X25519"},
					Connect: time.Millisecond, Handshake: 1500 * time.Microsecond, ChainNotAfter: now.Add(60 * day),
				},
				MatchesStored: &same,
			}},
		}},
	}
}

// failing returns the view of a certificate with which everything is wrong: it has expired,
// it drifts, its key does not match, and an action for it failed.
func failing(name string) watchdog.View {
	v := healthy(name)
	same, since := false, now.Add(-90*time.Second)
	v.Stage, v.Drift, v.Hook = certmedic.StageStored, &since, 3
	v.Action = &certmedic.Action{Runs: []certmedic.Run{{Name: "x.sh"}}}
	v.Findings = []certmedic.Finding{
		certmedic.NewFinding(certmedic.KeyMismatch, "one"), certmedic.NewFinding(certmedic.KeyMismatch, "two"),
	}
	v.Incidents = []certmedic.Incident{{Rule: "expired", Severity: certmedic.SeverityCritical, State: certmedic.StateFiring}}
	a := &v.Endpoints[0].Addresses[0]
	a.Chain = []certmedic.CertFacts{leaf("bb", -90*day, -day)}
	a.ChainNotAfter = time.Time{}
	a.MatchesStored, a.DriftSince = &same, &since
	a.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.Expired, "yesterday"), certmedic.NewFinding(certmedic.Untrusted, "x")}
	return v
}

// unreachable returns the view of a certificate whose endpoint presents nothing now.
func unreachable(name string) watchdog.View {
	v := healthy(name)
	a := &v.Endpoints[0].Addresses[0]
	last := a.Chain[0]
	a.Chain, a.TLS, a.MatchesStored, a.LastSeen, a.ChainNotAfter = nil, nil, nil, &last, time.Time{}
	a.Error = &certmedic.ProbeError{Reason: certmedic.Unreachable, Detail: "refused"}
	a.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.Unreachable, "refused")}
	return v
}

// hostile returns the view of a certificate whose strings are meant to break something.
func hostile() watchdog.View {
	v := healthy("evil\"} 1\n# TYPE x counter\\")
	v.Labels = map[string]string{
		"team": "a\nb\"c\\d\xff\x00é", "a-b": "1", "a.b": "2", "9": "3", "le": "reserved", "certificate": "shadow", "": "empty",
	}
	v.Endpoints[0].Addresses[0].Chain[0].Subject = "CN=\"\n\\\xfe\xff"
	return v
}

func watched(path string) watchdog.View {
	v := healthy(path)
	v.Watched, v.Endpoints, v.Stored.Path = true, nil, path
	v.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.FilePermissions, "open")}
	return v
}

func exporter(t testing.TB, views ...watchdog.View) *metrics.Exporter {
	t.Helper()
	shipped, err := ruleset.Load(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	e := metrics.New("1.2.3")
	e.Use(source{views: views, rules: shipped})
	return e
}

func written(t testing.TB, e *metrics.Exporter, at time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.Write(&b, at); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func certificates(t testing.TB, views ...watchdog.View) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := metrics.Certificates(&b, views, now); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func everything(t testing.TB) []byte {
	t.Helper()
	shop, mail := healthy("shop"), failing("mail")
	shop.Budget = []ledger.Remaining{{Limit: ledger.NewOrders, Left: 0}, {Limit: ledger.PerExactSet, Left: 5}}
	mail.Budget = []ledger.Remaining{{Limit: ledger.NewOrders, Left: 300}, {Limit: ledger.PerExactSet, Left: 3}, {Limit: ledger.PerExactSet, Left: 2}}
	e := exporter(t, shop, mail, unreachable("down"), hostile(), watched("/a.pem"), watched("/b.pem"))
	return written(t, e, now)
}

// sample is one series as Prometheus's parser reads it.
type sample struct {
	labels map[string]bool // "name=value"
	value  float64         // of a histogram the sum
	count  uint64          // of a histogram
}

// parse returns what Prometheus's parser reads, by metric.
func parse(t *testing.T, text []byte) map[string][]sample {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	all := map[string][]sample{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			s := sample{labels: map[string]bool{}, count: m.GetHistogram().GetSampleCount()}
			s.value = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum()
			for _, l := range m.GetLabel() {
				s.labels[l.GetName()+"="+l.GetValue()] = true
			}
			all[name] = append(all[name], s)
		}
	}
	return all
}

func TestPromlint(t *testing.T) {
	problems, err := promlint.New(bytes.NewReader(everything(t))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestNoSeriesTwice shows that Prometheus takes every sample: two with the same labels make
// it drop one of them.
func TestNoSeriesTwice(t *testing.T) {
	seen := map[string]bool{}
	for line := range strings.Lines(string(everything(t))) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		series := line[:strings.LastIndexByte(line, ' ')]
		if seen[series] {
			t.Errorf("twice: %s", series)
		}
		seen[series] = true
	}
}

// TestWriterIsExpfmt shows that our text writer writes byte for byte what Prometheus's own
// encoder makes of the same families.
func TestWriterIsExpfmt(t *testing.T) {
	text := certificates(t, healthy("shop"), failing("mail"), unreachable("down"), hostile(), watched("/a.pem"))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	encoder := expfmt.NewEncoder(&want, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if err := encoder.Encode(families[name]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(text, want.Bytes()) {
		t.Errorf("got\n%s\nwant\n%s", text, want.Bytes())
	}
}

// find returns the value of the series of a metric that has all these labels.
func find(families map[string][]sample, name string, labels ...string) (float64, bool) {
	for _, m := range families[name] {
		if !slices.ContainsFunc(labels, func(l string) bool { return !m.labels[l] }) {
			return m.value, true
		}
	}
	return 0, false
}

func TestValues(t *testing.T) {
	families := parse(t, everything(t))
	unix := func(d time.Duration) float64 { return float64(now.Add(d).UnixMilli()) / 1000 }
	tests := []struct {
		about  string
		metric string
		labels []string
		want   float64
	}{
		{"a healthy address", "certmedic_probe_success", []string{"certificate=shop", "endpoint=shop:443", "address=192.0.2.1:443"}, 1},
		{"it serves what is stored", "certmedic_served_matches_stored", []string{"certificate=shop"}, 1},
		{"and does not drift", "certmedic_drift_seconds", []string{"certificate=shop"}, 0},
		{"what a probe took", "certmedic_probe_duration_seconds", []string{"certificate=shop"}, 0.0025},
		{"when it ended", "certmedic_probe_last_timestamp_seconds", []string{"certificate=shop"}, unix(0)},
		{"two thirds of its life are left", "certmedic_served_lifetime_remaining_ratio", []string{"certificate=shop"}, 60.0 / 90},
		{"its stage", "certmedic_stage", []string{"certificate=shop", "stage=served"}, 1},
		{"and the others", "certmedic_stage", []string{"certificate=shop", "stage=deploying"}, 0},
		{"what is stored", "certmedic_stored_info", []string{"certificate=shop", "sha256=aa", "version=7"}, 1},
		{"the connection", "certmedic_tls_info", []string{"certificate=shop", "version=TLS 1.3", "group=X25519"}, 1},
		{"we act for it", "certmedic_leader", []string{"certificate=shop"}, 1},

		{"an expired certificate keeps its series", "certmedic_probe_success", []string{"certificate=mail"}, 0},
		{"its end", "certmedic_served_not_after_timestamp_seconds", []string{"certificate=mail"}, unix(-day)},
		{"its beginning", "certmedic_served_not_before_timestamp_seconds", []string{"certificate=mail"}, unix(-90 * day)},
		{"the end of its chain", "certmedic_served_chain_not_after_timestamp_seconds", []string{"certificate=mail"}, unix(-day)},
		{"nothing of its life is left", "certmedic_served_lifetime_remaining_ratio", []string{"certificate=mail"}, -1.0 / 89},
		{"its version", "certmedic_served_info", []string{"certificate=mail", "sha256=bb", "serial=00af", "issuer=CN=R11", "subject=CN=shop"}, 1},
		{"it drifts", "certmedic_served_matches_stored", []string{"certificate=mail"}, 0},
		{"since when", "certmedic_drift_seconds", []string{"certificate=mail"}, 90},
		{"its findings", "certmedic_finding", []string{"certificate=mail", "code=expired", "address=192.0.2.1:443"}, 1},
		{"the drift among them", "certmedic_finding", []string{"certificate=mail", "code=drift", "address=192.0.2.1:443"}, 1},
		{"those of its source", "certmedic_finding", []string{"certificate=mail", "code=key_mismatch", "endpoint=", "address="}, 1},
		{"the hook that failed", "certmedic_hook_last_exit_code", []string{"certificate=mail"}, 3},
		{"its incident", "certmedic_incidents", []string{"rule=expired", "severity=critical", "state=firing"}, 1},
		{"a rule that holds for nobody", "certmedic_incidents", []string{"rule=name-mismatch", "state=pending"}, 0},

		{"an unreachable endpoint has its last dates", "certmedic_served_not_after_timestamp_seconds", []string{"certificate=down"}, unix(60 * day)},
		{"and a probe that failed", "certmedic_probe_success", []string{"certificate=down"}, 0},
		{"a watched file has no name but its path", "certmedic_stored_not_after_timestamp_seconds", []string{"certificate=", "endpoint=/a.pem"}, unix(60 * day)},
		{"its findings, too", "certmedic_finding", []string{"certificate=", "endpoint=/b.pem", "code=file_permissions"}, 1},

		{"hostile strings are what they are, without control characters", "certmedic_stage", []string{"certificate=evil\"} 1\n# TYPE x counter\\", "stage=served", "team=a\nb\"c\\d\uFFFD\uFFFDé"}, 1},
		{"labels are made valid, the first of two wins", "certmedic_stage", []string{"a_b=1", "_9=3", "stage=served"}, 1},
		{"the least that is left of a limit of the CA", "certmedic_ca_budget_remaining", []string{"limit=certificates_per_exact_set"}, 2},
		{"of another it is another certificate's", "certmedic_ca_budget_remaining", []string{"limit=new_orders"}, 0},
		{"the build", "certmedic_build_info", []string{"version=1.2.3"}, 1},
		{"members", "certmedic_cluster_members", nil, 1},
	}
	for _, tt := range tests {
		got, ok := find(families, tt.metric, tt.labels...)
		if diff := got - tt.want; !ok || diff > 1e-9 || diff < -1e-9 {
			t.Errorf("%s: %s%q is %v (there: %v), want %v", tt.about, tt.metric, tt.labels, got, ok, tt.want)
		}
	}
	for _, label := range []string{"le=reserved", "certificate=shadow"} {
		if _, ok := find(families, "certmedic_stage", label); ok {
			t.Errorf("the label %s of a certificate shadows ours", label)
		}
	}
	if _, ok := find(families, "certmedic_served_matches_stored", "certificate=down"); ok {
		t.Error("whether something unreachable matches is claimed")
	}
	if _, ok := find(families, "certmedic_ca_budget_remaining", "limit=certificates_per_domain"); ok {
		t.Error("something is left of a limit that nobody knows")
	}
	if _, ok := find(families, "certmedic_hook_last_exit_code", "certificate=shop"); ok {
		t.Error("a hook that never ran has an exit code")
	}
}

// TestFailingHasWhatHealthyHas shows that no series of a certificate goes when it fails.
func TestFailingHasWhatHealthyHas(t *testing.T) {
	names := func(v watchdog.View) []string {
		return slices.Sorted(maps.Keys(parse(t, certificates(t, v))))
	}
	bad := names(failing("mail"))
	for _, name := range names(healthy("shop")) {
		if !slices.Contains(bad, name) {
			t.Errorf("a failing certificate has no %s", name)
		}
	}
}

func TestNames(t *testing.T) {
	e := exporter(t, failing("mail"))
	e.Acted(certmedic.Action{Kind: certmedic.ActionRedeploy, StartedAt: now, EndedAt: now.Add(time.Second), Outcome: certmedic.Outcome{Kind: certmedic.OutcomeHealed}})
	e.Told("ops", "sent")
	text := written(t, e, now)
	families := parse(t, text)
	for _, name := range strings.Fields(`certmedic_probes_total certmedic_probe_success certmedic_probe_duration_seconds
		certmedic_probe_last_timestamp_seconds certmedic_served_not_after_timestamp_seconds certmedic_served_not_before_timestamp_seconds
		certmedic_served_chain_not_after_timestamp_seconds certmedic_served_lifetime_remaining_ratio certmedic_served_info certmedic_tls_info
		certmedic_stored_not_after_timestamp_seconds certmedic_stored_info certmedic_served_matches_stored certmedic_drift_seconds
		certmedic_stage certmedic_finding certmedic_hook_last_exit_code certmedic_incidents certmedic_actions_total certmedic_refusals_total
		certmedic_action_last_timestamp_seconds certmedic_action_duration_seconds certmedic_time_to_detect_seconds certmedic_time_to_heal_seconds
		certmedic_notifications_total certmedic_notification_queue_oldest_seconds certmedic_state_unwritten_seconds certmedic_rule_evaluation_failures_total
		certmedic_round_duration_seconds certmedic_last_round_timestamp_seconds certmedic_config_last_reload_successful certmedic_build_info
		certmedic_leader certmedic_cluster_members`) {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestClosedSetsStartAtZero(t *testing.T) {
	families := parse(t, everything(t))
	zero := func(name string, labels ...string) {
		t.Helper()
		if got, ok := find(families, name, labels...); !ok || got != 0 {
			t.Errorf("%s%q is %v (there: %v), want 0", name, labels, got, ok)
		}
	}
	for _, outcome := range strings.Fields("success unreachable dns_failed timeout starttls_failed handshake_failed") {
		zero("certmedic_probes_total", "outcome="+outcome)
	}
	for _, action := range certmedic.ActionKinds() {
		for _, outcome := range certmedic.OutcomeKinds() {
			zero("certmedic_actions_total", "action="+string(action), "outcome="+string(outcome))
		}
	}
	for _, reason := range guard.Reasons() {
		zero("certmedic_refusals_total", "reason="+string(reason))
	}
	zero("certmedic_rule_evaluation_failures_total", "rule=renewed-not-served")
}

func TestCounting(t *testing.T) {
	e := exporter(t, healthy("shop"))
	observation := func(reason certmedic.FindingCode) certmedic.Observation {
		a := certmedic.AddressObservation{Address: "192.0.2.1:443", Chain: []certmedic.CertFacts{{SHA256: "aa"}}}
		if reason != "" {
			a.Chain, a.Error = nil, &certmedic.ProbeError{Reason: reason}
		}
		return certmedic.Observation{Endpoint: certmedic.Endpoint{Address: "x:1"}, Addresses: []certmedic.AddressObservation{a}}
	}
	e.Probed(observation(""))
	e.Probed(observation(""))
	e.Probed(observation(certmedic.Timeout))
	act := func(kind certmedic.OutcomeKind, end time.Time) {
		e.Acted(certmedic.Action{Kind: certmedic.ActionRedeploy, StartedAt: now, EndedAt: end, Outcome: certmedic.Outcome{Kind: kind}})
	}
	act(certmedic.OutcomeRunning, time.Time{}) // has not ended
	act(certmedic.OutcomeHealed, now.Add(2*time.Second))
	act(certmedic.OutcomeRefused, now.Add(time.Hour)) // did nothing
	e.Refused(guard.Frozen)
	e.RuleFailed("mine")
	e.Told("ops", "sent")
	e.Reloaded(true)
	text := written(t, e, now)
	families := parse(t, text)
	for _, row := range []struct {
		name, labels string
		want         float64
	}{
		{"certmedic_probes_total", "outcome=success", 2},
		{"certmedic_probes_total", "outcome=timeout", 1},
		{"certmedic_actions_total", "outcome=healed", 1},
		{"certmedic_actions_total", "outcome=refused", 1},
		{"certmedic_refusals_total", "reason=frozen", 1},
		{"certmedic_refusals_total", "reason=backoff", 0},
		{"certmedic_action_last_timestamp_seconds", "action=redeploy", float64(now.Add(2*time.Second).UnixMilli()) / 1000},
		{"certmedic_rule_evaluation_failures_total", "rule=mine", 1},
		{"certmedic_notifications_total", "receiver=ops", 1},
	} {
		labels := strings.Fields(row.labels)
		if row.name == "certmedic_actions_total" {
			labels = append(labels, "action=redeploy")
		}
		if got, ok := find(families, row.name, labels...); !ok || got != row.want {
			t.Errorf("%s%q is %v (there: %v), want %v", row.name, labels, got, ok, row.want)
		}
	}
	if got, _ := find(families, "certmedic_config_last_reload_successful"); got != 1 {
		t.Errorf("the reload is not told: %v", got)
	}
	if h := families["certmedic_action_duration_seconds"][0]; h.count != 1 || h.value != 2 {
		t.Errorf("durations %+v", h)
	}
}

// TestRounds shows that a round is over when every endpoint was probed, also where several
// certificates have the same one.
func TestRounds(t *testing.T) {
	other := healthy("shop")
	other.Name = "again"
	e := exporter(t, healthy("shop"), other, healthy("mail"))
	probe := func(name string, at time.Time) float64 {
		t.Helper()
		e.Probed(certmedic.Observation{Endpoint: certmedic.Endpoint{Address: name + ":443", Protocol: "tls"}, Time: at})
		text := written(t, e, at)
		last, _ := find(parse(t, text), "certmedic_last_round_timestamp_seconds")
		return last
	}
	at := time.Now()
	if got := probe("shop", at) + probe("shop", at); got != 0 {
		t.Errorf("the round ended at %v, although one endpoint was never probed", got)
	}
	if got := probe("mail", at); got != float64(at.UnixMilli())/1000 {
		t.Errorf("the round ended at %v", got)
	}
}

func TestQueueAge(t *testing.T) {
	e := metrics.New("1")
	for _, tt := range []struct {
		oldest      time.Time
		least, most float64
	}{{time.Time{}, 0, 0}, {time.Now().Add(-time.Minute), 60, 120}, {time.Now().Add(time.Hour), 0, 0}} {
		e.Use(source{oldest: tt.oldest})
		text := written(t, e, now)
		if got, ok := find(parse(t, text), "certmedic_notification_queue_oldest_seconds"); !ok || got < tt.least || got > tt.most {
			t.Errorf("oldest %s: %v", tt.oldest, got)
		}
	}
}

func TestHandler(t *testing.T) {
	server := httptest.NewServer(exporter(t, healthy("shop")).Handler())
	defer server.Close()
	answer, err := http.Get(server.URL) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%s %q %v", answer.Status, answer.Header, err)
	}
	parse(t, text)
}

func BenchmarkCertificates(b *testing.B) {
	views := make([]watchdog.View, 10_000)
	for i := range views {
		views[i] = healthy(fmt.Sprintf("certificate-%d.example.com", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := metrics.Certificates(io.Discard, views, now); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReceivers(t *testing.T) {
	e := metrics.New("1")
	e.Use(source{states: []alerting.State{{Receiver: "ops"}, {Receiver: "mail", Failing: true, Oldest: now.Add(-time.Minute)}}})
	families := parse(t, written(t, e, now))
	for _, row := range []struct {
		name, labels string
		want         float64
	}{
		{"certmedic_receiver_failing", "receiver=ops", 0},
		{"certmedic_receiver_failing", "receiver=mail", 1},
		{"certmedic_receiver_queue_oldest_seconds", "receiver=ops", 0},
		{"certmedic_receiver_queue_oldest_seconds", "receiver=mail", 60},
	} {
		if got, ok := find(families, row.name, row.labels); !ok || got != row.want {
			t.Errorf("%s{%s} is %v, want %v", row.name, row.labels, got, row.want)
		}
	}
}
