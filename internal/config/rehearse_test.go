package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/config"
)

func TestRehearse(t *testing.T) {
	t.Parallel()
	const lineage = "source: {certbot: {lineage: a}}, "
	for _, tt := range []struct {
		about, certificate, says string // says: an error, or behind ~ a warning
	}{
		{"as often as wanted", lineage + "rehearse: {hooks: 168h, renewal: 720h, run_hooks: true, staging: https://ca.test/staging}, remediation: {mode: auto}", ""},
		{"too often", lineage + "rehearse: {hooks: 10m}, remediation: {mode: auto}", "rehearse.hooks: 10m is too often, the least is 1h"},
		{"less than never", lineage + "rehearse: {renewal: -1h}, remediation: {mode: auto}", "rehearse.renewal: -1h is too often"},
		{"where orders cost", lineage + "rehearse: {staging: https://acme-v02.api.letsencrypt.org/directory}", "rehearse.staging: is a directory that issues for real"},
		{"where nothing is encrypted", lineage + "rehearse: {staging: http://ca.test/}", "it begins with https://"},
		{"in mode observe", lineage + "rehearse: {hooks: 168h}", "~rehearse: nothing is rehearsed by itself unless"},
		{"hooks that cannot be there", "source: {files: {cert: /a}}, rehearse: {hooks: 168h}, remediation: {mode: auto}", "~rehearse.hooks: there is nothing to run"},
		{"a command that renews", lineage + "renew: {command: [x]}, rehearse: {renewal: 168h}, remediation: {mode: auto}", "~rehearse.renewal: a command that renews cannot be rehearsed"},
	} {
		c, warnings, err := config.Parse("x", []byte("certificates: [{name: a, "+tt.certificate+"}]"))
		want, isWarning := strings.CutPrefix(tt.says, "~")
		switch {
		case tt.says == "" && (err != nil || len(warnings) > 0):
			t.Errorf("%s: %v, %v", tt.about, err, warnings)
		case isWarning && (err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].String(), want)):
			t.Errorf("%s: %v, %v, want the warning %q", tt.about, err, warnings, want)
		case tt.says != "" && !isWarning && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", tt.about, err, want)
		}
		if tt.says == "" && (c.Certificates[0].Rehearse.Hooks != 168*time.Hour || !c.Certificates[0].Rehearse.RunHooks) {
			t.Errorf("%s: %+v", tt.about, c.Certificates[0].Rehearse)
		}
	}
	c, _, err := config.Parse("x", []byte("certificates: [{name: a, source: {certbot: {lineage: a}}}]"))
	if err != nil || c.Certificates[0].Rehearse != (config.Rehearse{}) {
		t.Errorf("by itself something is rehearsed: %+v, %v", c, err)
	}
}
