package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
)

// fake is an S3 server in this process, spoken to without a network, so that it is in virtual time. It can be
// told to be as lax as some stores are.
type fake struct {
	mu      sync.Mutex
	objects map[string]entry
	lax     func(r *http.Request) bool // passes over the conditions of a request
	strict  func(r *http.Request) bool // refuses it, whatever its conditions
	header  func(h http.Header)        // changes an answer's
	closed  bool                       // it lets nobody in
	reads   int
}

type entry struct {
	data     []byte
	modified time.Time
}

func (e entry) tag() string {
	sum := sha256.Sum256(e.data)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// Do implements the SDK's HTTPClient.
func (f *fake) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer(w, r)
	answer := w.Result()
	if f.header != nil {
		f.header(answer.Header)
	}
	answer.Request = r
	return answer, nil
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/leases/")
	e, there := f.objects[name]
	switch {
	case f.closed:
		refuse(w, http.StatusForbidden, "AccessDenied")
	case r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2":
		f.list(w, r)
	case r.Method == http.MethodPut:
		f.put(w, r, name)
	case r.Method == http.MethodDelete:
		delete(f.objects, name)
		w.WriteHeader(http.StatusNoContent)
	case !there:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	default:
		f.reads++
		w.Header().Set("ETag", e.tag())
		w.Header().Set("Last-Modified", e.modified.UTC().Format(http.TimeFormat))
		_, _ = w.Write(e.data)
	}
}

func (f *fake) put(w http.ResponseWriter, r *http.Request, name string) {
	old, there := f.objects[name]
	match := r.Header.Get("If-Match")
	met := r.Header.Get("If-None-Match") == "*" && !there || match != "" && there && match == old.tag()
	switch {
	case f.lax != nil && f.lax(r):
	case match != "" && !there:
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	case !met, f.strict != nil && f.strict(r):
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.objects[name] = entry{data, time.Now()}
	w.Header().Set("ETag", f.objects[name].tag())
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code></Error>")
}

// list hands out three keys a page.
func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	type content struct{ Key string }
	var page struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string
		Contents              []content
	}
	var names []string
	for name := range f.objects {
		if strings.HasPrefix(name, r.URL.Query().Get("prefix")) && name > r.URL.Query().Get("continuation-token") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > 3 {
		names = names[:3]
		page.IsTruncated, page.NextContinuationToken = true, names[2]
	}
	for _, name := range names {
		page.Contents = append(page.Contents, content{name})
	}
	_ = xml.NewEncoder(w).Encode(page)
}

func newFake() *fake { return &fake{objects: map[string]entry{}} }

func (f *fake) client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String("http://bucket.test"), UsePathStyle: true, Region: "us-east-1", HTTPClient: f,
		Credentials:                credentials.NewStaticCredentialsProvider("id", "secret", ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		RetryMaxAttempts:           2,
	})
}

func TestS3(t *testing.T) {
	coordtest.Test(t, true, func(testing.TB) coordtest.World {
		const ttl = 10 * time.Second
		f := newFake()
		return coordtest.World{
			Open: func(t testing.TB, member string) coord.Engine {
				e, err := Open(t.Context(), f.client(), Options{Bucket: "leases", Prefix: "/certmedic/", Member: member, TTL: ttl})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = e.Close() })
				return e
			},
			TTL: ttl, Ends: ttl + resolution + time.Second, Steps: 800,
		}
	})
}

