package logger_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/logger"
)

func TestNotify(t *testing.T) {
	tests := []struct {
		name     string
		kind     alerting.Kind
		severity certmedic.Severity
		level    string
	}{
		{"a critical incident is an error", alerting.KindFiring, certmedic.SeverityCritical, "ERROR"},
		{"what could not be seen is an error", alerting.KindUpdate, certmedic.SeverityUnknown, "ERROR"},
		{"a warning is one", alerting.KindFiring, certmedic.SeverityWarning, "WARN"},
		{"the end of a critical incident is information", alerting.KindResolved, certmedic.SeverityCritical, "INFO"},
		{"good news is information", alerting.KindRenewed, certmedic.SeverityInfo, "INFO"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			n := alertingtest.Notification()
			n.Events[0].Kind, n.Events[0].Severity = tt.kind, tt.severity
			n.Events = append(n.Events, n.Events[0])
			retry, err := logger.New(slog.New(slog.NewTextHandler(&out, nil))).Notify(t.Context(), n)
			if retry || err != nil {
				t.Fatalf("retry %v, error %v", retry, err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != 2 {
				t.Fatalf("%d lines, want one for each event", len(lines))
			}
			for _, want := range []string{
				"level=" + tt.level, "msg=sümmary", "event=" + string(tt.kind), "certificate=shop", "rule=expired", "status=firing",
				"reason=reason", "dedup_key=certmedic/shop/e1", "days_left=0", `evidence="hook: exit 1"`,
			} {
				if !strings.Contains(lines[0], want) {
					t.Errorf("%q is not in %s", want, lines[0])
				}
			}
		})
	}
}

func TestACause(t *testing.T) {
	var out bytes.Buffer
	n := alertingtest.Notification()
	n.Events[0].Incident = alertingtest.Diagnosed(n.Events[0].Incident)
	if _, err := logger.New(slog.New(slog.NewTextHandler(&out, nil))).Notify(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if line := out.String(); !strings.Contains(line, `exit code 1 (hook_failed)"`) || !strings.Contains(line, `fix="# mend the hook, then\ncertmedic redeploy shop`) || strings.Count(line, "\n") != 1 {
		t.Errorf("logged %q", line)
	}
}
