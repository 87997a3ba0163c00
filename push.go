package certmedic

// Push gives a version to something that keeps no files on a host: a service of a cloud, the
// interface of a load balancer, or whatever a program reaches. At most one of its ways is there.
type Push struct {
	Certificate string `json:"certificate,omitempty"` // the name of what is given, by which it is known there

	ACM     *ACM     `json:"acm,omitempty"`
	API     *API     `json:"api,omitempty"`
	Program *Program `json:"program,omitempty"`
}

// Some reports whether there is a way.
func (p Push) Some() bool { return p.ACM != nil || p.API != nil || p.Program != nil }

// ACM is an imported certificate in AWS Certificate Manager, which load balancers and CDNs of AWS
// take theirs from.
type ACM struct {
	Region string            `json:"region"`
	ARN    string            `json:"arn,omitempty"`  // of the certificate; empty: the one whose tag "certmedic" has the name of ours, or a new one
	Tags   map[string]string `json:"tags,omitempty"` // that it has besides

	Endpoint        string `json:"endpoint,omitempty"`         // URL of its interface; empty: AWS's in the region
	CredentialsFile string `json:"credentials_file,omitempty"` // in AWS's form; empty: what AWS's programs would find
	Profile         string `json:"profile,omitempty"`          // of the credentials; empty: default
	CAFile          string `json:"ca_file,omitempty"`          // PEM of what Endpoint is verified with; empty: the system's
}

// API is an interface that takes a certificate in one HTTP request.
type API struct {
	URL         string  `json:"url"`
	Method      string  `json:"method"`
	HeadersFile string  `json:"headers_file,omitempty"` // "Name: value" lines
	TokenFile   string  `json:"token_file,omitempty"`   // sent as a bearer token
	CAFile      string  `json:"ca_file,omitempty"`      // PEM of what the server is verified with; empty: the system's
	Body        string  `json:"body,omitempty"`         // a template; empty: in Form
	Form        APIForm `json:"form,omitempty"`
	Expect      []int   `json:"expect"` // the statuses that are a success

	VerifyURL     string `json:"verify_url,omitempty"`     // is asked what is there; empty: nothing is
	VerifyMatches string `json:"verify_matches,omitempty"` // a template of a regular expression, which what it answers has to match
}

// APIForm is a form of what an [API] is sent.
type APIForm string

// The forms.
const (
	FormJSON      APIForm = "json"
	FormMultipart APIForm = "multipart" // multipart/form-data (RFC 7578)
)

// Program is a command that brings a version to where nothing else of certmedic's gets it. It finds
// the version in files of its own, which are there while it runs.
type Program struct {
	Command []string          `json:"command"`
	Env     map[string]string `json:"env,omitempty"`
	Stdin   bool              `json:"stdin,omitempty"` // whether it gets the version as JSON on its standard input
}
