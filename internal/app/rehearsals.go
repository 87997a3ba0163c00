package app

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/renew"
)

// around returns what certbot runs besides a renewal, and what a rehearsal has to leave alone. The
// error says that this cannot be read.
func around(source certmedic.Source, staging string) (renew.Around, error) {
	stored := disk.Reader{}.Read(source, time.Now()).Stored
	a := renew.Around{Staging: staging, Directory: stored.Directory}
	for _, f := range stored.Findings {
		if f.Code == certmedic.LineageBroken && a.Unlinked == "" {
			a.Unlinked = f.Detail
		}
	}
	var err error
	if a.Pre, err = hooksAround(disk.PreHooks(source)); err != nil {
		return a, err
	}
	if a.Post, err = hooksAround(disk.PostHooks(source)); err != nil {
		return a, err
	}
	if a.Deploy, err = hooks(certmedic.Certificate{Source: source}); err != nil {
		return a, err
	}
	conf, err := disk.ReadRenewalConf(filepath.Join(source.ConfigDir, "renewal", source.Lineage+".conf"))
	if err != nil {
		return a, err
	}
	a.Authenticator = conf.Authenticator
	archive := conf.ArchiveDir
	if archive == "" {
		archive = filepath.Join(source.ConfigDir, "archive", source.Lineage)
	}
	a.Keeps = []string{conf.Path, archive}
	if conf.Cert != "" {
		a.Keeps = append(a.Keeps, filepath.Dir(conf.Cert))
	}
	return a, nil
}

func hooksAround(found []disk.Hook, findings []certmedic.Finding) ([]deploy.Hook, error) {
	for _, f := range findings {
		if f.Code != certmedic.FilePermissions {
			return nil, fmt.Errorf("reading the hooks: %s", f.Detail)
		}
	}
	all := make([]deploy.Hook, 0, len(found))
	for _, h := range found {
		all = append(all, deploy.Hook{Command: h.Command, Path: h.Path, Source: h.Source})
	}
	return all, nil
}

// The pace of rehearsals.
const (
	firstRehearsalIn = 15 * time.Second // sources are read, and endpoints probed, by then
	rehearsalsEvery  = time.Minute
	refusedAgain     = 10 * time.Minute // after a refusal
	failedAgain      = 24 * time.Hour   // after a failure, where the period is longer
)

// stage carries out rehearsals, as [remediate.Remediator] does.
type stage interface {
	Rehearse(ctx context.Context, q remediate.RehearsalRequest) (certmedic.Action, error)
	RehearsalBasis(c certmedic.Certificate, kind certmedic.ActionKind, runHooks bool) (string, error)
}

// rehearser rehearses on schedule, one certificate after the other.
type rehearser struct {
	Certificates []certmedic.Certificate
	Settings     map[string]config.Rehearse // by certificate
	Stage        stage
	Allowed      func(now time.Time) bool // no freeze file, and a maintenance window
	Log          *slog.Logger

	refused map[string]refusal // by certificate and kind, since the last one that was carried out

	mu   sync.Mutex
	last map[string]certmedic.Action // by certificate and kind, those that were carried out
}

// took takes a rehearsal that was recorded, whoever asked for it.
func (r *rehearser) took(a certmedic.Action) {
	if a.Outcome.Kind == certmedic.OutcomeRefused {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[key(a.Certificate, a.Kind)] = a
}

// refusal is the last refusal of a rehearsal.
type refusal struct {
	reason string
	at     time.Time
}

// settings returns how often what is rehearsed, by certificate.
func settings(c *config.Config) map[string]config.Rehearse {
	all := map[string]config.Rehearse{}
	for _, cert := range c.Certificates {
		if cert.Rehearse.Hooks > 0 || cert.Rehearse.Renewal > 0 {
			all[cert.Name] = cert.Rehearse
		}
	}
	return all
}

// Run rehearses what is due, until ctx ends.
func (r *rehearser) Run(ctx context.Context) error {
	r.refused = map[string]refusal{}
	timer := time.NewTimer(firstRehearsalIn)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		for _, c := range r.Certificates {
			r.look(ctx, c)
		}
		timer.Reset(rehearsalsEvery)
	}
}

// look rehearses what is due for a certificate.
func (r *rehearser) look(ctx context.Context, c certmedic.Certificate) {
	s, ok := r.Settings[c.Name]
	if !ok || c.Mode != certmedic.ModeAuto {
		return
	}
	for _, kind := range []certmedic.ActionKind{certmedic.RehearseHooks, certmedic.RehearseRenewal} {
		every := s.Hooks
		if kind == certmedic.RehearseRenewal {
			every = s.Renewal
		}
		if ctx.Err() != nil || every == 0 || !r.Allowed(time.Now()) {
			continue
		}
		runHooks := s.RunHooks && kind == certmedic.RehearseRenewal
		if why := r.due(c, kind, every, runHooks); why != "" {
			r.rehearse(ctx, remediate.RehearsalRequest{Certificate: c.Name, Kind: kind, By: "schedule", Why: why, RunHooks: runHooks})
		}
	}
}

