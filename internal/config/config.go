package config

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Config is a whole configuration file, with defaults filled in.
type Config struct {
	StateDir     string            `yaml:"state_dir" form:"path" doc:"The folder for what has to survive a restart, and for the socket of the commands."`
	Remediation  Remediation       `yaml:"remediation" doc:"How far certmedic may go, for all certificates together."`
	Probe        Probe             `yaml:"probe" doc:"How endpoints are measured."`
	Modules      map[string]Module `yaml:"modules,omitempty" doc:"Named ways to probe a target, for /probe; the keys are those of blackbox_exporter where it has them."`
	Discover     []Discover        `yaml:"discover,omitempty" doc:"Where to look for certificates and endpoints that are not listed here."`
	Hosts        []Host            `yaml:"hosts,omitempty" doc:"Other hosts that certificates are deployed to, over ssh."`
	Certificates []Certificate     `yaml:"certificates,omitempty" doc:"The certificates of this house: where each is kept, where it is served, and what may be done about it."`
	Watch        []Watch           `yaml:"watch,omitempty" doc:"What belongs to others, or is only to be looked at: observed, never acted for."`
	Rules        Rules             `yaml:"rules" doc:"What is judged to be wrong."`
	Alerting     Alerting          `yaml:"alerting" doc:"Who is told, and how."`
	Audit        Audit             `yaml:"audit,omitempty" doc:"What only people can say, for the checklist of the command audit."`
	Cluster      *Cluster          `yaml:"cluster,omitempty" doc:"The other certmedics that look after the same certificates. It cannot change over a reload. Absent: this one is alone."`

	positions positions
}

// Remediation is the ceiling for remediation, over all certificates.
type Remediation struct {
	Mode              certmedic.Mode `yaml:"mode" enum:"observe plan approve auto" doc:"How far remediation may go at most. The effective mode of a certificate is the lower of this and its own."`
	MaxActionsPerHour int            `yaml:"max_actions_per_hour" doc:"The most actions in any hour, over all certificates."`
	MaxShare          Share          `yaml:"max_share" doc:"The most certificates, as a share of those that certmedic may act for, that may have been acted for in the last hour and not be healed; at least three. Where more want an action, one goes first, and the others follow once something healed."`
	ApprovalExpires   time.Duration  `yaml:"approval_expires" doc:"How long a plan waits for a person in mode approve, and how long an approval holds."`
	MaxConcurrent     int            `yaml:"max_concurrent" doc:"The most actions at the same time."`
	CommandTimeout    time.Duration  `yaml:"command_timeout" doc:"The most time that one hook, test, reload or alive command may take before it is ended with its process group."`
	FreezeFile        string         `yaml:"freeze_file" form:"path" doc:"While this file exists nothing is acted on."`
	Windows           []string       `yaml:"windows,omitempty" doc:"Maintenance windows, in which alone an action may begin that nobody asked for by hand: Mon-Fri 02:00-05:00, or Sat,Sun 00:00-24:00 Europe/Berlin. Days may be absent, for every day; a window that goes on past midnight belongs to the day on which it opens; without a time zone the local one holds. What is served invalid waits for a window, too, and is told. Empty: always."`
}

