package main

import (
	"fmt"
	"time"

	"github.com/certmedic/certmedic/internal/watchdog"
)

// printSupply says how the versions of a certificate get from host to host.
func (e *environment) printSupply(s *watchdog.Supply) {
	if s == nil {
		return
	}
	line := func(format string, args ...any) {
		fmt.Fprintln(e.stdout, oneLine(printable(fmt.Sprintf(format, args...))))
	}
	if s.Published != "" {
		by := ""
		if s.PublishedBy != "" {
			by = " by " + s.PublishedBy
		}
		line("published: version %s at %s%s", s.Published.Short(), stamp(s.PublishedAt), by)
	}
	if s.Unpublished != "" {
		line("not published: %s", s.Unpublished)
	}
	if s.Failing != "" {
		line("not fetched since %s: %s", stamp(s.Fetched), s.Failing)
	}
	switch {
	case s.Unfit != "":
		line("own copy: unfit, tested at %s: %s", stamp(s.Tested), s.Unfit)
	case !s.Tested.IsZero():
		line("own copy: fit to be served, tested at %s", stamp(s.Tested))
	}
}

// stamp writes a time for people.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "the start"
	}
	return t.UTC().Format(time.RFC3339)
}
