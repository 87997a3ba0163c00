package revocation

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestOneFetchForMany(t *testing.T) {
	w := newWorld(t)
	c := w.checker(Options{CRLs: true})
	revoked := w.leaf(nil)
	w.put("/inter.crl", w.list(w.inter, revoking(revoked, 1)))
	leaves := []*x509.Certificate{w.leaf(nil), w.leaf(nil), revoked}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			leaf := leaves[i%len(leaves)]
			if got := certmedic.HasFinding(w.check(c, w.query(leaf)).Findings, certmedic.Revoked); got != (leaf == revoked) {
				t.Errorf("leaf %d is revoked: %v", i%len(leaves), got)
			}
		})
	}
	wg.Wait()
	if inter, root := w.asked("/inter.crl"), w.asked("/root.crl"); inter != 1 || root != 1 {
		t.Errorf("the lists were fetched %d and %d times, want once each", inter, root)
	}
}

func TestListsAreFetchedAgainWhenTheyAreOld(t *testing.T) {
	w := newWorld(t)
	c := w.checker(Options{CRLs: true})
	leaf := w.leaf(nil)
	q := w.query(leaf)
	r := w.check(c, q)
	if !r.Until.Equal(now.Add(DefaultMaxAge)) {
		t.Errorf("the result holds until %s", r.Until)
	}
	w.put("/inter.crl", w.list(w.inter, revoking(leaf, 1)))
	q.Now = r.Until.Add(-time.Second)
	wantFindings(t, w.check(c, q).Findings, codes{}, "")
	q.Now = r.Until
	wantFindings(t, w.check(c, q).Findings, codes{certmedic.Revoked}, "")
}

func TestADeadServer(t *testing.T) {
	w := newWorld(t)
	revoked, held, good := w.leaf(nil), w.leaf(nil), w.leaf(nil)
	w.put("/inter.crl", w.list(w.inter, both(revoking(revoked, 1), revoking(held, 6))))
	var asked atomic.Int32
	alive := atomic.Bool{}
	fetchList := func(_ context.Context, url string, _ int64) ([]byte, error) {
		asked.Add(1)
		if !alive.Load() {
			return nil, errors.New("nobody there")
		}
		return w.files[strings.TrimPrefix(url, w.url)], nil
	}
	c := w.checker(Options{CRLs: true, Fetch: fetchList})
	at := func(leaf *x509.Certificate, now time.Time) []certmedic.Finding {
		q := w.query(leaf)
		q.Path, q.Now = q.Path[:2], now
		return w.check(c, q).Findings
	}
	for range 1000 {
		wantFindings(t, at(good, now), codes{certmedic.RevocationUnknown}, "nobody there")
	}
	if asked.Load() != 1 {
		t.Fatalf("a dead server was asked %d times", asked.Load())
	}
	alive.Store(true)
	wantFindings(t, at(good, now.Add(59*time.Second)), codes{certmedic.RevocationUnknown}, "nobody there")
	wantFindings(t, at(good, now.Add(time.Minute)), codes{}, "")

	alive.Store(false)
	day, month := now.Add(24*time.Hour), now.AddDate(0, 1, 0)
	wantFindings(t, at(good, day), codes{}, "") // the list says that it holds for a week
	wantFindings(t, at(held, day), codes{certmedic.Revoked}, "")
	wantFindings(t, at(good, month), codes{certmedic.RevocationUnknown}, "it is out of date since 2026-11-29 10:00 UTC, and there is no newer one: nobody there")
	wantFindings(t, at(revoked, month), codes{certmedic.Revoked}, "(key compromise)")
	wantFindings(t, at(held, month), codes{certmedic.RevocationUnknown}, "out of date")
}

