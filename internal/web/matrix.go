package web

import (
	"fmt"
	"net/http"

	"github.com/certmedic/certmedic/internal/api"
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
