package fleet_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/bundletest"
	"github.com/certmedic/certmedic/internal/bundle/s3"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/probe/disk"
)

// bucketServer runs the Versity gateway on a folder with one bucket until the test ends, and returns
// how it is reached. Where it cannot be built the test is skipped; with CI=true it fails.
func bucketServer(t *testing.T, options ...string) s3.Config {
	t.Helper()
	backend := t.TempDir()
	root, err := filepath.Abs("../..")
	bundleMust(t, err)
	program := filepath.Join(root, "scripts", "versitygw")
	if out, err := exec.Command(program, "--version").CombinedOutput(); err != nil {
		bundleSkip(t, root, fmt.Sprintf("there is no versitygw: %s", out))
	}
	const bucket, id, key = "certs", "id0123456789", "secret0123456789"
	bundleMust(t, os.MkdirAll(filepath.Join(backend, bucket), 0o700))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	bundleMust(t, err)
	address := listener.Addr().String()
	bundleMust(t, listener.Close())
	var out bytes.Buffer
	args := slices.Concat([]string{"--port", address, "--access", id, "--secret", key, "--quiet", "posix"}, options, []string{backend})
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	bundleMust(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the script has become the server
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("versitygw said: %s", out.String())
		}
	})
	file := filepath.Join(t.TempDir(), "credentials")
	bundleMust(t, os.WriteFile(file, fmt.Appendf(nil, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id, key), 0o600))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			bundleMust(t, conn.Close())
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("versitygw does not listen: %v\n%s", err, out.String())
		}
	}
	return s3.Config{Endpoint: "http://" + address, Bucket: bucket, Prefix: "fleet/", CredentialsFile: file}
}

// TestBundleStore holds a real S3 server to what package bundle relies on.
func TestBundleStore(t *testing.T) {
	t.Parallel()
	store, err := s3.Open(t.Context(), bucketServer(t))
	bundleMust(t, err)
	bundletest.Test(t, store)
}

// TestBundleStoreWithout holds that a real server which takes conditional writes and passes over the
// conditions, as this one does where it keeps no metadata, is not used.
func TestBundleStoreWithout(t *testing.T) {
	t.Parallel()
	if _, err := s3.Open(t.Context(), bucketServer(t, "--nometa")); err == nil || !strings.Contains(err.Error(), "it has no ETag") {
		t.Errorf("got %v", err)
	}
}

// bundleWorld is a CA, keys, and what consumers accept.
type bundleWorld struct {
	ca      *mint.CA
	seal    bundle.Seal
	opener  bundle.Opener
	signing ed25519.PrivateKey
}

func newBundleWorld(t *testing.T) bundleWorld {
	t.Helper()
	_, signing, err := ed25519.GenerateKey(rand.Reader)
	bundleMust(t, err)
	identity, err := age.GenerateX25519Identity()
	bundleMust(t, err)
	file := filepath.Join(t.TempDir(), "identity")
	bundleMust(t, os.WriteFile(file, []byte(identity.String()), 0o600))
	return bundleWorld{
		ca:      mint.Must(mint.Must(mint.NewCA("Root")).Intermediate("Issuing")),
		seal:    bundle.Seal{Recipients: []string{identity.Recipient().String()}},
		opener:  bundle.Opener{IdentityFile: file},
		signing: signing,
	}
}

func (w bundleWorld) version() bundle.Version {
	pair := mint.Must(w.ca.Leaf(mint.Leaf{Names: []string{"*.example.com"}}))
	return bundle.Version{Name: "*.example.com", Fullchain: pair.FullchainPEM(), Privkey: mint.Must(pair.KeyPEM())}
}

func (w bundleWorld) publish(ctx context.Context, store bundle.Store, v bundle.Version, token uint64, previous certmedic.Fingerprint) (bundle.Manifest, error) {
	return bundle.Publish(ctx, store, v, bundle.Options{
		Token: token, Previous: previous, Member: "m1", Time: time.Now(), Seal: w.seal, Key: w.signing,
	})
}

