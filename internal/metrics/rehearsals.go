package metrics

import (
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// rehearsals writes when what of a certificate was rehearsed last, and how that ended.
func (r *renderer) rehearsals(v *watchdog.View, id labels) {
	for i := range v.Rehearsed {
		a := &v.Rehearsed[i]
		what := label{"rehearsal", strings.TrimPrefix(string(a.Kind), "rehearse_")}
		r.gauge("certmedic_rehearsal_success", "1 if nothing failed in the last rehearsal, of the hooks or of the renewal.").
			add(bit(a.Outcome.Kind == certmedic.OutcomeRehearsed), id, what)
		r.gauge("certmedic_rehearsal_last_timestamp_seconds", "When the last rehearsal ended, in unix seconds.").add(unix(a.EndedAt), id, what)
		if a.Kind == certmedic.RehearseHooks && len(a.Runs) > 0 {
			r.gauge(hookExitCode, hookExitCodeHelp).add(float64(watchdog.RehearsalCode(*a)), id, what)
		}
	}
}
