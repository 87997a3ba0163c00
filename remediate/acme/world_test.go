package acme_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	legolog "github.com/go-acme/lego/v4/log"
	pebbleca "github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/dnsd"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/port"
	"github.com/certmedic/certmedic/remediate/acme"
)

// TestMain sets what pebble reads from the environment, and turns the test binary into a step
// that is killed.
func TestMain(m *testing.M) {
	legolog.Logger = log.New(io.Discard, "", 0)
	if path := os.Getenv("CERTMEDIC_TEST_REQUEST"); path != "" {
		if err := victim(path, os.Getenv("CERTMEDIC_TEST_KILL")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	for name, value := range ca.Environment() {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait, mostly
		panic(err)
	}
	os.Exit(m.Run())
}

// The fixed names of the test's CA.
const (
	eabKeyID = "kid-1"
	eabHMAC  = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
)

// authority is a pebble behind a front that counts its orders and can answer in its place.
type authority struct {
	url      string
	caFile   string
	dns      *dnsd.Server
	httpPort int
	tlsPort  int
	pebble   *pebbleca.CAImpl

	mu      sync.Mutex
	orders  map[string]int // accepted, by their first name
	accept  map[string]int // requests, by path up to its identifier
	instead func(w http.ResponseWriter, r *http.Request) bool
	noList  bool // accounts have no list of their orders, as with Let's Encrypt
}

func newAuthority(t *testing.T, needsEAB bool) *authority {
	t.Helper()
	a := &authority{orders: map[string]int{}, accept: map[string]int{}}
	a.httpPort, a.tlsPort = mint.Must(port.Free(t.Context(), 0)), mint.Must(port.Free(t.Context(), 0))
	a.dns = mint.Must(dnsd.Start(context.Background(), ""))
	t.Cleanup(a.dns.Stop)
	must(t, a.dns.Set(dnsd.Any, "A 127.0.0.1"))

	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	profiles := map[string]pebbleca.Profile{"classic": {Description: "as ever", ValidityPeriod: 90 * 86400}}
	if !needsEAB {
		profiles = map[string]pebbleca.Profile{
			"classic": {Description: "as ever", ValidityPeriod: 90 * 86400}, "short": {Description: "for days", ValidityPeriod: 6 * 86400},
		}
	}
	must(t, store.AddExternalAccountKeyByID(eabKeyID, eabHMAC))
	a.pebble = pebbleca.New(quiet, store, "", "ecdsa", 1, 1, profiles)
	validator := va.New(quiet, a.httpPort, a.tlsPort, false, a.dns.Addr(), store)
	front := wfe.New(quiet, store, validator, a.pebble, []string{"ca.test"}, true, needsEAB, 0, 0)
	handler := front.Handler()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(handler, w, r) }))
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	a.url = server.URL + wfe.DirectoryPath
	a.caFile = filepath.Join(t.TempDir(), "ca.pem")
	write(t, a.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return a
}

const newOrderPath = "/order-plz"

func (a *authority) serve(pebble http.Handler, w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is cut off is no valid request
	r.Body = io.NopCloser(bytes.NewReader(body))
	kind, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	a.mu.Lock()
	a.accept[kind]++
	instead := a.instead
	a.mu.Unlock()
	if instead != nil && instead(w, r) {
		return
	}
	answer := httptest.NewRecorder()
	pebble.ServeHTTP(answer, r)
	said := answer.Body.Bytes()
	a.mu.Lock()
	if r.URL.Path == newOrderPath && answer.Code == http.StatusCreated {
		a.orders[firstName(body)]++
	}
	if a.noList && kind == "my-account" {
		said = []byte(`{"status":"valid"}`)
	}
	a.mu.Unlock()
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(said) // a client that was killed reads nothing
}

