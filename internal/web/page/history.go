package page

import (
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// history is what happened to a certificate, on a line of time.
type history struct {
	Width, Height int
	Axis          int // where the line of time is
	Bars          []bar
	Marks         []mark // actions
	Stored        *mark  // when the newest version was stored; nil: before
	Ticks         []tick
}

// bar is an incident.
type bar struct {
	X, Y, Width int
	Status      certmedic.Status
	Title       string
}

// mark is a moment.
type mark struct {
	X      int
	Status certmedic.Status
	Title  string
}

type tick struct {
	X    int
	Said string
}

// The measures of the history.
const (
	historyWidth = 1000
	historyEdge  = 20 // left and right of the line
	laneHeight   = 14
	mostLanes    = 6
	marksHeight  = 36
	axisHeight   = 28
	ticksWanted  = 5
	shortHistory = 10 * time.Minute
	longHistory  = 90 * 24 * time.Hour
)

// newHistory draws what happened in the last ninety days; nil where nothing did.
func newHistory(c Certificate, now time.Time) *history {
	from := began(c, now)
	if from.IsZero() {
		return nil
	}
	from = earliest(from, now.Add(-shortHistory))
	place := func(t time.Time) int {
		share := float64(t.Sub(from)) / float64(now.Sub(from))
		return historyEdge + int(min(1, max(0, share))*(historyWidth-2*historyEdge))
	}
	h := &history{Width: historyWidth}
	lanes := h.bars(slices.Concat(c.View.Incidents, c.Incidents), from, now, place)
	h.Axis = marksHeight + lanes*laneHeight
	h.Height = h.Axis + axisHeight
	for i := range h.Bars {
		h.Bars[i].Y = marksHeight + h.Bars[i].Y*laneHeight
	}
	for _, a := range c.Actions {
		if a.StartedAt.Before(from) {
			continue
		}
		status, word := outcome(a.Outcome)
		h.Marks = append(h.Marks, mark{place(a.StartedAt), status, fmt.Sprintf("%s: %s, %s", exact(a.StartedAt), a.Kind, word)})
	}
	if s := c.View.Stored; s != nil && s.Since.After(from) {
		h.Stored = &mark{X: place(s.Since), Title: exact(s.Since) + ": the newest version was stored"}
	}
	for i := range ticksWanted {
		t := from.Add(now.Sub(from) * time.Duration(i) / (ticksWanted - 1))
		h.Ticks = append(h.Ticks, tick{place(t), at(t, now).Said})
	}
	return h
}

// began returns when the first of what is shown began; zero where there is nothing.
func began(c Certificate, now time.Time) time.Time {
	var first time.Time
	take := func(t time.Time) {
		if t.IsZero() || now.Sub(t) > longHistory || t.After(now) {
			return
		}
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	for _, a := range c.Actions {
		take(a.StartedAt)
	}
	for _, in := range slices.Concat(c.View.Incidents, c.Incidents) {
		take(in.PendingAt)
	}
	if s := c.View.Stored; s != nil {
		take(s.Since)
	}
	return first
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// bars adds the incidents, each on the first lane that is free, and returns how many lanes there are.
// Until their height is known, Y is the lane.
func (h *history) bars(incidents []certmedic.Incident, from, now time.Time, place func(time.Time) int) int {
	slices.SortStableFunc(incidents, func(a, b certmedic.Incident) int { return a.PendingAt.Compare(b.PendingAt) })
	var ends []int // of the last bar of each lane
	for _, in := range incidents {
		end := in.EndedAt
		if end.IsZero() {
			end = now
		}
		if end.Before(from) || in.PendingAt.IsZero() {
			continue
		}
		x := place(in.PendingAt)
		width := max(4, place(end)-x)
		lane := slices.IndexFunc(ends, func(until int) bool { return until < x })
		switch {
		case lane >= 0:
			ends[lane] = x + width
		case len(ends) < mostLanes:
			lane = len(ends)
			ends = append(ends, x+width)
		default:
			lane = mostLanes - 1
		}
		title := fmt.Sprintf("%s: %s, %s", exact(in.PendingAt), in.Rule, in.State)
		h.Bars = append(h.Bars, bar{X: x, Y: lane, Width: width, Status: severityStatus(in.Severity), Title: title})
	}
	return max(1, len(ends))
}

func exact(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
