package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// ACME says how certmedic itself has a certificate issued (RFC 8555).
type ACME struct {
	Directory string   `yaml:"directory" form:"url" doc:"The URL of the CA's directory."`
	CAFile    string   `yaml:"ca_file,omitempty" form:"path" doc:"A PEM file with the roots that the CA's own server is verified against, that of staging included. Absent: those of the system."`
	Email     string   `yaml:"email,omitempty" doc:"What the CA may write to. Certificates with the same directory and email share an account."`
	Domains   []string `yaml:"domains,omitempty" doc:"The DNS names and IP addresses to ask for, at most 100. In renew they may be absent: those of the stored version."`

	KeyType        string `yaml:"key_type" enum:"ec256 ec384 rsa2048 rsa3072 rsa4096" doc:"The kind of key."`
	ReuseKey       bool   `yaml:"reuse_key,omitempty" doc:"Whether the stored key is used again. Absent: each version has a new one. A key on the deny list is never used again."`
	MustStaple     bool   `yaml:"must_staple,omitempty" doc:"Whether the certificate demands a stapled OCSP response (RFC 7633)."`
	Profile        string `yaml:"profile,omitempty" doc:"The CA's profile to ask for, such as tlsserver or shortlived."`
	PreferredChain string `yaml:"preferred_chain,omitempty" doc:"The common name of an issuer in the chain to take, where the CA offers several."`

	Challenge     ACMEChallenge `yaml:"challenge" required:"true" doc:"How the names are validated."`
	EAB           *EAB          `yaml:"eab,omitempty" doc:"The external account binding, where the CA wants one."`
	ImportAccount string        `yaml:"import_account,omitempty" form:"path" doc:"The folder of a certbot account to use, such as /etc/letsencrypt/accounts/acme-v02.api.letsencrypt.org/directory/0123...; it is never changed."`

	Staging  string        `yaml:"staging,omitempty" form:"url" doc:"The URL of the directory for rehearsals, at which a failed renewal proves itself first. Absent: Let's Encrypt's, where directory is Let's Encrypt's; none for others."`
	Fallback *ACMEFallback `yaml:"fallback,omitempty" doc:"A second CA, for when the first one fails."`

	PreHook  []string `yaml:"pre_hook,omitempty" doc:"A command to run before each issuance, as a program and its arguments; no shell is involved."`
	PostHook []string `yaml:"post_hook,omitempty" doc:"A command to run after each issuance, whatever came of it or of pre_hook."`
}

// ACMEChallenge is one way to validate names.
type ACMEChallenge struct {
	HTTP01    *HTTP01    `yaml:"http-01,omitempty" doc:"By a file that is fetched over HTTP, on port 80."`
	TLSALPN01 *TLSALPN01 `yaml:"tls-alpn-01,omitempty" doc:"By a TLS handshake on port 443 (RFC 8737)."`
	DNS01     *DNS01     `yaml:"dns-01,omitempty" doc:"By a TXT record. Wildcards need it."`
	_         struct{}   `oneof:"http-01 tls-alpn-01 dns-01"`
}

// HTTP01 answers http-01 challenges.
type HTTP01 struct {
	Webroot string `yaml:"webroot,omitempty" form:"path" doc:"The folder that a web server serves at / for all domains; files appear below .well-known/acme-challenge for a moment."`
	Listen  string `yaml:"listen,omitempty" doc:"Where certmedic listens itself for a moment, host:port, where there is no webroot. Absent: :80."`
}

// TLSALPN01 answers tls-alpn-01 challenges.
type TLSALPN01 struct {
	Listen string `yaml:"listen" doc:"Where certmedic listens itself for a moment, host:port."`
}

// DNS01 answers dns-01 challenges.
type DNS01 struct {
	Provider  string        `yaml:"provider" required:"true" enum:"acme-dns cloudflare desec digitalocean exec gandiv5 hetzner httpreq pdns rfc2136 route53" doc:"Who sets the record."`
	EnvFile   string        `yaml:"env_file,omitempty" form:"path" doc:"A file with the provider's settings, one NAME=value a line, by the names that lego documents. Others may not read it."`
	Resolvers []string      `yaml:"resolvers,omitempty" doc:"The DNS servers that are asked whether the record is there, as IP or IP:port. Absent: those of the system."`
	Wait      time.Duration `yaml:"wait,omitempty" doc:"A fixed time to wait for the record, instead of asking for it."`
}