// Probe says how endpoints are measured.
type Probe struct {
	Interval     time.Duration `yaml:"interval" doc:"The time between two probes of an endpoint."`
	Timeout      time.Duration `yaml:"timeout" doc:"The most time that one probe of an address may take."`
	Roots        []string      `yaml:"roots" single:"true" doc:"The roots that chains are verified against: system, mozilla (the set that browsers trust, built in), or the path of a file; one, or a list of these, which all have to trust a chain."`
	Concurrency  int           `yaml:"concurrency" doc:"The most probes at the same time."`
	DeployGrace  time.Duration `yaml:"deploy_grace" doc:"How long a renewed certificate may take to be served before that is drift, counted from when its deployment can be over."`
	AllowTargets []string      `yaml:"allow_targets,omitempty" doc:"What /probe may be asked to probe: host names (*.example.com for those below a domain), addresses or networks in CIDR form. Empty: any but link-local, multicast and metadata addresses."`
	AllowPrivate bool          `yaml:"allow_private" doc:"Whether /probe may be asked to probe private addresses (RFC 1918 and their like, loopback included) that allow_targets does not list by address or network."`
	Revocation   string        `yaml:"revocation" enum:"off staple crl ocsp" doc:"How revocation is looked at: off; staple, the OCSP responses that servers staple; crl, also the lists that certificates name; ocsp, also by asking the responders that they name."`
	ARI          bool          `yaml:"ari" doc:"Whether the CAs that renew certificates, as certbot's files name them, are asked when they want them to be replaced (RFC 9773)."`
	AIA          bool          `yaml:"aia,omitempty" doc:"Whether issuers that an incomplete chain lacks are fetched from where its certificates say, to name them. Not for /probe, where anybody chooses the certificates."`
	Records      bool          `yaml:"records" doc:"Whether DNS is asked what it says about certificates: TLSA (DANE) and CAA records."`
	Resolvers    []string      `yaml:"resolvers,omitempty" doc:"The DNS servers to ask, as IP or IP:port. Empty: those of the system."`
}

// Module is a named way to probe, in the form of blackbox_exporter's modules.
type Module struct {
	Prober    string        `yaml:"prober,omitempty" enum:"tcp http" later:"dns icmp grpc unix websocket" doc:"The prober of blackbox_exporter that this module stands for. Empty: a TLS handshake in the module's protocol."`
	Protocol  string        `yaml:"protocol,omitempty" enum:"@protocols" doc:"The protocol of targets and endpoints that name none. Empty: https for the http prober, which speaks nothing else, and tls for the others."`
	Timeout   time.Duration `yaml:"timeout,omitempty" doc:"The most time that a probe may take. Absent: that of the probe section for endpoints, and what the scraper waits for /probe."`
	TLSConfig *TLSConfig    `yaml:"tls_config,omitempty" doc:"How the server is verified, and what is presented to it, for modules without a prober."`
	ProxyURL  URL           `yaml:"proxy_url,omitempty" form:"proxy" doc:"The proxy to connect through: http or https (CONNECT), socks5 or socks5h. It looks the host up. For modules without a prober."`
	Series    []string      `yaml:"series,omitempty" enum:"blackbox ssl" doc:"The series that /probe answers with: those of blackbox_exporter, those of ssl_exporter, or both. Empty: blackbox."`
	TCP       *TCPModule    `yaml:"tcp,omitempty" doc:"Settings of the tcp prober."`
	HTTP      *HTTPModule   `yaml:"http,omitempty" doc:"Settings of the http prober."`
	_         struct{}      `unsupported:"dns icmp grpc unix websocket"`
}

// TCPModule holds the settings of a module with the tcp prober.
type TCPModule struct {
	TLS                 bool       `yaml:"tls" doc:"Whether TLS begins at once. Without it, a step of query_response has to begin it."`
	TLSConfig           *TLSConfig `yaml:"tls_config,omitempty" doc:"How the server is verified, and what is presented to it."`
	PreferredIPProtocol string     `yaml:"preferred_ip_protocol" enum:"ip4 ip6" doc:"The address family that is tried first."`
	IPProtocolFallback  bool       `yaml:"ip_protocol_fallback" doc:"Whether the other address family is tried where the preferred one has no address."`
	QueryResponse       []Exchange `yaml:"query_response,omitempty" doc:"What is said and expected, before and after TLS begins."`
	_                   struct{}   `unsupported:"source_ip_address"`
}

// Exchange is one step of a query_response.
type Exchange struct {
	Expect   string   `yaml:"expect,omitempty" form:"regexp" doc:"A regular expression that a line from the server has to match; lines are read until one does."`
	Send     string   `yaml:"send,omitempty" doc:"A line to send; ${1} stands for what the first group of expect matched."`
	StartTLS bool     `yaml:"starttls,omitempty" doc:"Whether the TLS handshake begins after this step."`
	_        struct{} `unsupported:"expect_bytes labels"`
}