// TestBundleThroughBucket has publishers and a consumer meet in a bucket: two who publish at once
// of which one wins, a consumer that installs what won, and one that keeps what it has while the
// server is away.
func TestBundleThroughBucket(t *testing.T) {
	t.Parallel()
	w := newBundleWorld(t)
	config := bucketServer(t)
	store, err := s3.Open(t.Context(), config)
	bundleMust(t, err)
	r, err := s3.OpenReader(t.Context(), config)
	bundleMust(t, err)
	c := &bundle.Consumer{
		Store: r, Name: "*.example.com", Folder: filepath.Join(t.TempDir(), "shared"),
		Keys: []ed25519.PublicKey{w.signing.Public().(ed25519.PublicKey)}, Opener: w.opener,
	}
	if installed, err := c.Look(t.Context(), time.Now()); err != nil || installed {
		t.Errorf("before the first version: %t, %v", installed, err)
	}
	var last certmedic.Fingerprint
	for token := uint64(1); token <= 5; token++ {
		last = w.race(t, store, token, last)
		installed, err := c.Look(t.Context(), time.Now())
		if err != nil || !installed {
			t.Fatalf("token %d: %t, %v", token, installed, err)
		}
		stored := disk.Read(certmedic.Source{Kind: certmedic.SourceACME, Folder: c.Folder}, time.Now())
		if leaf, _ := stored.Leaf(); leaf.SHA256 != last || len(stored.Findings) > 0 {
			t.Errorf("token %d: the folder holds %s: %v", token, leaf.SHA256, stored.Findings)
		}
		if installed, err := c.Look(t.Context(), time.Now()); err != nil || installed {
			t.Errorf("token %d, asked again: %t, %v", token, installed, err)
		}
	}
	bundleMust(t, bundle.Prune(t.Context(), store, "*.example.com", 2))
	if keys, err := store.List(t.Context(), "%2A.example.com/versions/"); err != nil || len(keys) != 10 {
		t.Errorf("pruned to %q, %v", keys, err)
	}
	w.measure(t, store, c, last)
}

// race has three members publish a version each at once. One wins.
func (w bundleWorld) race(t *testing.T, store bundle.Store, token uint64, previous certmedic.Fingerprint) certmedic.Fingerprint {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	var won []certmedic.Fingerprint
	for range 3 {
		v := w.version()
		all.Go(func() {
			m, err := w.publish(t.Context(), store, v, token, previous)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, m.Version)
			case !errors.Is(err, bundle.ErrStale):
				t.Error(err)
			}
		})
	}
	all.Wait()
	m, err := bundle.Current(t.Context(), store, "*.example.com", nil)
	bundleMust(t, err)
	if !slices.Equal(won, []certmedic.Fingerprint{m.Version}) {
		t.Fatalf("token %d: %q won, and %s is current", token, won, m.Version)
	}
	return m.Version
}

// measure reports how long publishing, fetching and asking take. It judges nothing.
func (w bundleWorld) measure(t *testing.T, store bundle.Store, c *bundle.Consumer, last certmedic.Fingerprint) {
	t.Helper()
	start := time.Now()
	_, err := w.publish(t.Context(), store, w.version(), 9, last)
	bundleMust(t, err)
	published := time.Now()
	_, err = c.Look(t.Context(), time.Now())
	bundleMust(t, err)
	fetched := time.Now()
	_, err = c.Look(t.Context(), time.Now())
	bundleMust(t, err)
	t.Logf("published in %v, fetched and installed in %v, asked again in %v", published.Sub(start), fetched.Sub(published), time.Since(fetched))
}

func bundleMust(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bundleSkip(t *testing.T, root, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI=true and this test cannot run: %s", reason)
	}
	f, err := os.OpenFile(filepath.Join(root, ".tools", "skipped"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	bundleMust(t, err)
	_, err = fmt.Fprintf(f, "%s: %s\n", t.Name(), reason)
	bundleMust(t, errors.Join(err, f.Close()))
	t.Skip(reason)
}