// EAB binds an account to one that the CA knows otherwise (RFC 8555, section 7.3.4).
type EAB struct {
	KeyID   string `yaml:"key_id" required:"true" doc:"The key's identifier, as the CA gave it."`
	KeyFile string `yaml:"key_file" required:"true" form:"path" doc:"A file with the HMAC key in base64url. Others may not read it."`
}

// ACMEFallback is a second CA.
type ACMEFallback struct {
	Directory      string `yaml:"directory" required:"true" form:"url" doc:"The URL of its directory."`
	CAFile         string `yaml:"ca_file,omitempty" form:"path" doc:"A PEM file with the roots that its own server is verified against. Absent: those of the system."`
	Email          string `yaml:"email,omitempty" doc:"What it may write to. Absent: the first CA's."`
	EAB            *EAB   `yaml:"eab,omitempty" doc:"The external account binding, where it wants one."`
	Profile        string `yaml:"profile,omitempty" doc:"The profile to ask it for."`
	PreferredChain string `yaml:"preferred_chain,omitempty" doc:"The common name of an issuer in the chain to take, where it offers several."`
	After          int    `yaml:"after" doc:"How many failures in a row make it the turn of the other CA."`
}

// The directories of Let's Encrypt.
const (
	letsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	letsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

func (a *ACME) setDefaults() { a.Directory, a.KeyType = letsEncrypt, "ec256" }

func (t *TLSALPN01) setDefaults() { t.Listen = ":443" }

func (f *ACMEFallback) setDefaults() { f.After = 3 }

// StagingDirectory returns the URL of the directory for rehearsals; empty where there is none.
func (a *ACME) StagingDirectory() string {
	if a.Staging == "" && a.Directory == letsEncrypt {
		return letsEncryptStaging
	}
	return a.Staging
}

// ACME returns how certmedic itself has the certificate issued; nil where it does not.
func (c Certificate) ACME() *ACME {
	switch {
	case c.Source.ACME != nil:
		return c.Source.ACME
	case c.Renew != nil:
		return c.Renew.ACME
	}
	return nil
}

// ACMEFolder returns the folder of what certmedic has issued for a certificate.
func (c *Config) ACMEFolder(certificate string) string {
	return filepath.Join(c.StateDir, "acme", certificate)
}

// maxDomains bounds the names of a certificate, as Let's Encrypt does.
const maxDomains = 100

// acme checks how a certificate is issued. needsDomains says that they can come from nowhere
// else.
func (v *validator) acme(key string, a *ACME, needsDomains bool) {
	v.acmeDirectory(key+".directory", a.Directory)
	v.path(key+".ca_file", a.CAFile)
	v.email(key+".email", a.Email)
	v.path(key+".import_account", a.ImportAccount)
	v.eab(key+".eab", a.EAB)
	if a.ImportAccount != "" && (a.EAB != nil || a.Email != "") {
		v.errorf(key+".import_account", "the account is there already: email and eab are for new ones")
	}
	if a.Staging != "" {
		v.acmeDirectory(key+".staging", a.Staging)
	}
	if a.Staging == a.Directory && a.Staging != "" {
		v.errorf(key+".staging", "is the directory itself: a rehearsal there costs what it should save")
	}
	if f := a.Fallback; f != nil {
		v.fallback(key+".fallback", a.Directory, f)
	}
	if needsDomains && len(a.Domains) == 0 {
		v.errorf(key+".domains", "needs at least one name")
	}
	v.domains(key+".domains", a)
	v.challenge(key+".challenge", a.Challenge)
	v.argv(key+".pre_hook", a.PreHook)
	v.argv(key+".post_hook", a.PostHook)
}

func (v *validator) fallback(key, first string, f *ACMEFallback) {
	v.acmeDirectory(key+".directory", f.Directory)
	v.path(key+".ca_file", f.CAFile)
	v.email(key+".email", f.Email)
	v.eab(key+".eab", f.EAB)
	if f.Directory == letsEncryptStaging {
		v.errorf(key+".directory", "nobody trusts what the staging directory issues")
	}
	if f.Directory == first {
		v.errorf(key+".directory", "%q is the first CA", f.Directory)
	}
	if f.After < 1 {
		v.errorf(key+".after", "has to be at least 1")
	}
}

// acmeDirectory checks the URL of a directory. RFC 8555 demands HTTPS.
func (v *validator) acmeDirectory(key, directory string) {
	u, err := url.Parse(directory)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		v.errorf(key, "%q is no URL of an ACME directory: it begins with https://", directory)
	}
}

