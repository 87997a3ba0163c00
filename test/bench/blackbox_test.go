package bench_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// blackboxModule makes a probe of blackbox_exporter a verified TLS handshake.
const blackboxModule = `modules:
  tls: {prober: tcp, timeout: 5s, tcp: {tls: true, preferred_ip_protocol: ip4}}
`

// measureBlackbox returns how many microseconds of the processor blackbox_exporter takes
// for a verified probe.
func measureBlackbox(t *testing.T, f *fleet) float64 {
	t.Helper()
	config := filepath.Join(t.TempDir(), "blackbox.yml")
	if err := os.WriteFile(config, []byte(blackboxModule), 0o644); err != nil {
		t.Fatal(err)
	}
	listen := freeAddress(t)
	p := start(t, blackboxProgram, f.environment(), "--config.file="+config, "--web.listen-address="+listen, "--log.level=error")
	defer p.stop()
	s := &scraper{url: "http://" + listen + "/probe", client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: workers}}}
	defer s.client.CloseIdleConnections()
	await(t, "blackbox_exporter answers", func() bool { return s.probe(f.endpoints[0]) })
	stop := s.run(f.endpoints)
	defer stop()
	await(t, "a first round of blackbox_exporter", func() bool { return s.done.Load() >= int64(len(f.endpoints)) })
	return p.perProbe(func() int { return int(s.done.Load()) })
}

// freeAddress returns an address of this host that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await waits until something has happened.
func await(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !happened(); time.Sleep(poll) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 5 minutes", what)
		}
	}
}

// scraper asks an exporter for probes, as Prometheus does.
type scraper struct {
	url    string
	client *http.Client
	done   atomic.Int64 // probes that succeeded
}

// run asks for one round after the other, until stop is called.
func (s *scraper) run(endpoints []endpoint) (stop func()) {
	work, end := make(chan endpoint), make(chan struct{})
	for range workers {
		go func() {
			for e := range work {
				if s.probe(e) {
					s.done.Add(1)
				}
			}
		}()
	}
	go func() {
		defer close(work)
		for i := 0; ; i = (i + 1) % len(endpoints) {
			select {
			case work <- endpoints[i]:
			case <-end:
				return
			}
		}
	}()
	return func() { close(end) }
}

// probe asks for one probe and reports whether it succeeded.
func (s *scraper) probe(e endpoint) bool {
	response, err := s.client.Get(s.url + "?" + url.Values{"module": {"tls"}, "target": {e.Address}, "hostname": {e.Name}}.Encode())
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return err == nil && strings.Contains(string(body), "\nprobe_success 1\n")
}
