package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// serve answers on loopback.
func serve(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server
}

func newClient(t *testing.T) *Client {
	t.Helper()
	c := NewClient()
	t.Cleanup(c.Close)
	return c
}

func TestGet(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hop := strings.TrimPrefix(r.URL.Path, "/hop/")
		switch r.URL.Path {
		case "/agent":
			_, _ = w.Write([]byte(r.Header.Get("User-Agent") + "|" + r.Header.Get("Accept-Encoding")))
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/announced":
			w.Header().Set("Content-Length", "1000000")
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/hop/3", "/hop/2", "/hop/1":
			http.Redirect(w, r, "/hop/"+string(hop[0]-1), http.StatusFound)
		case "/hop/0":
			_, _ = w.Write([]byte("here"))
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest/", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	})
	for _, tt := range []struct{ about, url, want, wantErr string }{
		{"it says who asks, and asks for no compression", server.URL + "/agent", "certmedic|", ""},
		{"three redirects are followed", server.URL + "/hop/3", "here", ""},
		{"a redirect loop ends", server.URL + "/loop", "", "more than 3 redirects"},
		{"a body without end is cut off", server.URL + "/endless", "", "it is too large"},
		{"an announced size is believed", server.URL + "/announced", "", "it is too large"},
		{"half a body is none", server.URL + "/cut", "", "reading the answer: unexpected EOF"},
		{"a status that is not 200 is an error", server.URL + "/none", "", "status 404 Not Found"},
		{"a redirect leaves HTTP", server.URL + "/file", "", `a redirect to "file:///etc/passwd"`},
		{"a redirect leads to a cloud's metadata", server.URL + "/metadata", "", "169.254.169.254: addresses of this kind"},
		{"a URL is of a file", "file:///etc/passwd", "", "neither an http nor an https URL"},
		{"a URL has no host", "http:///crl", "", "neither an http nor an https URL"},
		{"a URL is link-local", "http://[fe80::1%25lo]/crl", "", "addresses of this kind"},
		{"a URL is broken", "http://a b/", "", "invalid character"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			body, err := newClient(t).Get(t.Context(), tt.url, 1000)
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Fatalf("the error is %v, want %q", err, tt.wantErr)
			}
			if string(body) != tt.want {
				t.Errorf("the body is %q, want %q", body, tt.want)
			}
		})
	}
}

func TestABodyThatDripsEndsWithItsContext(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newClient(t).Get(ctx, server.URL, 1000); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want that time ran out", err)
	}
}

func TestADeadHostIsLeftAlone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + listener.Addr().String()
	_ = listener.Close()
	c := newClient(t)
	var errs [2]error
	for i := range errs {
		_, errs[i] = c.Get(t.Context(), dead+"/"+string(rune('a'+i)), 10)
	}
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "connection refused") {
		t.Errorf("the first error is %v", errs[0])
	}
	if errs[1] == nil || !strings.Contains(errs[1].Error(), "is not asked before") {
		t.Errorf("the second error is %v", errs[1])
	}
}

func TestACallerWithoutPatienceDoesNotCondemnAHost(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("here")) })
	c := newClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, server.URL, 10); !errors.Is(err, context.Canceled) {
		t.Fatalf("the error is %v", err)
	}
	if body, err := c.Get(t.Context(), server.URL, 10); err != nil || string(body) != "here" {
		t.Errorf("then it answers %q, %v", body, err)
	}
}

