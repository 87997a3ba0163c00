package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/remediate/deploy/acm"
	"github.com/certmedic/certmedic/remediate/deploy/httpapi"
	"github.com/certmedic/certmedic/remediate/deploy/program"
)

// DeployACM is a certificate in AWS Certificate Manager.
type DeployACM struct {
	Region          string            `yaml:"region" required:"true" doc:"The region, such as eu-central-1. CloudFront takes certificates from us-east-1 alone."`
	ARN             string            `yaml:"arn,omitempty" doc:"The ARN of an imported certificate, which is imported again in its place, so that what uses it gets the new version. Absent: the one whose tag certmedic has the name of this certificate; where there is none it is imported as a new one, with that tag. One that ACM issued itself is refused."`
	Tags            map[string]string `yaml:"tags,omitempty" doc:"Tags that it gets besides."`
	Endpoint        URL               `yaml:"endpoint,omitempty" form:"url" doc:"The address of ACM's interface, such as that of a VPC endpoint. Absent: AWS's in the region."`
	CredentialsFile string            `yaml:"credentials_file,omitempty" form:"path" doc:"A file with credentials in AWS's form. Others may not read it. Absent: what AWS's own programs would find: in certmedic's environment, in ~/.aws, or at the instance. Of the environment only the step that asks ACM, and certbot, get credentials. They have to allow acm:ImportCertificate, DescribeCertificate, GetCertificate, ListTagsForCertificate and AddTagsToCertificate, and without arn ListCertificates."`
	Profile         string            `yaml:"profile,omitempty" doc:"The profile of the credentials. Absent: default."`
	CAFile          string            `yaml:"ca_file,omitempty" form:"path" doc:"What the server is verified with, in PEM. Absent: the system's."`
}

// DeployAPI is an interface that takes a certificate in one HTTP request.
type DeployAPI struct {
	URL         URL               `yaml:"url" required:"true" form:"url" doc:"The address that the version is sent to; https, or http on this host, as the private key is sent. Redirects are followed on the same server alone, where they keep the method."`
	Method      string            `yaml:"method" enum:"POST PUT PATCH" doc:"The HTTP method."`
	HeadersFile string            `yaml:"headers_file,omitempty" form:"path" doc:"A file with headers to add, one 'Name: value' a line. Others may not read it."`
	TokenFile   string            `yaml:"token_file,omitempty" form:"path" doc:"A file whose first line is sent as a bearer token. Others may not read it."`
	Body        string            `yaml:"body,omitempty" doc:"A template (Go's text/template) of what is sent, with .Name, .Fingerprint (SHA-256, hex), .SHA1, .Serial, .NotAfter, .Names, .Token (of the lease, in a cluster) and, in PEM, .Cert, .Chain, .Fullchain and .Privkey; the function json writes a value in JSON, and colons hex with colons. The content type is application/json unless headers_file says otherwise."`
	Form        certmedic.APIForm `yaml:"form,omitempty" enum:"json multipart" doc:"What is sent where there is no body: json, an object with name, fingerprint, sha1, serial, not_after, names, token, cert, chain, fullchain and privkey; multipart, a form with the fields name, fingerprint and not_after and the files cert, chain, fullchain and privkey. Absent: json."`
	CAFile      string            `yaml:"ca_file,omitempty" form:"path" doc:"What the server is verified with, in PEM. Absent: the system's."`
	Expect      []int             `yaml:"expect,omitempty" doc:"The statuses that are a success. After 429 and 503 it is tried again, as Retry-After says, for at most three minutes."`
	Verify      *DeployAPIVerify  `yaml:"verify,omitempty" doc:"How the interface is asked which version it has. What it has already is not sent again."`
}

// DeployAPIVerify says how an interface shows which version it has.
type DeployAPIVerify struct {
	URL     URL    `yaml:"url" required:"true" form:"url" doc:"The address that is asked by GET, with the same headers and token."`
	Matches string `yaml:"matches" required:"true" doc:"A regular expression that what is answered has to match, within 30 s: a template as body, which has to hold {{.Fingerprint}}, {{.SHA1}} or {{.Serial}}, such as (?i){{colons .Fingerprint}}."`
}

