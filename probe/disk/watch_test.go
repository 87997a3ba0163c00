package disk

import (
	"context"
	"hash/maphash"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// patience bounds each wait. It is far above what a change takes to be seen.
const patience = 20 * time.Second

// never is a poll that no test lives to see, so that only events can tell.
const never = time.Hour

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watching runs a watcher for the test and hands out what it tells.
type watching struct {
	*Watcher
	t       *testing.T
	changes chan string
}

func watch(t *testing.T, poll time.Duration, sources map[string]certmedic.Source, prepare ...func(*Watcher)) *watching {
	t.Helper()
	w := &watching{t: t, changes: make(chan string, 1000)}
	w.Watcher = NewWatcher(Options{Sources: sources, Poll: poll, Changed: func(name string) { w.changes <- name }})
	for _, f := range prepare {
		f(w.Watcher)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("the watcher ended with %v", err)
		}
	})
	for range sources {
		w.next("watching begins")
	}
	return w
}

func (w *watching) next(about string) string {
	w.t.Helper()
	select {
	case name := <-w.changes:
		return name
	case <-time.After(patience):
		w.t.Fatalf("%s: nothing was told", about)
		return ""
	}
}

// until waits for the change after which the condition holds. A change in several
// steps may be told several times.
func (w *watching) until(about string, holds func() bool) {
	w.t.Helper()
	for w.next(about); !holds(); {
		w.next(about)
	}
}

func TestWatcherSeesWhatHappensToALineage(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	tree.SetHook("reload", "#!/bin/sh\n")
	src := tree.Source("shop")
	w := watch(t, never, map[string]certmedic.Source{"shop": src})
	var release func()
	for _, step := range []struct {
		about string
		do    func()
		holds func() bool
	}{
		{"a renewal", func() { tree.Renew("shop") }, func() bool { return Read(src, time.Now()).Version == "2" }},
		{"certbot takes its lock", func() { release = tree.Lock() }, func() bool { return AskLock(tree.ConfigDir, nil).State == certmedic.LockHeld }},
		{"certbot leaves its lock", func() { release() }, func() bool { return AskLock(tree.ConfigDir, nil).State == certmedic.LockFree }},
		{"a new hook", func() { tree.SetHook("zz", "#!/bin/sh\n") }, func() bool { hooks, _ := DeployHooks(src); return len(hooks) == 2 }},
		{"a hook loses its bit", func() { must(t, os.Chmod(filepath.Join(tree.ConfigDir, "renewal-hooks/deploy/zz"), 0o644)) }, func() bool { hooks, _ := DeployHooks(src); return len(hooks) == 1 }},
		{"a link is moved by hand", func() { tree.Link("shop", 1) }, func() bool { return Read(src, time.Now()).Version == "1" }},
		{"the configuration goes", func() { must(t, os.Rename(tree.Conf("shop"), tree.Conf("shop")+".off")) }, func() bool { return len(Read(src, time.Now()).Findings) > 0 }},
		{"a version is written in place", func() { must(t, os.WriteFile(tree.Archive("shop", "fullchain", 1), nil, 0o644)) }, func() bool {
			return certmedic.HasFinding(Read(src, time.Now()).Findings, certmedic.NotACertificate)
		}},
	} {
		step.do()
		w.until(step.about, step.holds)
	}
	if degraded := w.Degraded(); len(degraded) > 0 {
		t.Errorf("degraded: %q", degraded)
	}
}

func TestWatcherTellsOnlyWhomItConcerns(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	tree.Issue("blog", []string{"blog.example.test"}, disktest.Options{})
	w := watch(t, never, map[string]certmedic.Source{"shop": tree.Source("shop"), "blog": tree.Source("blog")})
	must(t, os.WriteFile(filepath.Join(tree.ConfigDir, "renewal", "unrelated"), nil, 0o644))
	tree.Renew("blog")
	w.until("a renewal", func() bool { return Read(tree.Source("blog"), time.Now()).Version == "2" })
	time.Sleep(3 * coalesceFor)
	for len(w.changes) > 0 {
		if name := <-w.changes; name != "blog" {
			t.Errorf("told of %q, which did not change", name)
		}
	}
}