func (v *validator) email(key, email string) {
	user, host, ok := strings.Cut(email, "@")
	if email != "" && (!ok || user == "" || !isHostName(host) || strings.ContainsAny(email, " \t\r\n,<>")) {
		v.errorf(key, "%q is no email address", email)
	}
}

func (v *validator) eab(key string, e *EAB) {
	if e == nil {
		return
	}
	v.absolute(key+".key_file", e.KeyFile)
	if strings.ContainsAny(e.KeyID, " \t\r\n") {
		v.errorf(key+".key_id", "%q is no identifier", e.KeyID)
	}
}

func (v *validator) domains(key string, a *ACME) {
	if len(a.Domains) > maxDomains {
		v.errorf(key, "%d names are more than the %d that a certificate can have", len(a.Domains), maxDomains)
	}
	seen := map[string]bool{}
	for i, domain := range a.Domains {
		at := fmt.Sprintf("%s[%d]", key, i)
		name, wildcard := strings.CutPrefix(domain, "*.")
		ascii, err := idna.Lookup.ToASCII(strings.ToLower(name))
		switch {
		case isAddress(domain) && a.Challenge.DNS01 != nil:
			v.errorf(at, "an IP address cannot be validated by dns-01")
		case isAddress(domain):
		case err != nil || !isHostName(ascii) || !strings.Contains(ascii, "."):
			v.errorf(at, "%q is neither a DNS name nor an IP address", domain)
		case wildcard && a.Challenge.DNS01 == nil:
			v.errorf(at, "a wildcard can be validated by dns-01 only")
		}
		if seen[strings.ToLower(domain)] {
			v.errorf(at, "%q is there twice", domain)
		}
		seen[strings.ToLower(domain)] = true
	}
}

func (v *validator) challenge(key string, c ACMEChallenge) {
	if h := c.HTTP01; h != nil {
		v.path(key+".http-01.webroot", h.Webroot)
		v.listen(key+".http-01.listen", h.Listen)
		if h.Webroot != "" && h.Listen != "" {
			v.errorf(key+".http-01", "webroot and listen exclude each other")
		}
	}
	if t := c.TLSALPN01; t != nil {
		v.listen(key+".tls-alpn-01.listen", t.Listen)
	}
	if d := c.DNS01; d != nil {
		v.path(key+".dns-01.env_file", d.EnvFile)
		for i, resolver := range d.Resolvers {
			_, errPort := netip.ParseAddrPort(resolver)
			if !isAddress(resolver) && errPort != nil {
				v.errorf(fmt.Sprintf("%s.dns-01.resolvers[%d]", key, i), "%q is neither an IP address nor IP:port", resolver)
			}
		}
		if d.Wait < 0 {
			v.errorf(key+".dns-01.wait", "is negative")
		}
	}
}

// listen checks an address to listen at.
func (v *validator) listen(key, address string) {
	if address == "" {
		return
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "" && !isAddress(host) && host != "localhost" {
		v.errorf(key, "%q is not host:port, with an IP address or nothing as host", address)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		v.errorf(key, "%q is no port between 1 and 65535", port)
	}
}

// acme looks at the files that the issuing of a certificate needs.
func (f *fileChecker) acme(key string, a *ACME) {
	f.readable(key+".ca_file", a.CAFile)
	if a.EAB != nil {
		f.secret(key+".eab.key_file", a.EAB.KeyFile)
	}
	if a.ImportAccount != "" {
		f.secret(key+".import_account", filepath.Join(a.ImportAccount, "private_key.json"))
	}
	if d := a.Challenge.DNS01; d != nil {
		f.secret(key+".challenge.dns-01.env_file", d.EnvFile)
	}
	if second := a.Fallback; second != nil {
		f.readable(key+".fallback.ca_file", second.CAFile)
		if second.EAB != nil {
			f.secret(key+".fallback.eab.key_file", second.EAB.KeyFile)
		}
	}
	f.program(key+".pre_hook", a.PreHook)
	f.program(key+".post_hook", a.PostHook)
}