func TestWhoDoesNotWaitIsToldSo(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	slow := func(context.Context, string, int64) ([]byte, error) {
		<-release
		return w.list(w.inter, nil), nil
	}
	c := w.checker(Options{CRLs: true, Fetch: slow})
	q := w.query(w.leaf(nil))
	q.Path = q.Path[:2]
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r := c.Check(ctx, q)
	wantFindings(t, r.Findings, codes{certmedic.RevocationUnknown}, "it is still being fetched")
	if !r.Until.After(now) || r.Until.After(now.Add(time.Minute)) {
		t.Errorf("it holds until %s", r.Until)
	}
	close(release)
	wantFindings(t, w.check(c, q).Findings, codes{}, "")
}

func TestListsSurviveARestart(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "made", "crl")
	revoked := w.leaf(nil)
	w.put("/inter.crl", w.list(w.inter, revoking(revoked, 1)))
	q := w.query(revoked)
	q.Path = q.Path[:2]
	restart := func() *Checker { return w.checker(Options{CRLs: true, Dir: dir}) }
	for range 3 {
		wantFindings(t, w.check(restart(), q).Findings, codes{certmedic.Revoked}, "")
	}
	if w.asked("/inter.crl") != 1 {
		t.Errorf("it was fetched %d times, want once", w.asked("/inter.crl"))
	}
	name := onlyFile(t, dir)
	info, err := os.Stat(name)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %s", info.Mode())
	}

	q.Now = now.Add(DefaultMaxAge)
	wantFindings(t, w.check(restart(), q).Findings, codes{certmedic.Revoked}, "")
	if w.asked("/inter.crl") != 2 {
		t.Error("an old file was not fetched again")
	}
	w.put("/inter.crl", nil)
	q.Now = now.AddDate(1, 0, 0)
	wantFindings(t, w.check(restart(), q).Findings, codes{certmedic.Revoked}, "")

	impostor := w.authority(w.root, "Inter", nil)
	for about, data := range map[string][]byte{
		"was emptied":              nil,
		"is garbage":               []byte("hello"),
		"has lost its list":        keptFile{fetched: now}.bytes(w.url + "/inter.crl"),
		"is of another URL":        keptFile{now, w.list(w.inter, nil)}.bytes(w.url + "/other.crl"),
		"is signed by another key": keptFile{now, w.list(impostor, nil)}.bytes(w.url + "/inter.crl"),
		"was written in 2040":      keptFile{now.AddDate(14, 0, 0), w.list(w.inter, nil)}.bytes(w.url + "/inter.crl"),
	} {
		check(t, os.WriteFile(name, data, 0o600))
		w.put("/inter.crl", w.list(w.inter, revoking(revoked, 1)))
		q.Now = now
		if got := w.check(restart(), q).Findings; !certmedic.HasFinding(got, certmedic.Revoked) {
			t.Errorf("a file that %s is believed: %v", about, got)
		}
	}
}

func onlyFile(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	if len(entries) != 1 {
		t.Fatalf("the folder has %d files", len(entries))
	}
	return filepath.Join(dir, entries[0].Name())
}

func TestListsThatNobodyFetchesAreDeleted(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	for name, age := range map[string]int{"old.crl": 40, ".certmedic-123": 40, "young.crl": 20, "other.txt": 40} {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, nil, 0o600))
		check(t, os.Chtimes(path, time.Time{}, now.AddDate(0, 0, -age)))
	}
	q := w.query(w.leaf(nil))
	q.Path = q.Path[:2]
	w.check(w.checker(Options{CRLs: true, Dir: dir}), q)
	for name, want := range map[string]bool{"old.crl": false, ".certmedic-123": false, "young.crl": true, "other.txt": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v", name, err == nil)
		}
	}
}

func TestAFolderThatCannotBeWrittenChangesNothing(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	r := w.check(w.checker(Options{CRLs: true, Dir: filepath.Join(file, "crl")}), w.query(w.leaf(nil)))
	wantFindings(t, r.Findings, codes{}, "")
}

