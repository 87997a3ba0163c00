package page

import (
	"strings"
	"time"

	"github.com/certmedic/certmedic/alerting/silence"
)

// Silences is what nobody is told about.
type Silences struct {
	Silences []silence.Silence // those that ended too, the newest first
	Trusted  bool              // who reads may end them
}

// quiet is a silence.
type quiet struct {
	ID             string
	What, Why, By  string
	Begun, Until   moment
	UntilRenewed   bool
	Ended          moment
	EndedBy        string
	RenewedAlready string
}

func (s Silences) shown(now time.Time) shown {
	var m struct {
		Active, Ended []quiet
		Trusted       bool
	}
	m.Trusted = s.Trusted
	for _, one := range s.Silences {
		if q := newQuiet(one, now); one.Active(now) {
			m.Active = append(m.Active, q)
		} else {
			m.Ended = append(m.Ended, q)
		}
	}
	return shown{Template: "silences", Title: "Silences", Section: "/silences", Live: true, Data: m}
}

func newQuiet(s silence.Silence, now time.Time) quiet {
	var what []string
	for _, m := range s.Matchers {
		what = append(what, m.String())
	}
	q := quiet{
		ID: s.ID, What: strings.Join(what, ", "), Why: s.Why, By: s.By, Begun: at(s.At, now), Until: at(s.Until, now), UntilRenewed: s.UntilRenewed,
		Ended: at(s.EndedAt, now), EndedBy: s.EndedBy, RenewedAlready: strings.Join(s.Renewed, ", "),
	}
	if s.EndedAt.IsZero() {
		q.Ended = q.Until
	}
	return q
}
