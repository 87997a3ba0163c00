package watchdog

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// Verdict says in one word what is wrong at one place, or that nothing is.
type Verdict string

// The verdicts, from the best on.
const (
	VerdictServed      Verdict = "served"      // it serves the stored version
	VerdictNewer       Verdict = "newer"       // it serves one that was issued after the stored version
	VerdictUnknown     Verdict = "unknown"     // it cannot be told
	VerdictUnreachable Verdict = "unreachable" // it presents nothing
	VerdictStale       Verdict = "stale"       // it serves another version than the stored one
	VerdictBehind      Verdict = "behind"      // the stored version did not get there
	VerdictSplit       Verdict = "split"       // it serves now this version and now that: nodes behind it differ
)

// Verdicts lists the verdicts, from the best on.
func Verdicts() []Verdict {
	return []Verdict{VerdictServed, VerdictNewer, VerdictUnknown, VerdictUnreachable, VerdictStale, VerdictBehind, VerdictSplit}
}

// Status returns how bad that is, for people and for exit codes.
func (v Verdict) Status() certmedic.Status {
	switch v {
	case VerdictServed:
		return certmedic.StatusOK
	case VerdictNewer:
		return certmedic.StatusWarning
	case VerdictStale, VerdictBehind, VerdictSplit:
		return certmedic.StatusCritical
	default:
		return certmedic.StatusUnknown
	}
}

// MatrixRow says of one node, address and type of key which version is where.
type MatrixRow struct {
	Node     string `json:"node,omitempty"`     // empty: the address is of no node that is known
	Endpoint string `json:"endpoint,omitempty"` // empty: no address of the node is watched
	Address  string `json:"address,omitempty"`  // ip:port
	KeyType  string `json:"key_type,omitempty"` // rsa, ecdsa, or of others as in a certificate's facts

	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail,omitempty"` // why, where that does not follow from the rest

	Served  []ServedVersion `json:"served"`  // what is presented, the last first; several where it is split
	Samples int             `json:"samples"` // how many of the last probes that is by, those before the last change left out

	Stored  certmedic.Fingerprint `json:"stored,omitempty"`  // the version that has to be served here; empty: none is known
	Foreign bool                  `json:"foreign,omitempty"` // this type of key is of another certificate
	Of      string                `json:"of,omitempty"`      // its name; empty: it is not managed here

	Deployed []DeployedVersion `json:"deployed"` // what each destination on the node has
}

// ServedVersion is a version that an address presented.
type ServedVersion struct {
	Version certmedic.Fingerprint `json:"sha256"`
	Since   time.Time             `json:"since"` // as far as this process saw
	Count   int                   `json:"count"` // how many of the samples it is
}

// DeployedVersion is what one destination on a node has: on this host what its files hold, on
// others what certmedic installed and kept there last.
type DeployedVersion struct {
	Destination string                `json:"destination"`
	Known       bool                  `json:"known"`            // whether Version is
	Version     certmedic.Fingerprint `json:"sha256,omitempty"` // empty: none
	State       certmedic.NodeState   `json:"state,omitempty"`  // of the last roll-out; empty: there was none
	Since       time.Time             `json:"since,omitzero"`   // since when it is in this state
	Detail      string                `json:"detail,omitempty"` // why it is not done
}

// WorstOf returns how bad the worst row is. Rows of a type of key that belongs to nobody here do not count.
func WorstOf(rows []MatrixRow) certmedic.Status {
	status := certmedic.StatusOK
	for _, r := range rows {
		if !r.Foreign || r.Of != "" {
			status = status.Worse(r.Verdict.Status())
		}
	}
	return status
}

// Matrix returns where which version of a certificate is, from what is known, and whether there is such
// a certificate. What is only watched has no nodes, and what its addresses served is not remembered.
func (w *Watchdog) Matrix(certificate string) ([]MatrixRow, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok {
		return nil, false
	}
	return (&surveyor{w: w, now: time.Now()}).rows(e), true
}

// NodesRead judges a certificate, because what was done on its nodes is known anew.
func (w *Watchdog) NodesRead(certificate string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, ok := w.entries[certificate]; ok {
		w.judgeLocked(e, time.Now())
	}
}

// surveyor makes the matrices of certificates, one after the other, while the watchdog's lock is
// held.
type surveyor struct {
	w      *Watchdog
	now    time.Time
	owners map[certmedic.EndpointKey][]*entry // made when somebody asks
}

// survey adds the matrix to the view of a certificate that is managed.
func (s *surveyor) survey(e *entry, v *View) {
	if e.cert.Watched {
		return
	}
	v.Rows = s.rows(e)
	for _, r := range v.Rows {
		put(&v.Matrix, r.Verdict, v.Matrix[r.Verdict]+1)
	}
}

// rows returns the matrix of one certificate: the addresses of its endpoints, by node, and the nodes
// of which no address is watched.
func (s *surveyor) rows(e *entry) []MatrixRow {
	rows, met := []MatrixRow{}, map[string]bool{}
	deployed := s.deployed(e)
	for _, ep := range e.cert.Endpoints {
		for _, p := range s.places(e, ep) {
			p.row.Node = s.node(e, p.row.Address)
			at := p.row.Node
			if len(e.cert.Nodes) == 0 {
				at = certmedic.LocalHost // there is no other
			}
			met[at] = true
			if !p.row.Foreign {
				p.row.Deployed = append(p.row.Deployed, deployed[at]...)
			}
			p.judge(e, s.now)
			rows = append(rows, p.row)
		}
	}
	for _, node := range nodes(e.cert) {
		if !met[node] {
			rows = append(rows, unwatched(e, node, deployed[node]))
		}
	}
	s.sort(e, rows)
	return rows
}

// sort puts the rows of each node together, in the order of the configuration. Addresses that are of
// no node come last.
func (s *surveyor) sort(e *entry, rows []MatrixRow) {
	rank := func(r MatrixRow) int {
		if i := slices.Index(nodes(e.cert), r.Node); i >= 0 {
			return i
		}
		return len(e.cert.Nodes) + 1
	}
	slices.SortStableFunc(rows, func(a, b MatrixRow) int { return rank(a) - rank(b) })
}

// nodes names the hosts that a certificate is installed on.
func nodes(c *certmedic.Certificate) []string {
	here := func(d certmedic.Destination) bool { return !d.Push.Some() }
	if len(c.Nodes) == 0 && slices.ContainsFunc(c.Destinations, here) {
		return []string{certmedic.LocalHost}
	}
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// unwatched is the row of a node of which no address is watched: all that is known is what was done there.
func unwatched(e *entry, node string, deployed []DeployedVersion) MatrixRow {
	stored, _ := e.stored.Leaf()
	r := MatrixRow{
		Node: node, KeyType: keyType(stored), Stored: stored.SHA256, Served: []ServedVersion{}, Deployed: append([]DeployedVersion{}, deployed...),
		Verdict: VerdictUnknown, Detail: "none of its addresses is watched",
	}
	if d, ok := lacking(r.Deployed, r.Stored); ok {
		r.Verdict, r.Detail = VerdictBehind, d.Detail
	}
	return r
}

// lacking returns the first destination that is known to have another version than this one, or none.
func lacking(deployed []DeployedVersion, version certmedic.Fingerprint) (DeployedVersion, bool) {
	i := slices.IndexFunc(deployed, func(d DeployedVersion) bool { return d.Known && d.Version != version })
	if version == "" || i < 0 {
		return DeployedVersion{}, false
	}
	return deployed[i], true
}
