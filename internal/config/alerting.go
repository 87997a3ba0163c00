package config

import (
	"maps"
	"time"

	"github.com/certmedic/certmedic/internal/redact"
)

// Receiver is one way to tell people.
type Receiver struct {
	Name         string        `yaml:"name" required:"true" doc:"The name of the receiver, unique, of letters, digits and the signs . _ * and -."`
	Heartbeat    bool          `yaml:"heartbeat,omitempty" doc:"Whether a sign of life is sent to it regularly, so that it can tell when certmedic itself is dead. The settings of each kind take this key, too."`
	TextsFile    string        `yaml:"texts_file,omitempty" form:"path" doc:"A file with templates, in the language of Go's text/template, of what it is told about an incident: those that it defines as summary and as reason stand for these texts, each as plain text. See docs/webhooks.md for the data."`
	Log          *Log          `yaml:"log,omitempty" doc:"Write to the daemon's own log."`
	Slack        *Slack        `yaml:"slack,omitempty" doc:"Post to a channel of Slack."`
	PagerDuty    *PagerDuty    `yaml:"pagerduty,omitempty" doc:"Page by the Events API of PagerDuty."`
	Webhook      *Webhook      `yaml:"webhook,omitempty" doc:"Send JSON to a URL."`
	Alertmanager *Alertmanager `yaml:"alertmanager,omitempty" doc:"Post alerts to Prometheus' Alertmanager. Events that are no incident are not sent."`
	Email        *Email        `yaml:"email,omitempty" doc:"Send mail."`
	Syslog       *Syslog       `yaml:"syslog,omitempty" doc:"Write to syslog: to that of this host in its usual form, to others by RFC 5424."`
	Exec         *Exec         `yaml:"exec,omitempty" doc:"Run a command."`
	_            struct{}      `oneof:"log slack pagerduty webhook alertmanager email syslog exec"`
}

// Beats reports whether signs of life are sent to the receiver.
func (r Receiver) Beats() bool {
	return r.Heartbeat ||
		r.Slack != nil && r.Slack.Heartbeat ||
		r.PagerDuty != nil && r.PagerDuty.Heartbeat ||
		r.Webhook != nil && r.Webhook.Heartbeat ||
		r.Alertmanager != nil && r.Alertmanager.Heartbeat ||
		r.Email != nil && r.Email.Heartbeat ||
		r.Syslog != nil && r.Syslog.Heartbeat ||
		r.Exec != nil && r.Exec.Heartbeat
}

// Log writes notifications to the daemon's own log. It has no settings.
type Log struct{}

// Slack posts to a channel: as a bot, or by an incoming webhook.
type Slack struct {
	TokenFile         string            `yaml:"token_file,omitempty" form:"path" doc:"A file with the token of a bot (xoxb-...). Others may not read it."`
	Channel           string            `yaml:"channel,omitempty" doc:"The channel, as #name or, better, as its ID."`
	AppTokenFile      string            `yaml:"app_token_file,omitempty" form:"path" doc:"A file with the token of the app (xapp-...): messages get buttons, and what people press comes through Socket Mode, for which no port has to be open. Each certmedic needs an app of its own, because Slack gives a click to one connection of an app only. Others may not read it."`
	SigningSecretFile string            `yaml:"signing_secret_file,omitempty" form:"path" doc:"A file with the app's signing secret: messages get buttons, and what people press comes to /api/v1/slack/interactions. Others may not read it."`
	WebhookURLFile    string            `yaml:"webhook_url_file,omitempty" form:"path" doc:"A file with the URL of an incoming webhook, in place of a token: messages are posted, never edited, and have no buttons. Others may not read it."`
	APIURL            URL               `yaml:"api_url,omitempty" form:"url" doc:"Another address of the Web API, for tests. Empty: https://slack.com/api/."`
	Approvers         []string          `yaml:"approvers,omitempty" doc:"Who may approve or reject a plan by a button: the IDs of users of Slack (U...). Empty: nobody."`
	Mention           map[string]string `yaml:"mention,omitempty" doc:"Who is called when a conversation gets a severity, in Slack's own form: <!here>, <!channel>, <@U...> or <!subteam^S...>, several with blanks between."`
	Heartbeat         bool              `yaml:"heartbeat,omitempty" doc:"Whether a sign of life is sent regularly."`
}

