package check

import (
	"context"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
)

// Checker checks targets. Any number of goroutines may share one that is no longer
// changed.
type Checker struct {
	probe.Prober // how endpoints are probed, and what chains are judged against

	Reader   disk.Reader           // how files are read
	OwnRoots bool                  // the prober's roots were chosen for these targets: the certificates of clients have to lead to them, too
	Name     string                // DNS name or IP address that has to match, also sent as SNI; empty: the target's host
	Endpoint certmedic.Endpoint    // what all endpoints have in common: Family, WithoutSNI, Pins
	Key      certmedic.Fingerprint // of the key that has to belong to the leaf; empty: any
	Stored   *Stored               // what has to be served; nil: anything
	Parallel int                   // how many targets [Checker.Run] checks at a time; 0 is 1

	// Done is called with each result as soon as it is there, in no order and from many
	// goroutines. Nil is not called.
	Done func(Result)
}

// Result is what a check says about one target. It is the form of `check --json`.
type Result struct {
	Target    string                         `json:"target"`
	Time      time.Time                      `json:"time"` // when the target was looked at, UTC
	Status    certmedic.Status               `json:"status"`
	Addresses []certmedic.AddressObservation `json:"addresses"` // a file is one, whose address is its path
	Stored    *Stored                        `json:"stored,omitempty"`
	Findings  []certmedic.Finding            `json:"findings"` // of the target as a whole, such as drift
}

// Check checks one target. A certbot tree has a result for each of its lineages, every
// other target has one.
func (c *Checker) Check(ctx context.Context, text string) []Result {
	var results []Result
	target, err := ParseTarget(text)
	switch {
	case err != nil:
		results = []Result{undecided(text, certmedic.DNSFailed, err.Error())}
	case target.Path:
		results = c.checkPath(ctx, text)
	default:
		results = []Result{c.checkEndpoint(ctx, target)}
	}
	for i := range results {
		c.compare(&results[i])
		if c.Done != nil {
			c.Done(results[i])
		}
	}
	return results
}

// compare adds what follows from the key and from the stored version, and decides.
func (c *Checker) compare(r *Result) {
	for i := range r.Addresses {
		a := &r.Addresses[i]
		leaf, ok := a.Leaf()
		if ok && c.Key != "" && leaf.SPKISHA256 != c.Key && !certmedic.HasFinding(a.Findings, certmedic.KeyMismatch) {
			a.Findings = append(a.Findings, certmedic.NewFinding(certmedic.KeyMismatch, "the leaf is for another private key than the given one"))
		}
	}
	if c.Stored != nil {
		r.Stored = c.Stored
		r.Findings = append(r.Findings, c.Stored.findings...)
		r.Findings = append(r.Findings, inspect.Drift(r.Addresses, c.Stored.Chain[0])...)
	}
	r.Status = certmedic.StatusOf(r.Findings...)
	for _, a := range r.Addresses {
		r.Status = r.Status.Worse(certmedic.StatusOf(a.Findings...))
	}
}

// at returns the time that dates are compared with.
func (c *Checker) at() time.Time {
	if c.At.IsZero() {
		return time.Now()
	}
	return c.At
}

// undecided is the result for a target about which nothing could be found out.
func undecided(target string, reason certmedic.FindingCode, detail string) Result {
	return newResult(target, certmedic.AddressObservation{
		Address: target, Stage: certmedic.ProbeResolve,
		Error:    &certmedic.ProbeError{Reason: reason, Detail: detail},
		Chain:    []certmedic.CertFacts{},
		Findings: []certmedic.Finding{certmedic.NewFinding(reason, detail)},
	})
}

func newResult(target string, addresses ...certmedic.AddressObservation) Result {
	return Result{
		Target: target, Time: now(),
		Addresses: addresses, Findings: []certmedic.Finding{},
	}
}

// now is the present time in the precision of results.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
