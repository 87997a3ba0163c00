package dir

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
)

const (
	ttl  = 600 * time.Millisecond
	tick = 50 * time.Millisecond // of the file systems that tests run on, generously
)

func TestDir(t *testing.T) {
	coordtest.Test(t, false, func(t testing.TB) coordtest.World {
		dir := folder(t)
		return coordtest.World{
			Open: func(t testing.TB, member string) coord.Engine { return session(t, dir, member) },
			TTL:  ttl, Ends: ttl + 4*tick, Steps: 120,
		}
	})
}

// folder is in memory where there is such a file system.
func folder(t testing.TB) string {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "coord")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func session(t testing.TB, dir, member string) coord.Engine {
	t.Helper()
	e, _, err := open(t.Context(), Options{Dir: dir, Member: member, TTL: ttl}, tick)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// TestProcesses has several processes act in turn. Each says when it begins and ends, in a file that
// nobody else may have made meanwhile.
func TestProcesses(t *testing.T) {
	if dir := os.Getenv("COORD_DIR_CHILD"); dir != "" {
		actInTurn(t, dir)
		return
	}
	dir := folder(t)
	const processes, terms = 6, 5
	var children []*exec.Cmd
	for i := range processes {
		child := exec.Command(os.Args[0], "-test.run=^TestProcesses$")
		child.Env = append(os.Environ(), "COORD_DIR_CHILD="+dir, fmt.Sprintf("COORD_DIR_MEMBER=m%d", i), fmt.Sprintf("COORD_DIR_TERMS=%d", terms))
		child.Stderr = os.Stderr
		child.Stdout = os.Stderr
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, child)
	}
	for _, child := range children {
		if err := child.Wait(); err != nil {
			t.Errorf("a process ended with %v", err)
		}
	}
	tokens := map[string]bool{}
	f, err := os.Open(filepath.Join(dir, ".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if tokens[lines.Text()] {
			t.Errorf("the token %s was given twice", lines.Text())
		}
		tokens[lines.Text()] = true
	}
	if len(tokens) != processes*terms {
		t.Errorf("%d processes had %d terms", processes, len(tokens))
	}
}

