package disk

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

// issueInto adds a version to the folder of a source of kind acme and leads the link to it.
func issueInto(t *testing.T, folder, name string, begins time.Time) mint.Pair {
	t.Helper()
	pair := mint.Must(mint.Must(mint.NewCA("a CA")).Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: begins, NotAfter: begins.Add(90 * 24 * time.Hour)}))
	version := filepath.Join(folder, "versions", name)
	if err := os.MkdirAll(version, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, data := range map[string][]byte{
		"cert.pem": pair.CertPEM(), "chain.pem": pair.ChainPEM(), "fullchain.pem": pair.FullchainPEM(), "privkey.pem": mint.Must(pair.KeyPEM()),
	} {
		if err := os.WriteFile(filepath.Join(version, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next := filepath.Join(folder, ".current")
	if err := os.Symlink(filepath.Join("versions", name), next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(folder, "current")); err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestReadWhatCertmedicHadIssued(t *testing.T) {
	t.Parallel()
	src := certmedic.Source{Kind: certmedic.SourceACME, Folder: filepath.Join(t.TempDir(), "shop"), Directory: "https://ca.test/dir"}
	if got := Read(src, time.Now()); len(got.Chain) > 0 || len(got.Findings) > 0 || got.Directory != src.Directory {
		t.Errorf("before anything was issued: %+v", got)
	}
	now := time.Now()
	issueInto(t, src.Folder, "a", now.Add(-60*24*time.Hour))
	issueInto(t, src.Folder, "b", now.Add(-time.Hour))
	got := Reader{}.Read(src, now)
	leaf, ok := got.Stored.Leaf()
	if !ok || !got.KeyMatches || len(got.Stored.Findings) > 0 || len(got.Stored.Issued) != 2 || got.Stored.Issued[1].Version != leaf.SHA256 || len(got.Stored.Known) != 2 {
		t.Errorf("%+v", got.Stored)
	}
	if ages := got.Stored.Ages; len(ages) != 1 || ages[0] < 0.6 || ages[0] > 0.7 {
		t.Errorf("the first version was replaced at %v of its life", ages)
	}
	if got.Stored.Files != IssuedFiles(src) {
		t.Errorf("the files are %+v", got.Stored.Files)
	}
	if err := os.RemoveAll(filepath.Join(src.Folder, "versions", "b")); err != nil {
		t.Fatal(err)
	}
	if got := Read(src, now); !certmedic.HasFinding(got.Findings, certmedic.FileMissing) {
		t.Errorf("a link that leads nowhere: %+v", got.Findings)
	}
}

func TestWatchWhatCertmedicHasIssued(t *testing.T) {
	t.Parallel()
	src := certmedic.Source{Kind: certmedic.SourceACME, Folder: filepath.Join(t.TempDir(), "shop")}
	changed := make(chan string, 100)
	w := NewWatcher(Options{Sources: map[string]certmedic.Source{"shop": src}, Changed: func(name string) { changed <- name }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for _, version := range []string{"", "a", "b"} { // watching begins; the folder appears; the link moves
		if version != "" {
			issueInto(t, src.Folder, version, time.Now())
		}
		select {
		case <-changed:
		case <-time.After(8 * time.Second):
			t.Fatalf("no change was told after version %q", version)
		}
		for quiet := false; !quiet; {
			select {
			case <-changed:
			case <-time.After(1500 * time.Millisecond): // a missing folder is looked for every second
				quiet = true
			}
		}
	}
}
