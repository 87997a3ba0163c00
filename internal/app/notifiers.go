package app

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertmanager"
	"github.com/certmedic/certmedic/alerting/command"
	"github.com/certmedic/certmedic/alerting/email"
	"github.com/certmedic/certmedic/alerting/logger"
	"github.com/certmedic/certmedic/alerting/pagerduty"
	"github.com/certmedic/certmedic/alerting/slack"
	"github.com/certmedic/certmedic/alerting/syslog"
	"github.com/certmedic/certmedic/alerting/template"
	"github.com/certmedic/certmedic/alerting/webhook"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/headerfile"
	"github.com/certmedic/certmedic/probe/roots"
)

// outfit is what receivers need beside their configuration.
type outfit struct {
	log     *slog.Logger // nil: nobody can be told anything
	environ []string     // of commands
	limits  *limits
}

// limits are what services take from this process. They outlive a reload, which to a service is
// no reason to take more.
type limits struct {
	mu     sync.Mutex
	slack  map[string]*slack.Limits // by token or webhook
	pagers *pagerduty.Limits
}

func (l *limits) ofSlack(secret string) *slack.Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slack == nil {
		l.slack = map[string]*slack.Limits{}
	}
	if l.slack[secret] == nil {
		l.slack[secret] = slack.NewLimits()
	}
	return l.slack[secret]
}

func (l *limits) ofPagers() *pagerduty.Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pagers == nil {
		l.pagers = pagerduty.NewLimits()
	}
	return l.pagers
}

// outfit returns what the receivers of this process share.
func (a *App) outfit() outfit {
	return outfit{log: a.o.Log, environ: commandEnviron(a.o.Environ), limits: &a.limits}
}

// receivers makes the notifiers of a configuration, by name. Errors name the place in the file.
func receivers(c *config.Config, o outfit) (map[string]alerting.Notifier, error) {
	all := map[string]alerting.Notifier{}
	var errs []error
	for i, r := range c.Alerting.Receivers {
		n, err := o.receiver(r, c.Alerting)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: receiver %q: %w", c.Position(fmt.Sprintf("alerting.receivers[%d]", i)), r.Name, err))
		}
		all[r.Name] = n
	}
	return all, errors.Join(append(errs, twins(c))...)
}

func (o outfit) receiver(r config.Receiver, a config.Alerting) (alerting.Notifier, error) {
	switch {
	case r.Slack != nil:
		return o.slack(r.Slack, a)
	case r.PagerDuty != nil:
		return o.pagerDuty(r, a)
	case r.Webhook != nil:
		return webhookOf(r.Webhook, a)
	case r.Alertmanager != nil:
		return alertmanagerOf(r.Alertmanager, a)
	case r.Email != nil:
		return emailOf(r.Email, a)
	case r.Syslog != nil:
		return syslogOf(r.Syslog, a)
	case r.Exec != nil:
		return o.command(r.Exec, a)
	default:
		return logger.New(o.log), nil
	}
}

func (o outfit) slack(s *config.Slack, a config.Alerting) (alerting.Notifier, error) {
	c := slack.Config{
		Channel: s.Channel, APIURL: string(s.APIURL), BaseURL: string(a.ExternalURL), RunbookURL: string(a.RunbookURL),
		Buttons: s.AppTokenFile != "" || s.SigningSecretFile != "", Mention: map[certmedic.Severity]string{},
	}
	for severity, who := range s.Mention {
		c.Mention[certmedic.Severity(severity)] = who
	}
	var err error
	if s.WebhookURLFile != "" {
		c.WebhookURL, err = secretLine(s.WebhookURLFile)
	} else {
		c.Token, err = secretLine(s.TokenFile)
	}
	if err != nil {
		return nil, err
	}
	c.Limits = o.limits.ofSlack(c.Token + c.WebhookURL)
	return slack.New(c, nil)
}

