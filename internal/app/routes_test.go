package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/config"
)

// configured reads a configuration whose one receiver has a file of texts.
func configured(t *testing.T, texts string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "texts.tmpl")
	if err := os.WriteFile(file, []byte(texts), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("alerting:\n  receivers: [{name: ops, texts_file: %q, log: {}}]\n", file)
	c, _, err := config.Parse("c.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTexts(t *testing.T) {
	e := alerting.Event{
		Kind: alerting.KindFiring, Time: time.Now(), Severity: certmedic.SeverityCritical,
		Incident:    certmedic.Incident{Summary: "shop has expired", Reason: "expired", Members: []string{"a:443", "b:443"}},
		Certificate: alerting.Facts{Name: "shop", Labels: map[string]string{"team": "{{.summary}}"}},
	}
	for _, row := range []struct{ about, texts, summary, reason string }{
		{"both", `{{define "summary"}} {{upper .severity}}: {{.certificate}} {{end}}{{define "reason"}}at {{join ", " .members}}{{end}}`, "CRITICAL: shop", "at a:443, b:443"},
		{"what it does not define stays", `{{define "summary"}}{{.event}}{{end}}`, "firing", "expired"},
		{"what says nothing stays", `{{define "summary"}}{{if eq .severity "info"}}x{{end}}{{end}}`, "shop has expired", "expired"},
		{"values are text, never template", `{{define "summary"}}{{index .labels "team"}}{{end}}`, "{{.summary}}", "expired"},
	} {
		all, err := texts(configured(t, row.texts), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%s: %v", row.about, err)
			continue
		}
		got := all["ops"](e)
		if got.Incident.Summary != row.summary || got.Incident.Reason != row.reason {
			t.Errorf("%s: %q, %q", row.about, got.Incident.Summary, got.Incident.Reason)
		}
	}
}

func TestTextsThatAreRefused(t *testing.T) {
	for _, row := range []struct{ about, texts, want string }{
		{"a word that no event has", `{{define "summary"}}{{.sumary}}{{end}}`, "sumary"},
		{"nothing that is used", `{{.summary}}`, "it defines neither summary nor reason"},
		{"no template", `{{define "summary"}}`, "unexpected EOF"},
	} {
		_, err := texts(configured(t, row.texts), nil)
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), "c.yml:2:") {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
	}
}
