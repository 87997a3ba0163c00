package snapshot_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

const day = 24 * time.Hour

// shelf is a folder of snapshots, the source that they are taken from, and a deny list.
type shelf struct {
	*snapshot.Store
	t       *testing.T
	dir     string
	source  string
	issuing *mint.CA
	denied  map[certmedic.Fingerprint]bool
	now     time.Time
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	root := mint.Must(mint.NewCA("root"))
	s := &shelf{
		t: t, dir: filepath.Join(t.TempDir(), "snapshots"), source: t.TempDir(),
		issuing: mint.Must(root.Intermediate("issuing")), denied: map[certmedic.Fingerprint]bool{}, now: time.Now().Truncate(time.Second),
	}
	s.Store = snapshot.New(snapshot.Options{Dir: s.dir, Denied: func(k certmedic.Fingerprint) bool { return s.denied[k] }})
	return s
}

// store writes a version to the source.
func (s *shelf) store(leaf mint.Leaf) certmedic.Stored {
	s.t.Helper()
	leaf.Names = []string{"shop.test"}
	pair := mint.Must(s.issuing.Leaf(leaf))
	stored := certmedic.Stored{Names: leaf.Names, Files: certmedic.StoredFiles{
		Cert: s.write("cert.pem", pair.CertPEM()), Chain: s.write("chain.pem", pair.ChainPEM()),
		Fullchain: s.write("fullchain.pem", pair.FullchainPEM()), Privkey: s.write("privkey.pem", mint.Must(pair.KeyPEM())),
	}}
	for _, c := range pair.Chain {
		stored.Chain = append(stored.Chain, inspect.Facts(c))
	}
	return stored
}

func (s *shelf) write(name string, data []byte) string {
	s.t.Helper()
	path := filepath.Join(s.source, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// take stores a version that was issued an age ago and lives that long, and keeps it.
func (s *shelf) take(certificate string, age, life time.Duration) snapshot.Snapshot {
	s.t.Helper()
	begins := s.now.Add(-age)
	stored := s.store(mint.Leaf{NotBefore: begins, NotAfter: begins.Add(life)})
	kept, err := s.Take(certificate, stored, []string{"192.0.2.1:443"}, s.now)
	if err != nil {
		s.t.Fatal(err)
	}
	return kept
}

func (s *shelf) list(certificate string) []snapshot.Snapshot {
	s.t.Helper()
	all, err := s.List(certificate)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// path returns a file of a kept version of shop.
func (s *shelf) path(kept snapshot.Snapshot, name string) string {
	return filepath.Join(s.dir, "shop", string(kept.Version), name)
}

func TestAKeptVersionIsAWholeCopy(t *testing.T) {
	s := newShelf(t)
	stored := s.store(mint.Leaf{})
	key := mustRead(t, stored.Files.Privkey)
	kept, err := s.Take("shop", stored, []string{"b:443", "a:443"}, s.now)
	if err != nil {
		t.Fatal(err)
	}
	s.store(mint.Leaf{}) // the source moves on, as certbot's archive does
	opened, err := s.Open("shop", kept.Version)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, _ := opened.Leaf(); leaf.SHA256 != stored.Chain[0].SHA256 || len(opened.Chain) != 2 || opened.Names[0] != "shop.test" {
		t.Errorf("opened %+v", opened)
	}
	if !bytes.Equal(mustRead(t, opened.Files.Privkey), key) {
		t.Error("the kept key is another one")
	}
	if all := s.list("shop"); len(all) != 1 || all[0].Broken != "" || !slices.Equal(all[0].Verified, []string{"a:443", "b:443"}) || !all[0].Taken.Equal(s.now) {
		t.Errorf("listed %+v", all)
	}
	modes(t, s.dir)
}

// modes checks that folders are 0700 and files 0600 and no link.
func modes(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700 | fs.ModeDir
		} else {
			files++
		}
		if info.Mode() != want {
			t.Errorf("%s is %v, want %v", path, info.Mode(), want)
		}
		return nil
	})
	if err != nil || files != 5 {
		t.Errorf("%d files, %v", files, err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWhatIsNotKept(t *testing.T) {
	for _, row := range []struct {
		about string
		spoil func(s *shelf, stored *certmedic.Stored)
		want  string
	}{
		{"nothing is stored", func(_ *shelf, stored *certmedic.Stored) { stored.Chain = nil }, "nothing is stored"},
		{"the source moved on meanwhile", func(s *shelf, _ *certmedic.Stored) { s.store(mint.Leaf{}) }, "another version"},
		{"the key is of another version", func(s *shelf, _ *certmedic.Stored) {
			s.write("privkey.pem", mint.Must(mint.KeyPEM(mint.Must(mint.NewKey(mint.EC256)))))
		}, "pairing"},
		{"there is no key", func(_ *shelf, stored *certmedic.Stored) { stored.Files.Privkey = "" }, "reading the key"},
		{"the key is denied", func(s *shelf, stored *certmedic.Stored) { s.denied[stored.Chain[0].SPKISHA256] = true }, snapshot.ErrDenied.Error()},
	} {
		t.Run(row.about, func(t *testing.T) {
			s := newShelf(t)
			stored := s.store(mint.Leaf{})
			row.spoil(s, &stored)
			if _, err := s.Take("shop", stored, nil, s.now); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %q", err, row.want)
			}
			if all := s.list("shop"); len(all) != 0 {
				t.Errorf("kept %+v", all)
			}
		})
	}
}

func TestAChangedFileIsNamedAndNeverUsed(t *testing.T) {
	for _, name := range []string{"cert.pem", "chain.pem", "fullchain.pem", "privkey.pem", "meta.json"} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			kept := s.take("shop", day, 90*day)
			path := s.path(kept, name)
			data := mustRead(t, path)
			end := bytes.Index(data, []byte(`"not_after": "2`)) + len(`"not_after": "2`) // a later end
			if name != "meta.json" {
				end = len(data) / 2
			}
			data[end] ^= 1
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Open("shop", kept.Version); !errors.Is(err, snapshot.ErrBroken) || !strings.Contains(err.Error(), name) {
				t.Errorf("opened: %v", err)
			}
			if all := s.list("shop"); len(all) != 1 || !strings.Contains(all[0].Broken, name) {
				t.Errorf("listed %+v", all)
			}
		})
	}
}

