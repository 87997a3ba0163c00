package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/acmelog"
)

// certbotLogged writes the log of a run of certbot for the lineage shop.
func certbotLogged(t *testing.T, folder string, messages ...string) {
	t.Helper()
	var b strings.Builder
	for _, m := range append([]string{"DEBUG:certbot._internal.main:certbot version: 2.1.0"}, messages...) {
		fmt.Fprintf(&b, "2026-11-23 06:25:00,000:%s\n", m)
	}
	if err := os.WriteFile(filepath.Join(folder, "letsencrypt.log"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestChroniclerTellsWhatLogsTell(t *testing.T) {
	dir := t.TempDir()
	tree, logs := filepath.Join(dir, "etc"), filepath.Join(dir, "log")
	for _, folder := range []string{filepath.Join(tree, "renewal"), logs} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	conf := "[renewalparams]\nauthenticator = webroot\nlogs_dir = " + logs + "\n"
	if err := os.WriteFile(filepath.Join(tree, "renewal", "shop.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	ok := "DEBUG:certbot._internal.display.obj:Notifying user:   " + tree + "/live/shop/fullchain.pem (success)"
	stored := []string{
		"DEBUG:certbot._internal.storage:Writing new config " + tree + "/renewal/shop.conf.new.",
		"INFO:certbot.compat.misc:Running deploy-hook command: reload",
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		c := newChronicler(map[string]certmedic.Source{
			"shop":  {Kind: certmedic.SourceCertbot, ConfigDir: tree, Lineage: "shop"},
			"other": {Kind: certmedic.SourceCertbot, ConfigDir: filepath.Join(dir, "elsewhere"), Lineage: "other"}, // of which nobody knows where it is logged
			"files": {Kind: certmedic.SourceFiles, Cert: "/etc/ssl/x.pem"},
		}, func(certificate string, a *acmelog.Attempt) {
			word := "nothing"
			if a != nil {
				word = string(a.Word)
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, certificate+" "+word)
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		expect := func(about string, after time.Duration, want ...string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if fmt.Sprint(told) != fmt.Sprint(want) {
				t.Errorf("%s: told %q, want %q", about, told, want)
			}
			told = nil
		}
		expect("there is no log yet", 2*logsAfter, "shop nothing")
		certbotLogged(t, logs, append(stored, ok)...)
		c.Changed("shop")
		expect("soon after its files changed", 2*logsAfter, "shop ok")
		certbotLogged(t, logs, append(stored, "WARNING:certbot.display.ops:Hook 'deploy-hook' reported error code 3", ok)...)
		expect("a log changed, and nothing else", 2*logsEvery, "shop hook_failed")
		expect("nothing changed", 10*logsEvery)
		if err := os.Remove(filepath.Join(logs, "letsencrypt.log")); err != nil {
			t.Fatal(err)
		}
		expect("the log is gone", 2*logsEvery, "shop nothing")
		cancel()
		if err := <-ended; err != context.Canceled {
			t.Error(err)
		}
	})
}
