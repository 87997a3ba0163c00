package socket_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/slack/slackfake"
	"github.com/certmedic/certmedic/alerting/slack/socket"
)

// heard is a listener at a fake of Slack, with what it took.
type heard struct {
	slack *slackfake.Server
	log   *lines

	mu    sync.Mutex
	full  bool
	taken int
}

type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (h *heard) take([]byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.full {
		h.taken++
	}
	return !h.full
}

func (h *heard) setFull(full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.full = full
}

func (h *heard) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.taken
}

func listen(t *testing.T) *heard {
	t.Helper()
	h := &heard{slack: slackfake.New(slackfake.Options{}), log: &lines{}}
	l := &socket.Listener{Token: h.slack.AppToken, APIURL: h.slack.APIURL(), Take: h.take, Log: slog.New(slog.NewTextHandler(h.log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		waitFor(t, "the end of the connections", func() bool { return h.slack.Connections() == 0 })
		if text := h.log.String(); strings.Contains(text, h.slack.AppToken) || strings.Contains(text, "ticket") {
			t.Errorf("a secret is in the log:\n%s", text)
		}
		h.slack.Close()
	})
	waitFor(t, "a connection", func() bool { return h.slack.Connections() == 1 })
	return h
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 20 s", what)
		}
	}
}

func (h *heard) press(t *testing.T, envelope string) error {
	t.Helper()
	_, err := h.slack.Interact(t.Context(), envelope, h.slack.Payload(slackfake.Click{User: "U1", Action: "a", Value: "v"}))
	return err
}

func TestEnvelopesAreAcknowledgedAndTaken(t *testing.T) {
	t.Parallel()
	h := listen(t)
	for _, envelope := range []string{"e1", "e2", "e1"} {
		if err := h.press(t, envelope); err != nil {
			t.Fatal(err)
		}
	}
	if h.count() != 3 {
		t.Errorf("%d payloads were taken, want 3: who takes them knows which came before", h.count())
	}
}

func TestWhatIsNotTakenIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	h := listen(t)
	h.setFull(true)
	if err := h.press(t, "e1"); !errors.Is(err, slackfake.ErrLate) {
		t.Errorf("it was acknowledged: %v", err)
	}
	h.setFull(false)
	if err := h.press(t, "e1"); err != nil || h.count() != 1 {
		t.Errorf("sent again it was not taken: %v", err)
	}
}

func TestANewConnectionFollowsEveryEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*slackfake.Server){
		"the network ends it":       (*slackfake.Server).Cut,
		"Slack asks for another":    func(s *slackfake.Server) { s.Disconnect("refresh_requested") },
		"Slack ends the link":       func(s *slackfake.Server) { s.Disconnect("link_disabled") },
		"Slack says that it is due": func(s *slackfake.Server) { s.Disconnect("warning") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := listen(t)
			opened := func() int { return h.slack.Calls()["apps.connections.open"] }
			before := opened()
			end(h.slack)
			waitFor(t, "another connection", func() bool { return opened() > before && h.slack.Connections() > 0 })
			waitFor(t, "a click over it", func() bool { return h.press(t, "e1") == nil })
		})
	}
}

func TestTheNextConnectionIsThereBeforeTheLastEnds(t *testing.T) {
	t.Parallel()
	h := listen(t)
	h.slack.Disconnect("warning")
	waitFor(t, "the second connection beside the first", func() bool { return h.slack.Connections() == 2 })
}

func TestARefusalIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := slackfake.New(slackfake.Options{})
	defer s.Close()
	s.Fail(func(method string, call int) slackfake.Fault {
		switch {
		case method == "apps.connections.open" && call == 1:
			return slackfake.Fault{Error: "internal_error"}
		case method == "apps.connections.open" && call == 2:
			return slackfake.Fault{Status: 503}
		}
		return slackfake.Fault{}
	})
	l := &socket.Listener{Token: s.AppToken, APIURL: s.APIURL(), Take: func([]byte) bool { return true }, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	waitFor(t, "the third attempt", func() bool { return s.Connections() == 1 })
	cancel()
	<-done
}
