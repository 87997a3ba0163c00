package metrics

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/rules"
)

// Exporter keeps the metrics of the process, over reloads of the configuration. Its methods
// may be called from any goroutine.
type Exporter struct {
	registry *prometheus.Registry

	probes       *prometheus.CounterVec
	actions      *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	actionLast   *prometheus.GaugeVec
	actionTime   prometheus.Histogram
	detect, heal prometheus.Histogram
	told         *prometheus.CounterVec
	queueOldest  prometheus.GaugeFunc
	ruleFailures *prometheus.CounterVec
	roundTime    prometheus.Gauge
	lastRound    prometheus.Gauge
	reloaded     prometheus.Gauge

	mu      sync.Mutex
	source  Source
	trouble func() (since time.Time, err error) // of writing the state; nil: not known
	cluster func() Cluster                      // nil: there is none
	round   round
	rounded time.Time // when the last round was complete
}

// Source is what the exporter asks at each scrape; the app gives it one for each
// configuration.
type Source interface {
	Views() []watchdog.View
	Rules() []rules.Rule
	Fleet() []certmedic.Incident // the open ones of certmedic itself
	QueueOldest() time.Time      // when the oldest notification that waits was told; zero if none does
	Receivers() []alerting.State
}

// New returns an exporter for this version of certmedic.
func New(version string) *Exporter {
	seconds := []float64{0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 1800, 7200, 86400}
	e := &Exporter{
		registry:     prometheus.NewRegistry(),
		round:        newRound(0), // until there is a source
		probes:       counter("certmedic_probes_total", "Probes of addresses, by how they ended.", "outcome"),
		actions:      counter("certmedic_actions_total", "Actions that ended, by outcome.", "action", "outcome"),
		refusals:     counter("certmedic_refusals_total", "Wishes to act that a guard refused, by reason; one that stands is counted once.", "reason"),
		actionLast:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "certmedic_action_last_timestamp_seconds", Help: "When the last action of a kind ended, in unix seconds."}, []string{"action"}),
		actionTime:   histogram("certmedic_action_duration_seconds", "How long actions took, verification included.", seconds),
		detect:       histogram("certmedic_time_to_detect_seconds", "From when a new version could be served to when it was found that it is not.", seconds),
		heal:         histogram("certmedic_time_to_heal_seconds", "From when drift was found to when the new version was served everywhere.", seconds),
		told:         counter("certmedic_notifications_total", "Notifications, by receiver and outcome.", "receiver", "outcome"),
		ruleFailures: counter("certmedic_rule_evaluation_failures_total", "Evaluations of a rule that ended in an error.", "rule"),
		roundTime:    gauge("certmedic_round_duration_seconds", "How long it took to probe every endpoint once, the last time."),
		lastRound:    gauge("certmedic_last_round_timestamp_seconds", "When every endpoint had been probed once more, in unix seconds."),
		reloaded:     gauge("certmedic_config_last_reload_successful", "1 if the last load of the configuration succeeded."),
	}
	e.queueOldest = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "certmedic_notification_queue_oldest_seconds", Help: "Age of the oldest notification that waits; 0 if none does."}, e.queueAge)
	unwritten := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "certmedic_state_unwritten_seconds", Help: "For how long the state folder could not be written; 0 if it can be."}, e.unwrittenFor)
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "certmedic_build_info", Help: "The version of certmedic.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	e.registry.MustRegister(
		e.probes, e.actions, e.refusals, e.actionLast, e.actionTime, e.detect, e.heal, e.told, e.ruleFailures, e.roundTime, e.lastRound,
		e.reloaded, e.queueOldest, unwritten, build, newClusterCollector(e),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	e.zero()
	return e
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

// zero makes the counters with closed sets of labels start at 0.
func (e *Exporter) zero() {
	for _, outcome := range []certmedic.FindingCode{
		"success", certmedic.Unreachable, certmedic.DNSFailed, certmedic.Timeout, certmedic.StartTLSFailed, certmedic.HandshakeFailed,
	} {
		e.probes.WithLabelValues(string(outcome))
	}
	for _, action := range certmedic.ActionKinds() {
		for _, outcome := range certmedic.OutcomeKinds() {
			e.actions.WithLabelValues(string(action), string(outcome))
		}
	}
	for _, reason := range guard.Reasons() {
		e.refusals.WithLabelValues(string(reason))
	}
}

