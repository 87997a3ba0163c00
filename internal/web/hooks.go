package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Hooks takes what services send about people who were told: Slack's interactions and PagerDuty's
// webhooks. Each checks the signature of the body, which stands for a login, and returns the HTTP
// status to answer with at once, and why it was refused. The app implements it.
type Hooks interface {
	SlackInteraction(r *http.Request, body []byte) (status int, err error)
	PagerDutyWebhook(r *http.Request, body []byte) (status int, err error)
}

// The paths of the hooks.
const (
	pathSlack     = "POST /api/v1/slack/interactions"
	pathPagerDuty = "POST /api/v1/pagerduty/webhook"
)

const (
	maxHook     = 512 << 10       // bytes of a body
	hookTimeout = 2 * time.Second // to read it; the services wait for three and for five
)

// Signed puts the requests that services sign in front of a handler. They come without a login, so
// this goes around whatever asks for one; all other requests are the handler's.
func (s *Server) Signed(next http.Handler) http.Handler {
	hooks := map[string]http.Handler{}
	if s.o.Hooks != nil {
		hooks[pathSlack] = s.hook("Slack", s.o.Hooks.SlackInteraction)
		hooks[pathPagerDuty] = s.hook("PagerDuty", s.o.Hooks.PagerDutyWebhook)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hook := hooks[r.Method+" "+r.URL.Path]; hook != nil {
			hook.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hook reads a bounded body and answers in as few words as possible: who is not let in need not know
// why. The log does.
func (s *Server) hook(from string, take func(*http.Request, []byte) (int, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(hookTimeout)) // tests have none
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHook))
		if err != nil {
			s.problem(w, http.StatusBadRequest, "reading the request")
			return
		}
		status, err := take(r, body)
		if err != nil {
			s.o.Log.Log(context.WithoutCancel(r.Context()), levelOf(status), "a request was refused", "from", from, "status", status, "peer", r.RemoteAddr, "err", err)
			s.problem(w, status, http.StatusText(status))
			return
		}
		w.WriteHeader(status)
	})
}

// levelOf says how loud a refusal is told: anybody can cause most of them.
func levelOf(status int) slog.Level {
	switch status {
	case http.StatusNotFound:
		return slog.LevelDebug
	case http.StatusServiceUnavailable:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
