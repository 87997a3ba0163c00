// Package acme has certificates issued by an ACME CA (RFC 8555), with lego's client. The
// command `certmedic step acme` calls it, in a process of its own that outlives the watchdog.
//
// It promises that an order is placed once: what an interrupted run left in its work folder is
// finished before another order is placed. Where the answer to a new order was lost, the order is
// looked for in the account's list; a CA without one, as Let's Encrypt, gives the pending order of
// the same names back by itself. Keys are written 0600, and a denied key is never used again.
// What it writes for people holds no key and no token.
//
// lego's DNS providers read their credentials from the environment, and its DNS client has one
// list of resolvers: [Obtain] with [DNS01] changes both for its whole process. That is why it
// belongs into a process of its own.
package acme

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Request asks for a certificate.
type Request struct {
	Directory string  `json:"directory"`         // URL of the CA's directory
	CAFile    string  `json:"ca_file,omitempty"` // PEM file with roots for the CA's own server; empty: the system's
	Account   Account `json:"account"`

	Names          []string `json:"names"` // DNS names and IP addresses; the first is the common name where the CA sets one
	KeyType        string   `json:"key_type"`
	ReuseKey       string   `json:"reuse_key,omitempty"` // PEM file of the key to use again; empty: a new one
	MustStaple     bool     `json:"must_staple,omitempty"`
	Profile        string   `json:"profile,omitempty"`
	PreferredChain string   `json:"preferred_chain,omitempty"` // common name of an issuer in the wanted chain
	Replaces       string   `json:"replaces,omitempty"`        // PEM file of the certificate that it replaces (RFC 9773); empty: none

	Challenge Challenge               `json:"challenge"`
	Denied    []certmedic.Fingerprint `json:"denied,omitempty"`     // SPKI hashes of keys that must not be used
	Work      string                  `json:"work"`                 // folder, 0700, that keeps orders until a certificate is installed
	Timeout   time.Duration           `json:"timeout"`              // of the whole; 0: 25 min
	Shared    bool                    `json:"shared,omitempty"`     // an order is finalized only once [Permit] says so: others have to know of it
	UserAgent string                  `json:"user_agent,omitempty"` // such as "certmedic/1.4.0", for the CA; empty: "certmedic"
}

// Account is who asks.
type Account struct {
	Dir    string `json:"dir"`              // folder, 0700, of the accounts' keys, one of each directory and email
	Email  string `json:"email,omitempty"`  // for the CA
	Import string `json:"import,omitempty"` // folder of a certbot account (private_key.json, regr.json) to use instead

	EABKeyID   string `json:"eab_key_id,omitempty"`   // external account binding, where the CA wants it
	EABKeyFile string `json:"eab_key_file,omitempty"` // file with its HMAC key, base64url
}

// Challenge says how the names are validated; one of its fields is set.
type Challenge struct {
	HTTP01    *HTTP01    `json:"http01,omitempty"`
	TLSALPN01 *TLSALPN01 `json:"tlsalpn01,omitempty"`
	DNS01     *DNS01     `json:"dns01,omitempty"`
}

// HTTP01 answers below /.well-known/acme-challenge/: in a web server's folder, or by itself.
type HTTP01 struct {
	Webroot string `json:"webroot,omitempty"`
	Listen  string `json:"listen,omitempty"` // host:port, used where there is no webroot; empty: :80
}

// TLSALPN01 answers by itself (RFC 8737).
type TLSALPN01 struct {
	Listen string `json:"listen,omitempty"` // host:port; empty: :443
}

// DNS01 answers by a TXT record that a provider sets.
type DNS01 struct {
	Provider  string        `json:"provider"`            // such as "rfc2136" or "exec", see [Providers]
	EnvFile   string        `json:"env_file,omitempty"`  // NAME=value lines: the provider's credentials, as lego documents them
	Resolvers []string      `json:"resolvers,omitempty"` // ip:port, that are asked whether the record is there; empty: the system's
	Wait      time.Duration `json:"wait,omitempty"`      // fixed, instead of asking; 0: ask
}
