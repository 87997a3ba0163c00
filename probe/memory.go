package probe

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"hash"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
)

// Memory is what one probe leaves for the next, so that a steady state costs little: the
// verdicts on chains that were seen before, and the habits of servers. Probers with
// different settings must not share one. Its zero value is ready.
type Memory struct {
	mu       sync.Mutex
	verdicts map[verdictKey]*verdict
	habits   map[habitKey]habit
	issuers  map[string]*x509.Certificate // by public key
}

// maxRemembered bounds the verdicts and the habits that are kept. When it is reached, all
// are forgotten: they come back with the next probes.
const maxRemembered = 200_000

// maxIssuers bounds how many intermediates are kept.
const maxIssuers = 256

// keepIssuers keeps the intermediates of a chain parsed: crypto/tls parses no certificate
// anew that is still in use, and many servers have the same ones.
func (m *Memory) keepIssuers(chain []*x509.Certificate) {
	if m == nil || len(chain) < 2 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range chain[1:] {
		if m.issuers == nil || len(m.issuers) >= maxIssuers {
			m.issuers = map[string]*x509.Certificate{}
		}
		m.issuers[string(c.RawSubjectPublicKeyInfo)] = c
	}
}

// fullEvery is how long a server is asked with the fast offer only. Then it is asked with
// everything that there is to offer, so that what it could do remains known.
const fullEvery = time.Hour

// habit is what is known about an address.
type habit struct {
	group string    // of key exchange, chosen from the full offer
	both  bool      // it has certificates with either type of key
	full  time.Time // when the full offer is made again
	fast  bool      // that time has not come
}

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
	h := m.habits[habitKeyOf(t, address)]
	h.fast = time.Now().Before(h.full)
	return h
}

// learn keeps what a probe showed about an address. One that failed is asked with the full
// offer again.
func (m *Memory) learn(t *target, address netip.AddrPort, h habit, o certmedic.AddressObservation) {
	if m == nil || (h.fast && o.Reached()) {
		return
	}
	if !o.Reached() || o.TLS == nil {
		h.full = time.Time{}
	} else {
		h.group = o.TLS.Group
		h.full = time.Now().Add(fullEvery/2 + rand.N(fullEvery))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.habits == nil || len(m.habits) >= maxRemembered {
		m.habits = map[habitKey]habit{}
	}
	m.habits[habitKeyOf(t, address)] = h
}

// verdict returns a kept verdict that still holds, else nil.
func (m *Memory) verdict(key verdictKey, now time.Time) *verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.verdicts[key]
	if v == nil || !now.Before(v.until) {
		return nil
	}
	return v
}

func (m *Memory) keep(key verdictKey, v *verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.verdicts == nil || len(m.verdicts) >= maxRemembered {
		m.verdicts = map[verdictKey]*verdict{}
	}
	m.verdicts[key] = v
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

func (h *hasher) text(parts ...string) {
	for _, part := range parts {
		h.bytes([]byte(part))
	}
	h.bytes(nil)
}

func (h *hasher) sum() verdictKey { return verdictKey(h.Sum(nil)) }
