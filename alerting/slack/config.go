package slack

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// Config is what a Slack receiver needs: a bot token and a channel, or the URL of an
// incoming webhook.
type Config struct {
	Token   string // of a bot (xoxb-...), with the scopes of [Scopes]
	Channel string // "#certs", or better the channel's ID, which needs no scope to be found again

	WebhookURL string // of an incoming webhook: messages are posted, never edited, and have no buttons

	APIURL     string        // empty: https://slack.com/api/
	BaseURL    string        // of certmedic's own page, linked from every message; empty: no link
	RunbookURL string        // in front of the name of a rule's runbook; empty: no link, unless the rule has a URL
	Timeout    time.Duration // of one request with its answer; 0: 10 s

	// Buttons puts buttons under messages. Set it where somebody listens to them: over Socket
	// Mode, or at the signed HTTP endpoint.
	Buttons bool

	// Mention is who is called when a conversation gets a severity, in Slack's own form:
	// "<!here>", "<!channel>", "<@U...>" or "<!subteam^S...>", several with blanks between.
	Mention map[certmedic.Severity]string

	// Limits is shared by all notifiers of one token in this process; nil: a notifier has its own.
	Limits *Limits
}

const (
	defaultAPIURL  = "https://slack.com/api/"
	defaultTimeout = 10 * time.Second
)

// Scopes returns the OAuth scopes that the bot token should have. Without the ones that read,
// a message whose answer was lost is posted again instead of being found.
func Scopes() []string {
	return []string{
		"chat:write", "chat:write.public", "channels:read", "groups:read", "channels:history", "groups:history",
	}
}

var mention = regexp.MustCompile(`^<(?:!here|!channel|!everyone|@[UW][A-Z0-9]+|!subteam\^S[A-Z0-9]+)>$`)

// validate names what is wrong, never the token nor the webhook's URL.
func (c Config) validate() error {
	switch {
	case c.Token == "" && c.WebhookURL == "":
		return errors.New("slack: a token or the url of an incoming webhook is needed")
	case c.Token != "" && c.WebhookURL != "":
		return errors.New("slack: a token and an incoming webhook exclude each other")
	case c.Token != "" && c.Channel == "":
		return errors.New("slack: a token needs a channel")
	case c.WebhookURL != "" && c.Buttons:
		return errors.New("slack: messages of an incoming webhook have no buttons")
	case strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("slack: the token has a blank or a character that no token has")
	}
	for _, link := range []struct{ what, url string }{
		{"webhook url", c.WebhookURL}, {"api url", c.APIURL}, {"url of the page", c.BaseURL}, {"runbook url", c.RunbookURL},
	} {
		if link.url != "" && !isWebAddress(link.url) {
			return fmt.Errorf("slack: the %s must begin with http:// or https:// and have a host", link.what)
		}
	}
	for severity, who := range c.Mention {
		if severity.Rank() < 0 {
			return fmt.Errorf("slack: mention: no severity %q", severity)
		}
		for _, one := range strings.Fields(who) {
			if !mention.MatchString(one) {
				return fmt.Errorf("slack: mention: %q is none of <!here>, <!channel>, <!everyone>, <@U...>, <!subteam^S...>", one)
			}
		}
	}
	return nil
}

func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
