package acme_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/acme"
)

// victim carries out the request in the file and kills itself at the point of that name.
func victim(path, point string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r acme.Request
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	_, err = acme.ObtainAt(context.Background(), r, io.Discard, numbered(func(reached string) {
		if reached == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}))
	return err
}

// numbered names points the same in each run: "after POST /my-order 2" is the second one.
func numbered(f func(point string)) func(point string) {
	seen := map[string]int{}
	return func(point string) {
		if at := strings.Index(point, " /"); at >= 0 { // identifiers behind the first element differ
			first, _, _ := strings.Cut(point[at+2:], "/")
			point = point[:at+2] + first
		}
		seen[point]++
		f(fmt.Sprint(point, " ", seen[point]))
	}
}

// TestKillAtEveryPoint kills the step before and after each request to the CA and each write of
// its state. The same request again has to come to a certificate with the one order that was
// placed, and to take every answer away. With CERTMEDIC_CHAOS=1 it does so at every point, else
// where something is begun or was decided.
func TestKillAtEveryPoint(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	webroot := t.TempDir()
	serveWebroot(t, a, webroot)
	request := func(n int) acme.Request {
		r := a.request(t, fmt.Sprintf("k%d.shop.test", n))
		r.Challenge = acme.Challenge{HTTP01: &acme.HTTP01{Webroot: webroot}}
		return r
	}
	var points []string
	_, err := acme.ObtainAt(t.Context(), request(0), io.Discard, numbered(func(point string) { points = append(points, point) }))
	must(t, err)
	telling := regexp.MustCompile(`^after .*(order\.json|/order-plz|/finalize-order|/chalZ|privkey\.pem)|^before .*/order-plz`)
	var group sync.WaitGroup
	slots := make(chan struct{}, 12)
	for i, point := range points {
		if !telling.MatchString(point) && os.Getenv("CERTMEDIC_CHAOS") == "" {
			continue
		}
		r := request(i + 1)
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			testKill(t, a, r, point)
		})
	}
	group.Wait()
	for _, pattern := range []string{"*", ".*"} {
		if left, _ := filepath.Glob(filepath.Join(webroot, ".well-known/acme-challenge", pattern)); len(left) != 0 {
			t.Errorf("answers that nobody took away: %q", left)
		}
	}
}

func testKill(t *testing.T, a *authority, r acme.Request, point string) {
	path := filepath.Join(filepath.Dir(r.Work), "request.json")
	if err := os.WriteFile(path, mint.Must(json.Marshal(r)), 0o600); err != nil {
		t.Error(err)
		return
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CERTMEDIC_TEST_REQUEST="+path, "CERTMEDIC_TEST_KILL="+point)
	said, err := cmd.CombinedOutput()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	polled := strings.Contains(point, "/my-order") || strings.Contains(point, "/authZ") // as often as the CA needs
	if killed := ok && status.Signal() == syscall.SIGKILL; !killed && !(polled && err == nil) {
		t.Errorf("%s: it was to be killed, but %v: %s", point, err, said)
		return
	}
	var out bytes.Buffer
	issued, err := acme.Obtain(t.Context(), r, &out)
	if err != nil {
		t.Errorf("%s: %v\n%s", point, err, &out)
		return
	}
	a.checked(t, issued)
	if n := a.placedFor(r.Names[0]); n != 1 {
		t.Errorf("%s: %d orders were placed\n%s", point, n, &out)
	}
}

// serveWebroot is the web server whose folder the answers are put into.
func serveWebroot(t *testing.T, a *authority, dir string) {
	t.Helper()
	listener := mint.Must(net.Listen("tcp", net.JoinHostPort("127.0.0.1", itoa(a.httpPort))))
	server := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // it ends by Close
	t.Cleanup(func() { _ = server.Close() })
}
