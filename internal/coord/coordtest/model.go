package coordtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

// model takes random steps with several members, and knows what must not happen.
type model struct {
	t       *testing.T
	w       World
	random  *rand.Rand
	engines []coord.Engine
	held    map[string][]coord.Lease // by name, in the order in which they were given; the last one's holder knows of no end
	mine    map[string]int           // name → which engine has the last one
	records map[string]coord.Record
	log     []string
}

const modelMembers = 3

// testModel is seeded by the number of steps, so that it takes the same ones each time; pauses make
// leases end, and members come back late with what they had.
func testModel(t *testing.T, w World) {
	m := &model{t: t, w: w, random: rand.New(rand.NewPCG(uint64(w.Steps), 8)), held: map[string][]coord.Lease{}, mine: map[string]int{}, records: map[string]coord.Record{}}
	for i := range modelMembers {
		m.engines = append(m.engines, w.Open(t, fmt.Sprintf("m%d", i)))
	}
	for range w.Steps {
		m.step()
		if t.Failed() {
			t.Fatalf("the last steps were %q", m.log[max(0, len(m.log)-12):])
		}
	}
}

func (m *model) step() {
	i := m.random.IntN(modelMembers)
	name := []string{"shop", "blog"}[m.random.IntN(2)]
	switch m.random.IntN(12) {
	case 0, 1, 2, 3:
		m.acquire(i, name)
	case 4, 5, 6:
		m.renew(i, name)
	case 7:
		m.release(i, name)
	case 8, 9:
		m.put(i, name)
	case 10:
		m.pause(m.w.TTL / 8)
	case 11:
		m.rare(i)
	}
}

// rare is what takes long.
func (m *model) rare(i int) {
	switch m.random.IntN(6) {
	case 0:
		m.pause(m.w.Ends)
	case 1:
		m.note("restart %d", i)
		m.w.crash(m.engines[i])
		m.engines[i] = m.w.Open(m.t, fmt.Sprintf("m%d", i))
		for name, who := range m.mine {
			if who == i {
				m.mine[name] = -1
			}
		}
	}
}

func (m *model) note(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func (m *model) pause(d time.Duration) {
	m.note("pause %s", d)
	time.Sleep(d)
}

// last is the lease of a name that was given last.
func (m *model) last(name string) coord.Lease {
	if all := m.held[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return coord.Lease{}
}

func (m *model) acquire(i int, name string) {
	last, who := m.last(name), m.mine[name]
	l, err := m.engines[i].Acquire(m.t.Context(), name)
	now := time.Now()
	m.note("acquire %d %s: %d, %v", i, name, l.Token, err)
	switch {
	case errors.Is(err, coord.ErrHeld):
	case err != nil:
		m.t.Errorf("acquiring: %v", err)
	case l.Token < last.Token, l.Token == last.Token && (who != i || last.Expires.IsZero()):
		m.t.Errorf("after the token %d, which %d had, %d was given %d", last.Token, who, i, l.Token)
	case l.Token > last.Token && last.Holds(now):
		m.t.Errorf("%d was given %+v while %d holds %+v", i, l, who, last)
	default:
		m.held[name], m.mine[name] = append(m.held[name], l), i
	}
}

// renew tries the last lease, or one of long ago, which must be lost.
func (m *model) renew(i int, name string) {
	all := m.held[name]
	if len(all) == 0 {
		return
	}
	l := all[len(all)-1-m.random.IntN(min(3, len(all)))]
	renewed, err := m.engines[i].Renew(m.t.Context(), l)
	m.note("renew %d %s %d: %v", i, name, l.Token, err)
	last := m.last(name)
	ours := l.Token == last.Token && m.mine[name] == i && !last.Expires.IsZero()
	switch {
	case err == nil && !ours:
		m.t.Errorf("%d renewed the lease %+v; the last one is %+v of %d", i, l, last, m.mine[name])
	case err == nil && renewed.Token != l.Token:
		m.t.Errorf("a renewal of the token %d gave %d", l.Token, renewed.Token)
	case err == nil:
		m.held[name] = append(all, renewed)
	case !errors.Is(err, coord.ErrLost), ours && l.Holds(time.Now()):
		m.t.Errorf("%d renews %+v: %v", i, l, err)
	}
}

// release ends the last lease; where it is another member's, nothing may come of it.
func (m *model) release(i int, name string) {
	l := m.last(name)
	if l.Token == 0 {
		return
	}
	err := m.engines[i].Release(m.t.Context(), l)
	m.note("release %d %s %d: %v", i, name, l.Token, err)
	if err != nil {
		m.t.Errorf("releasing: %v", err)
	}
	if m.mine[name] == i {
		l.Expires = time.Time{}
		m.held[name] = append(m.held[name], l)
	}
}

// put writes with the token of a lease of now or before, upon what is known or upon something older.
func (m *model) put(i int, name string) {
	all := m.held[name]
	if len(all) == 0 {
		return
	}
	token := all[len(all)-1-m.random.IntN(min(3, len(all)))].Token
	old := m.records[name]
	revision := old.Revision
	if m.random.IntN(4) == 0 {
		revision = max(1, revision) - 1
	}
	r, err := m.engines[i].Put(m.t.Context(), name, revision, token, []byte(name))
	m.note("put %d %s %d %d: %v", i, name, revision, token, err)
	allowed := revision == old.Revision && token >= old.Token
	switch {
	case err == nil && !allowed:
		m.t.Errorf("a write upon revision %d with the token %d was accepted; the record is %+v", revision, token, old)
	case err == nil:
		m.records[name] = r
	case allowed || !errors.Is(err, coord.ErrStale):
		m.t.Errorf("a write upon revision %d with the token %d: %v; the record is %+v", revision, token, err, old)
	}
}

// testExclusion has members take, keep, and let go of one lease at once, each going by its own clock.
func testExclusion(t *testing.T, w World) {
	var all sync.WaitGroup
	var mu sync.Mutex
	acting, terms, tokens := "", 0, uint64(0)
	enter := func(member string, token uint64, still func() bool) {
		mu.Lock()
		defer mu.Unlock()
		if !still() {
			return // it was paused until its lease had ended
		}
		if acting != "" {
			t.Errorf("%s acts while %s does", member, acting)
		}
		if token <= tokens {
			t.Errorf("%s acts with the token %d after %d", member, token, tokens)
		}
		acting, tokens = member, token
		terms++
	}
	leave := func() {
		mu.Lock()
		defer mu.Unlock()
		acting = ""
	}
	for i := range 4 {
		member := fmt.Sprintf("m%d", i)
		e := w.Open(t, member)
		all.Go(func() {
			for range max(3, w.Steps/40) {
				l, err := e.Acquire(t.Context(), "shop")
				if err == nil {
					enter(member, l.Token, func() bool { return l.Holds(time.Now()) })
					time.Sleep(w.TTL / 50)
					leave() // before it lets go
					err = e.Release(t.Context(), l)
				}
				if err != nil && !errors.Is(err, coord.ErrHeld) {
					t.Error(err)
				}
				time.Sleep(w.TTL / 40)
			}
		})
	}
	all.Wait()
	if terms < 3 {
		t.Errorf("the lease was held %d times", terms)
	}
}
