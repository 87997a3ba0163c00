package remediate

import (
	"context"
	"fmt"
	"net/http"

	"github.com/certmedic/certmedic"
)

// reasonHTTPStatus is the reason of actions after which an address answers worse over HTTP.
const reasonHTTPStatus = "http_status"

// answersWorse looks whether an address that answered over HTTP before the action answers with an error
// of its server now, or not at all: the certificate is served, but the service is not. Two looks
// have to see it. Nothing is asked where the version is not served.
func (t *transaction) answersWorse(ctx context.Context, verified bool) (outcome certmedic.Outcome, worse bool) {
	before := map[string]int{}
	for _, a := range t.before.Addresses {
		if a.Bound && works(a.HTTPStatus) {
			before[a.Address] = a.HTTPStatus
		}
	}
	if !verified || len(before) == 0 {
		return certmedic.Outcome{}, false
	}
	detail := ""
	for look := range 2 {
		if look > 0 {
			pauseFor(ctx, roundGap)
		}
		now, err := t.look(ctx)
		if err != nil || ctx.Err() != nil {
			return certmedic.Outcome{}, false
		}
		if detail = worseThan(before, now.Addresses); detail == "" {
			return certmedic.Outcome{}, false
		}
	}
	return certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: reasonHTTPStatus, Detail: detail}, true
}

// works reports whether a status is the answer of a service that works, whatever it says.
func works(status int) bool { return status > 0 && status < http.StatusInternalServerError }

// worseThan names the first address that answers worse than before; empty where none does.
func worseThan(before map[string]int, now []Served) string {
	for _, a := range now {
		was, asked := before[a.Address]
		switch {
		case !asked || works(a.HTTPStatus):
		case a.HTTPStatus == 0:
			return fmt.Sprintf("%s serves the version, but answers nothing over HTTP; before, it answered with status %d", a.Address, was)
		default:
			return fmt.Sprintf("%s serves the version, but answers over HTTP with status %d; before, with %d", a.Address, a.HTTPStatus, was)
		}
	}
	return ""
}
