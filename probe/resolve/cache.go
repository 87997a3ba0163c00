package resolve

import (
	"context"
	"sync"
	"time"
)

const (
	// maxKept bounds for how long an answer is used again. Whoever asks wants to know
	// what is served now: an address that was taken out of DNS is left alone half a
	// minute later at the latest, also by the probes after an action, and still the
	// many endpoints of one host ask once.
	maxKept = 30 * time.Second

	// maxKeptEmpty bounds for how long it is remembered that there is nothing.
	maxKeptEmpty = 5 * time.Second

	// maxQuestions bounds how many answers are kept.
	maxQuestions = 20_000
)

// question is what is asked, and of whom.
type question struct {
	name   string // absolute and in lower case
	kind   uint16
	secure bool   // whether DNSSEC's verdict is asked for
	whom   string // the settings' whom: other servers may answer otherwise
}

// cache keeps answers for as long as they may be used, and lets all who ask the same at
// the same time share one exchange. Its zero value is ready for use.
type cache struct {
	mu     sync.Mutex
	kept   map[question]keptAnswer
	asking map[question]*pending
	swept  time.Time // when answers that are too old were last thrown away
}

type keptAnswer struct {
	answer
	until time.Time
}

// pending is an exchange that is under way.
type pending struct {
	done   chan struct{} // closed when the answer is there
	answer answer
	cut    bool // it failed because whoever made it no longer wanted it
}

// get returns the answer that is kept, else that of the exchange which is under way,
// else makes one. Where somebody else's exchange is cut short, it makes its own.
func (c *cache) get(ctx context.Context, q question, ask func() answer) answer {
	for ctx.Err() == nil {
		known, p, mine := c.begin(q, time.Now())
		if p == nil {
			return known
		}
		if mine {
			p.answer = ask()
			p.cut = p.answer.err != nil && ctx.Err() != nil
			c.end(q, p, time.Now())
			return p.answer
		}
		select {
		case <-p.done:
			if !p.cut {
				return p.answer
			}
		case <-ctx.Done():
		}
	}
	return answer{err: &Error{Host: q.name, Reason: ReasonTimeout}}
}

// begin returns the answer that is kept, with a nil exchange; else the exchange to wait
// for, and whether the caller has to make it.
func (c *cache) begin(q question, now time.Time) (known answer, p *pending, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept, ok := c.kept[q]; ok && now.Before(kept.until) {
		return kept.answer, nil, false
	}
	if p, ok := c.asking[q]; ok {
		return answer{}, p, false
	}
	if c.asking == nil {
		c.kept, c.asking = map[question]keptAnswer{}, map[question]*pending{}
	}
	p = &pending{done: make(chan struct{})}
	c.asking[q] = p
	return answer{}, p, true
}

// end hands the answer to those who wait for it, and keeps it.
func (c *cache) end(q question, p *pending, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(p.done)
	delete(c.asking, q)
	c.sweep(now)
	if span := p.answer.keepFor(); span > 0 {
		c.kept[q] = keptAnswer{p.answer, now.Add(span)}
	}
}

// sweep throws away what is too old, now and then, and any one answer where there are
// too many.
func (c *cache) sweep(now time.Time) {
	if now.Sub(c.swept) >= maxKept {
		for q, kept := range c.kept {
			if !now.Before(kept.until) {
				delete(c.kept, q)
			}
		}
		c.swept = now
	}
	for q := range c.kept {
		if len(c.kept) < maxQuestions {
			return
		}
		delete(c.kept, q)
	}
}

// keepFor returns for how long the answer may be used again. What failed is asked again.
func (a answer) keepFor() time.Duration {
	switch {
	case a.err == nil:
		return min(a.TTL, maxKept)
	case a.err.Empty():
		return min(a.TTL, maxKeptEmpty)
	default:
		return 0
	}
}
