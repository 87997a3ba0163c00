package command_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/alerting/command"
)

// patience bounds runs that take milliseconds on an idle machine.
const patience = 20 * time.Second

func build(t *testing.T, c command.Config) *command.Notifier {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = patience
	}
	n, err := command.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sh(script string, args ...string) []string {
	return append([]string{"sh", "-c", script, "sh"}, args...)
}

// safe returns a folder that only the user of the test may write, whatever the umask.
func safe(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWhatACommandGets(t *testing.T) {
	out := safe(t)
	n := alertingtest.Notification()
	const evil = "$(touch pwned) `touch pwned` ; touch pwned\nX=1 \x1b[1m"
	e := &n.Events[0]
	e.Incident.Summary, e.Incident.Runbook, e.Certificate.Domains = evil, "expired", []string{"a.example.com", "b.example.com"}
	c := command.Config{Argv: sh(`cat >"$1/stdin"; env >"$1/env"`, out), Environ: []string{"TOKEN=abc", "PATH=/usr/bin:/bin"}, RunbookURL: "https://wiki/"}
	if retry, err := build(t, c).Notify(t.Context(), n); retry || err != nil {
		t.Fatalf("retry %v, error %v", retry, err)
	}
	stdin, err := os.ReadFile(filepath.Join(out, "stdin"))
	if err != nil {
		t.Fatal(err)
	}
	var b body.Body
	if err := json.Unmarshal(stdin, &b); err != nil || b.Summary != evil || b.Runbook != "https://wiki/expired" || b.Certificate != "shop" {
		t.Errorf("%v: %s", err, stdin)
	}
	env, err := os.ReadFile(filepath.Join(out, "env"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(env), "\n")
	for _, want := range []string{
		"CERTMEDIC_EVENT=firing", "CERTMEDIC_CERTIFICATE=shop", "CERTMEDIC_DOMAINS=a.example.com b.example.com", "CERTMEDIC_DAYS_LEFT=0",
		"CERTMEDIC_SUMMARY=$(touch pwned) `touch pwned` ; touch pwned X=1", "CERTMEDIC_NOT_AFTER=2026-03-01T00:00:00Z", "TOKEN=abc", "CERTMEDIC_DRILL=false",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the environment lacks %q:\n%s", want, env)
		}
	}
	if len(lines) != 21+2+1+1 { // certmedic's own, the configured ones, the shell's PWD, and what follows the last line break
		t.Errorf("the environment has other variables:\n%s", env)
	}
}

func TestHowACommandEnds(t *testing.T) {
	dir := safe(t)
	others := filepath.Join(dir, "others")
	if err := os.WriteFile(others, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(others, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		argv    []string
		timeout time.Duration
		want    string // a part of the error; empty: delivered
		retry   bool
	}{
		"exit code 0 is a delivery":        {argv: sh("exit 0")},
		"it need not read its input":       {argv: []string{"true"}},
		"75 asks for another attempt":      {argv: sh("echo busy >&2; exit 75"), want: `exit code 75: "busy"`, retry: true},
		"every other exit code is final":   {argv: sh("echo no; exit 1"), want: `exit code 1: "no"`},
		"a signal is tried again":          {argv: sh("kill -KILL $$"), want: "killed by SIGKILL", retry: true},
		"so is one that takes too long":    {argv: sh("sleep 60"), timeout: 100 * time.Millisecond, want: "still running", retry: true},
		"secrets are not quoted":           {argv: sh("echo password=hunter2 >&2; exit 1"), want: "password=***"},
		"no such program":                  {argv: []string{"/no/such"}, want: "no such program"},
		"a program that others may change": {argv: []string{others}, want: "may be written by others"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			retry, err := build(t, command.Config{Argv: tt.argv, Timeout: tt.timeout}).Notify(t.Context(), alertingtest.Notification())
			if retry != tt.retry || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("retry %v, error %v; want retry %v, %q", retry, err, tt.retry, tt.want)
			}
		})
	}
}

func TestTheFirstFailureEndsIt(t *testing.T) {
	n := alertingtest.Notification()
	n.Events = append(n.Events, n.Events[0])
	out := filepath.Join(safe(t), "runs")
	if _, err := build(t, command.Config{Argv: sh(`echo run >>"$1"; exit 1`, out)}).Notify(t.Context(), n); err == nil {
		t.Error("no error")
	}
	if runs, err := os.ReadFile(out); err != nil || string(runs) != "run\n" {
		t.Errorf("%q, %v; want one run", runs, err)
	}
}

func TestTheEndOfTheContextEndsTheCommand(t *testing.T) {
	out := filepath.Join(safe(t), "late")
	ctx, cancel := context.WithCancel(t.Context())
	ready := filepath.Join(safe(t), "ready")
	go func() {
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(ready); err == nil {
				break
			}
		}
		cancel()
	}()
	begin := time.Now()
	retry, err := build(t, command.Config{Argv: sh(`touch "$1"; sleep 60; touch "$2"`, ready, out)}).Notify(ctx, alertingtest.Notification())
	if !retry || err == nil || time.Since(begin) > patience {
		t.Errorf("retry %v, error %v after %v", retry, err, time.Since(begin))
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("it went on")
	}
}

func TestLongValuesFitIntoTheEnvironment(t *testing.T) {
	n := alertingtest.Notification()
	n.Events[0].Incident.Members = slices.Repeat([]string{"web-000.example.com:443"}, 20_000)
	n.Events[0].Incident.Evidence = []certmedic.Evidence{{Source: "hook", Line: strings.Repeat("é", 100_000)}}
	if retry, err := build(t, command.Config{Argv: sh(`test -n "$CERTMEDIC_MEMBERS" && test $(wc -c) -gt 400000`)}).Notify(t.Context(), n); retry || err != nil {
		t.Errorf("retry %v, error %v", retry, err)
	}
}

func TestPreview(t *testing.T) {
	shown, err := build(t, command.Config{Argv: []string{"true"}}).Preview(body.Sample())
	if err != nil || !strings.Contains(string(shown), "CERTMEDIC_EVENT=renewed\n") || !strings.Contains(string(shown), `"event": "renewed"`) {
		t.Errorf("%v\n%s", err, shown)
	}
}

func TestNewRefusesAnEmptyCommand(t *testing.T) {
	for _, argv := range [][]string{nil, {}, {""}} {
		if _, err := command.New(command.Config{Argv: argv}); err == nil {
			t.Errorf("%q is taken", argv)
		}
	}
}

var _ alerting.Single = (*command.Notifier)(nil)