// Use makes the exporter render another source, after a reload of the configuration.
func (e *Exporter) Use(s Source) {
	endpoints := map[certmedic.EndpointKey]bool{} // several certificates may have one endpoint
	for _, v := range s.Views() {
		for _, ep := range v.Certs.Endpoints {
			endpoints[ep.Key()] = true
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.source = s
	e.round = newRound(len(endpoints))
	for _, r := range s.Rules() {
		e.ruleFailures.WithLabelValues(r.Name)
	}
}

// Reloaded says whether the last load of the configuration succeeded.
func (e *Exporter) Reloaded(ok bool) { e.reloaded.Set(bit(ok)) }

// Probed counts an observation.
func (e *Exporter) Probed(o certmedic.Observation) {
	for _, a := range o.Addresses {
		outcome := "success"
		if a.Error != nil && !a.Reached() {
			outcome = string(a.Error.Reason)
		}
		e.probes.WithLabelValues(outcome).Inc()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if took, complete := e.round.probed(o); complete {
		e.roundTime.Set(took.Seconds())
		e.lastRound.Set(unix(o.Time))
		e.rounded = o.Time
	}
}

// LastRound returns when every endpoint had been probed once more, the zero time before that.
func (e *Exporter) LastRound() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rounded
}

// RuleFailed counts an evaluation that ended in an error.
func (e *Exporter) RuleFailed(rule string) { e.ruleFailures.WithLabelValues(rule).Inc() }

// Detected takes the time from when a new version could be served to the finding that it is
// not.
func (e *Exporter) Detected(after time.Duration) { e.detect.Observe(after.Seconds()) }

// Healed takes the time from that finding to its end.
func (e *Exporter) Healed(after time.Duration) { e.heal.Observe(after.Seconds()) }

// Acted counts an action once it has ended.
func (e *Exporter) Acted(a certmedic.Action) {
	if a.EndedAt.IsZero() {
		return
	}
	e.actions.WithLabelValues(string(a.Kind), string(a.Outcome.Kind)).Inc()
	if a.Outcome.Kind == certmedic.OutcomeRefused || a.Outcome.Kind == certmedic.OutcomePlanned {
		return
	}
	e.actionLast.WithLabelValues(string(a.Kind)).Set(unix(a.EndedAt))
	e.actionTime.Observe(a.EndedAt.Sub(a.StartedAt).Seconds())
}

// Refused counts a refusal that says something new.
func (e *Exporter) Refused(reason guard.Reason) { e.refusals.WithLabelValues(string(reason)).Inc() }

// Receiver makes the counters of a receiver start at 0.
func (e *Exporter) Receiver(name string) {
	for _, outcome := range alerting.Outcomes() {
		e.told.WithLabelValues(name, outcome)
	}
}

// Told counts a notification.
func (e *Exporter) Told(receiver, outcome string) { e.told.WithLabelValues(receiver, outcome).Inc() }

// State names who says since when the state cannot be written, and why.
func (e *Exporter) State(trouble func() (since time.Time, err error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trouble = trouble
}

func (e *Exporter) unwrittenFor() float64 {
	e.mu.Lock()
	trouble := e.trouble
	e.mu.Unlock()
	if trouble == nil {
		return 0
	}
	since, err := trouble()
	if err == nil {
		return 0
	}
	return max(0, time.Since(since).Seconds())
}

func (e *Exporter) queueAge() float64 {
	e.mu.Lock()
	s := e.source
	e.mu.Unlock()
	if s == nil {
		return 0
	}
	oldest := s.QueueOldest()
	if oldest.IsZero() {
		return 0
	}
	return max(0, time.Since(oldest).Seconds())
}

// Write writes all metrics in the text format 0.0.4.
func (e *Exporter) Write(w io.Writer, now time.Time) error {
	gathered, err := e.registry.Gather()
	if err != nil {
		return fmt.Errorf("gathering the metrics of the process: %w", err)
	}
	return e.write(w, gathered, now)
}

// write writes the metrics of the certificates and those of the process.
func (e *Exporter) write(w io.Writer, process []*dto.MetricFamily, now time.Time) error {
	e.mu.Lock()
	s := e.source
	e.mu.Unlock()
	if s != nil {
		views := s.Views()
		if err := errors.Join(Certificates(w, views, now), incidents(w, views, s.Fleet(), s.Rules()), receivers(w, s.Receivers(), now)); err != nil {
			return err
		}
	}
	encoder := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range process {
		if err := encoder.Encode(f); err != nil {
			return fmt.Errorf("rendering %q: %w", f.GetName(), err)
		}
	}
	return nil
}

// Handler serves /metrics.
func (e *Exporter) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		gathered, err := e.registry.Gather()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
		_ = e.write(w, gathered, time.Now()) // the scraper went away: nobody is left to tell
	})
}

// incidents writes the open incidents by rule, severity and state, with zeros for every
// rule's own severity.
func incidents(w io.Writer, views []watchdog.View, fleet []certmedic.Incident, all []rules.Rule) error {
	type kind struct {
		rule     string
		severity certmedic.Severity
		state    certmedic.IncidentState
	}
	counts := map[kind]float64{}
	var order []kind
	count := func(k kind, n float64) {
		if _, ok := counts[k]; !ok {
			order = append(order, k)
		}
		counts[k] += n
	}
	for _, r := range all {
		count(kind{r.Name, r.Severity, certmedic.StatePending}, 0)
		count(kind{r.Name, r.Severity, certmedic.StateFiring}, 0)
	}
	for _, in := range fleet {
		count(kind{in.Rule, in.Severity, in.State}, 1)
	}
	for _, v := range views {
		for _, in := range v.Incidents {
			count(kind{in.Rule, in.Severity, in.State}, 1)
		}
	}
	fs := families{}
	f := fs.gauge("certmedic_incidents", "Open incidents.")
	for _, k := range order {
		f.add(counts[k], "", label{"rule", k.rule}, label{"severity", string(k.severity)}, label{"state", string(k.state)})
	}
	return fs.write(w)
}

// round follows when every endpoint was probed once.
type round struct {
	endpoints int
	began     time.Time
	done      map[certmedic.EndpointKey]bool
}

func newRound(endpoints int) round {
	return round{endpoints: endpoints, began: time.Now(), done: map[certmedic.EndpointKey]bool{}}
}

// probed notes a probe, and reports how long the round took when it is complete.
func (r *round) probed(o certmedic.Observation) (took time.Duration, complete bool) {
	r.done[o.Endpoint.Key()] = true
	if len(r.done) < r.endpoints {
		return 0, false
	}
	took = o.Time.Sub(r.began)
	*r = newRound(r.endpoints)
	return took, true
}

var _ watchdog.Counters = (*Exporter)(nil)
