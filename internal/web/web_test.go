package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/person"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web"
	"github.com/certmedic/certmedic/remediate/deploy"
)

const secret = "what a hook wrote"

// backend is a daemon with one certificate, whose hook failed.
type backend struct {
	ready   bool
	fail    error
	reloads int
	asked   []api.ActionRequest
	slow    bool

	rehearsed []api.RehearsalRequest
	limits    []int
	words     []api.WordRequest
}

func action() certmedic.Action {
	return certmedic.Action{
		ID: "1", Certificate: "shop", Kind: certmedic.ActionRedeploy,
		Outcome: certmedic.Outcome{Kind: certmedic.OutcomeFailed, Detail: "exit code 3", Evidence: evidence()},
		Runs:    []certmedic.Run{{Name: "x.sh", Stdout: secret, Stderr: secret, ExitCode: 3}},
	}
}

func evidence() []certmedic.Evidence {
	return []certmedic.Evidence{{Source: "x.sh", Line: "exit code 3"}, {Source: "x.sh", Line: secret, Output: true}}
}

func incident() certmedic.Incident {
	return certmedic.Incident{ID: "i", Rule: "hook-failed", State: certmedic.StateFiring, Severity: certmedic.SeverityWarning, Evidence: evidence(), Fix: "reload --token t0k3n"}
}

func (b *backend) Status() api.Status {
	a := action()
	return api.Status{Version: "1", Mode: certmedic.ModeAuto, Certificates: []watchdog.View{{Name: "shop<script>", Mode: certmedic.ModeAuto, Action: &a, Rehearsed: []certmedic.Action{action()}, Incidents: []certmedic.Incident{incident()}}}}
}

func (b *backend) Incidents(_ string, limit int) ([]certmedic.Incident, error) {
	b.limits = append(b.limits, limit)
	return []certmedic.Incident{incident()}, b.fail
}

func (b *backend) Rules() []api.Rule { return []api.Rule{{Name: "expired"}} }

func (b *backend) History(string, int) ([]certmedic.Action, error) {
	return []certmedic.Action{action()}, b.fail
}

func (b *backend) Act(_ context.Context, r api.ActionRequest) (api.ActionAnswer, error) {
	b.asked = append(b.asked, r)
	if r.DryRun {
		return api.ActionAnswer{Plan: &deploy.Plan{Hash: "the-plan", Version: "abc", Commands: []deploy.Command{{Name: "web: reload", Argv: []string{"systemctl", "reload", "<nginx>"}}}}}, b.fail
	}
	a := action()
	return api.ActionAnswer{Action: &a}, b.fail
}

func (b *backend) Begin(ctx context.Context, r api.ActionRequest) (api.ActionAnswer, bool, error) {
	answer, err := b.Act(ctx, r)
	return answer, !b.slow, err
}

func (b *backend) Reload(context.Context) error { b.reloads++; return b.fail }
func (b *backend) Ready() bool                  { return b.ready }

func newServer(b *backend, login bool) *web.Server { return newServerOf(b, b, login) }

// newServerOf is a server in which something else stands for the daemon in part.
func newServerOf(shown web.Backend, b *backend, login bool) *web.Server {
	say := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	return web.New(web.Options{
		Backend: shown, Acks: b, Silences: hushed{}, Approvals: b, Rehearser: b, Metrics: say("the metrics"), Probe: say("the probe"), ProbeLogs: say("the logs"), Login: func() bool { return login }, Version: "1", Log: slog.New(slog.DiscardHandler),
	})
}

// ask sends a request to the handler of the TCP listeners.
func ask(s *web.Server, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(""))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Public().ServeHTTP(w, r)
	return w
}

func TestReadingIsOpenAndHasNoOutput(t *testing.T) {
	s := newServer(&backend{ready: true}, false)
	for target, want := range map[string]string{
		"/": "shop", "/metrics": "the metrics", "/probe?target=x": "the probe", "/-/healthy": "healthy", "/-/ready": "is ready",
		"/api/v1/status": `"certificate": "shop`, "/api/v1/incidents": "hook-failed", "/api/v1/history": "exit code 3",
	} {
		w := ask(s, http.MethodGet, target)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %q", target, w.Code, w.Body, want)
		}
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s shows what a hook wrote", target)
		}
	}
}

func TestPageIsClosed(t *testing.T) {
	w := ask(newServer(&backend{}, false), http.MethodGet, "/")
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if w.Header().Get("X-Content-Type-Options") != "nosniff" || strings.Contains(w.Body.String(), "shop<script>") {
		t.Errorf("header %v, body %s", w.Header(), w.Body)
	}
}

