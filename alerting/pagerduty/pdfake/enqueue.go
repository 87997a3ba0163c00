package pdfake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/certmedic/certmedic/internal/redact"
)

var errLost = errors.New("the connection was closed without an answer")

// refusal is an answer that says no.
type refusal struct {
	status int
	answer answer
	header http.Header
}

// answer is the body of every answer of the Events API.
type answer struct {
	Status   string   `json:"status"`
	Message  string   `json:"message"`
	DedupKey string   `json:"dedup_key,omitempty"`
	Errors   []string `json:"errors,omitempty"`
}

// ServeHTTP takes calls of the Events API v2: POST /v2/enqueue and POST /v2/change/enqueue.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := s.count()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1)) // first, because only then it is noticed that the one who called has gone
	if err != nil || !pause(r.Context(), fault.Delay) {
		return
	}
	if fault.Status != 0 {
		for name, values := range fault.Header {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		w.WriteHeader(fault.Status)
		_, _ = io.WriteString(w, fault.Body) // the one who called may have gone
		return
	}
	said, no := s.take(r, body)
	if fault.Lost {
		panic(http.ErrAbortHandler) // closes the connection
	}
	status := http.StatusAccepted
	if no != nil {
		status, said = no.status, no.answer
		for name, values := range no.header {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(said) // the one who called may have gone
}

// count counts a call, and says what goes wrong with it.
func (s *Service) count() Fault {
	s.mu.Lock()
	s.counts.Calls++
	call := s.counts.Calls
	s.mu.Unlock()
	if s.options.Fault == nil {
		return Fault{}
	}
	return s.options.Fault(call)
}

// pause reports false where the one who called has gone meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// take processes a call.
func (s *Service) take(r *http.Request, body []byte) (answer, *refusal) {
	isChange := r.URL.Path == "/v2/change/enqueue"
	switch {
	case !isChange && r.URL.Path != "/v2/enqueue":
		return s.refuse(http.StatusNotFound, "there is no "+r.URL.Path)
	case r.Method != http.MethodPost:
		return s.refuse(http.StatusMethodNotAllowed, "want POST")
	case r.Header.Get("Content-Type") != "application/json":
		return s.refuse(http.StatusBadRequest, "want Content-Type: application/json")
	case len(body) > maxBody:
		return s.refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody))
	case isChange:
		return s.takeChange(body)
	default:
		return s.takeEvent(body)
	}
}

func (s *Service) takeEvent(body []byte) (answer, *refusal) {
	e, err := decodeEvent(body)
	if err != nil {
		return s.refuse(http.StatusBadRequest, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if no := s.admit(e.RoutingKey); no != nil {
		return answer{}, no
	}
	if e.DedupKey == "" {
		e.DedupKey = fmt.Sprintf("%032x", s.counts.Calls)
	}
	s.apply(e)
	return answer{Status: "success", Message: "Event processed", DedupKey: e.DedupKey}, nil
}

func (s *Service) takeChange(body []byte) (answer, *refusal) {
	c, err := decodeChange(body)
	if err != nil {
		return s.refuse(http.StatusBadRequest, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if no := s.admit(c.RoutingKey); no != nil {
		return answer{}, no
	}
	s.changes = append(s.changes, c)
	return answer{Status: "success", Message: "Change event processed"}, nil
}

// refuse answers that the call is wrong.
func (s *Service) refuse(status int, why string) (answer, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Refused++
	s.refusals = append(s.refusals, redact.Truncate(why, 500))
	return answer{}, &refusal{status: status, answer: answer{Status: "invalid event", Message: "Event object is invalid", Errors: []string{why}}}
}

// admit counts a valid call with a routing key, or says that the key is unknown, or that there
// were too many calls within the window that ends now. Calls that are too many are not counted.
func (s *Service) admit(routingKey string) *refusal {
	if len(s.options.Keys) > 0 && !slices.Contains(s.options.Keys, routingKey) {
		s.counts.Refused++
		s.refusals = append(s.refusals, "unknown routing key")
		return &refusal{status: http.StatusForbidden, answer: answer{Status: "invalid key", Message: "Event object is invalid", Errors: []string{"unknown routing key"}}}
	}
	now := time.Now()
	taken := slices.DeleteFunc(s.taken[routingKey], func(t time.Time) bool { return now.Sub(t) >= s.options.Window })
	if len(taken) < s.options.Calls {
		s.taken[routingKey] = append(taken, now)
		s.counts.Accepted++
		return nil
	}
	s.taken[routingKey] = taken
	s.counts.Throttled++
	seconds := strconv.Itoa(int(math.Ceil(taken[0].Add(s.options.Window).Sub(now).Seconds())))
	return &refusal{
		status: http.StatusTooManyRequests,
		header: http.Header{"Retry-After": {seconds}, "Ratelimit-Limit": {strconv.Itoa(s.options.Calls)}, "Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {seconds}},
		answer: answer{Status: "throttle exceeded", Message: "Requests for this service are arriving too quickly. Please retry later.", Errors: []string{"Request Limit Exceeded"}},
	}
}
