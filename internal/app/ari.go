package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/probe/ari"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/roots"
	"github.com/certmedic/certmedic/rules"
)

// The pace of an advisor. Each pause is up to a tenth longer at random.
const (
	firstRoundIn   = 5 * time.Second
	roundEvery     = time.Minute
	measureEvery   = 10 * time.Minute // while the clock is in doubt, or no CA has told the time
	doubtfulSkew   = time.Minute
	longestWait    = 48 * time.Hour // longer than any; who seems to have to wait longer had a wrong clock
	keepRenewals   = 100 * 24 * time.Hour
	jitterFraction = 10
)

// authority tells when versions should be replaced, as [ari.Client] does.
type authority interface {
	Fetch(ctx context.Context, directory string, leaf *x509.Certificate) (ari.Advice, error)
	Measure(ctx context.Context, directory string) error
	Skew(now time.Time) (time.Duration, bool)
}

// renewalState keeps what CAs said, as [store.Store] does.
type renewalState interface {
	Renewals() (map[string]store.Renewal, error)
	SaveRenewal(certificate string, r store.Renewal) error
	TrimRenewals(before time.Time) error
}

// caClient makes what asks CAs. Their servers are trusted by the system's roots, or by any of
// those that endpoints are probed with or that orders name, which were loaded before.
func caClient(c *config.Config) *ari.Client {
	sets, _ := roots.Load(slices.Concat([]string{roots.System}, c.Probe.Roots, acmeCAFiles(c)))
	var pools []*x509.CertPool
	for _, s := range sets {
		pools = append(pools, s.Pool)
	}
	return ari.NewClient(ari.Options{Roots: pools})
}

// advisorOptions tie an advisor to its neighbours. All but Random are needed.
type advisorOptions struct {
	Renewables func() []watchdog.Renewable
	Advised    func(certificate string, version certmedic.Fingerprint, w *rules.Window)
	CA         authority
	State      renewalState
	Log        *slog.Logger
	Random     *rand.Rand // nil: another one each time
}

// advisor asks CAs when they want the stored versions to be replaced, and remembers it. What a
// CA said last stands until it says something else.
type advisor struct {
	o        advisorOptions
	known    map[string]store.Renewal // by certificate
	measured time.Time                // when the clock was measured on purpose
}

func newAdvisor(o advisorOptions) *advisor {
	if o.Random == nil {
		o.Random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return &advisor{o: o, known: map[string]store.Renewal{}}
}

// Skew returns how far this machine's clock is ahead of a CA's, see [ari.Client.Skew].
func (a *advisor) Skew() (time.Duration, bool) { return a.o.CA.Skew(time.Now()) }

// Run asks whenever it is time to, until ctx ends. What CAs said before, the watchdog knows.
func (a *advisor) Run(ctx context.Context) error {
	if err := a.recall(); err != nil {
		return err
	}
	timer := time.NewTimer(a.jitter(firstRoundIn))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		a.round(ctx)
		timer.Reset(a.jitter(roundEvery))
	}
}

// jitter returns a pause that is up to a tenth longer, so that not all ask at once.
func (a *advisor) jitter(pause time.Duration) time.Duration {
	return pause + time.Duration(a.o.Random.Int64N(1+max(0, int64(pause/jitterFraction))))
}

func (a *advisor) recall() error {
	if err := a.o.State.TrimRenewals(time.Now().Add(-keepRenewals)); err != nil {
		return err
	}
	known, err := a.o.State.Renewals()
	if err != nil {
		return fmt.Errorf("reading what CAs said about renewals: %w", err)
	}
	a.known = known
	return nil
}

// round asks about each version that it is time for, one after the other.
func (a *advisor) round(ctx context.Context) {
	all := a.o.Renewables()
	for _, r := range all {
		if ctx.Err() != nil {
			return
		}
		a.look(ctx, r)
	}
	if len(all) > 0 {
		a.measure(ctx, all[a.o.Random.IntN(len(all))].Directory) // any of them, for one may be dead
	}
}

