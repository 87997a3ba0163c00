package ari

import (
	"net/http"
	"strconv"
	"time"
)

// measure is what an answer's Date told about this machine's clock.
type measure struct {
	at   time.Time
	skew time.Duration
}

// skewFor is how long a measure of the clock counts.
const skewFor = 24 * time.Hour

// Skew returns how far this machine's clock is ahead of the CA's that answered last, negative
// where it is behind, to the second; false where no CA answered for a day.
func (c *Client) Skew(now time.Time) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clock.at.IsZero() || now.Sub(c.clock.at) > skewFor {
		return 0, false
	}
	return c.clock.skew, true
}

// measure compares the clock with the date of an answer (RFC 9110, section 6.6.1), which was
// written about half way between the request and its answer. The header leaves the fraction of
// the second out. What a cache kept for a while says nothing.
func (c *Client) measure(header http.Header, sent, received time.Time) {
	date, err := http.ParseTime(header.Get("Date"))
	if age := header.Get("Age"); err != nil || age != "" && age != "0" {
		return
	}
	middle := sent.Add(received.Sub(sent) / 2)
	skew := middle.Sub(date.Add(time.Second / 2)).Round(time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock = measure{at: received, skew: skew}
}

// How soon a CA is asked again, whatever it wishes (RFC 9773, section 4.3.2), and where it wishes
// nothing.
const (
	minCheck     = time.Minute
	maxCheck     = 24 * time.Hour
	defaultCheck = 6 * time.Hour
)

// checkIn returns how long an answer's Retry-After (RFC 9110, section 10.2.3) asks to wait, a
// minute to a day. A date is one on the CA's clock.
func checkIn(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return min(max(time.Duration(seconds)*time.Second, minCheck), maxCheck)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return defaultCheck
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), minCheck), maxCheck)
}
