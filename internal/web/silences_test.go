package web_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/api"
)

// hushed has one silence.
type hushed struct{}

func (hushed) Silences(bool) []silence.Silence {
	return []silence.Silence{{ID: "s1", Matchers: []silence.Matcher{{Label: "certificate", Op: silence.Equal, Value: "shop"}}, Why: "moving", Until: time.Now().Add(time.Hour)}}
}

func (hushed) AddSilence(context.Context, api.SilenceRequest) (silence.Silence, error) {
	return silence.Silence{}, nil
}

func (hushed) EndSilence(context.Context, api.EndRequest) (silence.Silence, error) {
	return silence.Silence{}, nil
}

func TestThePageShowsSilences(t *testing.T) {
	for path, want := range map[string]string{"/": "Nobody is told about", "/silences": "moving"} {
		if w := ask(newServer(&backend{}, true), http.MethodGet, path); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
