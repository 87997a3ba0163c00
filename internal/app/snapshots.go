package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/deny"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

// openVersions opens the list of denied keys and the kept versions in the state folder.
func (a *App) openVersions() {
	denied, err := deny.Open(filepath.Join(a.dir, "denied-keys.json"))
	if a.tell(notDenied, err) != nil {
		a.o.Log.Error("reading the list of denied keys; nothing is installed until it can be read and certmedic is started again", "err", err)
		denied = deny.Closed(err)
	}
	a.denied = denied
	a.snapshots = snapshot.New(snapshot.Options{Dir: filepath.Join(a.dir, "snapshots"), Denied: denied.Denied})
}

// keeps reports whether the good versions of a certificate are kept. A copy of a private key
// is a liability: there is one only where its owner allowed an action that it can serve.
func keeps(c certmedic.Certificate) bool {
	return !c.Watched && c.Mode != certmedic.ModeObserve &&
		(c.Allows(certmedic.ActionRollback) || c.Allows(certmedic.ActionRedeploy))
}

// keepAgain is how often it is tried again to keep what could not be kept.
const keepAgain = 5 * time.Minute

// keeper keeps the versions that the watchdog says are proven, beside the watchdog's loop,
// because that must not wait for the disk.
type keeper struct {
	snapshots *snapshot.Store
	log       *slog.Logger
	wake      chan struct{}

	mu   sync.Mutex
	due  map[string]watchdog.Proven // by certificate, what is to be kept
	told map[string]string          // by certificate, why it was not kept, as the log has it
}

func newKeeper(s *snapshot.Store, log *slog.Logger) *keeper {
	return &keeper{snapshots: s, log: log, wake: make(chan struct{}, 1), due: map[string]watchdog.Proven{}, told: map[string]string{}}
}

// proven takes a version that is to be kept, and does not wait for it.
func (k *keeper) proven(p watchdog.Proven) {
	if !keeps(p.Certificate) {
		return
	}
	k.mu.Lock()
	k.due[p.Certificate.Name] = p
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run keeps what is due until ctx ends.
func (k *keeper) Run(ctx context.Context) error {
	again := time.NewTicker(keepAgain)
	defer again.Stop()
	for {
		for _, p := range k.all() {
			if ctx.Err() == nil {
				k.keep(p)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		case <-again.C:
		}
	}
}

func (k *keeper) all() []watchdog.Proven {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]watchdog.Proven, 0, len(k.due))
	for _, p := range k.due {
		all = append(all, p)
	}
	return all
}

