package web

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web/page"
)

// Matrices answers which version of a certificate is where; ok is false where there is no such
// certificate. The app implements it.
type Matrices interface {
	Matrix(certificate string) (m api.Matrix, ok bool)
}

func (s *Server) matrix(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	m, ok := s.o.Matrices.Matrix(name)
	if !ok {
		s.problem(w, http.StatusNotFound, fmt.Sprintf("there is no certificate %q", name))
		return
	}
	s.answer(w, m, nil)
}

// certificatePage shows one certificate alone, with its matrix.
func (s *Server) certificatePage(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	status := s.o.Backend.Status()
	i := slices.IndexFunc(status.Certificates, func(v watchdog.View) bool { return v.Name == name })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	actions, err := s.o.Backend.History(name, pageLimit)
	if err != nil {
		s.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.show(w, r, page.Data{
		Views: openViews(status.Certificates[i : i+1]), Actions: openActions(actions),
		Acknowledged: lookedAfter(status.Acknowledged), Alone: true,
	})
}
