package rules

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Facts is what the rules may ask about one certificate and everything below it, at one
// moment; or, where Fleet is set, about certmedic and all that it watches together. The
// watchdog builds it from observations; a rule never sees anything else.
type Facts struct {
	Certificate CertificateFacts
	Endpoints   []EndpointFacts
	Files       []FileFacts
	Gone        bool        // the certificate is not watched any more: nothing is asked, all of its incidents end
	Fleet       *FleetFacts // set: only rules about the fleet are asked, and nothing else is set
}

// Undecided maps the name of a CEL variable, such as "certificate.drift", to why nothing
// can be said about it now. A rule that needs it neither fires nor resolves.
type Undecided map[string]string

// Incomplete maps the name of a CEL variable, a list, to why it may lack something. A rule
// that holds by what is in the list holds; one that rests on what is not in it is undecided.
type Incomplete map[string]string

// Support backs the value of a CEL variable: who is affected, and the lines that show it.
type Support struct {
	Members  []string
	Evidence []certmedic.Evidence
}

// CertificateFacts are the variables certificate.*. Durations that lie in the past are
// negative. A pointer that is nil is a fact that nobody supplies: it is undecided.
type CertificateFacts struct {
	Name    string
	Labels  map[string]string
	Watched bool // only watched: there is nothing that certmedic could mend
	Stage   certmedic.Stage

	// What is served against what is stored.
	Drift          bool          // an address serves another version than the newest stored one
	DriftAge       time.Duration // since the drift was first seen; 0 without drift
	ServedNewer    bool          // what drifts was issued after the stored version
	Split          bool          // its addresses serve different versions, one of them maybe the stored one
	StoredVersion  string        // the SHA-256 of its leaf; "" where nothing is stored
	ServedVersions []string      // the SHA-256 of the leaves that are served, each once, sorted

	// What it is: of the stored version, else of the one that is served.
	Names   []string
	Issuer  string
	KeyType string
	SPKI    string // SHA-256 of the key's SubjectPublicKeyInfo

	// Dates, decidable from what was presented last also while an endpoint is unreachable.
	Expired         bool          // something served, or without endpoints the stored version, has expired
	Lifetime        time.Duration // of the version that ends first among those served
	RemainingRatio  float64       // the least over all that is served
	ServedExpiresIn time.Duration // the soonest over all that is served
	StoredExpiresIn time.Duration

	ServedOK       bool     // no address serves anything with a critical finding
	StoredOK       bool     // the stored version has no critical finding
	Findings       []string // codes, over everything served; without endpoints, of what is stored
	StoredFindings []string // codes of the source and of the version in it
	TLSVersions    []string // such as "TLS 1.2", each once, over all addresses
	Members        []string

	// Renewal, of the newest version.
	RenewalOverdue bool           // see [Due]
	RenewalDueIn   time.Duration  // until it counts as overdue
	RenewalBasis   string         // what that follows from: "ari", "learnt" or "share"
	RenewalAge     *time.Duration // how old its predecessors were when they were replaced: their median
	ARIStartsIn    *time.Duration // until the CA's suggested window begins (RFC 9773)
	ARIEndsIn      *time.Duration // until it ends
	RenewIn        *time.Duration // until certmedic itself has it renewed, or issued where nothing was yet
	RenewalLog     *string        // what certbot's log says of the last attempt: "ok", "hook_failed", "failed", "not_due"

	// What certmedic did about it.
	HookExitCode    int64  // of the last hook that certmedic ran; 0 after all succeeded
	Remediation     string // outcome of the last action for the stored version, "gave_up", or ""
	Refusal         string // the code of the guard that refused the last wish to act; "" where none did
	Approval        string // the ID of the plan that waits for a person's approval; "" where none does
	Rehearsal       string // "ok", "hooks_failed", "renewal_failed"; "": none was made
	Loan            *bool  // a rolled-back version is served, until its deadline
	LoanEndsIn      *time.Duration
	LoanCount       *int64 // how many rollbacks there were for its cause, within 30 days
	KeyDenied       *bool  // the key of what is served or stored is on the deny list
	SharedFailing   *bool  // what is published elsewhere cannot be fetched, or must not be believed
	Unpublished     *bool  // this host has a version to publish, and it is not published
	StandbyUnfit    *bool  // this host's own copy cannot be served
	BudgetRemaining *int64 // certificates that the CA still grants, over the limit that is closest
	NodesBehind     int64  // nodes that have another version than the stored one, although nothing that they serve shows it

	Undecided  Undecided
	Incomplete Incomplete
	Support    map[string]Support // by variable name; for lists by "name:word"
}

// EndpointFacts are the variables endpoint.*.
type EndpointFacts struct {
	Address      string
	Protocol     string
	Labels       map[string]string
	Reachable    bool    // at least one address presented a certificate
	Vanished     bool    // it presented a certificate once, and its name no longer resolves
	Split        bool    // its addresses serve different versions
	MissedRounds float64 // how many intervals ago it was probed last
	Findings     []string
	Addresses    []AddressFacts

	Undecided  Undecided
	Incomplete Incomplete
	Support    map[string]Support
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

	Undecided  Undecided
	Incomplete Incomplete
	Support    map[string]Support
}

// FileFacts are the variables file.*: one file of a certificate's source.
type FileFacts struct {
	Path      string
	Mode      string        // permission bits in octal, such as "0640"; "" where it is not there
	ExpiresIn time.Duration // of the leaf in it; undecided for a file without one
	Findings  []string

	Undecided Undecided
	Support   map[string]Support
}

// FleetFacts are the variables fleet.*: certmedic itself, and all that it watches.
type FleetFacts struct {
	Certificates int64
	Endpoints    int64
	LastRoundAge time.Duration // since every endpoint had been probed once more
	MissedRounds float64       // LastRoundAge in intervals
	QueueAge     time.Duration // of the notification that waits longest; 0 where none does
	RuleErrors   []string      // rules that could not be asked about something, sorted
	Degraded     []string      // what certmedic cannot do now, in sentences

	FailingReceivers []string       // receivers that do not take what they are sent, sorted
	ClockSkew        *time.Duration // how far this clock is ahead of the CA's, negative: behind
	StateUnwritten   time.Duration  // for how long the state folder could not be written; 0 where it can be
	CoordinatorLost  time.Duration  // for how long the coordinator of the cluster could not be asked; 0 where it can be, or there is none
	MembersGone      []string       // members of the cluster that were there within the last day, and are not, sorted

	Undecided Undecided
	Support   map[string]Support
}
