package scenario

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/ledger"
)

// world is what is true in a test at a moment, and what certmedic saw of it.
type world struct {
	start     time.Time
	now       time.Time     // true time
	skew      time.Duration // how far certmedic's clock is ahead of it
	certs     []*cert
	endpoints []*endpoint
	taken     map[string]bool // names and addresses of endpoints
	versions  map[string]*version
	own       map[string]versionForm         // what the story says about versions that are not issued yet
	denied    map[certmedic.Fingerprint]bool // keys on the deny list
	fleet     overrides
}

// cert is a certificate of the world.
type cert struct {
	config   certmedic.Certificate
	form     certForm
	stored   *version // nil: nothing
	ages     []float64
	issued   []certmedic.Issued // into its source
	findings words              // of what is stored, besides the version's own
	lock     certmedic.LockState
	files    fileModes
	facts    overrides
	serves   []*endpoint

	told bool // the story says itself what is stored
	kept int  // the number of the latest version that is stored because it is served

	walker *walker
	unread bool                              // its source changed, or was never read
	dates  []time.Time                       // of which the CA spoke
	news   []func(p *picture, now time.Time) // what certmedic is told besides
}

// endpoint is an endpoint of the world.
type endpoint struct {
	short     string // such as web-007
	config    certmedic.Endpoint
	of        *cert
	addresses []string   // ip:port
	serves    []*version // by each address, or by all
	findings  words
	tls       string
	failing   []string  // by address, the reason; "" where it answers
	gap       time.Time // since when it has not been probed; zero: it is
	gone      bool
	facts     overrides
}

// version returns a version by its name, and issues it where it is mentioned first.
func (w *world) version(name string) *version {
	if v, ok := w.versions[name]; ok {
		return v
	}
	of := w.named(name)
	v := issue(name, of.form.Version.later(w.own[name]), w.now)
	w.versions[name] = v
	return v
}

// isDenied reports whether a key is on the deny list.
func (w *world) isDenied(spki certmedic.Fingerprint) bool { return w.denied[spki] }

// named returns the certificate that a version's name begins with: wild2 is one of wild.
// It returns nil where there is none.
func (w *world) named(version string) *cert {
	for _, c := range w.certs {
		if c.config.Name == version {
			return c
		}
		if number, ok := strings.CutPrefix(version, c.config.Name); ok && isNumber(number) {
			return c
		}
	}
	return nil
}

func isNumber(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 1
}

// cert returns a certificate by its name, or nil.
func (w *world) cert(name string) *cert {
	i := slices.IndexFunc(w.certs, func(c *cert) bool { return c.config.Name == name })
	if i < 0 {
		return nil
	}
	return w.certs[i]
}

// wall is what certmedic's clock shows at a time.
func (w *world) wall(t time.Time) time.Time { return t.Add(w.skew) }

// inPlay yields the versions that are stored, or served by the certificate's endpoints.
func (c *cert) inPlay() iter.Seq[*version] {
	return func(yield func(*version) bool) {
		if c.stored != nil && !yield(c.stored) {
			return
		}
		for _, e := range c.serves {
			for _, v := range e.serves {
				if v != nil && !yield(v) {
					return
				}
			}
		}
	}
}

// store has a certificate's source hold another version; nil: nothing that can be read.
func (c *cert) store(v *version) {
	if before := c.stored; before != nil && v != nil && v != before && before.facts.Lifetime() > 0 {
		c.ages = append(slices.Clone(c.ages), float64(v.facts.NotBefore.Sub(before.facts.NotBefore))/float64(before.facts.Lifetime()))
	}
	c.stored = v
	c.archive(v)
}

// archive remembers that a version was issued; one that is stored once more was not issued again.
func (c *cert) archive(v *version) {
	if v == nil || slices.ContainsFunc(c.issued, func(i certmedic.Issued) bool { return i.Version == v.facts.SHA256 }) {
		return
	}
	c.issued = append(slices.Clip(c.issued), certmedic.Issued{Version: v.facts.SHA256, NotBefore: v.facts.NotBefore, Names: c.names(v)})
}

// names returns the names of a version; where the story says none, it has the certificate's.
func (c *cert) names(v *version) []string {
	if len(v.facts.DNSNames) == 0 {
		return []string{c.config.Name}
	}
	return v.facts.DNSNames
}

// defaultDirectory is that of Let's Encrypt, which issues what a story names no issuer of.
const defaultDirectory = "https://acme-v02.api.letsencrypt.org/directory"

// budget returns what is left of the limits of the CA, by what it issued into the source.
func (c *cert) budget(now time.Time) []ledger.Remaining {
	if c.stored == nil || c.stored.form.Issuer != "" {
		return nil
	}
	return ledger.Balance(now, nil, ledger.Order{Directory: defaultDirectory, Names: c.names(c.stored), Issued: c.issued})
}

