package web_test

import (
	"bufio"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/web"
)

// oneWatcher lets one watch.
type oneWatcher struct {
	changes chan api.Change
	taken   bool
	ended   chan struct{}
}

func (l *oneWatcher) Watch() (<-chan api.Change, func(), bool) {
	if l.taken {
		return nil, nil, false
	}
	l.taken = true
	return l.changes, func() { close(l.ended) }, true
}

func watched(l web.Live) *web.Server {
	none := http.NotFoundHandler()
	return web.New(web.Options{Live: l, Metrics: none, Probe: none, ProbeLogs: none, Log: slog.New(slog.DiscardHandler)})
}

func TestEvents(t *testing.T) {
	l := &oneWatcher{changes: make(chan api.Change, 1), ended: make(chan struct{})}
	s := httptest.NewServer(watched(l).Public())
	defer s.Close()
	answer, err := s.Client().Get(s.URL + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("it is %q", kind)
	}
	l.changes <- api.Change{Kind: api.ChangeAction, Certificate: "shop\nevent: x", ID: "7"}
	want := []string{"event: action", `data: {"kind":"action","certificate":"shop\nevent: x","id":"7"}`}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() && len(want) > 0 {
		if lines.Text() == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Errorf("%q was not sent", want)
	}

	second, err := s.Client().Get(s.URL + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Body.Close()
	if body, _ := io.ReadAll(second.Body); second.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "too many") {
		t.Errorf("the second one is answered %d %s", second.StatusCode, body)
	}
	answer.Body.Close() // the reader goes
	<-l.ended
}

func TestEventsEndWithTheDaemon(t *testing.T) {
	l := &oneWatcher{changes: make(chan api.Change), ended: make(chan struct{})}
	s := httptest.NewServer(watched(l).Public())
	defer s.Close()
	answer, err := s.Client().Get(s.URL + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	close(l.changes)
	if _, err := io.ReadAll(answer.Body); err != nil {
		t.Error(err)
	}
}
