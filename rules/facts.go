package rules

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Facts is what the rules may ask about one certificate and everything below it, at one
// moment. The watchdog builds it from observations; a rule never sees anything else.
type Facts struct {
	Certificate CertificateFacts
	Endpoints   []EndpointFacts
}

// Undecided maps the name of a CEL variable, such as "certificate.drift", to why nothing
// can be said about it now. A rule that needs it neither fires nor resolves.
type Undecided map[string]string

// Incomplete maps the name of a CEL variable to why it may lack something that is there. A
// rule that holds by such a variable holds; one that does not hold is undecided.
type Incomplete map[string]string

// Support backs the value of a CEL variable: who is affected, and the lines that show it.
type Support struct {
	Members  []string
	Evidence []certmedic.Evidence
}

// CertificateFacts are the variables certificate.*. Durations that lie in the past are
// negative.
type CertificateFacts struct {
	Name            string
	Labels          map[string]string
	Stage           certmedic.Stage
	Drift           bool          // an address serves another version than the newest stored one
	DriftAge        time.Duration // since the drift was first seen; 0 without drift
	Expired         bool          // something served, or without endpoints the stored version, has expired
	ServedOK        bool          // no address serves anything with a critical finding
	StoredOK        bool          // the stored version has no critical finding
	Names           []string
	Issuer          string
	KeyType         string
	Lifetime        time.Duration // of the version that ends first among those served
	RemainingRatio  float64
	ServedExpiresIn time.Duration // the soonest over all addresses
	StoredExpiresIn time.Duration
	RenewalOverdue  bool
	RenewalAge      time.Duration
	HookExitCode    int64 // of the last hook that certmedic ran; 0 after all succeeded
	Remediation     string
	Findings        []string // codes, over everything served; without endpoints, of what is stored
	StoredFindings  []string // codes of the source and of the version in it
	ServedNewer     bool     // what drifts was issued after the stored version
	Members         []string

	Undecided  Undecided
	Incomplete Incomplete
	Support    map[string]Support // by variable name; for lists of codes by "name:code"
}

// EndpointFacts are the variables endpoint.*.
type EndpointFacts struct {
	Address   string
	Protocol  string
	Labels    map[string]string
	Reachable bool // at least one address presented a certificate
	Split     bool // its addresses serve different versions
	Addresses []AddressFacts

	Undecided Undecided
	Support   map[string]Support
}

// AddressFacts are the variables address.*.
type AddressFacts struct {
	IP             string // ip:port
	Reachable      bool
	Findings       []string
	ServedSHA256   string
	ExpiresIn      time.Duration
	RemainingRatio float64
	TLSVersion     string

	Undecided Undecided
	Support   map[string]Support
}

// subject is one thing that a rule is asked about, with its parents.
type subject struct {
	certmedic.Subject
	facts    *Facts
	endpoint *EndpointFacts
	address  *AddressFacts
}

// subjects lists what a rule about the given kind is asked about.
func (f *Facts) subjects(about certmedic.SubjectKind) []subject {
	name := f.Certificate.Name
	if about == certmedic.AboutCertificate {
		return []subject{{Subject: certmedic.Subject{Kind: about, Certificate: name}, facts: f}}
	}
	var all []subject
	for i := range f.Endpoints {
		e := &f.Endpoints[i]
		if about == certmedic.AboutEndpoint {
			all = append(all, subject{
				Subject: certmedic.Subject{Kind: about, Certificate: name, Endpoint: e.Address}, facts: f, endpoint: e,
			})
			continue
		}
		for j := range e.Addresses {
			a := &e.Addresses[j]
			all = append(all, subject{
				Subject: certmedic.Subject{Kind: about, Certificate: name, Endpoint: e.Address, Address: a.IP},
				facts:   f, endpoint: e, address: a,
			})
		}
	}
	return all
}

// undecided tells why nothing can be said about a variable, or returns "".
func (s subject) undecided(name string) string {
	for _, u := range s.each() {
		if why := u.undecided[name]; why != "" {
			return why
		}
	}
	return ""
}

// incomplete tells why a variable may lack something, or returns "".
func (s subject) incomplete(name string) string { return s.facts.Certificate.Incomplete[name] }

// support returns what backs a variable's value.
func (s subject) support(name string) Support {
	for _, u := range s.each() {
		if support, ok := u.support[name]; ok {
			return support
		}
	}
	return Support{}
}

type level struct {
	undecided Undecided
	support   map[string]Support
}

func (s subject) each() []level {
	levels := []level{{s.facts.Certificate.Undecided, s.facts.Certificate.Support}}
	if s.endpoint != nil {
		levels = append(levels, level{s.endpoint.Undecided, s.endpoint.Support})
	}
	if s.address != nil {
		levels = append(levels, level{s.address.Undecided, s.address.Support})
	}
	return levels
}
