package remediate_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
)

// TestLingeringWorker shows that one connection in three that still gets the old version is
// enough for an action not to have healed.
func TestLingeringWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		old, looks := w.leaf("old/cert.pem"), 0
		w.change = func(s *remediate.Sight) {
			if looks++; looks%3 == 0 {
				s.Addresses[0].Leaf = old
			}
		}
		wantOutcome(t, w.act(t, remediate.Request{}), certmedic.OutcomeUnverified, "still serves")
	})
}

// TestHTTPStatus shows that a certificate that is served by a service which does not work any
// more is no cure.
func TestHTTPStatus(t *testing.T) {
	t.Parallel()
	const address = "192.0.2.1:443"
	for _, row := range []struct {
		about         string
		before, after []int // by look; the last one goes on
		want          certmedic.OutcomeKind
		detail        string
	}{
		{"it answers as before", []int{200}, []int{200}, certmedic.OutcomeHealed, ""},
		{"it was never asked over HTTP", []int{0}, []int{0}, certmedic.OutcomeHealed, ""},
		{"it answered with an error before", []int{503}, []int{503}, certmedic.OutcomeHealed, ""},
		{"it answers with an error of its client's", []int{200}, []int{404}, certmedic.OutcomeHealed, ""},
		{"it answers with an error of its own", []int{200}, []int{502}, certmedic.OutcomePutBack, address + " serves the version, but answers over HTTP with status 502; before, with 200"},
		{"it answers nothing", []int{404}, []int{0}, certmedic.OutcomePutBack, "answers nothing over HTTP; before, it answered with status 404"},
		{"it answers with an error once", []int{200}, []int{200, 200, 200, 200, 200, 200, 500, 200}, certmedic.OutcomeHealed, ""},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withSteps(t, "", loadInstalled(), "")
				stored, looks := w.leaf("stored/cert.pem"), 0
				w.change = func(s *remediate.Sight) {
					status := row.before
					if w.leaf("loaded/"+address) == stored {
						status = row.after[min(looks, len(row.after)-1):]
						looks++
					}
					s.Addresses[0].HTTPStatus = status[0]
				}
				a := w.act(t, remediate.Request{})
				wantOutcome(t, a, row.want, row.detail)
				if row.want == certmedic.OutcomePutBack && (a.Outcome.Reason != "http_status" || !w.installed(t, "old") || !w.serves(t, "old")) {
					t.Errorf("the old version is not back: %+v", a.Outcome)
				}
				w.wantTidy(t)
			})
		})
	}
}

// TestHTTPStatusOfSomethingExpired shows that what is expired is not put back because of it.
func TestHTTPStatusOfSomethingExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSteps(t, "", loadInstalled(), "")
		w.change = func(s *remediate.Sight) {
			s.Addresses[0].HTTPStatus = http.StatusOK
			if s.Addresses[0].Dire = true; w.serves(t, "stored") {
				s.Addresses[0].HTTPStatus, s.Addresses[0].Dire = http.StatusBadGateway, false
			}
		}
		a := w.act(t, remediate.Request{})
		wantOutcome(t, a, certmedic.OutcomeUnverified, "with status 502")
		if !w.installed(t, "stored") {
			t.Error("the expired version is back")
		}
	})
}

// TestHTTPStatusAfterHooks shows that there is nothing to put back where hooks deploy.
func TestHTTPStatusAfterHooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		w.change = func(s *remediate.Sight) {
			s.Addresses[0].HTTPStatus = http.StatusOK
			if w.serves(t, "stored") {
				s.Addresses[0].HTTPStatus = http.StatusBadGateway
			}
		}
		a := w.act(t, remediate.Request{})
		wantOutcome(t, a, certmedic.OutcomeUnverified, "with status 502")
	})
}