// firstName returns the first name of a signed order.
func firstName(body []byte) string {
	var signed struct{ Payload string }
	var order struct{ Identifiers []struct{ Value string } }
	if json.Unmarshal(body, &signed) != nil {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err != nil || json.Unmarshal(payload, &order) != nil || len(order.Identifiers) == 0 {
		return ""
	}
	return order.Identifiers[0].Value
}

// replaceOnce has the next request to a path that begins with prefix answered by f.
func (a *authority) replaceOnce(prefix string, f http.HandlerFunc) { a.replace(prefix, 1, f) }

// replace has the next requests to a path that begins with prefix answered by f.
func (a *authority) replace(prefix string, times int32, f http.HandlerFunc) {
	var left atomic.Int32
	left.Store(times)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.instead = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, prefix) || left.Add(-1) < 0 {
			return false
		}
		f(w, r)
		return true
	}
}

// refuse answers with a problem document.
func refuse(status int, kind, detail string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "urn:ietf:params:acme:error:" + kind, "detail": detail, "status": status})
	}
}

// placed returns how many orders were accepted, in all.
func (a *authority) placed() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, count := range a.orders {
		n += count
	}
	return n
}

func (a *authority) placedFor(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.orders[name]
}

func (a *authority) listsOrders(lists bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.noList = !lists
}

func (a *authority) asked(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.accept[path]
}

func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for i := range a.pebble.GetNumberOfRootCerts() {
		pool.AddCert(a.pebble.GetRootCert(i).Cert)
	}
	return pool
}

// request asks for names by http-01, with an account and a work folder of its own.
func (a *authority) request(t *testing.T, names ...string) acme.Request {
	t.Helper()
	dir := t.TempDir()
	return acme.Request{
		Directory: a.url, CAFile: a.caFile, Names: names, KeyType: "ec256", Profile: "classic",
		Account:   acme.Account{Dir: filepath.Join(dir, "accounts"), Email: "ops@shop.test"},
		Challenge: acme.Challenge{HTTP01: &acme.HTTP01{Listen: net.JoinHostPort("127.0.0.1", fmt.Sprint(a.httpPort))}},
		Work:      filepath.Join(dir, "work"), Timeout: time.Minute,
	}
}

// obtain wants a certificate, and checks it as whoever installs it would.
func (a *authority) obtain(t *testing.T, r acme.Request) (acme.Issued, []*x509.Certificate, string) {
	t.Helper()
	var out bytes.Buffer
	issued, err := acme.Obtain(t.Context(), r, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return issued, a.checked(t, issued), out.String()
}

// checked reads what was issued.
func (a *authority) checked(t *testing.T, issued acme.Issued) []*x509.Certificate {
	t.Helper()
	chain := readChain(t, issued.Fullchain)
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: a.roots(), Intermediates: intermediates}); err != nil {
		t.Errorf("the chain: %v", err)
	}
	if key := readKey(t, issued.Privkey); !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(chain[0].PublicKey) {
		t.Error("the key is another one")
	}
	whole := append(read(t, issued.Cert), read(t, issued.Chain)...)
	if !bytes.Equal(whole, read(t, issued.Fullchain)) {
		t.Error("leaf and chain are not the full chain")
	}
	for _, path := range []string{issued.Cert, issued.Chain, issued.Fullchain, issued.Privkey} {
		if info := mint.Must(os.Stat(path)); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	return chain
}

// wantError obtains in vain and returns the error.
func wantError(t *testing.T, r acme.Request, kind acme.Kind, words ...string) *acme.Error {
	t.Helper()
	var out bytes.Buffer
	_, err := acme.Obtain(t.Context(), r, &out)
	var told *acme.Error
	if !errors.As(err, &told) {
		t.Fatalf("error %v, want one of acme's\n%s", err, &out)
	}
	if told.Kind != kind {
		t.Errorf("kind %q, want %q: %v", told.Kind, kind, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	return told
}

func readChain(t *testing.T, path string) []*x509.Certificate {
	t.Helper()
	var chain []*x509.Certificate
	for data := read(t, path); ; {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return chain
		}
		chain = append(chain, mint.Must(x509.ParseCertificate(block.Bytes)))
	}
}

func readKey(t *testing.T, path string) crypto.Signer {
	t.Helper()
	block, _ := pem.Decode(read(t, path))
	if block == nil {
		t.Fatalf("%s holds no PEM", path)
	}
	return mint.Must(x509.ParsePKCS8PrivateKey(block.Bytes)).(crypto.Signer)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, data, 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sameNames(got []string, want ...string) bool {
	return slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}
