package ari

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/dnsd"
	"github.com/certmedic/certmedic/internal/lab/issuer"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/port"
	"github.com/certmedic/certmedic/internal/lab/tree"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// issued is a certificate of a real ACME CA.
type issued struct {
	ca   *ca.CA
	leaf *x509.Certificate
	key  string // where its key is
}

func issue(t *testing.T, validity time.Duration) issued {
	t.Helper()
	for key, value := range ca.Environment() {
		t.Setenv(key, value)
	}
	dns, err := dnsd.Start(t.Context(), "")
	must(t, err)
	t.Cleanup(dns.Stop)
	must(t, dns.Set(dnsd.Any, "A 127.0.0.1"))
	challenges, err := port.Free(t.Context(), 0)
	must(t, err)
	authority, err := ca.Start(t.Context(), ca.Options{HTTPPort: challenges, Resolver: dns.Addr(), Validity: validity})
	must(t, err)
	t.Cleanup(authority.Stop)
	client := issuer.Issuer{Tree: tree.At(t.TempDir()), Client: authority.Client(), Out: t.Output(), Env: os.Environ()}
	must(t, client.Issue(t.Context(), issuer.Request{Server: authority.Directory(), Names: []string{"shop.test"}, HTTPPort: challenges}))
	live := client.Tree.Live("shop.test")
	text, err := os.ReadFile(filepath.Join(live, "cert.pem"))
	must(t, err)
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return issued{authority, leaf, filepath.Join(live, "privkey.pem")}
}

// revoke revokes the certificate with its own key.
func (i issued) revoke(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(i.key)
	must(t, err)
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	client := acme.Client{Key: key.(crypto.Signer), DirectoryURL: i.ca.Directory(), HTTPClient: i.ca.Client()}
	must(t, client.RevokeCert(t.Context(), client.Key, i.leaf.Raw, acme.CRLReasonKeyCompromise))
}

// TestARealCA asks pebble, whose windows are two days around two thirds of a certificate's life,
// and in the past once it is revoked.
func TestARealCA(t *testing.T) {
	shop := issue(t, 90*24*time.Hour)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(shop.ca.ServicePEM())
	c := newClient(t, pool)
	now := time.Now()
	advice, err := c.Fetch(t.Context(), shop.ca.Directory(), shop.leaf)
	must(t, err)
	w := advice.Window
	if begin := shop.leaf.NotBefore.Add(59 * 24 * time.Hour); w.Start.Sub(begin).Abs() > time.Minute || w.End.Sub(w.Start) != 48*time.Hour {
		t.Errorf("the window is %v to %v", w.Start, w.End)
	}
	if in := advice.CheckAfter.Sub(now); in < 6*time.Hour || in > 6*time.Hour+time.Minute {
		t.Errorf("it wants to be asked again in %v", in)
	}
	if skew, ok := c.Skew(now); !ok || skew.Abs() > 5*time.Second {
		t.Errorf("the clock is ahead of itself by %v, %t", skew, ok)
	}
	shop.revoke(t)
	if advice, err = c.Fetch(t.Context(), shop.ca.Directory(), shop.leaf); err != nil || !advice.Window.End.Before(time.Now()) {
		t.Errorf("after its revocation: %+v, %v", advice, err)
	}
	stranger := mint.Must(mint.Must(mint.NewCA("another")).Leaf(mint.Leaf{}))
	_, err = c.Fetch(t.Context(), shop.ca.Directory(), stranger.Cert)
	if err == nil || !strings.Contains(err.Error(), "status 400: Parsing ARI CertID failed") {
		t.Errorf("about a certificate of another CA it says %v", err)
	}
}

func newClient(t *testing.T, roots *x509.CertPool) *Client {
	t.Helper()
	c := NewClient(Options{Roots: []*x509.CertPool{x509.NewCertPool(), roots}})
	t.Cleanup(c.Close)
	return c
}

// fake is a CA that answers as it is told, and counts.
type fake struct {
	*httptest.Server
	leaf        *x509.Certificate
	directories atomic.Int32
	questions   atomic.Int32
	answer      http.HandlerFunc // to questions about a certificate
}

const (
	window = `{"suggestedWindow": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z"}}`
	form   = `{"newAccount": "%[1]s/a", "newOrder": "%[1]s/o", "renewalInfo": "%[1]s/ari"}`
)

