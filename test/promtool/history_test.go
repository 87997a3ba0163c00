package promtool_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
)

const day = 24 * time.Hour

// trouble is what goes wrong with a certificate for a while.
type trouble string

const (
	none          trouble = ""
	notServed     trouble = "renewed, but not served"
	hookFailed    trouble = "renewed, but not served, and a hook failed"
	servedNewer   trouble = "served before it is stored"
	different     trouble = "different versions"
	deploying     trouble = "being deployed"
	unreachable   trouble = "unreachable"
	vanished      trouble = "gone from DNS"
	notProbed     trouble = "not probed"
	oldTLS        trouble = "an old version of TLS"
	servedFinding trouble = "something found where it is served"
	storedFinding trouble = "something found in its source"
	lent          trouble = "rolled back"
)

// life is one certificate of a history.
type life struct {
	rng       *rand.Rand
	sim       *watchdog.Simulation
	cert      certmedic.Certificate
	step      time.Duration
	lifetime  time.Duration
	renewAt   time.Duration // before the end of a version; negative: too late
	versions  int
	stored    certmedic.CertFacts
	served    map[string][]certmedic.CertFacts // by endpoint, of its addresses
	trouble   trouble
	troubled  int // steps that are left of it
	calm      int // steps until the next one may come
	at        int // the endpoint that has it
	code      certmedic.FindingCode
	lock      certmedic.LockState
	ages      []float64
	foundAt   time.Time // as of when findings are told; they stand still during a deployment
	fileOnly  bool
	endpoints []certmedic.Endpoint
}

// newLife returns a certificate with an age at which something is about to happen.
func newLife(rng *rand.Rand, i int, step, span time.Duration, engine *rules.Engine) *life {
	l := &life{
		rng: rng, step: step, served: map[string][]certmedic.CertFacts{}, lock: certmedic.LockFree,
		lifetime: []time.Duration{6 * day, 45 * day, 90 * day, 398 * day}[rng.IntN(4)],
	}
	l.cert = certmedic.Certificate{Name: fmt.Sprintf("shop%d", i), Source: certmedic.Source{Kind: certmedic.SourceCertbot}}
	kind := rng.IntN(5)
	l.cert.Watched, l.fileOnly = kind > 2, kind == 4
	endpoints := 1 + rng.IntN(2)
	switch {
	case l.fileOnly:
		l.cert.Name, l.cert.Source.Kind, endpoints = fmt.Sprintf("/etc/ssl/%d.pem", i), certmedic.SourceFiles, 0
	case l.cert.Watched:
		l.cert.Name, l.cert.Source.Kind, endpoints = fmt.Sprintf("shop%d-0.test:443", i), certmedic.SourceNone, 1
	}
	l.stored = l.version(l.firstEnd(span).Add(-l.lifetime))
	for n := range endpoints {
		ep := certmedic.Endpoint{Address: fmt.Sprintf("shop%d-%d.test:443", i, n), Protocol: "tls"}
		l.endpoints = append(l.endpoints, ep)
		l.served[ep.Address] = slices.Repeat([]certmedic.CertFacts{l.stored}, 1+rng.IntN(2))
	}
	l.cert.Endpoints = l.endpoints
	l.sim = watchdog.Simulate(l.cert, engine, step)
	if rng.IntN(3) == 0 {
		l.ages = []float64{0.6, 0.65, 0.7}
	}
	l.renewAt = time.Duration(float64(l.lifetime) * []float64{0.34, 0.3, 0.2, 0.05, -0.01, -1}[rng.IntN(6)])
	return l
}

// firstEnd returns an end of the first version that puts one of the moments at which rules
// begin to hold into the span. It is no round time, so that no step hits it exactly.
func (l *life) firstEnd(span time.Duration) time.Time {
	left := []time.Duration{0, l.lifetime / 10, l.lifetime / 4, l.lifetime * 5 / 12, l.lifetime / 3, 7 * day, 21 * day}[l.rng.IntN(7)]
	moment := time.Duration(l.rng.Int64N(int64(span)))
	return time.Unix(0, 0).Add(moment + left).Truncate(time.Minute).Add(time.Duration(1+l.rng.IntN(58)) * time.Second)
}