func TestConnectionsAreRefusedByAddress(t *testing.T) {
	for address, refused := range map[string]bool{
		"169.254.169.254": true, "fe80::1": true, "fd00:ec2::254": true, "100.100.100.200": true, "0.0.0.0": true, "::": true,
		"224.0.0.1": true, "::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true, "168.63.129.16": true,
		"2002:a9fe:a9fe::1": true, "64:ff9b:1::a9fe:a9fe": true, "::a9fe:a9fe": true, "fd00:42::42": true, "::ffff:0.0.0.0": true,
		"127.0.0.1": false, "10.0.0.1": false, "192.0.2.1": false, "2001:db8::1": false, "fd00::1": false,
	} {
		err := controlAddress("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 80).String(), nil)
		if errors.Is(err, errRefused) != refused {
			t.Errorf("%s: %v, want it refused: %t", address, err, refused)
		}
	}
}

func TestPause(t *testing.T) {
	for times, want := range map[int]time.Duration{
		0: time.Minute, 1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 1000: time.Hour,
	} {
		if got := pause(times); got != want {
			t.Errorf("after %d failures: %v, want %v", times, got, want)
		}
	}
}

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// counted is a loader that counts, and fails while broken.
type counted struct {
	loads  atomic.Int32
	broken bool
}

func (l *counted) load(fresh time.Time) Load[int] {
	return func(context.Context) (*int, time.Time, error) {
		n := int(l.loads.Add(1))
		if l.broken {
			return nil, time.Time{}, errors.New("it is broken")
		}
		return &n, fresh, nil
	}
}

func newCache(t *testing.T, maxSize int) *Cache[int] {
	t.Helper()
	c := NewCache(maxSize, func(*int) int { return 1000 })
	t.Cleanup(c.Close)
	return c
}

func TestCacheKeepsWhatIsFresh(t *testing.T) {
	c, l := newCache(t, 1<<20), &counted{}
	for _, step := range []struct {
		about string
		after time.Duration
		want  int32
	}{
		{"the first wish loads", 0, 1},
		{"the next finds it", time.Minute, 1},
		{"a clock that lags a little does too", -time.Minute, 1},
		{"when it is no longer fresh it is loaded again", time.Hour, 2},
		{"a clock that was set back loads", -24 * time.Hour, 3},
	} {
		now := start.Add(step.after)
		if kept := c.Get(t.Context(), "key", now, l.load(now.Add(time.Hour))); kept.Err != nil || l.loads.Load() != step.want {
			t.Errorf("%s: %d loads, want %d; %v", step.about, l.loads.Load(), step.want, kept.Err)
		}
	}
}

func TestCacheLeavesFailuresAlone(t *testing.T) {
	c, l := newCache(t, 1<<20), &counted{}
	now := start
	value := *c.Get(t.Context(), "key", now, l.load(now)).Value
	l.broken = true
	for i, wait := range []time.Duration{time.Minute, time.Minute, 2 * time.Minute, 4 * time.Minute} {
		now = now.Add(wait)
		for range 2 {
			kept := c.Get(t.Context(), "key", now, l.load(now))
			if kept.Err == nil || *kept.Value != value {
				t.Fatalf("a failure does not leave the old value: %+v", kept)
			}
		}
		if got := int(l.loads.Load()); got != 2+i {
			t.Errorf("after %d failures there were %d loads, want %d", i+1, got, 2+i)
		}
	}
	l.broken = false
	now = now.Add(8 * time.Minute)
	if kept := c.Get(t.Context(), "key", now, l.load(now)); kept.Err != nil || *kept.Value == value {
		t.Errorf("it does not recover: %+v", kept)
	}
}

func TestCacheLoadsOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(1<<20, func(*int) int { return 0 })
		var loads atomic.Int32
		slow := func(ctx context.Context) (*int, time.Time, error) {
			n := int(loads.Add(1))
			time.Sleep(20 * time.Second)
			return &n, start.Add(time.Hour), ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		results := make(chan Kept[int])
		for range 50 {
			go func() { results <- c.Get(ctx, "key", start, slow) }()
			go func() { results <- c.Get(t.Context(), "key", start, slow) }()
		}
		failed := 0
		for range 100 {
			if kept := <-results; kept.Err != nil {
				failed++
				if !errors.Is(kept.Err, context.DeadlineExceeded) || !kept.Until.Equal(start.Add(retrySoon)) {
					t.Errorf("who did not wait got %+v", kept)
				}
			}
		}
		if failed != 50 || loads.Load() != 1 {
			t.Errorf("%d did not wait, want 50; %d loads, want 1", failed, loads.Load())
		}
		c.Close()
	})
}

func TestCacheStaysSmall(t *testing.T) {
	c, l := newCache(t, 10*(1000+entrySize)), &counted{}
	for i := range 100 {
		now := start.Add(time.Duration(i) * time.Second)
		c.Get(t.Context(), string(rune('a'+i)), now, l.load(now.Add(time.Hour)))
		c.Get(t.Context(), "a", now, l.load(now.Add(time.Hour)))
	}
	if len(c.entries) != 10 || c.size != 10*(1000+entrySize) {
		t.Errorf("it has %d entries of %d bytes, want 10", len(c.entries), c.size)
	}
	if c.entries["a"] == nil {
		t.Error("what is used most was dropped")
	}
	c.Get(t.Context(), "new", start.Add(48*time.Hour), l.load(start))
	if len(c.entries) != 1 {
		t.Errorf("%d entries stay for days without use", len(c.entries)-1)
	}
}

func TestACacheThatIsClosedLoadsNothing(t *testing.T) {
	c := NewCache(1<<20, func(*int) int { return 0 })
	begun := make(chan struct{})
	results := make(chan Kept[int])
	go func() {
		results <- c.Get(t.Context(), "key", start, func(ctx context.Context) (*int, time.Time, error) {
			close(begun)
			<-ctx.Done()
			return nil, time.Time{}, ctx.Err()
		})
	}()
	<-begun
	c.Close()
	if kept := <-results; !errors.Is(kept.Err, context.Canceled) {
		t.Errorf("a load under way ends with %v", kept.Err)
	}
	if kept := c.Get(t.Context(), "key", start, (&counted{}).load(start)); !errors.Is(kept.Err, errClosed) {
		t.Errorf("a later one ends with %v", kept.Err)
	}
}