// TestUnfitStores are refused, each for what it does not keep.
func TestUnfitStores(t *testing.T) {
	header := func(name string) func(r *http.Request) bool {
		return func(r *http.Request) bool { return r.Header.Get(name) != "" }
	}
	busy := 0
	for _, row := range []struct {
		about, why string
		fake       *fake
	}{
		{"it knows no conditions at all", "no conditional writes", &fake{lax: func(*http.Request) bool { return true }}},
		{"it passes over If-None-Match", "If-None-Match", &fake{lax: header("If-None-Match")}},
		{"it passes over If-Match", "If-Match", &fake{lax: header("If-Match")}},
		{"it refuses every If-Match", "refuses to replace", &fake{strict: header("If-Match")}},
		{"it looks first and writes later", "in a race|at once", &fake{lax: func(r *http.Request) bool {
			busy++
			return busy > 5 // those of the race
		}}},
		{"it says no date", "no Date", &fake{header: func(h http.Header) { h.Del("Date") }}},
		{"its times are of two clocks", "Date and Last-Modified", &fake{header: func(h http.Header) {
			h.Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		}}},
		{"it hands out other tags than it gives", "is read as", &fake{header: func(h http.Header) {
			if h.Get("Last-Modified") != "" {
				h.Set("ETag", `"x"`)
			}
		}}},
	} {
		t.Run(row.about, func(t *testing.T) {
			row.fake.objects = map[string]entry{}
			_, err := Open(t.Context(), row.fake.client(), Options{Bucket: "leases", Member: "a", TTL: time.Second})
			first, second, _ := strings.Cut(row.why, "|")
			if err == nil || !strings.Contains(err.Error(), first) && (second == "" || !strings.Contains(err.Error(), second)) {
				t.Errorf("it gave %v, want %q", err, row.why)
			}
			if len(row.fake.objects) != 0 {
				t.Errorf("the proof left %d objects", len(row.fake.objects))
			}
		})
	}
	if _, err := Open(t.Context(), newFake().client(), Options{Member: "a", TTL: time.Second}); err == nil {
		t.Error("a bucket without a name was accepted")
	}
	closed := &fake{closed: true}
	if _, err := Open(t.Context(), closed.client(), Options{Bucket: "leases", Member: "a", TTL: time.Second}); err == nil || strings.Contains(err.Error(), "conditional") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a store that lets nobody in is refused with %v", err)
	}
}

// TestTagsDoNotComeAgain writes the same twice: a store derives the ETag from what is written.
func TestTagsDoNotComeAgain(t *testing.T) {
	s := &store{client: newFake().client(), bucket: "leases"}
	first, err := s.Swap(t.Context(), "k", "", []byte("same"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Swap(t.Context(), "k", first, []byte("same"))
	if err != nil || second == first {
		t.Errorf("the tags are %q and %q, %v", first, second, err)
	}
}

func TestKeysAsNames(t *testing.T) {
	long := strings.Repeat("ä", coord.MaxName/2)
	for _, key := range []string{"records/a b+c", "records/" + long, "records/" + long[2:], "a=/b"} {
		name := escape(key)
		if back, err := unescape(name); err != nil || back != key {
			t.Errorf("%q is %q, and back %q, %v", key, name, back, err)
		}
		for i := range len(key) {
			if !strings.HasPrefix(name, escape(key[:i])) {
				t.Fatalf("%q does not begin with %q", name, escape(key[:i]))
			}
		}
		for part := range strings.SplitSeq(name, "/") {
			if len(part) > longestPart+1 {
				t.Errorf("%q has a part of %d bytes", name, len(part))
			}
		}
	}
}

func TestWrongAnswers(t *testing.T) {
	f := newFake()
	s := &store{client: f.client(), bucket: "leases"}
	f.objects["k"] = entry{[]byte("no line of ours"), time.Now()}
	if o, ok, err := s.Get(t.Context(), "k"); err == nil {
		t.Errorf("what others wrote is read as %+v, %v", o, ok)
	}
	f.objects["k"] = entry{make([]byte, largest+1), time.Now()}
	if _, _, err := s.Get(t.Context(), "k"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an object that is too large gave %v", err)
	}
	f.header = func(h http.Header) { h.Del("ETag") }
	if _, err := s.Swap(t.Context(), "new", "", nil); err == nil {
		t.Error("a write without an ETag in its answer gave no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.List(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("listing for nobody gave %v", err)
	}
}

// TestTimesAreTheStores has members whose own clocks may be anything: only the store's is compared.
func TestTimesAreTheStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.header = func(h http.Header) {
			for _, name := range []string{"Date", "Last-Modified"} {
				if at, err := http.ParseTime(h.Get(name)); err == nil {
					h.Set(name, at.Add(-1000*time.Hour).Format(http.TimeFormat))
				}
			}
		}
		open := func(member string) coord.Engine {
			e, err := Open(t.Context(), f.client(), Options{Bucket: "leases", Member: member, TTL: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		a, b := open("a"), open("b")
		if _, err := a.Acquire(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Acquire(t.Context(), "shop"); !errors.Is(err, coord.ErrHeld) {
			t.Errorf("with a store whose clock is wrong: %v", err)
		}
		time.Sleep(13 * time.Second)
		if _, err := b.Acquire(t.Context(), "shop"); err != nil {
			t.Errorf("with a store whose clock is wrong, later: %v", err)
		}
	})
}
