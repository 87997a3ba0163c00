package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/tlsd"
	"github.com/certmedic/certmedic/internal/store"
)

// site is a host in a folder: a certificate in files, a node that serves it, and the
// configuration of a daemon.
type site struct {
	dir     string
	issuing *mint.CA
	node    *tlsd.Node
}

func newSite(t *testing.T) *site {
	t.Helper()
	root := mint.Must(mint.NewCA("root"))
	s := &site{dir: t.TempDir(), issuing: mint.Must(root.Intermediate("issuing"))}
	s.write(t, "root.pem", string(root.PEM()))
	s.renew(t)
	node, err := tlsd.Start(t.Context(), tlsd.Options{Name: "web", CertFile: s.path("cert.pem"), KeyFile: s.path("key.pem")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Stop)
	s.node = node
	s.configure(t, "shop")
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// renew stores a new version.
func (s *site) renew(t *testing.T) {
	t.Helper()
	pair := mint.Must(s.issuing.Leaf(mint.Leaf{Names: []string{"shop.test"}}))
	s.write(t, "key.pem", string(mint.Must(pair.KeyPEM())))
	s.write(t, "cert.pem", string(pair.FullchainPEM()))
}

// configure writes a configuration with these certificates.
func (s *site) configure(t *testing.T, names ...string) {
	t.Helper()
	text := fmt.Sprintf("state_dir: %s\nprobe: {interval: 1s, timeout: 5s, roots: [%s]}\ncertificates:\n", s.path("state"), s.path("root.pem"))
	for _, name := range names {
		text += fmt.Sprintf(`  - name: %s
    source: {files: {cert: %s, key: %s}}
    endpoints: [{address: "%s", server_name: shop.test}]
    deploy: [{name: web, reload: ["true"]}]
`, name, s.path("cert.pem"), s.path("key.pem"), s.node.Addr())
	}
	s.write(t, "certmedic.yml", text)
}

// daemon is a running app.
type daemon struct {
	client  *api.Client
	address string
	reload  chan os.Signal
	log     *lines
	stop    func() error
}

// lines is a log that can be read while it is written.
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

func (s *site) options(log io.Writer) app.Options {
	return app.Options{
		ConfigFile: s.path("certmedic.yml"), ListenAddresses: []string{"127.0.0.1:0"}, Version: "test",
		Environ: os.Environ(), Log: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// start runs a daemon until the test ends, or it is stopped.
func (s *site) start(t *testing.T) *daemon {
	t.Helper()
	return s.startWith(t, func(*app.Options) {})
}

func (s *site) startWith(t *testing.T, change func(*app.Options)) *daemon {
	t.Helper()
	d := &daemon{client: api.NewClient(s.path("state")), reload: make(chan os.Signal, 1), log: &lines{}}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	o := s.options(d.log)
	o.Reload = d.reload
	o.Ready = func(addresses []string) { ready <- addresses[0] }
	change(&o)
	go func() { done <- app.Run(ctx, o) }()
	d.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = d.stop() }) // tests that care ask before
	select {
	case d.address = <-ready:
	case err := <-done:
		done <- err
		t.Fatalf("the daemon did not start: %v", err)
	}
	return d
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 20 s", what)
		}
	}
}

// names returns the certificates that the daemon watches.
func (d *daemon) names(t *testing.T) string {
	t.Helper()
	status, err := d.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range status.Certificates {
		names = append(names, v.Name)
	}
	return strings.Join(names, " ")
}

