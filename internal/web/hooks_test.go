package web_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/web"
)

// hooked takes what is signed "right".
type hooked struct{ took []string }

func (h *hooked) take(r *http.Request, body []byte) (int, error) {
	if r.Header.Get("Signature") != "right" {
		return http.StatusUnauthorized, errors.New("the reason")
	}
	h.took = append(h.took, string(body))
	return http.StatusOK, nil
}

func (h *hooked) SlackInteraction(r *http.Request, body []byte) (int, error) { return h.take(r, body) }

func (h *hooked) PagerDutyWebhook(*http.Request, []byte) (int, error) {
	return http.StatusNotFound, errors.New("the reason")
}

func TestWhatIsSignedComesWithoutALogin(t *testing.T) {
	hooks, log := &hooked{}, &bytes.Buffer{}
	s := web.New(web.Options{Hooks: hooks, Log: slog.New(slog.NewTextHandler(log, nil))})
	login := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "log in", http.StatusUnauthorized) })
	for _, row := range []struct {
		about, method, path, signature, body string
		want                                 int
		answer                               string
	}{
		{"a signed interaction", "POST", "/api/v1/slack/interactions", "right", "a", 200, ""},
		{"one with another signature", "POST", "/api/v1/slack/interactions", "wrong", "b", 401, `{"error":"Unauthorized"}`},
		{"one that is too large", "POST", "/api/v1/slack/interactions", "right", strings.Repeat("x", 1<<20), 400, `{"error":"reading the request"}`},
		{"a webhook that is not configured", "POST", "/api/v1/pagerduty/webhook", "right", "c", 404, `{"error":"Not Found"}`},
		{"anything else", "POST", "/api/v1/silences", "right", "d", 401, "log in"},
		{"another method", "GET", "/api/v1/slack/interactions", "right", "", 401, "log in"},
		{"a path that only looks like it", "POST", "/api/v1/slack/interactions/", "right", "e", 401, "log in"},
	} {
		r := httptest.NewRequest(row.method, row.path, strings.NewReader(row.body))
		r.Header.Set("Signature", row.signature)
		w := httptest.NewRecorder()
		s.Signed(login).ServeHTTP(w, r)
		if w.Code != row.want || strings.TrimSpace(w.Body.String()) != row.answer {
			t.Errorf("%s: %d %q, want %d %q", row.about, w.Code, w.Body, row.want, row.answer)
		}
	}
	if strings.Join(hooks.took, " ") != "a" {
		t.Errorf("taken %q", hooks.took)
	}
	if !strings.Contains(log.String(), "the reason") {
		t.Error("the log does not say why it was refused")
	}
}

func (b *backend) Acknowledge(_ context.Context, r api.AckRequest) ([]api.Acknowledgement, error) {
	return []api.Acknowledgement{{Conversation: r.About, Ack: alerting.Ack{By: r.By, Why: r.Why}}}, b.fail
}

func (b *backend) Acknowledged() []api.Acknowledgement {
	return []api.Acknowledgement{{Conversation: "certmedic/shop/e1", Ack: alerting.Ack{By: "ann <b>"}}}
}

func TestAcknowledgementsAreByANamedPerson(t *testing.T) {
	b := &backend{}
	s := newServer(b, true)
	for _, row := range []struct {
		about, user, body string
		want              int
		answer            string
	}{
		{"who logged in", "ann", `{"about":"shop","why":"mine"}`, 200, `"by": "ann (login)"`},
		{"nobody", "", `{"about":"shop"}`, 403, "named person"},
		{"who claims to be another", "ann", `{"about":"shop","by":"bob"}`, 400, "unknown field"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/acknowledgements", strings.NewReader(row.body))
		if row.user != "" {
			r.SetBasicAuth(row.user, "x")
		}
		w := httptest.NewRecorder()
		s.Public().ServeHTTP(w, r)
		if body, _ := io.ReadAll(w.Body); w.Code != row.want || !strings.Contains(string(body), row.answer) {
			t.Errorf("%s: %d %s", row.about, w.Code, body)
		}
	}
	w := httptest.NewRecorder()
	s.Public().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/acknowledgements", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "certmedic/shop/e1") {
		t.Errorf("reading: %d %s", w.Code, w.Body)
	}
}
