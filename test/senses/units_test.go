package senses_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/testhost"
	"github.com/certmedic/certmedic/probe/host/unit"
)

// units are those of the host that [TestAskSystemd] boots.
const units = `
printf '%s\n' '[Service]' 'ExecStart=/bin/sleep 600' 'ExecReload=/bin/sh -c "exit 7"' >/etc/systemd/system/runs.service
printf '%s\n' '[Service]' 'ExecStart=/bin/sh -c "exit 3"' >/etc/systemd/system/fails.service
printf '%s\n' '[Service]' 'ExecStart=/bin/true' >/etc/systemd/system/masked.service
printf '%s\n' '[Service]' 'Type=oneshot' 'ExecStart=/bin/true' >/etc/systemd/system/tick.service
printf '%s\n' '[Timer]' 'OnCalendar=daily' '[Install]' 'WantedBy=timers.target' >/etc/systemd/system/tick.timer
printf '%s\n' '[Timer]' 'OnActiveSec=10ms' 'AccuracySec=1ms' 'Unit=tick.service' >/etc/systemd/system/ran.timer
systemctl daemon-reload
systemctl mask masked.service 2>/dev/null || ln -sf /dev/null /etc/systemd/system/masked.service
systemctl daemon-reload
systemctl start runs.service ran.timer
systemctl enable --now tick.timer
systemctl reload runs.service || true
systemctl start fails.service || true
for try in $(seq 200); do
	systemctl is-failed --quiet fails.service && test "$(systemctl show -p LastTriggerUSec --value ran.timer)" != n/a && test -n "$(systemctl show -p LastTriggerUSec --value ran.timer)" && exit 0
	sleep 0.05
done
exit 1
`

func TestAskSystemd(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	network := testhost.New(t)
	h := network.Boot(testhost.Spec{Name: "units", Binds: []string{filepath.Dir(exe)}})
	before := time.Now().Add(-time.Minute)
	h.Must(t.Context(), units)
	var got []unit.Unit
	names := "runs.service:fails.service:masked.service:none.service:tick.timer:ran.timer"
	out := h.Must(t.Context(), asks+"="+names+" "+exe)
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got) != 6 {
		t.Fatalf("%s: %v", out, err)
	}
	soon := func(at time.Time) bool { return at.After(before) && at.Before(time.Now().Add(time.Minute)) }
	for _, row := range []struct {
		about string
		holds bool
		u     unit.Unit
	}{
		{"a service runs", got[0].Load == "loaded" && got[0].Active == "active" && got[0].Sub == "running" && got[0].MainPID > 1 && soon(got[0].Started) && got[0].Result == "success" && got[0].Reloads, got[0]},
		{"its reload failed", got[0].Reload == "exit-code" && got[0].ReloadExit == 7 && soon(got[0].Reloaded), got[0]},
		{"a service failed", got[1].Active == "failed" && got[1].Result == "exit-code" && got[1].ExitCode == 3 && !got[1].Reloads && soon(got[1].Changed), got[1]},
		{"one is masked", got[2].Load == "masked", got[2]},
		{"one is not there", got[3].Load == "not-found" && got[3].Name == "none.service", got[3]},
		{"a timer waits", got[4].Active == "active" && got[4].File == "enabled" && got[4].Next.After(time.Now()) && got[4].Path == "/etc/systemd/system/tick.timer", got[4]},
		{"a timer ran", soon(got[5].Trigger), got[5]},
	} {
		if !row.holds {
			t.Errorf("it is not so that %s: %+v", row.about, row.u)
		}
	}
}
