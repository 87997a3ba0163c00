package watchdog

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
)

// entry is the present picture of one certificate. The watchdog's lock guards it.
type entry struct {
	cert     *certmedic.Certificate           // of the options, never changed
	names    map[certmedic.EndpointKey]string // of the endpoints, each its own; nil: the address of the only one
	stored   *certmedic.Stored                // never nil, never changed
	problems []certmedic.Finding              // of the stored version's chain, dates and names
	kept     *watchedFile                     // what is watched in a file; nil: it is not, or was not read yet
	turns    time.Time                        // when a date of what is stored passes next, so that it is to be read again; zero: none will
	turning  bool                             // it has passed, and the source is being read
	files    []certmedic.KeptFile             // those of the version that was read last
	read     bool                             // the source was read at least once
	changed  time.Time                        // since when the stored version can be served: it appeared, or its deployment ended

	observed map[string]certmedic.Observation // by the endpoint's name, the last one
	drifting map[string]time.Time             // by place, since when it serves another version than the stored one
	tracks   map[spot]*track                  // of what is managed

	copies map[string]certmedic.Fingerprint // by path, the version that a destination's file holds; empty where it holds none

	waits  func(now time.Time, certificate string) (approval.Approval, bool) // the plan that waits for a person; nil: nobody is asked
	denied func(spki certmedic.Fingerprint) bool                             // whether a key is on the deny list; nil: no list is known
	proven certmedic.Fingerprint                                             // the version that was last said to be proven, see [Options]

	interval time.Duration      // between two probes of an endpoint; 0: what was observed never gets old
	errors   map[string]string  // by rule, why it could not be asked at the last judgement
	advice   advice             // of the CA
	budget   []ledger.Remaining // what is left of its limits; empty: they are not known
	attempt  *acmelog.Attempt   // how the client's log says that the last renewal went; nil: it does not tell

	loan *rollback.Loan // the rollback that stands; nil: none does

	supply *Supply // how its versions get from host to host; nil: they do not

	memory store.Memory
	state  rules.State
	action *certmedic.Action // the last one that was journaled
	ran    *certmedic.Action // the last one that was carried out, and not refused
	judged time.Time
	asked  *Ask // what is to be found out about it; nil: nothing
	calm   bool // no rule had anything to say at the last judgement, nor waits for anything

	rehearsals map[certmedic.ActionKind]*certmedic.Action // the last of each kind that says something

	reading, again bool // its source is being read; it changed meanwhile
	timer          *time.Timer
}

// place names an address of an endpoint.
func place(endpoint, address string) string { return endpoint + "|" + address }

func newEntry(c *certmedic.Certificate, m store.Memory, state rules.State) *entry {
	e := &entry{
		cert: c, names: names(c.Endpoints), memory: m, state: state,
		stored: &certmedic.Stored{}, observed: map[string]certmedic.Observation{},
	}
	maps.DeleteFunc(e.memory.Seen, func(at string, _ certmedic.CertFacts) bool {
		endpoint, _, _ := strings.Cut(at, "|")
		return !slices.ContainsFunc(c.Endpoints, func(ep certmedic.Endpoint) bool { return e.name(ep) == endpoint })
	})
	return e
}

// name names an endpoint, see [names].
func (e *entry) name(ep certmedic.Endpoint) string {
	if e.names == nil {
		return ep.Address
	}
	return e.names[ep.Key()]
}

// names names endpoints as shortly as tells them apart: by the address, and by the server
// name where others share the address, and by the protocol where others share both. A single
// endpoint, which most certificates that are watched have, needs no map for its address.
func names(endpoints []certmedic.Endpoint) map[certmedic.EndpointKey]string {
	if len(endpoints) < 2 {
		return nil
	}
	count := map[string]int{}
	long := func(ep certmedic.Endpoint) string { return ep.Address + "/" + ep.ServerName }
	for _, ep := range endpoints {
		count[ep.Address]++
		count[long(ep)]++
	}
	all := make(map[certmedic.EndpointKey]string, len(endpoints))
	for _, ep := range endpoints {
		switch {
		case count[ep.Address] == 1:
			all[ep.Key()] = ep.Address
		case count[long(ep)] == 1:
			all[ep.Key()] = long(ep)
		default:
			all[ep.Key()] = long(ep) + " (" + ep.Protocol + ")"
		}
	}
	return all
}

