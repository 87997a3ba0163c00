package probe

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"time"
	"unique"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/aia"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/records"
	"github.com/certmedic/certmedic/probe/revocation"
)

// verdict is everything that follows from what was presented. It is shared by the
// observations that it is good for, and never changed.
type verdict struct {
	chain         []certmedic.CertFacts
	findings      []certmedic.Finding
	chainNotAfter time.Time
	ocsp          *certmedic.OCSPFacts
	scts          []certmedic.SCTFacts
	made          time.Time
	until         time.Time // up to when it stays the same; zero: it does not
}

// size is about how many bytes the verdict takes.
func (v *verdict) size() int {
	size := 512 + 128*len(v.scts)
	for i := range v.chain {
		c := &v.chain[i]
		size += 320 + len(c.Subject) + len(c.Issuer)
		for _, name := range c.DNSNames {
			size += 16 + len(name)
		}
		size += 32 * len(c.IPAddresses)
	}
	for _, f := range v.findings {
		size += 48 + len(f.Detail)
	}
	return size
}

// verdict returns what follows from what a target presented for a name, from memory where
// nothing changed since it was made.
func (p *Prober) verdict(ctx context.Context, t *target, name string, result live.Result) *verdict {
	now := p.now()
	if p.Memory == nil {
		return p.judge(ctx, t, name, result, now)
	}
	key := keyOf(t, name, result)
	if v := p.Memory.verdict(key, now); v != nil {
		return v
	}
	v := p.judge(ctx, t, name, result, now)
	if now.Before(v.until) && ctx.Err() == nil {
		p.Memory.keep(key, v)
		p.Memory.keepIssuers(result.Certs)
	}
	return v
}

// verdictKey identifies what a verdict is about.
type verdictKey [sha256.Size]byte

// keyOf returns the hash of everything that a verdict depends on but time, the network and
// the prober's own settings.
func keyOf(t *target, name string, result live.Result) verdictKey {
	var h hasher
	h.init()
	h.text(t.endpoint.Address, t.endpoint.Module, t.protocol(), t.name, name)
	if result.TLS != nil {
		h.text("handshaken")
	}
	h.list()
	for _, pin := range t.endpoint.Pins {
		h.text(pin)
	}
	h.list()
	for _, c := range result.Certs {
		h.bytes(c.Raw)
	}
	h.list(result.Staple)
	h.list(result.SCTs...)
	return h.sum()
}

// judge has everybody say what is wrong with what was presented.
func (p *Prober) judge(ctx context.Context, t *target, name string, result live.Result, now time.Time) *verdict {
	v := &verdict{chain: facts(result.Certs), findings: []certmedic.Finding{}, made: now}
	roots := p.Roots
	if t.module.Roots != nil {
		roots = t.module.Roots
	}
	judged := inspect.Chain(result.Certs, inspect.Options{
		Now: now, ServerName: name, Roots: roots, Warn: p.Warn, Crit: p.Crit, Pins: t.endpoint.Pins,
		Public: p.Public, SCTs: result.SCTs,
	})
	v.findings, v.chainNotAfter, v.until = append(v.findings, judged.Findings...), judged.ChainNotAfter, judged.Until
	if t.module.SkipVerify {
		v.drop(certmedic.SelfSigned, certmedic.Untrusted, certmedic.IncompleteChain, certmedic.NameMismatch, certmedic.WrongUsage, certmedic.NameConstraint)
	}
	p.addIssuers(ctx, v, result.Certs, now)
	stapledSCTs := p.addRevocation(ctx, v, judged.Chains, result, now)
	p.addRecords(ctx, v, t, records.Query{Presented: result.Certs, Paths: judged.Chains, Now: now})
	v.scts = inspect.SCTs(result.Certs[0], result.SCTs, stapledSCTs)
	if len(stapledSCTs) > 0 {
		v.drop(certmedic.NoSCT)
	}
	return v
}

// Inspect says of certificates that are not served, leaf first, what a probe would say of
// them for the name; an empty name is not checked. The observation has no address.
func (p *Prober) Inspect(ctx context.Context, name string, certs []*x509.Certificate) certmedic.AddressObservation {
	t := &target{name: name}
	a := t.failed("", nil)
	if len(certs) == 0 {
		return a
	}
	v := p.judge(ctx, t, name, live.Result{Certs: certs}, p.now())
	a.Chain, a.Findings, a.ChainNotAfter, a.OCSP, a.SCTs = v.chain, v.findings, v.chainNotAfter, v.ocsp, v.scts
	return a
}