// version returns a version that begins then.
func (l *life) version(begin time.Time) certmedic.CertFacts {
	l.versions++
	return certmedic.CertFacts{
		Subject: "CN=" + l.cert.Name, Issuer: "CN=R11", Serial: fmt.Sprintf("%02x", l.versions), KeyType: "ec256",
		SHA256:    certmedic.Fingerprint(fmt.Sprintf("%064x", l.rng.Uint64())),
		NotBefore: begin.UTC(), NotAfter: begin.Add(l.lifetime).UTC(),
	}
}

// live moves the certificate on to now and shows the simulation what there is.
func (l *life) live(now time.Time) {
	switch {
	case l.troubled > 0:
		if l.troubled--; l.troubled == 0 {
			l.recover(now)
		}
	case l.calm > 0:
		l.calm--
	case now.After(l.stored.NotAfter.Add(-l.renewAt)):
		l.renew(now)
	case l.rng.IntN(12) == 0:
		l.begin(now)
	}
	if l.lock != certmedic.LockHeld {
		l.foundAt = now
	}
	l.show(now)
}

// renew issues a version, which is served at once or not.
func (l *life) renew(now time.Time) {
	l.stored = l.version(now.Add(-time.Duration(1+l.rng.IntN(3500)) * time.Second))
	l.renewAt = l.lifetime / 3
	if len(l.endpoints) > 0 && !l.cert.Watched && l.rng.IntN(2) == 0 {
		l.trouble, l.troubled = notServed, 1+l.rng.IntN(20)
		return
	}
	l.serve(l.stored)
}

// serve makes every address serve a version.
func (l *life) serve(v certmedic.CertFacts) {
	for _, leaves := range l.served {
		for i := range leaves {
			leaves[i] = v
		}
	}
}

// begin begins a trouble that this certificate can have. Only one is there at a time, and
// calm follows, because what cannot be seen keeps our incidents open, but not Prometheus's
// alerts.
func (l *life) begin(now time.Time) {
	choices := []trouble{unreachable, vanished, notProbed, oldTLS, servedFinding, servedFinding, different}
	pending := func(in certmedic.Incident) bool { return in.State == certmedic.StatePending }
	switch {
	case l.fileOnly || slices.ContainsFunc(l.sim.Open(), pending):
		return
	case !l.cert.Watched:
		choices = append(choices, notServed, hookFailed, servedNewer, deploying, storedFinding, storedFinding, lent)
	}
	l.trouble, l.troubled, l.at = choices[l.rng.IntN(len(choices))], 1+l.rng.IntN(24), l.rng.IntN(len(l.endpoints))
	leaves := l.served[l.endpoints[l.at].Address]
	switch l.trouble {
	case notServed, hookFailed:
		l.stored = l.version(now.Add(-time.Hour))
		if l.rng.IntN(2) == 0 {
			leaves[0] = l.stored
		}
		if l.trouble == hookFailed {
			l.act(now)
		}
	case servedNewer, different:
		leaves[0] = l.version(now.Add(-time.Hour))
	case deploying:
		l.lock = certmedic.LockHeld
	case lent:
		l.sim.Lend(now, &rollback.Loan{
			Certificate: l.cert.Name, Version: l.stored.SHA256, Instead: "another", Since: now,
			Until: now.Add(3 * day), NotBefore: l.stored.NotBefore, // far off: what becomes worse by a condition is not exported
		})
	case servedFinding:
		l.code = pick(l.rng, certmedic.Untrusted, certmedic.Revoked, certmedic.NameMismatch, certmedic.NotYetValid,
			certmedic.ChainExpiring, certmedic.MustStapleMissing, certmedic.WeakKey, certmedic.NoSCT, certmedic.ChainOrder)
	case storedFinding:
		l.code = pick(l.rng, certmedic.KeyMismatch, certmedic.LineageBroken, certmedic.FilePermissions, certmedic.IncompleteChain)
	}
}

