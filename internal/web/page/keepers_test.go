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
	acknowledged := map[string]alerting.Ack{"a": {By: "<ann>", At: now}, "c": {By: "cid", At: now}}
	var out strings.Builder
	for _, c := range []page.Content{
		page.Certificate{View: watchdog.View{Name: "shop", Incidents: []certmedic.Incident{in("a", certmedic.StateFiring), in("b", certmedic.StateFiring)}}, Acknowledged: acknowledged},
		page.Incidents{Incidents: []certmedic.Incident{in("c", certmedic.StateFiring), in("c", certmedic.StateResolved)}, Acknowledged: acknowledged},
	} {
		if err := page.Render(&out, page.Frame{Now: now}, c); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]int{"&lt;ann&gt; looks after it": 1, "cid looks after it": 1, "<ann>": 0, " looks after it": 2} {
		if got := strings.Count(out.String(), text); got != want {
			t.Errorf("%q is there %d times, want %d", text, got, want)
		}
	}
}
