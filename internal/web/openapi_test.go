package web_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/certmedic/certmedic/internal/api/openapi/openapitest"
)

// TestAnswersAreAsDescribed holds what the listeners answer, good and bad, against the description of
// the API. What the socket answers comes from the same types.
func TestAnswersAreAsDescribed(t *testing.T) {
	s := newServer(&backend{ready: true}, true)
	for _, target := range []string{
		"/api/v1/status", "/api/v1/incidents", "/api/v1/history?certificate=shop&limit=3", "/api/v1/rules", "/api/v1/silences?ended=true",
		"/api/v1/acknowledgements", "/api/v1/plans",
	} {
		w := ask(s, http.MethodGet, target)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
		openapitest.Answer(t, http.MethodGet, target, w.Code, w.Body.Bytes())
	}
	for _, target := range []string{"/api/v1/silences", "/api/v1/plans/approve", "/api/v1/acknowledgements"} {
		w := ask(s, http.MethodPost, target)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s without a body: %d %s", target, w.Code, w.Body)
		}
		openapitest.Answer(t, http.MethodPost, target, w.Code, w.Body.Bytes())
	}
}

func TestDescriptionIsServed(t *testing.T) {
	w := ask(newServer(&backend{}, false), http.MethodGet, "/api/v1/openapi.json")
	var d struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || d.OpenAPI != "3.0.3" || d.Paths["/api/v1/status"] == nil {
		t.Errorf("%d %v %.200s", w.Code, err, w.Body)
	}
}
