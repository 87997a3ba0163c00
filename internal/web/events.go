package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/certmedic/certmedic/internal/api"
)

// Live tells what changes.
type Live interface {
	// Watch returns a channel that takes what changes from now on, until end is called or certmedic ends,
	// which closes it. ok is false where too many watch already.
	Watch() (changes <-chan api.Change, end func(), ok bool)
}

// The times of the stream of events. A proxy ends a connection on which nothing is said for a minute or
// so; a reader that does not take what it is sent for as long is gone.
const (
	eventsRest  = 15 * time.Second // after which something is said at the latest
	eventsWrite = 30 * time.Second
)

// events sends what changes as server-sent events (HTML, section 9.2), until the reader goes. Each has
// the kind as its name and an [api.Change] as its data.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if s.o.Live == nil {
		s.problem(w, http.StatusNotFound, "there is nothing to watch")
		return
	}
	changes, end, ok := s.o.Live.Watch()
	if !ok {
		w.Header().Set("Retry-After", "30")
		s.problem(w, http.StatusServiceUnavailable, "too many watch already")
		return
	}
	defer end()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold them back
	if r.Method == http.MethodHead {
		return // nothing more would be sent, for ever
	}
	out := &stream{http.NewResponseController(w), w}
	rest := time.NewTicker(eventsRest)
	defer rest.Stop()
	err := out.say("retry: 3000\n: watching\n\n")
	for err == nil {
		select {
		case <-r.Context().Done():
			return
		case <-rest.C:
			err = out.say(": still watching\n\n")
		case c, open := <-changes:
			if !open {
				return
			}
			err = out.change(c)
		}
	}
}

// stream is a connection on which events are sent.
type stream struct {
	control *http.ResponseController
	w       http.ResponseWriter
}

func (s *stream) change(c api.Change) error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	return s.say(fmt.Sprintf("event: %s\ndata: %s\n\n", c.Kind, data))
}

func (s *stream) say(text string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(eventsWrite)) // not every writer has one
	if _, err := fmt.Fprint(s.w, text); err != nil {
		return fmt.Errorf("sending an event: %w", err)
	}
	return s.control.Flush()
}
