package disk

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

// Options say what a [Watcher] watches and whom it tells.
type Options struct {
	Sources map[string]certmedic.Source // by certificate
	Poll    time.Duration               // how often everything is looked at whatever inotify says; 0 is 10 s

	// Changed is called with a certificate's name once when its watching has begun, and
	// then after each change of its source: of its files, its links, its hooks, its
	// renewal configuration or the presence of certbot's lock. It is called from the
	// watcher's own goroutine, so it should return soon.
	Changed func(name string)
}

// Watcher tells when sources change. It hears of most changes within a tenth of a
// second from inotify, and finds the others by looking at each source at every poll:
// those on network file systems, and those for which the kernel has no watch left. A
// folder that is missing is looked for every second, and everything is looked at anew
// within a second after the kernel said that it dropped events.
//
// It needs a watch for each folder: two for each lineage, and a handful that all lineages
// of a tree share. Should a source that is watched change without an event, the next poll
// sees that a lineage's links moved or that the file of a leaf changed, and one poll in
// sixteen sees the rest: so a poll costs one stat a source, and ten thousand lineages cost
// little.
//
// A file system that hangs holds up the watcher, as it holds up whoever reads it.
//
// A lock that its holder left without removing the file changes nothing on disk:
// whoever waits for a lock has to ask again, see [AskLock].
type Watcher struct {
	poll    time.Duration
	changed func(name string)
	network func(folder string) string // names the network file system a folder is on
	inotify func() (*fsnotify.Watcher, error)

	kick chan struct{}

	mu       sync.Mutex // guards the following
	sources  map[string]certmedic.Source
	degraded []string
}

// The pace of a watcher.
const (
	defaultPoll  = 10 * time.Second
	missingEvery = time.Second
	coalesceFor  = 50 * time.Millisecond
	fullEvery    = 16 // polls
)

// NewWatcher returns a watcher that does nothing until Run.
func NewWatcher(opts Options) *Watcher {
	w := &Watcher{
		poll:    opts.Poll,
		changed: opts.Changed,
		network: networkFS,
		inotify: fsnotify.NewWatcher,
		kick:    make(chan struct{}, 1),
		sources: maps.Clone(opts.Sources),
	}
	if w.poll <= 0 {
		w.poll = defaultPoll
	}
	return w
}

// Set replaces the sources. It may be called at any time, from Changed as well.
func (w *Watcher) Set(sources map[string]certmedic.Source) {
	w.mu.Lock()
	w.sources = maps.Clone(sources)
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// Degraded says, sorted, which certificates are only polled, and why.
func (w *Watcher) Degraded() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.degraded)
}

// Run watches until the context ends, whose error it returns. It must be called once.
func (w *Watcher) Run(ctx context.Context) error {
	r := newRound(w)
	defer r.close()
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	second := time.NewTicker(missingEvery)
	defer second.Stop()
	r.takeSources()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.kick:
			r.takeSources()
		case <-poll.C:
			r.poll()
		case <-second.C:
			r.lookAtMissing()
		case event := <-r.events:
			r.note(event)
		case <-r.errors: // events were lost, and with them perhaps news of lost watches
			r.lost = true
		case <-r.due:
			r.lookAtNoted()
		}
	}
}

// round is what the goroutine of Run knows. Nothing else touches it.
type round struct {
	w       *Watcher
	inotify *fsnotify.Watcher // nil where the kernel has no instance left
	broken  error             // why it is nil
	events  chan fsnotify.Event
	errors  chan error

	seed    maphash.Seed
	cache   *KeyCache
	watched map[string]folderID // folders with a watch
	states  map[string]*state   // by certificate
	noted   map[string]bool     // certificates with an event since they were looked at
	due     <-chan time.Time    // when to look at them; nil while there are none
	lost    bool                // events were lost
	polls   int                 // how many there were

	byName   map[string][]string // certificates by the names that concern them; nil after a footprint changed
	byFolder map[string][]string // by the folders in which everything does
}

// state is what is known of one source.
type state struct {
	source    certmedic.Source
	turn      int // at which of the polls it is looked at in full
	footprint footprint
	print     uint64 // of its own files
	testimony uint64 // of its witness
	tree      uint64 // of what it shares with others
	stale     bool   // its footprint and its watches have to be seen to
	missing   bool   // a needed folder is not there
	degraded  string // why it is only polled
}

