package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// The longest median time from certbot's exit to the new version being served, with
// default settings and an interval of 2 s.
const healLimit = 3 * time.Second

// renewals is how many renewals are healed for that median.
const renewals = 5

func TestHookFailsOnceThenHealed(t *testing.T) {
	w := newWorld(t, setting{})
	w.hook(failOnce)
	w.watch(plan{mode: certmedic.ModeAuto})

	healed := 0
	median := w.healSeries(&healed)
	if median >= healLimit { // a machine under load gets one more chance
		t.Logf("the median was %s; once more", median)
		median = w.healSeries(&healed)
	}
	t.Logf("median time from certbot's exit to the new version being served: %s", median)
	if median >= healLimit {
		t.Errorf("that is not below %s", healLimit)
	}
	w.checkHealed(healed)
}

// healSeries has certbot renew several times with a hook that fails, and returns the
// median of how long certmedic took to get the new version served.
func (w *world) healSeries(healed *int) time.Duration {
	w.t.Helper()
	var took []time.Duration
	for range renewals {
		old := w.served(domain)
		version, exited := w.renew()
		if now := w.served(domain); now != old {
			w.fatalf("certbot has just ended with a failed hook, and nginx serves %s", now.Short())
		}
		took = append(took, w.awaitServed(version).Sub(exited))
		*healed++
		w.awaitOutcome(*healed, certmedic.OutcomeHealed)
		w.awaitIncident("renewed-not-served", certmedic.StateResolved)
		if certbot, ours := w.hookRuns(); certbot != *healed || ours != *healed {
			w.fatalf("after %d renewals the hook was run %d times by certbot and %d times by certmedic:\n%s", *healed, certbot, ours, w.must("cat "+hookLog))
		}
	}
	w.t.Logf("from certbot's exit to the new version being served: %s", took)
	slices.Sort(took)
	return took[len(took)/2]
}

// checkHealed checks what every way of asking says after so many healed renewals.
func (w *world) checkHealed(healed int) {
	w.t.Helper()
	w.await("certmedic status is content", patience, 200*time.Millisecond, func() bool { return w.certmedic("status").Code == 0 })
	var history []certmedic.Action
	r := w.certmedic("history", "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &history); err != nil || r.Code != 0 {
		w.fatalf("certmedic history --json: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	for _, a := range history {
		if a.Outcome.Kind != certmedic.OutcomeHealed || a.Kind != certmedic.ActionRedeploy || a.By != "renewed-not-served" || len(a.Runs) != 1 || a.Runs[0].Name != hookFile {
			w.t.Errorf("the history has %+v", a)
		}
	}
	for series, want := range map[string]string{
		`certmedic_actions_total{action="redeploy",outcome="healed"}`: fmt.Sprint(healed),
		`certmedic_served_matches_stored{certificate="shop"`:          "1",
		`certmedic_hook_last_exit_code{certificate="shop"`:            "0",
	} {
		if got := w.metric(series); got != want {
			w.t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
	if len(history) != healed {
		w.t.Errorf("the history has %d actions, want %d", len(history), healed)
	}
	firing := func(event string) (n int) {
		for _, b := range w.alerts.about("renewed-not-served") {
			if string(b.Event) == event {
				n++
			}
		}
		return n
	}
	w.await("the webhook heard of the end of the last incident", patience, 100*time.Millisecond, func() bool {
		return firing("firing") > 0 && firing("firing") == firing("resolved")
	})
}

func TestHookEnvironmentIsCertbots(t *testing.T) {
	t.Parallel()
	// certbot keeps --deploy-hook as renew_hook and runs it after those of the folder.
	w := newWorld(t, setting{certbot: "--domain other.example.test --deploy-hook 'echo saved >>/var/log/order; test ! -e /run/ready || systemctl reload nginx'"})
	w.must("rm -f /var/log/order")
	w.hook("echo 10-nginx >>/var/log/order\nenv | grep ^RENEWED_ | sort >/var/log/env.$caller\n")
	w.WriteFile("/etc/letsencrypt/renewal-hooks/deploy/2-last", []byte("#!/bin/sh\necho 2-last >>/var/log/order\n"), 0o755)
	w.watch(plan{mode: certmedic.ModeAuto})
	conf := string(w.ReadFile("/etc/letsencrypt/renewal/" + domain + ".conf"))
	if !strings.Contains(conf, "\nrenew_hook = ") {
		t.Fatalf("certbot did not keep its deploy hook as renew_hook:\n%s", conf)
	}

	version, _ := w.renew()
	w.must("touch /run/ready")
	w.awaitServed(version)
	w.awaitOutcome(1, certmedic.OutcomeHealed)

	if got, want := string(w.ReadFile("/var/log/order")), strings.Repeat("10-nginx\n2-last\nsaved\n", 2); got != want {
		t.Errorf("the hooks ran in the order\n%s\nwant that of certbot, twice:\n%s", got, want)
	}
	theirs, ours := string(w.ReadFile("/var/log/env.certbot")), string(w.ReadFile("/var/log/env.certmedic"))
	if ours != theirs {
		t.Errorf("certmedic's hooks get\n%s\ncertbot's got\n%s", ours, theirs)
	}
	if want := "RENEWED_LINEAGE=" + live; strings.Count(theirs, "\n") != 2 || !strings.Contains(theirs, want) {
		t.Errorf("certbot's hooks got %q, want two variables, one of them %q", theirs, want)
	}
}

func TestRenewalByCertbotsTimer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{days: 20}) // due at once
	w.hook(failOnce)
	w.watch(plan{mode: certmedic.ModeAuto})
	before := w.stored()

	// The timer at a time that is near, everything else as Debian ships it.
	w.must(`mkdir -p /etc/systemd/system/certbot.timer.d
		printf '%s\n' '[Timer]' OnCalendar= RandomizedDelaySec=0 'OnActiveSec=1s' AccuracySec=100ms >/etc/systemd/system/certbot.timer.d/soon.conf
		systemctl daemon-reload && systemctl start certbot.timer`)
	w.await("certbot's timer has renewed the certificate", patience, 100*time.Millisecond, func() bool { return w.stored() != before })
	w.awaitServed(w.stored())
	w.awaitOutcome(1, certmedic.OutcomeHealed)

	if got := strings.TrimSpace(w.must("systemctl show --property Result --value certbot.service")); got != "success" {
		t.Errorf("certbot.service ended with %s", got)
	}
	if certbot, ours := w.hookRuns(); certbot != 1 || ours != 1 {
		t.Errorf("the hook was run %d times by certbot and %d times by certmedic", certbot, ours)
	}
	journal := w.must("journalctl --sync; journalctl --unit certmedic --output cat")
	for _, want := range []string{"certmedic is running", "a new version is stored", "rule=renewed-not-served"} {
		if !strings.Contains(journal, want) {
			t.Errorf("the journal does not say %q:\n%s", want, journal)
		}
	}
}