// HTTPModule holds the settings of a module with the http prober.
type HTTPModule struct {
	TLSConfig           *TLSConfig        `yaml:"tls_config,omitempty" doc:"How the server is verified, and what is presented to it."`
	PreferredIPProtocol string            `yaml:"preferred_ip_protocol" enum:"ip4 ip6" doc:"The address family that is tried first."`
	IPProtocolFallback  bool              `yaml:"ip_protocol_fallback" doc:"Whether the other address family is tried where the preferred one has no address."`
	ProxyURL            URL               `yaml:"proxy_url,omitempty" form:"proxy" doc:"The proxy to connect through: http or https (CONNECT), socks5 or socks5h. It looks the host up."`
	Method              string            `yaml:"method" doc:"The HTTP method."`
	Headers             map[string]string `yaml:"headers,omitempty" doc:"Headers to send. Host is also the name that is asked for and verified."`
	Body                string            `yaml:"body,omitempty" doc:"The body to send."`
	FollowRedirects     bool              `yaml:"follow_redirects" doc:"Whether redirects are followed; the last answer counts."`
	ValidStatusCodes    []int             `yaml:"valid_status_codes,omitempty" doc:"The status codes that are a success. Empty: 2xx."`
	ValidHTTPVersions   []string          `yaml:"valid_http_versions,omitempty" doc:"The versions that are a success, such as HTTP/1.1. Empty: any."`
	FailIfSSL           bool              `yaml:"fail_if_ssl" doc:"Whether an answer over TLS is a failure."`
	FailIfNotSSL        bool              `yaml:"fail_if_not_ssl" doc:"Whether an answer without TLS is a failure."`
	FailIfMatches       []string          `yaml:"fail_if_body_matches_regexp,omitempty" form:"regexp" doc:"Regular expressions that the body must not match."`
	FailIfNotMatches    []string          `yaml:"fail_if_body_not_matches_regexp,omitempty" form:"regexp" doc:"Regular expressions that the body has to match."`
	FailIfHeader        []HeaderMatch     `yaml:"fail_if_header_matches,omitempty" doc:"Headers that must not match."`
	FailIfNotHeader     []HeaderMatch     `yaml:"fail_if_header_not_matches,omitempty" doc:"Headers that have to match."`
	_                   struct{}          `unsupported:"http_headers body_file body_size_limit compression no_follow_redirects fail_if_body_json_matches_cel fail_if_body_json_not_matches_cel basic_auth authorization bearer_token bearer_token_file oauth2 proxy_from_environment proxy_connect_header no_proxy skip_resolve_phase_with_proxy enable_http2 enable_http3"`
}

// HeaderMatch is a header of an answer and what it is held against.
type HeaderMatch struct {
	Header       string `yaml:"header" required:"true" doc:"The name of the header."`
	Regexp       string `yaml:"regexp" required:"true" form:"regexp" doc:"The regular expression that its value is held against."`
	AllowMissing bool   `yaml:"allow_missing,omitempty" doc:"Whether an answer without the header is left aside."`
}

// TLSConfig has the keys of Prometheus' tls_config.
type TLSConfig struct {
	CAFile             string   `yaml:"ca_file,omitempty" form:"path" doc:"A PEM file with the roots to verify against, in place of those of the probe section."`
	ServerName         string   `yaml:"server_name,omitempty" doc:"The name to send and to verify. Empty: the target's host."`
	InsecureSkipVerify bool     `yaml:"insecure_skip_verify" doc:"Whether a chain that does not verify still counts as a success, and is no finding. Its dates and all other facts are measured in any case."`
	CertFile           string   `yaml:"cert_file,omitempty" form:"path" doc:"A PEM file with the client certificate to present."`
	KeyFile            string   `yaml:"key_file,omitempty" form:"path" doc:"A PEM file with the private key of cert_file. Others may not read it."`
	MinVersion         string   `yaml:"min_version,omitempty" enum:"TLS10 TLS11 TLS12 TLS13" doc:"The oldest version of TLS to offer. Empty: all are offered."`
	MaxVersion         string   `yaml:"max_version,omitempty" enum:"TLS10 TLS11 TLS12 TLS13" doc:"The newest version of TLS to offer. Empty: all are offered."`
	_                  struct{} `unsupported:"ca cert key ca_ref cert_ref key_ref"`
}