func actInTurn(t *testing.T, dir string) {
	var terms int
	if _, err := fmt.Sscan(os.Getenv("COORD_DIR_TERMS"), &terms); err != nil {
		t.Fatal(err)
	}
	e := session(t, dir, os.Getenv("COORD_DIR_MEMBER"))
	acting := filepath.Join(dir, ".acting")
	for deadline := time.Now().Add(time.Minute); terms > 0 && time.Now().Before(deadline); {
		l, err := e.Acquire(t.Context(), "shop")
		if errors.Is(err, coord.ErrHeld) {
			time.Sleep(2 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(acting, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil && l.Holds(time.Now()) {
			t.Fatalf("another acts: %v", err)
		}
		log, errLog := os.OpenFile(filepath.Join(dir, ".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if errLog != nil {
			t.Fatal(errLog)
		}
		fmt.Fprintln(log, l.Token)
		if err := errors.Join(log.Close(), f.Close(), os.Remove(acting), e.Release(t.Context(), l)); err != nil {
			t.Fatal(err)
		}
		terms--
	}
}

func newStore(t *testing.T) *store {
	t.Helper()
	dir := folder(t)
	return &store{root: dir, clock: filepath.Join(dir, ".clock-a"), slots: make(chan struct{}, atWork)}
}

// TestWriterOfLongAgo links a generation whose file was removed long since: it is refused, and changes nothing.
func TestWriterOfLongAgo(t *testing.T) {
	s := newStore(t)
	first, err := s.Swap(t.Context(), "leases/shop", "", []byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	tag := first
	for i := range 3 * kept {
		if tag, err = s.Swap(t.Context(), "leases/shop", tag, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for about, old := range map[string]string{"the first version": first, "no version": ""} {
		if _, err := s.Swap(t.Context(), "leases/shop", old, []byte("late")); !errors.Is(err, coord.ErrStale) {
			t.Errorf("a write upon %s gave %v", about, err)
		}
	}
	o, ok, err := s.Get(t.Context(), "leases/shop")
	if want := fmt.Sprint(3*kept - 1); err != nil || !ok || string(o.Value) != want || o.Tag != tag {
		t.Errorf("there is %q, %v, want %q", o.Value, err, want)
	}
	if _, err := s.Swap(t.Context(), "leases/shop", tag, nil); err != nil {
		t.Fatal(err)
	}
	if all, _, err := generations(s.folder("leases/shop")); err != nil || len(all) != kept {
		t.Errorf("%d generations are kept, %v", len(all), err)
	}
}

func TestWriterThatWasFollowed(t *testing.T) {
	s := newStore(t)
	mine := version{header: header{Key: "k", Write: "mine"}, generation: 1}
	next := version{header: header{Key: "k", Write: "next", Previous: "mine"}, generation: 2}
	dir := s.folder("k")
	for _, v := range []version{mine, next} {
		if err := s.add(dir, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := stands(dir, mine, []uint64{2, 1}); err != nil {
		t.Errorf("a version that another follows gave %v", err)
	}
	other := mine
	other.Write = "other"
	if err := stands(dir, other, []uint64{2, 1}); !errors.Is(err, coord.ErrStale) {
		t.Errorf("a version that nobody follows gave %v", err)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	s := newStore(t)
	tag, err := s.Swap(t.Context(), "k", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	old, fresh := filepath.Join(s.folder("k"), tempPrefix+"1"), filepath.Join(s.folder("k"), tempPrefix+"2")
	for _, name := range []string{old, fresh} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Swap(t.Context(), "k", tag, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("what a writer left an hour ago is still there")
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("what a writer is at work on was removed: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	open777 := t.TempDir()
	if err := os.Chmod(open777, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		about, why string
		o          Options
	}{
		{"a folder that is not there", "no such file", Options{Dir: filepath.Join(t.TempDir(), "none"), Member: "a", TTL: ttl}},
		{"a folder that anybody may write", "may be written by others", Options{Dir: open777, Member: "a", TTL: ttl}},
		{"a member without a name", "a name is empty", Options{Dir: t.TempDir(), TTL: ttl}},
		{"a file system that has no links", "cannot hold leases", Options{Dir: "/proc/self", Member: "a", TTL: ttl}},
	} {
		if _, _, err := Open(t.Context(), row.o); err == nil || !strings.Contains(err.Error(), row.why) {
			t.Errorf("%s gave %v", row.about, err)
		}
	}
	_, warning, err := Open(t.Context(), Options{Dir: t.TempDir(), Member: "a", TTL: ttl})
	if err != nil || !strings.Contains(warning, "other hosts do not see it") {
		t.Errorf("a local folder is accepted with %q, %v", warning, err)
	}
	if got := doubtOf(unix.NFS_SUPER_MAGIC); !strings.Contains(got, "NFS") {
		t.Errorf("of NFS it says %q", got)
	}
}

func TestOthersFilesAreTold(t *testing.T) {
	s := newStore(t)
	if _, err := s.Swap(t.Context(), "k", "", nil); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"00000000000000000007": "{", "00000000000000000008": "", "00000000000000000009": `{"key":"other"}`} {
		if err := os.WriteFile(filepath.Join(s.folder("k"), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if o, ok, err := s.Get(t.Context(), "k"); err == nil {
			t.Errorf("of a broken file it reads %+v, %v", o, ok)
		}
	}
	if err := os.Mkdir(filepath.Join(s.root, "%zz"), 0o700); err != nil {
		t.Fatal(err)
	}
	if keys, err := s.List(t.Context(), ""); err == nil {
		t.Errorf("with a folder of others there are %q", keys)
	}
}

// TestHangingServer has every file operation that may be at work hang: calls end all the same.
func TestHangingServer(t *testing.T) {
	s := newStore(t)
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for range atWork {
		if _, err := within(ctx, s, func() (any, error) { <-release; return nil, nil }); err == nil {
			t.Fatal("a hanging call ended")
		}
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
	}
	if _, _, err := s.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call to a server that hangs gave %v", err)
	}
}
