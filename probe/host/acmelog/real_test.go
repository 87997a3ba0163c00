package acmelog

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const shop = "shop.example.test"

// realLog reads the log of a real run, see testdata/README.md.
func realLog(t *testing.T, name string) Log {
	t.Helper()
	log := Read(Options{Path: filepath.Join("testdata", "certbot-2.1", name+".log")})
	if log.Problem != "" || len(log.Runs) == 0 {
		t.Fatalf("%s: %d runs, problem %q", name, len(log.Runs), log.Problem)
	}
	return log
}

func TestRealRenewals(t *testing.T) {
	for _, row := range []struct {
		log    string
		result Result
		stored bool
		cause  certmedic.Cause
		line   string // part of the telling one
	}{
		{"success", Renewed, true, "", "fullchain.pem (success)"},
		{"account-missing", Renewed, true, "", "fullchain.pem (success)"},
		{"hook-failed", Renewed, true, "", "fullchain.pem (success)"},
		{"dry-run", Renewed, false, "", "fullchain.pem (success)"},
		{"hook-killed", Renewed, true, "", "Writing new config"},
		{"not-due", NotDue, false, "", "not yet due"},
		{"autorenew-off", NotDue, false, "", "not yet due"},
		{"links-mended", NotDue, false, "", "not yet due"},
		{"challenge-404", Failed, false, certmedic.CauseChallenge404, "Detail: Non-200 status code"},
		{"webroot-missing", Failed, false, certmedic.CauseChallenge404, "Detail: Non-200 status code"},
		{"challenge-unauthorized", Failed, false, certmedic.CauseChallengeUnauthorized, "did not match this challenge"},
		{"challenge-refused", Failed, false, certmedic.CauseChallengeRefused, "connection refused"},
		{"challenge-timeout", Failed, false, certmedic.CauseChallengeTimeout, "Detail: "},
		{"challenge-dns", Failed, false, certmedic.CauseDNSFailed, "Detail: "},
		{"ca-unreachable", Failed, false, certmedic.CauseCAUnreachable, "Requesting localhost/dir: Connection refused"},
		{"disk-full", Failed, false, certmedic.CauseDiskFull, "No space left on device"},
		{"port-conflict", Failed, false, certmedic.CausePortConflict, "Could not bind TCP port 80"},
		{"manual", Failed, false, certmedic.CauseManualAuthenticator, "The manual plugin is not working"},
		{"plugin-missing", Failed, false, certmedic.CauseLineageBroken, "does not appear to be installed"},
		{"installer-reload", Failed, true, certmedic.CauseInstallerReloadFailed, "nginx restart failed"},
		{"installer-config", Renewed, true, "", "fullchain.pem (success)"},
		{"conf-broken", Broken, false, certmedic.CauseLineageBroken, "does not specify an authenticator"},
		{"conf-unreadable", Broken, false, certmedic.CauseLineageBroken, "is broken"},
	} {
		log := realLog(t, row.log)
		n := log.Runs[0].Renewals
		if len(n) != 1 || n[0].Lineage != shop || n[0].Tree != "/etc/letsencrypt" {
			t.Errorf("%s: the renewals are %+v", row.log, n)
			continue
		}
		if got := n[0]; got.Result != row.result || got.Stored != row.stored || got.Cause != row.cause {
			t.Errorf("%s: %s, stored %v, because of %q: %s", row.log, got.Result, got.Stored, got.Cause, got.Detail)
		}
		if !strings.Contains(n[0].At.Text, row.line) || n[0].At.Number == 0 {
			t.Errorf("%s: the telling line is %+v", row.log, n[0].At)
		}
	}
}