// Discover is one place where certificates and endpoints are looked for.
type Discover struct {
	Certbot   *DiscoverCertbot   `yaml:"certbot,omitempty" doc:"Every lineage of a certbot tree."`
	Tree      *DiscoverTree      `yaml:"tree,omitempty" doc:"Every certificate in the folder of another client: acme.sh, lego, Caddy or dehydrated."`
	Nginx     *DiscoverServer    `yaml:"nginx,omitempty" doc:"The TLS servers of an nginx on this host."`
	Apache    *DiscoverServer    `yaml:"apache,omitempty" doc:"The TLS servers of an Apache httpd on this host."`
	HAProxy   *DiscoverServer    `yaml:"haproxy,omitempty" doc:"The TLS listeners of an HAProxy on this host."`
	Postfix   *DiscoverServer    `yaml:"postfix,omitempty" doc:"The TLS services of a Postfix on this host. Its main file is main.cf; master.cf is beside it."`
	Dovecot   *DiscoverServer    `yaml:"dovecot,omitempty" doc:"The TLS listeners of a Dovecot on this host."`
	FileSD    *DiscoverFileSD    `yaml:"file_sd,omitempty" doc:"Targets in files of Prometheus' file_sd form. They are read again when they change."`
	HTTPSD    *DiscoverHTTPSD    `yaml:"http_sd,omitempty" doc:"Targets from a URL of Prometheus' http_sd form."`
	DNS       *DiscoverDNS       `yaml:"dns,omitempty" doc:"Targets from DNS."`
	Listening *DiscoverListening `yaml:"listening,omitempty" doc:"The sockets of this host that listen, as far as they speak TLS."`
	_         struct{}           `oneof:"certbot tree nginx apache haproxy postfix dovecot file_sd http_sd dns listening"`
}

// DiscoverCertbot is a certbot tree.
type DiscoverCertbot struct {
	ConfigDir string `yaml:"config_dir" form:"path" doc:"certbot's configuration folder."`
}

// DiscoverTree is the folder of an ACME client.
type DiscoverTree struct {
	Dir string `yaml:"dir" required:"true" form:"path" doc:"The folder."`
}

// DiscoverServer is a server program on this host.
type DiscoverServer struct {
	Config  string   `yaml:"config,omitempty" form:"path" doc:"Its main configuration file, which is parsed. Absent: where Debian has it."`
	Command []string `yaml:"command,omitempty" doc:"A command that prints the configuration as the server sees it, such as nginx -T. Absent: files are parsed and nothing is executed."`
}

// DiscoverFileSD are files with targets.
type DiscoverFileSD struct {
	Files []string `yaml:"files" required:"true" form:"path" doc:"The files, JSON or YAML; * ? and [] match as in a shell."`
}

// DiscoverHTTPSD is a URL with targets.
type DiscoverHTTPSD struct {
	URL             URL           `yaml:"url" required:"true" form:"url" doc:"The URL, http or https."`
	RefreshInterval time.Duration `yaml:"refresh_interval" doc:"How often it is asked."`
}

// DiscoverDNS are names with targets.
type DiscoverDNS struct {
	Names []string `yaml:"names" required:"true" doc:"The names to look up."`
	Type  string   `yaml:"type" enum:"SRV MX A AAAA" doc:"The kind of record."`
	Port  int      `yaml:"port,omitempty" doc:"The port, for A and AAAA records; for MX records 25 where it is absent."`

	Protocol        string        `yaml:"protocol,omitempty" enum:"@protocols" doc:"The protocol that carries TLS, or that TLS carries. Absent: smtp for MX, what the service of an SRV record means, else tls."`
	RefreshInterval time.Duration `yaml:"refresh_interval" doc:"How often they are looked up."`
}

