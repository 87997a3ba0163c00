package fleet_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/s3"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

// onceShop publishes into a bucket, behind a front that strikes it.
type onceShop struct {
	t        *testing.T
	member   *onceMember
	world    *onceWorld // that runs it
	ca       *mint.CA
	dir      string
	consumer *bundle.Consumer
	signing  ed25519.PrivateKey

	mu     sync.Mutex
	n      int // requests about publications since the last renewal
	strike func(n int, after bool)
}

func newOnceShop(t *testing.T) *onceShop {
	t.Helper()
	program, err := onceProgram()
	bundleMust(t, err)
	bucket := bucketServer(t)
	s := &onceShop{t: t, ca: mint.Must(mint.NewCA("Root")), dir: t.TempDir()}
	front := s.front(bucket.Endpoint)
	identity := mint.Must(age.GenerateX25519Identity())
	_, s.signing, err = ed25519.GenerateKey(rand.Reader)
	bundleMust(t, err)
	s.write("age.key", identity.String())
	s.write("sign.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: mint.Must(x509.MarshalPKCS8PrivateKey(s.signing))})))
	s.write("root.pem", string(s.ca.PEM()))
	s.renew()
	s.member = &onceMember{name: "publisher", dir: s.dir}
	s.member.log = mint.Must(os.Create(s.path("log")))
	s.world = &onceWorld{onceBasis: &onceBasis{program: program}, t: t, members: []*onceMember{s.member}}
	t.Cleanup(s.world.end)
	s.write("certmedic.yml", fmt.Sprintf(`state_dir: %[1]s/state
probe: {interval: 1s, roots: [%[1]s/root.pem]}
certificates:
  - name: shop
    source: {files: {cert: %[1]s/cert.pem, key: %[1]s/key.pem}}
    publish: {s3: {endpoint: "%[2]s", bucket: %[3]s, prefix: once/, credentials_file: %[4]s}, recipients: [%[5]s], sign_key_file: %[1]s/sign.key, keep: 3}
`, s.dir, front, bucket.Bucket, bucket.CredentialsFile, identity.Recipient()))
	bucket.Prefix = "once/"
	reader, err := s3.OpenReader(t.Context(), bucket)
	bundleMust(t, err)
	s.consumer = &bundle.Consumer{
		Store: reader, Name: "shop", Folder: s.path("consumer"), Opener: bundle.Opener{IdentityFile: s.path("age.key")},
		Keys: []ed25519.PublicKey{s.signing.Public().(ed25519.PublicKey)},
	}
	return s
}

func (s *onceShop) path(name string) string { return filepath.Join(s.dir, name) }

func (s *onceShop) write(name, text string) {
	s.t.Helper()
	bundleMust(s.t, os.WriteFile(s.path(name), []byte(text), 0o600))
}

// renew stores a new version, and returns it.
func (s *onceShop) renew() certmedic.Fingerprint {
	s.t.Helper()
	pair := mint.Must(s.ca.Leaf(mint.Leaf{Names: []string{"shop.test"}}))
	s.mu.Lock()
	s.n = 0
	s.mu.Unlock()
	s.write("key.pem", string(mint.Must(pair.KeyPEM())))
	s.write("cert.pem", string(pair.FullchainPEM()))
	return remoteFingerprint(pair.Chain[0].Raw)
}

// front stands before the store.
func (s *onceShop) front(backend string) string {
	to := mint.Must(url.Parse(backend))
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		if strings.Contains(r.URL.Path, "/versions/") || strings.Contains(r.URL.Path, "/current.json") {
			n = s.count(r.Method)
		}
		strike := s.striking(n) // what comes of a request that was struck strikes nobody else
		strike(n, false)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
		defer cancel()
		proxy.ServeHTTP(w, r.WithContext(ctx))
		strike(n, true)
	}))
	s.t.Cleanup(server.Close)
	return server.URL
}

// count numbers the requests of a publication, from its first write on: before that it only looks.
func (s *onceShop) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if method == http.MethodPut || s.n > 0 {
		s.n++
	}
	return s.n
}

// striking returns what strikes a request.
func (s *onceShop) striking(n int) func(n int, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.strike == nil || n == 0 {
		return func(int, bool) {}
	}
	return s.strike
}

// look has the consumer look, and returns what it has, which is whole.
func (s *onceShop) look() certmedic.Fingerprint {
	s.t.Helper()
	_, err := s.consumer.Look(s.t.Context(), time.Now())
	bundleMust(s.t, err)
	folder := filepath.Join(s.consumer.Folder, "current")
	if _, err := tls.LoadX509KeyPair(filepath.Join(folder, "fullchain.pem"), filepath.Join(folder, "privkey.pem")); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatalf("the consumer has a torn version: %v", err)
	}
	return s.consumer.Health().Version
}

// killedAt has a version published, and kills the publisher before or after one of its requests. It reports false where there are not so many.
func (s *onceShop) killedAt(at int, after bool) bool {
	s.t.Helper()
	before := s.look()
	killed := make(chan struct{})
	s.mu.Lock()
	s.strike = func(n int, when bool) {
		if n == at && when == after {
			s.mu.Lock()
			s.strike = nil
			s.mu.Unlock()
			s.member.kill(true)
			close(killed)
		}
	}
	s.mu.Unlock()
	version := s.renew()
	about := fmt.Sprintf("killed at request %d, after its answer %t", at, after)
	struck := func() bool {
		select {
		case <-killed:
			return true
		default:
			return false
		}
	}
	s.world.await(about, func() bool { return struck() || s.look() == version && s.settled() })
	if !struck() {
		return false
	}
	if got := s.look(); got != before && got != version {
		s.t.Errorf("%s: the consumer has version %s, neither the one before nor the new one", about, got.Short())
	}
	s.world.start(s.member)
	s.world.await(about+": it is published once the publisher is back", func() bool { return s.look() == version })
	return true
}

// settled reports whether the publisher asks nothing more for a while.
func (s *onceShop) settled() bool {
	s.mu.Lock()
	before := s.n
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n == before
}

// TestPublisherKilled kills the publisher before and after each of its requests to a bucket: a consumer has the version before or the new
// one, whole, and the new one once the publisher is back; tokens only grow. With CERTMEDIC_CHAOS=1 it does so at every request.
func TestPublisherKilled(t *testing.T) {
	t.Parallel()
	s := newOnceShop(t)
	first := s.renew()
	s.world.start(s.member)
	s.world.await("the first version is published", func() bool { return s.look() == first })
	step := 1
	if os.Getenv("CERTMEDIC_CHAOS") == "" {
		step = 3
	}
	kills, token := 0, uint64(0)
	for at := 1 + int(time.Now().Unix()/86400)%step; ; at += step {
		if !s.killedAt(at, false) {
			break
		}
		kills++
		if s.killedAt(at, true) {
			kills++
		}
		if now := s.consumer.Health().Mark.Token; now < token {
			t.Errorf("token %d came after token %d", now, token)
		} else {
			token = now
		}
	}
	if kills < 4 {
		t.Errorf("the publisher was killed %d times only", kills)
	}
	t.Logf("the publisher was killed %d times; a consumer never had a torn version", kills)
}
