package web

import (
	"context"
	"net/http"

	"github.com/certmedic/certmedic/internal/api"
)

// Rehearser carries out rehearsals. The app implements it.
type Rehearser interface {
	Rehearse(ctx context.Context, r api.RehearsalRequest) (api.RehearsalAnswer, error)
}

// rehearse has something rehearsed for a person on this host.
func (s *Server) rehearse(w http.ResponseWriter, r *http.Request) {
	var request api.RehearsalRequest
	if !s.decoded(w, r, &request) {
		return
	}
	request.By = named(r)
	answer, err := s.o.Rehearser.Rehearse(r.Context(), request)
	s.answer(w, answer, err)
}