func TestRealHooks(t *testing.T) {
	const hook = "/etc/letsencrypt/renewal-hooks/deploy/10-nginx"
	for _, row := range []struct {
		log  string
		want []Hook // without their lines
	}{
		{"success", []Hook{{Kind: "deploy", Command: hook, Lineage: shop, Ended: true}}},
		{"hook-failed", []Hook{{Kind: "deploy", Command: hook, Lineage: shop, Ended: true, Failed: true, ExitCode: 3, Stderr: "nginx is busy"}}},
		{"hook-signal", []Hook{{Kind: "deploy", Command: hook, Lineage: shop, Ended: true, Failed: true, ExitCode: 137, Stderr: "Killed"}}},
		{"hook-127", []Hook{{Kind: "deploy", Command: hook, Lineage: shop, Ended: true, Failed: true, ExitCode: 127, Stderr: "/bin/sh: 1: " + hook + ": not found"}}},
		{"hook-stderr", []Hook{{Kind: "deploy", Command: hook, Lineage: shop, Ended: true, Stderr: "a warning only"}}},
		{"hook-mode", nil},
		{"hook-conf", []Hook{{Kind: "deploy", Command: "/bin/false", Lineage: shop, Ended: true, Failed: true, ExitCode: 1}}},
		{"hook-killed", []Hook{{Kind: "deploy", Command: hook, Lineage: shop}}},
		{"dry-run", []Hook{{Kind: "deploy", Command: hook, Lineage: shop, Skipped: true, Ended: true}}},
		{"hooks-prepost", []Hook{
			{Kind: "pre", Command: "echo begin", Ended: true},
			{Kind: "deploy", Command: hook, Lineage: shop, Ended: true},
			{Kind: "post", Command: "echo end; exit 4", Ended: true, Failed: true, ExitCode: 4},
		}},
		{"two-lineages", []Hook{
			{Kind: "deploy", Command: hook, Lineage: "other.example.test", Ended: true, Failed: true, ExitCode: 7, Stderr: "no such host"},
			{Kind: "deploy", Command: hook, Lineage: shop, Ended: true},
		}},
	} {
		got := realLog(t, row.log).Runs[0].Hooks
		if len(got) != len(row.want) {
			t.Errorf("%s: %d hooks, want %d: %+v", row.log, len(got), len(row.want), got)
			continue
		}
		for i, h := range got {
			if h.At.Number == 0 || !strings.Contains(h.At.Text, h.Command) || h.Failed != (h.Result.Number > 0) {
				t.Errorf("%s: hook %d is told by %+v and %+v", row.log, i, h.At, h.Result)
			}
			h.At, h.Result = Line{}, Line{}
			if h != row.want[i] {
				t.Errorf("%s: hook %d is\n%+v, want\n%+v", row.log, i, h, row.want[i])
			}
		}
	}
}

func TestRealRuns(t *testing.T) {
	for _, row := range []struct {
		log                             string
		dry, quiet, forced, lasts, note bool
	}{
		{log: "success", quiet: true, forced: true},
		{log: "not-due"},
		{log: "dry-run", dry: true},
		{log: "hook-killed", forced: true, lasts: true},
		{log: "lock-held", forced: true, note: true},
		{log: "links-mended", note: true},
		{log: "installer-config", forced: true, note: true},
	} {
		run := realLog(t, row.log).Runs[0]
		if run.Client != Certbot || run.Version != "2.1.0" || run.First.Number != 1 || run.Last.Number < 10 || run.Started.Year() != 2026 || run.Ended.Before(run.Started) {
			t.Errorf("%s: %+v", row.log, run)
		}
		if run.DryRun != row.dry || run.Quiet != row.quiet || run.Forced != row.forced || run.Finished == row.lasts || len(run.Notes) > 0 != row.note {
			t.Errorf("%s: dry run %v, quiet %v, forced %v, finished %v, notes %+v", row.log, run.DryRun, run.Quiet, run.Forced, run.Finished, run.Notes)
		}
	}
	for log, cause := range map[string]certmedic.Cause{
		"lock-held": certmedic.CauseLockHeld, "links-mended": certmedic.CauseHookSkipped, "installer-config": certmedic.CauseConfigTestFailed,
	} {
		if notes := realLog(t, log).Runs[0].Notes; notes[0].Cause != cause || notes[0].At.Number == 0 {
			t.Errorf("%s: %+v", log, notes)
		}
	}
}

func TestRealAttempts(t *testing.T) {
	for log, want := range map[string]Word{
		"success": AttemptOK, "hook-failed": AttemptHookFailed, "hook-mode": AttemptOK, "hook-stderr": AttemptOK, "hooks-prepost": AttemptOK,
		"two-lineages": AttemptOK, "not-due": AttemptNotDue, "challenge-404": AttemptFailed, "installer-reload": AttemptFailed,
		"conf-broken": AttemptFailed, "hook-killed": "", "dry-run": "", "lock-held": "", "appended": AttemptNotDue,
	} {
		if got := realLog(t, log).Attempts("/etc/letsencrypt")[shop]; got.Word != want {
			t.Errorf("%s: the last attempt is told as %q, want %q", log, got.Word, want)
		}
	}
	if got := realLog(t, "two-lineages").Attempts("/etc/letsencrypt")["other.example.test"]; got.Word != AttemptHookFailed || got.At.Number == 0 {
		t.Errorf("the other lineage: %+v", got)
	}
}

func TestAppendedRunsAreToldApart(t *testing.T) {
	log := realLog(t, "appended")
	if len(log.Runs) != 3 {
		t.Fatalf("%d runs", len(log.Runs))
	}
	if !log.Runs[0].Hooks[0].Failed || log.Runs[1].Hooks[0].Failed || len(log.Runs[2].Hooks) != 0 {
		t.Errorf("the hooks are %+v, %+v, %+v", log.Runs[0].Hooks, log.Runs[1].Hooks, log.Runs[2].Hooks)
	}
	if got := log.Oldest; !got.Equal(log.Runs[0].Started) {
		t.Errorf("the oldest is of %s", got)
	}
	late := Read(Options{Path: filepath.Join("testdata", "certbot-2.1", "appended.log"), Since: log.Runs[0].Ended.Add(time.Millisecond)})
	if len(late.Runs) != 2 {
		t.Errorf("since the end of the first there are %d runs", len(late.Runs))
	}
}