func newFake(t *testing.T, answer http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{answer: answer, leaf: mint.Must(mint.Must(mint.NewCA("fake")).Leaf(mint.Leaf{})).Cert}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /directory", func(w http.ResponseWriter, _ *http.Request) {
		f.directories.Add(1)
		_, _ = fmt.Fprintf(w, form, f.URL)
	})
	mux.HandleFunc("GET /ari/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.questions.Add(1)
		answer(w, r)
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(window)) })
	mux.HandleFunc("GET /silent", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"newAccount": "https://127.0.0.1/a", "newOrder": "https://127.0.0.1/o"}`))
	})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>\x1b[31m" + strings.Repeat("a page", 1000)))
	})
	f.Server = httptest.NewUnstartedServer(mux)
	f.Config.ErrorLog = log.New(t.Output(), "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

func (f *fake) client(t *testing.T) *Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(f.Certificate())
	return newClient(t, pool)
}

// says answers with a status, headers as "Name: value", and a body.
func says(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func TestAnswers(t *testing.T) {
	const problem = `{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "slow\u001bdown", "status": 429}`
	const day = 24 * time.Hour
	for _, row := range []struct {
		about   string
		answer  http.HandlerFunc
		wantErr string
		check   time.Duration // until it is asked again; 0: that is not told
	}{
		{"a window", says(200, window), "", 6 * time.Hour},
		{"a window that counts for an hour", says(200, window, "Retry-After: 3600"), "", time.Hour},
		{"nobody is asked every second", says(200, window, "Retry-After: 1"), "", time.Minute},
		{"nor never again", says(200, window, "Retry-After: 99999999999999999999"), "", 6 * time.Hour},
		{"nor in a year", says(200, window, "Retry-After: 31536000"), "", day},
		{"a date is one on the clock of the CA", says(200, window, "Date: Sun, 01 Mar 2020 00:00:00 GMT", "Retry-After: Sun, 01 Mar 2020 02:00:00 GMT"), "", 2 * time.Hour},
		{"a date that has passed", says(200, window, "Retry-After: Sun, 01 Mar 2020 02:00:00 GMT"), "", time.Minute},
		{"a wish that cannot be read", says(200, window, "Retry-After: soon"), "", 6 * time.Hour},
		{"a redirect", says(302, "", "Location: /moved"), "", 6 * time.Hour},
		{"asked too much, for some seconds", says(429, problem, "Retry-After: 7200"), "status 429: slow\uFFFDdown", 2 * time.Hour},
		{"asked too much, until some date", says(429, problem, "Date: Sun, 01 Mar 2020 00:00:00 GMT", "Retry-After: Sun, 01 Mar 2020 02:00:00 GMT"), "status 429", 2 * time.Hour},
		{"asked too much", says(429, problem), "status 429", time.Minute},
		{"it is down", says(503, "<html>"), "it answered with status 503", time.Minute},
		{"nobody knows the certificate", says(404, `{"detail": "no such serial"}`), "status 404: no such serial", 0},
		{"an answer without a window", says(200, "{}"), "its window ends at 0001-01-01T00:00:00Z and begins at 0001", 0},
		{"a window that ends before it begins", says(200, strings.Replace(window, "03-03", "02-03", 1)), "its window ends at 2026-02-03", 0},
		{"nonsense", says(200, "<html>"), "reading its answer: invalid character", 0},
		{"half an answer", says(200, window[:30]), "reading its answer: unexpected EOF", 0},
		{"an answer without end", says(200, strings.Repeat(" ", 1<<20)), "more than 65536 bytes", time.Minute},
		{"a loop of redirects", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "more than 3 redirects", 0},
		{"a redirect without TLS", says(302, "", "Location: http://127.0.0.1/"), "HTTPS is required", 0},
		{"a redirect to a cloud's metadata", says(302, "", "Location: https://169.254.169.254/"), "addresses of this kind are not asked", time.Minute},
		{"it hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", time.Minute},
	} {
		t.Run(row.about, func(t *testing.T) {
			f := newFake(t, row.answer)
			advice, err := f.client(t).Fetch(t.Context(), f.URL+"/directory", f.leaf)
			if row.wantErr == "" && err != nil || row.wantErr != "" && (err == nil || !strings.Contains(err.Error(), row.wantErr)) {
				t.Fatalf("the error is %v, want %q", err, row.wantErr)
			}
			if row.wantErr == "" && !advice.Window.End.Equal(time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("the window is %+v", advice.Window)
			}
			if row.check == 0 && !advice.CheckAfter.IsZero() || row.check > 0 && (time.Until(advice.CheckAfter)-row.check).Abs() > 30*time.Second {
				t.Errorf("it is asked again in %v, want %v", time.Until(advice.CheckAfter), row.check)
			}
		})
	}
}

func TestDirectories(t *testing.T) {
	f := newFake(t, says(200, window))
	c := f.client(t)
	for _, row := range []struct{ about, directory, want string }{
		{"one without renewal information", f.URL + "/silent", ErrUnsupported.Error()},
		{"one that is not there", f.URL + "/none", "404"},
		{"a page", f.URL + "/page", "<html>"},
		{"one without TLS", "http://127.0.0.1/directory", "HTTPS is required"},
		{"no URL", "certbot's own", "HTTPS is required"},
		{"a broken URL", "https://a b/", "invalid character"},
	} {
		advice, err := c.Fetch(t.Context(), row.directory, f.leaf)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
			continue
		}
		if len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: what the CA wrote is in the error: %q", row.about, err)
		}
		if unsupported := errors.Is(err, ErrUnsupported); unsupported != advice.CheckAfter.After(time.Now().Add(23*time.Hour)) {
			t.Errorf("%s: unsupported %t, asked again at %v", row.about, unsupported, advice.CheckAfter)
		}
	}
}

func TestACertificateThatNoCACanKnow(t *testing.T) {
	f := newFake(t, says(200, window))
	own := mint.Must(mint.SelfSigned(mint.Leaf{Change: func(c *x509.Certificate) { c.SubjectKeyId, c.AuthorityKeyId = nil, nil }}))
	_, err := f.client(t).Fetch(t.Context(), f.URL+"/directory", own.Cert)
	if err == nil || !strings.Contains(err.Error(), "does not name its issuer's key") || f.directories.Load() > 0 {
		t.Errorf("the error is %v after %d questions", err, f.directories.Load())
	}
}

func TestADirectoryIsFetchedOnce(t *testing.T) {
	f := newFake(t, says(200, window))
	c := f.client(t)
	for range 3 {
		_, err := c.Fetch(t.Context(), f.URL+"/directory", f.leaf)
		must(t, err)
	}
	if f.directories.Load() != 1 || f.questions.Load() != 3 {
		t.Errorf("%d directories and %d answers were fetched", f.directories.Load(), f.questions.Load())
	}
	must(t, c.Measure(t.Context(), f.URL+"/directory"))
	if f.directories.Load() != 2 {
		t.Error("a remembered directory has no date, and the clock is measured by it")
	}
	if c.directory(f.URL+"/directory", time.Now().Add(25*time.Hour)) != nil {
		t.Error("after a day it is still remembered")
	}
}

func TestTheExplanationIsAPage(t *testing.T) {
	for raw, want := range map[string]string{
		"https://ca.example.test/why?a=b": "https://ca.example.test/why?a=b",
		"javascript:alert(1)":             "",
		"https://\x1b[31m/":               "",
		"nothing":                         "",
		"https://ca.example.test/" + strings.Repeat("a", 2000): "",
	} {
		if got := page(raw); got != want {
			t.Errorf("the page of %q is %q", raw, got)
		}
	}
}

// TestACAInTroubleIsLeftAlone asks about many certificates; only the first reaches the CA.
func TestACAInTroubleIsLeftAlone(t *testing.T) {
	f := newFake(t, says(503, ""))
	c := f.client(t)
	_, err := c.Fetch(t.Context(), f.URL+"/directory", f.leaf)
	if err == nil || errors.Is(err, ErrLeftAlone) {
		t.Fatalf("the first error is %v", err)
	}
	for range 10 {
		advice, err := c.Fetch(t.Context(), f.URL+"/directory", f.leaf)
		if !errors.Is(err, ErrLeftAlone) || (time.Until(advice.CheckAfter)-time.Minute).Abs() > 30*time.Second {
			t.Fatalf("a further one is %v, asked again at %v", err, advice.CheckAfter)
		}
	}
	if f.questions.Load() != 1 {
		t.Errorf("it was asked %d times", f.questions.Load())
	}
	h := c.host(strings.TrimPrefix(f.URL, "https://"))
	down := &http.Response{StatusCode: 503, Header: http.Header{}}
	for _, want := range []time.Duration{2, 4, 8, 16, 32, 32} {
		if got := time.Until(c.remember(h, down, nil)).Round(time.Minute); got != want*time.Minute {
			t.Errorf("then it is left alone for %v, want %v minutes", got, int(want))
		}
	}
	if until := c.remember(h, &http.Response{StatusCode: 404}, nil); !until.IsZero() {
		t.Errorf("it lives and is left alone until %v", until)
	}
}

// TestFewRequestsAtATime holds answers back until no more than two of ten can have come.
func TestFewRequestsAtATime(t *testing.T) {
	var under, most atomic.Int32
	release := make(chan struct{})
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if n := under.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-release
		under.Add(-1)
		_, _ = w.Write([]byte(window))
	})
	c := f.client(t)
	errs := make(chan error)
	for range 10 {
		go func() {
			_, err := c.Fetch(t.Context(), f.URL+"/directory", f.leaf)
			errs <- err
		}()
	}
	for range 10 {
		release <- struct{}{}
		must(t, <-errs)
	}
	if most.Load() > maxPerHost {
		t.Errorf("%d requests were under way", most.Load())
	}
}

func TestACAThatHangs(t *testing.T) {
	f := newFake(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := f.client(t)
	for _, row := range []struct {
		about string
		ctx   func() (context.Context, context.CancelFunc)
		want  error
	}{
		{"a caller that goes says nothing about it", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled},
		{"time runs out", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 200*time.Millisecond)
		}, context.DeadlineExceeded},
		{"and so it is left alone", func() (context.Context, context.CancelFunc) { return t.Context(), func() {} }, ErrLeftAlone},
	} {
		ctx, cancel := row.ctx()
		if _, err := c.Fetch(ctx, f.URL+"/directory", f.leaf); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", row.about, err)
		}
		cancel()
	}
}

func TestSkew(t *testing.T) {
	c := newClient(t, nil)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if _, ok := c.Skew(now); ok {
		t.Error("without an answer there is a skew")
	}
	for _, row := range []struct {
		about, date, age string
		sent, received   time.Duration // behind noon
		want             time.Duration
	}{
		{"the clocks agree", "Sun, 01 Mar 2026 12:00:00 GMT", "", 0, 900 * time.Millisecond, 0},
		{"ours is ahead", "Sun, 01 Mar 2026 11:50:00 GMT", "0", 0, time.Second, 10 * time.Minute},
		{"ours is behind, and the answer took long", "Sun, 01 Mar 2026 12:01:00 GMT", "", 0, 21 * time.Second, -50 * time.Second},
		{"an answer from a cache says nothing", "Sun, 01 Mar 2026 10:00:00 GMT", "7200", 0, time.Second, -50 * time.Second},
		{"nor does one without a date", "", "", 0, time.Second, -50 * time.Second},
	} {
		c.measure(http.Header{"Date": {row.date}, "Age": {row.age}}, now.Add(row.sent), now.Add(row.received))
		if got, ok := c.Skew(now.Add(time.Hour)); !ok || got != row.want {
			t.Errorf("%s: the skew is %v, %t, want %v", row.about, got, ok, row.want)
		}
	}
	if _, ok := c.Skew(now.Add(25 * time.Hour)); ok {
		t.Error("the skew of yesterday is one of today")
	}
}

func TestChoose(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ahead := Window{now.Add(time.Hour), now.Add(3 * time.Hour)}
	early := 0
	for range 1000 {
		at := Choose(ahead, now, random)
		if at.Before(ahead.Start) || !at.Before(ahead.End) {
			t.Fatalf("%v is outside of the window", at)
		}
		if at.Before(ahead.Start.Add(time.Hour)) {
			early++
		}
	}
	if early < 400 || early > 600 {
		t.Errorf("%d of 1000 moments are in the first half", early)
	}
	for _, w := range []Window{{now.Add(-2 * time.Hour), now}, {now.Add(2 * time.Hour), now.Add(time.Hour)}} {
		if at := Choose(w, now, random); !at.Equal(now) {
			t.Errorf("of %+v it chose %v", w, at)
		}
	}
}

func TestPause(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for failures, want := range map[int]time.Duration{0: time.Minute, 1: time.Minute, 2: 10 * time.Minute, 3: 100 * time.Minute, 4: 24 * time.Hour, 999: 24 * time.Hour} {
		for range 100 {
			if got := Pause(failures, random); got < want/2 || got >= want/2*3 {
				t.Errorf("after %d failures: %v", failures, got)
			}
		}
	}
}