func (d *daemon) get(t *testing.T, path string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func (d *daemon) served(t *testing.T) func() bool {
	return func() bool {
		s, err := d.client.Status(t.Context())
		return err == nil && len(s.Certificates) > 0 && s.Certificates[0].Stage == certmedic.StageServed && s.Status == certmedic.StatusOK
	}
}

// TestLife follows a daemon from its start to its clean end, through a drift that is told
// and that ends, with what is kept in between.
func TestLife(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newSite(t)
	d := s.start(t)
	waitFor(t, "the first look", d.served(t))
	for path, want := range map[string]string{
		"/-/ready": "ready", "/-/healthy": "healthy", "/": "shop", "/api/v1/status": `"running": true`,
		"/metrics": `certmedic_stage{certificate="shop",stage="served"} 1`,
	} {
		if code, text := d.get(t, path); code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d, without %q", path, code, want)
		}
	}
	s.renew(t)
	fired := func() bool {
		in, err := d.client.Incidents(t.Context(), "shop", 10)
		return err == nil && len(in) > 0 && in[0].State == certmedic.StateFiring && in[0].Rule == "renewed-not-served"
	}
	waitFor(t, "the incident", fired)
	if history, err := d.client.History(t.Context(), "", 10); err != nil || len(history) != 0 {
		t.Errorf("in mode observe something was done: %+v, %v", history, err)
	}
	if err := s.node.Reload(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the incident", func() bool {
		in, err := d.client.Incidents(t.Context(), "shop", 10)
		return err == nil && len(in) == 1 && in[0].State == certmedic.StateResolved
	})
	if err := d.stop(); err != nil {
		t.Errorf("a clean stop ended with %v", err)
	}
	if _, err := os.Stat(s.path("state/" + api.SocketName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, err := d.client.Status(t.Context()); !errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("asking a daemon that ended: %v", err)
	}
	s.testKept(t)
	s.node.Stop()
	waitFor(t, "the end of every goroutine", func() bool { return runtime.NumGoroutine() <= before+1 })
}