// act journals an action whose hook failed.
func (l *life) act(now time.Time) {
	l.sim.Acted(certmedic.Action{
		Kind: certmedic.ActionRedeploy, Version: l.stored.SHA256, StartedAt: now, EndedAt: now,
		Outcome: certmedic.Outcome{Kind: certmedic.OutcomeFailed},
		Runs:    []certmedic.Run{{Name: "hook", Result: certmedic.RunExited, ExitCode: 1}},
	})
}

func pick(rng *rand.Rand, codes ...certmedic.FindingCode) certmedic.FindingCode {
	return codes[rng.IntN(len(codes))]
}

// recover ends a trouble.
func (l *life) recover(now time.Time) {
	switch l.trouble {
	case servedNewer:
		l.stored = l.served[l.endpoints[l.at].Address][0]
	case deploying:
		l.lock = certmedic.LockFree
	case lent:
		l.sim.Lend(now, nil)
	}
	l.serve(l.stored)
	l.trouble, l.calm = none, 3
}

// show shows the simulation the source and the endpoints.
func (l *life) show(now time.Time) {
	var problems []certmedic.Finding
	stored := certmedic.Stored{Time: now, Since: now, Path: l.cert.Name, Version: "1", Lock: certmedic.Lock{State: l.lock}, Ages: l.ages}
	if l.cert.Source.Kind != certmedic.SourceNone {
		stored.Chain = []certmedic.CertFacts{l.stored}
		if !l.fileOnly && l.foundAt.After(l.stored.NotAfter) {
			problems = append(problems, certmedic.NewFinding(certmedic.Expired, ""))
		}
		if l.trouble == storedFinding {
			stored.Findings = append(stored.Findings, certmedic.NewFinding(l.code, ""))
		}
		l.sim.Store(now, stored, problems)
	}
	for i, ep := range l.endpoints {
		if l.trouble != notProbed || i != l.at {
			l.sim.Observe(l.observe(now, i, ep))
		}
	}
}

// observe returns what a probe of an endpoint finds.
func (l *life) observe(now time.Time, i int, ep certmedic.Endpoint) certmedic.Observation {
	o := certmedic.Observation{Endpoint: ep, Time: now}
	here := i == l.at
	if here && l.trouble == vanished {
		o.Addresses = []certmedic.AddressObservation{unseen(ep.Address, certmedic.ProbeResolve, certmedic.DNSFailed)}
		return o
	}
	versions := map[certmedic.Fingerprint]bool{}
	for n, leaf := range l.served[ep.Address] {
		address := fmt.Sprintf("192.0.2.%d:443", 10*i+n)
		if here && l.trouble == unreachable && (n == 0 || l.code == certmedic.Untrusted) {
			o.Addresses = append(o.Addresses, unseen(address, certmedic.ProbeConnect, certmedic.Timeout))
			continue
		}
		versions[leaf.SHA256] = true
		o.Addresses = append(o.Addresses, l.handshake(address, leaf, here))
	}
	if len(versions) > 1 {
		o.Findings = append(o.Findings, certmedic.NewFinding(certmedic.SplitServing, ""))
	}
	return o
}

func (l *life) handshake(address string, leaf certmedic.CertFacts, here bool) certmedic.AddressObservation {
	a := certmedic.AddressObservation{
		Address: address, Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{leaf}, TLS: &certmedic.TLSFacts{Version: "TLS 1.3"},
	}
	if l.foundAt.After(leaf.NotAfter) {
		a.Findings = append(a.Findings, certmedic.NewFinding(certmedic.Expired, ""))
	}
	switch {
	case here && l.trouble == oldTLS:
		a.TLS.Version = "TLS 1.1"
	case here && l.trouble == servedFinding:
		a.Findings = append(a.Findings, certmedic.NewFinding(l.code, ""))
	}
	return a
}

func unseen(address string, stage certmedic.ProbeStage, code certmedic.FindingCode) certmedic.AddressObservation {
	return certmedic.AddressObservation{
		Address: address, Stage: stage, Error: &certmedic.ProbeError{Reason: code, Gone: code == certmedic.DNSFailed},
		Findings: []certmedic.Finding{certmedic.NewFinding(code, "")},
	}
}
