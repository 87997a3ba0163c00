package httpapi_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/deploy/deploytest"
	"github.com/certmedic/certmedic/remediate/deploy/httpapi"
)

const token = "t0ken-of-the-balancer"

// balancer is an interface that keeps the last body that it was sent at /cert, and shows the
// fingerprint in it, as openssl does, at /state.
type balancer struct {
	*httptest.Server
	behave func(w http.ResponseWriter, r *http.Request, before int) (answered bool)

	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	has      string
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	b := &balancer{}
	b.Server = httptest.NewTLSServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // cut off, it is not what is wanted
	b.mu.Lock()
	before := len(b.bodies)
	b.requests, b.bodies = append(b.requests, r), append(b.bodies, string(body))
	b.mu.Unlock()
	if b.behave != nil && b.behave(w, r, before) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet:
		fmt.Fprintf(w, `{"sha256":%q}`, b.has)
	default:
		var sent struct{ Fingerprint string }
		if json.Unmarshal(body, &sent) == nil {
			b.has = colons(sent.Fingerprint)
		}
		w.WriteHeader(http.StatusCreated)
	}
}

func colons(text string) string {
	var pairs []string
	for pair := range slices.Chunk([]byte(strings.ToUpper(text)), 2) {
		pairs = append(pairs, string(pair))
	}
	return strings.Join(pairs, ":")
}

// did lists the requests.
func (b *balancer) did() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []string{}
	for _, r := range b.requests {
		all = append(all, r.Method+" "+r.URL.Path)
	}
	return all
}

// to is the interface as a destination, without a look at what it has.
func (b *balancer) to(t *testing.T) certmedic.API {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{
		"token": token + "\n", "headers": "X-Tenant: s3cr3t-tenant\n",
		"ca.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificate().Raw})),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certmedic.API{
		URL: b.URL + "/cert?partition=secretive", Method: "PUT", TokenFile: dir + "/token", HeadersFile: dir + "/headers", CAFile: dir + "/ca.pem",
		Expect: []int{200, 201},
	}
}

func pair(t *testing.T) mint.Pair {
	t.Helper()
	return mint.Must(mint.Must(mint.Must(mint.NewCA("root")).Intermediate("issuing")).Leaf(mint.Leaf{Names: []string{"shop.test"}}))
}

func send(t *testing.T, to certmedic.API, p mint.Pair) (string, error) {
	t.Helper()
	request, err := json.Marshal(httpapi.Request{Order: deploytest.Order(t, "shop", p.Chain, mint.Must(p.KeyPEM())), To: to})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = httpapi.Run(t.Context(), request, &out)
	texts := []string{string(request), out.String(), fmt.Sprint(err)}
	deploytest.NoKey(t, mint.Must(p.KeyPEM()), texts...)
	for _, text := range texts[1:] {
		for _, secret := range []string{token, "s3cr3t", "secretive"} {
			if strings.Contains(text, secret) {
				t.Errorf("a secret is shown: %s", text)
			}
		}
	}
	return out.String(), err
}

// TestForms shows what is sent in each form.
func TestForms(t *testing.T) {
	t.Parallel()
	p := pair(t)
	order := deploytest.Order(t, "shop", p.Chain, mint.Must(p.KeyPEM()))
	v, err := order.Read()
	if err != nil {
		t.Fatal(err)
	}
	document, err := json.Marshal(v.Document())
	if err != nil {
		t.Fatal(err)
	}
	key := mint.Must(json.Marshal(string(mint.Must(p.KeyPEM()))))
	for _, row := range []struct {
		about, body string
		form        certmedic.APIForm
		wantType    string
		want        []string
	}{
		{"the object of all that is known", "", "", "application/json", []string{string(document)}},
		{"a template", `{"id":{{json .Name}},"pk":{{json .Privkey}},"thumb":"{{colons .SHA1}}"}`, "", "application/json", []string{`{"id":"shop","pk":` + string(key) + `,"thumb":"` + colons(v.Document().SHA1) + `"}`}},
		{"a form with files", "", certmedic.FormMultipart, "multipart/form-data; boundary=", []string{`name="fullchain"; filename="fullchain.pem"`, string(p.FullchainPEM()), string(mint.Must(p.KeyPEM())), "\r\n\r\nshop\r\n"}},
	} {
		b := newBalancer(t)
		to := b.to(t)
		to.Body, to.Form = row.body, row.form
		out, err := send(t, to, p)
		if err != nil || !strings.Contains(out, "PUT "+b.URL+"/cert?partition=") || !strings.Contains(out, "status 201; nothing there is asked") {
			t.Fatalf("%s: %q, %v", row.about, out, err)
		}
		r := b.requests[0]
		if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, row.wantType) || r.Header.Get("X-Tenant") != "s3cr3t-tenant" {
			t.Errorf("%s: the headers are %v", row.about, r.Header)
		}
		for _, want := range row.want {
			if !strings.Contains(b.bodies[0], want) {
				t.Errorf("%s: the body lacks %q:\n%s", row.about, want, b.bodies[0])
			}
		}
		if row.body != "" && b.bodies[0] != row.want[0] {
			t.Errorf("%s: the body is\n%s", row.about, b.bodies[0])
		}
	}
}