// DeployExec is a command that brings a version to where nothing else gets it.
type DeployExec struct {
	Command []string          `yaml:"command" required:"true" doc:"The program and its arguments; no shell is involved. In arguments {cert}, {chain}, {fullchain} and {privkey} stand for the paths of files with the parts of the version, {folder} for the private folder that holds them and is removed afterwards, {name} for the name of the certificate and {fingerprint} for the SHA-256 of the leaf. The environment has the same as CERTMEDIC_CERT, CERTMEDIC_CHAIN, CERTMEDIC_FULLCHAIN, CERTMEDIC_PRIVKEY, CERTMEDIC_FOLDER, CERTMEDIC_NAME and CERTMEDIC_FINGERPRINT, and in CERTMEDIC_TOKEN the token of the lease, in a cluster. Exit code 0 is a success."`
	Env     map[string]string `yaml:"env,omitempty" doc:"Variables that its environment has besides certmedic's own."`
	Stdin   string            `yaml:"stdin,omitempty" enum:"json" doc:"json: it gets the version on its standard input, as the object that api sends. Absent: nothing."`
}

func (a *DeployAPI) setDefaults() {
	a.Method, a.Expect = "POST", []int{200, 201, 204}
}

// MarshalYAML renders the interface without the text of what is sent, which may hold a password.
func (a DeployAPI) MarshalYAML() (any, error) {
	type shown DeployAPI
	a.Body = redact.Setting(a.Body)
	return shown(a), nil
}

// MarshalYAML renders the command without the values of variables, which may be secrets.
func (e DeployExec) MarshalYAML() (any, error) {
	type shown DeployExec
	e.Env = maps.Clone(e.Env)
	for name, value := range e.Env {
		e.Env[name] = redact.Setting(value)
	}
	return shown(e), nil
}

func (h HAProxy) build() certmedic.HAProxy {
	sockets := h.Sockets
	if h.Socket != "" {
		sockets = []string{h.Socket}
	}
	return certmedic.HAProxy{Sockets: slices.Clone(sockets), Certificate: h.Certificate}
}

// pushes reports whether the destination is no host.
func (d Destination) pushes() bool { return d.ACM != nil || d.API != nil || d.Exec != nil }

// push builds what is given to a destination that is no host.
func (d Destination) push(certificate string) certmedic.Push {
	p := certmedic.Push{Certificate: certificate}
	switch {
	case d.ACM != nil:
		a := d.ACM
		p.ACM = &certmedic.ACM{
			Region: a.Region, ARN: a.ARN, Tags: a.Tags, Endpoint: string(a.Endpoint),
			CredentialsFile: a.CredentialsFile, Profile: a.Profile, CAFile: a.CAFile,
		}
	case d.API != nil:
		a := d.API
		p.API = &certmedic.API{
			URL: string(a.URL), Method: a.Method, HeadersFile: a.HeadersFile, TokenFile: a.TokenFile, CAFile: a.CAFile,
			Body: a.Body, Form: a.Form, Expect: a.Expect,
		}
		if v := a.Verify; v != nil {
			p.API.VerifyURL, p.API.VerifyMatches = string(v.URL), v.Matches
		}
	case d.Exec != nil:
		p.Program = &certmedic.Program{Command: d.Exec.Command, Env: d.Exec.Env, Stdin: d.Exec.Stdin != ""}
	default:
		return certmedic.Push{}
	}
	return p
}

// sockets checks where the runtime APIs of HAProxy's processes are.
func (v *validator) sockets(key string, h *HAProxy) {
	switch {
	case h.Socket == "" && len(h.Sockets) == 0:
		v.errorf(key, "needs socket or sockets")
	case h.Socket != "" && h.Sockets != nil:
		v.errorf(key, "has socket and sockets, of which only one may be there")
	case h.Socket != "":
		v.pattern(key+".socket", h.Socket)
	}
	for i, socket := range h.Sockets {
		v.pattern(fmt.Sprintf("%s.sockets[%d]", key, i), socket)
	}
}

