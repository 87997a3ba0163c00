package s3_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/bundletest"
	"github.com/certmedic/certmedic/internal/bundle/s3"
)

// at is the configuration of a fake, with credentials in a file.
func at(t *testing.T, f *fake) s3.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, []byte("[default]\naws_access_key_id = id\naws_secret_access_key = secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s3.Config{Endpoint: f.URL, Bucket: bucket, Prefix: "some/where/", CredentialsFile: path}
}

func open(t *testing.T, f *fake) *s3.Store {
	t.Helper()
	store, err := s3.Open(t.Context(), at(t, f))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStore(t *testing.T) {
	f := newFake(t)
	bundletest.Test(t, open(t, f))
	for name := range f.objects {
		if !strings.HasPrefix(name, "some/where/") || strings.Contains(name, "probe") {
			t.Errorf("%q was written, or stayed", name)
		}
	}
}

// TestOpenRefuses holds that a store that cannot keep a compare-and-swap is not used.
func TestOpenRefuses(t *testing.T) {
	without := func(header string) func(*fake, http.ResponseWriter, *http.Request) bool {
		return func(f *fake, w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || r.Header.Get(header) == "" {
				return false
			}
			f.mu.Lock()
			f.lenient = true
			f.mu.Unlock()
			f.answer(w, r)
			f.mu.Lock()
			f.lenient = false
			f.mu.Unlock()
			return true
		}
	}
	for _, row := range []struct {
		about  string
		behave func(*fake, http.ResponseWriter, *http.Request) bool
		change func(*s3.Config)
		says   string
	}{
		{"it passes over If-None-Match", without("If-None-Match"), nil, "must not exist"},
		{"it passes over If-Match", without("If-Match"), nil, "another ETag"},
		{"it knows no If-Match", func(_ *fake, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("If-Match") == "" {
				return false
			}
			refuse(w, http.StatusNotImplemented, "NotImplemented")
			return true
		}, nil, "refuses to replace"},
		{"its ETags are those of a later content, as where the two are not written together", func(f *fake, w http.ResponseWriter, r *http.Request) bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			name := strings.TrimPrefix(r.URL.Path, "/"+bucket+"/")
			n, err := strconv.Atoi(string(f.objects[name]))
			if r.Method != http.MethodGet || err != nil || n < 5 {
				return false
			}
			w.Header().Set("ETag", etag(f.objects[name]))
			_, _ = w.Write([]byte(strconv.Itoa(n - 1)))
			return true
		}, nil, "by 3 writers at once"},
		{"the credentials are wrong", func(_ *fake, w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, http.StatusForbidden, "InvalidAccessKeyId")
			return true
		}, nil, "InvalidAccessKeyId"},
		{"the bucket is missing", nil, func(c *s3.Config) { c.Bucket = "none" }, "none"},
		{"no bucket is named", nil, func(c *s3.Config) { c.Bucket = "" }, "no name"},
		{"the credentials are not there", nil, func(c *s3.Config) { c.CredentialsFile += "2" }, "no such file"},
		{"others may read the credentials", nil, func(c *s3.Config) { _ = os.Chmod(c.CredentialsFile, 0o644) }, "may be read by others"},
		{"the credentials are of another profile", nil, func(c *s3.Config) {
			_ = os.WriteFile(c.CredentialsFile, []byte("[prod]\naws_access_key_id = id\naws_secret_access_key = secret\n"), 0o600)
		}, "under [default]"},
		{"the CA's file holds none", nil, func(c *s3.Config) { c.CAFile = c.CredentialsFile }, "no certificate"},
	} {
		t.Run(row.about, func(t *testing.T) {
			f := newFake(t)
			f.become(row.behave)
			c := at(t, f)
			if row.change != nil {
				row.change(&c)
			}
			_, err := s3.Open(t.Context(), c)
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want %q", err, row.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret\n") {
				t.Errorf("the error has the secret: %v", err)
			}
		})
	}
}

// TestAnswerLost has the server carry out a write whose answer never arrives: the next try is told
// that somebody was there first, and the caller finds its own content.
func TestAnswerLost(t *testing.T) {
	f := newFake(t)
	store := open(t, f)
	lost := false
	f.become(func(f *fake, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || lost {
			return false
		}
		lost = true
		f.answer(httptest.NewRecorder(), r)
		drop(w)
		return true
	})
	if err := store.Create(t.Context(), "a/b", []byte("one")); !errors.Is(err, bundle.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if o, err := store.Get(t.Context(), "a/b", ""); err != nil || string(o.Data) != "one" {
		t.Errorf("it holds %q, %v", o.Data, err)
	}
}

// TestServerIsIll holds that a store that fails is told from one that has nothing, that it is
// asked again a few times, and that it cannot make its client wait or read for ever.
func TestServerIsIll(t *testing.T) {
	t.Parallel()
	type behave = func(*fake, http.ResponseWriter, *http.Request) bool
	always := func(do func(w http.ResponseWriter)) behave {
		return func(_ *fake, w http.ResponseWriter, _ *http.Request) bool { do(w); return true }
	}
	for _, row := range []struct {
		about    string
		behave   behave
		says     string
		requests int // at most
	}{
		{"errors inside", always(func(w http.ResponseWriter) { refuse(w, 500, "InternalError") }), "InternalError", 3},
		{"no answer at all", always(drop), "EOF", 12},
		{"no access", always(func(w http.ResponseWriter) { refuse(w, 403, "AccessDenied") }), "AccessDenied", 1},
		{"the bucket is gone", always(func(w http.ResponseWriter) { refuse(w, 404, "NoSuchBucket") }), "NoSuchBucket", 1},
		{"an answer that is no S3", always(func(w http.ResponseWriter) { w.WriteHeader(404); _, _ = w.Write([]byte("<html>")) }), "404", 3},
		{"half of an object", always(func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			w.Header().Set("ETag", `"x"`)
			_, _ = w.Write([]byte("half"))
		}), "unexpected EOF", 1},
		{"an object that is too large", always(func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"x"`)
			_, _ = w.Write(make([]byte, bundle.MaxObject+1))
		}), "larger than", 1},
		{"an object without a tag", always(func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }), "no ETag", 1},
	} {
		t.Run(row.about, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			store := open(t, f)
			f.become(row.behave)
			_, err := store.Get(t.Context(), "a/b", "")
			if err == nil || errors.Is(err, bundle.ErrNotFound) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want %q", err, row.says)
			}
			if n := f.asked(); n > row.requests {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
}

func TestServerHangs(t *testing.T) {
	f := newFake(t)
	store := open(t, f)
	done := make(chan struct{})
	defer close(done)
	f.become(func(_ *fake, _ http.ResponseWriter, _ *http.Request) bool { <-done; return true })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := store.Get(ctx, "a/b", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestEndlessListing(t *testing.T) {
	f := newFake(t)
	store := open(t, f)
	f.become(func(_ *fake, w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>more</NextContinuationToken></ListBucketResult>"))
		return true
	})
	if _, err := store.List(t.Context(), "a/"); err == nil {
		t.Error("it came to an end")
	}
	if n := f.asked(); n > 150 {
		t.Errorf("%d requests", n)
	}
}
