package senses_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/testhost"
	"github.com/certmedic/certmedic/probe/host/schedule"
)

// TestDebian looks at what Debian's package of certbot brings.
func TestDebian(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := testhost.New(t).Boot(testhost.Spec{Name: "debian", Layer: "web", Binds: []string{filepath.Dir(exe)}})
	look := func() (timer, cron schedule.Job) {
		var jobs []schedule.Job
		out := h.Must(t.Context(), looks+"=1 "+exe)
		if err := json.Unmarshal([]byte(out), &jobs); err != nil || len(jobs) != 2 {
			t.Fatalf("%s: %v", out, err)
		}
		return jobs[1], jobs[0]
	}
	timer, cron := look()
	if timer.Name != "certbot.timer" || timer.Client != "certbot" || timer.Enabled || timer.Every != 24*time.Hour || !timer.Quiet {
		t.Errorf("the timer is off, and seen as %+v", timer)
	}
	if cron.File != "/etc/cron.d/certbot" || !strings.Contains(cron.Guarded, "/run/systemd/system") {
		t.Errorf("the cron line gives way to the timer, and is seen as %+v", cron)
	}
	h.Must(t.Context(), "systemctl enable --now certbot.timer")
	if timer, _ = look(); !timer.Enabled || timer.Problem != "" {
		t.Errorf("the timer is on, and seen as %+v", timer)
	}
	h.Must(t.Context(), "systemctl disable --now certbot.timer && ln -sf /dev/null /etc/systemd/system/certbot.timer")
	if timer, _ = look(); timer.Enabled || !timer.Masked {
		t.Errorf("the timer is masked, and seen as %+v", timer)
	}
}