// folderID tells a folder from another one that took its name.
type folderID struct{ dev, ino uint64 }

func newRound(w *Watcher) *round {
	r := &round{w: w, seed: maphash.MakeSeed(), cache: &KeyCache{}}
	r.watched, r.states, r.noted = map[string]folderID{}, map[string]*state{}, map[string]bool{}
	r.open()
	return r
}

// open gets an inotify instance; without one everything is polled.
func (r *round) open() {
	inotify, err := r.w.inotify()
	if err != nil {
		r.broken = err
		return
	}
	r.inotify, r.broken = inotify, nil
	r.events, r.errors = inotify.Events, inotify.Errors
}

func (r *round) close() {
	if r.inotify != nil {
		r.inotify.Close()
	}
}

// takeSources brings everything up to date with the sources as they are set now.
func (r *round) takeSources() {
	r.w.mu.Lock()
	sources := maps.Clone(r.w.sources)
	r.w.mu.Unlock()
	before := len(r.states)
	maps.DeleteFunc(r.states, func(name string, s *state) bool {
		src, ok := sources[name]
		return !ok || src != s.source
	})
	if len(r.states) < before {
		r.byName = nil
	}
	for name, src := range sources {
		if r.states[name] == nil {
			r.states[name] = &state{source: src, turn: len(r.states) % fullEvery, stale: true}
		}
	}
	r.lookAt(maps.Keys(r.states), (*round).unchanged)
	r.publishDegraded()
}

// poll looks at everything.
func (r *round) poll() {
	if r.inotify == nil {
		r.open()
	}
	r.polls++
	r.lookAt(maps.Keys(r.states), (*round).seemsUnchanged)
	r.publishDegraded()
}

// lookAtMissing looks for missing folders, and at everything when events were lost.
func (r *round) lookAtMissing() {
	if r.lost {
		r.lost = false
		clear(r.watched)
		for _, s := range r.states {
			s.stale = true
		}
		r.lookAt(maps.Keys(r.states), (*round).unchanged)
		return
	}
	var names []string
	for name, s := range r.states {
		if s.missing {
			names = append(names, name)
		}
	}
	r.lookAt(slices.Values(names), (*round).unchanged)
}

func (r *round) lookAtNoted() {
	noted := r.noted
	r.noted, r.due = map[string]bool{}, nil
	r.lookAt(maps.Keys(noted), (*round).unchanged)
}

// lookAt tells which of the certificates' sources changed, and sees to the watches of
// those. The watches come first, so that nothing happens unseen between the two.
func (r *round) lookAt(names iter.Seq[string], unchanged func(*round, *glance, *state) bool) {
	g := newGlance(r.seed, r.cache)
	var changed []string
	looked := false
	for name := range names {
		s := r.states[name]
		if s == nil || unchanged(r, g, s) {
			continue
		}
		looked = true
		if r.renew(g, s) {
			changed = append(changed, name)
		}
	}
	if r.byName == nil {
		r.unwatch()
		r.index()
	}
	if looked {
		r.publishDegraded()
	}
	slices.Sort(changed)
	for _, name := range changed {
		r.w.changed(name)
	}
}

// unchanged reports whether a source that is watched is as it was.
func (r *round) unchanged(g *glance, s *state) bool {
	return !s.stale && !s.missing && s.degraded == "" &&
		s.tree == g.treePrint(s.footprint.tree) && s.print == g.fingerprint(&s.footprint)
}

// seemsUnchanged is unchanged for a poll, which leaves it to the witness unless it is the
// source's turn.
func (r *round) seemsUnchanged(g *glance, s *state) bool {
	if s.stale || s.degraded != "" || r.polls%fullEvery == s.turn {
		return r.unchanged(g, s)
	}
	return s.tree == g.treePrint(s.footprint.tree) && s.testimony == g.testify(&s.footprint)
}

// renew finds out anew what a source needs, watches that, and reports whether the source
// changed since it was looked at last.
func (r *round) renew(g *glance, s *state) bool {
	if f := g.footprintOf(s.source); s.stale || !f.same(&s.footprint) {
		s.footprint = f
		r.byName = nil
	}
	r.watch(s)
	print, tree := g.fingerprint(&s.footprint), g.treePrint(s.footprint.tree)
	changed := print != s.print || tree != s.tree
	s.print, s.tree, s.testimony = print, tree, g.testify(&s.footprint)
	s.stale = false
	return changed
}

