package watchdog

import (
	"context"
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/pagerduty"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
	"github.com/certmedic/certmedic/alerting/slack"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// manyHosts is how many hosts serve the wildcard, and waves in how many parts they are healed.
const (
	manyHosts = 300
	waves     = 10
)

// wildcard is a scene of many hosts with one certificate, and people who are told.
type wildcard struct {
	*scene
	slack *slackfake.Server
	pager *pdfake.Service
}

func newWildcard(t *testing.T) *wildcard {
	t.Helper()
	var hosts []certmedic.Endpoint
	for i := range manyHosts {
		name := fmt.Sprintf("host-%03d.shop.test", i)
		hosts = append(hosts, certmedic.Endpoint{Address: name + ":443", Protocol: "tls", ServerName: name})
	}
	w := &wildcard{
		scene: newScene(t, hosts...), slack: slackfake.Unstarted(slackfake.Options{Tiers: true}), pager: pdfake.New(pdfake.Options{}),
	}
	v := w.tree.Issue("wild", []string{"*.shop.test"}, disktest.Options{NotAfter: time.Now().Add(60 * 24 * time.Hour)})
	w.cert.Source = w.tree.Source("wild")
	for _, ep := range hosts {
		w.serve(ep, v.Leaf)
	}
	toSlack, err := slack.New(slack.Config{Token: w.slack.Token, Channel: w.slack.Channel, APIURL: w.slack.APIURL()}, w.slack.Client())
	if err != nil {
		t.Fatal(err)
	}
	toPager, err := pagerduty.New(pagerduty.Config{RoutingKey: strings.Repeat("k", 32), APIURL: "http://pagerduty.invalid"}, w.pager.Client())
	if err != nil {
		t.Fatal(err)
	}
	a, err := alerting.New(alerting.Options{
		Receivers: map[string]alerting.Notifier{"ops": toSlack, "oncall": toPager}, Outbox: &alertingtest.MemoryOutbox{}, GroupWait: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	w.start(func(o *Options) {
		o.Tell = func(n News) {
			if e, told := n.Event(); told {
				a.Tell(e)
			}
		}
	})
	return w
}

// heal has hosts serve a version, which is seen by the next probe of each.
func (w *wildcard) heal(first, end int, leaf *x509.Certificate) {
	healed := map[string]bool{}
	for _, ep := range w.cert.Endpoints[first:end] {
		w.serve(ep, leaf)
		healed[ep.Address] = true
	}
	for key, ep := range w.w.Endpoints() {
		if healed[ep.Address] {
			w.observe(w.t.Context(), key)
		}
	}
	w.pass(time.Minute)
}

func (w *wildcard) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var hostName = regexp.MustCompile(`host-\d{3}\.shop\.test`)

// readable returns how many hosts are named in the message and in its thread.
func (w *wildcard) readable() int {
	names := map[string]bool{}
	for _, m := range w.slack.Messages() {
		for _, part := range append(w.slack.Replies(m.TS), m) {
			for _, name := range hostName.FindAllString(part.Shown(), -1) {
				names[name] = true
			}
		}
	}
	return len(names)
}

// wantOneConversation wants one message and one page, however much happened.
func (w *wildcard) wantOneConversation(status string) {
	w.t.Helper()
	messages, pages := w.slack.Messages(), w.pager.Incidents()
	if len(messages) != 1 || len(pages) != 1 || pages[0].Pages != 1 {
		w.t.Fatalf("%d messages, pages %+v, want one of each", len(messages), pages)
	}
	if over := strings.Contains(messages[0].Text, "Resolved"); pages[0].Status != status || over != (status == pdfake.Resolved) {
		w.t.Fatalf("the page is %s, want %s; the message is %q", pages[0].Status, status, messages[0].Text)
	}
}

// TestWildcardOnManyHosts renews one certificate on 300 hosts, of which none loads the new version.
// People get one message and one page with the names of all of them, and hear of the end when the
// last host was seen to serve the new version, not before.
func TestWildcardOnManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWildcard(t)
		fresh := w.tree.Renew("wild").Leaf
		w.w.Changed("shop")
		w.pass(5 * time.Minute)
		w.wantOneConversation(pdfake.Triggered)
		if got := w.readable(); got != manyHosts {
			t.Errorf("%d hosts can be read in Slack, want %d", got, manyHosts)
		}
		named := hostName.FindAllString(fmt.Sprint(w.pager.Incidents()[0].Events[0].Payload.Details), -1)
		slices.Sort(named)
		if got := len(slices.Compact(named)); got != manyHosts {
			t.Errorf("%d hosts are named in the page, want %d", got, manyHosts)
		}
		size := manyHosts / waves
		for wave := range waves {
			w.heal(wave*size, (wave+1)*size-1, fresh) // all but the last
			w.wantOneConversation(pdfake.Triggered)
		}
		for wave := range waves {
			w.wantOneConversation(pdfake.Triggered)
			last := (wave+1)*size - 1
			w.heal(last, last+1, fresh)
		}
		w.wantOneConversation(pdfake.Resolved)
		w.wantFew()
	})
}

// mostEdits is how often the message may be edited: twice in a wave.
const mostEdits = 2 * waves

// wantFew wants little to have been said in all, and nothing too fast.
func (w *wildcard) wantFew() {
	w.t.Helper()
	resolves := 0
	for _, e := range w.pager.Incidents()[0].Events {
		if e.Action == "resolve" {
			resolves++
		}
	}
	said, paged := w.slack.Counts(), w.pager.Counts()
	w.t.Logf("Slack %+v, PagerDuty %+v", said, paged)
	if resolves != 1 || said.Edits > mostEdits || said.Limited+said.Refused+paged.Throttled+paged.Refused > 0 {
		w.t.Errorf("%d resolves, Slack %+v, PagerDuty %+v; want one, at most %d edits, and nothing refused", resolves, said, paged, mostEdits)
	}
}