// endpoints returns the certificate's endpoints by their keys for the scheduler.
func (e *entry) endpoints() map[string]certmedic.Endpoint {
	all := make(map[string]certmedic.Endpoint, len(e.cert.Endpoints))
	for _, ep := range e.cert.Endpoints {
		all[key(e.cert.Name, e.name(ep))] = ep
	}
	return all
}

// keys names the certificate's endpoints for the scheduler.
func (e *entry) keys() []string {
	keys := make([]string, 0, len(e.cert.Endpoints))
	for _, ep := range e.cert.Endpoints {
		keys = append(keys, key(e.cert.Name, e.name(ep)))
	}
	return keys
}

// deploying reports whether a deployment is under way, or may be.
func (e *entry) deploying() bool { return e.stored.Lock.State == certmedic.LockHeld }

// How many versions of a certificate, and how many addresses that served one, are
// remembered.
const (
	maxKnown = 100
	maxBound = 1000
)

// hold takes a new reading of the source. It reports whether the version is another one
// than before, and whether the memory changed.
func (e *entry) hold(stored certmedic.Stored, problems []certmedic.Finding, now time.Time) (renewed, remember bool) {
	leaf, has := stored.Leaf()
	freed := e.deploying() && stored.Lock.State != certmedic.LockHeld
	if stored.Lock.State == certmedic.LockHeld {
		stored.Lock.Since = now
		if e.deploying() {
			stored.Lock.Since = e.stored.Lock.Since
		}
	}
	moved := has && e.memory.Stored != "" && e.memory.Stored != leaf.SHA256
	_, known := e.memory.Known[leaf.SHA256]
	renewed = moved && !known // one that was there before is put back, and not new
	if has && e.memory.Stored != leaf.SHA256 {
		e.memory.Stored, e.memory.Awaited, remember = leaf.SHA256, e.memory.Awaited || renewed, true
	}
	if moved || freed || !e.read {
		e.changed = now
	}
	e.stored, e.problems, e.read, e.turning = &stored, problems, true, false
	if has {
		e.files = stored.Kept
	}
	for _, v := range stored.Known {
		if _, ok := e.memory.Known[v]; !ok {
			put(&e.memory.Known, v, now)
			remember = true
		}
	}
	e.forgetOldest()
	for at := range e.memory.Seen {
		remember = e.bind(at, now) || remember
	}
	remember = e.learn() || remember
	e.compare(now)
	return renewed, remember
}

// forgetOldest keeps the memory within its bounds.
func (e *entry) forgetOldest() {
	dropOldest(e.memory.Known, maxKnown)
	dropOldest(e.memory.Bound, maxBound)
}

// put sets a value of a map, which is made when it is needed: most certificates that are
// watched never need some of theirs.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// dropOldest removes the oldest entries beyond the newest keep.
func dropOldest[K comparable](times map[K]time.Time, keep int) {
	for len(times) > keep {
		var oldest K
		first := true
		for k, t := range times {
			if first || t.Before(times[oldest]) {
				oldest, first = k, false
			}
		}
		delete(times, oldest)
	}
}

// see takes a new observation. It reports whether the memory changed.
func (e *entry) see(o certmedic.Observation) (remember bool) {
	name := e.name(o.Endpoint)
	e.observed[name] = o
	e.sample(name, o)
	for _, a := range e.speaking(o.Addresses) {
		leaf, ok := a.Leaf()
		if !ok {
			continue
		}
		at := place(name, a.Address)
		remember = remember || e.memory.Seen[at].SHA256 != leaf.SHA256
		put(&e.memory.Seen, at, leaf)
		remember = e.bind(at, o.Time) || remember
	}
	remember = e.forgetPlaces() || remember
	remember = e.learn() || remember
	e.compare(o.Time)
	return remember
}

// forgetPlaces drops what was seen at addresses that their endpoint no longer has, and
// reports whether there was any. An endpoint that does not resolve keeps them: its dates
// stay decidable.
func (e *entry) forgetPlaces() (forgot bool) {
	for at := range e.memory.Seen {
		endpoint, address, _ := strings.Cut(at, "|")
		o, ok := e.observed[endpoint]
		has := func(a certmedic.AddressObservation) bool {
			return a.Address == address || a.Stage == certmedic.ProbeResolve
		}
		if ok && !slices.ContainsFunc(o.Addresses, has) {
			delete(e.memory.Seen, at)
			forgot = true
		}
	}
	return forgot
}

