// Package web serves what certmedic knows over HTTP: the pages, the metrics, /probe, the API,
// and the same API with actions on the Unix socket of the commands. The app builds it from
// a [Backend] and listens.
//
// It promises that reading needs nothing and changes nothing, that anything that changes
// something on a TCP listener needs a login and the same origin, and that the socket serves
// nobody but root and the daemon's own user.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
)

// Backend is what the server shows. The app implements it.
type Backend interface {
	Status() api.Status
	Incidents(certificate string, limit int) ([]certmedic.Incident, error)
	History(certificate string, limit int) ([]certmedic.Action, error)
	Rules() []api.Rule
	Act(ctx context.Context, r api.ActionRequest) (api.ActionAnswer, error)
	// Begin is Act, but waits only as long as ctx lasts: ended is false where the action goes on.
	Begin(ctx context.Context, r api.ActionRequest) (answer api.ActionAnswer, ended bool, err error)
	Reload(ctx context.Context) error
	Ready() bool
}

// Options are what a server needs.
type Options struct {
	Backend   Backend
	Versions  Versions // for the socket; the pages list what is kept
	Matrices  Matrices
	Fleet     Fleet
	Silences  Silences
	Acks      Acks
	Hooks     Hooks     // nil: they are not there
	Receivers Receivers // for the socket only
	Drills    Drills    // for the socket only
	Approvals Approvals // for the socket, and for those who log in
	Metrics   http.Handler
	Probe     http.Handler
	// ProbeLogs shows the recent probes of /probe.
	ProbeLogs http.Handler
	Rehearser Rehearser   // for the socket only
	Live      Live        // nil: nobody can watch
	Login     func() bool // whether the listeners ask for a login now; their configuration is read at each request
	Version   string
	Log       *slog.Logger
}

// Server holds the handlers.
type Server struct{ o Options }

// New returns a server.
func New(o Options) *Server { return &Server{o} }

// Public returns the handler of the TCP listeners.
func (s *Server) Public() http.Handler {
	mux := http.NewServeMux()
	s.reading(mux)
	s.pages(mux)
	mux.Handle("GET /metrics", s.o.Metrics)
	mux.Handle("GET /probe", s.o.Probe)
	mux.Handle("GET /logs", s.o.ProbeLogs)
	mux.HandleFunc("GET /sd", s.sd)
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "certmedic is healthy.") })
	mux.HandleFunc("GET /-/ready", s.ready)
	mux.Handle("POST /api/v1/silences", s.guarded(http.HandlerFunc(s.addSilence)))
	mux.Handle("POST /api/v1/silences/end", s.guarded(http.HandlerFunc(s.endSilence)))
	mux.Handle("POST /api/v1/acknowledgements", s.guarded(http.HandlerFunc(s.acknowledge)))
	mux.Handle("POST /-/reload", s.guarded(http.HandlerFunc(s.reload)))
	s.approvals(mux, s.guarded)
	s.deeds(mux)
	return mux
}

// Private returns the handler of the Unix socket, which people with a shell on this host
// use through the commands.
func (s *Server) Private() http.Handler {
	mux := http.NewServeMux()
	s.reading(mux)
	s.versions(mux)
	s.receivers(mux)
	s.approvals(mux, func(h http.Handler) http.Handler { return h })
	mux.HandleFunc("POST /api/v1/actions", s.act)
	mux.HandleFunc("POST /api/v1/silences", s.addSilence)
	mux.HandleFunc("POST /api/v1/silences/end", s.endSilence)
	mux.HandleFunc("POST /api/v1/acknowledgements", s.acknowledge)
	mux.HandleFunc("POST /api/v1/rehearsals", s.rehearse)
	mux.HandleFunc("POST /-/reload", s.reload)
	return mux
}

func (s *Server) reading(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		status := s.o.Backend.Status()
		if open(r) {
			status.Certificates = openViews(status.Certificates)
			status.Fleet, status.Receivers = openIncidents(status.Fleet), openReceivers(status.Receivers)
		}
		s.answer(w, status, nil)
	})
	mux.HandleFunc("GET /api/v1/incidents", func(w http.ResponseWriter, r *http.Request) {
		incidents, err := s.o.Backend.Incidents(r.FormValue("certificate"), limit(r))
		if open(r) {
			incidents = openIncidents(incidents)
		}
		s.answer(w, incidents, err)
	})
	mux.HandleFunc("GET /api/v1/certificates/{name}/matrix", s.matrix)
	mux.HandleFunc("GET /api/v1/fleet", s.fleet)
	mux.HandleFunc("GET /api/v1/silences", s.silences)
	mux.HandleFunc("GET /api/v1/acknowledgements", s.acknowledged)
	mux.HandleFunc("GET /api/v1/rules", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, s.o.Backend.Rules(), nil) })
	mux.HandleFunc("GET /api/v1/openapi.json", s.openapi)
	mux.HandleFunc("GET /api/v1/events", s.events)
	mux.HandleFunc("GET /api/v1/history", func(w http.ResponseWriter, r *http.Request) {
		actions, err := s.o.Backend.History(r.FormValue("certificate"), limit(r))
		if open(r) {
			actions = openActions(actions)
		}
		s.answer(w, actions, err)
	})
}

// guarded lets a request through that came with a login and from the same origin.
func (s *Server) guarded(h http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	return sameOrigin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.o.Login() {
			s.problem(w, http.StatusForbidden, "this needs a login: set basic_auth_users in --web.config.file, send SIGHUP, or use the command line")
			return
		}
		h.ServeHTTP(w, r)
	}))
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if !s.o.Backend.Ready() {
		http.Error(w, "certmedic is not ready.", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "certmedic is ready.")
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if err := s.o.Backend.Reload(r.Context()); err != nil {
		s.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	fmt.Fprintln(w, "The configuration was reloaded.")
}

// maxBody bounds a request's body, in bytes.
const maxBody = 1 << 20

func (s *Server) act(w http.ResponseWriter, r *http.Request) {
	var request api.ActionRequest
	if !s.decoded(w, r, &request) {
		return
	}
	request.By = named(r)
	answer, err := s.o.Backend.Act(r.Context(), request)
	s.answer(w, answer, err)
}

// decoded reads a request's body, or answers what is wrong with it.
func (s *Server) decoded(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		s.problem(w, http.StatusBadRequest, "reading the request: "+err.Error())
		return false
	}
	return true
}

// limit reads how many entries are wanted: 100, if nothing else was said, and at most
// 10,000.
func limit(r *http.Request) int {
	n, err := strconv.Atoi(r.FormValue("limit"))
	if err != nil || n <= 0 {
		return 100
	}
	return min(n, 10_000)
}

func (s *Server) answer(w http.ResponseWriter, value any, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		s.problem(w, http.StatusServiceUnavailable, api.ErrCutShort.Error())
		return
	case err != nil:
		s.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		s.o.Log.Debug("answering", "err", err)
	}
}

func (s *Server) problem(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(api.Problem{Error: message}) // the client went away: nobody is left to tell
}
