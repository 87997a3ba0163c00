package certmedic

import "time"

// Fingerprint is the SHA-256 of a DER encoding (a whole certificate, or its
// SubjectPublicKeyInfo), as 64 lower-case hexadecimal digits. The fingerprint of a
// leaf is the identity of a certificate's version.
type Fingerprint string

// Short returns the first twelve digits, enough for a person to tell versions apart.
func (f Fingerprint) Short() string { return string(f[:min(12, len(f))]) }

// Certificate is a managed identity: where its truth is kept, where it is served and
// what certmedic may do about it. It is configuration, not state.
type Certificate struct {
	Name         string
	Labels       map[string]string
	Source       Source
	Endpoints    []Endpoint
	Destinations []Destination
	Nodes        []Node       // the hosts of all destinations; empty where there is only this one
	Mode         Mode         // effective: the lower of the global ceiling and the certificate's own
	Allow        []ActionKind // what remediation may do; empty allows nothing
	Watched      bool         // from `watch:`, somebody else's: observed only, never acted for
}

// Allows reports whether the owner opted in to actions of this kind.
func (c Certificate) Allows(kind ActionKind) bool {
	for _, a := range c.Allow {
		if a == kind {
			return true
		}
	}
	return false
}

// SourceKind names where the truth about a certificate is kept.
type SourceKind string

// The kinds of sources.
const (
	SourceNone    SourceKind = ""        // a watched endpoint: nothing stored is known
	SourceCertbot SourceKind = "certbot" // a lineage in certbot's tree
	SourceFiles   SourceKind = "files"   // plain PEM files
	SourceACME    SourceKind = "acme"    // a folder that certmedic itself has versions issued into
	SourceShared  SourceKind = "shared"  // a folder, of the same form, that versions are brought into which were published elsewhere
)

// Source says where a certificate's versions are kept.
type Source struct {
	Kind SourceKind

	ConfigDir string // certbot: its configuration folder, such as /etc/letsencrypt
	Lineage   string // certbot: the lineage's name, as in renewal/NAME.conf

	Directory string // URL of the directory of the ACME CA at which certmedic itself renews; empty: it does not
	Folder    string // acme, shared: holds the folder "versions" and the link "current" to one of them

	Cert  string // files: the leaf, or the leaf with its chain
	Key   string // files: the private key; empty where only the certificate is watched
	Chain string // files: the chain, where Cert holds the leaf alone

	PassphraseFile string // files: opens Cert or Key where it is a keystore or encrypted; empty: none is needed
}

// Endpoint is what clients connect to. It has one or more addresses.
type Endpoint struct {
	Address    string            // host:port, the host a DNS name or an IP address
	Protocol   string            // tls, https, smtps, ... as in `modules`
	ServerName string            // the name sent as SNI and verified; empty: the host of Address
	Owned      bool              // ours even if it never served a version of this certificate
	Pins       []string          // "sha256/BASE64" of accepted SPKI hashes; empty accepts any
	Labels     map[string]string // chosen target labels

	Path       string   // for https: what is asked for, with its query; empty: /
	Module     string   // the named way to probe it; empty: the usual one
	Family     string   // "ip4" or "ip6": only addresses of this family; empty: both
	Addresses  []string // IP addresses to use instead of looking the host up
	WithoutSNI bool     // whether it is asked a second time, without a name
}

// EndpointKey tells endpoints apart: what a client can ask for.
type EndpointKey struct{ Address, Protocol, ServerName string }

// Key returns what tells the endpoint from others.
func (e Endpoint) Key() EndpointKey { return EndpointKey{e.Address, e.Protocol, e.ServerName} }

// Destination is a place where a copy of a certificate is installed, and the service
// that loads it. Commands are argument vectors, never shell lines.
type Destination struct {
	Name    string
	Files   []InstalledFile
	Swap    string     // a symbolic link to the folder that holds all Files, replaced as a whole; empty: each file is replaced
	Prepare [][]string // make of the files what the service reads, such as a map; in order, before Test
	Test    []string   // checks the service's configuration before the reload
	Reload  []string   // makes the service load the files; with HAProxy: where its socket refuses
	Signal  Signal     // reloads by a signal, in place of Reload
	HAProxy HAProxy    // loads the files over HAProxy's runtime sockets, in place of Reload
	Push    Push       // gives the version to something that is no host; then there is nothing of the others
	Alive   []string   // says whether the service still runs after the reload

	AliveFor time.Duration // how long Alive is asked again after it first succeeded; 0: once

	Hosts   []string // where it is: [LocalHost] and the names of hosts, in the order of the configuration; empty: this host
	Rollout Rollout  // how a version gets to Hosts
}

// Signal is a signal to the process that a file names. Without a PIDFile there is none.
type Signal struct {
	PIDFile string
	Name    string // HUP, USR1 or USR2
}

// HAProxy is a certificate in a running HAProxy. Without Sockets there is none.
type HAProxy struct {
	Sockets     []string // of the runtime API of each of its processes, level admin; patterns of paths, each of which has to match some
	Certificate string   // the file as HAProxy's configuration names it, which is one of the destination's files
}

// FilePart names the part of a version that a file of a destination holds.
type FilePart string

// The parts of a version that can be installed.
const (
	PartCert      FilePart = "cert"
	PartChain     FilePart = "chain"
	PartFullchain FilePart = "fullchain"
	PartPrivkey   FilePart = "privkey"
	PartCombined  FilePart = "combined" // leaf, chain and key in one PEM file, in this order, as HAProxy and lighttpd read it
	PartPKCS12    FilePart = "pkcs12"   // leaf, chain and key in a PKCS#12 key store (RFC 7292)
	PartJKS       FilePart = "jks"      // leaf, chain and key in a Java key store
)

