package watchdog

import (
	"context"
	"crypto/x509"
	"fmt"
	"iter"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
)

// Observed takes the observation of a certificate's endpoint and judges it, unless it says
// what the last one said and no rule waits for anything.
func (w *Watchdog) Observed(key string, o certmedic.Observation) {
	w.o.Count.Probed(o)
	name, _, _ := strings.Cut(key, "\x00")
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[name]
	if !ok {
		return
	}
	now := time.Now()
	quiet := e.quiet(o, now)
	if e.see(o) {
		w.rememberLocked(e)
		quiet = false
	}
	if quiet {
		return
	}
	if e.arrived(now) {
		w.rememberLocked(e)
		w.o.Tell(News{Kind: NewsDeployed, Time: o.Time, Certificate: *e.cert, Leaf: e.leafOfInterest(), Names: e.stored.Names, Stage: e.stage()})
	}
	w.judgeLocked(e, now)
}

// Changed has a certificate's source read again after it, or an installed copy of it, changed
// on disk, without waiting for that: a torn source is given time to settle. Changes during a
// read are read after it. What changed is named as in [Sources].
func (w *Watchdog) Changed(name string) {
	certificate, _, _ := strings.Cut(name, "|")
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, ok := w.entries[certificate]; ok && w.ctx != nil && w.ctx.Err() == nil {
		w.rereadLocked(e)
	}
}

// rereadLocked has a certificate's source read, and once more if it is being read.
func (w *Watchdog) rereadLocked(e *entry) {
	if e.reading {
		e.again = true
		return
	}
	e.reading = true
	w.readers.Go(func() {
		for more := true; more; more = w.readAgain(e) {
			w.Read(w.ctx, e.cert.Name)
		}
	})
}

// turnLocked has a certificate's source read again once a date of what it holds has passed:
// what was valid may have ended, or have begun to be.
func (w *Watchdog) turnLocked(e *entry, now time.Time) {
	if e.turns.IsZero() || now.Before(e.turns) {
		return
	}
	e.turns, e.turning = time.Time{}, true
	w.rereadLocked(e)
}

// nextTurn returns the first date of certificates that lies after now, zero where none does.
func nextTurn(certs []*x509.Certificate, now time.Time) time.Time {
	var next time.Time
	for _, c := range certs {
		for _, date := range []time.Time{c.NotBefore, c.NotAfter} {
			if after := date.Add(time.Second); after.After(now) && (next.IsZero() || after.Before(next)) {
				next = after
			}
		}
	}
	return next
}

// readAgain ends a certificate's reader, unless its source changed during the read.
func (w *Watchdog) readAgain(e *entry) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	again := e.again && w.ctx.Err() == nil
	e.again, e.reading = false, again
	return again
}

// Read reads a certificate's source, judges it and has its endpoints probed at once. It
// returns when the source was read.
func (w *Watchdog) Read(ctx context.Context, certificate string) {
	w.mu.Lock()
	e, ok := w.entries[certificate]
	w.mu.Unlock()
	if !ok || e.cert.Source.Kind == certmedic.SourceNone {
		return
	}
	reader := w.o.Reader
	reader.EndsFirst = e.cert.Watched
	content := reader.Settle(ctx, e.cert.Source, time.Now)
	copies := w.copies(*e.cert)
	w.mu.Lock()
	defer w.mu.Unlock()
	e.copies = copies
	w.holdLocked(e, content)
	if w.ctx == nil {
		return
	}
	w.o.Nudge(certificate)
	w.o.ProbeNow(e.keys()...)
	w.judgeLocked(e, time.Now())
}

// copies reads which version each file holds that a certificate's destinations install.
func (w *Watchdog) copies(c certmedic.Certificate) map[string]certmedic.Fingerprint {
	copies := map[string]certmedic.Fingerprint{}
	for f := range Copies(c) {
		source := certmedic.Source{Kind: certmedic.SourceFiles, Cert: f.To, PassphraseFile: f.PassphraseFile}
		leaf, _ := w.o.Reader.Read(source, time.Now()).Stored.Leaf()
		copies[f.To] = leaf.SHA256
	}
	return copies
}