// due says why a rehearsal is due; empty where it is not. One that was refused is asked for again
// after a while, and what cannot be planned is left to be refused.
func (r *rehearser) due(c certmedic.Certificate, kind certmedic.ActionKind, every time.Duration, runHooks bool) (why string) {
	now := time.Now()
	if last, ok := r.refused[key(c.Name, kind)]; ok && now.Sub(last.at).Abs() < refusedAgain {
		return ""
	}
	r.mu.Lock()
	last, ok := r.last[key(c.Name, kind)]
	r.mu.Unlock()
	if !ok {
		return "it was never rehearsed"
	}
	if basis, err := r.Stage.RehearsalBasis(c, kind, runHooks); err == nil && basis != last.Basis {
		return "what it runs, or what configures that, has changed"
	}
	if last.Outcome.Kind != certmedic.OutcomeRehearsed {
		every = min(every, failedAgain)
	}
	if age := now.Sub(last.StartedAt); age >= every+jitter(last.ID, every) || age < 0 { // or the clock was set back
		return fmt.Sprintf("the last rehearsal was at %s", last.StartedAt.UTC().Format(time.RFC3339))
	}
	return ""
}

// rehearse has one rehearsal carried out, and remembers a refusal.
func (r *rehearser) rehearse(ctx context.Context, q remediate.RehearsalRequest) {
	at := key(q.Certificate, q.Kind)
	q.Told = r.refused[at].reason
	a, err := r.Stage.Rehearse(ctx, q)
	if err != nil && ctx.Err() == nil {
		r.Log.Error("rehearsing", "certificate", q.Certificate, "rehearsal", q.Kind, "err", err)
	}
	if err != nil || a.Outcome.Kind == certmedic.OutcomeRefused {
		r.refused[at] = refusal{a.Outcome.Reason, time.Now()}
		return
	}
	delete(r.refused, at)
}

func key(certificate string, kind certmedic.ActionKind) string {
	return certificate + "\x00" + string(kind)
}

// jitter is up to a tenth of a period, the same for the same rehearsal after a restart.
func jitter(id string, every time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return time.Duration(h.Sum64() % uint64(max(1, every/jitterFraction)))
}

// newRehearser makes what rehearses on schedule. It knows what was rehearsed before, newest first.
func (g *generation) newRehearser(before []certmedic.Action) *rehearser {
	r := &rehearser{
		Certificates: g.certificates, Settings: settings(g.config), Stage: g.remediator, Log: g.log,
		Allowed: func(now time.Time) bool {
			return !exists(g.config.Remediation.FreezeFile) && g.windows.Opens(now).IsZero()
		},
		refused: map[string]refusal{}, last: map[string]certmedic.Action{},
	}
	for _, a := range slices.Backward(before) {
		r.took(a)
	}
	return r
}

// rehearsed returns who is told of each rehearsal.
func (a *App) rehearsed(g *generation) func(certmedic.Action) {
	return func(act certmedic.Action) {
		a.lines.Acted(act)
		g.rehearser.took(act)
		g.watchdog.Rehearsed(act)
		a.live.acted(act)
	}
}

// rehearse carries out a rehearsal that a person asked for.
func (g *generation) rehearse(ctx context.Context, r api.RehearsalRequest) (api.RehearsalAnswer, error) {
	kind := certmedic.RehearseHooks
	if r.Renewal {
		kind = certmedic.RehearseRenewal
	}
	a, err := g.remediator.Rehearse(ctx, remediate.RehearsalRequest{
		Certificate: r.Certificate, Kind: kind, By: r.By, Why: "asked for by hand", ByHand: true, RunHooks: r.RunHooks,
	})
	return api.RehearsalAnswer{Rehearsal: a}, err
}

// Rehearse carries out a rehearsal that a person asked for.
func (a *App) Rehearse(ctx context.Context, r api.RehearsalRequest) (api.RehearsalAnswer, error) {
	return a.generation().rehearse(ctx, r)
}

// Rehearse carries out a rehearsal that a person asked for.
func (o *Offline) Rehearse(ctx context.Context, r api.RehearsalRequest) (api.RehearsalAnswer, error) {
	return o.g.rehearse(ctx, r)
}

// withRehearsals returns the newest actions and rehearsals together.
func withRehearsals(s *store.Store, certificate string, actions []certmedic.Action) ([]certmedic.Action, error) {
	rehearsals, err := s.Rehearsals().Actions(certificate, time.Time{})
	if err != nil {
		return nil, err
	}
	all := slices.Concat(actions, rehearsals)
	slices.SortStableFunc(all, func(a, b certmedic.Action) int { return b.StartedAt.Compare(a.StartedAt) })
	return all, nil
}