// DiscoverListening looks at the listening sockets of this host. It has no settings.
type DiscoverListening struct{}

// Certificate is a managed certificate.
type Certificate struct {
	Name        string                 `yaml:"name" required:"true" doc:"The name of the certificate, unique, of letters, digits and the signs . _ * and -."`
	Labels      map[string]string      `yaml:"labels,omitempty" doc:"Labels for rules, routes and metrics."`
	Source      Source                 `yaml:"source" required:"true" doc:"Where the truth is kept."`
	Endpoints   []Endpoint             `yaml:"endpoints,omitempty" doc:"What clients connect to."`
	Deploy      []Destination          `yaml:"deploy,omitempty" doc:"How a stored version gets to its services. Absent: certbot's own deploy hooks, with their environment."`
	Publish     *Publish               `yaml:"publish,omitempty" doc:"Where its versions are published, for other hosts and for the other members of a cluster."`
	Renew       *Renew                 `yaml:"renew,omitempty" doc:"How a new version is issued. Absent: by certbot, where the source is a lineage of it."`
	Rollback    Rollback               `yaml:"rollback" doc:"How an older version gets to where it is served, where the newest is bad."`
	Rehearse    Rehearse               `yaml:"rehearse,omitempty" doc:"How often it is tried whether the next renewal, and its deployment, would work: within maintenance windows, when the mode of the certificate is auto, and again after certbot, its hooks or the lineage's configuration changed. The first time is soon after this is configured."`
	Remediation CertificateRemediation `yaml:"remediation" doc:"What may be done for this certificate."`
}

// Renew says how a new version of a certificate is issued. What comes of it is judged by what
// is stored and served afterwards.
type Renew struct {
	Certbot *RenewCertbot `yaml:"certbot,omitempty" doc:"certbot renew, for the lineage of the source. certbot itself decides whether a renewal is due."`
	ACME    *ACME         `yaml:"acme,omitempty" doc:"certmedic itself, at an ACME CA; what is issued is installed into the source, as its own writer would have."`
	Command []string      `yaml:"command,omitempty" doc:"A command that has a new version issued and stored in the source, as a program and its arguments; no shell is involved. It may take 30 minutes."`
	_       struct{}      `oneof:"certbot acme command"`
}

// RenewCertbot is how certbot is run.
type RenewCertbot struct {
	Args []string          `yaml:"args,omitempty" doc:"Further arguments for certbot renew. Which lineage is renewed, where, and whether it has to be due is not for them to say."`
	Env  map[string]string `yaml:"env,omitempty" doc:"Variables that are added to certmedic's own environment."`
}

// CertificateRemediation is what the owner of a certificate opted in to.
type CertificateRemediation struct {
	Mode  certmedic.Mode         `yaml:"mode" enum:"observe plan approve auto" doc:"How far remediation may go for this certificate."`
	Allow []certmedic.ActionKind `yaml:"allow,omitempty" enum:"reload redeploy rollback renew" doc:"The actions that may be taken. Empty allows none."`
}

// Source is where the truth about a certificate is kept.
type Source struct {
	Certbot *CertbotSource `yaml:"certbot,omitempty" doc:"A lineage in a certbot tree."`
	Files   *FilesSource   `yaml:"files,omitempty" doc:"Files of a certificate, its key and its chain."`
	ACME    *ACME          `yaml:"acme,omitempty" doc:"certmedic itself, which has it issued and renews it on schedule, into STATE_DIR/acme/NAME/current."`
	Shared  *Shared        `yaml:"shared,omitempty" doc:"What a certmedic elsewhere has issued and publishes, which is brought to STATE_DIR/shared/NAME/current."`
	_       struct{}       `oneof:"certbot files acme shared"`
}

