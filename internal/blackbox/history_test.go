package blackbox

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/lab/tlsd"
)

func remembered(targets ...string) *history {
	h := &history{limit: 6}
	for _, target := range targets {
		name, failed := strings.CutSuffix(target, "!")
		h.add(&answer{request: request{target: name, moduleName: "tls"}, success: !failed})
	}
	return h
}

func TestHistoryMakesRoomWhereThereIsMost(t *testing.T) {
	for _, row := range []struct {
		about   string
		targets []string // in the order of their probes; failures end in "!"
		want    string
	}{
		{"everything while there is room", []string{"a", "b", "a"}, "a1 b2 a3"},
		{"one failing target does not push the others out", []string{"a", "b", "c!", "c!", "c!", "c!", "c!", "c!", "c!"}, "a1 b2 c6 c7 c8 c9"},
		{"the failure outlives the successes around it", []string{"a", "a!", "a", "a", "a", "a", "a", "a"}, "a2 a4 a5 a6 a7 a8"},
		{"many targets: the oldest success goes", []string{"a!", "b", "c", "d", "e", "f", "g"}, "a1 c3 d4 e5 f6 g7"},
		{"failures that fill the history are no longer preferred", []string{"a!", "b!", "c!", "d!", "e", "f", "g"}, "b2 c3 d4 e5 f6 g7"},
	} {
		var got []string
		for _, e := range remembered(row.targets...).all() {
			got = append(got, fmt.Sprint(e.answer.request.target, e.id))
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s: %q, want %q", row.about, got, row.want)
		}
	}
}

func TestLogs(t *testing.T) {
	l := newLab(t, tlsd.None)
	l.options.Modules = map[string]Module{"mine": {Fallback: true}}
	h := New(l.options)
	ask := func(handler http.Handler, query string) (int, string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?"+query, nil))
		return w.Code, w.Body.String()
	}
	ask(h, "target="+l.target())
	ask(h, "target=blog.test&module=mine")
	for _, row := range []struct {
		about, query string
		status       int
		parts        []string
	}{
		{"the list is of all, the newest first", "", 200, []string{"ID", `2   `, `"mine"`, `"blog.test"`, "failure", `1   `, `"tls"`, l.target(), "success"}},
		{"a probe by its number", "id=1", 200, []string{"Logs for the probe:\n", "probe_success 1\n", "Module configuration:\n"}},
		{"the last one of a target", "target=blog.test", 200, []string{"dns_failed", "probe_success 0\n"}},
		{"of a target and a module", "target=blog.test&module=mine", 200, []string{"probe_success 0\n"}},
		{"of another module there is none", "target=blog.test&module=tls", 404, []string{`Probe target "blog.test" not found`}},
		{"a number that was never given", "id=7", 404, []string{"Probe id 7 not found"}},
		{"a number that is none", "id=x", 400, []string{`Probe id "x" is not a number`}},
		{"one or the other", "id=1&target=blog.test", 400, []string{"can't be defined at the same time"}},
	} {
		status, text := ask(h.History(), row.query)
		if status != row.status {
			t.Errorf("%s: status %d, want %d", row.about, status, row.status)
		}
		for _, part := range row.parts {
			_, rest, ok := strings.Cut(text, part)
			if !ok {
				t.Fatalf("%s: there is no further %q in\n%s", row.about, part, text)
			}
			text = rest
		}
	}
}