func TestABrokenVersionIsTakenAgain(t *testing.T) {
	s := newShelf(t)
	stored := s.store(mint.Leaf{})
	for range 2 {
		kept, err := s.Take("shop", stored, nil, s.now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open("shop", kept.Version); err != nil {
			t.Error(err)
		}
		if err := os.Remove(s.path(kept, "meta.json")); err != nil {
			t.Fatal(err)
		}
		if all := s.list("shop"); len(all) != 1 || all[0].Broken == "" {
			t.Errorf("listed %+v", all)
		}
	}
}

func TestAVersionOfAnotherCertificateIsBroken(t *testing.T) {
	s := newShelf(t)
	kept := s.take("mail", day, 90*day)
	if err := os.MkdirAll(filepath.Join(s.dir, "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.dir, "mail", string(kept.Version)), filepath.Join(s.dir, "shop", string(kept.Version))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open("shop", kept.Version); !errors.Is(err, snapshot.ErrBroken) {
		t.Error(err)
	}
}

func TestNamesOfCertificatesAreNoPaths(t *testing.T) {
	s := newShelf(t)
	names := []string{"shop", "../shop", "..", ".", "", "a/b", "a%2Fb", "a b\n", "*.shop.test", "~", strings.Repeat("x", 300), strings.Repeat("x", 301), ".certmedic-x"}
	for _, name := range names {
		s.take(name, day, 90*day)
	}
	for _, name := range names {
		all := s.list(name)
		if len(all) != 1 || all[0].Broken != "" || all[0].Certificate != name {
			t.Errorf("%q: %+v", name, all)
			continue
		}
		if _, err := s.Open(name, all[0].Version); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != len(names) {
		t.Errorf("%d folders for %d names, %v", len(entries), len(names), err)
	}
	if beside, err := os.ReadDir(filepath.Dir(s.dir)); err != nil || len(beside) != 1 {
		t.Errorf("there is something beside the folder: %v %v", beside, err)
	}
	if _, err := s.Open("shop", "../../shop"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a version that is a path: %v", err)
	}
}

func TestAKillLeavesNothingHalf(t *testing.T) {
	s := newShelf(t)
	kept := s.take("shop", day, 90*day)
	half := filepath.Join(s.dir, "shop", ".certmedic-123")
	if err := os.MkdirAll(filepath.Join(half, "gone"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "privkey.pem"), []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all := s.list("shop"); len(all) != 1 {
		t.Errorf("what is half-done is listed: %+v", all)
	}
	if err := s.Sweep(s.now); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left half-done is still there: %v", err)
	}
	if _, err := s.Open("shop", kept.Version); err != nil {
		t.Error(err)
	}
}

func TestRetention(t *testing.T) {
	s := newShelf(t)
	for age := range 7 {
		s.take("shop", time.Duration(age+1)*day, 90*day)
	}
	if all := s.list("shop"); len(all) != 5 || !all[4].Chain[0].NotBefore.Equal(s.now.Add(-5*day)) {
		t.Errorf("the newest five are not what is left of seven: %+v", all)
	}

	// Of versions that ended early, and an older one that is still valid.
	old := s.take("mail", 80*day, 90*day)
	for age := range 6 {
		s.take("mail", time.Duration(age+7)*day, 6*day)
	}
	all := s.list("mail")
	if len(all) != 6 || all[5].Version != old.Version {
		t.Errorf("the newest that is still valid is not kept beside five others: %+v", all)
	}
	if err := s.Sweep(s.now.Add(5 * day)); err != nil {
		t.Fatal(err)
	}
	if all := s.list("mail"); len(all) != 3 { // ended 1, 2 and up to 7 days ago, and the valid one
		t.Errorf("%d are left once the others had expired for a week", len(all))
	}
	if err := s.Sweep(s.now.Add(200 * day)); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 0 {
		t.Errorf("what has expired is still there: %v %v", entries, err)
	}
}

func TestADeniedKeyIsForgotten(t *testing.T) {
	s := newShelf(t)
	key := mint.Must(mint.NewKey(mint.EC256))
	reused := []certmedic.Stored{s.store(mint.Leaf{Key: key})}
	spki := reused[0].Chain[0].SPKISHA256
	if _, err := s.Take("shop", reused[0], nil, s.now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Take("mail/x", s.store(mint.Leaf{Key: key}), nil, s.now); err != nil {
		t.Fatal(err)
	}
	other := s.take("shop", day, 90*day)

	found, err := s.OfKey(spki)
	if err != nil || len(found) != 2 || len(s.list("shop")) != 2 {
		t.Errorf("found %+v %v", found, err)
	}
	s.denied[spki] = true
	if _, err := s.Open("shop", reused[0].Chain[0].SHA256); !errors.Is(err, snapshot.ErrDenied) {
		t.Errorf("a denied key was opened: %v", err)
	}
	gone, err := s.ForgetKey(spki)
	if err != nil || len(gone) != 2 || gone[0].Certificate != "mail/x" || gone[1].Certificate != "shop" {
		t.Errorf("gone %+v %v", gone, err)
	}
	if all := s.list("shop"); len(all) != 1 || all[0].Version != other.Version {
		t.Errorf("what is left: %+v", all)
	}
}

func TestSweepFinishesWhatADenialBegan(t *testing.T) {
	s := newShelf(t)
	kept := s.take("shop", day, 90*day)
	beyondTelling := s.take("shop", 2*day, 90*day)
	for _, name := range []string{"meta.json", "cert.pem"} {
		if err := os.WriteFile(s.path(beyondTelling, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := s.take("shop", 3*day, 90*day)
	s.denied[kept.Chain[0].SPKISHA256] = true
	if err := s.Sweep(s.now); err != nil {
		t.Fatal(err)
	}
	if all := s.list("shop"); len(all) != 1 || all[0].Version != other.Version {
		t.Errorf("what is left: %+v", all)
	}
}

func TestForget(t *testing.T) {
	s := newShelf(t)
	kept := s.take("shop", day, 90*day)
	for range 2 {
		if err := s.Forget("shop", kept.Version); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Open("shop", kept.Version); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
