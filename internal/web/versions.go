package web

import (
	"context"
	"net/http"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/remediate/deny"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

// Versions answers about kept versions and denied keys. The app implements it.
type Versions interface {
	Snapshots(certificate string) ([]snapshot.Snapshot, error)
	Denied() ([]deny.Entry, error)
	Deny(ctx context.Context, r api.DenyRequest) (api.DenyAnswer, error)
}

// versions adds what is about kept versions and denied keys, which only the socket serves.
func (s *Server) versions(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/snapshots", func(w http.ResponseWriter, r *http.Request) {
		all, err := s.o.Versions.Snapshots(r.FormValue("certificate"))
		s.answer(w, all, err)
	})
	mux.HandleFunc("GET /api/v1/keys", func(w http.ResponseWriter, _ *http.Request) {
		all, err := s.o.Versions.Denied()
		s.answer(w, all, err)
	})
	mux.HandleFunc("POST /api/v1/keys", func(w http.ResponseWriter, r *http.Request) {
		var request api.DenyRequest
		if !s.decoded(w, r, &request) {
			return
		}
		request.By = named(r)
		answer, err := s.o.Versions.Deny(r.Context(), request)
		s.answer(w, answer, err)
	})
}