// CertbotSource is a lineage in a certbot tree.
type CertbotSource struct {
	ConfigDir string `yaml:"config_dir" form:"path" doc:"certbot's configuration folder."`
	Lineage   string `yaml:"lineage" required:"true" doc:"The lineage's name, as in renewal/NAME.conf."`
}

// FilesSource is a certificate in files: PEM, DER, PKCS#12 or JKS.
type FilesSource struct {
	Cert  string `yaml:"cert" required:"true" form:"path" doc:"The certificate, alone or with its chain: PEM or DER, or a PKCS#12 or JKS keystore with its key."`
	Key   string `yaml:"key,omitempty" form:"path" doc:"Its private key. Absent: only the certificate is watched."`
	Chain string `yaml:"chain,omitempty" form:"path" doc:"The chain, where cert holds the certificate alone."`

	PassphraseFile string `yaml:"passphrase_file,omitempty" form:"path" doc:"A file with the passphrase that opens cert or key. Others may not read it."`
}

// Endpoint is what clients connect to.
type Endpoint struct {
	Address    string            `yaml:"address" required:"true" doc:"host:port, with an IPv6 address in brackets. The port may be absent where the protocol has one of its own."`
	Protocol   string            `yaml:"protocol,omitempty" enum:"@protocols" doc:"The protocol that carries TLS, or that TLS carries. Absent: that of the module, else tls."`
	ServerName string            `yaml:"server_name,omitempty" doc:"The name to send and to verify. Empty: the host of the address."`
	Module     string            `yaml:"module,omitempty" doc:"The module that says how it is probed. Empty: as usual."`
	Family     string            `yaml:"family,omitempty" enum:"ip4 ip6" doc:"Probe only addresses of this family. Empty: both."`
	Addresses  []string          `yaml:"addresses,omitempty" doc:"IP addresses to probe instead of looking the host up."`
	WithoutSNI bool              `yaml:"without_sni,omitempty" doc:"Whether every address is asked a second time without a name, as old clients do."`
	Owned      bool              `yaml:"owned,omitempty" doc:"Whether the endpoint is ours even if it never served a version of this certificate. Actions are taken only for such endpoints and for those that served one."`
	Pins       []string          `yaml:"pins,omitempty" doc:"The keys that may be served, each as sha256/ and the base64 of the SHA-256 of its SubjectPublicKeyInfo. Empty accepts any."`
	Labels     map[string]string `yaml:"labels,omitempty" doc:"Labels for rules, routes and metrics."`
}

// Watch is an endpoint, or files, that are looked at and never acted for.
type Watch struct {
	Address    string            `yaml:"address,omitempty" doc:"The address of an endpoint, as for a certificate's endpoints."`
	Protocol   string            `yaml:"protocol,omitempty" enum:"@protocols" doc:"The protocol that carries TLS, or that TLS carries. Absent: that of the module, else tls."`
	ServerName string            `yaml:"server_name,omitempty" doc:"The name to send and to verify. Empty: the host of the address."`
	Module     string            `yaml:"module,omitempty" doc:"The module that says how it is probed. Empty: as usual."`
	Family     string            `yaml:"family,omitempty" enum:"ip4 ip6" doc:"Probe only addresses of this family. Empty: both."`
	Addresses  []string          `yaml:"addresses,omitempty" doc:"IP addresses to probe instead of looking the host up."`
	WithoutSNI bool              `yaml:"without_sni,omitempty" doc:"Whether every address is asked a second time without a name, as old clients do."`
	Pins       []string          `yaml:"pins,omitempty" doc:"The keys that may be served, as for a certificate's endpoints."`
	File       string            `yaml:"file,omitempty" form:"path" doc:"The path of certificate files, of any form that check reads; * ? and [] match as in a shell."`
	Passphrase string            `yaml:"passphrase_file,omitempty" form:"path" doc:"A file with the passphrase that opens the files. Others may not read it."`
	Labels     map[string]string `yaml:"labels,omitempty" doc:"Labels for rules, routes and metrics."`
	_          struct{}          `oneof:"address file"`
}