// PagerDuty pages by the Events API.
type PagerDuty struct {
	RoutingKeyFile    string `yaml:"routing_key_file" required:"true" form:"path" doc:"A file with the integration key of a service. Others may not read it."`
	WebhookSecretFile string `yaml:"webhook_secret_file,omitempty" form:"path" doc:"A file with the secrets of webhooks (v3), one a line, by which acknowledgements come back to /api/v1/pagerduty/webhook. Without them certmedic does not know that somebody acknowledged, and PagerDuty calls nobody when it gets worse after that. Others may not read it."`
	APIURL            URL    `yaml:"api_url,omitempty" form:"url" doc:"Another address of the Events API, for tests and for the service region EU. Empty: https://events.pagerduty.com."`
	Heartbeat         bool   `yaml:"heartbeat,omitempty" doc:"Whether a sign of life is sent regularly."`
}

// Webhook sends notifications as JSON to a URL.
type Webhook struct {
	URL          URL           `yaml:"url" required:"true" form:"url" doc:"Where to send to, http or https."`
	Method       string        `yaml:"method" enum:"POST PUT PATCH" doc:"The HTTP method."`
	HeadersFile  string        `yaml:"headers_file,omitempty" form:"path" doc:"A file with headers to add, one 'Name: value' a line. Others may not read it."`
	TemplateFile string        `yaml:"template_file,omitempty" form:"path" doc:"A file with a template of the body, in the language of Go's text/template. Absent: JSON. See docs/webhooks.md for both."`
	ContentType  string        `yaml:"content_type" doc:"The Content-Type of the body. What a template gives has to be valid JSON where this says so."`
	Timeout      time.Duration `yaml:"timeout" doc:"The most time that one attempt may take."`
	SendResolved bool          `yaml:"send_resolved" doc:"Whether the end of an incident is sent, too."`
	Heartbeat    bool          `yaml:"heartbeat,omitempty" doc:"Whether a sign of life is sent regularly."`
}

// Alertmanager posts alerts to instances of Alertmanager.
type Alertmanager struct {
	URLs            []URL         `yaml:"urls" required:"true" single:"true" form:"url" doc:"The addresses of all instances, as Prometheus has them: every alert is posted to each of them."`
	Username        string        `yaml:"username,omitempty" doc:"The user of basic authentication."`
	PasswordFile    string        `yaml:"password_file,omitempty" form:"path" doc:"A file with the password of the user. Others may not read it."`
	BearerTokenFile string        `yaml:"bearer_token_file,omitempty" form:"path" doc:"A file with a bearer token, in place of a user. Others may not read it."`
	CAFile          string        `yaml:"ca_file,omitempty" form:"path" doc:"A PEM file with the roots that verify the instances. Absent: those of the system."`
	Timeout         time.Duration `yaml:"timeout" doc:"The most time that one attempt may take."`
	Heartbeat       bool          `yaml:"heartbeat,omitempty" doc:"Whether an alert named certmedic-heartbeat fires as long as certmedic works."`
}