func (o outfit) pagerDuty(r config.Receiver, a config.Alerting) (alerting.Notifier, error) {
	key, err := secretLine(r.PagerDuty.RoutingKeyFile)
	if err != nil {
		return nil, err
	}
	if r.Beats() && strings.HasPrefix(key, "R") {
		return nil, errors.New("pagerduty: a sign of life is a change event, which the key of a ruleset (R...) does not take")
	}
	return pagerduty.New(pagerduty.Config{
		RoutingKey: key, APIURL: string(r.PagerDuty.APIURL), BaseURL: string(a.ExternalURL), RunbookURL: string(a.RunbookURL), Limits: o.limits.ofPagers(),
	}, nil)
}

func webhookOf(w *config.Webhook, a config.Alerting) (alerting.Notifier, error) {
	var headers http.Header
	var err error
	if w.HeadersFile != "" {
		if headers, err = headerfile.Read(w.HeadersFile); err != nil {
			return nil, err
		}
	}
	own, err := templateOf(w.TemplateFile)
	if err != nil {
		return nil, err
	}
	return webhook.New(webhook.Config{
		URL: string(w.URL), Method: w.Method, Headers: headers, Timeout: w.Timeout, Template: own, ContentType: w.ContentType,
		SkipResolved: !w.SendResolved, RunbookURL: string(a.RunbookURL),
	}, nil)
}

func alertmanagerOf(m *config.Alertmanager, a config.Alerting) (alerting.Notifier, error) {
	c := alertmanager.Config{Username: m.Username, Timeout: m.Timeout, BaseURL: string(a.ExternalURL), RunbookURL: string(a.RunbookURL)}
	for _, u := range m.URLs {
		c.URLs = append(c.URLs, string(u))
	}
	var errPassword, errToken, errRoots error
	c.Password, errPassword = optionalSecret(m.PasswordFile)
	c.BearerToken, errToken = optionalSecret(m.BearerTokenFile)
	c.Roots, errRoots = optionalRoots(m.CAFile)
	if err := errors.Join(errPassword, errToken, errRoots); err != nil {
		return nil, err
	}
	return alertmanager.New(c)
}

func emailOf(e *config.Email, a config.Alerting) (alerting.Notifier, error) {
	c := email.Config{
		Smarthost: e.Smarthost, From: e.From, To: e.To, Hello: e.Hello, Encryption: e.Encryption(), Username: e.Username, Timeout: e.Timeout,
		BaseURL: string(a.ExternalURL), RunbookURL: string(a.RunbookURL),
	}
	var errPassword, errTemplate, errRoots error
	c.Password, errPassword = optionalSecret(e.PasswordFile)
	c.Template, errTemplate = templateOf(e.TemplateFile)
	c.Roots, errRoots = optionalRoots(e.CAFile)
	if err := errors.Join(errPassword, errTemplate, errRoots); err != nil {
		return nil, err
	}
	return email.New(c)
}

func syslogOf(s *config.Syslog, a config.Alerting) (alerting.Notifier, error) {
	pool, err := optionalRoots(s.CAFile)
	if err != nil {
		return nil, err
	}
	return syslog.New(syslog.Config{
		Network: s.Network, Address: s.Address, Facility: s.Facility, Tag: s.Tag, Roots: pool, RunbookURL: string(a.RunbookURL), Timeout: s.Timeout,
	})
}

func (o outfit) command(e *config.Exec, a config.Alerting) (alerting.Notifier, error) {
	environ := slices.Clone(o.environ)
	for _, name := range slices.Sorted(maps.Keys(e.Env)) {
		environ = append(environ, name+"="+e.Env[name])
	}
	return command.New(command.Config{Argv: e.Command, Environ: environ, RunbookURL: string(a.RunbookURL), Timeout: e.Timeout})
}

// secretLine reads a file with one secret. Its errors name the line, never what is in it.
func secretLine(path string) (string, error) {
	all, err := secretLines(path)
	if err != nil {
		return "", err
	}
	if len(all) > 1 {
		return "", fmt.Errorf("reading a secret: %s:2: it has more than one line", path)
	}
	return all[0], nil
}

func optionalSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return secretLine(path)
}

func templateOf(path string) (*template.Template, error) {
	if path == "" {
		return nil, nil
	}
	return template.ReadFile(path)
}

// optionalRoots returns nil, which stands for the roots of the system, where there is no file.
func optionalRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	sets, err := roots.Load([]string{path})
	if err != nil {
		return nil, err
	}
	return sets[0].Pool, nil
}
