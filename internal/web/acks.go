package web

import (
	"context"
	"net/http"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/api"
)

// Acks answers who looks after what, and takes a person's word for it. The app implements it.
type Acks interface {
	Acknowledge(ctx context.Context, r api.AckRequest) ([]api.Acknowledgement, error)
	Acknowledged() []api.Acknowledgement
}

func (s *Server) acknowledged(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, s.o.Acks.Acknowledged(), nil)
}

func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request) {
	var request api.AckRequest
	if !s.decoded(w, r, &request) {
		return
	}
	if request.By = named(r); request.By == "" {
		s.problem(w, http.StatusForbidden, "this is for a named person: log in, or use the command line")
		return
	}
	acknowledged, err := s.o.Acks.Acknowledge(r.Context(), request)
	s.answer(w, acknowledged, err)
}

// lookedAfter returns who looks after what, by the conversation.
func lookedAfter(all []api.Acknowledgement) map[string]alerting.Ack {
	by := map[string]alerting.Ack{}
	for _, one := range all {
		by[one.Conversation] = one.Ack
	}
	return by
}
