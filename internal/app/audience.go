package app

import (
	"sync"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// The bounds of those who watch.
const (
	mostWatchers = 200
	mostUnread   = 64 // changes that one has not read yet
)

// audience tells whoever watches, such as the pages that are open, that something changed.
type audience struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	over     bool
}

type watcher struct{ changes chan api.Change }

// Watch returns a channel that takes what changes from now on, until end is called or certmedic ends,
// which closes it. ok is false where too many watch already.
func (l *audience) Watch() (changes <-chan api.Change, end func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || len(l.watchers) >= mostWatchers {
		return nil, nil, false
	}
	w := &watcher{changes: make(chan api.Change, mostUnread)}
	if l.watchers == nil {
		l.watchers = map[*watcher]struct{}{}
	}
	l.watchers[w] = struct{}{}
	return w.changes, func() { l.leave(w) }, true
}

func (l *audience) leave(w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, watches := l.watchers[w]; watches {
		delete(l.watchers, w)
		close(w.changes)
	}
}

// tell says that something changed. It never waits: to whoever has not read for long it says in place of
// all that, that anything may have.
func (l *audience) tell(c api.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.watchers {
		select {
		case w.changes <- c:
			continue
		default:
		}
		for drained := false; !drained; {
			select {
			case <-w.changes:
			default:
				drained = true
			}
		}
		w.changes <- api.Change{Kind: api.ChangeEverything} // there is room: nobody else writes
	}
}

// close ends every watch.
func (l *audience) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	for w := range l.watchers {
		delete(l.watchers, w)
		close(w.changes)
	}
}

// acted tells of an action or a rehearsal.
func (l *audience) acted(a certmedic.Action) {
	l.tell(api.Change{Kind: api.ChangeAction, Certificate: a.Certificate, ID: a.ID})
}

// heard tells of news.
func (l *audience) heard(n watchdog.News) {
	c := api.Change{Kind: api.ChangeVersion, Certificate: n.Certificate.Name}
	if n.Kind == watchdog.NewsIncident {
		c = api.Change{Kind: api.ChangeIncident, Certificate: n.Transition.Incident.Subject.Certificate, ID: n.Transition.Incident.ID}
	}
	l.tell(c)
}

// said tells that a person said something.
func (l *audience) said(certificate string) {
	l.tell(api.Change{Kind: api.ChangeWord, Certificate: certificate})
}
