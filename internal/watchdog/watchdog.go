// Package watchdog is the loop that joins the verbs: it takes what probes and the disk
// report, keeps the present picture of every certificate, has the rules judge it at once,
// and hands what they say to those who tell and those who mend.
//
// The app builds one watchdog per configuration and runs it; the metrics, the web page and
// the commands read its [View]s. It promises that every event that says something new is
// judged when it arrives, that what the rules remember is on disk before anybody is told of
// it, and that nothing is concluded from an observation that is older than the change it is
// compared with.
package watchdog

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
)

// State is what the watchdog keeps over a restart.
type State interface {
	SaveRules(byCertificate map[string]rules.State) error
	SaveMemory(byCertificate map[string]store.Memory) error
	SaveIncident(in certmedic.Incident) error
}

// Options are what a [Watchdog] needs. Every field is required but Interval, Partial, Self,
// Waits, Denied, Proven, Loans, Repaid, Diagnose, Nodes and Addresses.
type Options struct {
	Certificates []certmedic.Certificate
	Engine       *rules.Engine
	State        State
	Rules        map[string]rules.State  // as kept
	Memory       map[string]store.Memory // as kept
	Renewals     map[string]store.Renewal
	Loans        map[string]rollback.Loan // the rollbacks that stand
	Actions      []certmedic.Action       // as journaled, newest first
	Rehearsals   []certmedic.Action       // as kept, newest first

	Reader     disk.Reader
	Probe      func(ctx context.Context, e certmedic.Endpoint) certmedic.Observation
	ProbeNow   func(keys ...string) // asks the scheduler for a probe at once
	Roots      []inspect.Roots
	Warn, Crit inspect.Threshold

	Interval time.Duration // in which every endpoint is observed, its time to answer included; 0: what was observed never gets old
	Partial  bool          // discovery could not see everything that there is
	Self     func() Self   // how certmedic itself is; nil: no rule about the fleet is asked

	Waits    func(now time.Time, certificate string) (approval.Approval, bool) // the plan for a certificate that waits for a person; nil: nobody is asked
	Denied   func(spki certmedic.Fingerprint) bool                             // whether a key is on the deny list; nil: no list is known
	Proven   func(Proven)                                                      // takes versions that were seen served everywhere with nothing wrong; nil: nobody does
	Diagnose func(certificate string, ask Ask)                                 // has a certificate diagnosed, for [Watchdog.Diagnosed], and returns at once; nil: nobody does
	Repaid   func(certificate string)                                          // takes the certificates whose loan can end, more than once; nil: nobody does

	Nodes     func(certificate string) []certmedic.NodeStatus // what was done on its nodes last, as far as is known now; nil: nothing is
	Addresses func(node string) []netip.Addr                  // where a node is, beside what the configuration says, as far as is known now; nil: nothing is

	Want  func(certificate string, wants []remediate.Want)
	Nudge func(certificate string)
	Tell  func(News)
	Count Counters
	Log   *slog.Logger
}

// Counters are told what happened, for the metrics.
type Counters interface {
	Probed(o certmedic.Observation)
	RuleFailed(rule string)
	Detected(after time.Duration) // a drift was found, this long after the version was stored
	Healed(after time.Duration)   // an incident of drift ended, this long after it fired
}

// NewsKind says what happened.
type NewsKind string

// The kinds of news.
const (
	NewsIncident NewsKind = "incident" // a transition of an incident
	NewsRenewed  NewsKind = "renewed"  // a source holds a new version
	NewsDeployed NewsKind = "deployed" // the newest version is served everywhere

	NewsRolledBack NewsKind = "rolled_back" // an earlier version is served again
)

// News is something that people may be told.
type News struct {
	Kind        NewsKind
	Time        time.Time
	Certificate certmedic.Certificate
	Transition  certmedic.Transition // of NewsIncident
	Leaf        certmedic.CertFacts  // what the news is about: the leaf that is served, else the stored one
	Names       []string
	Stage       certmedic.Stage // how far the newest version has come
}

// Watchdog joins the verbs. Its methods may be called from any goroutine.
type Watchdog struct {
	o Options

	mu      sync.Mutex
	ctx     context.Context // of Start; before it nothing is judged
	entries map[string]*entry
	order   []string
	polling map[string]*time.Timer // by certbot tree whose locks are held
	unsaved map[string]bool        // certificates whose memory changed since [Watchdog.saveWatched]
	fleet   fleet
	gone    map[string]rules.State // by certificates that are not watched any more
	moved   chan struct{}          // holds one token when what rules cannot be asked changed
	readers sync.WaitGroup
}

