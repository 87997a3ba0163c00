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
	Variant    Variant       `json:"variant,omitempty"` // how the address was asked, where not as usual
	Protocol   string        `json:"protocol"`
	Stage      ProbeStage    `json:"stage"`
	Error      *ProbeError   `json:"error,omitempty"`
	TLS        *TLSFacts     `json:"tls,omitempty"`
	Chain      []CertFacts   `json:"chain"` // as presented, leaf first
	Findings   []Finding     `json:"findings"`
	HTTP       *HTTPFacts    `json:"http,omitempty"`
	OCSP       *OCSPFacts    `json:"ocsp,omitempty"` // of the stapled response, else of the one that was asked for
	SCTs       []SCTFacts    `json:"scts,omitempty"` // signed certificate timestamps, from wherever they came
	Connect    time.Duration `json:"-"`
	Handshake  time.Duration `json:"-"`

	// ChainNotAfter is the end of the verified path that lasts longest, zero where no
	// path verified.
	ChainNotAfter time.Time `json:"-"`
}

// Variant tells the handshakes with one address apart, where there is more than one: a
// server may keep a certificate for clients that send no name, and one for each type of key.
type Variant string

// The variants. Every address has the usual one; the others are there where they were
// asked for, or found.
const (
	VariantUsual Variant = ""       // with the server's name, any type of key
	VariantNoSNI Variant = "no_sni" // without a name (RFC 6066)
	VariantRSA   Variant = "rsa"    // a client that takes RSA only
	VariantECDSA Variant = "ecdsa"  // a client that takes ECDSA only
)

// Note is what people read behind an address: " (rsa)", " (without a name)", nothing for
// the usual one.
func (v Variant) Note() string {
	switch v {
	case VariantUsual:
		return ""
	case VariantNoSNI:
		return " (without a name)"
	default:
		return " (" + string(v) + ")"
	}
}

// Leaf returns the facts of the presented leaf, and whether one was presented.
func (a AddressObservation) Leaf() (CertFacts, bool) { return leaf(a.Chain) }

// Reached reports whether a certificate was presented, whatever is wrong with it.
func (a AddressObservation) Reached() bool { return len(a.Chain) > 0 }

// ProbeError says why a probe stopped at its stage.
type ProbeError struct {
	Reason FindingCode `json:"reason"` // one of the codes of severity unknown
	Detail string      `json:"detail"`
	Gone   bool        `json:"-"` // of dns_failed: the answer was that there is no such name, or no address
}

// TLSFacts are the parameters of an established connection.
type TLSFacts struct {
	Version string `json:"version"` // such as "TLS 1.3"
	Cipher  string `json:"cipher"`
	Group   string `json:"group"` // key exchange; empty where TLS does not tell
}

// HTTPFacts are what a server answered to an HTTP request, after TLS.
type HTTPFacts struct {
	Status    int    `json:"status"`             // of the last answer
	Version   string `json:"version"`            // such as "HTTP/1.1"
	Location  string `json:"location,omitempty"` // where the first answer redirected to, as the server wrote it
	Redirects int    `json:"redirects"`          // how many were followed

	// What an exporter's page tells besides; times are summed over redirects.
	Processing time.Duration `json:"-"` // from the request to the first byte of its answer
	Transfer   time.Duration `json:"-"` // of the rest of the answer; 0 where its body was not read
	Length     int64         `json:"-"` // of the last body in bytes, as its header tells; -1: it does not
	BodyBytes  int64         `json:"-"` // of the last body, as far as it was read
	BodyFailed bool          `json:"-"` // the body is not what it has to be
}

// OCSPFacts are what an OCSP response says (RFC 6960).
type OCSPFacts struct {
	Stapled    bool      `json:"stapled"` // it came with the handshake (RFC 6066)
	Status     string    `json:"status"`  // good, revoked or unknown
	ProducedAt time.Time `json:"produced_at"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update,omitzero"`
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
}

// SCTFacts are one signed certificate timestamp (RFC 6962).
type SCTFacts struct {
	Log    string    `json:"log"` // the log's ID in base64
	Time   time.Time `json:"time"`
	Source string    `json:"source"` // certificate, tls or ocsp
}