// Copies yields the files with a leaf that a certificate's destinations install.
func Copies(c certmedic.Certificate) iter.Seq[certmedic.InstalledFile] {
	return func(yield func(certmedic.InstalledFile) bool) {
		for _, d := range c.Destinations {
			if !d.Local() {
				continue
			}
			for _, f := range d.Files {
				if f.From.HasLeaf() && !yield(f) {
					return
				}
			}
		}
	}
}

// holdLocked takes a reading of a certificate's source.
func (w *Watchdog) holdLocked(e *entry, content disk.Content) {
	now := time.Now()
	renewed, remember := e.hold(content.Stored, w.Problems(*e.cert, content, now), now)
	e.turns = nextTurn(content.Certs, now)
	if e.cert.Watched && len(e.cert.Endpoints) == 0 {
		e.kept = &watchedFile{Content: content}
		w.rejudgeLocked(e, now)
	}
	if remember {
		w.rememberLocked(e)
	}
	if renewed {
		leaf, _ := e.stored.Leaf()
		w.o.Log.Info("a new version is stored", "certificate", e.cert.Name, "version", leaf.SHA256.Short())
		w.o.Tell(News{Kind: NewsRenewed, Time: now, Certificate: *e.cert, Leaf: leaf, Names: e.stored.Names, Stage: e.stage()})
	}
	if e.deploying() {
		w.pollLocked(e)
	}
}

// Problems inspects a version of a certificate, the stored one or one to roll back to: its
// critical findings, which no installation may have. What is only watched is never installed,
// see [Watchdog.rejudgeLocked].
func (w *Watchdog) Problems(c certmedic.Certificate, content disk.Content, now time.Time) []certmedic.Finding {
	if len(content.Certs) == 0 || c.Watched {
		return nil
	}
	name := ""
	if len(content.Stored.Names) > 0 {
		name = strings.Replace(content.Stored.Names[0], "*", "wildcard", 1)
	}
	judged := inspect.Chain(content.Certs, inspect.Options{Now: now, ServerName: name, Roots: w.o.Roots, Warn: w.o.Warn, Crit: w.o.Crit})
	problems := slices.DeleteFunc(judged.Findings, func(f certmedic.Finding) bool { return !invalid(f) })
	problems = append(problems, uncovered(c, content.Certs[0])...)
	for _, f := range content.Stored.Findings {
		if critical(f) {
			problems = append(problems, f)
		}
	}
	return problems
}

// uncovered returns the names that clients ask the certificate's endpoints for and that the
// leaf does not cover. An endpoint that is given by an address alone, or as localhost, says
// no name.
func uncovered(c certmedic.Certificate, leaf *x509.Certificate) []certmedic.Finding {
	var found []certmedic.Finding
	for _, ep := range c.Endpoints {
		name := ep.ServerName
		if name == "" {
			name, _, _ = net.SplitHostPort(ep.Address)
			if net.ParseIP(name) != nil || name == "localhost" {
				continue
			}
		}
		if err := leaf.VerifyHostname(name); err != nil {
			found = append(found, certmedic.NewFinding(certmedic.NameMismatch,
				fmt.Sprintf("it does not cover %q, which clients of %s ask for", name, ep.Address)))
		}
	}
	return found
}

// lockPoll is how often the locks of a tree are asked for while they are held, because a
// holder that is killed releases them without a trace on disk.
const lockPoll = 200 * time.Millisecond

// pollLocked asks for the locks of the certificate's tree until they are free.
func (w *Watchdog) pollLocked(e *entry) {
	tree := e.cert.Source.ConfigDir
	if w.polling[tree] != nil || w.ctx == nil || w.ctx.Err() != nil {
		return
	}
	w.polling[tree] = time.AfterFunc(lockPoll, func() { w.poll(tree, *e.cert) })
}

