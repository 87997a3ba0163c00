package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/api"
)

// The bounds of drills.
const (
	shortestDrill = time.Second
	longestDrill  = time.Hour
	drillPatience = 30 * time.Second // for every receiver to take the beginning, and again the end
	keepDrills    = 100
)

// drills are the drills of this process. What receivers know of one is kept as of every
// incident; after a restart nothing says that it still fires, so that it is ended then. Its methods
// may be called by any goroutine.
type drills struct {
	alerter func() *alerting.Alerter // the present one
	over    func(api.Drill)          // told when one has ended; nil: nobody is

	mu    sync.Mutex
	all   map[string]*drill
	order []string
	wg    sync.WaitGroup
}

// drill is one of them. The mutex of drills guards what it came to.
type drill struct {
	api.Drill
	event alerting.Event
	by    map[string]*api.DrillReceiver
	moved chan struct{} // holds a token when a receiver took something, or rejected it
	ended chan struct{} // closed when it is to end
	once  sync.Once
}

// start begins a drill, which goes on until its time is over, somebody ends it, or ctx ends.
func (d *drills) start(ctx context.Context, r api.DrillRequest, about alerting.Facts) (api.Drill, error) {
	now := time.Now()
	one, err := newDrill(r, about, now)
	if err != nil {
		return api.Drill{}, err
	}
	a := d.alerter()
	for _, name := range a.Hearers(one.event) {
		to := &api.DrillReceiver{Receiver: name}
		if one.by[name] = to; a.Quiet(name, one.event, now) {
			to.Error = "it is kept quiet now, by a silence or by the hours of its routes"
		}
	}
	if len(one.by) == 0 {
		return api.Drill{}, fmt.Errorf("no route tells anybody of %s of severity %s", one.event.Incident.Subject, r.Severity)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(one)
	d.wg.Go(func() { d.run(ctx, one) })
	return one.view(), nil
}

func newDrill(r api.DrillRequest, about alerting.Facts, now time.Time) (*drill, error) {
	switch {
	case r.For < shortestDrill || r.For > longestDrill:
		return nil, fmt.Errorf("a drill lasts between %s and %s", shortestDrill, longestDrill)
	case !slices.Contains([]certmedic.Severity{certmedic.SeverityInfo, certmedic.SeverityWarning, certmedic.SeverityCritical}, r.Severity):
		return nil, fmt.Errorf("the severity is info, warning or critical, not %q", r.Severity)
	}
	in := exercise("drill", about.Name, r.Severity, now)
	in.Summary = "this is a drill: nothing is wrong with " + in.Subject.String()
	in.Reason = "asked for by " + r.By
	in.NextStep = "it ends by itself at " + now.Add(r.For).UTC().Format(time.RFC3339)
	return &drill{
		Drill: api.Drill{ID: in.ID, Certificate: about.Name, Severity: r.Severity, DedupKey: in.DedupKey, StartedAt: now, EndsAt: now.Add(r.For)},
		event: alerting.Event{Kind: alerting.KindFiring, Severity: r.Severity, Incident: in, Certificate: about, Drill: true, Step: certmedic.Step{Do: certmedic.StepNotify}},
		by:    map[string]*api.DrillReceiver{}, moved: make(chan struct{}, 1), ended: make(chan struct{}),
	}, nil
}

// add keeps a drill, and forgets the oldest that is over.
func (d *drills) add(one *drill) {
	if d.all == nil {
		d.all = map[string]*drill{}
	}
	d.all[one.ID] = one
	d.order = append(d.order, one.ID)
	if len(d.order) > keepDrills && d.all[d.order[0]].Done {
		delete(d.all, d.order[0])
		d.order = d.order[1:]
	}
}

// run has receivers told the beginning, a step, and the end, which comes whatever happens.
func (d *drills) run(ctx context.Context, one *drill) {
	half := one.StartedAt.Add(one.EndsAt.Sub(one.StartedAt) / 2)
	d.tell(one, alerting.KindFiring)
	d.await(ctx, one, func(r api.DrillReceiver) bool { return !r.Began.IsZero() })
	if one.sleep(ctx, half) {
		d.tell(one, alerting.KindUpdate)
		one.sleep(ctx, one.EndsAt)
	}
	for { // once more where a new configuration may have missed it
		to := d.alerter()
		d.tell(one, alerting.KindResolved)
		if d.await(ctx, one, func(r api.DrillReceiver) bool { return !r.Ended.IsZero() }) || to == d.alerter() {
			break
		}
	}
	if result := d.finish(one); d.over != nil {
		d.over(result)
	}
}

// finish says of those who have not taken all of a drill that they did not, and marks it as done.
func (d *drills) finish(one *drill) api.Drill {
	d.mu.Lock()
	defer d.mu.Unlock()
	one.Done = true
	for name, r := range one.by {
		if r.Error == "" && (r.Began.IsZero() || r.Ended.IsZero()) {
			r.Error = "it has not taken all of it within " + drillPatience.String() + d.whyLocked(name)
		}
	}
	return one.view()
}

// whyLocked says what the last attempt of a receiver came to, where that failed.
func (d *drills) whyLocked(name string) string {
	for _, s := range d.alerter().States() {
		if s.Receiver == name && s.Why != "" {
			return ": " + s.Why
		}
	}
	return ""
}

// tell hands the next event of the drill over.
func (d *drills) tell(one *drill, kind alerting.Kind) {
	d.mu.Lock()
	now := time.Now()
	one.Phase, one.event.Kind, one.event.Time = kind, kind, now
	switch kind {
	case alerting.KindUpdate:
		one.event.Step.After = now.Sub(one.StartedAt)
	case alerting.KindResolved:
		one.event.Step = certmedic.Step{}
		one.event.Incident.State, one.event.Incident.EndedAt, one.event.Incident.NextStep = certmedic.StateResolved, now, ""
	}
	e := one.event
	d.mu.Unlock()
	d.alerter().Tell(e)
}

// await waits until every receiver has taken something, or will not, as long as patience lasts. It
// reports whether that is so.
func (d *drills) await(ctx context.Context, one *drill, took func(api.DrillReceiver) bool) bool {
	patience := time.NewTimer(drillPatience)
	defer patience.Stop()
	for {
		d.mu.Lock()
		waits := slices.ContainsFunc(slices.Collect(maps.Values(one.by)), func(r *api.DrillReceiver) bool {
			return r.Error == "" && !r.Instead && !took(*r)
		})
		d.mu.Unlock()
		if !waits {
			return true
		}
		select {
		case <-one.moved:
		case <-patience.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// sleep waits until a time, and reports false where the drill is to end before.
func (one *drill) sleep(ctx context.Context, until time.Time) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-one.ended:
	case <-ctx.Done():
	}
	return false
}

// settled notes what became of an event, if it is one of a drill.
func (d *drills) settled(receiver string, e alerting.Event, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.all[e.Incident.ID]
	if one == nil || !e.Drill {
		return
	}
	to := one.by[receiver]
	if to == nil {
		to = &api.DrillReceiver{Receiver: receiver, Instead: true}
		one.by[receiver] = to
	}
	switch {
	case err != nil:
		to.Error = err.Error()
	case e.Kind == alerting.KindResolved:
		to.Ended = time.Now()
	case to.Began.IsZero():
		to.Began = time.Now()
	}
	select {
	case one.moved <- struct{}{}:
	default:
	}
}

// open returns the drills that fire, which a new configuration is not to end.
func (d *drills) open() []alerting.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	var open []alerting.Event
	for _, id := range d.order {
		if one := d.all[id]; one.Phase == alerting.KindFiring || one.Phase == alerting.KindUpdate {
			open = append(open, one.event)
		}
	}
	return open
}

// errNoDrill says that there is no drill of an ID.
var errNoDrill = errors.New("there is no such drill")

func (d *drills) find(id string) (api.Drill, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if one := d.all[id]; one != nil {
		return one.view(), nil
	}
	return api.Drill{}, errNoDrill
}

// end ends a drill before its time.
func (d *drills) end(id string) (api.Drill, error) {
	d.mu.Lock()
	one := d.all[id]
	d.mu.Unlock()
	if one == nil {
		return api.Drill{}, errNoDrill
	}
	one.once.Do(func() { close(one.ended) })
	return d.find(id)
}

// view is what is said of a drill.
func (one *drill) view() api.Drill {
	v := one.Drill
	v.Receivers = []api.DrillReceiver{}
	for _, name := range slices.Sorted(maps.Keys(one.by)) {
		v.Receivers = append(v.Receivers, *one.by[name])
	}
	return v
}

// StartDrill begins a drill, which goes on by itself.
func (a *App) StartDrill(r api.DrillRequest) (api.Drill, error) {
	g := a.generation()
	about, err := g.drilled(r.Certificate)
	if err != nil {
		return api.Drill{}, err
	}
	a.o.Log.Info("a drill begins", "certificate", r.Certificate, "severity", r.Severity, "by", r.By)
	return a.drills.start(g.parent, r, about)
}

// drilled returns what a drill is about.
func (g *generation) drilled(certificate string) (alerting.Facts, error) {
	if certificate == "" {
		return alerting.Facts{}, nil
	}
	about, known := g.factsOf(certificate)
	if !known {
		return about, fmt.Errorf("there is no certificate %q", certificate)
	}
	return about, nil
}

// Drill says how a drill goes.
func (a *App) Drill(id string) (api.Drill, error) { return a.drills.find(id) }

// EndDrill ends a drill before its time.
func (a *App) EndDrill(id string) (api.Drill, error) { return a.drills.end(id) }

// Drill carries out a drill to its end, or, where ctx ends, to an earlier one. What else waits in the
// outbox is delivered on the way, as the daemon would. say hears how it goes.
func (o *Offline) Drill(ctx context.Context, r api.DrillRequest, say func(api.Drill)) error {
	about, err := o.g.drilled(r.Certificate)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ran := make(chan error, 1)
	go func() { ran <- o.g.alerter.Run(running) }()
	d, err := o.app.drills.start(running, r, about)
	if err == nil {
		over := context.AfterFunc(ctx, func() { _, _ = o.app.drills.end(d.ID) }) // it is there: it was just begun
		defer over()
		o.follow(d, say)
	}
	stop()
	return errors.Join(err, <-ran)
}

// followEvery is how often it is looked how a drill goes.
const followEvery = 100 * time.Millisecond

func (o *Offline) follow(d api.Drill, say func(api.Drill)) {
	for say(d); !d.Done; say(d) {
		time.Sleep(followEvery)
		d, _ = o.app.drills.find(d.ID) // it is kept while it goes on
	}
}
