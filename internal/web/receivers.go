package web

import (
	"context"
	"net/http"

	"github.com/certmedic/certmedic/internal/api"
)

// Receivers answers about the ways to tell people, and tries them. The app implements it.
type Receivers interface {
	Receivers() []api.Receiver
	TestReceivers(ctx context.Context, r api.TestRequest) ([]api.TestResult, error)
	PreviewReceivers(r api.PreviewRequest) ([]api.Preview, error)
}

// Drills carries out drills. The app implements it.
type Drills interface {
	StartDrill(r api.DrillRequest) (api.Drill, error)
	Drill(id string) (api.Drill, error)
	EndDrill(id string) (api.Drill, error)
}

// receivers adds what is about receivers: what services say of us is for this host only.
func (s *Server) receivers(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/receivers", func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, s.o.Receivers.Receivers(), nil)
	})
	mux.HandleFunc("POST /api/v1/receivers/test", func(w http.ResponseWriter, r *http.Request) {
		var request api.TestRequest
		if !s.decoded(w, r, &request) {
			return
		}
		request.By = named(r)
		results, err := s.o.Receivers.TestReceivers(r.Context(), request)
		s.answer(w, results, err)
	})
	mux.HandleFunc("POST /api/v1/receivers/preview", func(w http.ResponseWriter, r *http.Request) {
		var request api.PreviewRequest
		if !s.decoded(w, r, &request) {
			return
		}
		previews, err := s.o.Receivers.PreviewReceivers(request)
		s.answer(w, previews, err)
	})
	s.drills(mux)
}

func (s *Server) drills(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/drills", func(w http.ResponseWriter, r *http.Request) {
		var request api.DrillRequest
		if !s.decoded(w, r, &request) {
			return
		}
		request.By = named(r)
		d, err := s.o.Drills.StartDrill(request)
		s.answer(w, d, err)
	})
	mux.HandleFunc("GET /api/v1/drills", func(w http.ResponseWriter, r *http.Request) {
		d, err := s.o.Drills.Drill(r.FormValue("id"))
		s.answer(w, d, err)
	})
	mux.HandleFunc("POST /api/v1/drills/end", func(w http.ResponseWriter, r *http.Request) {
		var request api.EndDrillRequest
		if !s.decoded(w, r, &request) {
			return
		}
		d, err := s.o.Drills.EndDrill(request.ID)
		s.answer(w, d, err)
	})
}
