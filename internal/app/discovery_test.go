package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"

	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// untilWatched waits until a certificate is watched with one endpoint of one address, or not.
func (d *daemon) untilWatched(t *testing.T, name string, want bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, err := d.client.Status(t.Context())
		if err == nil {
			has := false
			for _, v := range status.Certificates {
				has = has || v.Name == name && len(v.Endpoints) == 1 && len(v.Endpoints[0].Addresses) == 1
			}
			if has == want {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is watched: not %t, %v; the log:\n%s", name, want, err, d.log)
		}
	}
}

func TestWhatDiscoveryFindsIsWatchedUntilItIsGone(t *testing.T) {
	s := newSite(t)
	var answer atomic.Pointer[string]
	say := func(text string) { answer.Store(&text) }
	target := fmt.Sprintf(`[{"targets": ["tls://%s"], "labels": {"team": "web", "__param_hostname": "shop.test"}}]`, s.node.Addr())
	say(target)
	sd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text := *answer.Load()
		if text == "" {
			http.Error(w, "out of order", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(sd.Close)
	s.write(t, "certmedic.yml", fmt.Sprintf(
		"state_dir: %s\nprobe: {interval: 1s, timeout: 5s, roots: [%s]}\ndiscover: [{http_sd: {url: %q, refresh_interval: 1s}}]\n",
		s.path("state"), s.path("root.pem"), sd.URL))
	d := s.start(t)
	name := s.node.Addr() + "/shop.test"
	d.untilWatched(t, name, true)

	say("")
	waitFor(t, "the word of the server that is out of order", func() bool { return strings.Contains(d.degraded(t), "discovery: http_sd") })
	d.untilWatched(t, name, true)
	d.reload <- syscall.SIGHUP
	waitFor(t, "the reload", func() bool { return strings.Contains(d.log.String(), "was reloaded") })
	d.untilWatched(t, name, true)
	say("[]")
	d.untilWatched(t, name, false)
	if text := d.degraded(t); text != "" {
		t.Errorf("degraded: %s", text)
	}
	say(target)
	d.untilWatched(t, name, true)

	var groups []struct {
		Targets []string
		Labels  map[string]string
	}
	if err := json.Unmarshal([]byte(d.text(t, "/sd")), &groups); err != nil || len(groups) != 1 {
		t.Fatalf("/sd: %v, %v", groups, err)
	}
	if l := groups[0].Labels; l["team"] != "web" || l["__param_target"] != "tls://"+s.node.Addr() || l["__param_hostname"] != "shop.test" {
		t.Errorf("/sd has the labels %v", l)
	}
}

// degraded returns what the daemon says that it cannot do.
func (d *daemon) degraded(t *testing.T) string {
	t.Helper()
	status, err := d.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(status.Degraded, "\n")
}

// source is a server of http_sd.
type source struct {
	url   string
	asked atomic.Int32
}

// startSource answers the nth question with what say returns.
func startSource(t *testing.T, say func(n int32) string) *source {
	t.Helper()
	s := &source{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, say(s.asked.Add(1)))
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// TestAHalfWrittenFileStopsNothing shows that a change of what is watched takes nothing from
// files that only a reload reads, and that a reload that fails changes nothing and is told.
func TestAHalfWrittenFileStopsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var found atomic.Bool
	sd := startSource(t, func(int32) string {
		if !found.Load() {
			return "[]"
		}
		return fmt.Sprintf(`[{"targets": ["tls://%s"]}]`, s.node.Addr())
	})
	s.write(t, "rules.yml", "rules: []\n")
	s.write(t, "certmedic.yml", fmt.Sprintf(
		"state_dir: %s\nprobe: {interval: 1s, timeout: 5s, roots: [%s]}\nrules: {files: [%s]}\ndiscover: [{http_sd: {url: %q, refresh_interval: 1s}}]\n",
		s.path("state"), s.path("root.pem"), s.path("rules.yml"), sd.url))
	d := s.start(t)
	d.text(t, "/probe?target="+s.node.Addr())

	s.write(t, "rules.yml", "rules: [{name: half")
	found.Store(true)
	d.untilWatched(t, s.node.Addr(), true)
	if logs := d.text(t, "/logs"); !strings.Contains(logs, s.node.Addr()) {
		t.Error("the change of what is watched made a new prober, which remembers nothing")
	}
	d.reload <- syscall.SIGHUP
	waitFor(t, "the refusal", func() bool { return strings.Contains(d.degraded(t), "was not reloaded") })
	if code, _ := d.get(t, "/-/ready"); code != http.StatusOK || !strings.Contains(d.names(t), s.node.Addr()) {
		t.Errorf("after the refusal: ready answers %d, watched is %q", code, d.names(t))
	}
	s.write(t, "rules.yml", "rules: []\n")
	d.reload <- syscall.SIGHUP
	waitFor(t, "the reload", func() bool { return d.degraded(t) == "" })
}

// TestSourcesAreAskedAtTheirIntervals shows that another order of the same targets changes
// nothing, and that a source is not asked as often as another one.
func TestSourcesAreAskedAtTheirIntervals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	often := startSource(t, func(n int32) string {
		targets := []string{`"127.0.0.1:1"`, `"127.0.0.1:2"`}
		return fmt.Sprintf(`[{"targets": [%s, %s]}]`, targets[n%2], targets[(n+1)%2])
	})
	seldom := startSource(t, func(int32) string { return `[{"targets": ["127.0.0.1:3"]}]` })
	s.write(t, "certmedic.yml", fmt.Sprintf(
		"state_dir: %s\ndiscover: [{http_sd: {url: %q, refresh_interval: 1s}}, {http_sd: {url: %q, refresh_interval: 1h}}]\n",
		s.path("state"), often.url, seldom.url))
	d := s.start(t)
	waitFor(t, "four looks", func() bool { return often.asked.Load() >= 4 })
	if n := seldom.asked.Load(); n != 1 {
		t.Errorf("the other source was asked %d times", n)
	}
	if names := d.names(t); names != "127.0.0.1:1 127.0.0.1:2 127.0.0.1:3" || strings.Contains(d.log.String(), "what is watched changed") {
		t.Errorf("watched is %q; the log:\n%s", names, d.log)
	}
}

// TestWhatCannotBeReadKeepsItsEndpoints shows that a file that is away takes no endpoint from
// a certificate that is still found.
func TestWhatCannotBeReadKeepsItsEndpoints(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.test"}, disktest.Options{})
	sd := startSource(t, func(int32) string { return "[]" })
	s.write(t, "nginx.conf", "http { include site.conf; }")
	site := fmt.Sprintf("server { listen %s ssl; server_name shop.test; ssl_certificate %s; }\n", s.node.Addr(), tree.Live("shop", "fullchain"))
	s.write(t, "site.conf", site)
	s.write(t, "certmedic.yml", fmt.Sprintf(
		"state_dir: %s\nprobe: {interval: 1s, roots: [%s]}\ndiscover: [{certbot: {config_dir: %s}}, {nginx: {config: %s}}, {http_sd: {url: %q, refresh_interval: 1s}}]\n",
		s.path("state"), s.path("root.pem"), tree.ConfigDir, s.path("nginx.conf"), sd.url))
	d := s.start(t)
	d.untilWatched(t, "shop", true)
	if err := os.Remove(s.path("site.conf")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the word of the file", func() bool { return strings.Contains(d.degraded(t), "site.conf") })
	d.untilWatched(t, "shop", true)
	s.write(t, "site.conf", "# moved away\n")
	d.untilWatched(t, "shop", false)
	if text := d.degraded(t); text != "" {
		t.Errorf("degraded: %s", text)
	}
}

func TestAnEndpointIsProbedByItsModule(t *testing.T) {
	s := newSite(t)
	s.write(t, "certmedic.yml", fmt.Sprintf(`state_dir: %s
probe: {interval: 1s, timeout: 5s, roots: [mozilla], revocation: off, records: false}
modules:
  corp: {protocol: tls, tls_config: {ca_file: %s, server_name: shop.test}, series: [blackbox, ssl]}
watch: [{address: %q, module: corp}]
`, s.path("state"), s.path("root.pem"), s.node.Addr()))
	d := s.start(t)
	d.untilWatched(t, s.node.Addr(), true)
	status, err := d.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a := status.Certificates[0].Endpoints[0].Addresses[0]
	if len(a.Findings) != 0 || a.ServerName != "shop.test" {
		t.Errorf("the address was observed as %+v", a.AddressObservation)
	}
	text := d.text(t, "/probe?module=corp&target="+s.node.Addr())
	for _, line := range []string{"probe_success 1", "ssl_probe_success 1", `probe_tls_version_info{version="TLS 1.3"} 1`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("/probe lacks %q:\n%s", line, text)
		}
	}
	if logs := d.text(t, "/logs"); !strings.Contains(logs, s.node.Addr()) {
		t.Errorf("/logs does not name the target:\n%s", logs)
	}
}

// text returns what a path answers.
func (d *daemon) text(t *testing.T, path string) string {
	t.Helper()
	_, text := d.get(t, path)
	return text
}

func TestWatchedFilesComeAndGo(t *testing.T) {
	s := newSite(t)
	s.write(t, "certmedic.yml", fmt.Sprintf("state_dir: %s\nprobe: {interval: 1s}\nwatch: [{file: %s}, {file: %s}]\n",
		s.path("state"), s.path("cert.pem"), s.path("absent.pem")))
	d := s.start(t)
	waitFor(t, "a look at both files", func() bool {
		status, err := d.client.Status(t.Context())
		if err != nil || len(status.Certificates) != 2 {
			return false
		}
		for _, v := range status.Certificates {
			if v.Name == s.path("absent.pem") && certmedic.HasFinding(v.Findings, certmedic.FileMissing) {
				return true
			}
		}
		return false
	})
}