// bind remembers that a place served a version of this very certificate.
func (e *entry) bind(at string, now time.Time) (remember bool) {
	_, known := e.memory.Known[e.memory.Seen[at].SHA256]
	_, bound := e.memory.Bound[at]
	if !known || bound {
		return false
	}
	put(&e.memory.Bound, at, now)
	e.forgetOldest()
	return true
}

// bound reports whether actions may be taken for an address: it served a version of this
// certificate before, or its endpoint is declared ours.
func (e *entry) bound(ep certmedic.Endpoint, address string) bool {
	_, ok := e.memory.Bound[place(e.name(ep), address)]
	return ok || ep.Owned
}

// compare brings up to date which places drift, and since when. An observation that is
// older than the stored version says nothing about it.
func (e *entry) compare(now time.Time) {
	leaf, ok := e.stored.Leaf()
	var drifting map[string]time.Time
	for name, o := range e.observed {
		for _, a := range e.speaking(o.Addresses) {
			at := place(name, a.Address)
			since, was := e.drifting[at]
			served, reached := a.Leaf()
			switch {
			case !ok:
			case !reached || e.deploying() || o.Time.Before(e.changed):
				if was {
					put(&drifting, at, since)
				}
			case served.SHA256 != leaf.SHA256 && !e.lends(served.SHA256):
				if !was {
					since = now
				}
				put(&drifting, at, since)
			}
		}
	}
	e.drifting = drifting
}

// stale reports whether a place was not observed since the stored version changed, or not for
// long.
func (e *entry) stale(at string, now time.Time) bool {
	endpoint, _, _ := strings.Cut(at, "|")
	return e.observed[endpoint].Time.Before(e.changed) || e.old(endpoint, now) != ""
}

// findings returns what is wrong with the source and with the version in it, each once.
func (e *entry) findings() []certmedic.Finding {
	all := append([]certmedic.Finding{}, e.stored.Findings...)
	for _, f := range e.problems {
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return all
}

// leafOfInterest returns the leaf that is served and ends first, else the stored one.
func (e *entry) leafOfInterest() certmedic.CertFacts {
	var first certmedic.CertFacts
	for _, leaf := range e.memory.Seen {
		if first.SHA256 == "" || leaf.NotAfter.Before(first.NotAfter) {
			first = leaf
		}
	}
	if first.SHA256 == "" {
		first, _ = e.stored.Leaf()
	}
	return first
}

// stage returns the last stage that the newest stored version reached.
func (e *entry) stage() certmedic.Stage {
	leaf, ok := e.stored.Leaf()
	switch {
	case e.deploying():
		return certmedic.StageDeploying
	case !ok:
		return certmedic.StageUnknown
	}
	places, current := 0, 0
	for _, served := range e.memory.Seen {
		places++
		if served.SHA256 == leaf.SHA256 {
			current++
		}
	}
	switch {
	case places > 0 && current == places:
		return certmedic.StageServed
	case current > 0:
		return certmedic.StageLoaded
	case e.installed():
		return certmedic.StageDeployed
	}
	return certmedic.StageStored
}

// arrived reports, once for each new version, that it is served everywhere.
func (e *entry) arrived(now time.Time) bool {
	if !e.memory.Awaited || e.unseen(now) != "" || e.stage() != certmedic.StageServed {
		return false
	}
	e.memory.Awaited = false
	return true
}

// acted takes an action that was journaled.
func (e *entry) acted(a certmedic.Action) {
	e.action = &a
	if a.Kind != certmedic.ActionRenew && a.Outcome.Kind != certmedic.OutcomeRefused && a.Outcome.Kind != certmedic.OutcomePlanned {
		e.ran = &a
	}
}

// installed reports whether every configured copy holds the stored version.
func (e *entry) installed() bool {
	leaf, _ := e.stored.Leaf()
	for _, version := range e.copies {
		if version != leaf.SHA256 {
			return false
		}
	}
	return len(e.copies) > 0
}
