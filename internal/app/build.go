package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/window"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/roots"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

// prepared is what can be made of a configuration without starting anything: the part of a
// generation that can fail because of the configuration, or of a file that it names.
type prepared struct {
	rules     []rules.Rule
	modules   map[string]module
	receivers map[string]alerting.Notifier
	routes    []alerting.Route
	texts     map[string]func(alerting.Event) alerting.Event
	windows   window.Set
	channels  channels // by which people's words come back
}

// prepare checks everything about a configuration that its decoder could not. Without a log
// nobody can be told anything.
func prepare(c *config.Config, o outfit) (*prepared, error) {
	p := &prepared{}
	var errRules, errRoots, errModules, errReceivers, errRoutes, errTexts, errWindows, errChannels error
	p.rules, errRules = loadRules(c)
	_, errRoots = roots.Load(slices.Concat(c.Probe.Roots, acmeCAFiles(c)))
	p.modules, errModules = modules(c)
	p.receivers, errReceivers = receivers(c, o)
	p.routes, errRoutes = routes(c)
	p.texts, errTexts = texts(c, o.log)
	p.windows, errWindows = windows(c.Remediation.Windows)
	p.channels, errChannels = readChannels(c)
	if err := errors.Join(errRules, errRoots, errModules, errReceivers, errRoutes, errTexts, errWindows, errChannels); err != nil {
		return nil, err
	}
	return p, nil
}

// Check reports what is wrong with a configuration beyond what its decoder found.
func Check(c *config.Config) error {
	_, err := prepare(c, outfit{limits: &limits{}})
	return err
}

// The defaults of what the configuration does not set.
const (
	verifyTimeout = 10 * time.Second
	recentActions = 30 * 24 * time.Hour
)

// build makes the first generation of a configuration. Nothing runs before its start.
func (a *App) build(ctx context.Context, c *config.Config) (*generation, error) {
	g, err := a.equip(c)
	if err != nil {
		return nil, err
	}
	g.watch(a.firstLook(ctx, g, discovered{}))
	if err := a.join(g); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// equip makes a generation that watches nothing yet. It reads every file that the
// configuration names.
func (a *App) equip(c *config.Config) (*generation, error) {
	p, err := prepare(c, a.outfit())
	if err != nil {
		return nil, err
	}
	g := &generation{config: c, prepared: p, log: a.o.Log, mine: a.cluster.mine}
	if g.senses, err = newProber(c, p.modules); err != nil {
		return nil, err
	}
	g.ca = caClient(c)
	if g.prober, err = probeHandler(c, g.senses, p.modules); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// join makes the parts from what is kept, and ties them to each other. Once it has succeeded
// for a generation, nothing but the state can make it fail, which leaves the parts that were
// made first.
func (a *App) join(g *generation) error {
	kept, err := a.kept()
	if err != nil {
		return err
	}
	c, prober := g.config, g.senses.Prober
	g.leads = a.lead(g)
	reader := disk.Reader{Keys: &a.keys}
	g.scheduler = probe.NewScheduler(probe.SchedulerOptions{
		Interval: c.Probe.Interval, Concurrency: c.Probe.Concurrency, Probe: prober.Probe,
		Sink: func(key string, o certmedic.Observation) { g.watchdog.Observed(key, o) },
	})
	g.remediator = remediate.New(remediate.Options{
		Look:    func(ctx context.Context, name string) (remediate.Sight, error) { return g.watchdog.Look(ctx, name) },
		Hooks:   hooks,
		Renewal: a.ways(c), Ledger: kept.book,
		Candidates: func(ctx context.Context, c certmedic.Certificate, stored certmedic.Stored) ([]rollback.Candidate, error) {
			return a.candidates(ctx, g, c, stored)
		},
		Place: place, RollbackWay: config.RollbackWays(c), Loans: a.loans, Lent: func(name string, l *rollback.Loan) { g.watchdog.Lent(name, l) },
		Journal: a.store, Denied: a.denied.Denied, Rehearsals: a.store.Rehearsals(), Rehearsed: a.rehearsed(g),
		Frozen: func() bool { return exists(c.Remediation.FreezeFile) },
		Changed: func(act certmedic.Action) {
			a.lines.Acted(act)
			a.metrics.Acted(act)
			g.census.Changed(act.Certificate)
			g.watchdog.Acted(act)
			a.live.acted(act)
		},
		Approvals: a.approvals, ApprovalExpiry: c.Remediation.ApprovalExpires, Refused: a.metrics.Refused, MaxUnproven: mostUnproven(c, g.certificates),
		Log: a.o.Log, Self: a.o.Self, RunDir: filepath.Join(a.dir, "runs"), Environ: commandEnviron(a.o.Environ),
		MaxPerHour: c.Remediation.MaxActionsPerHour, MaxConcurrent: c.Remediation.MaxConcurrent,
		CommandTimeout: c.Remediation.CommandTimeout, VerifyTimeout: verifyTimeout, Grace: c.Probe.DeployGrace,
		ClockDoubt: g.clockDoubt, Windows: g.windows,
		Nodes: a.nodes, Dial: dial(c),
		LookAt: func(ctx context.Context, name, node string) (remediate.Sight, error) {
			return g.watchdog.LookAt(ctx, name, node)
		},
		Lead: g.leads, Orders: a.standing(c), Confirm: a.cluster.Confirm, Emergency: a.cluster.Emergency, Fences: c.Cluster != nil,
	})
	g.rehearser = g.newRehearser(kept.rehearsals)
	g.keeper = newKeeper(a.snapshots, a.o.Log)
	g.sharing = a.newSharing(g)
	g.doctor = a.diagnostician(g)
	g.census = newCensus(g.certificates, a.o.Log)
	g.census.nodes, g.census.lookup, g.census.changed = a.nodes, prober.Lookup, func(name string) { g.watchdog.NodesRead(name) }
	g.watchdog = watchdog.New(watchdog.Options{
		Certificates: g.certificates, Engine: rules.New(g.rules), State: a.store,
		Rules: kept.rules, Memory: kept.memory, Renewals: kept.windows, Actions: kept.actions, Rehearsals: kept.rehearsals, Loans: kept.loans,
		Reader: reader, Probe: prober.Probe, ProbeNow: g.scheduler.Now, Roots: prober.Roots, Warn: prober.Warn, Crit: prober.Crit,
		Interval: period(c), Partial: len(g.saw().found.unread()) > 0, Self: a.self(g),
		Denied: a.denied.Denied, Waits: a.approvals.Waits, Proven: g.keeper.proven, Repaid: g.remediator.Repay, Diagnose: g.doctor.Ask,
		Nodes: g.census.Nodes, Addresses: g.census.Addresses,
		Want: g.remediator.Want, Nudge: g.remediator.Nudge,
		Tell: func(n watchdog.News) { a.renewed(n); g.tell(n, a.asked); a.live.heard(n) }, Count: a.metrics, Log: a.o.Log,
	})
	g.advisor = newAdvisor(advisorOptions{
		Renewables: g.watchdog.Renewables, Advised: g.watchdog.Advised, CA: g.ca, State: a.store, Log: a.o.Log,
	})
	g.accountant = &accountant{Renewables: g.watchdog.Renewables, Budgeted: g.watchdog.Budgeted, Book: kept.book, Log: a.o.Log}
	g.scheduler.Set(g.watchdog.Endpoints())
	g.chronicler = newChronicler(watchdog.Sources(g.certificates), g.watchdog.Attempted)
	g.watcher = disk.NewWatcher(disk.Options{
		Sources: watchdog.Sources(g.certificates),
		Changed: func(name string) { g.watchdog.Changed(name); g.chronicler.Changed(name) },
	})
	if a.cluster.keeper != nil {
		g.followLoans = func(ctx context.Context) error { return a.loans.run(ctx, a.cluster.ttl, g.watchdog.Lent) }
	}
	g.unmute, g.hear, g.words = a.unmute(g), a.hear(g), a.shareWords(g)
	g.alerter, err = a.alerter(g)
	return err
}

// windows reads times of the week.
func windows(texts []string) (window.Set, error) {
	var set window.Set
	for _, text := range texts {
		w, err := window.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("reading a window: %w", err)
		}
		set = append(set, w)
	}
	return set, nil
}

func exists(path string) bool {
	if path == "" {
		return false
	}
	_, err := os.Lstat(path)
	return err == nil || !errors.Is(err, os.ErrNotExist) // in doubt it is frozen
}

// commandEnviron is the environment of commands: certmedic's own, without what a service
// manager or a package's wrapper set for it alone.
func commandEnviron(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		for _, own := range []string{"NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "INVOCATION_ID", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY", "SYSTEMD_EXEC_PID", "MEMORY_PRESSURE_", "SNAP"} {
			if strings.HasPrefix(name, own) {
				return true
			}
		}
		return false
	})
}