// key names an endpoint of a certificate for the scheduler.
func key(certificate, endpoint string) string { return certificate + "\x00" + endpoint }

// Endpoints returns every endpoint by the key under which [Watchdog.Observed] takes its
// observations.
func (w *Watchdog) Endpoints() map[string]certmedic.Endpoint {
	all := map[string]certmedic.Endpoint{}
	for _, e := range w.entries {
		maps.Copy(all, e.endpoints())
	}
	return all
}

// Sources lists what is to be watched on disk for [Watchdog.Changed]: each certificate's
// source by its name, and each installed copy by the name, "|" and its path.
func Sources(certificates []certmedic.Certificate) map[string]certmedic.Source {
	all := map[string]certmedic.Source{}
	for _, c := range certificates {
		if c.Source.Kind == certmedic.SourceNone {
			continue
		}
		all[c.Name] = c.Source
		for f := range Copies(c) {
			all[c.Name+"|"+f.To] = certmedic.Source{Kind: certmedic.SourceFiles, Cert: f.To, PassphraseFile: f.PassphraseFile}
		}
	}
	return all
}

// New returns a watchdog that knows what was kept and has seen nothing yet.
func New(o Options) *Watchdog {
	w := &Watchdog{
		o: o, entries: map[string]*entry{}, polling: map[string]*time.Timer{}, unsaved: map[string]bool{}, moved: make(chan struct{}, 1),
	}
	nothing := &certmedic.Stored{} // one for all whose sources are not read yet, or who have none
	for i := range o.Certificates {
		c := &o.Certificates[i]
		e := newEntry(c, o.Memory[c.Name], rules.Thaw(o.Rules[c.Name]))
		e.stored, e.interval, e.denied, e.waits = nothing, o.Interval, o.Denied, o.Waits
		if kept, ok := o.Renewals[c.Name]; ok {
			e.window(kept.Version, kept.Window)
		}
		if l, ok := o.Loans[c.Name]; ok {
			e.loan = &l
		}
		for _, a := range slices.Backward(o.Actions) {
			if a.Certificate == c.Name {
				e.acted(a)
			}
		}
		for _, a := range slices.Backward(o.Rehearsals) {
			if a.Certificate == c.Name {
				e.rehearsed(a)
			}
		}
		w.entries[c.Name] = e
		w.order = append(w.order, c.Name)
	}
	w.fleet.state = rules.Thaw(o.Rules[fleetKey])
	w.gone = maps.Clone(o.Rules)
	maps.DeleteFunc(w.gone, func(name string, _ rules.State) bool { return name == fleetKey || w.entries[name] != nil })
	return w
}

// judgeEvery is how often a certificate is judged when nothing happens: time itself
// changes facts.
const judgeEvery = 15 * time.Second

// saveEvery is how often is kept what has to be remembered about what is only watched, and
// saveTimersEvery how far timers of incidents have come.
const (
	saveEvery       = time.Second
	saveTimersEvery = 10 * time.Second
)

// Start makes the watchdog judge what it is told from now on, until ctx ends. It comes before
// anything that tells it something; Run follows.
func (w *Watchdog) Start(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = ctx
}

// Run judges what nothing happens to, until the context of Start ends.
func (w *Watchdog) Run(ctx context.Context) error {
	defer w.readers.Wait()
	defer w.stop()
	tick, save, timers := time.NewTicker(judgeEvery), time.NewTicker(saveEvery), time.NewTicker(saveTimersEvery)
	defer tick.Stop()
	defer save.Stop()
	defer timers.Stop()
	defer w.saveWatched()
	defer w.saveTimers()
	w.endGone(time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.judgeIdle(time.Now())
			w.judgeFleet(time.Now())
		case <-save.C:
			w.saveWatched()
		case <-timers.C:
			w.saveTimers()
		case <-w.moved:
			w.judgeFleet(time.Now())
		}
	}
}

// stop ends every timer.
func (w *Watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		if e.timer != nil {
			e.timer.Stop()
		}
	}
	for _, t := range w.polling {
		t.Stop()
	}
}

// judgeIdle judges the certificates that nothing happened to for a while.
func (w *Watchdog) judgeIdle(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.order {
		if e := w.entries[name]; now.Sub(e.judged) >= judgeEvery {
			w.judgeLocked(e, now)
		}
	}
}

