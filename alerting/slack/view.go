package slack

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic/alerting"
)

// view is what a notification says, in the order in which it is shown.
type view struct {
	main   alerting.Event   // the worst incident; of news, the first
	also   []alerting.Event // the others
	events []alerting.Event // what happened, oldest first
	over   bool             // nothing fires any more
	places []string         // the affected places of all incidents, each once
}

func newView(of alerting.Notification) view {
	v := view{events: slices.Clone(of.Events)}
	slices.SortStableFunc(v.events, func(a, b alerting.Event) int { return a.Time.Compare(b.Time) })
	shown := slices.Clone(of.Open)
	if len(shown) == 0 && of.Status == alerting.StatusResolved {
		shown = ended(v.events)
		v.over = len(shown) > 0
	}
	if len(shown) == 0 {
		shown = v.events
	}
	v.main, v.also = shown[0], shown[1:]
	v.places = v.members()
	return v
}

// ended returns the incidents that ended, the worst first.
func ended(events []alerting.Event) []alerting.Event {
	var ended []alerting.Event
	for _, e := range events {
		if e.Kind == alerting.KindResolved {
			ended = append(ended, e)
		}
	}
	slices.SortStableFunc(ended, func(a, b alerting.Event) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
	return ended
}

// news reports whether it is about no incident.
func (v view) news() bool {
	return v.main.Kind.News() || v.beats()
}

// shown are all incidents, the main one first.
func (v view) shown() []alerting.Event { return append([]alerting.Event{v.main}, v.also...) }

// members collects the affected places. An endpoint of which one incident names the addresses, and
// another one only the name, is not two places.
func (v view) members() []string {
	var names []string
	seen, addressed := map[string]bool{}, map[string]bool{}
	for _, e := range v.shown() {
		for _, m := range e.Incident.Members {
			name := cut(oneLine(m), maxMember)
			if name == "" || seen[name] {
				continue
			}
			seen[name], names = true, append(names, name)
			if endpoint, _, ok := strings.Cut(name, " at "); ok {
				addressed[endpoint] = true
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return addressed[name] })
}

// since is when the first of the incidents fired.
func (v view) since() time.Time {
	first := v.main.Time
	for _, e := range v.shown() {
		if at := e.Incident.FiringAt; !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	return first
}

// begin is the earliest time at which anything of it can have been told.
func (v view) begin() time.Time {
	if v.beats() {
		return v.main.Time.Add(-beatSince)
	}
	first := v.since()
	for _, e := range v.events {
		if e.Time.Before(first) {
			first = e.Time
		}
		if at := e.Incident.FiringAt; !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	return first
}

// newest is the time of the newest event.
func (v view) newest() time.Time { return v.events[len(v.events)-1].Time }

// drill reports whether it is an exercise.
func (v view) drill() bool {
	return v.main.Drill || slices.ContainsFunc(v.events, func(e alerting.Event) bool { return e.Drill })
}

// undelivered returns why it was diverted here; empty: it was not.
func (v view) undelivered() string {
	for _, e := range append(v.shown(), v.events...) {
		if e.Undelivered != "" {
			return e.Undelivered
		}
	}
	return ""
}

// approval returns the plan that waits for a person; nil: none does.
func (v view) approval() *alerting.Approval {
	for _, e := range v.shown() {
		if e.Approval != nil && !v.over && e.Approval.Expires.After(v.newest()) {
			return e.Approval
		}
	}
	return nil
}
