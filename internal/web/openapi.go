package web

import (
	"net/http"

	"github.com/certmedic/certmedic/internal/api/openapi"
)

// openapi answers with the description of the API.
func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openapi.Document()) // the client may have gone
}