// HasKey reports whether a file of this part holds the private key.
func (p FilePart) HasKey() bool {
	return p == PartPrivkey || p == PartCombined || p.IsKeystore()
}

// HasLeaf reports whether a file of this part holds the leaf.
func (p FilePart) HasLeaf() bool { return p != PartPrivkey && p != PartChain }

// IsKeystore reports whether a file of this part is a key store, which needs a passphrase.
func (p FilePart) IsKeystore() bool { return p == PartPKCS12 || p == PartJKS }

// InstalledFile is one file of a destination.
type InstalledFile struct {
	From  FilePart
	To    string // absolute path
	Mode  string // octal, such as "0600"; empty keeps what is there, or 0644 (keys 0600)
	Owner string // user:group; empty keeps what is there

	PassphraseFile string // of a key store: its first line is the passphrase of the store and of the key
	Alias          string // of a key store: the name of the entry; empty: "certificate"
	Legacy         bool   // of PKCS#12: in the old algorithms, as Java before 8u301 needs them
}

// CertFacts are the facts of one X.509 certificate. They hold strings and dates, not
// the parsed certificate, so that keeping those of many endpoints stays cheap.
type CertFacts struct {
	Subject     string      `json:"subject"` // RFC 2253 form
	Issuer      string      `json:"issuer"`  // RFC 2253 form
	Serial      string      `json:"serial"`  // lower-case hex, leading zeros kept
	SHA256      Fingerprint `json:"sha256"`  // of the whole certificate
	SPKISHA256  Fingerprint `json:"spki_sha256"`
	NotBefore   time.Time   `json:"not_before"`
	NotAfter    time.Time   `json:"not_after"`
	DNSNames    []string    `json:"dns_names"`
	IPAddresses []string    `json:"ip_addresses"`
	KeyType     string      `json:"key_type"` // rsa2048, ec256, ed25519, ...
}

// Lifetime returns how long the certificate is valid in all; never negative.
func (f CertFacts) Lifetime() time.Duration { return max(0, f.NotAfter.Sub(f.NotBefore)) }

// RemainingRatio returns the share of the lifetime that is left at now: 1 before it
// begins, 0 or less once it has ended.
func (f CertFacts) RemainingRatio(now time.Time) float64 {
	life := f.Lifetime()
	if life == 0 {
		return 0
	}
	return min(1, float64(f.NotAfter.Sub(now))/float64(life))
}

// Stage is a stage of a certificate's way.
type Stage string

// The stages, in the order of the way. StageDeploying stands beside them: a deployment
// is under way and nothing can be said about where it will stop.
const (
	StageUnknown   Stage = ""
	StageIssued    Stage = "issued"
	StageStored    Stage = "stored"
	StageDeployed  Stage = "deployed"
	StageLoaded    Stage = "loaded"
	StageServed    Stage = "served"
	StageDeploying Stage = "deploying"
)

// Stages lists every stage that a certificate can be at, in the order of its way, with
// deploying last.
func Stages() []Stage {
	return []Stage{StageIssued, StageStored, StageDeployed, StageLoaded, StageServed, StageDeploying}
}

// Stored is what a source holds at one moment: the newest version, the other versions
// it still knows, and what is wrong with it.
type Stored struct {
	Time     time.Time   // when it was read
	Since    time.Time   // since when the source holds this version, as its files tell
	Path     string      // the file that holds the leaf
	Version  string      // certbot's archive number, such as "7"; for files the leaf's short fingerprint
	Chain    []CertFacts // leaf first; empty where nothing could be read
	Names    []string    // names in certbot's order: common name first, then the other SANs
	Known    []Fingerprint
	Findings []Finding
	Lock     Lock // whether a deployment may be under way at this source

	Directory string     // of the ACME CA that renews it, as the source's own configuration tells; empty: unknown
	Ages      []float64  // the share of its lifetime at which each earlier version was replaced, oldest first
	Issued    []Issued   // the last versions in its archive, oldest first, the one that is stored among them
	Kept      []KeptFile // the files of the version, where the links lead

	// Where the parts are, for hooks and deployments. Fullchain or Chain is empty where
	// the source keeps no such file.
	Files StoredFiles
}

// Leaf returns the facts of the stored leaf, and whether there is one.
func (s Stored) Leaf() (CertFacts, bool) { return leaf(s.Chain) }

// Issued is a version that a CA issued, as an archive keeps it.
type Issued struct {
	Version   Fingerprint
	NotBefore time.Time
	Names     []string // its DNS names and IP addresses, as it has them
}

// KeptFile is a file of a stored version.
type KeptFile struct {
	Path string
	Mode uint32 // permission bits
	Leaf bool   // it holds the leaf, not only its chain or its key
}

// StoredFiles are the paths of a version's parts.
type StoredFiles struct {
	Cert, Privkey, Chain, Fullchain string
}

// LockState says what is known about the locks of a source.
type LockState string

// The states of a source's locks.
const (
	LockFree    LockState = "free"
	LockHeld    LockState = "held"    // certbot, or a hook of it, is at work
	LockUnknown LockState = "unknown" // it could not be asked; treated as in doubt
)

// Lock is the state of the locks that guard a source, and who holds them.
type Lock struct {
	State  LockState
	Path   string    // the lock file that is held, or could not be asked
	PID    int       // the holder; 0 where the kernel does not tell
	Since  time.Time // since when it was seen to be held; zero when free
	Detail string    // why it could not be asked
}

func leaf(chain []CertFacts) (CertFacts, bool) {
	if len(chain) == 0 {
		return CertFacts{}, false
	}
	return chain[0], true
}
