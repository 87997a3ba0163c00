package storm_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

// told is what the fakes hold of one conversation.
type told struct {
	triggers int  // incidents of PagerDuty
	twice    int  // pages beyond the first of each incident, and incidents beyond the first
	open     bool // PagerDuty still waits for the end
	worse    int  // incidents because it got worse after somebody took over

	posts     int      // messages in the channel
	again     int      // messages, also in threads, that say what was said before
	twiceSaid []string // these
	over      bool     // the channel says that it is over

	paged, shown bool // PagerDuty and the channel say that somebody looks after it
}

// fakes are the services to which people are called, with their limits as the real ones have them.
type fakes struct {
	pager    *pdfake.Service
	pagerURL string
	channels []*slackfake.Server // by team

	mu   sync.Mutex // guards all below
	left int        // calls until the one who tells is killed; 0: never
	done bool       // and the last one is done
	die  func()
}

func newFakes(t *testing.T, teams int) *fakes {
	t.Helper()
	f := &fakes{}
	f.pager = pdfake.New(pdfake.Options{Keys: f.keys(teams), Window: minute, Fault: func(int) pdfake.Fault {
		dies, done := f.called()
		switch {
		case dies && !done:
			return pdfake.Fault{Status: http.StatusServiceUnavailable}
		default:
			return pdfake.Fault{Lost: dies}
		}
	}})
	server := httptest.NewServer(f.pager)
	t.Cleanup(server.Close)
	f.pagerURL = server.URL
	for team := range teams {
		s := slackfake.New(slackfake.Options{Tiers: true, Minute: minute})
		s.Token = token(team)
		s.Fail(func(string, int) slackfake.Fault {
			dies, done := f.called()
			if dies && !done {
				return slackfake.Fault{Status: http.StatusServiceUnavailable}
			}
			return slackfake.Fault{Drop: dies}
		})
		t.Cleanup(s.Close)
		f.channels = append(f.channels, s)
	}
	return f
}

// minute is in how long both count the calls of a minute: after each of so many starts it is looked up
// or sent again what may have been sent, which in life happens once in a while.
const minute = 10 * time.Second

func token(team int) string      { return fmt.Sprintf("xoxb-0000-storm-%02d", team) }
func routingKey(team int) string { return fmt.Sprintf("%032d", team+1) }

func (f *fakes) keys(teams int) []string {
	var all []string
	for team := range teams {
		all = append(all, routingKey(team))
	}
	return all
}

// arm has die called with a call from now on, see [kill].
func (f *fakes) arm(call int, done bool, die func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.done, f.die = call, done, die
}

// called reports whether the caller is dead by now.
func (f *fakes) called() (dies, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return false, false
	}
	if f.left--; f.left > 0 {
		return false, false
	}
	f.die()
	return true, f.done
}

// pages adds what PagerDuty holds. conversation says what an incident is about.
func (f *fakes) pages(all map[string]*told, conversation func(pdfake.Incident) string) {
	for _, in := range f.pager.Incidents() {
		key, worse := strings.CutSuffix(conversation(in), "/escalated")
		k := of(all, key)
		k.open = k.open || in.Status != pdfake.Resolved
		k.twice += in.Pages - 1
		acked := in.Status == pdfake.Acknowledged || slices.ContainsFunc(in.Events, func(e pdfake.Event) bool { return e.Action == "acknowledge" })
		k.paged = k.paged || acked
		before := &k.triggers
		if worse {
			before = &k.worse
		}
		if *before++; *before > 1 {
			k.twice++
		}
	}
}

// of returns what is held of a conversation, beginning with nothing.
func of(all map[string]*told, conversation string) *told {
	all[conversation] = cmp.Or(all[conversation], &told{})
	return all[conversation]
}

// conversations returns what the channels hold, where every conversation is one message that is
// edited.
func (f *fakes) conversations(all map[string]*told) {
	for _, s := range f.channels {
		for _, m := range s.Messages() {
			k := of(all, m.Conversation())
			if k.posts++; k.posts > 1 {
				k.again++
				k.twiceSaid = append(k.twiceSaid, m.Text)
			}
			shown := m.Shown()
			k.over = strings.Contains(shown, "Resolved: ")
			k.shown = k.shown || strings.Contains(shown, "Acknowledged")
		}
	}
}

// threads adds what was said twice below the messages, by the ids that each message says.
func (f *fakes) threads(all map[string]*told) {
	for _, s := range f.channels {
		for _, m := range s.Messages() {
			said := map[string]bool{}
			for _, r := range s.Replies(m.TS) {
				ids, _ := r.Metadata.EventPayload["says"].(string)
				for _, id := range strings.Fields(ids) {
					if k := of(all, m.Conversation()); said[id] {
						k.again++
						k.twiceSaid = append(k.twiceSaid, r.Text)
					}
					said[id] = true
				}
			}
		}
	}
}

// posts adds what the channels hold, where every message is a line that begins with its
// conversation, and is not edited.
func (f *fakes) posts(all map[string]*told) {
	for _, s := range f.channels {
		said := map[string]bool{}
		for _, m := range s.Messages() {
			conversation, rest, _ := strings.Cut(m.Text, " ")
			k := of(all, conversation)
			k.posts++
			k.over = strings.HasPrefix(rest, "resolved")
			if said[m.Text] {
				k.again++
				k.twiceSaid = append(k.twiceSaid, m.Text)
			}
			said[m.Text] = true
		}
	}
}

// limited returns how many calls were too many.
func (f *fakes) limited() int {
	n := f.pager.Counts().Throttled
	for _, s := range f.channels {
		n += s.Counts().Limited
	}
	return n
}

// refused returns what the fakes took for wrong, which nobody may send.
func (f *fakes) refused() []string {
	all := f.pager.Refusals()
	for _, s := range f.channels {
		if n := s.Counts().Refused; n > 0 {
			all = append(all, fmt.Sprintf("%s refused %d calls", s.Token, n))
		}
	}
	return all
}
