package page_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web/page"
)

func TestThePageSaysWhoLooksAfterWhat(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	in := func(key string, state certmedic.IncidentState) certmedic.Incident {
		return certmedic.Incident{ID: key + string(state), DedupKey: key, State: state, FiringAt: now, Severity: certmedic.SeverityWarning}
	}
	var out strings.Builder
	err := page.Render(&out, page.Data{
		Now:          now,
		Views:        []watchdog.View{{Name: "shop", Incidents: []certmedic.Incident{in("a", certmedic.StateFiring), in("b", certmedic.StateFiring)}}},
		Incidents:    []certmedic.Incident{in("c", certmedic.StateFiring), in("c", certmedic.StateResolved)},
		Acknowledged: map[string]alerting.Ack{"a": {By: "<ann>", At: now}, "c": {By: "cid", At: now}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"&lt;ann&gt; looks after it": 1, "cid looks after it": 1, "<ann>": 0, " looks after it": 2} {
		if got := strings.Count(out.String(), text); got != want {
			t.Errorf("%q is there %d times, want %d", text, got, want)
		}
	}
}
