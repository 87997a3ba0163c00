package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// watchedNames lists what the daemon watches, once want is among it or absent from it.
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
	time.Sleep(1500 * time.Millisecond)
	d.untilWatched(t, name, true)
	say("[]")
	d.untilWatched(t, name, false)
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