func (r *round) watch(s *state) {
	s.missing, s.degraded = false, ""
	for _, folder := range s.footprint.needed {
		if r.watchFolder(s, folder) != nil {
			s.missing = true
		}
	}
	for _, folder := range s.footprint.optional {
		_ = r.watchFolder(s, folder) // being absent is fine, other reasons are in s.degraded
	}
}

// watchFolder makes sure that a folder is watched, the one that bears the name now. It
// returns an error only for a folder that is not there; other reasons not to watch go
// to the source's state.
func (r *round) watchFolder(s *state, folder string) error {
	id, err := identify(folder)
	if err != nil {
		r.forget(folder)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return unix.ENOENT
		}
		s.degraded = fmt.Sprintf("no watch on %s: %v", folder, reason(err))
		return nil
	}
	is := folderID{id.dev, id.ino}
	if r.watched[folder] == is {
		return nil
	}
	r.forget(folder)
	if fs := r.w.network(folder); fs != "" {
		s.degraded = fmt.Sprintf("%s is on a network file system (%s)", folder, fs)
		return nil
	}
	if r.inotify == nil {
		s.degraded = "no inotify instance: " + explain(r.broken)
		return nil
	}
	switch err := r.inotify.Add(folder); {
	case errors.Is(err, unix.ENOENT):
		return err
	case err != nil:
		s.degraded = fmt.Sprintf("no watch on %s: %s", folder, explain(err))
	default:
		r.watched[folder] = is
	}
	return nil
}

// explain names the limit behind the two errors whose own text misleads.
func explain(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "the limit fs.inotify.max_user_watches is reached"
	case errors.Is(err, unix.EMFILE):
		return "the limit fs.inotify.max_user_instances, or that of open files, is reached"
	default:
		return err.Error()
	}
}

func (r *round) forget(folder string) {
	if _, ok := r.watched[folder]; ok {
		delete(r.watched, folder)
		_ = r.inotify.Remove(folder) // the kernel may have removed it already
	}
}

// unwatch drops the folders that no source needs any more.
func (r *round) unwatch() {
	needed := map[string]bool{}
	for _, s := range r.states {
		for _, folders := range [][]string{s.footprint.needed, s.footprint.optional} {
			for _, folder := range folders {
				needed[folder] = true
			}
		}
	}
	for folder := range r.watched {
		if !needed[folder] {
			r.forget(folder)
		}
	}
}

// index lists whom an event concerns.
func (r *round) index() {
	r.byName, r.byFolder = map[string][]string{}, map[string][]string{}
	for name, s := range r.states {
		f := &s.footprint
		for _, paths := range [][]string{f.files, f.links, f.ends, f.needed, f.optional} {
			for _, path := range paths {
				path = filepath.Clean(path)
				r.byName[path] = append(r.byName[path], name)
			}
		}
		for _, file := range f.files {
			r.byFolder[filepath.Clean(file)] = append(r.byFolder[filepath.Clean(file)], name)
		}
		if f.tree == "" {
			continue
		}
		hooks := hooksFolder(f.tree)
		r.byFolder[hooks] = append(r.byFolder[hooks], name)
		for _, file := range []string{lockName, "cli.ini"} {
			path := filepath.Join(f.tree, file)
			r.byName[path] = append(r.byName[path], name)
		}
	}
}

// note marks the certificates that an event may concern; they are looked at a moment
// later, together with what else happens until then.
func (r *round) note(event fsnotify.Event) {
	lost := false
	if _, watched := r.watched[event.Name]; watched && event.Has(fsnotify.Remove|fsnotify.Rename) {
		delete(r.watched, event.Name) // a folder that goes loses its watch
		lost = true
	}
	for _, names := range [][]string{r.byName[event.Name], r.byFolder[filepath.Dir(event.Name)]} {
		for _, name := range names {
			r.noted[name] = true
			r.states[name].stale = r.states[name].stale || lost
		}
	}
	if len(r.noted) > 0 && r.due == nil {
		r.due = time.After(coalesceFor)
	}
}

func (r *round) publishDegraded() {
	var out []string
	for name, s := range r.states {
		if s.degraded != "" {
			out = append(out, fmt.Sprintf("%s: %s: looked at every %s", name, s.degraded, r.w.poll))
		}
	}
	slices.Sort(out)
	r.w.mu.Lock()
	r.w.degraded = out
	r.w.mu.Unlock()
}
