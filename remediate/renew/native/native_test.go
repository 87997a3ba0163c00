package native

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/acme"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, data, mode))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// issue leaves a version behind in a work folder, as [acme.Obtain] does.
func issue(t *testing.T, work string) acme.Issued { return issueLeaf(t, work, mint.Leaf{}) }

// issueLeaf is issue for a certificate of some dates.
func issueLeaf(t *testing.T, work string, leaf mint.Leaf) acme.Issued {
	t.Helper()
	leaf.Names = []string{"shop.test"}
	root := mint.Must(mint.NewCA("a root"))
	pair := mint.Must(mint.Must(root.Intermediate("an intermediate")).Leaf(leaf))
	i := acme.Issued{
		Dir: work, Order: "https://ca.test/order/1", Cert: filepath.Join(work, "cert.pem"), Chain: filepath.Join(work, "chain.pem"),
		Fullchain: filepath.Join(work, "fullchain.pem"), Privkey: filepath.Join(work, "privkey.pem"),
	}
	write(t, i.Cert, pair.CertPEM(), 0o600)
	write(t, i.Chain, pair.ChainPEM(), 0o600)
	write(t, i.Fullchain, pair.FullchainPEM(), 0o600)
	write(t, i.Privkey, mint.Must(pair.KeyPEM()), 0o600)
	chain, err := fingerprints(i.Cert)
	must(t, err)
	i.Version = chain[0].SHA256
	return i
}

// obtaining issues anew each time.
func obtaining(t *testing.T, last *acme.Issued) obtainer {
	return func(_ context.Context, r acme.Request, _ io.Writer) (acme.Issued, error) {
		*last = issue(t, filepath.Join(r.Work, fmt.Sprint(time.Now().UnixNano())))
		return *last, nil
	}
}

func request(t *testing.T) Request {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	folder := filepath.Join(dir, "shop")
	return Request{
		Order: acme.Request{Directory: "https://ca.test/dir", Account: acme.Account{Email: "ops@shop.test"}, Work: filepath.Join(folder, "work")},
		Store: Store{Folder: folder},
	}
}

func TestAFolderKeepsTheLastVersions(t *testing.T) {
	t.Parallel()
	r := request(t)
	var last acme.Issued
	var all []certmedic.Fingerprint
	for range keepVersions + 2 {
		if _, err := r.run(t.Context(), obtaining(t, &last), io.Discard); err != nil {
			t.Fatal(err)
		}
		all = append(all, last.Version)
		if got := read(t, filepath.Join(r.Store.Folder, "current", "fullchain.pem")); got != read(t, filepath.Join(r.Store.Folder, "versions", last.Version.Short(), "fullchain.pem")) {
			t.Fatal("the link does not lead to the newest version")
		}
	}
	entries, err := os.ReadDir(filepath.Join(r.Store.Folder, "versions"))
	if err != nil || len(entries) != keepVersions {
		t.Errorf("%d versions are kept, %v", len(entries), err)
	}
	if _, err := os.Stat(filepath.Join(r.Store.Folder, "versions", all[0].Short())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the oldest version is still there: %v", err)
	}
	info, err := os.Stat(filepath.Join(r.Store.Folder, "current", "privkey.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, %v", info.Mode(), err)
	}
	kept, err := Last(r.Store.Folder)
	if err != nil || kept.Version != last.Version || kept.Account != "ops@shop.test" || kept.Directory != r.Order.Directory {
		t.Errorf("it is remembered that %+v, %v", kept, err)
	}
}

