package promtool_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/metrics"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/promrules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

// steps is how long a history is.
const steps = 120

// histories returns how many are replayed: a sample, or in full with CERTMEDIC_CHAOS=1.
func histories() uint64 {
	if os.Getenv("CERTMEDIC_CHAOS") == "1" {
		return 60
	}
	return 10
}

// export is the shipped rules, and what became of them.
type export struct {
	rules   []rules.Rule // that have a counterpart
	names   map[string]string
	written string // the file for Prometheus
}

func exported(t *testing.T, interval time.Duration) export {
	t.Helper()
	shipped, err := ruleset.Load(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	e := export{names: map[string]string{}}
	var all []promrules.Translation
	for _, r := range shipped {
		translated := promrules.Translate(r, promrules.Options{Interval: interval})
		if translated.Reason != "" {
			continue
		}
		e.rules, e.names[r.Name] = append(e.rules, r), translated.Alerts[0].Name
		all = append(all, translated)
	}
	var b strings.Builder
	if err := promrules.Write(&b, all); err != nil {
		t.Fatal(err)
	}
	e.written = b.String()
	return e
}

// recording is what Prometheus would have scraped, and what fired here meanwhile.
type recording struct {
	step   time.Duration
	series map[string][]string // the samples of each series, by its name and labels
	fired  []map[string]bool   // at each step, the labels of the alerts that Prometheus shall have
	rules  map[string]bool     // that fired
	asks   string              // what is asked of the series; others are left out
	by     []string            // the labels of alerts that are compared
}

func newRecording(step time.Duration, e export) *recording {
	r := &recording{
		step: step, series: map[string][]string{}, rules: map[string]bool{}, asks: e.written,
		by: []string{"alertname", "certificate", "endpoint"},
	}
	if step <= 10*time.Minute { // with longer ones, both look too seldom to raise the severity at the same step
		r.by = append(r.by, "severity")
	}
	return r
}

// record lives a history: time begins at 0, where promtool begins.
func record(t *testing.T, seed uint64, step time.Duration, e export) *recording {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	engine := rules.New(e.rules)
	lives := make([]*life, 0, 6)
	for i := range 6 {
		lives = append(lives, newLife(rng, i, step, steps*step, engine))
	}
	r := newRecording(step, e)
	for i := range steps {
		now := time.Unix(0, 0).UTC().Add(time.Duration(i) * step)
		var views []watchdog.View
		fired := map[string]bool{}
		for _, l := range lives {
			l.live(now)
			if result := l.sim.Judge(now, nil); len(result.Errors) > 0 {
				t.Fatal(result.Errors)
			}
			views = append(views, l.sim.View())
			for _, in := range l.sim.Open() {
				if in.State == certmedic.StateFiring {
					r.fire(fired, in, l.cert.Watched, e)
				}
			}
		}
		r.fired = append(r.fired, fired)
		var text bytes.Buffer
		if err := metrics.Certificates(&text, views, now); err != nil {
			t.Fatal(err)
		}
		r.take(t, &text, i)
	}
	return r
}

// fire notes what Prometheus shall have: the alert, and the one of the raised severity.
func (r *recording) fire(fired map[string]bool, in certmedic.Incident, watched bool, e export) {
	r.rules[in.Rule] = true
	labels := map[string]string{"alertname": e.names[in.Rule], "certificate": in.Subject.Certificate, "endpoint": in.Subject.Endpoint}
	if watched {
		labels["certificate"], labels["endpoint"] = "", in.Subject.Certificate
	}
	severities := []certmedic.Severity{in.Severity}
	for _, rule := range e.rules {
		if rule.Name == in.Rule {
			severities = append(severities, rule.Severity)
		}
	}
	for _, s := range severities {
		labels["severity"] = string(s)
		fired[r.labels(labels)] = true
	}
}

// labels renders the labels that are compared.
func (r *recording) labels(all map[string]string) string {
	var parts []string
	for _, name := range r.by {
		if all[name] != "" {
			parts = append(parts, name+"="+strconv.Quote(all[name]))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// take takes the samples of what the exporter wrote at a step. A series that is gone is
// stale, as Prometheus marks it.
func (r *recording) take(t *testing.T, text io.Reader, i int) {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, family := range families {
		if !strings.Contains(r.asks, name) {
			continue
		}
		for _, m := range family.GetMetric() {
			metric := model.Metric{model.MetricNameLabel: model.LabelValue(name)}
			for _, l := range m.GetLabel() {
				if l.GetValue() != "" {
					metric[model.LabelName(l.GetName())] = model.LabelValue(l.GetValue())
				}
			}
			key := metric.String()
			samples := r.series[key]
			for len(samples) < i {
				samples = append(samples, "_")
			}
			r.series[key] = append(samples, strconv.FormatFloat(m.GetGauge().GetValue()+m.GetCounter().GetValue(), 'f', -1, 64))
		}
	}
	for key, samples := range r.series {
		if len(samples) == i {
			gone := "_"
			if last := samples[i-1]; last != "_" && last != "stale" {
				gone = "stale"
			}
			r.series[key] = append(samples, gone)
		}
	}
}

// write writes the history as a test of promtool's: at every step, what fires.
func (r *recording) write(t *testing.T, name, ruleFile string) string {
	t.Helper()
	var b strings.Builder
	every := model.Duration(r.step)
	fmt.Fprintf(&b, "rule_files: [%q]\nevaluation_interval: %s\ntests:\n  - interval: %s\n    input_series:\n", ruleFile, every, every)
	for _, key := range slices.Sorted(maps.Keys(r.series)) {
		fmt.Fprintf(&b, "      - {series: %s, values: %q}\n", yamlQuote(key), strings.Join(r.series[key], " "))
	}
	b.WriteString("    promql_expr_test:\n")
	query := "group by (" + strings.Join(r.by, ", ") + ") (ALERTS{alertstate=\"firing\"})"
	for i, fired := range r.fired {
		fmt.Fprintf(&b, "      - expr: %s\n        eval_time: %s\n        exp_samples:\n", yamlQuote(query), model.Duration(time.Duration(i)*r.step))
		for _, labels := range slices.Sorted(maps.Keys(fired)) {
			fmt.Fprintf(&b, "          - {labels: %s, value: 1}\n", yamlQuote(labels))
		}
	}
	path := filepath.Join(t.TempDir(), name+".yml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func yamlQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func ruleFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "certmedic.rules.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// interval is the time between two probes, and two looks at the rules, of a history.
func interval(seed uint64) time.Duration {
	return []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute}[seed%5]
}

// replay has promtool replay a history; the error says what fired otherwise.
func replay(t *testing.T, r *recording, rules string) error {
	t.Helper()
	file := r.write(t, "history", ruleFile(t, rules))
	out, err := exec.Command(promtool(t), "test", "rules", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out[:min(len(out), 3000)])
	}
	return nil
}

// TestSameAlerts replays random histories of certificates in which everything is probed: at
// every step Prometheus's alerts are our incidents.
func TestSameAlerts(t *testing.T) {
	promtool(t)
	var mu sync.Mutex
	fired, alerts := map[string]bool{}, 0
	t.Run("histories", func(t *testing.T) {
		for seed := range histories() {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				e := exported(t, interval(seed))
				r := record(t, seed, interval(seed), e)
				if err := replay(t, r, e.written); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(fired, r.rules)
				for _, at := range r.fired {
					alerts += len(at)
				}
			})
		}
	})
	for _, rule := range exported(t, time.Minute).rules {
		if rule.About != certmedic.AboutFleet && !fired[rule.Name] {
			t.Errorf("rule %q fired in no history", rule.Name)
		}
	}
	t.Logf("%d histories of %d steps, %d alerts at them, of %d rules", histories(), steps, alerts, len(fired))
}

// TestOtherAlertsAreNoticed shows that the replay fails for an export that is wrong.
func TestOtherAlertsAreNoticed(t *testing.T) {
	promtool(t)
	for _, row := range []struct{ about, rule, before, after string }{
		{"a comparison is turned round", "expired", "- time() < 0", "- time() > 0"},
		{"a share is another one", "expiry-imminent", "* 0.1", "* 0.001"},
		{"it waits longer", "unreachable", "for: 2m", "for: 20m"},
		{"a finding is not looked for", "chain-invalid", "untrusted|", ""},
		{"who is left out is all that is taken", "renewed-not-served", "unless", "and"},
	} {
		t.Run(row.about, func(t *testing.T) {
			t.Parallel()
			r, e := firing(t, row.rule)
			start := strings.Index(e.written, "- alert: "+e.names[row.rule]+"\n")
			wrong := e.written[:start] + strings.Replace(e.written[start:], row.before, row.after, 1)
			if wrong == e.written {
				t.Fatalf("%q is not there", row.before)
			}
			if err := replay(t, r, wrong); err == nil {
				t.Error("nobody noticed")
			}
		})
	}
}

// firing returns a history in which a rule fires for a certificate of ours.
func firing(t *testing.T, rule string) (*recording, export) {
	t.Helper()
	for seed := range uint64(100) {
		e := exported(t, interval(seed))
		r := record(t, seed, interval(seed), e)
		for _, at := range r.fired {
			for labels := range at {
				if strings.Contains(labels, e.names[rule]) && strings.Contains(labels, "certificate=") {
					return r, e
				}
			}
		}
	}
	t.Fatalf("rule %q fires in no history", rule)
	return nil, export{}
}