// loadRules loads the shipped rules and the configured ones and makes the adjustments.
func loadRules(c *config.Config) ([]rules.Rule, error) {
	var all []rules.Rule
	var errs []error
	if c.Rules.Defaults {
		shipped, err := ruleset.Load(c.Probe.DeployGrace)
		all, errs = shipped, append(errs, err)
	}
	for _, pattern := range c.Rules.Files {
		files, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				errs = append(errs, fmt.Errorf("reading rules: %w", err))
				continue
			}
			more, err := rules.Load(file, data, c.Probe.DeployGrace)
			errs = append(errs, err)
			all = append(all, more...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return adjusted(c, all)
}

func adjusted(c *config.Config, all []rules.Rule) ([]rules.Rule, error) {
	adjust := map[string]rules.Adjust{}
	seen := map[string]string{} // where each stands
	var twice []error
	for _, r := range all {
		if first := seen[r.Name]; first != "" {
			twice = append(twice, &rules.Problem{File: r.File, Line: r.Line, Column: 1, Message: fmt.Sprintf("a second rule named %q, the first is at %s", r.Name, first)})
			continue
		}
		seen[r.Name] = fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	if err := errors.Join(twice...); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Rules.Adjust)) {
		from := c.Rules.Adjust[name]
		if seen[name] == "" {
			return nil, fmt.Errorf("%s: there is no rule %q to adjust", c.Position("rules.adjust."+name), name)
		}
		to := rules.Adjust{
			For: from.For, KeepFiringFor: from.KeepFiringFor, Severity: from.Severity, Runbook: from.Runbook, Disabled: from.Disabled,
		}
		for _, s := range from.Ladder {
			to.Ladder = append(to.Ladder, certmedic.Step(s))
		}
		adjust[name] = to
	}
	return rules.Adjusted(all, adjust)
}