// keep keeps a version. What fails stays due; the log has each reason once.
func (k *keeper) keep(p watchdog.Proven) {
	name := p.Certificate.Name
	kept, err := k.snapshots.Take(name, p.Stored, p.Addresses, p.Time)
	if err != nil && kept.Version != "" { // it is kept, and something older could not be removed
		k.log.Warn("clearing up kept versions", "certificate", name, "err", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && kept.Version == "" && !errors.Is(err, snapshot.ErrDenied) {
		if k.told[name] != err.Error() {
			k.log.Warn("a good version could not be kept; it is tried again", "certificate", name, "err", err)
		}
		k.told[name] = err.Error()
		return
	}
	delete(k.told, name)
	if k.due[name].Time.Equal(p.Time) {
		delete(k.due, name)
	}
}

// Snapshots returns the kept versions of a certificate, those that were issued last first.
func (a *App) Snapshots(certificate string) ([]snapshot.Snapshot, error) {
	return a.snapshotsOf(a.generation(), certificate)
}

func (a *App) snapshotsOf(g *generation, certificate string) ([]snapshot.Snapshot, error) {
	all, err := a.snapshots.List(certificate)
	if err != nil {
		return nil, err
	}
	known := slices.ContainsFunc(g.certificates, func(c certmedic.Certificate) bool { return c.Name == certificate })
	if len(all) == 0 && !known {
		return nil, fmt.Errorf("there is no certificate %q", certificate)
	}
	return described(all), nil
}

// described leaves out what is of no use outside: hashes of keys' files.
func described(all []snapshot.Snapshot) []snapshot.Snapshot {
	all = append([]snapshot.Snapshot{}, all...)
	for i := range all {
		all[i].Files = nil
	}
	return all
}

// Denied returns the deny list.
func (a *App) Denied() ([]deny.Entry, error) { return a.denied.Entries(), nil }

// Deny puts a key on the deny list and removes the kept versions that have it. What it was, and
// is, used for is in the answer; a dry run says so without doing anything.
func (a *App) Deny(_ context.Context, r api.DenyRequest) (api.DenyAnswer, error) {
	return a.deny(a.generation(), r)
}

func (a *App) deny(g *generation, r api.DenyRequest) (api.DenyAnswer, error) {
	entry, err := resolveKey(g.Views(), r)
	if err != nil {
		return api.DenyAnswer{}, err
	}
	if r.Expect != "" && entry.SPKI != r.Expect {
		return api.DenyAnswer{}, fmt.Errorf("the key of %q is another one by now: nothing was denied", r.Key)
	}
	answer := api.DenyAnswer{Entry: entry}
	answer.Stored, answer.Served = uses(g.Views(), entry.SPKI)
	if r.DryRun {
		kept, err := a.snapshots.OfKey(entry.SPKI)
		answer.Kept, answer.Known = described(kept), a.denied.Denied(entry.SPKI)
		return answer, err
	}
	entry.At = time.Now().UTC().Truncate(time.Second)
	if answer.Entry, answer.Known, err = a.denied.Deny(entry); err != nil {
		return api.DenyAnswer{}, err
	}
	a.o.Log.Warn("a key was denied", "spki", entry.SPKI, "by", r.By, "why", r.Why, "known", answer.Known)
	gone, err := a.snapshots.ForgetKey(entry.SPKI)
	answer.Kept = described(gone)
	g.watchdog.Denied(entry.SPKI)
	if err != nil {
		return answer, fmt.Errorf("the key is denied, but not every kept version of it is removed, which is tried again at the next start: %w", err)
	}
	return answer, nil
}

// resolveKey returns the key that was named: the certificate's stored one, or itself.
func resolveKey(views []watchdog.View, r api.DenyRequest) (deny.Entry, error) {
	e := deny.Entry{By: r.By, Why: r.Why}
	for _, v := range views {
		if v.Name != r.Key {
			continue
		}
		if v.Stored == nil {
			return e, fmt.Errorf("nothing stored is known of %q: name its key by the SHA-256 of its public key", v.Name)
		}
		e.SPKI, e.Certificate = v.Stored.Chain[0].SPKISHA256, v.Name
		return e, nil
	}
	spki, ok := deny.Parse(r.Key)
	if !ok {
		return e, fmt.Errorf("%q is neither a certificate nor the SHA-256 of a public key (64 hexadecimal digits, or sha256/BASE64)", r.Key)
	}
	e.SPKI = spki
	return e, nil
}

// uses returns the certificates whose source holds a version with the key, and those of which
// an address served one last.
func uses(views []watchdog.View, spki certmedic.Fingerprint) (stored, served []string) {
	stored, served = []string{}, []string{}
	for _, v := range views {
		if v.Stored != nil && v.Stored.Chain[0].SPKISHA256 == spki {
			stored = append(stored, v.Name)
		}
		if slices.ContainsFunc(v.Endpoints, func(ep watchdog.EndpointView) bool { return serves(ep, spki) }) {
			served = append(served, v.Name)
		}
	}
	return stored, served
}

func serves(ep watchdog.EndpointView, spki certmedic.Fingerprint) bool {
	return slices.ContainsFunc(ep.Addresses, func(at watchdog.AddressView) bool {
		leaf, ok := at.Leaf()
		return ok && leaf.SPKISHA256 == spki || at.LastSeen != nil && at.LastSeen.SPKISHA256 == spki
	})
}

// Snapshots returns the kept versions of a certificate.
func (o *Offline) Snapshots(certificate string) ([]snapshot.Snapshot, error) {
	return o.app.snapshotsOf(o.g, certificate)
}

// Denied returns the deny list.
func (o *Offline) Denied() ([]deny.Entry, error) { return o.app.Denied() }

// Deny puts a key on the deny list, see [App.Deny]. The sources are read for it.
func (o *Offline) Deny(ctx context.Context, r api.DenyRequest) (api.DenyAnswer, error) {
	for _, v := range o.g.Views() {
		o.g.watchdog.Read(ctx, v.Name)
	}
	return o.app.deny(o.g, r)
}