// Rules says what is judged to be wrong.
type Rules struct {
	Defaults bool              `yaml:"defaults" doc:"Whether the shipped rules are used."`
	Adjust   map[string]Adjust `yaml:"adjust,omitempty" doc:"Changes to single rules, by the rule's name."`
	Files    []string          `yaml:"files,omitempty" form:"path" doc:"Files with further rules; * ? and [] match as in a shell."`
}

// Adjust changes one rule. What is nil stays as the rule has it.
type Adjust struct {
	For           *time.Duration     `yaml:"for,omitempty" doc:"How long the condition has to hold before the rule fires."`
	KeepFiringFor *time.Duration     `yaml:"keep_firing_for,omitempty" doc:"How long the condition has to be gone before the incident ends."`
	Severity      certmedic.Severity `yaml:"severity,omitempty" enum:"info warning critical" doc:"How bad it is."`
	Disabled      bool               `yaml:"disabled,omitempty" doc:"Whether the rule is left out."`
	Runbook       string             `yaml:"runbook,omitempty" doc:"The name or the address of the page that says what to do."`
	Ladder        []LadderStep       `yaml:"ladder,omitempty" doc:"The steps to take, in place of the rule's own."`
}

// LadderStep is one rung of a rule's ladder.
type LadderStep struct {
	Do       certmedic.StepKind `yaml:"do" required:"true" enum:"notify reload redeploy rollback renew" doc:"Tell people, or take an action."`
	After    time.Duration      `yaml:"after,omitempty" doc:"How long after the rule fired."`
	When     string             `yaml:"when,omitempty" doc:"A condition, in CEL, that has to hold too for the step to be taken."`
	Severity certmedic.Severity `yaml:"severity,omitempty" enum:"info warning critical" doc:"The severity from this step on."`
}

// Alerting says who is told, and how.
type Alerting struct {
	GroupWait time.Duration `yaml:"group_wait" doc:"How long to wait for further incidents of the same episode before the first message."`
	Receivers []Receiver    `yaml:"receivers" doc:"The ways to tell people. Absent: one, named log."`
	Routes    []Route       `yaml:"routes" doc:"Which incidents go to which receivers; the first route that matches is taken. Absent: everything goes to every receiver."`
	Fallback  []string      `yaml:"fallback,omitempty" doc:"The receivers that are told what another one rejected for good, and what fires while all who should hear of it fail."`

	ExternalURL URL `yaml:"external_url,omitempty" form:"url" doc:"The address of certmedic's own page as people reach it; messages link to it. Empty: no links."`
	RunbookURL  URL `yaml:"runbook_url,omitempty" form:"url" doc:"What stands in front of the name of a rule's runbook to make its address, such as https://wiki.example.com/certmedic/. Empty: only runbooks that are addresses themselves are linked."`
}

// Route sends incidents to receivers.
type Route struct {
	Match       map[string]string `yaml:"match,omitempty" doc:"What an incident must have: certificate, rule, severity, or a label, each with its value. Empty matches everything."`
	MatchRE     map[string]string `yaml:"match_re,omitempty" doc:"The same with regular expressions, each of which has to fit all of the value. A label that is not there is empty."`
	To          []string          `yaml:"to" required:"true" doc:"The names of the receivers."`
	Events      bool              `yaml:"events,omitempty" doc:"Whether events that are no incident (renewed, deployed, rolled_back), and incidents of severity info, are sent, too."`
	Windows     []string          `yaml:"windows,omitempty" doc:"The times of the week at which the route is there, such as Mon-Fri 08:00-18:00 Europe/Berlin, as for remediation.windows. At other times the next route is tried; what none takes waits for these times. Empty: always."`
	MuteWindows []string          `yaml:"mute_windows,omitempty" doc:"Times of the week in which what fires waits, and is told when they have ended if it still fires. The end of what was told is told at any time."`
	Continue    bool              `yaml:"continue,omitempty" doc:"Whether the routes behind this one are tried, too."`
}
