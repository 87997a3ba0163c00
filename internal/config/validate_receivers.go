package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

func (v *validator) receiver(key string, r Receiver) {
	if r.Slack != nil {
		v.slack(key+".slack", r.Slack)
	}
	if r.PagerDuty != nil {
		v.absolute(key+".pagerduty.routing_key_file", r.PagerDuty.RoutingKeyFile)
		v.path(key+".pagerduty.webhook_secret_file", r.PagerDuty.WebhookSecretFile)
		v.optionalURL(key+".pagerduty.api_url", r.PagerDuty.APIURL)
	}
	if r.Webhook != nil {
		v.webhook(key+".webhook", r.Webhook)
	}
	if r.Alertmanager != nil {
		v.alertmanager(key+".alertmanager", r.Alertmanager)
	}
	if r.Email != nil {
		v.mail(key+".email", r.Email)
	}
	if r.Syslog != nil {
		v.syslog(key+".syslog", r.Syslog)
	}
	if r.Exec != nil {
		v.exec(key+".exec", r.Exec)
	}
	if r.Log != nil && r.Heartbeat {
		v.warnf(key+".heartbeat", "nobody notices when the log of a dead certmedic is silent; let another receiver hear of it")
	}
}

func (v *validator) slack(key string, s *Slack) {
	for name, path := range map[string]string{
		"token_file": s.TokenFile, "app_token_file": s.AppTokenFile, "signing_secret_file": s.SigningSecretFile, "webhook_url_file": s.WebhookURLFile,
	} {
		v.path(key+"."+name, path)
	}
	v.optionalURL(key+".api_url", s.APIURL)
	buttons := s.AppTokenFile != "" || s.SigningSecretFile != ""
	switch {
	case s.TokenFile == "" && s.WebhookURLFile == "":
		v.errorf(key, "needs token_file, or webhook_url_file for an incoming webhook")
	case s.TokenFile != "" && s.WebhookURLFile != "":
		v.errorf(key+".webhook_url_file", "an incoming webhook stands in place of token_file")
	case s.TokenFile != "" && s.Channel == "":
		v.errorf(key+".channel", "is missing: the channel to post to")
	case s.WebhookURLFile != "" && s.Channel != "":
		v.errorf(key+".channel", "an incoming webhook posts to the channel that it was made for")
	case s.WebhookURLFile != "" && buttons:
		v.errorf(key, "messages of an incoming webhook have no buttons, for which app_token_file and signing_secret_file are")
	case len(s.Approvers) > 0 && !buttons:
		v.errorf(key+".approvers", "nobody can press a button without app_token_file or signing_secret_file")
	}
	for i, user := range s.Approvers {
		if !isSlackUser(user) {
			v.errorf(fmt.Sprintf("%s.approvers[%d]", key, i), "%q is no ID of a user of Slack, such as U024BE7LH", user)
		}
	}
	for severity := range s.Mention {
		if !slices.Contains([]string{"info", "warning", "critical"}, severity) {
			v.errorf(key+".mention."+severity, "%q is none of info, warning, critical", severity)
		}
	}
}

// isSlackUser reports whether s has the form of the ID of a user.
func isSlackUser(s string) bool {
	return len(s) > 1 && (s[0] == 'U' || s[0] == 'W') && strings.IndexFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z')
	}) < 0
}

func (v *validator) webhook(key string, w *Webhook) {
	v.webURL(key+".url", w.URL)
	v.positive(key+".timeout", w.Timeout)
	v.path(key+".headers_file", w.HeadersFile)
	v.path(key+".template_file", w.TemplateFile)
	if w.ContentType == "" || strings.ContainsFunc(w.ContentType, func(r rune) bool { return r < ' ' || r > '~' }) {
		v.errorf(key+".content_type", "%q is no content type", w.ContentType)
	}
}

func (v *validator) alertmanager(key string, a *Alertmanager) {
	if len(a.URLs) == 0 {
		v.errorf(key+".urls", "needs at least one address")
	}
	for i, u := range a.URLs {
		v.webURL(v.element(key+".urls", i), u)
	}
	v.positive(key+".timeout", a.Timeout)
	v.path(key+".password_file", a.PasswordFile)
	v.path(key+".bearer_token_file", a.BearerTokenFile)
	v.path(key+".ca_file", a.CAFile)
	switch {
	case a.BearerTokenFile != "" && (a.Username != "" || a.PasswordFile != ""):
		v.errorf(key+".bearer_token_file", "stands in place of username and password_file")
	case a.Username == "" && a.PasswordFile != "":
		v.errorf(key+".password_file", "needs a username")
	}
}