// testKept reads what a daemon that ended has kept.
func (s *site) testKept(t *testing.T) {
	t.Helper()
	c, _, err := app.Load(s.path("certmedic.yml"))
	if err != nil {
		t.Fatal(err)
	}
	offline, err := app.OpenOffline(c, false, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer offline.Close()
	status := offline.Status(t.Context())
	if status.Running || len(status.Certificates) != 1 || status.Certificates[0].Stored == nil || status.Status != certmedic.StatusUnknown {
		t.Errorf("kept status %+v", status)
	}
	incidents, err := offline.Incidents("", 10)
	if err != nil || len(incidents) != 1 || incidents[0].Rule != "renewed-not-served" {
		t.Errorf("kept incidents %+v, %v", incidents, err)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.start(t)
	waitFor(t, "the first look", d.served(t))
	status, err := d.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	probed := status.Certificates[0].Endpoints[0].Time

	// A bad configuration changes nothing, and is told.
	s.write(t, "certmedic.yml", "state_dir: "+s.path("state")+"\ncertificates: [{nam: x}]\n")
	d.reload <- syscall.SIGHUP
	waitFor(t, "the refusal", func() bool { return strings.Contains(d.log.String(), "the old one goes on") })
	if _, text := d.get(t, "/metrics"); d.names(t) != "shop" || !strings.Contains(text, "certmedic_config_last_reload_successful 0") {
		t.Errorf("after a bad configuration: %q", d.names(t))
	}

	// Nor may the state move away.
	s.configure(t, "shop")
	good, err := os.ReadFile(s.path("certmedic.yml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "certmedic.yml", strings.Replace(string(good), s.path("state"), s.path("elsewhere"), 1))
	d.reload <- syscall.SIGHUP
	waitFor(t, "the second refusal", func() bool { return strings.Contains(d.log.String(), "state_dir cannot change") })

	s.configure(t, "shop", "mail")
	d.reload <- syscall.SIGHUP
	waitFor(t, "the reload", func() bool { return d.names(t) == "mail shop" })
	if _, text := d.get(t, "/metrics"); !strings.Contains(text, "certmedic_config_last_reload_successful 1") {
		t.Error("a good reload is not told")
	}
	status, err = d.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range status.Certificates {
		if v.Name == "shop" && v.Endpoints[0].Time.Before(probed) {
			t.Errorf("the reload forgot what was seen: %+v", v.Endpoints)
		}
	}
	s.configure(t, "mail")
	d.reload <- syscall.SIGHUP
	waitFor(t, "the second reload", func() bool { return d.names(t) == "mail" })
	if err := d.stop(); err != nil {
		t.Error(err)
	}
}

func TestReloadOverHTTPNeedsALogin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.start(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.address+"/-/reload", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _ = answer.Body.Close(); answer.StatusCode != http.StatusForbidden {
		t.Errorf("%s", answer.Status)
	}
}

// TestActByHand shows that a person's action is taken through the daemon, and is kept.
func TestActByHand(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.start(t)
	waitFor(t, "the first look", d.served(t))
	ask := api.ActionRequest{Certificate: "shop", Action: certmedic.ActionReload, By: "ann"}
	answer, err := d.client.Act(t.Context(), ask)
	if err != nil || answer.Action.Outcome.Reason != "no_need" {
		t.Errorf("%+v, %v", answer.Action, err)
	}
	ask.Force, ask.DryRun = true, true
	if answer, err = d.client.Act(t.Context(), ask); err != nil || answer.Plan == nil || answer.Action != nil || answer.Reason != "" {
		t.Errorf("a dry run: %+v, %v", answer, err)
	}
	ask.DryRun = false
	if answer, err = d.client.Act(t.Context(), ask); err != nil || answer.Action.Outcome.Kind != certmedic.OutcomeHealed {
		t.Errorf("%+v, %v", answer.Action, err)
	}
	ask.Certificate = "nobody"
	if _, err = d.client.Act(t.Context(), ask); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("a certificate that is not there: %v", err)
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	c, _, err := app.Load(s.path("certmedic.yml"))
	if err != nil {
		t.Fatal(err)
	}
	offline, err := app.OpenOffline(c, true, app.Options{Version: "test", Environ: os.Environ(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer offline.Close()
	ask.Certificate = "shop"
	if answer, err = offline.Act(t.Context(), ask); err != nil || answer.Action.Outcome.Kind != certmedic.OutcomeHealed {
		t.Errorf("without a daemon: %+v, %v", answer.Action, err)
	}
	if history, err := offline.History("shop", 10); err != nil || len(history) != 3 {
		t.Errorf("%d actions were kept, want the refused one and two that healed: %v", len(history), err)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.start(t)
	err := app.Run(t.Context(), s.options(io.Discard))
	if !errors.Is(err, store.ErrBusy) || !strings.Contains(err.Error(), s.path("state")) {
		t.Errorf("a second daemon: %v", err)
	}
	c, _, err := app.Load(s.path("certmedic.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.OpenOffline(c, true, app.Options{Version: "test", Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, store.ErrBusy) {
		t.Errorf("acting beside a daemon: %v", err)
	}
	if _, err := d.client.Status(t.Context()); err != nil {
		t.Errorf("the first daemon is gone: %v", err)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := s.options(io.Discard)
	o.ListenAddresses = []string{"127.0.0.1:0", s.node.Addr()}
	err := app.Run(t.Context(), o)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), s.node.Addr()) {
		t.Errorf("error %v does not name the address", err)
	}
	d := s.start(t) // nothing of the failed start is in the way
	if err := d.stop(); err != nil {
		t.Error(err)
	}
}

// TestEveryMistakeIsNamed shows that a start fails with the place of each mistake.
func TestEveryMistakeIsNamed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write(t, "certmedic.yml", `state_dir: relative
nonsense: 1
probe: {interval: soon, concurrency: -1}
remediation: {mode: maybe}
certificates:
  - {name: "", source: {files: {cert: a.pem}}}
  - name: x
    source: {certbot: {config_dir: /etc/letsencrypt}}
    endpoints: [{address: "nowhere", protocol: gopher}]
    remediation: {allow: [dance]}
alerting: {routes: [{to: [nobody]}]}
`)
	err := app.Run(t.Context(), s.options(io.Discard))
	var problems *config.Errors
	if !errors.As(err, &problems) || len(problems.Problems) < 10 {
		t.Fatalf("error %v", err)
	}
	seen := map[string]bool{}
	for _, p := range problems.Problems {
		at := fmt.Sprint(p.File, ":", p.Line, ":", p.Column)
		if p.Line == 0 || seen[at+p.Message] {
			t.Errorf("the place of %q is %s", p.Message, at)
		}
		seen[at+p.Message] = true
	}
	if _, err := os.Stat(s.path("state")); err == nil {
		t.Error("a daemon that could not start made its state")
	}
}
