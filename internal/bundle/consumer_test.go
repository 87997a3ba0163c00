package bundle_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/bundletest"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/probe/disk"
)

func (w *world) consumer(t *testing.T, store bundle.Reader) *bundle.Consumer {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "shared", shop)
	return &bundle.Consumer{Store: store, Name: shop, Folder: folder, Keys: []ed25519.PublicKey{w.public}, Opener: w.opener}
}

// look has a consumer look, and holds whether it installed something.
func look(t *testing.T, c *bundle.Consumer, want bool) {
	t.Helper()
	got, err := c.Look(t.Context(), time.Now())
	must(t, err)
	if got != want {
		t.Errorf("it installed a version: %t", got)
	}
}

// holds reads the folder as every other source is read.
func holds(t *testing.T, c *bundle.Consumer, want certmedic.Fingerprint, known int) {
	t.Helper()
	content := disk.Reader{}.Read(certmedic.Source{Kind: certmedic.SourceACME, Folder: c.Folder}, time.Now())
	leaf, _ := content.Stored.Leaf()
	if leaf.SHA256 != want || !content.KeyMatches || len(content.Stored.Findings) > 0 || len(content.Stored.Known) != known {
		t.Errorf("the folder holds %s, whose key matches (%t), and %d versions: %v",
			leaf.SHA256.Short(), content.KeyMatches, len(content.Stored.Known), content.Stored.Findings)
	}
	info, err := os.Stat(filepath.Join(c.Folder, "current", "privkey.pem"))
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("the key has mode %v", info.Mode())
	}
}

func TestConsumer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &bundletest.Memory{}
	c := w.consumer(t, store)
	look(t, c, false)
	if h := c.Health(); h.Error != "" || h.Version != "" || h.Succeeded.IsZero() {
		t.Errorf("before the first version its health is %+v", h)
	}
	var last certmedic.Fingerprint
	for number := range 7 {
		last = w.publish(t, store, w.version(t, shop), 1, last).Version
		look(t, c, true)
		holds(t, c, last, min(number+1, 5))
		look(t, c, false)
	}
	h := c.Health()
	if h.Error != "" || h.Version != last || h.Mark.Sequence != 7 || !h.Published.Equal(noon()) || h.Installed.IsZero() {
		t.Errorf("its health is %+v", h)
	}
	again := w.consumer(t, store)
	again.Folder = c.Folder
	look(t, again, false)
	if h := again.Health(); h.Version != last || !h.Installed.IsZero() {
		t.Errorf("after a restart its health is %+v", h)
	}
}

// TestConsumerMends has somebody change the folder, or a kill leave it in any state that
// installing goes through: the next look makes it whole.
func TestConsumerMends(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, row := range []struct {
		about  string
		change func(t *testing.T, folder, current string)
	}{
		{"the link is gone", func(t *testing.T, folder, _ string) { must(t, os.Remove(filepath.Join(folder, "current"))) }},
		{"the link leads elsewhere", func(t *testing.T, folder, _ string) {
			must(t, os.Remove(filepath.Join(folder, "current")))
			must(t, os.Symlink("/etc", filepath.Join(folder, "current")))
		}},
		{"the key is another one", func(t *testing.T, _, current string) {
			must(t, os.WriteFile(filepath.Join(current, "privkey.pem"), []byte("x"), 0o600))
		}},
		{"the key can be read by all", func(t *testing.T, _, current string) {
			must(t, os.Chmod(filepath.Join(current, "privkey.pem"), 0o644))
		}},
		{"the chain is gone", func(t *testing.T, _, current string) { must(t, os.Remove(filepath.Join(current, "fullchain.pem"))) }},
		{"the version is gone", func(t *testing.T, _, current string) { must(t, os.RemoveAll(current)) }},
		{"killed while it wrote the version", func(t *testing.T, folder, current string) {
			must(t, os.Rename(current, filepath.Join(folder, "versions", ".new")))
			must(t, os.Remove(filepath.Join(folder, "versions", ".new", "cert.pem")))
			must(t, os.Remove(filepath.Join(folder, "current")))
		}},
		{"killed while it made the link", func(t *testing.T, folder, _ string) {
			must(t, os.Remove(filepath.Join(folder, "current")))
			must(t, os.Mkdir(filepath.Join(folder, ".certmedic-x"), 0o700))
			must(t, os.Symlink("versions/x", filepath.Join(folder, ".certmedic-x", "link")))
		}},
		{"everything but the memory is gone", func(t *testing.T, folder, _ string) {
			must(t, os.Remove(filepath.Join(folder, "current")))
			must(t, os.RemoveAll(filepath.Join(folder, "versions")))
		}},
	} {
		t.Run(row.about, func(t *testing.T) {
			store := &bundletest.Memory{}
			c := w.consumer(t, store)
			m := w.publish(t, store, w.version(t, shop), 1, "")
			for _, restarted := range []bool{false, true} {
				look(t, c, !restarted)
				row.change(t, c.Folder, filepath.Join(c.Folder, "versions", m.Version.Short()))
				if restarted {
					folder := c.Folder
					c = w.consumer(t, store)
					c.Folder = folder
				}
				look(t, c, true)
				content := disk.Reader{}.Read(certmedic.Source{Kind: certmedic.SourceACME, Folder: c.Folder}, time.Now())
				if leaf, _ := content.Stored.Leaf(); leaf.SHA256 != m.Version || !content.KeyMatches {
					t.Errorf("restarted (%t): the folder holds %s", restarted, leaf.SHA256)
				}
				must(t, os.RemoveAll(c.Folder))
				c = w.consumer(t, store)
				look(t, c, true)
				holds(t, c, m.Version, 1)
			}
			entries, err := os.ReadDir(c.Folder)
			must(t, err)
			if len(entries) != 3 {
				t.Errorf("beside its three names the folder has %v", entries)
			}
		})
	}
}

