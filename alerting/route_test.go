package alerting

import (
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestRoutes(t *testing.T) {
	routes := []Route{
		{Match: map[string]string{"severity": "critical", "team": "payments"}, To: []string{"oncall", "ops"}},
		{Match: map[string]string{"rule": "split"}, To: []string{"net"}},
		{Match: map[string]string{"certificate": "lab"}},
		{To: []string{"ops"}},
		{Match: map[string]string{"team": "payments"}, To: []string{"feed"}, Events: true},
	}
	event := func(kind Kind, severity certmedic.Severity, rule, name, team string) Event {
		return Event{
			Kind: kind, Severity: severity, Incident: certmedic.Incident{Rule: rule},
			Certificate: Facts{Name: name, Labels: map[string]string{"team": team}},
		}
	}
	tests := []struct {
		name  string
		event Event
		want  []string
	}{
		{"every label of a route must fit", event(KindFiring, "critical", "expired", "shop", "payments"), []string{"oncall", "ops"}},
		{"the first that fits decides", event(KindFiring, "critical", "split", "shop", "payments"), []string{"oncall", "ops"}},
		{"one label that differs goes on to the next", event(KindFiring, "critical", "split", "shop", "web"), []string{"net"}},
		{"a route to nobody keeps quiet", event(KindFiring, "critical", "expired", "lab", "web"), nil},
		{"a route without match takes the rest", event(KindUpdate, "warning", "expired", "shop", "payments"), []string{"ops"}},
		{"good news pass by routes without events", event(KindRenewed, "info", "", "shop", "payments"), []string{"feed"}},
		{"an info incident too", event(KindFiring, "info", "no-sct", "shop", "payments"), []string{"feed"}},
		{"good news that no route wants", event(KindDeployed, "info", "", "shop", "web"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := hearers(routes, tt.event, time.Now()); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
