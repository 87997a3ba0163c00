package roots

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func authority(t *testing.T, name string) *certtest.Pair {
	return certtest.Issue(t, nil, certtest.CA(name, now), nil)
}

func inPEM(kind string, der ...[]byte) []byte {
	var text bytes.Buffer
	for _, d := range der {
		_ = pem.Encode(&text, &pem.Block{Type: kind, Bytes: d})
	}
	return text.Bytes()
}

func write(t *testing.T, folder, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(folder, name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadPaths(t *testing.T) {
	a, b := authority(t, "A"), authority(t, "B")
	folder := t.TempDir()
	write(t, folder, "a.pem", inPEM("CERTIFICATE", a.Cert.Raw))
	write(t, folder, "5ed36f99.0", inPEM("CERTIFICATE", b.Cert.Raw))
	write(t, folder, "README", []byte("roots of ours"))
	write(t, folder, ".hidden.pem", []byte("no certificate"))
	files := t.TempDir()
	tests := []struct {
		about, path string
		want        *x509.CertPool
	}{
		{"a file in PEM", write(t, files, "both.pem", inPEM("CERTIFICATE", a.Cert.Raw, b.Cert.Raw)), certtest.Pool(a, b)},
		{"a file in DER", write(t, files, "a.der", a.Cert.Raw), certtest.Pool(a)},
		{"blocks of other kinds are passed over", write(t, files, "mixed.pem", append(inPEM("EC PARAMETERS", []byte{5, 0}), inPEM("CERTIFICATE", b.Cert.Raw)...)), certtest.Pool(b)},
		{"the same certificate twice", write(t, files, "twice.pem", inPEM("CERTIFICATE", a.Cert.Raw, a.Cert.Raw)), certtest.Pool(a)},
		{"a folder, without what is called otherwise", folder, certtest.Pool(a, b)},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			sets, err := Load([]string{tt.path, tt.path})
			if err != nil || len(sets) != 1 || sets[0].Name != tt.path || !sets[0].Pool.Equal(tt.want) {
				t.Errorf("loaded %v, %v", sets, err)
			}
		})
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	a := authority(t, "A")
	good := inPEM("CERTIFICATE", a.Cert.Raw)
	files, mixed, empty := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, mixed, "a.pem", good)
	write(t, mixed, "b.crt", []byte("nothing"))
	tests := []struct{ about, path, want string }{
		{"no such file", filepath.Join(files, "absent.pem"), "no such file"},
		{"an empty file", write(t, files, "empty.pem", nil), "neither in PEM nor in DER"},
		{"only a key", write(t, files, "key.pem", inPEM("PRIVATE KEY", []byte{1})), "hold no certificate"},
		{"the second of two is garbage", write(t, files, "second.pem", append(good, inPEM("CERTIFICATE", []byte{48, 1})...)), "certificate 2: x509: "},
		{"the last is cut off", write(t, files, "cut.pem", append(good, good[:len(good)/2]...)), "certificate 2: its PEM block is broken"},
		{"the first has no end", write(t, files, "noend.pem", append(bytes.Replace(good, []byte("-----END CERTIFICATE-----\n"), nil, 1), good...)), "certificate 1: its PEM block is broken"},
		{"a file that is too large", write(t, files, "large.pem", bytes.Repeat([]byte("#"), maxFileSize+1)), "more than"},
		{"a folder with a broken file", mixed, `file "b.crt": it holds no certificate`},
		{"an empty folder", empty, "the folder has no file"},
		{"a device", os.DevNull, "no regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			_, err := Load([]string{tt.path})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
				t.Errorf("the error is %v, want %q and the path", err, tt.want)
			}
		})
	}
	_, err := Load([]string{tests[0].path, tests[1].path})
	if err == nil || !strings.Contains(err.Error(), tests[0].want) || !strings.Contains(err.Error(), tests[1].want) {
		t.Errorf("the error is %v, want both", err)
	}
}

// TestSystem is the only test that may ask for the system's roots: crypto/x509 reads them
// once in a process.
func TestSystem(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("where roots are cannot be set here")
	}
	t.Setenv("SSL_CERT_FILE", filepath.Join(t.TempDir(), "absent"))
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	sets, err := Load([]string{System})
	if err != nil || !sets[0].Pool.Equal(Mozilla()) {
		t.Errorf("a host without roots has %v, %v, want Mozilla's", sets, err)
	}
}

func TestMozilla(t *testing.T) {
	want := x509.NewCertPool()
	count := 0
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		count++
		want.AddCert(cert)
	}
	sets, err := Load([]string{Public})
	if err != nil || len(sets) != 1 || !sets[0].Pool.Equal(want) {
		t.Errorf("loaded %v, %v, want all of the bundle", sets, err)
	}
	if count < 100 {
		t.Errorf("the bundle has %d roots", count)
	}
}

// TestMozillasConstraints calls them directly, for nobody has the keys of these roots.
func TestMozillasConstraints(t *testing.T) {
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			continue
		}
		late := certtest.Issue(t, nil, certtest.Server(now.AddDate(50, 0, 0), "a.example.com"), nil)
		if root.Constraint([]*x509.Certificate{late.Cert}) == nil {
			t.Error("a constraint of the bundle allows a certificate of the far future")
		}
	}
}

func TestRefusedByConstraintIsUntrusted(t *testing.T) {
	root := authority(t, "Distrusted")
	leaf := certtest.Issue(t, root, certtest.Server(now, "a.example.com"), nil)
	pool := x509.NewCertPool()
	pool.AddCertWithConstraint(root.Cert, func([]*x509.Certificate) error { return os.ErrPermission })
	got := inspect.Chain([]*x509.Certificate{leaf.Cert}, inspect.Options{Now: now, Roots: []inspect.Roots{{Name: "mozilla", Pool: pool}}})
	if len(got.Findings) != 1 || got.Findings[0].Code != "untrusted" || !strings.Contains(got.Findings[0].Detail, "permission denied") {
		t.Errorf("findings are %v", got.Findings)
	}
}

// BenchmarkMozilla is what a reload costs.
func BenchmarkMozilla(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Mozilla()
	}
}
