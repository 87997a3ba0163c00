// Package alertmanager posts incidents as alerts to Prometheus' Alertmanager, by version 2 of its
// API. Every open incident is an alert. Like Prometheus it posts what fires again and again, each
// time with an end a few minutes ahead: where certmedic dies, its alerts end by themselves, and a
// restart, of either side, goes unnoticed. All instances of a cluster are posted to, because
// alerts are the one thing that they do not tell each other; a notification counts as delivered
// when at least one took it.
//
// Events that are no incident have no place in Alertmanager and are left out. A heartbeat is an
// alert that fires as long as certmedic works.
package alertmanager

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/answer"
)

const (
	defaultEvery = time.Minute
	posts        = 4 // within the time that an alert is valid, as Prometheus has it: three may be lost

	defaultTimeout = 10 * time.Second
	maxAlerts      = 500 // in one request
)

// Config is what an Alertmanager receiver needs.
type Config struct {
	URLs []string // of all instances, http or https, with the path prefix where there is one

	Username, Password string // of basic authentication; empty: none
	BearerToken        string // in place of a user

	Roots      *x509.CertPool // that verify the instances; nil: those of the system
	Timeout    time.Duration  // of one request with its answer; 0: 10 s
	Every      time.Duration  // between two posts of what fires; 0: 1 min
	BaseURL    string         // of certmedic's own page, the generator of every alert; empty: none
	RunbookURL string         // stands in front of the name of a rule's runbook; empty: no link, unless the rule has a URL
}

// Notifier posts alerts to the instances.
type Notifier struct {
	config    Config
	instances []instance
	client    *http.Client
}

// instance is one Alertmanager.
type instance struct{ url, host string }

var (
	_ alerting.Notifier  = (*Notifier)(nil)
	_ alerting.Refresher = (*Notifier)(nil)
	_ alerting.Previewer = (*Notifier)(nil)
)

// New returns a notifier. Redirects are never followed: they would carry the password to
// somebody else.
func New(c Config) (*Notifier, error) {
	if len(c.URLs) == 0 {
		return nil, errors.New("alertmanager: at least one url is needed")
	}
	n := &Notifier{config: c}
	n.config.Every = cmp.Or(c.Every, defaultEvery)
	for _, address := range c.URLs {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, errors.New("alertmanager: a url must begin with http:// or https:// and have a host")
		}
		n.instances = append(n.instances, instance{url: u.JoinPath("api", "v2", "alerts").String(), host: u.Host})
	}
	n.client = &http.Client{
		Timeout: cmp.Or(c.Timeout, defaultTimeout),
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{RootCAs: c.Roots},
			TLSHandshakeTimeout: defaultTimeout,
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     2 * n.config.Every,
			ForceAttemptHTTP2:   true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return n, nil
}

// Notify posts what fires in the conversation, and the end of what ended.
func (n *Notifier) Notify(ctx context.Context, notification alerting.Notification) (retry bool, err error) {
	now := time.Now()
	before := remembered(notification.Memory)
	alerts, after := n.alertsOf(notification, before, now)
	if len(alerts) == 0 {
		return false, nil
	}
	answers := n.postAll(ctx, alerts)
	if err := rejection(answers); err != nil {
		return slices.ContainsFunc(answers, func(a posted) bool { return a.retry }), err
	}
	if memory, changed := after.differs(before); changed && notification.Remember != nil {
		// Where the disk fails it is remembered until the end of the process, and the alerter says so.
		_ = notification.Remember(memory)
	}
	return false, nil
}

// rejection is the error of a notification that no instance took.
func rejection(answers []posted) error {
	if slices.ContainsFunc(answers, func(a posted) bool { return a.err == nil }) {
		return nil
	}
	return failures(answers)
}

// failures is what went wrong at the instances.
func failures(answers []posted) error {
	var errs []error
	for _, a := range answers {
		errs = append(errs, a.err)
	}
	return errors.Join(errs...)
}

// Every returns how often what fires is posted.
func (n *Notifier) Every() time.Duration { return n.config.Every }

// Refresh posts what fires again, with a new end. Its error names every instance that did not take
// it.
func (n *Notifier) Refresh(ctx context.Context, open []alerting.Notification) error {
	now := time.Now()
	var alerts []alert
	for _, notification := range open {
		more, _ := n.alertsOf(notification, remembered(notification.Memory), now)
		alerts = append(alerts, more...)
	}
	return failures(n.postAll(ctx, alerts))
}

// Preview returns the alerts that would be posted, as JSON.
func (n *Notifier) Preview(notification alerting.Notification) ([]byte, error) {
	alerts, _ := n.alertsOf(notification, remembered(notification.Memory), time.Now())
	return json.MarshalIndent(alerts, "", "  ")
}

// posted is what became of the alerts at one instance.
type posted struct {
	retry bool
	err   error
}

// postAll posts the alerts to all instances at the same time.
func (n *Notifier) postAll(ctx context.Context, alerts []alert) []posted {
	answers := make([]posted, len(n.instances))
	var wg sync.WaitGroup
	for i, to := range n.instances {
		wg.Go(func() {
			for some := range slices.Chunk(alerts, maxAlerts) {
				if answers[i].err == nil {
					answers[i].retry, answers[i].err = n.post(ctx, to, some)
				}
			}
		})
	}
	wg.Wait()
	return answers
}

func (n *Notifier) post(ctx context.Context, to instance, alerts []alert) (retry bool, err error) {
	data, err := json.Marshal(alerts)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, bytes.NewReader(data))
	if err != nil {
		return false, errors.New("building the request: the url is not valid")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "certmedic")
	if n.config.Username != "" {
		req.SetBasicAuth(n.config.Username, n.config.Password)
	}
	if n.config.BearerToken != "" {
		req.Header.Set("Authorization", "Bearer "+n.config.BearerToken)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return true, fmt.Errorf("posting to %q: %w", to.host, answer.WithoutURL(err))
	}
	if retry, err := answer.Judge(resp); err != nil {
		return retry, fmt.Errorf("posting to %q: %w", to.host, err)
	}
	return false, nil
}
