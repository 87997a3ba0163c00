package app_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// TestMaintenanceWindow shows that the windows of the configuration hold for the daemon, and
// that it acts when a reload has taken them away.
func TestMaintenanceWindow(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	closed := time.Now().AddDate(0, 0, 3).Format("Mon") + " 00:00-24:00"
	s.mend(t, fmt.Sprintf("mode: auto, windows: [%q]", closed))
	d := s.start(t)
	waitFor(t, "the first look", d.served(t))
	s.renew(t)
	last := func(is func(certmedic.Outcome) bool) func() bool {
		return func() bool {
			actions, err := d.client.History(t.Context(), "shop", 1)
			return err == nil && len(actions) > 0 && is(actions[0].Outcome)
		}
	}
	waitFor(t, "the refusal", last(func(o certmedic.Outcome) bool { return o.Reason == "outside_window" }))
	s.mend(t, "mode: auto")
	d.reload <- syscall.SIGHUP
	waitFor(t, "an action", last(func(o certmedic.Outcome) bool { return o.Kind != certmedic.OutcomeRefused }))
}

// mend has the certificate shop mended, as far as the remediation section allows it.
func (s *site) mend(t *testing.T, section string) {
	t.Helper()
	s.configure(t, "shop")
	text, err := os.ReadFile(s.path("certmedic.yml"))
	if err != nil {
		t.Fatal(err)
	}
	mended := strings.Replace(string(text), "certificates:", "remediation: {"+section+"}\ncertificates:", 1)
	s.write(t, "certmedic.yml", mended+"    remediation: {mode: auto, allow: [redeploy, reload]}\n")
}