func (v *validator) mail(key string, e *Email) {
	v.server(key+".smarthost", e.Smarthost)
	v.positive(key+".timeout", e.Timeout)
	v.path(key+".password_file", e.PasswordFile)
	v.path(key+".template_file", e.TemplateFile)
	v.path(key+".ca_file", e.CAFile)
	v.mailbox(key+".from", e.From)
	if len(e.To) == 0 {
		v.errorf(key+".to", "needs at least one recipient")
	}
	for i, to := range e.To {
		v.mailbox(v.element(key+".to", i), to)
	}
	if e.Hello != "" && !isHostName(e.Hello) {
		v.errorf(key+".hello", "%q is no host name", e.Hello)
	}
	switch {
	case e.Username == "" && e.PasswordFile != "":
		v.errorf(key+".password_file", "needs a username")
	case e.Username != "" && e.PasswordFile == "":
		v.errorf(key+".username", "needs a password_file")
	case e.Username != "" && e.Encryption() == "none":
		v.errorf(key+".username", "nobody logs in where mail is not encrypted; set tls to starttls or tls")
	}
}

// Encryption returns how mail is encrypted on its way to the server, where that is left open, too.
func (e Email) Encryption() string {
	if e.TLS != "" {
		return e.TLS
	}
	host, _, _ := net.SplitHostPort(e.Smarthost)
	if ip, err := netip.ParseAddr(host); strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback() {
		return "none"
	}
	return "starttls"
}

func (v *validator) mailbox(key, address string) {
	if _, err := mail.ParseAddress(address); err != nil || strings.ContainsAny(address, "\r\n") {
		v.errorf(key, "%q is no mail address", address)
	}
}

func (v *validator) syslog(key string, s *Syslog) {
	v.positive(key+".timeout", s.Timeout)
	v.path(key+".ca_file", s.CAFile)
	switch {
	case s.Network == "local":
		v.path(key+".address", s.Address)
	case s.Address == "":
		v.errorf(key+".address", "is missing: the server as host:port")
	default:
		v.server(key+".address", s.Address)
	}
	const longest = 48 // RFC 5424, section 6: APP-NAME
	if s.Tag == "" || len(s.Tag) > longest || strings.ContainsFunc(s.Tag, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("[]:", r) }) {
		v.errorf(key+".tag", "%q is no name of a program: up to %d letters, digits and signs but [ ] :", s.Tag, longest)
	}
}

// longestCommand is how long a command of a receiver may take: less than an attempt may.
const longestCommand = 25 * time.Second

func (v *validator) exec(key string, e *Exec) {
	v.argv(key+".command", e.Command)
	if e.Timeout <= 0 || e.Timeout > longestCommand {
		v.errorf(key+".timeout", "must be between 0s and %s, not %s", longestCommand, e.Timeout)
	}
	for name, value := range e.Env {
		if !isLabel(name) || strings.ContainsRune(value, 0) {
			v.errorf(key+".env."+name, "%q is no name of a variable, or its value holds a NUL byte", name)
		}
	}
}

// server checks host:port.
func (v *validator) server(key, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || !isPort(port) {
		v.errorf(key, "%q is not host:port", address)
	}
}

func isPort(s string) bool {
	port, err := netip.ParseAddrPort("[::]:" + s)
	return err == nil && port.Port() > 0
}

func (v *validator) optionalURL(key string, address URL) {
	if address != "" {
		v.webURL(key, address)
	}
}

func (v *validator) webURL(key string, address URL) {
	u, err := url.Parse(string(address))
	switch {
	case err != nil: // its text would show the whole address
		v.errorf(key, "is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		v.errorf(key, "must begin with http:// or https://")
	case u.Hostname() == "":
		v.errorf(key, "has no host")
	}
}

// element returns the key of an element of a list, which may stand alone without one.
func (v *validator) element(key string, i int) string {
	at := fmt.Sprintf("%s[%d]", key, i)
	if _, listed := v.positions.byKey[at]; !listed {
		return key
	}
	return at
}
