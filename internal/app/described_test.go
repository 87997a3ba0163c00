package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/api/openapi/openapitest"
)

// TestRealAnswersAreAsDescribed holds what a daemon with content answers against the description of the API.
func TestRealAnswersAreAsDescribed(t *testing.T) {
	s := newSite(t)
	d := s.start(t)
	waitFor(t, "the certificate is served", d.served(t))
	if _, err := d.client.Act(t.Context(), api.ActionRequest{Certificate: "shop", Action: certmedic.ActionReload, Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.client.AddSilence(t.Context(), api.SilenceRequest{Matchers: []string{"certificate=other"}, Until: time.Now().Add(time.Hour), Why: "we move"}); err != nil {
		t.Fatal(err)
	}
	s.renew(t)
	waitFor(t, "an incident fires", func() bool {
		_, text := d.get(t, "/api/v1/incidents")
		return strings.Contains(text, `"firing"`)
	})
	for target, content := range map[string]string{
		"/api/v1/status": `"shop"`, "/api/v1/incidents": "renewed-not-served", "/api/v1/incidents?certificate=shop&limit=1": `"shop"`, "/api/v1/history": `"reload"`,
		"/api/v1/rules": "expired", "/api/v1/silences?ended=true": "we move", "/api/v1/acknowledgements": "[]", "/api/v1/fleet": "{",
		"/api/v1/certificates/shop/matrix": `"ecdsa"`,
	} {
		code, text := d.get(t, target)
		if code != http.StatusOK || !strings.Contains(text, content) {
			t.Errorf("%s: %d without %q: %.300s", target, code, content, text)
		}
		openapitest.Answer(t, http.MethodGet, target, code, []byte(text))
	}
}