func (w *Watchdog) poll(tree string, c certmedic.Certificate) {
	lock := w.o.Reader.Read(c.Source, time.Now()).Stored.Lock
	w.mu.Lock()
	if w.ctx.Err() != nil {
		w.mu.Unlock()
		return
	}
	if lock.State == certmedic.LockHeld {
		w.polling[tree].Reset(lockPoll)
		w.mu.Unlock()
		return
	}
	delete(w.polling, tree)
	var held []string
	for _, name := range w.order {
		if e := w.entries[name]; e.cert.Source.ConfigDir == tree && e.deploying() {
			held = append(held, name)
		}
	}
	w.mu.Unlock()
	for _, name := range held {
		w.Changed(name)
	}
}

// Acted takes the news of an action and judges its certificate.
func (w *Watchdog) Acted(a certmedic.Action) {
	e, ok := w.entries[a.Certificate] // the certificates do not change
	if !ok {
		return
	}
	copies := w.copies(*e.cert)
	w.mu.Lock()
	defer w.mu.Unlock()
	e.copies = copies
	e.acted(a)
	if a.Kind == certmedic.ActionRollback && a.Outcome.Kind == certmedic.OutcomeHealed {
		w.o.Tell(News{Kind: NewsRolledBack, Time: a.EndedAt, Certificate: *e.cert, Leaf: e.leafOfInterest(), Names: e.stored.Names, Stage: e.stage()})
	}
	w.judgeLocked(e, time.Now())
}

// rememberLocked keeps what has to be remembered about a certificate: at once, because
// actions follow from it. What is only watched can wait, so that the first look at ten
// thousand endpoints is not ten thousand writes to the disk.
func (w *Watchdog) rememberLocked(e *entry) {
	if e.cert.Watched {
		w.unsaved[e.cert.Name] = true
		return
	}
	w.save(map[string]store.Memory{e.cert.Name: e.memory})
}

// saveWatched keeps what changed about what is only watched, all at once.
func (w *Watchdog) saveWatched() {
	w.mu.Lock()
	all := make(map[string]store.Memory, len(w.unsaved))
	for name := range w.unsaved {
		m := w.entries[name].memory
		m.Bound, m.Known, m.Seen = maps.Clone(m.Bound), maps.Clone(m.Known), maps.Clone(m.Seen)
		all[name] = m
	}
	clear(w.unsaved)
	w.mu.Unlock()
	if len(all) > 0 {
		w.save(all)
	}
}

func (w *Watchdog) save(all map[string]store.Memory) {
	if err := w.o.State.SaveMemory(all); err != nil {
		w.o.Log.Error("keeping what addresses served", "certificates", len(all), "err", err)
	}
}

// Inherit takes over what another watchdog saw of endpoints and sources that both have, so
// that a reload of the configuration blinds nobody. Call it before Start.
func (w *Watchdog) Inherit(before *Watchdog) {
	before.mu.Lock()
	defer before.mu.Unlock()
	w.fleet = before.fleet
	for name, old := range before.entries {
		e, ok := w.entries[name]
		if !ok {
			continue
		}
		e.budget, e.supply = old.budget, old.supply
		e.state, e.errors = old.state, old.errors // timers go on
		if e.cert.Source == old.cert.Source {
			e.stored, e.problems, e.read, e.changed = old.stored, old.problems, old.read, old.changed
			e.attempt = old.attempt
			e.memory.Stored, e.memory.Awaited, e.drifting = old.memory.Stored, old.memory.Awaited, maps.Clone(old.drifting)
			if old.kept != nil {
				e.kept = &watchedFile{Content: old.kept.Content} // to be judged anew, maybe for other roots
			}
		}
		for _, ep := range e.cert.Endpoints {
			if o, ok := old.observed[old.name(ep)]; ok && reflect.DeepEqual(o.Endpoint, ep) {
				e.inheritTracks(old, ep)
				e.see(o)
			}
		}
	}
}
