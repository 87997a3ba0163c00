package page

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
)

// Receivers shows how certmedic gets to people.
type Receivers struct {
	Receivers []api.Receiver // what services say of us is for the caller to leave out
}

// receiver is one way to tell people.
type receiver struct {
	api.Receiver
	Status          certmedic.Status
	Word            string
	Roles           string
	Waits, Took     moment
	Tested, Drilled moment
}

func (r Receivers) shown(now time.Time) shown {
	var all []receiver
	for _, one := range r.Receivers {
		m := receiver{
			Receiver: one, Status: certmedic.StatusOK, Word: "takes what it is sent",
			Waits: at(one.Waits, now), Took: at(one.Took, now), Tested: at(one.Tested, now), Drilled: at(one.Drilled, now),
		}
		switch {
		case one.Failing:
			m.Status, m.Word = certmedic.StatusCritical, "failing"
		case one.Took.IsZero() && one.Tested.IsZero():
			m.Status, m.Word = certmedic.StatusUnknown, "nothing was sent yet"
		}
		if one.Heartbeat {
			m.Roles = "hears the heartbeat"
		}
		if one.Fallback {
			m.Roles = "stands in for others"
		}
		all = append(all, m)
	}
	return shown{Template: "receivers", Title: "Receivers", Section: "/receivers", Live: true, Data: all}
}
