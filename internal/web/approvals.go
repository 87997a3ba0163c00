package web

import (
	"context"
	"net/http"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/person"
	"github.com/certmedic/certmedic/remediate/approval"
)

// Approvals answers about the plans that wait for a person, and takes what people say of them. The
// app implements it.
type Approvals interface {
	Plans() []approval.Approval
	Say(ctx context.Context, r api.WordRequest) (approval.Approval, error)
}

// approvals adds what is about plans that wait. On TCP it needs a login; guard is what asks for it.
func (s *Server) approvals(mux *http.ServeMux, guard func(http.Handler) http.Handler) {
	mux.Handle("GET /api/v1/plans", guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, s.o.Approvals.Plans(), nil)
	})))
	mux.Handle("POST /api/v1/plans/approve", guard(s.say(true)))
	mux.Handle("POST /api/v1/plans/reject", guard(s.say(false)))
}

// say takes a person's word.
func (s *Server) say(approve bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request api.WordRequest
		if !s.decoded(w, r, &request) {
			return
		}
		request.Approve, request.By = approve, named(r)
		if request.By == "" {
			s.problem(w, http.StatusForbidden, "this is for a named person: log in, or use the command line")
			return
		}
		said, err := s.o.Approvals.Say(r.Context(), request)
		s.answer(w, said, err)
	})
}

// named names who asks, by what a client cannot choose: the process at the other end of the socket,
// or the login that the web configuration has checked. It is empty where nobody is known.
func named(r *http.Request) string {
	if p := peerOf(r.Context()); p != nil {
		return person.OfProcess(int(p.Pid), int(p.Uid))
	}
	if user, _, ok := r.BasicAuth(); ok && user != "" {
		return user + " (login)"
	}
	return ""
}