// reading returns what reading the certificate's source gives, and what is wrong with the
// version in it.
func (c *cert) reading(now time.Time) (certmedic.Stored, []certmedic.Finding) {
	s := certmedic.Stored{
		Time: now, Path: "/etc/letsencrypt/live/" + c.config.Name + "/fullchain.pem", Ages: c.ages,
		Lock: certmedic.Lock{State: c.lock, Since: now}, Findings: findings(c.findings),
	}
	for path, mode := range c.files {
		bits, _ := strconv.ParseUint(mode, 8, 32)
		s.Kept = append(s.Kept, certmedic.KeptFile{Path: path, Mode: uint32(bits)})
	}
	slices.SortFunc(s.Kept, func(a, b certmedic.KeptFile) int { return strings.Compare(a.Path, b.Path) })
	if v := c.stored; v != nil {
		s.Chain, s.Names, s.Version = []certmedic.CertFacts{v.facts}, v.form.Names, v.facts.SHA256.Short()
		s.Known, s.Since = []certmedic.Fingerprint{v.facts.SHA256}, v.facts.NotBefore
		s.Findings = append(s.Findings, findings(v.form.StoredFindings)...)
	}
	return s, c.problems(s, now)
}

// problems returns the critical findings of what is stored, which no installation may have.
func (c *cert) problems(s certmedic.Stored, now time.Time) []certmedic.Finding {
	problems := slices.DeleteFunc(slices.Clone(s.Findings), func(f certmedic.Finding) bool { return f.Severity != certmedic.SeverityCritical })
	if c.stored == nil {
		return problems
	}
	problems = append(problems, c.stored.dated(now)...)
	for _, ep := range c.config.Endpoints {
		problems = append(problems, c.stored.uncovered(ep)...)
	}
	return problems
}

// observe returns what a probe of the endpoint sees at a time of certmedic's clock.
func (e *endpoint) observe(now time.Time) certmedic.Observation {
	o := certmedic.Observation{Endpoint: e.config, Time: now, Findings: []certmedic.Finding{}}
	if why := e.failing[0]; why == string(certmedic.DNSFailed) || why == reasonGone {
		failed := e.failed(e.config.Address, certmedic.ProbeResolve, string(certmedic.DNSFailed))
		failed.Error.Gone = why == reasonGone
		o.Addresses = []certmedic.AddressObservation{failed}
		return o
	}
	versions := map[certmedic.Fingerprint]bool{}
	for i, at := range e.addresses {
		v := e.serves[min(i, len(e.serves)-1)]
		switch why := e.failing[i]; {
		case why != "":
			o.Addresses = append(o.Addresses, e.failed(at, stages[certmedic.FindingCode(why)], why))
		case v == nil:
			o.Addresses = append(o.Addresses, e.failed(at, certmedic.ProbeHandshake, string(certmedic.HandshakeFailed)))
		default:
			versions[v.facts.SHA256] = true
			o.Addresses = append(o.Addresses, e.answer(at, v, now))
		}
	}
	if len(versions) > 1 {
		detail := fmt.Sprintf("the addresses serve %d versions", len(versions))
		o.Findings = append(o.Findings, certmedic.NewFinding(certmedic.SplitServing, detail))
	}
	return o
}

// reasonGone is the error of an endpoint of whose name DNS says that it is gone.
const reasonGone = "gone"

// stages says how far probes get that fail for a reason.
var stages = map[certmedic.FindingCode]certmedic.ProbeStage{
	certmedic.DNSFailed: certmedic.ProbeResolve, reasonGone: certmedic.ProbeResolve,
	certmedic.Unreachable: certmedic.ProbeConnect, certmedic.Timeout: certmedic.ProbeConnect,
	certmedic.StartTLSFailed: certmedic.ProbeStartTLS, certmedic.HandshakeFailed: certmedic.ProbeHandshake,
}

func (e *endpoint) failed(at string, stage certmedic.ProbeStage, why string) certmedic.AddressObservation {
	return certmedic.AddressObservation{
		Address: at, Protocol: e.config.Protocol, Stage: stage, Findings: findings(words{why}),
		Error: &certmedic.ProbeError{Reason: certmedic.FindingCode(why), Detail: "so the story says"},
	}
}

func (e *endpoint) answer(at string, v *version, now time.Time) certmedic.AddressObservation {
	found := slices.Concat(findings(v.form.Findings), findings(e.findings), v.dated(now), v.uncovered(e.config))
	return certmedic.AddressObservation{
		Address: at, Protocol: e.config.Protocol, Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{v.facts},
		TLS: &certmedic.TLSFacts{Version: e.tls}, Findings: found,
	}
}