// TestWhatWasCutShortIsFinished stops a storing where a kill would, and makes the request again.
func TestWhatWasCutShortIsFinished(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about string
		spoil func(t *testing.T, r Request) // what is there when the request is made
	}{
		{"before anything was copied", func(*testing.T, Request) {}},
		{"while a version was copied", func(t *testing.T, r Request) {
			write(t, filepath.Join(r.Store.Folder, "versions", ".new", "privkey.pem"), []byte("half"), 0o600)
		}},
		{"before the link was renamed", func(t *testing.T, r Request) {
			must(t, os.Symlink("versions/nowhere", filepath.Join(r.Store.Folder, ".current")))
		}},
	} {
		r := request(t)
		issued := issue(t, filepath.Join(r.Order.Work, "1"))
		begun, err := json.Marshal(issued)
		must(t, err)
		write(t, filepath.Join(r.Store.Folder, storingName), begun, 0o600)
		tt.spoil(t, r)
		r.Finish = true
		for range 2 { // the second time there is nothing to finish
			if _, err := r.run(t.Context(), nil, io.Discard); err != nil {
				t.Errorf("%s: %v", tt.about, err)
			}
		}
		if got := read(t, filepath.Join(r.Store.Folder, "current", "privkey.pem")); !strings.Contains(got, "PRIVATE KEY") {
			t.Errorf("%s: the key is %q", tt.about, got)
		}
		if _, err := os.Stat(filepath.Join(r.Store.Folder, storingName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: it still counts as begun: %v", tt.about, err)
		}
	}
}

func TestFilesKeepTheirModes(t *testing.T) {
	t.Parallel()
	r := request(t)
	at := filepath.Dir(r.Store.Folder)
	for _, chain := range []string{"", filepath.Join(at, "chain.pem")} {
		r.Store.Files = &Files{Cert: filepath.Join(at, "cert.pem"), Key: filepath.Join(at, "key.pem"), Chain: chain}
		write(t, r.Store.Files.Cert, []byte("old"), 0o644)
		write(t, r.Store.Files.Key, []byte("old"), 0o640)
		must(t, os.Chmod(r.Store.Files.Key, 0o640))
		var last acme.Issued
		issued := func(ctx context.Context, q acme.Request, out io.Writer) (acme.Issued, error) {
			got, err := obtaining(t, &last)(ctx, q, out)
			for _, p := range []string{got.Cert, got.Chain, got.Fullchain, got.Privkey} { // Close removes them
				write(t, filepath.Join(at, "copy", filepath.Base(p)), []byte(read(t, p)), 0o600)
			}
			return got, err
		}
		if _, err := r.run(t.Context(), issued, io.Discard); err != nil {
			t.Fatal(err)
		}
		want := "fullchain.pem"
		if chain != "" {
			want = "cert.pem"
			if read(t, chain) != read(t, filepath.Join(at, "copy", "chain.pem")) {
				t.Error("the chain is another one")
			}
		}
		if read(t, r.Store.Files.Cert) != read(t, filepath.Join(at, "copy", want)) || read(t, r.Store.Files.Key) != read(t, filepath.Join(at, "copy", "privkey.pem")) {
			t.Errorf("with the chain in %q: the files hold something else than what was issued", chain)
		}
		if info, err := os.Stat(r.Store.Files.Key); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("the key has mode %v, %v; it was 0640", info.Mode(), err)
		}
	}
}

