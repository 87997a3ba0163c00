package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/blackbox"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/prober"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/ari"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/rules"
)

// generation is everything that runs by one configuration and watches one set of things.
type generation struct {
	*prepared
	config       *config.Config
	senses       *prober.Prober
	ca           *ari.Client
	prober       *blackbox.Handler
	certificates []certmedic.Certificate

	watchdog   *watchdog.Watchdog
	scheduler  *probe.Scheduler
	watcher    *disk.Watcher
	remediator *remediate.Remediator
	advisor    *advisor
	accountant *accountant
	chronicler *chronicler
	doctor     *diagnostician
	keeper     *keeper
	sharing    *sharing
	rehearser  *rehearser
	census     *census
	alerter    *alerting.Alerter
	unmute     func(context.Context) error
	hear       func(context.Context) error // what people say elsewhere
	words      func(context.Context) error // what they say to other members
	leads      func(certificate string) certmedic.Lead
	mine       func() func(certmedic.Certificate) bool // says what of everything is watched
	log        *slog.Logger

	followLoans func(context.Context) error // nil on a single host

	parent  context.Context
	cancel  context.CancelFunc
	running atomic.Bool
	wg      sync.WaitGroup
	targets string     // the state of the files with targets a second ago
	mu      sync.Mutex // guards the following
	errs    []error
	seen    sight
}

// successor returns a generation of the same configuration that watches something else. It
// reads no file again and keeps what probes remember: only a reload takes changes of the
// configuration and of the files that it names.
func (g *generation) successor(s sight) *generation {
	next := &generation{prepared: g.prepared, config: g.config, senses: g.senses, ca: g.ca, prober: g.prober, log: g.log, mine: g.mine}
	next.watch(s)
	return next
}

// watch says what the generation watches: what is configured and what discovery saw.
func (g *generation) watch(s sight) {
	g.certificates = g.share(inventory(g.config, s.found.certificates))
	g.targets = s.targets
	g.see(s)
}

// see takes what discovery saw last.
func (g *generation) see(s sight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = s
}

// saw returns what discovery saw last.
func (g *generation) saw() sight {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

// start runs every part until stop, or until parent ends.
func (g *generation) start(parent context.Context) {
	ctx, cancel := context.WithCancel(parent)
	g.parent, g.cancel = parent, cancel
	g.running.Store(true)
	g.watchdog.Start(ctx)
	parts := map[string]func(context.Context) error{
		"alerting": g.alerter.Run, "ending silences": g.unmute, "watchdog": g.watchdog.Run, "probing": g.scheduler.Run,
		"watching the disk": g.watcher.Run, "remediation": g.remediator.Run, "counting orders": g.accountant.Run, "keeping versions": g.keeper.Run, "sharing versions": g.sharing.Run,
		"rehearsing": g.rehearser.Run, "hearing what people say": g.hear, "reading logs": g.chronicler.Run, "sharing what people say": g.words,
		"diagnosing": g.doctor.Run, "reading what was done on nodes": g.census.Run,
	}
	if g.followLoans != nil {
		parts["following the rollbacks of other members"] = g.followLoans
	}
	if g.config.Probe.ARI {
		parts["asking CAs"] = g.advisor.Run
	}
	for name, run := range parts {
		g.wg.Go(func() { g.ran(name, run(ctx)) })
	}
}

// ran notes why a part ended, if it was not told to.
func (g *generation) ran(name string, err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	g.log.Error("a part ended", "part", name, "err", err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.errs = append(g.errs, fmt.Errorf("%s: %w", name, err))
}

// stop ends every part and waits for it. Commands that still run live on; the journal knows
// them. The senses are left, because the next generation may have the same.
func (g *generation) stop() error {
	g.running.Store(false)
	g.cancel()
	g.wg.Wait()
	return errors.Join(g.errs...)
}

// close lets go of what successors share.
func (g *generation) close() {
	g.senses.Close()
	g.ca.Close()
}

// Views returns the present picture of every certificate.
func (g *generation) Views() []watchdog.View { return g.led(g.watchdog.Views()) }

// Rules returns the rules in force.
func (g *generation) Rules() []rules.Rule { return g.rules }

// Receivers returns how the receivers do.
func (g *generation) Receivers() []alerting.State { return g.alerter.States() }

// QueueOldest returns when the oldest notification that waits was told.
func (g *generation) QueueOldest() time.Time { return g.alerter.QueueOldest() }

// acting reports whether an action is at work.
func (g *generation) acting() bool {
	return slices.ContainsFunc(g.Views(), func(v watchdog.View) bool {
		return v.Action != nil && v.Action.Outcome.Kind == certmedic.OutcomeRunning
	})
}

// maxUnread bounds how much is said about what discovery could not read or ask.
const maxUnread = 10

// degraded says what certmedic itself cannot do now.
func (g *generation) degraded() []string {
	all := append([]string{}, g.watcher.Degraded()...)
	g.mu.Lock()
	defer g.mu.Unlock()
	unread := g.seen.found.unread()
	for _, f := range unread[:min(len(unread), maxUnread)] {
		all = append(all, "discovery: "+f.Detail)
	}
	if more := len(unread) - maxUnread; more > 0 {
		all = append(all, fmt.Sprintf("discovery: %d more that the log has", more))
	}
	for _, err := range g.errs {
		all = append(all, err.Error())
	}
	return all
}

// act plans or carries out an action that a person asked for.
func (g *generation) act(ctx context.Context, r api.ActionRequest) (api.ActionAnswer, error) {
	q := remediate.Request{
		Certificate: r.Certificate, Kind: r.Action, By: r.By, Why: "asked for by hand", ByHand: true, Force: r.Force, To: r.To, Plan: r.Plan,
	}
	if r.DryRun {
		plan, decision, err := g.remediator.Plan(ctx, q)
		if err != nil {
			return api.ActionAnswer{}, err
		}
		return api.ActionAnswer{Plan: &plan, Reason: string(decision.Reason), Detail: decision.Detail}, nil
	}
	a, err := g.remediator.Act(ctx, q)
	if err != nil {
		return api.ActionAnswer{}, err
	}
	return api.ActionAnswer{Action: &a}, nil
}

// incidents returns the open incidents, newest first, and then the newest ended ones.
func incidents(g *generation, s *store.Store, certificate string, limit int) ([]certmedic.Incident, error) {
	open := []certmedic.Incident{}
	for _, v := range g.Views() {
		if certificate == "" || v.Name == certificate {
			open = append(open, v.Incidents...)
		}
	}
	if certificate == "" {
		open = append(open, g.Fleet()...)
	}
	slices.SortStableFunc(open, func(a, b certmedic.Incident) int { return b.PendingAt.Compare(a.PendingAt) })
	if len(open) >= limit {
		return open[:limit], nil
	}
	past, err := s.Incidents(certificate, limit-len(open))
	if err != nil {
		return nil, err
	}
	return append(open, past...), nil
}

// history returns the newest actions.
func history(s *store.Store, certificate string, limit int) ([]certmedic.Action, error) {
	actions, err := s.Actions(certificate, time.Time{})
	if err == nil {
		actions, err = withRehearsals(s, certificate, actions)
	}
	if err != nil {
		return nil, err
	}
	return actions[:min(limit, len(actions))], nil
}