// push checks a destination that is no host.
func (v *validator) push(key string, d Destination) {
	if !d.pushes() {
		return
	}
	ways := 0
	for _, there := range []bool{d.ACM != nil, d.API != nil, d.Exec != nil} {
		if there {
			ways++
		}
	}
	host := len(d.Files)+len(d.Prepare)+len(d.Maps) > 0 || d.Swap+d.Service+d.Unit != "" || d.Restart || d.Signal != nil || d.HAProxy != nil ||
		d.Test != nil || d.Reload != nil || d.Alive != nil
	switch {
	case ways > 1:
		v.errorf(key, "has several of acm, api and exec; each is a destination of its own")
	case host:
		v.errorf(key, "acm, api and exec are no hosts: files, commands and services belong to a destination of their own")
	case !slices.Equal(d.On, []string{certmedic.LocalHost}):
		v.errorf(key+".on", "acm, api and exec are asked from this host alone")
	}
	v.acm(key+".acm", d.ACM)
	v.api(key+".api", d.API)
	if e := d.Exec; e != nil {
		v.pushExec(key+".exec", e)
	}
}

func (v *validator) acm(key string, a *DeployACM) {
	if a == nil {
		return
	}
	if a.Region == "" || strings.ContainsFunc(a.Region, func(r rune) bool { return !isAlphanumeric(r) && r != '-' }) {
		v.errorf(key+".region", "%q is no region, such as eu-central-1", a.Region)
	}
	if a.ARN != "" {
		if err := acm.CheckARN(a.ARN, a.Region); err != nil {
			v.errorf(key+".arn", "%s", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Tags)) {
		if name == "" || strings.HasPrefix(name, "aws:") || strings.HasPrefix(name, "certmedic") || len(name) > 128 || len(a.Tags[name]) > 256 {
			v.errorf(key+".tags", "%q is no tag: it has at most 128 and its value at most 256 characters, and begins neither with aws: nor with certmedic", name)
		}
	}
	if a.Endpoint != "" {
		v.sent(key+".endpoint", a.Endpoint)
	}
	v.path(key+".credentials_file", a.CredentialsFile)
	v.path(key+".ca_file", a.CAFile)
	if a.Profile != "" && strings.ContainsAny(a.Profile, "[]\r\n") {
		v.errorf(key+".profile", "%q is no profile", a.Profile)
	}
}

func (v *validator) api(key string, a *DeployAPI) {
	if a == nil {
		return
	}
	v.sent(key+".url", a.URL)
	v.path(key+".headers_file", a.HeadersFile)
	v.path(key+".token_file", a.TokenFile)
	v.path(key+".ca_file", a.CAFile)
	if a.Body != "" {
		if a.Form != "" {
			v.errorf(key+".form", "says nothing beside body")
		}
		if err := httpapi.CheckBody(a.Body); err != nil {
			v.errorf(key+".body", "%s", err)
		}
	}
	if len(a.Expect) == 0 {
		v.errorf(key+".expect", "needs at least one status")
	}
	for i, status := range a.Expect {
		v.between(fmt.Sprintf("%s.expect[%d]", key, i), status, 200, 299)
	}
	if a.Verify == nil {
		return
	}
	v.sent(key+".verify.url", a.Verify.URL)
	if err := httpapi.CheckMatches(a.Verify.Matches); err != nil {
		v.errorf(key+".verify.matches", "%s", err)
	}
}

// sent checks an address that keys or credentials are sent to.
func (v *validator) sent(key string, address URL) {
	if err := httpapi.CheckURL(string(address)); err != nil {
		v.errorf(key, "%s", err)
	}
}

func (v *validator) pushExec(key string, e *DeployExec) {
	if e.Command == nil {
		return // it was reported as missing
	}
	v.argv(key+".command", e.Command)
	if len(e.Command) > 0 {
		if err := program.Check(e.Command); err != nil {
			v.errorf(key+".command", "%s", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(e.Env[name], 0) || strings.HasPrefix(name, "CERTMEDIC_") {
			v.errorf(key+".env", "%q is no variable that can be set", name)
		}
	}
}

// push reports files of a destination that is no host which others may read or change.
func (f *fileChecker) push(key string, d Destination) {
	if a := d.ACM; a != nil {
		f.secret(key+".acm.credentials_file", a.CredentialsFile)
		f.unchanged(key+".acm.ca_file", a.CAFile)
	}
	if a := d.API; a != nil {
		f.secret(key+".api.headers_file", a.HeadersFile)
		f.secret(key+".api.token_file", a.TokenFile)
		f.unchanged(key+".api.ca_file", a.CAFile)
	}
	if d.Exec != nil {
		f.program(key+".exec.command", d.Exec.Command)
	}
}
