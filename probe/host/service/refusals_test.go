package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	since := time.Date(2026, 6, 15, 12, 0, 0, 500, time.Local)
	const text = `2026/06/15 11:59:59 [emerg] 80#80: unknown directive "before" in /etc/nginx/conf.d/a.conf:1
2026/06/15 12:00:00 [notice] 80#80: signal 1 (SIGHUP) received from 90, reconfiguring
2026/06/15 12:00:00 [emerg] 80#80: unknown directive "servr" in /etc/nginx/conf.d/a.conf:3
2026/06/15 12:00:01 [emerg] 95#95: bind() to 0.0.0.0:80 failed (98: Address already in use)
2026/06/15 12:00:02 [emerg] 95#95: still could not bind()
2026/06/15 12:00:03 [error] 96#96: invalid PID number "" in "/run/nginx.pid"
[emerg] of no time
2026/06/15 12:00:04 [emerg] 97#97: cannot load certificate "/etc/ssl/gone.pem": BIO_new_file() failed
`
	path := filepath.Join(t.TempDir(), "error.log")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := Refusals(Service{Kind: Nginx, ErrorLog: path}, since)
	if len(got) != 2 || got[0].Line != 3 || !strings.Contains(got[0].Text, "servr") || got[1].Line != 8 || got[1].File != path {
		t.Errorf("of its log %+v is told", got)
	}
	for about, s := range map[string]Service{
		"another service": {Kind: Apache, ErrorLog: path}, "no log": {Kind: Nginx, ErrorLog: path + "2"}, "a folder": {Kind: Nginx, ErrorLog: t.TempDir()},
	} {
		if got := Refusals(s, since); len(got) > 0 {
			t.Errorf("%s: %+v", about, got)
		}
	}
	long := strings.Repeat("x", maxErrorLog) + "\n" + text
	if err := os.WriteFile(path, []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Refusals(Service{Kind: Nginx, ErrorLog: path}, since); len(got) != 2 || got[0].Line != 0 {
		t.Errorf("of a long log %+v is told", got)
	}
}