func TestNotReady(t *testing.T) {
	if w := ask(newServer(&backend{}, false), http.MethodGet, "/-/ready"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestChangingNeedsLoginAndOrigin(t *testing.T) {
	const elsewhere = "https://evil.example"
	tests := []struct {
		about  string
		login  bool
		method string
		target string
		header []string
		want   int
	}{
		{"a reload without a login", false, "POST", "/-/reload", nil, 403},
		{"a reload with one, by a program", true, "POST", "/-/reload", nil, 200},
		{"from the page itself", true, "POST", "/-/reload", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"from another site", true, "POST", "/-/reload", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"from a sibling domain", true, "POST", "/-/reload", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"from another site, by an old browser", true, "POST", "/-/reload", []string{"Origin", elsewhere}, 403},
		{"a reload by a link", true, "GET", "/-/reload", nil, 405},
		{"actions are for the socket only", true, "POST", "/api/v1/actions", nil, 404},
		{"so is the denial of keys", true, "POST", "/api/v1/keys", nil, 404},
		{"and the list of them", true, "GET", "/api/v1/keys", nil, 404},
		{"and what is kept", true, "GET", "/api/v1/snapshots?certificate=shop", nil, 404},
		{"plans are for those who log in", false, "GET", "/api/v1/plans", nil, 403},
		{"so is a word about them", false, "POST", "/api/v1/plans/approve", nil, 403},
		{"and from another site nobody says it", true, "POST", "/api/v1/plans/approve", []string{"Sec-Fetch-Site", "cross-site", "Authorization", "Basic YWRhOng="}, 403},
		{"nor without saying what about", true, "POST", "/api/v1/plans/reject", nil, 400},
		{"nor is anything else written", true, "POST", "/api/v1/status", nil, 405},
		{"nor at the page", true, "POST", "/", nil, 405},
		{"what is not there", true, "GET", "/nothing", nil, 404},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			b := &backend{}
			w := ask(newServer(b, tt.login), tt.method, tt.target, tt.header...)
			if w.Code != tt.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tt.want)
			}
			if done := b.reloads + len(b.asked); (done == 1) != (tt.want == 200) {
				t.Errorf("%d reloads and actions", done)
			}
		})
	}
}

func TestFailuresAreJSON(t *testing.T) {
	s := newServer(&backend{fail: errors.New("the disk is gone")}, true)
	for method, target := range map[string]string{"GET": "/api/v1/history", "POST": "/-/reload"} {
		w := ask(s, method, target)
		if w.Code != http.StatusInternalServerError || w.Body.String() != `{"error":"the disk is gone"}`+"\n" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestLimits(t *testing.T) {
	b := &backend{}
	s := newServer(b, false)
	for _, query := range []string{"", "?limit=7", "?limit=-1", "?limit=many", "?limit=99999999"} {
		ask(s, http.MethodGet, "/api/v1/incidents"+query)
	}
	want := []int{100, 7, 100, 100, 10_000}
	for i, n := range want {
		if b.limits[i] != n {
			t.Errorf("limits %v, want %v", b.limits, want)
			break
		}
	}
}

// socket serves the private handler on a socket and returns its folder.
func socket(t *testing.T, b *backend) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, api.SocketName)
	l, err := web.ListenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: newServer(b, false).Private(), ConnContext: web.ConnContext} //nolint:gosec // a test
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close() // ends Serve
		<-done
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return dir
}

func TestSocket(t *testing.T) {
	b := &backend{}
	dir := socket(t, b)
	info, err := os.Stat(filepath.Join(dir, api.SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	client := api.NewClient(dir)
	history, err := client.History(t.Context(), "", 10)
	if err != nil || len(history) != 1 || history[0].Runs[0].Stderr != secret {
		t.Errorf("history %+v, %v: on the socket people see what hooks wrote", history, err)
	}
	answer, err := client.Act(t.Context(), api.ActionRequest{Certificate: "shop", Action: certmedic.ActionRedeploy, By: "ann"})
	if err != nil || answer.Action == nil {
		t.Errorf("answer %+v, %v", answer, err)
	}
	if want := person.OfProcess(os.Getpid(), os.Getuid()); len(b.asked) != 1 || b.asked[0].By != want {
		t.Errorf("asked by %+v, want %q: the kernel says who", b.asked, want)
	}
	b.fail = errors.New("no such certificate")
	if _, err := client.Act(t.Context(), api.ActionRequest{}); err == nil || !strings.Contains(err.Error(), "no such certificate") {
		t.Errorf("error %v", err)
	}
}

func TestBadBodies(t *testing.T) {
	b := &backend{}
	dir := socket(t, b)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, api.SocketName))
	}}}
	for about, body := range map[string]string{
		"nothing": "", "no JSON": "redeploy shop", "a list": "[]", "a key that is not known": `{"certificat":"shop"}`,
		"a wrong type": `{"certificate":7}`, "too much": `{"certificate":"` + strings.Repeat("a", 2<<20) + `"}`,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://certmedic/api/v1/actions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Errorf("%s: %v", about, err)
			continue
		}
		if _ = answer.Body.Close(); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", about, answer.Status)
		}
	}
	if len(b.asked) != 0 {
		t.Errorf("asked for %+v", b.asked)
	}
}

func TestSocketReplacesWhatAKilledDaemonLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), api.SocketName)
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := web.ListenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := web.ListenSocket(filepath.Join(t.TempDir(), "missing", api.SocketName)); err == nil {
		t.Error("listening in a folder that is not there")
	}
}

func TestAnActionOutlivesTheDaemon(t *testing.T) {
	b := &backend{fail: fmt.Errorf("redeploying: %w", context.Canceled)}
	_, err := api.NewClient(socket(t, b)).Act(t.Context(), api.ActionRequest{Certificate: "shop", Action: certmedic.ActionRedeploy})
	if !errors.Is(err, api.ErrCutShort) {
		t.Errorf("an action that a reload cut short is told as %v", err)
	}
}
