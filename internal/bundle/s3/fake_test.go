package s3_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

const bucket = "certs"

// fake is a strict S3 server for one bucket: it takes signed requests only, and of each kind no
// other than the store is to send. Behave, when set, may answer in its place.
type fake struct {
	*httptest.Server
	behave func(f *fake, w http.ResponseWriter, r *http.Request) (answered bool)

	mu       sync.Mutex
	objects  map[string][]byte
	requests int
	wrong    []string
	lenient  bool // it passes over conditions
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{objects: map[string][]byte{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.Close()
		for _, w := range f.wrong {
			t.Error(w)
		}
	})
	return f
}

// become has the server behave otherwise, and count its requests from now on.
func (f *fake) become(behave func(*fake, http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behave, f.requests = behave, 0
}

func (f *fake) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests++
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=id/") {
		f.wrong = append(f.wrong, fmt.Sprintf("%s %s is not signed by the credentials of the file", r.Method, r.URL))
	}
	behave := f.behave
	f.mu.Unlock()
	if behave == nil || !behave(f, w, r) {
		f.answer(w, r)
	}
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name, ok := strings.CutPrefix(r.URL.Path, "/"+bucket)
	name = strings.TrimPrefix(name, "/")
	data, there := f.objects[name]
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2":
		f.list(w, r)
	case name == "":
		f.wrong = append(f.wrong, "a request without a key: "+r.Method+" "+r.URL.String())
		refuse(w, http.StatusBadRequest, "InvalidRequest")
	case r.Method == http.MethodPut:
		f.put(w, r, name)
	case r.Method == http.MethodDelete:
		delete(f.objects, name)
		w.WriteHeader(http.StatusNoContent)
	case !there:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case r.Header.Get("If-None-Match") == etag(data):
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Header().Set("ETag", etag(data))
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data)
	}
}

func (f *fake) put(w http.ResponseWriter, r *http.Request, name string) {
	old, there := f.objects[name]
	none, match := r.Header.Get("If-None-Match"), r.Header.Get("If-Match")
	if (none == "*") == (match != "") {
		f.wrong = append(f.wrong, fmt.Sprintf("%q was written without a condition, or with two", name))
	}
	switch {
	case f.lenient:
	case none == "*" && there, match != "" && there && match != etag(old):
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	case match != "" && !there:
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.objects[name] = data
	w.Header().Set("ETag", etag(data))
}

// list hands out two keys a page.
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
	if len(names) > 2 {
		names = names[:2]
		page.IsTruncated, page.NextContinuationToken = true, names[1]
	}
	for _, name := range names {
		page.Contents = append(page.Contents, content{name})
	}
	_ = xml.NewEncoder(w).Encode(page)
}

func etag(data []byte) string {
	sum := sha256.Sum256(data)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>told by the fake</Message></Error>", code)
}

// drop ends the connection without an answer.
func drop(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}
