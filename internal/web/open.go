package web

import (
	"net/http"
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// open reports whether a request came from anywhere else than the socket of the commands.
// Reading is open to all, as exporters are, so what commands wrote is left out there.
func open(r *http.Request) bool { return peerOf(r.Context()) == nil }

func openViews(views []watchdog.View) []watchdog.View {
	for i := range views {
		views[i].Incidents = openIncidents(views[i].Incidents)
		if a := views[i].Action; a != nil {
			views[i].Action = &openActions([]certmedic.Action{*a})[0]
		}
		views[i].Rehearsed = openActions(views[i].Rehearsed)
	}
	return views
}

func openIncidents(incidents []certmedic.Incident) []certmedic.Incident {
	incidents = slices.Clone(incidents)
	for i := range incidents {
		incidents[i].Evidence = openEvidence(incidents[i].Evidence)
	}
	return incidents
}

func openActions(actions []certmedic.Action) []certmedic.Action {
	actions = slices.Clone(actions)
	for i := range actions {
		actions[i].Outcome.Evidence = openEvidence(actions[i].Outcome.Evidence)
		actions[i].Runs = slices.Clone(actions[i].Runs)
		for j := range actions[i].Runs {
			actions[i].Runs[j].Stdout, actions[i].Runs[j].Stderr = "", ""
		}
	}
	return actions
}

func openEvidence(evidence []certmedic.Evidence) []certmedic.Evidence {
	return slices.DeleteFunc(slices.Clone(evidence), func(e certmedic.Evidence) bool { return e.Output })
}

func openReceivers(receivers []api.Receiver) []api.Receiver {
	receivers = slices.Clone(receivers)
	for i := range receivers {
		receivers[i].Why = "" // in the words of its service
	}
	return receivers
}