// TestWhatMustNotBeStored shows that the files of a source stay as they are where what was issued is
// no good, and that a refused order is not for ever.
func TestWhatMustNotBeStored(t *testing.T) {
	t.Parallel()
	untrusted := func([]string, string, []*x509.Certificate, time.Time) error {
		return errors.New("untrusted: by nobody")
	}
	day := 24 * time.Hour
	for _, tt := range []struct {
		about  string
		leaf   mint.Leaf
		judge  Judge
		want   string // in the error; empty: it is stored
		forgot bool
	}{
		{"nobody trusts it", mint.Leaf{NotAfter: time.Now().Add(90 * day)}, untrusted, "untrusted: by nobody", false},
		{"nobody trusts it, and it has been so for days", mint.Leaf{NotBefore: time.Now().Add(-8 * day), NotAfter: time.Now().Add(60 * day)}, untrusted, "untrusted: by nobody", true},
		{"it ends soon", mint.Leaf{NotBefore: time.Now().Add(-9 * day), NotAfter: time.Now().Add(day / 2)}, nil, "less than 24h0m0s from now", true},
		{"it is one of hours", mint.Leaf{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(8 * time.Hour)}, nil, "", true},
	} {
		r := request(t)
		r.Order.Names, r.judge = []string{"shop.test"}, tt.judge
		at := filepath.Dir(r.Store.Folder)
		r.Store.Files = &Files{Cert: filepath.Join(at, "cert.pem"), Key: filepath.Join(at, "key.pem")}
		write(t, r.Store.Files.Cert, []byte("old"), 0o644)
		write(t, r.Store.Files.Key, []byte("old"), 0o600)
		work := filepath.Join(r.Order.Work, "order")
		_, err := r.run(t.Context(), func(context.Context, acme.Request, io.Writer) (acme.Issued, error) {
			return issueLeaf(t, work, tt.leaf), nil
		}, io.Discard)
		var told *acme.Error
		if tt.want != "" && (!errors.As(err, &told) || told.Kind != acme.KindBadVersion || !strings.Contains(err.Error(), tt.want)) || tt.want == "" && err != nil {
			t.Errorf("%s: error %v, want %q", tt.about, err, tt.want)
		}
		if kept := read(t, r.Store.Files.Cert) == "old" && read(t, r.Store.Files.Key) == "old"; kept != (tt.want != "") {
			t.Errorf("%s: the files are as before: %v", tt.about, kept)
		}
		if _, err := os.Stat(filepath.Join(r.Store.Folder, storingName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: it counts as begun: %v", tt.about, err)
		}
	}
}

func TestAProofStoresNothing(t *testing.T) {
	t.Parallel()
	r := request(t)
	r.Proof = true
	var last acme.Issued
	if _, err := r.run(t.Context(), obtaining(t, &last), io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"versions", "current", issuanceName} {
		if _, err := os.Lstat(filepath.Join(r.Store.Folder, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	order := Request{Order: acme.Request{Directory: "https://ca.test/dir"}}
	for _, tt := range []struct {
		about string
		err   error
		want  Result
	}{
		{"it went well", nil, Result{Version: "a1"}},
		{"this host failed", errors.New("no space\nleft"), Result{Lines: []string{"no space left"}}},
		{"the CA wants to be left alone", fmt.Errorf("ordering: %w", &acme.Error{Kind: acme.KindRateLimited, Doing: "placing the order", Until: until}), Result{
			Kind: "rate_limited", Until: until, Lines: []string{"rate_limited: placing the order (not before 2026-11-25T10:00:00Z)"},
		}},
		{"a name was not validated", &acme.Error{Kind: acme.KindChallenge, Doing: "validating the names", Failures: []acme.Failure{{Name: "shop.test", Type: "x", Detail: "y"}}}, Result{
			Kind: "challenge_failed", Failed: []string{"shop.test"}, Lines: []string{"challenge_failed: validating the names", "shop.test: x, detail: y"},
		}},
	} {
		tt.want.Directory, tt.want.Account = "https://ca.test/dir", "without an email"
		var out strings.Builder
		fmt.Fprintf(&out, "detail: somebody's server wrote\n%s{\"kind\":\"paused\"}\n", mark)
		must(t, report(&out, order, acme.Issued{Version: "a1"}, tt.err))
		if tt.err != nil {
			tt.want.Version = "a1"
		}
		got, ok := ParseResult(out.String())
		if gotText, wantText := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", tt.want); !ok || gotText != wantText {
			t.Errorf("%s: %s, want %s", tt.about, gotText, wantText)
		}
		if _, ok := ParseResult(out.String()[:out.Len()-3]); ok {
			t.Errorf("%s: half of a line is a result", tt.about)
		}
	}
	if _, ok := ParseResult(mark + "{}\nand more"); ok {
		t.Error("what is not the last line is a result")
	}
}