// judgeLocked has the rules judge one certificate, keeps what they remember, and hands on
// what they say.
func (w *Watchdog) judgeLocked(e *entry, now time.Time) {
	if w.ctx == nil || w.ctx.Err() != nil {
		return
	}
	e.judged = now
	w.turnLocked(e, now)
	w.rejudgeLocked(e, now)
	facts := e.facts(now)
	w.nodesFacts(e, &facts.Certificate)
	result := w.o.Engine.Evaluate(now, facts, e.state)
	e.errors = w.failedLocked(e.cert.Name, e.errors, result.Errors)
	e.state = result.State
	e.calm = len(e.state.Instances) == 0 && len(result.Errors) == 0 && result.Next.IsZero()
	if len(result.Transitions) > 0 {
		w.saveRules(map[string]rules.State{e.cert.Name: e.state})
	}
	for _, t := range result.Transitions {
		w.announceLocked(e, t)
	}
	if e.cert.Mode != certmedic.ModeObserve {
		stored, _ := e.stored.Leaf()
		w.o.Want(e.cert.Name, wants(e.state, stored.SHA256))
	}
	w.askLocked(e)
	w.proveLocked(e, now)
	w.repayLocked(e, now)
	w.wakeLocked(e, now, result.Next)
}

// wakeLocked arranges for the certificate to be looked at again when a timer of the rules
// runs out. With endpoints it asks for a fresh probe then, whose result is judged; nothing
// is concluded from an old one.
func (w *Watchdog) wakeLocked(e *entry, now, next time.Time) {
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	if next.IsZero() {
		return
	}
	e.timer = time.AfterFunc(max(0, next.Sub(now)), func() { w.due(e.cert.Name) })
}

func (w *Watchdog) due(certificate string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok || w.ctx == nil || w.ctx.Err() != nil {
		return
	}
	if len(e.cert.Endpoints) == 0 {
		w.judgeLocked(e, time.Now())
		return
	}
	w.o.ProbeNow(e.keys()...)
}

// announceLocked hands on one transition.
func (w *Watchdog) announceLocked(e *entry, t certmedic.Transition) {
	in := t.Incident
	w.logLocked(t)
	drift := in.Rule == "renewed-not-served"
	switch t.Kind {
	case certmedic.TransitionFiring:
		if drift {
			w.o.Count.Detected(t.Time.Sub(e.changed))
		}
	case certmedic.TransitionResolved:
		if drift {
			w.o.Count.Healed(t.Time.Sub(in.FiringAt))
		}
		w.endedLocked(in)
	}
	w.o.Tell(News{Kind: NewsIncident, Time: t.Time, Certificate: *e.cert, Transition: t, Leaf: e.leafOfInterest(), Names: e.stored.Names, Stage: e.stage()})
}

func (w *Watchdog) logLocked(t certmedic.Transition) {
	in := t.Incident
	w.o.Log.Info("incident", "kind", t.Kind, "rule", in.Rule, "subject", in.Subject.String(), "severity", in.Severity, "step", t.Step.Do, "reason", in.Reason)
}

// endedLocked keeps an incident that has ended.
func (w *Watchdog) endedLocked(in certmedic.Incident) {
	if err := w.o.State.SaveIncident(in); err != nil {
		w.o.Log.Error("keeping an incident", "incident", in.ID, "err", err)
	}
}

// failedLocked counts the rules that could not be asked about a certificate, says in the log
// which are new, has the fleet judged when there are others than before, and returns them.
func (w *Watchdog) failedLocked(certificate string, before map[string]string, now []rules.RuleError) map[string]string {
	var failed map[string]string
	for _, re := range now {
		w.o.Count.RuleFailed(re.Rule)
		if _, again := failed[re.Rule]; again {
			continue // about another subject
		}
		put(&failed, re.Rule, re.Err.Error())
		if _, known := before[re.Rule]; !known {
			w.o.Log.Warn("a rule cannot be asked", "rule", re.Rule, "certificate", certificate, "err", re.Err)
		}
	}
	if !maps.EqualFunc(failed, before, func(_, _ string) bool { return true }) {
		select {
		case w.moved <- struct{}{}:
		default:
		}
	}
	return failed
}

// wants lists the actions of the rungs that the firing incidents have climbed, which were
// judged for a stored version.
func wants(state rules.State, stored certmedic.Fingerprint) []remediate.Want {
	var all []remediate.Want
	for _, in := range state.Instances {
		if in.State != certmedic.StateFiring || !in.ClearedAt.IsZero() {
			continue
		}
		for _, step := range in.Climbed {
			if step != certmedic.StepNotify {
				all = append(all, remediate.Want{Kind: certmedic.ActionKind(step), Rule: in.Rule, Why: in.Summary, Version: stored})
			}
		}
	}
	return all
}
