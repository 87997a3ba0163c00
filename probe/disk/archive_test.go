package disk_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

const day = 24 * time.Hour

// TestAgesOfPredecessors has archives of versions of 90 days, each given by the day on which
// it began, numbered from 2.
func TestAgesOfPredecessors(t *testing.T) {
	ca := mint.Must(mint.NewCA("the archive's"))
	begin := time.Now().Add(-2000 * day).Truncate(time.Second)
	for _, row := range []struct {
		about string
		days  []int
		want  []float64
	}{
		{"a version of its own was never replaced", nil, nil},
		{"each version was replaced after two thirds of its life", []int{60, 120, 180}, []float64{2. / 3, 2. / 3}},
		{"one was replaced on the day after, one after its end", []int{60, 61, 160}, []float64{1. / 90, 1.1}},
		{"a version that cannot be read is as if it were not there", []int{60, -1, 120}, []float64{2. / 3}},
		{"an old version that was put back replaced nothing", []int{60, 120, 60, 190}, []float64{2. / 3, 7. / 9}},
		{"the last twenty replacements are told", counted(9, 40), slices.Repeat([]float64{0.1}, 20)},
	} {
		t.Run(row.about, func(t *testing.T) {
			tree := disktest.New(t)
			tree.Issue("shop", names, disktest.Options{NotBefore: begin, NotAfter: begin.Add(time.Hour)})
			must(t, os.Remove(tree.Archive("shop", "cert", 1)))
			must(t, os.Remove(tree.Archive("shop", "fullchain", 1)))
			for i, day := range row.days {
				writeArchived(t, ca, tree.Archive("shop", "cert", i+2), begin, day)
			}
			reader := disk.Reader{Keys: &disk.KeyCache{}}
			for _, read := range []string{"the first", "a further"} {
				ages := reader.Read(tree.Source("shop"), time.Now().Add(time.Hour)).Stored.Ages
				if !slices.EqualFunc(ages, row.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
					t.Errorf("%s read: ages %v, want %v", read, ages, row.want)
				}
			}
		})
	}
}

// counted returns n days that lie so many days apart.
func counted(apart, n int) []int {
	days := make([]int, n)
	for i := range days {
		days[i] = i * apart
	}
	return days
}

func writeArchived(t *testing.T, ca *mint.CA, path string, begin time.Time, days int) {
	t.Helper()
	text := []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	if from := begin.Add(time.Duration(days) * day); days >= 0 {
		leaf := mint.Must(ca.Leaf(mint.Leaf{Names: names, NotBefore: from, NotAfter: from.Add(90 * day)}))
		text = leaf.CertPEM()
	}
	must(t, os.WriteFile(path, text, 0o600))
}

// TestAgesIncludeTheVersionInForce has a lineage that certbot renewed once.
func TestAgesIncludeTheVersionInForce(t *testing.T) {
	tree := disktest.New(t)
	now := time.Now()
	tree.Issue("shop", names, disktest.Options{NotBefore: now, NotAfter: now.Add(90 * day)})
	ca := mint.Must(mint.NewCA("the archive's"))
	must(t, os.Remove(tree.Archive("shop", "fullchain", 1)))
	writeArchived(t, ca, tree.Archive("shop", "cert", 1), now.Add(-45*day), 0)
	tree.Renew("shop")
	ages := disk.Read(tree.Source("shop"), now).Ages
	if len(ages) != 1 || math.Abs(ages[0]-0.5) > 0.01 {
		t.Errorf("ages %v, want that the first version was replaced at half its life", ages)
	}
}