// look asks about one version, if it is time to; about an expired one never (RFC 9773, section
// 4.3).
func (a *advisor) look(ctx context.Context, r watchdog.Renewable) {
	now := time.Now()
	k := a.known[r.Certificate]
	if k.Version != r.Leaf.SHA256 {
		k = store.Renewal{Version: r.Leaf.SHA256, Starts: k.Starts}
	}
	if wait := k.CheckAfter.Sub(now); wait > 0 && wait < longestWait || !now.Before(r.Leaf.NotAfter) {
		return
	}
	leaf := leafAt(r, now)
	if leaf == nil {
		return // the source has moved on, which the watchdog will tell
	}
	advice, err := a.o.CA.Fetch(ctx, r.Directory, leaf)
	switch now = time.Now(); {
	case ctx.Err() != nil:
	case err != nil:
		a.failed(r, k, advice, err, now)
	default:
		a.advised(r, k, advice, now)
	}
}

// leafAt reads a version's leaf, nil where it is not there any more.
func leafAt(r watchdog.Renewable, now time.Time) *x509.Certificate {
	content := disk.Reader{}.Read(certmedic.Source{Kind: certmedic.SourceFiles, Cert: r.CertPath}, now)
	if leaf, ok := content.Stored.Leaf(); !ok || leaf.SHA256 != r.Leaf.SHA256 {
		return nil
	}
	return content.Certs[0]
}

// advised takes what a CA said. A moment is chosen once for each window.
func (a *advisor) advised(r watchdog.Renewable, k store.Renewal, advice ari.Advice, now time.Time) {
	w := rules.Window{Start: advice.Window.Start, End: advice.Window.End}
	news := k.Window == nil || !k.Window.Start.Equal(w.Start) || !k.Window.End.Equal(w.End)
	if news {
		w.Chosen = ari.Choose(advice.Window, now, a.o.Random)
		k.Window = &w
		k = k.Begins(w.Start)
	}
	k.Explanation, k.Failures, k.Error = advice.Explanation, 0, ""
	k.CheckAfter = now.Add(a.jitter(advice.CheckAfter.Sub(now)))
	a.keep(r.Certificate, k)
	if !news {
		return
	}
	a.o.Log.Info("the CA said when to renew", "certificate", r.Certificate, "start", w.Start, "end", w.End, "why", k.Explanation)
	a.o.Advised(r.Certificate, k.Version, k.Window)
}

// failed takes that a CA said nothing. What it said before stays in force, unless it does not say
// such things any more.
func (a *advisor) failed(r watchdog.Renewable, k store.Renewal, advice ari.Advice, err error, now time.Time) {
	asked := now.Add(a.jitter(max(0, advice.CheckAfter.Sub(now))))
	level := slog.LevelDebug
	switch {
	case errors.Is(err, ari.ErrLeftAlone):
		// It was not asked, which is neither a failure nor worth a write for each of thousands.
		k.CheckAfter = asked
		a.known[r.Certificate] = k
	case errors.Is(err, ari.ErrUnsupported):
		if k.Window != nil {
			a.o.Advised(r.Certificate, k.Version, nil)
		}
		a.keep(r.Certificate, store.Renewal{Version: k.Version, Starts: k.Starts, CheckAfter: asked})
	default:
		if k.Failures++; k.Failures == 1 {
			level = slog.LevelWarn
		}
		k.Error = err.Error()
		k.CheckAfter = now.Add(ari.Pause(k.Failures, a.o.Random))
		if asked.After(k.CheckAfter) {
			k.CheckAfter = asked
		}
		a.keep(r.Certificate, k)
	}
	a.o.Log.Log(context.Background(), level, "no renewal information", "certificate", r.Certificate, "failures", k.Failures, "err", err)
}

// keep remembers what was said, also where the state cannot be written.
func (a *advisor) keep(certificate string, k store.Renewal) {
	a.known[certificate] = k
	if err := a.o.State.SaveRenewal(certificate, k); err != nil {
		a.o.Log.Warn("what the CA said is not kept", "certificate", certificate, "err", err)
	}
}

// measure asks for the time where no CA told it lately, or it was another than this clock's, so
// that a clock that was set right is not long taken for a wrong one.
func (a *advisor) measure(ctx context.Context, directory string) {
	skew, ok := a.Skew()
	if ok && skew.Abs() < doubtfulSkew || time.Since(a.measured) < measureEvery {
		return
	}
	a.measured = time.Now()
	if err := a.o.CA.Measure(ctx, directory); err != nil {
		a.o.Log.Debug("the clock was not measured", "err", err)
	}
}
