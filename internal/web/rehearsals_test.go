package web_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
)

func (b *backend) Rehearse(_ context.Context, r api.RehearsalRequest) (api.RehearsalAnswer, error) {
	b.rehearsed = append(b.rehearsed, r)
	return api.RehearsalAnswer{Rehearsal: certmedic.Action{Kind: certmedic.RehearseRenewal}}, b.fail
}

func TestRehearsalsAreForTheSocket(t *testing.T) {
	b := &backend{}
	dir := socket(t, b)
	answer, err := api.NewClient(dir).Rehearse(t.Context(), api.RehearsalRequest{Certificate: "shop", Renewal: true, RunHooks: true, By: "ann"})
	if err != nil || answer.Rehearsal.Kind != certmedic.RehearseRenewal {
		t.Errorf("answer %+v, %v", answer, err)
	}
	if len(b.rehearsed) != 1 || strings.Contains(b.rehearsed[0].By, "ann") || !b.rehearsed[0].RunHooks || !b.rehearsed[0].Renewal {
		t.Errorf("asked for %+v", b.rehearsed)
	}
	w := httptest.NewRecorder()
	newServer(b, true).Public().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/rehearsals", strings.NewReader("{}")))
	if w.Code != http.StatusNotFound || len(b.rehearsed) != 1 {
		t.Errorf("on a TCP listener: %d", w.Code)
	}
}
