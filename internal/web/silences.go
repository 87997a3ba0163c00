package web

import (
	"context"
	"net/http"

	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/api"
)

// Silences answers about silences. The app implements it.
type Silences interface {
	Silences(ended bool) []silence.Silence
	AddSilence(ctx context.Context, r api.SilenceRequest) (silence.Silence, error)
	EndSilence(ctx context.Context, r api.EndRequest) (silence.Silence, error)
}

func (s *Server) silences(w http.ResponseWriter, r *http.Request) {
	s.answer(w, s.o.Silences.Silences(r.FormValue("ended") == "true"), nil)
}

func (s *Server) addSilence(w http.ResponseWriter, r *http.Request) {
	var request api.SilenceRequest
	if !s.decoded(w, r, &request) {
		return
	}
	request.By = named(r)
	added, err := s.o.Silences.AddSilence(r.Context(), request)
	s.answer(w, added, err)
}

func (s *Server) endSilence(w http.ResponseWriter, r *http.Request) {
	var request api.EndRequest
	if !s.decoded(w, r, &request) {
		return
	}
	request.By = named(r)
	ended, err := s.o.Silences.EndSilence(r.Context(), request)
	s.answer(w, ended, err)
}