// TestIssued has an archive whose versions begin one day apart, the first number 2.
func TestIssued(t *testing.T) {
	ca := mint.Must(mint.NewCA("the archive's"))
	begin := time.Now().Add(-100 * day).Truncate(time.Second).UTC()
	tree := disktest.New(t)
	tree.Issue("shop", names, disktest.Options{NotBefore: begin.Add(-day), NotAfter: begin})
	want := []certmedic.Issued{{NotBefore: begin.Add(-day), Names: names}}
	write := func(number int, leaf mint.Leaf) {
		must(t, os.WriteFile(tree.Archive("shop", "cert", number), mint.Must(ca.Leaf(leaf)).CertPEM(), 0o600))
		want = append(want, certmedic.Issued{NotBefore: leaf.NotBefore, Names: leaf.Names})
	}
	for i := range 22 {
		from := begin.Add(time.Duration(i) * day)
		write(i+2, mint.Leaf{Names: names, NotBefore: from, NotAfter: from.Add(90 * day)})
	}
	write(24, mint.Leaf{Names: []string{"*.example.com", "192.0.2.1", "2001:db8::1"}, NotBefore: begin.Add(30 * day), NotAfter: begin.Add(40 * day)})
	put, err := os.ReadFile(tree.Archive("shop", "cert", 23))
	must(t, err)
	must(t, os.WriteFile(tree.Archive("shop", "cert", 25), put, 0o600))
	must(t, os.WriteFile(tree.Archive("shop", "cert", 26), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600))
	want = want[len(want)-20:]
	reader := disk.Reader{Keys: &disk.KeyCache{}}
	for _, read := range []string{"the first", "a further"} {
		got := reader.Read(tree.Source("shop"), time.Now().Add(time.Hour)).Stored.Issued
		if !slices.EqualFunc(got, want, func(a, b certmedic.Issued) bool {
			return len(a.Version) == 64 && a.NotBefore.Equal(b.NotBefore) && slices.Equal(a.Names, b.Names)
		}) {
			t.Errorf("%s read: %v, want %v: each version once, without one that cannot be read", read, got, want)
		}
	}
}

func TestKeptFiles(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", names, disktest.Options{})
	must(t, os.Chmod(tree.Archive("shop", "privkey", 1), 0o640))
	var want []certmedic.KeptFile
	for _, kind := range []string{"cert", "privkey", "chain", "fullchain"} {
		mode := uint32(0o644)
		if kind == "privkey" {
			mode = 0o640
		}
		want = append(want, certmedic.KeptFile{Path: tree.Archive("shop", kind, 1), Mode: mode})
	}
	reader := disk.Reader{Keys: &disk.KeyCache{}}
	for range 2 {
		if kept := reader.Read(tree.Source("shop"), time.Now().Add(time.Hour)).Stored.Kept; !slices.Equal(kept, want) {
			t.Errorf("a lineage keeps %v, want %v", kept, want)
		}
	}
}

func TestKeptPlainFiles(t *testing.T) {
	p := newPlainFiles(t)
	p.write(t, "both", "privkey1", "cert1")
	must(t, os.Mkdir(p.path("..data"), 0o700))
	must(t, os.Rename(p.path("cert2"), p.path("..data/tls.crt")))
	must(t, os.Symlink("..data/tls.crt", p.path("tls.crt")))
	for _, row := range []struct{ about, cert, key, chain, want string }{
		{"three files", "cert1", "privkey1", "chain1", "cert1 600, chain1 600, privkey1 600, "},
		{"one file that is both", "both", "both", "", "both 600, "},
		{"a file that is a link", "tls.crt", "", "", "..data/tls.crt 600, "},
		{"a file that is not there", "gone", "privkey1", "", "privkey1 600, "},
	} {
		src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: p.path(row.cert), Key: p.path(row.key), Chain: p.path(row.chain)}
		got := ""
		for _, f := range disk.Read(src, time.Now()).Kept {
			name, err := filepath.Rel(p.dir, f.Path)
			must(t, err)
			got += fmt.Sprintf("%s %o, ", name, f.Mode)
		}
		if got != row.want {
			t.Errorf("%s: kept %q, want %q", row.about, got, row.want)
		}
	}
}

func TestDirectoryOfTheCA(t *testing.T) {
	const inConf = "server = https://acme.example.test/directory\n"
	for _, row := range []struct{ about, conf, ini, want string }{
		{"the renewal configuration names it", inConf, "server = https://other.example.test/", "https://acme.example.test/directory"},
		{"only the defaults name it", "", "# ours\nserver = https://other.example.test/\n", "https://other.example.test/"},
		{"it is set to nothing", "server = None\n", "", ""},
		{"nobody names it", "", "", ""},
	} {
		t.Run(row.about, func(t *testing.T) {
			tree := disktest.New(t)
			tree.Issue("shop", names, disktest.Options{})
			editConf(t, tree, inConf, row.conf)
			if row.ini != "" {
				must(t, os.WriteFile(filepath.Join(tree.ConfigDir, "cli.ini"), []byte(row.ini), 0o644))
			}
			if got := disk.Read(tree.Source("shop"), time.Now()).Directory; got != row.want {
				t.Errorf("directory %q, want %q", got, row.want)
			}
		})
	}
}