func TestWatcherFindsAFolderThatComesBack(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	src := tree.Source("shop")
	w := watch(t, never, map[string]certmedic.Source{"shop": src})
	away := tree.ConfigDir + ".away"
	must(t, os.Rename(tree.ConfigDir, away))
	w.until("the tree goes", func() bool { return Read(src, time.Now()).Path == "" || len(Read(src, time.Now()).Chain) == 0 })
	must(t, os.Rename(away, tree.ConfigDir))
	w.until("the tree comes back", func() bool { return len(Read(src, time.Now()).Chain) == 2 })
	for number := 2; number < 4; number++ {
		tree.Renew("shop")
		w.until("a renewal after that", func() bool {
			return Read(src, time.Now()).Since.After(time.Time{}) && len(Read(src, time.Now()).Known) == number
		})
	}
}

func TestWatcherFollowsSwappedFolders(t *testing.T) {
	tree := disktest.New(t)
	versions := []disktest.Version{tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{}), tree.Renew("shop")}
	mount := t.TempDir()
	for i := range versions {
		folder := filepath.Join(mount, "..version"+string(rune('1'+i)))
		must(t, os.Mkdir(folder, 0o755))
		must(t, os.Link(tree.Archive("shop", "fullchain", i+1), filepath.Join(folder, "tls.crt")))
		must(t, os.Link(tree.Archive("shop", "privkey", i+1), filepath.Join(folder, "tls.key")))
	}
	swap := func(to string) {
		must(t, os.Symlink(to, filepath.Join(mount, "..data_tmp")))
		must(t, os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")))
	}
	swap("..version1")
	must(t, os.Symlink("..data/tls.crt", filepath.Join(mount, "tls.crt")))
	must(t, os.Symlink("..data/tls.key", filepath.Join(mount, "tls.key")))
	src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: filepath.Join(mount, "tls.crt"), Key: filepath.Join(mount, "tls.key")}
	w := watch(t, never, map[string]certmedic.Source{"shop": src})
	for _, number := range []int{2, 1, 2} {
		swap("..version" + string(rune('0'+number)))
		w.until("a swap", func() bool {
			stored := Read(src, time.Now())
			leaf, ok := stored.Leaf()
			return ok && leaf.SHA256 == versions[number-1].Fingerprint && len(stored.Findings) == 0
		})
	}
}

func TestWatcherPollsWhereEventsSayNothing(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	src := tree.Source("shop")
	onNFS := func(w *Watcher) {
		w.network = func(folder string) string {
			if strings.Contains(folder, "live") || strings.Contains(folder, "archive") {
				return "nfs"
			}
			return ""
		}
	}
	w := watch(t, 20*time.Millisecond, map[string]certmedic.Source{"shop": src}, onNFS)
	tree.Renew("shop")
	w.until("a renewal", func() bool { return Read(src, time.Now()).Version == "2" })
	degraded := w.Degraded()
	if len(degraded) != 1 || !strings.HasPrefix(degraded[0], "shop: ") || !strings.Contains(degraded[0], "nfs") {
		t.Errorf("degraded: %q", degraded)
	}
}

func TestWatcherPollsWithoutAnInotifyInstanceUntilThereIsOne(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	src := tree.Source("shop")
	var free atomic.Bool
	scarce := func(w *Watcher) {
		w.inotify = func() (*fsnotify.Watcher, error) {
			if !free.Load() {
				return nil, os.NewSyscallError("inotify_init1", unix.EMFILE)
			}
			return fsnotify.NewWatcher()
		}
	}
	w := watch(t, 20*time.Millisecond, map[string]certmedic.Source{"shop": src}, scarce)
	tree.Renew("shop")
	w.until("a renewal", func() bool { return Read(src, time.Now()).Version == "2" })
	if degraded := w.Degraded(); len(degraded) != 1 || !strings.Contains(degraded[0], "max_user_instances") {
		t.Errorf("degraded: %q", degraded)
	}
	free.Store(true)
	for end := time.Now().Add(patience); len(w.Degraded()) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if degraded := w.Degraded(); len(degraded) > 0 {
		t.Errorf("still degraded: %q", degraded)
	}
}