func TestAListThatIsTooLargeSaysNothing(t *testing.T) {
	w := newWorld(t)
	w.put("/inter.crl", manyEntries(t, w, 1000))
	q := w.query(w.leaf(nil))
	r := w.check(w.checker(Options{CRLs: true, MaxBytes: 10_000}), q)
	wantFindings(t, r.Findings, codes{certmedic.RevocationUnknown}, "it is too large: more than 10000 bytes")
}

func TestSerialNumbers(t *testing.T) {
	w := newWorld(t)
	var serials []*big.Int
	for _, hex := range []string{"1", "7f", "80", "ff", "100", "ffff", "10000", "7fffffffffffffffffffffffffffffffffffffff", "80" + strings.Repeat("00", 40)} {
		n, _ := new(big.Int).SetString(hex, 16)
		serials = append(serials, n)
	}
	for _, listed := range serials {
		l, err := readList(w.list(w.inter, revoking(&x509.Certificate{SerialNumber: listed}, 1)), w.inter.Cert)
		check(t, err)
		for _, asked := range serials {
			if got := l.lookUp(asked) != nil; got != (asked == listed) {
				t.Errorf("a list of %x revokes %x: %v", listed, asked, got)
			}
		}
	}
	minusOne := []byte{0x30, 0x12, 2, 1, 0xff, 0x17, 0x0d, '2', '6', '1', '1', '1', '9', '1', '0', '0', '0', '0', '0', 'Z'}
	records, err := index(minusOne)
	check(t, err)
	if l := (&list{records: records}); l.lookUp(big.NewInt(255)) != nil || l.lookUp(big.NewInt(1)) != nil {
		t.Error("an entry with a negative number revokes another")
	}
	for about, entry := range map[string][]byte{
		"a number with leading zeros": {0x30, 0x13, 2, 2, 0, 1, 0x17, 0x0d, '2', '6', '1', '1', '1', '9', '1', '0', '0', '0', '0', '0', 'Z'},
		"a number without digits":     {0x30, 0x11, 2, 0, 0x17, 0x0d, '2', '6', '1', '1', '1', '9', '1', '0', '0', '0', '0', '0', 'Z'},
		"no date":                     {0x30, 3, 2, 1, 1},
		"no entry":                    {5, 0},
	} {
		if _, err := index(entry); err == nil {
			t.Errorf("%s is taken", about)
		}
	}
}

func TestParseUTC(t *testing.T) {
	for text, want := range map[string]string{
		"261119100159Z":     "2026-11-19T10:01:59Z",
		"500101000000Z":     "1950-01-01T00:00:00Z",
		"491231235959Z":     "2049-12-31T23:59:59Z",
		"240229000000Z":     "2024-02-29T00:00:00Z",
		"230229000000Z":     "", // not a leap year
		"261301000000Z":     "",
		"260100000000Z":     "",
		"260101240000Z":     "",
		"260101006000Z":     "",
		"260101000060Z":     "",
		"2601010000Z":       "",
		"260101000000+0100": "",
		"26010100000xZ":     "",
	} {
		got, ok := parseUTC([]byte(text))
		if ok != (want != "") || ok && got.Format(time.RFC3339) != want {
			t.Errorf("%q is %s, %v, want %q", text, got, ok, want)
		}
	}
}

func manyEntries(t testing.TB, w *world, n int) []byte {
	return w.list(w.inter, func(l *x509.RevocationList) {
		for range n {
			serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 143))
			check(t, err)
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now.AddDate(0, 0, -3), ReasonCode: 4})
		}
	})
}

func BenchmarkCheckWarm(b *testing.B) {
	w := newWorld(b)
	w.put("/inter.crl", manyEntries(b, w, 100_000))
	c := w.checker(Options{CRLs: true})
	q := w.query(w.leaf(nil))
	if r := w.check(c, q); len(r.Findings) > 0 {
		b.Fatal(r.Findings)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Check(b.Context(), q)
	}
}

func BenchmarkReadList(b *testing.B) {
	w := newWorld(b)
	data := manyEntries(b, w, 100_000)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := readList(data, w.inter.Cert); err != nil {
			b.Fatal(err)
		}
	}
}