// Email sends mail through a server.
type Email struct {
	Smarthost    string        `yaml:"smarthost" required:"true" doc:"The server that takes the mail, as host:port; usual ports are 25, 587 and, for tls, 465."`
	From         string        `yaml:"from" required:"true" doc:"The sender, as a@example.com or Name <a@example.com>."`
	To           []string      `yaml:"to" required:"true" single:"true" doc:"The recipients. Where the server refuses one of them, none gets the mail, and the fallback is told."`
	Hello        string        `yaml:"hello,omitempty" doc:"The name that certmedic greets the server with. Empty: that of this host."`
	TLS          string        `yaml:"tls,omitempty" enum:"starttls tls none" doc:"How mail is encrypted on its way to the server: starttls, without which nothing is sent; tls from the first byte on; or none. Empty: starttls, and none for a server on this host (a loopback address or localhost)."`
	CAFile       string        `yaml:"ca_file,omitempty" form:"path" doc:"A PEM file with the roots that verify the server. Absent: those of the system."`
	Username     string        `yaml:"username,omitempty" doc:"The user to log in as; only where mail is encrypted."`
	PasswordFile string        `yaml:"password_file,omitempty" form:"path" doc:"A file with the password of the user. Others may not read it."`
	TemplateFile string        `yaml:"template_file,omitempty" form:"path" doc:"A file with a template of the text, in the language of Go's text/template; what it defines as subject and html stands for those. See docs/webhooks.md for the data."`
	Timeout      time.Duration `yaml:"timeout" doc:"The most time that one attempt may take."`
	Heartbeat    bool          `yaml:"heartbeat,omitempty" doc:"Whether a sign of life is sent regularly."`
}

// Syslog writes to a syslog server.
type Syslog struct {
	Network   string        `yaml:"network" enum:"local udp tcp tls" doc:"How the server is reached: local is the socket of this host."`
	Address   string        `yaml:"address,omitempty" doc:"The server as host:port; the path of the socket for local, where it is not /dev/log."`
	Facility  string        `yaml:"facility" enum:"kern user mail daemon auth syslog lpr news uucp cron authpriv ftp local0 local1 local2 local3 local4 local5 local6 local7" doc:"The facility of the messages."`
	Tag       string        `yaml:"tag" doc:"The name of the program that the messages carry."`
	CAFile    string        `yaml:"ca_file,omitempty" form:"path" doc:"A PEM file with the roots that verify the server, for tls. Absent: those of the system."`
	Timeout   time.Duration `yaml:"timeout" doc:"The most time that one attempt may take."`
	Heartbeat bool          `yaml:"heartbeat,omitempty" doc:"Whether a sign of life is written regularly."`
}

// Exec runs a command for each event.
type Exec struct {
	Command   []string          `yaml:"command" required:"true" doc:"The program and its arguments. It gets the event as JSON on its standard input and in variables, see docs/webhooks.md. Exit code 0 is a delivery, 75 asks for another attempt, any other is final."`
	Env       map[string]string `yaml:"env,omitempty" doc:"Further variables of its environment."`
	Timeout   time.Duration     `yaml:"timeout" doc:"The most time that it may take, up to 25s, before it is ended with its process group and tried again."`
	Heartbeat bool              `yaml:"heartbeat,omitempty" doc:"Whether it is run for signs of life, too."`
}

// MarshalYAML renders the settings without the path of the address, which is the secret of many
// services.
func (w Webhook) MarshalYAML() (any, error) {
	type shown Webhook
	w.URL = URL(redact.Path(string(w.URL)))
	return shown(w), nil
}

// MarshalYAML renders the settings without the values of variables, which may be secrets.
func (e Exec) MarshalYAML() (any, error) {
	type shown Exec
	e.Env = maps.Clone(e.Env)
	for name, value := range e.Env {
		e.Env[name] = redact.Setting(value)
	}
	return shown(e), nil
}

func (w *Webhook) setDefaults() {
	w.Method = "POST"
	w.ContentType = "application/json"
	w.Timeout = 10 * time.Second
	w.SendResolved = true
}

func (a *Alertmanager) setDefaults() { a.Timeout = 10 * time.Second }

func (e *Email) setDefaults() { e.Timeout = 20 * time.Second }

func (s *Syslog) setDefaults() {
	s.Network = "local"
	s.Facility = "daemon"
	s.Tag = "certmedic"
	s.Timeout = 10 * time.Second
}

func (e *Exec) setDefaults() { e.Timeout = 10 * time.Second }
