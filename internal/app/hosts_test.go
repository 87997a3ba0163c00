package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
)

// failing are records that cannot be reached for a while.
type failing struct {
	coord.Records
	down bool
}

func (f *failing) Get(ctx context.Context, key string) (coord.Record, bool, error) {
	if f.down {
		return coord.Record{}, false, errors.New("no answer")
	}
	return f.Records.Get(ctx, key)
}

// TestNodeBook holds that what is known of nodes is shared, outlives a coordinator that cannot be asked, and
// is never overwritten by a member that another one took over from.
func TestNodeBook(t *testing.T) {
	t.Parallel()
	shared := &failing{Records: (&coordtest.Memory{}).Open(t, "m1", time.Minute)}
	book := func() *nodeBook {
		return &nodeBook{records: func() coord.Records { return shared }, log: slog.New(slog.DiscardHandler), known: map[string][]certmedic.NodeStatus{}, owed: map[string]bool{}}
	}
	of := func(token uint64, state certmedic.NodeState) []certmedic.NodeStatus {
		return []certmedic.NodeStatus{{Destination: "web", Node: "a", State: state, Token: token}}
	}
	mine, other := book(), book()
	wants := func(b *nodeBook, state certmedic.NodeState) {
		t.Helper()
		got, err := b.Nodes(t.Context(), "shop")
		if err != nil || got == nil || state == "" && len(got) > 0 || state != "" && (len(got) != 1 || got[0].State != state) {
			t.Errorf("known is %+v, %v, want %q", got, err, state)
		}
	}
	save := func(b *nodeBook, token uint64, state certmedic.NodeState) error {
		return b.SaveNodes(t.Context(), "shop", token, of(token, state))
	}
	wants(mine, "")
	if err := save(mine, 3, certmedic.NodeRunning); err != nil {
		t.Fatal(err)
	}
	wants(other, certmedic.NodeRunning)
	shared.down = true
	wants(mine, certmedic.NodeRunning)
	if _, err := book().Nodes(t.Context(), "shop"); err == nil {
		t.Error("who never read anything claims to know something")
	}
	if err := save(mine, 3, certmedic.NodeDone); err != nil {
		t.Fatal(err)
	}
	wants(mine, certmedic.NodeDone)
	shared.down = false
	wants(mine, certmedic.NodeDone) // and is shared now
	wants(other, certmedic.NodeDone)
	if err := save(other, 4, certmedic.NodeFailed); err != nil {
		t.Fatal(err)
	}
	if err := save(mine, 3, certmedic.NodeDone); !errors.Is(err, coord.ErrStale) {
		t.Errorf("a lower token wrote: %v", err)
	}
	wants(mine, certmedic.NodeFailed)
}

// TestManyNodesAreShared holds that what is known of as many nodes as there may be is shared, whatever is
// wrong with each of them.
func TestManyNodesAreShared(t *testing.T) {
	t.Parallel()
	shared := (&coordtest.Memory{}).Open(t, "m1", time.Minute)
	book := func() *nodeBook {
		return &nodeBook{records: func() coord.Records { return shared }, log: slog.New(slog.DiscardHandler), known: map[string][]certmedic.NodeStatus{}, owed: map[string]bool{}}
	}
	var all []certmedic.NodeStatus
	for i := range 400 {
		all = append(all, certmedic.NodeStatus{
			Destination: "web", Node: fmt.Sprintf("web-%03d.example.com", i), State: certmedic.NodeUnreachable, Attempts: 3, Token: 7,
			Want: certmedic.Fingerprint(strings.Repeat("a", 64)), Version: certmedic.Fingerprint(strings.Repeat("b", 64)),
			Detail: strings.Repeat("\"<\x01é", 60), Since: time.Now(), Tried: time.Now(), Basis: "0123456789abcdef",
		})
	}
	if err := book().SaveNodes(t.Context(), "shop", 7, all); err != nil {
		t.Fatal(err)
	}
	if got, err := book().Nodes(t.Context(), "shop"); err != nil || len(got) != len(all) || got[399].State != certmedic.NodeUnreachable {
		t.Errorf("other members know of %d nodes, %v", len(got), err)
	}
}

// slow are records whose writes can be held up.
type slow struct {
	coord.Records
	mu     sync.Mutex
	down   bool
	writes chan chan struct{} // each write waits until what it sends is closed; nil: none waits
}

func (s *slow) Put(ctx context.Context, key string, revision, token uint64, value []byte) (coord.Record, error) {
	s.mu.Lock()
	down, writes := s.down, s.writes
	s.mu.Unlock()
	if down {
		return coord.Record{}, errors.New("no answer")
	}
	if writes != nil {
		wait := make(chan struct{})
		writes <- wait
		<-wait
	}
	return s.Records.Put(ctx, key, revision, token, value)
}

// TestWhatWasKnownBefore holds that what could not be shared for a while is never written over what was
// done since.
func TestWhatWasKnownBefore(t *testing.T) {
	t.Parallel()
	shared := &slow{Records: (&coordtest.Memory{}).Open(t, "m1", time.Minute), down: true}
	b := &nodeBook{records: func() coord.Records { return shared }, log: slog.New(slog.DiscardHandler), known: map[string][]certmedic.NodeStatus{}, owed: map[string]bool{}}
	save := func(state certmedic.NodeState) error {
		return b.SaveNodes(t.Context(), "shop", 3, []certmedic.NodeStatus{{Destination: "web", Node: "a", State: state, Token: 3}})
	}
	if err := save(certmedic.NodeRunning); err != nil {
		t.Fatal(err)
	}
	writes := make(chan chan struct{}, 2)
	shared.mu.Lock()
	shared.down, shared.writes = false, writes
	shared.mu.Unlock()
	var group sync.WaitGroup
	group.Go(func() { _, _ = b.Nodes(t.Context(), "shop") }) // shares what is owed
	late := <-writes
	group.Go(func() {
		if err := save(certmedic.NodeDone); err != nil {
			t.Error(err)
		}
	})
	select {
	case newer := <-writes: // both write at once: the newer one comes first
		close(newer)
		time.Sleep(50 * time.Millisecond)
		close(late)
	case <-time.After(200 * time.Millisecond):
		close(late)
	}
	go func() { // until the test has ended
		for wait := range writes {
			close(wait)
		}
	}()
	group.Wait()
	close(writes)
	r, _, err := shared.Get(t.Context(), nodesKey("shop"))
	if err != nil || !strings.Contains(string(r.Value), string(certmedic.NodeDone)) {
		t.Errorf("shared is %s, %v", r.Value, err)
	}
}

// TestUsualFiles holds what is taken where a host names no keys and no known_hosts.
func TestUsualFiles(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	in := func(name string) string { return filepath.Join(home, ".ssh", name) }
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"known_hosts", "id_rsa", "id_ed25519"} {
		if err := os.WriteFile(in(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	usual := sshHost(config.Host{Address: "192.0.2.1:2222", User: "u"}, home)
	if usual.Address != "192.0.2.1" || usual.Port != 2222 || !slices.Equal(usual.KeyFiles, []string{in("id_ed25519"), in("id_rsa")}) || !slices.Contains(usual.KnownHosts, in("known_hosts")) {
		t.Errorf("usual is %+v", usual)
	}
	named := sshHost(config.Host{Address: "h", Agent: "/run/agent", KnownHosts: []string{"/k"}}, home)
	if len(named.KeyFiles) > 0 || !slices.Equal(named.KnownHosts, []string{"/k"}) {
		t.Errorf("with an agent it is %+v", named)
	}
}