// maxPatience is how long a probe that will be repeated waits for third parties. What comes
// later is there for the next probe, and what was served is known meanwhile.
const maxPatience = 2 * time.Second

// issuerRetry is when issuers are looked for again that could not be fetched.
const issuerRetry = time.Minute

func (p *Prober) patience() time.Duration {
	if p.Memory == nil {
		return p.Timeout
	}
	if p.Timeout == 0 {
		return maxPatience
	}
	return min(p.Timeout, maxPatience)
}

// addIssuers says where the issuer is that an incomplete chain lacks.
func (p *Prober) addIssuers(ctx context.Context, v *verdict, presented []*x509.Certificate, now time.Time) {
	i := slices.IndexFunc(v.findings, func(f certmedic.Finding) bool { return f.Code == certmedic.IncompleteChain })
	if i < 0 || p.Issuers == nil {
		return
	}
	inTime, cancel := bound(ctx, p.patience())
	defer cancel()
	missing, from, err := p.Issuers(inTime, presented, now)
	switch {
	case len(missing) > 0:
		v.findings[i].Detail = aia.Sentence(missing, from)
	case err != nil:
		v.findings[i].Detail += "; it could not be fetched either: " + err.Error()
		v.limit(now.Add(issuerRetry))
	}
}

// maxPaths is how many paths are looked up, where certificates above the leaf were revoked:
// clients take another one then.
const maxPaths = 4

// addRevocation adds what is known about revocation, and returns the certificate
// timestamps of the OCSP response.
func (p *Prober) addRevocation(ctx context.Context, v *verdict, paths [][]*x509.Certificate, result live.Result, now time.Time) [][]byte {
	if p.Revocation == nil || len(paths) == 0 {
		return nil
	}
	inTime, cancel := bound(ctx, p.patience())
	defer cancel()
	var r revocation.Result
	for i, path := range paths[:min(len(paths), maxPaths)] {
		other := p.Revocation(inTime, revocation.Query{
			Path: path, Staple: result.Staple, MustStaple: result.TLS != nil && inspect.MustStaple(path[0]), Now: now,
		})
		revoked := certmedic.HasFinding(other.Findings, certmedic.Revoked)
		if i == 0 || !revoked {
			r = other
		}
		v.limit(other.Until)
		if !revoked {
			break
		}
	}
	v.findings = append(v.findings, r.Findings...)
	v.ocsp = r.OCSP
	v.limit(r.Until)
	return r.SCTs
}

// addRecords adds what DNS says. A key that DNS vouches for needs no other trust.
func (p *Prober) addRecords(ctx context.Context, v *verdict, t *target, q records.Query) {
	if p.Records == nil || !isName(t.host) {
		return
	}
	inTime, cancel := bound(ctx, p.patience())
	defer cancel()
	q.Host, q.Port, q.Names, q.Transport = t.host, t.port, []string{t.name}, "tcp"
	if t.quic() {
		q.Transport = "udp"
	}
	r := p.Records(inTime, q)
	if r.Vouched && t.protocol() == "smtp" {
		v.drop(certmedic.SelfSigned, certmedic.Untrusted, certmedic.IncompleteChain, certmedic.NameMismatch)
	}
	v.findings = append(v.findings, r.Findings...)
	v.limit(r.Until)
}

// limit shortens how long the verdict stays the same. What does not change with time, until
// being zero, limits nothing.
func (v *verdict) limit(until time.Time) {
	if !until.IsZero() && until.Before(v.until) {
		v.until = until
	}
}

func (v *verdict) drop(codes ...certmedic.FindingCode) {
	v.findings = slices.DeleteFunc(v.findings, func(f certmedic.Finding) bool { return slices.Contains(codes, f.Code) })
}

// facts returns the facts of a presented chain. What many chains have in common is held
// once.
func facts(certs []*x509.Certificate) []certmedic.CertFacts {
	chain := make([]certmedic.CertFacts, 0, len(certs))
	for i, c := range certs {
		f := inspect.Facts(c)
		f.Issuer, f.KeyType = shared(f.Issuer), shared(f.KeyType)
		if i > 0 {
			f.Subject, f.Serial = shared(f.Subject), shared(f.Serial)
			f.SHA256, f.SPKISHA256 = shared(f.SHA256), shared(f.SPKISHA256)
		}
		chain = append(chain, f)
	}
	return chain
}

func shared[T ~string](s T) T { return unique.Make(s).Value() }
