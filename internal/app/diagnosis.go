package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/internal/diagnose/gather"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/acmelog"
)

// The pace of diagnoses.
const (
	diagnosisTimeout = 5 * time.Second
	diagnosisApart   = time.Second      // of one certificate, however fast it changes
	diagnosisAgain   = time.Minute      // about the same; then after two, four, and so on
	diagnosisSeldom  = 10 * time.Minute // and at last so often
	diagnosisHistory = 20               // actions that a diagnosis knows of
	maxLeftBehind    = 3                // diagnoses that did not end in time and still look
)

// diagnostician finds out why certificates got stuck, one after the other, and rests as long as it
// looked: those of which something changed come before those that are only looked at again. A
// diagnosis that hangs or breaks is a line in the log.
type diagnostician struct {
	Look func(ctx context.Context, certificate string) func() certmedic.Diagnosis // prepares a diagnosis; what it returns may hang
	Told func(certificate string, d certmedic.Diagnosis)
	Log  *slog.Logger

	kick  chan struct{}
	slots chan struct{} // holds a token for each diagnosis that looks

	mu       sync.Mutex
	patients map[string]*patient // by certificate
}

// patient is a certificate that is to be diagnosed, or was.
type patient struct {
	ask   watchdog.Ask    // the zero one: there is nothing to find out
	about string          // of the last diagnosis
	times int             // how often it was made about the same
	last  time.Time       // when; zero: never
	cause certmedic.Cause // that it named
}

func newDiagnostician(look func(context.Context, string) func() certmedic.Diagnosis, told func(string, certmedic.Diagnosis), log *slog.Logger) *diagnostician {
	return &diagnostician{
		Look: look, Told: told, Log: log, patients: map[string]*patient{},
		kick: make(chan struct{}, 1), slots: make(chan struct{}, maxLeftBehind+1),
	}
}

// Ask has a certificate diagnosed, in place of what was asked about it before. It returns at once.
func (d *diagnostician) Ask(certificate string, ask watchdog.Ask) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.patients[certificate] == nil {
		d.patients[certificate] = &patient{}
	}
	d.patients[certificate].ask = ask
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// Run diagnoses until ctx ends. It leaves a diagnosis behind that does not end then: that holds
// nothing of the daemon's, and is heard by nobody.
func (d *diagnostician) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.kick:
		case <-timer.C:
		}
		name, wait := d.next(time.Now())
		if name == "" {
			timer.Reset(wait)
			continue
		}
		began := time.Now()
		d.diagnose(ctx, name)
		select {
		case <-ctx.Done():
		case <-time.After(time.Since(began)):
		}
		timer.Reset(0)
	}
}

// next takes the certificate that is due, what changed first and then what has waited longest;
// else it returns how long nothing is.
func (d *diagnostician) next(now time.Time) (name string, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait = diagnosisSeldom
	var best *patient
	for n, p := range d.patients {
		due := p.due()
		switch {
		case p.ask == (watchdog.Ask{}) && now.Sub(p.last) > diagnosisApart:
			delete(d.patients, n)
		case p.ask == (watchdog.Ask{}):
		case due.After(now) && due.Sub(now) <= diagnosisSeldom: // later ones come of a clock that was set back
			wait = min(wait, due.Sub(now))
		case best == nil || p.before(best):
			name, best = n, p
		}
	}
	if best != nil {
		best.take(now)
	}
	return name, wait
}

// fresh reports whether something is asked that was not answered.
func (p *patient) fresh() bool { return p.last.IsZero() || p.about != p.ask.About }