func TestWatcherLooksAtEverythingAfterItLostEvents(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	src := tree.Source("shop")
	lost := make(chan error)
	deaf := func(w *Watcher) {
		w.inotify = func() (*fsnotify.Watcher, error) {
			inotify, err := fsnotify.NewWatcher()
			if err == nil {
				inotify.Events = make(chan fsnotify.Event) // on which nothing comes
				inotify.Errors = lost
			}
			return inotify, err
		}
	}
	w := watch(t, never, map[string]certmedic.Source{"shop": src}, deaf)
	tree.Renew("shop")
	time.Sleep(3 * coalesceFor)
	if len(w.changes) > 0 {
		t.Fatal("the watcher is not deaf")
	}
	lost <- fsnotify.ErrEventOverflow
	w.until("events were lost", func() bool { return Read(src, time.Now()).Version == "2" })
}

// TestPollsFindWhatNoEventTold holds that a source of which every folder is watched is
// looked at all the same: its links at each poll, the rest now and then.
func TestPollsFindWhatNoEventTold(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	var told []string
	w := NewWatcher(Options{
		Sources: map[string]certmedic.Source{"shop": tree.Source("shop")},
		Changed: func(name string) { told = append(told, name) },
	})
	r := newRound(w)
	defer r.close()
	r.takeSources()
	for _, step := range []struct {
		about string
		do    func()
		polls int
	}{
		{"the beginning", func() {}, 0},
		{"a renewal", func() { tree.Renew("shop") }, 1},
		{"certbot takes its lock", func() { tree.Lock() }, 1},
		{"a new hook", func() { tree.SetHook("reload", "#!/bin/sh\n") }, 1},
		{"another mode of the key", func() { must(t, os.Chmod(tree.Archive("shop", "privkey", 2), 0o644)) }, fullEvery},
		{"the renewal configuration goes", func() { must(t, os.Remove(tree.Conf("shop"))) }, fullEvery},
	} {
		step.do()
		for range step.polls {
			r.poll()
		}
		if len(told) != 1 {
			t.Errorf("%s: told %d times", step.about, len(told))
		}
		told = nil
	}
	for range 2 * fullEvery {
		r.poll()
	}
	if len(told) > 0 {
		t.Errorf("nothing happened, and was told %d times", len(told))
	}
}

func TestWatcherTakesNewSources(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	tree.Issue("blog", []string{"blog.example.test"}, disktest.Options{})
	w := watch(t, never, map[string]certmedic.Source{"shop": tree.Source("shop")})
	w.Set(map[string]certmedic.Source{"blog": tree.Source("blog")})
	if name := w.next("a new source"); name != "blog" {
		t.Errorf("told of %q", name)
	}
	tree.Renew("shop")
	tree.Renew("blog")
	if name := w.next("a renewal"); name != "blog" {
		t.Errorf("told of %q, which is not watched any more", name)
	}
}

func TestTrail(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(dir, "releases/7"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "etc/ssl"), 0o755))
	must(t, os.Symlink("releases/7", filepath.Join(dir, "current")))
	must(t, os.Symlink("../../current/cert.pem", filepath.Join(dir, "etc/ssl/cert.pem")))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	g := newGlance(maphash.MakeSeed(), nil)
	folders, _, end := g.trail(filepath.Join(dir, "etc/ssl/cert.pem"))
	got := unique(folders)
	want := unique([]string{dir, filepath.Join(dir, "etc/ssl"), filepath.Join(dir, "releases/7")})
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if end != filepath.Join(dir, "releases/7/cert.pem") {
		t.Errorf("the way ends at %q", end)
	}
	if loop, _, _ := g.trail(filepath.Join(dir, "loop")); len(loop) > maxLinkHops+1 {
		t.Errorf("a link to itself led through %d folders", len(loop))
	}
}

func TestNetworkFS(t *testing.T) {
	if fs := networkFS("/proc"); fs != "" {
		t.Errorf("proc is taken for %s", fs)
	}
	if fs := networkFS(filepath.Join(t.TempDir(), "gone")); fs != "" {
		t.Errorf("a folder that is not there is taken for %s", fs)
	}
}