// TestVerified shows that success is what the interface shows, and that it is not sent what it has.
func TestVerified(t *testing.T) {
	t.Parallel()
	b, p := newBalancer(t), pair(t)
	to := b.to(t)
	to.VerifyURL, to.VerifyMatches = b.URL+"/state", `"sha256":"{{colons .Fingerprint}}"`
	look, push := "GET /state", "PUT /cert"
	for _, row := range []struct {
		about, out string
		want       []string
	}{{"what is new", "; GET ", []string{look, push, look}}, {"what is there", "already there: GET ", []string{look}}} {
		before := len(b.did())
		out, err := send(t, to, p)
		if err != nil || !strings.Contains(out, row.out) {
			t.Errorf("%s: %q, %v", row.about, out, err)
		}
		if got := b.did()[before:]; !slices.Equal(got, row.want) {
			t.Errorf("%s: the requests are %q, want %q", row.about, got, row.want)
		}
	}
	late := 0
	b.behave = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if late++; r.Method == http.MethodGet && late < 4 {
			fmt.Fprint(w, "not yet")
			return true
		}
		return false
	}
	if out, err := send(t, to, pair(t)); err != nil || late < 4 {
		t.Errorf("an interface that takes its time: %q, %v", out, err)
	}
}

// TestPatience shows that an interface that is busy is asked again, as it says, and that one which
// wants more than that is not.
func TestPatience(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, after string
		status       int
		want         string
		tries        int
	}{
		{"busy for a second", "1", http.StatusTooManyRequests, "", 2},
		{"busy, without saying how long", "", http.StatusServiceUnavailable, "", 2},
		{"busy for an hour", "3600", http.StatusServiceUnavailable, "left alone for 1h0m0s", 1},
		{"refused", "", http.StatusUnprocessableEntity, "status 422: no such tenant <secret>", 1},
		{"accepted, which was not said to be a success", "", http.StatusAccepted, "status 202", 1},
	} {
		b := newBalancer(t)
		b.behave = func(w http.ResponseWriter, r *http.Request, before int) bool {
			if before > 0 {
				return false
			}
			w.Header().Set("Retry-After", row.after)
			w.WriteHeader(row.status)
			fmt.Fprintln(w, "no such tenant "+r.Header.Get("X-Tenant"))
			return true
		}
		_, err := send(t, b.to(t), pair(t))
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
		if n := len(b.did()); n != row.tries {
			t.Errorf("%s: %d requests, want %d", row.about, n, row.tries)
		}
	}
}

// TestKeyStaysHere shows that nobody but the server that is named gets a request with the key.
func TestKeyStaysHere(t *testing.T) {
	t.Parallel()
	other := newBalancer(t)
	for _, row := range []struct {
		about  string
		status int
		to     string
		want   string
	}{
		{"a redirect to another server", http.StatusTemporaryRedirect, other.URL + "/cert", "leads to another server"},
		{"a redirect that makes a GET of it", http.StatusFound, "/elsewhere", "would make GET of PUT"},
		{"a redirect to itself", http.StatusTemporaryRedirect, "/cert", "on and on"},
		{"a redirect on the same server", http.StatusPermanentRedirect, "/elsewhere", ""},
	} {
		b := newBalancer(t)
		b.behave = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.URL.Path != "/cert" {
				return false
			}
			w.Header().Set("Location", row.to)
			w.WriteHeader(row.status)
			return true
		}
		_, err := send(t, b.to(t), pair(t))
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
	}
	b := newBalancer(t)
	stranger, open, plain := b.to(t), b.to(t), b.to(t)
	stranger.CAFile = ""
	if err := os.Chmod(open.TokenFile, 0o644); err != nil {
		t.Fatal(err)
	}
	plain.URL = "http://lb.example.com/cert"
	for about, to := range map[string]certmedic.API{"a server that is not trusted": stranger, "a token that others may read": open, "a server without TLS": plain} {
		if out, err := send(t, to, pair(t)); err == nil {
			t.Errorf("%s: %q", about, out)
		}
	}
	if got := append(other.did(), b.did()...); len(got) > 0 {
		t.Errorf("they were asked %q", got)
	}
}

func TestCheckURL(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://lb.example.com/api": true, "http://127.0.0.1:5555/v3": true, "http://[::1]/": true, "http://localhost/": true,
		"http://lb.example.com/": false, "ftp://127.0.0.1/": false, "lb.example.com": false, "https:///x": false, "": false,
	} {
		if err := httpapi.CheckURL(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestCheckTemplates(t *testing.T) {
	for text, ok := range map[string]bool{
		`{{json .Privkey}}`: true, `{{.Password}}`: false, `{{`: false, `{{.Name | shell}}`: false, "plain": true,
	} {
		if err := httpapi.CheckBody(text); (err == nil) != ok {
			t.Errorf("body %q: %v", text, err)
		}
	}
	for text, ok := range map[string]bool{
		`(?i){{.Fingerprint}}`: true, `{{colons .SHA1}}`: true, `{{.Serial}}`: true, `active`: false, `{{.Name}}`: false, `({{.Serial}}`: false, `{{.X}}`: false,
	} {
		if err := httpapi.CheckMatches(text); (err == nil) != ok {
			t.Errorf("matches %q: %v", text, err)
		}
	}
}