// TestConsumerNewChain has the same leaf published with another chain: readers of the old folder
// keep what they read.
func TestConsumerNewChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &bundletest.Memory{}
	c := w.consumer(t, store)
	v := w.version(t, shop)
	m := w.publish(t, store, v, 1, "")
	look(t, c, true)
	v.Fullchain = append(slices.Clone(v.Fullchain), mint.PEM(w.root.Cert)...)
	w.publish(t, store, v, 1, m.Version)
	look(t, c, true)
	holds(t, c, m.Version, 1)
	data, err := os.ReadFile(filepath.Join(c.Folder, "current", "fullchain.pem"))
	if err != nil || string(data) != string(v.Fullchain) {
		t.Errorf("the chain is the old one, %v", err)
	}
	if old, err := os.ReadFile(filepath.Join(c.Folder, "versions", m.Version.Short(), "fullchain.pem")); err != nil || string(old) == string(data) {
		t.Errorf("the old folder was changed, %v", err)
	}
	look(t, c, false)
}

// TestConsumerKeepsWhatItHas holds that nothing that goes wrong with the store changes the folder.
func TestConsumerKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const key = shop + "/current.json"
	for _, row := range []struct {
		about  string
		change func(t *testing.T, store *bundletest.Memory, c *bundle.Consumer)
		says   string
	}{
		{"the pointer is gone", func(_ *testing.T, s *bundletest.Memory, _ *bundle.Consumer) { s.Set(key, nil) }, "no such object"},
		{"the pointer is torn", func(_ *testing.T, s *bundletest.Memory, _ *bundle.Consumer) { s.Set(key, []byte("{")) }, "current.json"},
		{"the publisher's key is not accepted any more", func(t *testing.T, s *bundletest.Memory, c *bundle.Consumer) {
			other := newWorld(t)
			c.Keys = []ed25519.PublicKey{other.public}
			o, err := s.Get(t.Context(), key, "")
			must(t, err)
			s.Set(key, o.Data)
		}, "not among those accepted"},
		{"the memory is unreadable", func(t *testing.T, _ *bundletest.Memory, c *bundle.Consumer) {
			must(t, os.WriteFile(filepath.Join(c.Folder, "accepted.json"), []byte("{"), 0o600))
		}, "accepted before"},
		{"others may write the folder", func(t *testing.T, _ *bundletest.Memory, c *bundle.Consumer) {
			must(t, os.Chmod(c.Folder, 0o777))
		}, "may be written by others"},
	} {
		t.Run(row.about, func(t *testing.T) {
			store := &bundletest.Memory{}
			c := w.consumer(t, store)
			m := w.publish(t, store, w.version(t, shop), 1, "")
			look(t, c, true)
			row.change(t, store, c)
			if _, err := c.Look(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want %q", err, row.says)
			}
			holds(t, c, m.Version, 1)
			if h := c.Health(); h.Failures != 1 || !strings.Contains(h.Error, row.says) || h.Version != m.Version {
				t.Errorf("its health is %+v", h)
			}
		})
	}
}

// TestConsumerMemory holds that the memory is written before the version is installed, and that
// what it refuses is not installed.
func TestConsumerMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &bundletest.Memory{}
	c := w.consumer(t, store)
	c.Memory = brokenMemory{}
	w.publish(t, store, w.version(t, shop), 1, "")
	if _, err := c.Look(t.Context(), time.Now()); !errors.Is(err, errKilled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(c.Folder, "current")); err == nil {
		t.Error("it was installed all the same")
	}
}

type brokenMemory struct{}

func (brokenMemory) Accepted() (bundle.Mark, error) { return bundle.Mark{}, nil }
func (brokenMemory) Accept(bundle.Mark) error       { return errKilled }

// TestConsumerRuns holds the pace: every minute, less often after failures, at once again after a
// success, and not beyond its context.
func TestConsumerRuns(t *testing.T) {
	w := newWorld(t)
	memory := &bundletest.Memory{}
	w.publish(t, memory, w.version(t, shop), 1, "")
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var ill atomic.Bool
		store := reader(func(ctx context.Context, key, known string) (bundle.Object, error) {
			if ill.Load() {
				return bundle.Object{}, errKilled
			}
			return memory.Get(ctx, key, known)
		})
		c := &bundle.Consumer{Store: store, Name: shop, Folder: folder, Opener: w.opener}
		ctx, cancel := context.WithCancel(t.Context())
		var looks atomic.Int64
		var told atomic.Pointer[bundle.Health]
		go c.Run(ctx, func(h bundle.Health) { looks.Add(1); told.Store(&h) })
		count := func(during time.Duration) int64 {
			before := looks.Load()
			time.Sleep(during)
			synctest.Wait()
			return looks.Load() - before
		}
		if n := count(10 * time.Minute); n < 9 || n > 13 {
			t.Errorf("%d looks in ten minutes", n)
		}
		ill.Store(true)
		if n := count(4 * time.Hour); n < 17 || n > 26 || told.Load().Failures < 15 || told.Load().Error == "" {
			t.Errorf("%d looks in four hours of failures, of which it told %d", n, told.Load().Failures)
		}
		ill.Store(false)
		if n := count(18 * time.Minute); n < 1 || told.Load().Failures != 0 || told.Load().Error != "" {
			t.Errorf("%d looks after it was well again, and it told %+v", n, told.Load())
		}
		cancel()
		if n := count(time.Hour); n != 0 {
			t.Errorf("%d looks after its end", n)
		}
	})
}
