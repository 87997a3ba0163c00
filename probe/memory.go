package probe

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
)

// Memory is what one probe leaves for the next, so that a steady state costs little: the
// verdicts on chains that were seen before, and the habits of servers. Probers with
// different settings must not share one. Its zero value is ready.
type Memory struct {
	MaxBytes int // of the verdicts that are kept, about; 0 is 256 MiB

	mu      sync.Mutex
	young   map[verdictKey]*verdict // used since the last change of generations
	old     map[verdictKey]*verdict // used before
	size    int                     // of the young ones
	habits  map[habitKey]habit
	issuers map[string]*x509.Certificate // by public key
}

const defaultMaxBytes = 256 << 20

func (m *Memory) maxBytes() int {
	if m.MaxBytes > 0 {
		return m.MaxBytes
	}
	return defaultMaxBytes
}

// maxHabits bounds the habits by about as many bytes. When it is reached, all are
// forgotten: they come back with the next probes.
func (m *Memory) maxHabits() int { return m.maxBytes() / 1024 }

// bounds of the intermediates that are kept.
const (
	maxIssuers    = 256
	maxIssuerSize = 8 << 10 // bytes
)

// keepIssuers keeps the intermediates of a chain parsed: crypto/tls parses no certificate
// anew that is still in use, and many servers have the same ones.
func (m *Memory) keepIssuers(chain []*x509.Certificate) {
	if m == nil || len(chain) < 2 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range chain[1:] {
		if len(c.Raw) > maxIssuerSize {
			continue
		}
		if m.issuers == nil || len(m.issuers) >= maxIssuers {
			m.issuers = map[string]*x509.Certificate{}
		}
		m.issuers[string(c.RawSubjectPublicKeyInfo)] = c
	}
}

// fullEvery is how long a server is asked with the fast offer only, give or take a half. Then
// it is asked with everything that there is to offer, so that what it could do remains known.
const fullEvery = time.Hour

// habit is what is known about an address.
type habit struct {
	tls   certmedic.TLSFacts // chosen from the full offer
	class certmedic.Variant  // type of key of the leaf that it prefers
	both  bool               // it has certificates with either type of key
	picky bool               // it refused the fast offer since the full one was made
	doubt bool               // it refused the other type of key once, after it had both
	full  time.Time          // when the full offer is made again
}

// due reports whether the full offer is to be made, and either type of key asked for.
func (h habit) due(now time.Time) bool { return !now.Before(h.full) }

type habitKey struct {
	address  netip.AddrPort
	name     string
	protocol string
	module   string
}

func habitKeyOf(t *target, address netip.AddrPort) habitKey {
	return habitKey{address: address, name: t.name, protocol: t.protocol(), module: t.endpoint.Module}
}

// habit returns what is known about an address. Without a memory everything is offered.
func (m *Memory) habit(t *target, address netip.AddrPort) habit {
	if m == nil {
		return habit{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.habits[habitKeyOf(t, address)]
}

// learn keeps what is known about an address.
func (m *Memory) learn(t *target, address netip.AddrPort, before, now habit) {
	if m == nil || before == now {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.habits == nil || len(m.habits) >= m.maxHabits() {
		m.habits = map[habitKey]habit{}
	}
	m.habits[habitKeyOf(t, address)] = now
}

// verdict returns a kept verdict that holds at that time, else nil. A clock that went back
// finds none.
func (m *Memory) verdict(key verdictKey, now time.Time) *verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, young := m.young[key]
	if v == nil {
		v = m.old[key]
	}
	if v == nil || now.Before(v.made) || !now.Before(v.until) {
		return nil
	}
	if !young {
		m.keepLocked(key, v)
	}
	return v
}

func (m *Memory) keep(key verdictKey, v *verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keepLocked(key, v)
}

// keepLocked keeps a verdict. When the young ones fill half of the bytes, they become the
// old ones, and what was not used for that long is forgotten.
func (m *Memory) keepLocked(key verdictKey, v *verdict) {
	if before := m.young[key]; before != nil {
		m.size -= before.size()
	}
	if m.size += v.size(); m.young == nil || m.size > m.maxBytes()/2 {
		m.old, m.young, m.size = m.young, map[verdictKey]*verdict{}, v.size()
	}
	delete(m.old, key)
	m.young[key] = v
}

// hasher hashes a sequence of parts, each with its length, so that no two sequences are
// taken for the same.
type hasher struct{ hash.Hash }

func (h *hasher) init() { h.Hash = sha256.New() }

func (h *hasher) bytes(part []byte) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(part)))
	_, _ = h.Write(length[:]) // a hash takes everything
	_, _ = h.Write(part)
}

// list adds parts and how many they are.
func (h *hasher) list(parts ...[]byte) {
	h.bytes(binary.BigEndian.AppendUint64(nil, uint64(len(parts))))
	for _, part := range parts {
		h.bytes(part)
	}
}

func (h *hasher) text(parts ...string) {
	for _, part := range parts {
		h.bytes([]byte(part))
	}
}

func (h *hasher) sum() verdictKey { return verdictKey(h.Sum(nil)) }
