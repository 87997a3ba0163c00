package sd

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/certmedic/certmedic"
)

// Server is a server to ask in the form of http_sd.
type Server struct {
	URL     string
	Refresh time.Duration // how often it is asked, which it is told; 0: at every look
}

// Memory keeps what servers and DNS answered last, errors included, until each is due again
// by its own interval, so that one that is to be asked often has no other asked as often.
// Its zero value is ready; a nil one remembers nothing. One goroutine at a time may use it.
type Memory struct {
	Waited time.Duration // for answers, in all

	answers map[string]answer
}

// answer is what came back, of one of both kinds.
type answer struct {
	groups    []Group
	endpoints []certmedic.Endpoint
	err       error
	at        time.Time
}

const (
	early      = time.Second / 2 // by which a look may come too early and still count as due
	retryAfter = time.Minute     // at most, after an error
	forgetIn   = 24 * time.Hour  // what nobody asked for since then
)

// Fetch returns what [Fetch] does, or did when the server was due last.
func (m *Memory) Fetch(ctx context.Context, client *http.Client, s Server) ([]Group, error) {
	a := m.ask(ctx, s.URL, s.Refresh, func() (a answer) {
		a.groups, a.err = Fetch(ctx, client, s.URL, s.Refresh)
		return a
	})
	return a.groups, a.err
}

// Lookup returns what [Lookup] does, or did when the names were due last.
func (m *Memory) Lookup(ctx context.Context, resolver Resolver, q Query) ([]certmedic.Endpoint, error) {
	a := m.ask(ctx, fmt.Sprintf("%#v", q), q.Refresh, func() (a answer) {
		a.endpoints, a.err = Lookup(ctx, resolver, q)
		return a
	})
	return a.endpoints, a.err
}

// ask returns the kept answer to a question, or a new one. One that was cut short is not kept.
func (m *Memory) ask(ctx context.Context, question string, every time.Duration, answered func() answer) answer {
	if m == nil {
		return answered()
	}
	began := time.Now()
	a, ok := m.answers[question]
	if a.err != nil {
		every = min(every, retryAfter)
	}
	if ok && began.Sub(a.at)+early < every {
		return a
	}
	a = answered()
	m.Waited += time.Since(began)
	if ctx.Err() != nil {
		return a
	}
	if m.answers == nil {
		m.answers = map[string]answer{}
	}
	maps.DeleteFunc(m.answers, func(_ string, old answer) bool { return began.Sub(old.at) > forgetIn })
	a.at = began
	m.answers[question] = a
	return a
}
