package web

import (
	"context"
	"net/http"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// Fleet answers what all members of the cluster see. The app implements it.
type Fleet interface {
	Everywhere(ctx context.Context) api.Fleet
}

// fleet answers what all members see. What commands wrote is left out by each member that is asked, and here of this one.
func (s *Server) fleet(w http.ResponseWriter, r *http.Request) {
	f := s.o.Fleet.Everywhere(r.Context())
	if open(r) {
		certificates := make([]api.FleetCertificate, len(f.Certificates))
		for i, c := range f.Certificates {
			c.View = openViews([]watchdog.View{c.View})[0]
			certificates[i] = c
		}
		f.Certificates = certificates
	}
	s.answer(w, f, nil)
}
