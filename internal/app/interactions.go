package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic/alerting/slack/signed"
	"github.com/certmedic/certmedic/alerting/slack/socket"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/ownership"
)

const (
	maxJobs   = 1000             // that came and wait to be done
	maxSecret = 64 << 10         // bytes of a file with secrets
	fresh     = 15 * time.Minute // what came later than so after it happened is not done any more
)

// channels are the ways by which people's words come back, as the configuration names them.
type channels struct {
	sockets []slackApp // by app token
	signed  []slackApp // by signing secret
	pagers  []pager
}

// slackApp is one app of Slack: what authenticates it, and the receivers with whose messages it is
// pressed.
type slackApp struct {
	secret    string
	apiURL    string
	receivers []config.Receiver
}

// pager is a receiver whose PagerDuty sends webhooks.
type pager struct {
	receiver string
	secrets  []string
}

// readChannels reads the secrets that the configuration names. Receivers that share one are one app.
func readChannels(c *config.Config) (channels, error) {
	var all channels
	var errs []error
	for _, r := range c.Alerting.Receivers {
		var err error
		switch {
		case r.Slack != nil:
			err = all.addSlack(r)
		case r.PagerDuty != nil && r.PagerDuty.WebhookSecretFile != "":
			var secrets []string
			secrets, err = secretLines(r.PagerDuty.WebhookSecretFile)
			all.pagers = append(all.pagers, pager{receiver: r.Name, secrets: secrets})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("receiver %q: %w", r.Name, err))
		}
	}
	return all, errors.Join(errs...)
}

func (all *channels) addSlack(r config.Receiver) error {
	for _, way := range []struct {
		file string
		to   *[]slackApp
	}{{r.Slack.AppTokenFile, &all.sockets}, {r.Slack.SigningSecretFile, &all.signed}} {
		if way.file == "" {
			continue
		}
		lines, err := secretLines(way.file)
		switch {
		case err != nil:
			return err
		case len(lines) > 1:
			return fmt.Errorf("reading %q: it has more than one line", way.file)
		}
		*way.to = join(*way.to, lines[0], r)
	}
	return nil
}

// join adds a receiver to its app.
func join(apps []slackApp, secret string, r config.Receiver) []slackApp {
	apiURL := string(r.Slack.APIURL)
	for i := range apps {
		if apps[i].secret == secret && apps[i].apiURL == apiURL {
			apps[i].receivers = append(apps[i].receivers, r)
			return apps
		}
	}
	return append(apps, slackApp{secret: secret, apiURL: apiURL, receivers: []config.Receiver{r}})
}

// secretLines reads a file with a secret in each line, of which there is at least one.
func secretLines(path string) ([]string, error) {
	if err := ownership.CheckSecret(path); err != nil {
		return nil, fmt.Errorf("checking %q: %w", path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	var all []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("reading %q: it holds no secret", path)
	}
	return all, nil
}

// word is what a person said elsewhere, to be done.
type word func(ctx context.Context)

// inbox is what came from elsewhere and waits to be done.
type inbox struct {
	words chan word
	seen  seen
}

func newInbox() *inbox {
	return &inbox{words: make(chan word, maxJobs), seen: seen{at: map[string]time.Time{}}}
}

// put reports whether there was room.
func (i *inbox) put(w word) bool {
	select {
	case i.words <- w:
		return true
	default:
		return false
	}
}

// seen are the things that came before. What is sent twice comes within minutes.
type seen struct {
	mu sync.Mutex
	at map[string]time.Time
}

// maxSeen bounds what is remembered. Beyond it nothing is done: it is not known whether it was.
const maxSeen = 100_000

// first reports whether something comes for the first time.
func (s *seen) first(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, before := s.at[id]; before {
		return false
	}
	if len(s.at) >= maxSeen {
		for old, at := range s.at {
			if now.Sub(at) > 2*fresh {
				delete(s.at, old)
			}
		}
	}
	if len(s.at) >= maxSeen {
		return false
	}
	s.at[id] = now
	return true
}

// forget makes what came come for the first time again: it could not be done.
func (s *seen) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, id)
}

// openInbox opens the record of who looks after what, and makes room for what people say.
func (a *App) openInbox() (err error) {
	a.inbox = newInbox()
	a.acks, err = openAcks(a.store)
	if a.cluster.keeper != nil {
		a.people = &people{acks: map[string]ackWord{}}
	}
	return err
}

// hear hears what people say elsewhere and does it, until ctx ends.
func (a *App) hear(g *generation) func(context.Context) error {
	return func(ctx context.Context) error {
		var wg sync.WaitGroup
		for _, app := range g.channels.sockets {
			l := &socket.Listener{Token: app.secret, APIURL: app.apiURL, Log: a.o.Log, Take: func(payload []byte) bool {
				return a.takeClick(app, payload)
			}}
			wg.Go(func() { g.ran("listening to Slack", a.whileSpeaking(ctx, l.Run)) })
		}
		a.doWords(ctx, g)
		wg.Wait()
		return nil
	}
}

// wordTimeout bounds what one word may take, the answer to the person included.
const wordTimeout = 10 * time.Second

// doWords does what came, in its order; what has come when ctx ends is done, too.
func (a *App) doWords(ctx context.Context, g *generation) {
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	do := func(w word) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wordTimeout)
		defer cancel()
		w(ctx)
	}
	for {
		select {
		case w := <-a.inbox.words:
			do(w)
		case <-forget.C:
			a.forgetOver(g)
			if a.cluster.Speaks("") && a.people.known() {
				g.alerter.TellAcks(time.Now())
			}
		case <-ctx.Done():
			for range len(a.inbox.words) {
				do(<-a.inbox.words)
			}
			return
		}
	}
}

// SlackInteraction takes what Slack says of a button, and returns the HTTP status to answer with. It
// is done afterwards, because Slack waits for three seconds only.
func (a *App) SlackInteraction(r *http.Request, body []byte) (int, error) {
	apps := a.generation().channels.signed
	if len(apps) == 0 {
		return http.StatusNotFound, errors.New("no receiver has a signing_secret_file")
	}
	for _, app := range apps {
		err := signed.Check(r.Header, body, app.secret, time.Now())
		switch {
		case errors.Is(err, signed.ErrSignature):
			continue
		case err != nil:
			return http.StatusUnauthorized, err
		}
		payload, err := signed.Payload(body)
		switch {
		case err != nil:
			return http.StatusBadRequest, err
		case !a.takeClick(app, payload):
			return http.StatusServiceUnavailable, errors.New("too much comes at once")
		}
		return http.StatusOK, nil
	}
	return http.StatusUnauthorized, signed.ErrSignature
}
