package app

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// leases returns for which certificates one member of a cluster acts by a lease, and which each member acts
// for by itself: its own copy of what another publishes, and what was found on its own disk.
func leases(g *generation) (leased []string, own map[string]bool) {
	configured := map[string]bool{}
	for _, c := range g.config.Certificates {
		configured[c.Name] = true
	}
	own = map[string]bool{}
	for _, c := range g.certificates {
		switch {
		case c.Watched: // nobody acts for it
		case !configured[c.Name] || ownCopy(c):
			own[c.Name] = true
		default:
			leased = append(leased, c.Name)
		}
	}
	return leased, own
}

// ownCopy reports whether what is stored and all that is installed is on this host alone.
func ownCopy(c certmedic.Certificate) bool {
	elsewhere := func(d certmedic.Destination) bool {
		return d.Push.Some() || slices.ContainsFunc(d.Hosts, func(host string) bool { return host != certmedic.LocalHost })
	}
	return c.Source.Kind == certmedic.SourceShared && !slices.ContainsFunc(c.Destinations, elsewhere)
}

// lead says who acts for a certificate. A member that has taken over acts once it has seen itself how
// everything is.
func (a *App) lead(g *generation) func(certificate string) certmedic.Lead {
	return func(certificate string) certmedic.Lead {
		l := a.cluster.Lead(certificate)
		if l.Mine && !l.Since.IsZero() && !g.watchdog.SeenSince(certificate, l.Since) {
			l.Mine, l.Waits = false, "it has the lease since "+l.Since.UTC().Format(time.RFC3339)+", and probes everything itself first"
		}
		return l
	}
}

// leadMoved has what is to be done for a certificate be considered anew, and what it serves be seen.
func (a *App) leadMoved(certificate string) {
	g := a.generation()
	if g == nil || certificate == voice {
		return
	}
	g.scheduler.Now(g.watchdog.Keys(certificate)...)
	g.remediator.Nudge(certificate)
}
