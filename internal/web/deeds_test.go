package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/web"
)

// submit sends a form as a browser does, with a login.
func submit(s *web.Server, path string, fields url.Values, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://certmedic.example.com"+path, strings.NewReader(fields.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.SetBasicAuth("ada", "secret")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Public().ServeHTTP(w, r)
	return w
}

func redeploy(hash string) url.Values {
	return url.Values{"certificate": {"shop"}, "action": {"redeploy"}, "hash": {hash}}
}

// done lists what was carried out.
func (b *backend) done() (all []api.ActionRequest) {
	for _, r := range b.asked {
		if !r.DryRun {
			all = append(all, r)
		}
	}
	return all
}

func TestFormsNeedALoginAndTheSameOrigin(t *testing.T) {
	forms := map[string]url.Values{
		"/act": redeploy("the-plan"), "/plans": {"id": {"x"}, "word": {"approve"}}, "/silences": {"certificate": {"shop"}, "for": {"1h"}, "why": {"x"}},
		"/silences/end": {"id": {"x"}}, "/acknowledge": {"about": {"shop"}},
	}
	for path, fields := range forms {
		for what, answer := range map[string]func(b *backend) *httptest.ResponseRecorder{
			"the listener asks for no login": func(b *backend) *httptest.ResponseRecorder { return submit(newServer(b, false), path, fields) },
			"nobody logged in": func(b *backend) *httptest.ResponseRecorder {
				return submit(newServer(b, true), path, fields, "Authorization", "")
			},
			"another site has it sent": func(b *backend) *httptest.ResponseRecorder {
				return submit(newServer(b, true), path, fields, "Sec-Fetch-Site", "cross-site")
			},
			"another origin, in an old browser": func(b *backend) *httptest.ResponseRecorder {
				return submit(newServer(b, true), path, fields, "Sec-Fetch-Site", "", "Origin", "https://evil.example.com")
			},
		} {
			b := &backend{}
			if w := answer(b); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "That was not done") {
				t.Errorf("%s, %s: %d %.300s", path, what, w.Code, w.Body)
			}
			if len(b.asked)+len(b.words) > 0 {
				t.Errorf("%s, %s: %v %v was asked for", path, what, b.asked, b.words)
			}
		}
	}
}

func TestAnActionIsShownOnceAndThenCarriedOut(t *testing.T) {
	b := &backend{}
	s := newServer(b, true)
	w := ask(s, http.MethodGet, "/act?certificate=shop&action=redeploy", "Authorization", "Basic YWRhOnNlY3JldA==")
	if text := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(text, "systemctl reload &lt;nginx&gt;") || !strings.Contains(text, `name="hash" value="the-plan"`) {
		t.Errorf("%d %s", w.Code, text)
	}
	if len(b.done()) > 0 {
		t.Error("looking at it carried it out")
	}
	w = submit(s, "/act", redeploy("another plan"))
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/act?action=redeploy&certificate=shop&changed=1" || len(b.done()) > 0 {
		t.Errorf("another plan than the one that was shown: %d to %q, %v was done", w.Code, to, b.done())
	}
	if text := ask(s, http.MethodGet, w.Header().Get("Location"), "Authorization", "Basic YWRhOnNlY3JldA==").Body.String(); !strings.Contains(text, "look again") {
		t.Error("that it changed is not said")
	}
	w = submit(s, "/act", redeploy("the-plan"))
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/actions/1" {
		t.Errorf("%d to %q", w.Code, to)
	}
	if done := b.done(); len(done) != 1 || done[0].By != "ada (login)" || done[0].Action != certmedic.ActionRedeploy || done[0].Force {
		t.Errorf("%+v was done", done)
	}
	b.slow = true
	if to := submit(s, "/act", redeploy("the-plan")).Header().Get("Location"); to != "/certificates/shop" {
		t.Errorf("what takes long is followed at %q", to)
	}
}

func TestWhatAnActionWouldDoIsForThoseWhoLogIn(t *testing.T) {
	b := &backend{}
	if w := ask(newServer(b, false), http.MethodGet, "/act?certificate=shop&action=redeploy"); w.Code != http.StatusForbidden || len(b.asked) > 0 {
		t.Errorf("%d, %v", w.Code, b.asked)
	}
	if w := ask(newServer(b, true), http.MethodGet, "/act?certificate=shop&action=explode", "Authorization", "Basic YWRhOnNlY3JldA=="); w.Code != http.StatusNotFound {
		t.Errorf("an action that is none: %d", w.Code)
	}
}

func TestAPersonsWordOnAPage(t *testing.T) {
	b := &backend{}
	s := newServer(b, true)
	if w := submit(s, "/plans", url.Values{"id": {"a-b"}, "word": {"approve"}, "reason": {"looked at it"}}); w.Code != http.StatusSeeOther {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(b.words) != 1 || !b.words[0].Approve || b.words[0].By != "ada (login)" || b.words[0].Reason != "looked at it" {
		t.Errorf("%+v", b.words)
	}
	if w := submit(s, "/plans", url.Values{"id": {"a-b"}, "word": {"perhaps"}}); w.Code != http.StatusBadRequest || len(b.words) != 1 {
		t.Errorf("%d, %v", w.Code, b.words)
	}
}

func TestSilencesOnAPage(t *testing.T) {
	for length, want := range map[string]int{"1h": http.StatusSeeOther, "-1h": http.StatusBadRequest, "for ever": http.StatusBadRequest, "9000h": http.StatusBadRequest} {
		if w := submit(newServer(&backend{}, true), "/silences", url.Values{"certificate": {"shop"}, "for": {length}, "why": {"we move"}}); w.Code != want {
			t.Errorf("for %q: %d %.200s", length, w.Code, w.Body)
		}
	}
	if w := submit(newServer(&backend{}, true), "/silences", url.Values{"for": {"1h"}, "why": {"all of it"}}); w.Code != http.StatusBadRequest {
		t.Errorf("about everything: %d", w.Code)
	}
	if w := submit(newServer(&backend{}, true), "/silences", url.Values{"certificate": {strings.Repeat("x", 100_000)}, "for": {"1h"}}); w.Code != http.StatusBadRequest {
		t.Errorf("a form that is too large: %d", w.Code)
	}
}
