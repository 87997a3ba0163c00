package pagerduty

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// Config is what a PagerDuty receiver needs.
type Config struct {
	RoutingKey string        // the integration key of a service, or of a ruleset (R...): 32 characters
	APIURL     string        // scheme and host of the Events API; empty: https://events.pagerduty.com
	BaseURL    string        // of certmedic's own page, linked from every alert; empty: no link
	RunbookURL string        // in front of the name of a rule's runbook; empty: no link, unless the rule has a URL
	Timeout    time.Duration // of one request with its answer; 0: 10 s

	// Severities say which of PagerDuty's (critical, error, warning, info) stands for one of
	// certmedic's. What it leaves out is shown as itself, unknown as error.
	Severities map[certmedic.Severity]string

	// Limits is shared by all notifiers of this process; nil: a notifier has its own.
	Limits *Limits
}

const (
	defaultAPIURL  = "https://events.pagerduty.com"
	defaultTimeout = 10 * time.Second
)

// validate names what is wrong, never the routing key.
func (c Config) validate() error {
	if strings.TrimSpace(c.RoutingKey) != c.RoutingKey || len(c.RoutingKey) != 32 {
		return errors.New("pagerduty: the routing key must have 32 characters")
	}
	for _, link := range []struct{ what, url string }{{"api url", c.APIURL}, {"url of the page", c.BaseURL}, {"runbook url", c.RunbookURL}} {
		if link.url != "" && !isWebAddress(link.url) {
			return fmt.Errorf("pagerduty: the %s must begin with http:// or https:// and have a host", link.what)
		}
	}
	for ours, theirs := range c.Severities {
		if ours.Rank() < 0 || !slices.Contains([]string{"critical", "error", "warning", "info"}, theirs) {
			return fmt.Errorf("pagerduty: no severity %q for %q", theirs, ours)
		}
	}
	return nil
}

func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// severity returns PagerDuty's word for one of ours.
func (c Config) severity(s certmedic.Severity) string {
	switch theirs := c.Severities[s]; {
	case theirs != "":
		return theirs
	case s == certmedic.SeverityCritical, s == certmedic.SeverityWarning, s == certmedic.SeverityInfo:
		return string(s)
	default:
		return "error"
	}
}

// takesChanges reports whether the routing key takes change events: those of services do, those
// of rulesets, which begin with R, do not.
func (c Config) takesChanges() bool { return !strings.HasPrefix(c.RoutingKey, "R") }

// runbook returns the address of a rule's runbook; "" where there is none.
func (c Config) runbook(name string) string {
	const longest = 1000
	switch {
	case len(name) > longest:
		return ""
	case isWebAddress(name):
		return name
	case name == "" || c.RunbookURL == "":
		return ""
	default:
		return c.RunbookURL + url.PathEscape(name)
	}
}
