package app_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// TestFirstPageOfMany measures the first page of a real daemon with ten thousand certificates that it has
// probed. `make bench` runs it: filling the daemon takes a while.
func TestFirstPageOfMany(t *testing.T) {
	if os.Getenv("CERTMEDIC_BENCH") == "" {
		t.Skip("measurements are made by `make bench`")
	}
	const many = 10_000
	s := newSite(t)
	var config strings.Builder
	fmt.Fprintf(&config, "state_dir: %s\nprobe: {interval: 1h, timeout: 20s, roots: [%s]}\ncertificates:\n", s.path("state"), s.path("root.pem"))
	for i := range many {
		fmt.Fprintf(&config, "  - {name: shop-%d, labels: {team: team-%d}, source: {files: {cert: %s, key: %s}}, endpoints: [{address: %q, server_name: shop.test}]}\n",
			i, i%20, s.path("cert.pem"), s.path("key.pem"), s.node.Addr())
	}
	s.write(t, "certmedic.yml", config.String())
	d := s.start(t)
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(5 * time.Second) {
		status, err := d.client.Status(t.Context())
		served := 0
		for _, v := range status.Certificates {
			if v.Stage == certmedic.StageServed {
				served++
			}
		}
		if served == many {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d are seen served: %v", served, many, err)
		}
	}
	best, size := time.Hour, 0
	for range 10 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip")
		began := time.Now()
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		packed, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(strings.NewReader(string(packed)))
		if err != nil {
			t.Fatal(err)
		}
		if page, _ := io.ReadAll(z); !strings.Contains(string(page), "All 10000 certificates are fine") {
			t.Fatalf("it shows %.2000s", page)
		}
		best, size = min(best, took), len(packed)
	}
	t.Logf("the first page of %d certificates: %v, %d bytes", many, best, size)
	if best > 150*time.Millisecond || size > 300_000 {
		t.Errorf("it takes %v and %d bytes, may take 150 ms and 300,000 bytes", best, size)
	}
}
