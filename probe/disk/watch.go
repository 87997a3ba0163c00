package disk

import (
	"context"
	"errors"
	"fmt"
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
// those on network file systems, those for which the kernel has no watch left, and
// those whose events were lost. A folder that is missing is looked for every second.
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
	missing := time.NewTicker(missingEvery)
	defer missing.Stop()
	r.lookAtAll()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.kick:
			r.lookAtAll()
		case <-poll.C:
			r.lookAtAll()
		case <-missing.C:
			r.lookAtMissing()
		case event := <-r.events:
			r.note(event)
		case <-r.errors: // events were lost, and with them perhaps news of lost watches
			clear(r.watched)
			r.lookAtAll()
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

	watched map[string]folderID // folders with a watch
	states  map[string]*state   // by certificate
	noted   map[string]bool     // certificates with an event since they were looked at
	due     <-chan time.Time    // when to look at them; nil while there are none
}

// state is what is known of one source.
type state struct {
	source      certmedic.Source
	footprint   footprint
	fingerprint uint64
	missing     bool   // a needed folder is not there
	degraded    string // why it is only polled
}

// folderID tells a folder from another one that took its name.
type folderID struct{ dev, ino uint64 }

func newRound(w *Watcher) *round {
	r := &round{w: w, watched: map[string]folderID{}, states: map[string]*state{}, noted: map[string]bool{}}
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

// lookAtAll brings everything up to date with the sources as they are set now.
func (r *round) lookAtAll() {
	if r.inotify == nil {
		r.open()
	}
	r.w.mu.Lock()
	sources := maps.Clone(r.w.sources)
	r.w.mu.Unlock()
	maps.DeleteFunc(r.states, func(name string, s *state) bool {
		src, ok := sources[name]
		return !ok || src != s.source
	})
	for name, src := range sources {
		if r.states[name] == nil {
			r.states[name] = &state{source: src}
		}
	}
	r.lookAt(slices.Sorted(maps.Keys(sources)))
	r.unwatch()
}

func (r *round) lookAtMissing() {
	var names []string
	for name, s := range r.states {
		if s.missing {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		r.lookAt(slices.Sorted(slices.Values(names)))
	}
}

func (r *round) lookAtNoted() {
	names := slices.Sorted(maps.Keys(r.noted))
	clear(r.noted)
	r.due = nil
	r.lookAt(names)
}

// lookAt watches what the certificates' sources need now, and tells which changed. The
// watches come first, so that nothing happens unseen between the two.
func (r *round) lookAt(names []string) {
	var changed []string
	for _, name := range names {
		s := r.states[name]
		if s == nil {
			continue
		}
		s.footprint = footprintOf(s.source)
		r.watch(s)
		if print := s.footprint.fingerprint(); print != s.fingerprint {
			s.fingerprint = print
			changed = append(changed, name)
		}
	}
	r.publishDegraded()
	for _, name := range changed {
		r.w.changed(name)
	}
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
		for _, folder := range slices.Concat(s.footprint.needed, s.footprint.optional) {
			needed[folder] = true
		}
	}
	for folder := range r.watched {
		if !needed[folder] {
			r.forget(folder)
		}
	}
}

// note marks the certificates that an event may concern; they are looked at a moment
// later, together with what else happens until then.
func (r *round) note(event fsnotify.Event) {
	folder := filepath.Dir(event.Name)
	if event.Has(fsnotify.Remove | fsnotify.Rename) {
		delete(r.watched, event.Name) // a folder that goes loses its watch
	}
	for name, s := range r.states {
		if s.concerns(folder) || s.concerns(event.Name) {
			r.noted[name] = true
		}
	}
	if len(r.noted) > 0 && r.due == nil {
		r.due = time.After(coalesceFor)
	}
}

func (s *state) concerns(folder string) bool {
	return slices.Contains(s.footprint.needed, folder) || slices.Contains(s.footprint.optional, folder)
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
