package certmedic

import "time"

// ProbeStage says how far a probe got.
type ProbeStage string

// The stages of a probe, in order.
const (
	ProbeResolve   ProbeStage = "resolve"
	ProbeConnect   ProbeStage = "connect"
	ProbeStartTLS  ProbeStage = "starttls"
	ProbeHandshake ProbeStage = "handshake"
	ProbeDone      ProbeStage = "done"
)

// Observation holds the facts of one probe of one endpoint. It never holds a verdict:
// whether the facts are good enough is for rules to say.
type Observation struct {
	Endpoint  Endpoint
	Time      time.Time     // when the probe ended
	Duration  time.Duration // of the whole probe
	Resolve   time.Duration // of the name's resolution; 0 for an IP address
	Addresses []AddressObservation
	Findings  []Finding // of the endpoint as a whole, such as split_serving
}

// AddressObservation holds the facts of one handshake with one address. When the name
// did not resolve there is a single one, at stage resolve, whose Address is the
// endpoint's own.
type AddressObservation struct {
	Address    string        `json:"address"` // ip:port; the path for a file
	ServerName string        `json:"server_name"`
	Protocol   string        `json:"protocol"`
	Stage      ProbeStage    `json:"stage"`
	Error      *ProbeError   `json:"error,omitempty"`
	TLS        *TLSFacts     `json:"tls,omitempty"`
	Chain      []CertFacts   `json:"chain"` // as presented, leaf first
	Findings   []Finding     `json:"findings"`
	Connect    time.Duration `json:"-"`
	Handshake  time.Duration `json:"-"`

	// ChainNotAfter is the end of the verified path that lasts longest, zero where no
	// path verified.
	ChainNotAfter time.Time `json:"-"`
}

// Leaf returns the facts of the presented leaf, and whether one was presented.
func (a AddressObservation) Leaf() (CertFacts, bool) { return leaf(a.Chain) }

// Reached reports whether a certificate was presented, whatever is wrong with it.
func (a AddressObservation) Reached() bool { return len(a.Chain) > 0 }

// ProbeError says why a probe stopped at its stage.
type ProbeError struct {
	Reason FindingCode `json:"reason"` // one of the codes of severity unknown
	Detail string      `json:"detail"`
}

// TLSFacts are the parameters of an established connection.
type TLSFacts struct {
	Version string `json:"version"` // such as "TLS 1.3"
	Cipher  string `json:"cipher"`
	Group   string `json:"group"` // key exchange; empty where TLS does not tell
}
