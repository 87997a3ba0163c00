// Package pdfake is PagerDuty for tests: the Events API v2 with its limits, the life of incidents,
// and webhooks v3. It follows PagerDuty's published documentation, and refuses what that does not
// allow, unknown fields too, where PagerDuty itself may be lenient. Tests of whoever sends events
// use it as an [http.Handler], or by [Service.Client] without a socket, in a bubble of virtual time
// too. It counts pages, the calls that wake people up, so that a test can say that there was one.
package pdfake

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The states of an incident.
const (
	Triggered    = "triggered"
	Acknowledged = "acknowledged"
	Resolved     = "resolved"
)

const (
	defaultCalls  = 120
	defaultWindow = time.Minute
	defaultRetry  = 5 * time.Second // about 7 minutes in all; PagerDuty's attempts take about 20
	maxBody       = 512 << 10
)

// Options change how the service behaves. The zero value is PagerDuty as it is documented.
type Options struct {
	Keys   []string      // routing keys that are known; empty: every one of 32 characters
	Calls  int           // that are taken with one routing key in a window; 0: 120
	Window time.Duration // looking back from now; 0: a minute
	Retry  time.Duration // before a webhook is sent again, four times as long before each further attempt; 0: 5 s

	// Fault says what goes wrong with a call, which is counted from 1; nil: nothing.
	Fault func(call int) Fault
}

// Fault is something that goes wrong with one call. The zero value is nothing.
type Fault struct {
	Delay  time.Duration // before anything else
	Status int           // answer this instead of processing the call; 0: process it
	Header http.Header   // of that answer
	Body   string        // of that answer
	Lost   bool          // process the call, and close the connection without an answer
}

// Incident is an incident, with the one alert that opened it.
type Incident struct {
	ID         string // PagerDuty's
	Number     int
	RoutingKey string
	Key        string // the dedup key
	Status     string
	Severity   string // of the newest trigger
	Summary    string // of the newest trigger
	Title      string // the summary of the first trigger
	Assignee   string
	Pages      int     // how often people were called because of it
	Events     []Event // that were applied to it, oldest first
}

// Change is a change event that was taken.
type Change struct {
	RoutingKey string
	Summary    string
	Source     string
	Details    map[string]any
	Links      []Link
}

// Counts are numbers of calls.
type Counts struct {
	Calls     int // all of them
	Accepted  int // answered 202, or processed without an answer
	Refused   int // 400, 413
	Throttled int // 429
	Dropped   int // accepted acknowledgements and resolutions of what is not open
	Triggers  int // accepted
}

// Service is a PagerDuty account with one service. Its methods may be called by several
// goroutines.
type Service struct {
	options Options

	mu        sync.Mutex // guards all below
	counts    Counts
	refusals  []string
	taken     map[string][]time.Time // calls within the window, by routing key
	incidents []*Incident
	changes   []Change
	hooks     []*subscription
	eventIDs  int
}

// New returns a service to which nothing has happened.
func New(o Options) *Service {
	if o.Calls == 0 {
		o.Calls = defaultCalls
	}
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	if o.Retry == 0 {
		o.Retry = defaultRetry
	}
	return &Service{options: o, taken: map[string][]time.Time{}}
}

// Client returns a client whose requests go to the service without a socket, whatever host they
// are for.
func (s *Service) Client() *http.Client { return &http.Client{Transport: direct{s}} }

type direct struct{ s *Service }

// RoundTrip answers a request. A lost answer is an error, as on a connection that was closed.
func (d direct) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			resp, err = nil, errLost
		default:
			panic(p)
		}
	}()
	recorder := httptest.NewRecorder()
	d.s.ServeHTTP(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}

// Counts returns how many calls there were.
func (s *Service) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Refusals returns why calls were answered with 400 or 413, oldest first.
func (s *Service) Refusals() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refusals)
}

// Incidents returns all incidents, oldest first.
func (s *Service) Incidents() []Incident {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Incident{}
	for _, i := range s.incidents {
		copied := *i
		copied.Events = slices.Clone(i.Events)
		all = append(all, copied)
	}
	return all
}

// Open returns the incidents that are not resolved, oldest first.
func (s *Service) Open() []Incident {
	return slices.DeleteFunc(s.Incidents(), func(i Incident) bool { return i.Status == Resolved })
}

// Of returns the incidents with a dedup key, oldest first.
func (s *Service) Of(key string) []Incident {
	return slices.DeleteFunc(s.Incidents(), func(i Incident) bool { return i.Key != key })
}

// Pages returns how often people were called because of a dedup key.
func (s *Service) Pages(key string) int {
	pages := 0
	for _, i := range s.Of(key) {
		pages += i.Pages
	}
	return pages
}

// Changes returns the change events that were taken, oldest first.
func (s *Service) Changes() []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.changes)
}

// open returns the incident of a key that is not resolved, nil where there is none. Events with
// another routing key do not belong to it.
func (s *Service) open(routingKey, key string) *Incident {
	for _, i := range slices.Backward(s.incidents) {
		if i.Key == key && i.Status != Resolved && (routingKey == "" || i.RoutingKey == routingKey) {
			return i
		}
	}
	return nil
}

// apply does to incidents what an event says, by the documented rules.
func (s *Service) apply(e Event) {
	i := s.open(e.RoutingKey, e.DedupKey)
	if e.Action == "trigger" {
		s.counts.Triggers++
	}
	switch {
	case i == nil && e.Action != "trigger":
		s.counts.Dropped++
		return
	case i == nil:
		i = s.create(e)
	case e.Action == "trigger": // a line in its log, silent
		i.Severity, i.Summary = e.Payload.Severity, e.Payload.Summary
	case e.Action == "acknowledge":
		s.move(i, Acknowledged, "incident.acknowledged", integration)
	default:
		s.move(i, Resolved, "incident.resolved", integration)
	}
	i.Events = append(i.Events, e)
}

// create opens an incident and calls somebody.
func (s *Service) create(e Event) *Incident {
	number := len(s.incidents) + 1
	i := &Incident{
		ID: "P" + strconv.Itoa(1_000_000+number), Number: number, RoutingKey: e.RoutingKey, Key: e.DedupKey, Status: Triggered,
		Severity: e.Payload.Severity, Summary: e.Payload.Summary, Title: e.Payload.Summary, Assignee: "On Call", Pages: 1,
	}
	s.incidents = append(s.incidents, i)
	s.publish("incident.triggered", i, integration)
	return i
}

// move changes the state of an incident, and says so to subscribers if it was another.
func (s *Service) move(i *Incident, status, eventType string, by agent) {
	if i.Status == status {
		return
	}
	i.Status = status
	s.publish(eventType, i, by)
}
