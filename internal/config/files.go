package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/certmedic/certmedic/internal/ownership"
)

// checkFiles looks at the files that the configuration names. Paths that are not
// absolute were reported before, and are left out here.
func checkFiles(c *Config, r *report) {
	f := &fileChecker{report: r}
	f.modules(c)
	for i, root := range c.Probe.Roots {
		if filepath.IsAbs(root) {
			f.readable(rootKey(c, i), root)
		}
	}
	for i, pattern := range c.Rules.Files {
		f.rules(fmt.Sprintf("rules.files[%d]", i), pattern)
	}
	for i, receiver := range c.Alerting.Receivers {
		f.receiver(fmt.Sprintf("alerting.receivers[%d]", i), receiver)
	}
	for i, w := range c.Watch {
		f.secret(fmt.Sprintf("watch[%d].passphrase_file", i), w.Passphrase)
	}
	f.cluster(c.Cluster)
	f.hosts(c.Hosts)
	for i, certificate := range c.Certificates {
		if files := certificate.Source.Files; files != nil {
			f.secret(fmt.Sprintf("certificates[%d].source.files.passphrase_file", i), files.PassphraseFile)
		}
		if a := certificate.Source.ACME; a != nil {
			f.acme(fmt.Sprintf("certificates[%d].source.acme", i), a)
		}
		f.shared(fmt.Sprintf("certificates[%d]", i), certificate)
		if r := certificate.Renew; r != nil && r.ACME != nil {
			f.acme(fmt.Sprintf("certificates[%d].renew.acme", i), r.ACME)
		}
		for j, d := range certificate.Deploy {
			f.destination(fmt.Sprintf("certificates[%d].deploy[%d]", i, j), d)
		}
	}
}

type fileChecker struct{ *report }

// receiver looks at the files of a way to tell people.
func (f *fileChecker) receiver(key string, r Receiver) {
	f.unchanged(key+".texts_file", r.TextsFile)
	if s := r.Slack; s != nil {
		f.secret(key+".slack.token_file", s.TokenFile)
		f.secret(key+".slack.app_token_file", s.AppTokenFile)
		f.secret(key+".slack.signing_secret_file", s.SigningSecretFile)
		f.secret(key+".slack.webhook_url_file", s.WebhookURLFile)
	}
	if p := r.PagerDuty; p != nil {
		f.secret(key+".pagerduty.routing_key_file", p.RoutingKeyFile)
		f.secret(key+".pagerduty.webhook_secret_file", p.WebhookSecretFile)
	}
	if w := r.Webhook; w != nil {
		f.secret(key+".webhook.headers_file", w.HeadersFile)
		f.unchanged(key+".webhook.template_file", w.TemplateFile)
	}
	if a := r.Alertmanager; a != nil {
		f.secret(key+".alertmanager.password_file", a.PasswordFile)
		f.secret(key+".alertmanager.bearer_token_file", a.BearerTokenFile)
		f.readable(key+".alertmanager.ca_file", a.CAFile)
	}
	if e := r.Email; e != nil {
		f.secret(key+".email.password_file", e.PasswordFile)
		f.unchanged(key+".email.template_file", e.TemplateFile)
		f.readable(key+".email.ca_file", e.CAFile)
	}
	if s := r.Syslog; s != nil {
		f.readable(key+".syslog.ca_file", s.CAFile)
	}
	if r.Exec != nil {
		f.program(key+".exec.command", r.Exec.Command)
	}
}

func (f *fileChecker) modules(c *Config) {
	for name, m := range c.Modules {
		f.tlsConfig("modules."+name+".tls_config", m.TLSConfig)
		if m.TCP != nil {
			f.tlsConfig("modules."+name+".tcp.tls_config", m.TCP.TLSConfig)
		}
		if m.HTTP != nil {
			f.tlsConfig("modules."+name+".http.tls_config", m.HTTP.TLSConfig)
		}
	}
}

func (f *fileChecker) tlsConfig(key string, t *TLSConfig) {
	if t == nil {
		return
	}
	f.readable(key+".ca_file", t.CAFile)
	f.readable(key+".cert_file", t.CertFile)
	f.secret(key+".key_file", t.KeyFile)
}

// readable reports a file that cannot be read.
func (f *fileChecker) readable(key, path string) {
	if !filepath.IsAbs(path) {
		return
	}
	file, err := os.Open(path)
	if err != nil {
		f.fail(key, err)
		return
	}
	_ = file.Close() // only read
}

// secret reports a file that others may read or change, or that is missing.
func (f *fileChecker) secret(key, path string) {
	if !filepath.IsAbs(path) {
		return
	}
	if err := ownership.CheckSecret(path); err != nil {
		f.fail(key, err)
	}
}

// unchanged reports a file that others may change, or that is missing.
func (f *fileChecker) unchanged(key, path string) {
	if !filepath.IsAbs(path) {
		return
	}
	if err := ownership.Check(path); err != nil {
		f.fail(key, err)
	}
}

// rules reports rule files that others may change. A pattern may match nothing; a plain
// path must be there.
func (f *fileChecker) rules(key, pattern string) {
	if !filepath.IsAbs(pattern) {
		return
	}
	paths := []string{pattern}
	if strings.ContainsAny(pattern, `*?[\`) {
		paths, _ = filepath.Glob(pattern) // a bad pattern was reported before
		if len(paths) == 0 {
			f.warnf(key, "no file matches %q", pattern)
		}
	}
	for _, path := range paths {
		if err := ownership.Check(path); err != nil {
			f.fail(key, err)
		}
	}
}

// program reports a program that others may change. One that is not there is a warning:
// it may be installed later, and running it will say so.
func (f *fileChecker) program(key string, argv []string) {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return
	}
	err := ownership.Check(argv[0])
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.warnf(key, "there is no program %q", argv[0])
	case err != nil:
		f.fail(key+"[0]", err)
	}
}
