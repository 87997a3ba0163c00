package slack

import (
	"cmp"
	"sync"
	"time"
)

const (
	postEvery = time.Second     // messages to one channel, in it or in its threads
	editEvery = 2 * time.Second // of one message; what happens meanwhile is told by the next edit

	longestPause = time.Hour // that Slack is believed to ask for
)

// The methods that are called.
const (
	methodPost    = "chat.postMessage"
	methodUpdate  = "chat.update"
	methodLink    = "chat.getPermalink"
	methodHistory = "conversations.history"
	methodReplies = "conversations.replies"
	methodList    = "conversations.list"
	methodHook    = "incoming webhook"
)

// pace is how often a method may be called, and how often at once: of a tier's calls a minute
// a fifth at once and the others evenly, so that no sixty seconds see more of them and nobody
// waits long for the next.
func pace(method string) (every time.Duration, atOnce int) {
	perMinute := 0
	switch method {
	case methodPost, methodHook:
		return postEvery, 1
	case methodUpdate, methodHistory, methodReplies:
		perMinute = 50 // tier 3
	case methodList:
		perMinute = 20 // tier 2
	default:
		return 0, 1 // practically unlimited
	}
	atOnce = perMinute / 5
	return time.Minute / time.Duration(perMinute-atOnce), atOnce
}

// Limits keeps to what Slack takes from one app: a message a second for each channel, the
// tiers of the other methods in the whole workspace, and the pauses that Slack asked for. All
// notifiers of one token share it. Its methods may be called by any goroutine.
type Limits struct {
	mu    sync.Mutex
	ids   map[string]string    // of channels, by the names that they are configured with
	spent map[string]time.Time // by what is limited: when all that was called would be due at an even pace
	pause map[string]time.Time // by what is limited: until when Slack asked to wait

	none bool // nothing is too much
}

// NewLimits returns limits of which nothing is spent.
func NewLimits() *Limits {
	return &Limits{ids: map[string]string{}, spent: map[string]time.Time{}, pause: map[string]time.Time{}}
}

// Unlimited returns limits that nothing exceeds, for a Slack that is played and never called.
func Unlimited() *Limits {
	l := NewLimits()
	l.none = true
	return l
}

// take takes the right to call a method now, or returns how long to wait before asking again.
func (l *Limits) take(method, channel string, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.key(method, channel)
	if l.none {
		return 0
	}
	if wait := l.pause[k].Sub(now); wait > 0 {
		return wait
	}
	every, atOnce := pace(method)
	if wait := l.spent[k].Add(-every * time.Duration(atOnce-1)).Sub(now); wait > 0 {
		return wait
	}
	l.spent[k] = later(l.spent[k], now).Add(every)
	return 0
}

// posted notes when a message was answered: only from then on is it certain that the next one
// arrives a second later.
func (l *Limits) posted(method, channel string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spent[l.key(method, channel)] = now.Add(postEvery)
}

// obey keeps a method back until Slack takes it again.
func (l *Limits) obey(method, channel string, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pause[l.key(method, channel)] = until
}

// named notes the ID of a channel that is configured by its name, so that both are one.
func (l *Limits) named(name, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == id || l.ids[name] == id {
		return
	}
	before := l.spent[l.key(methodPost, name)]
	l.ids[name] = id
	k := l.key(methodPost, id)
	l.spent[k] = later(l.spent[k], before)
}

// key is what is limited: the channel for messages, the workspace for the rest.
func (l *Limits) key(method, channel string) string {
	if posts(method) {
		return method + " " + cmp.Or(l.ids[channel], channel)
	}
	return method
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func posts(method string) bool { return method == methodPost || method == methodHook }
