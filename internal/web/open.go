package web

import (
	"net/http"
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/redact"
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
		incidents[i].Fix = redact.Text(incidents[i].Fix) // commands to paste, with their arguments
	}
	return incidents
}

func openActions(actions []certmedic.Action) []certmedic.Action {
	actions = slices.Clone(actions)
	for i := range actions {
		actions[i].Outcome.Evidence = openEvidence(actions[i].Outcome.Evidence)
		actions[i].Runs = slices.Clone(actions[i].Runs)
		for j := range actions[i].Runs {
			openRun(&actions[i].Runs[j])
		}
	}
	return actions
}

// openRun leaves of a command its program: arguments of hooks may hold secrets, as plans may, which are
// shown to those who log in.
func openRun(r *certmedic.Run) {
	r.Stdout, r.Stderr, r.OutputDir = "", "", ""
	r.Name, r.Detail = redact.Text(r.Name), redact.Text(r.Detail)
	r.Argv = slices.Clone(r.Argv[:min(1, len(r.Argv))])
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
