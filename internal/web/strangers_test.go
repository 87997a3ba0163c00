package web_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/web"
)

func TestFormsSayWhereTheyComeFrom(t *testing.T) {
	fields := redeploy("the-plan")
	for what, test := range map[string]struct {
		header []string
		want   int
	}{
		"a browser that says nothing of it":                       {[]string{"Sec-Fetch-Site", ""}, http.StatusForbidden},
		"the origin null, as of a sandboxed frame":                {[]string{"Sec-Fetch-Site", "", "Origin", "null"}, http.StatusForbidden},
		"a neighbour of the same domain":                          {[]string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"the page itself by plain HTTP, which has an origin only": {[]string{"Sec-Fetch-Site", "", "Origin", "http://certmedic.example.com"}, http.StatusSeeOther},
	} {
		b := &backend{}
		if w := submit(newServer(b, true), "/act", fields, test.header...); w.Code != test.want {
			t.Errorf("%s: %d", what, w.Code)
		}
		if test.want == http.StatusForbidden && len(b.asked) > 0 {
			t.Errorf("%s: %v was asked for", what, b.asked)
		}
	}
}

// TestPagesLetFormsSayTheirOrigin fails where the origin of the pages' own forms is null: by plain HTTP
// browsers send nothing else that says where a form comes from (Fetch, "append a request Origin header").
func TestPagesLetFormsSayTheirOrigin(t *testing.T) {
	if policy := ask(newServer(&backend{}, true), http.MethodGet, "/").Header().Get("Referrer-Policy"); policy != "same-origin" {
		t.Errorf("Referrer-Policy: %s", policy)
	}
}

func TestWhatWasShownIsWhatIsAskedFor(t *testing.T) {
	b := &backend{}
	submit(newServer(b, true), "/act", redeploy("the-plan"))
	if done := b.done(); len(done) != 1 || done[0].Plan != "the-plan" {
		t.Errorf("%+v was done", done)
	}
}

// heard takes down which silences were asked for.
type heard struct {
	hushed
	asked []api.SilenceRequest
}

func (h *heard) AddSilence(_ context.Context, r api.SilenceRequest) (silence.Silence, error) {
	h.asked = append(h.asked, r)
	return silence.Silence{}, nil
}

func TestASilenceOfAPageIsAboutThatCertificate(t *testing.T) {
	for _, name := range []string{"shop", "~.*", `"a"`, " b ", `c\d`} {
		h := &heard{}
		none := http.NotFoundHandler()
		s := web.New(web.Options{Silences: h, Login: func() bool { return true }, Metrics: none, Probe: none, ProbeLogs: none, Log: slog.New(slog.DiscardHandler)})
		submit(s, "/silences", url.Values{"certificate": {name}, "for": {"1h"}, "why": {"x"}})
		if len(h.asked) != 1 {
			t.Fatalf("%q: %v", name, h.asked)
		}
		added, err := h.asked[0].Silence()
		if want := (silence.Matcher{Label: "certificate", Op: silence.Equal, Value: name}); err != nil || len(added.Matchers) != 1 || added.Matchers[0] != want {
			t.Errorf("%q: %v %v", name, added.Matchers, err)
		}
	}
}

func TestArgumentsAreForThoseWhoLogIn(t *testing.T) {
	b := &backend{}
	ran := func() certmedic.Action {
		a := action()
		a.Runs = []certmedic.Run{{Name: "post hook curl -u me:" + secret, Argv: []string{"/bin/sh", "-c", "push " + secret}, OutputDir: "/var/lib/" + secret}}
		return a
	}
	shown := running{b, ran}
	for _, path := range []string{"/api/v1/status", "/api/v1/incidents", "/", "/incidents/i"} {
		if text := ask(newServer(b, false), http.MethodGet, path).Body.String(); strings.Contains(text, "t0k3n") {
			t.Errorf("%s shows the token of a command to paste", path)
		}
	}
	for _, path := range []string{"/api/v1/history", "/actions/1"} {
		w := ask(newServerOf(shown, b, false), http.MethodGet, path)
		if text := w.Body.String(); strings.Contains(text, "push ") || strings.Contains(text, "/var/lib") || !strings.Contains(text, "/bin/sh") {
			t.Errorf("%s shows %s", path, text)
		}
	}
	if text := ask(newServerOf(shown, b, true), http.MethodGet, "/actions/1", "Authorization", "Basic YWRhOnNlY3JldA==").Body.String(); !strings.Contains(text, "push ") {
		t.Error("who logs in does not see them")
	}
}

// running is a backend with another action.
type running struct {
	*backend
	ran func() certmedic.Action
}

func (r running) History(string, int) ([]certmedic.Action, error) {
	return []certmedic.Action{r.ran()}, nil
}

func TestHeadOfTheEventsEnds(t *testing.T) {
	l := &oneWatcher{changes: make(chan api.Change), ended: make(chan struct{})}
	s := httptest.NewServer(watched(l).Public())
	defer s.Close()
	answer, err := s.Client().Head(s.URL + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	<-l.ended
}