func (p *patient) due() time.Time {
	switch {
	case p.last.IsZero():
		return p.ask.From
	case p.fresh():
		return later(p.ask.From, p.last.Add(diagnosisApart))
	default:
		return p.last.Add(min(diagnosisSeldom, diagnosisAgain<<min(p.times, 4)))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// before reports whether a certificate comes before another one that is due too.
func (p *patient) before(other *patient) bool {
	if p.fresh() != other.fresh() {
		return p.fresh()
	}
	return p.due().Before(other.due())
}

// take notes that the diagnosis is made now.
func (p *patient) take(now time.Time) {
	p.times++
	if p.fresh() {
		p.times = 0
	}
	p.about, p.last = p.ask.About, now
}

// diagnose makes one diagnosis, and does not wait for it longer than it may take.
func (d *diagnostician) diagnose(ctx context.Context, certificate string) {
	select {
	case d.slots <- struct{}{}:
	default:
		d.Log.Warn("a certificate is not diagnosed: earlier diagnoses have not ended", "certificate", certificate, "earlier", cap(d.slots))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	look, found := d.Look(ctx, certificate), make(chan certmedic.Diagnosis, 1)
	go func() {
		defer func() { <-d.slots }()
		defer close(found)
		defer d.survive(certificate)
		found <- look()
	}()
	select {
	case diagnosis, ok := <-found:
		if ok {
			d.found(certificate, diagnosis)
		}
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			d.Log.Warn("a diagnosis has no result", "certificate", certificate, "after", diagnosisTimeout)
		}
	}
}

// found hands on what was found, and says in the log what is new.
func (d *diagnostician) found(certificate string, diagnosis certmedic.Diagnosis) {
	d.mu.Lock()
	p := d.patients[certificate]
	again := p != nil && p.cause == diagnosis.Cause
	if p != nil {
		p.cause = diagnosis.Cause
	}
	d.mu.Unlock()
	if !again {
		d.Log.Info("diagnosed", "certificate", certificate, "cause", diagnosis.Cause, "summary", diagnosis.Summary)
	}
	d.Told(certificate, diagnosis)
}

// survive makes of a panic a line in the log: nothing that a host holds may end the watching.
func (d *diagnostician) survive(certificate string) {
	if p := recover(); p != nil {
		d.Log.Error("a diagnosis broke off", "certificate", certificate, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

// diagnostician makes what diagnoses the certificates of a generation. It looks at this host
// alone: what endpoints present the watchdog has seen, and nobody else is asked.
func (a *App) diagnostician(g *generation) *diagnostician {
	means := gather.Means{
		Reader: disk.Reader{Keys: &a.keys}, Logs: &acmelog.Reader{}, Mains: mains(a.discoverOptions(g.config, nil)),
	}
	look := func(ctx context.Context, name string) func() certmedic.Diagnosis {
		q := gather.Question{Subject: name, Observations: g.watchdog.Observations(name)}
		if i := slices.IndexFunc(g.certificates, func(c certmedic.Certificate) bool { return c.Name == name }); i >= 0 {
			q.Certificate = g.certificates[i]
		}
		var err error
		if q.Actions, err = history(a.store, name, diagnosisHistory); err != nil {
			q.Journal = err.Error()
		}
		return func() certmedic.Diagnosis {
			c := gather.Gather(ctx, means, q)
			return forPeople(diagnose.Decide(c).Diagnosis, c)
		}
	}
	return newDiagnostician(look, func(name string, d certmedic.Diagnosis) { g.watchdog.Diagnosed(name, d) }, a.o.Log)
}

// forPeople returns a diagnosis as an incident shows it: what logs and hooks hold is marked, and
// what is not certain is said so.
func forPeople(d certmedic.Diagnosis, c diagnose.Case) certmedic.Diagnosis {
	d.Also = nil
	d.Evidence = slices.Clone(d.Evidence)
	places := written(c)
	for i, e := range d.Evidence {
		d.Evidence[i].Output = e.Output || slices.ContainsFunc(places, func(place string) bool { return strings.HasPrefix(e.Source, place) })
	}
	if d.Cause.Named() && d.Confidence < diagnose.Excluded {
		d.Summary = "Probably: " + d.Summary
	}
	return d
}

// written returns how the sources of evidence begin whose lines are not for everybody: clients'
// logs, and hooks, which may hold secrets.
func written(c diagnose.Case) []string {
	var places []string
	for _, run := range c.Runs {
		places = append(places, run.First.File+":")
	}
	for _, h := range c.Hooks {
		places = append(places, h.Source)
		if h.Script.Path != "" {
			places = append(places, h.Script.Path)
		}
	}
	return slices.DeleteFunc(places, func(p string) bool { return p == "" || p == ":" })
}
