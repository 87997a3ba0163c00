package answer_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/acme/answer"
)

const folder = ".well-known/acme-challenge"

func TestWebroot(t *testing.T) {
	dir := t.TempDir()
	defer syscall.Umask(syscall.Umask(0o077)) // the web server is another user, whatever ours is
	w := mint.Must(answer.OpenWebroot(dir))
	defer w.Close()
	for range 2 { // the second time over what a killed run left
		if err := w.Present("shop.test", "token", "token.print"); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]fs.FileMode{folder + "/token": 0o644, folder: 0o755, ".well-known": 0o755} {
		if info := mint.Must(os.Stat(filepath.Join(dir, path))); info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), mode)
		}
	}
	if data := mint.Must(os.ReadFile(filepath.Join(dir, folder, "token"))); string(data) != "token.print" {
		t.Errorf("the answer is %q", data)
	}
	for range 2 {
		if err := w.CleanUp("shop.test", "token", ""); err != nil {
			t.Error(err)
		}
	}
	if left := mint.Must(os.ReadDir(filepath.Join(dir, folder))); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestWebrootStaysInside shows that links out of the webroot, which others may make there, lead
// to nothing being written.
func TestWebrootStaysInside(t *testing.T) {
	for _, tt := range []struct {
		about string
		plant func(t *testing.T, root, outside string)
	}{
		{"the first folder is a link", func(t *testing.T, root, outside string) { link(t, outside, filepath.Join(root, ".well-known")) }},
		{"the second folder is a link", func(t *testing.T, root, outside string) {
			if err := os.Mkdir(filepath.Join(root, ".well-known"), 0o755); err != nil {
				t.Fatal(err)
			}
			link(t, outside, filepath.Join(root, folder))
		}},
		{"the file is a link", func(t *testing.T, root, outside string) {
			if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
				t.Fatal(err)
			}
			link(t, filepath.Join(outside, "victim"), filepath.Join(root, folder, "token"))
			link(t, filepath.Join(outside, "victim"), filepath.Join(root, folder, ".certmedic-token"))
		}},
	} {
		root, outside := t.TempDir(), t.TempDir()
		if err := os.WriteFile(filepath.Join(outside, "victim"), []byte("kept"), 0o600); err != nil {
			t.Fatal(err)
		}
		tt.plant(t, root, outside)
		if w, err := answer.OpenWebroot(root); err == nil {
			_ = w.Present("shop.test", "token", "token.print") // an error is fine, and so is a file inside
			_ = w.Close()
		}
		if data := mint.Must(os.ReadFile(filepath.Join(outside, "victim"))); string(data) != "kept" || len(mint.Must(os.ReadDir(outside))) != 1 {
			t.Errorf("%s: something was written outside", tt.about)
		}
	}
	if _, err := answer.OpenWebroot(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a webroot that is not there is made")
	}
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func TestTaken(t *testing.T) {
	listener := mint.Must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	_, err := answer.ListenHTTP(listener.Addr().String())
	var taken *answer.TakenError
	if !errors.As(err, &taken) || !strings.Contains(taken.By, "answer.test") {
		t.Errorf("taken by %v", err)
	}
	if _, err := answer.ListenTLS("192.0.2.1:443"); err == nil || errors.As(err, &taken) {
		t.Errorf("an address of somebody else: %v", err)
	}
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open.sh")
	if err := os.WriteFile(open, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ about, provider, text, words string }{
		{"a line that is no setting", "exec", "EXEC_PATH=/bin/true\n\nexport X\n", "env:3: not NAME=value"},
		{"a name with a blank", "exec", "EXEC PATH=/bin/true\n", "env:1"},
		{"a program that is missing", "exec", "", `it is ""`},
		{"a program to be looked for", "exec", "EXEC_PATH=true\n", "absolute path"},
		{"a program that others may write", "exec", "EXEC_PATH=" + open + "\n", "may be written by others"},
		{"a provider that is set up wrongly", "rfc2136", "RFC2136_NAMESERVER=192.0.2.1\nRFC2136_TSIG_FILE=/nowhere/tsig\n", "/nowhere/tsig"},
	} {
		file := filepath.Join(dir, "env")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := answer.OpenDNS(answer.DNSOptions{Provider: tt.provider, EnvFile: file})
		if err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v", tt.about, err)
		}
	}
}

// TestEveryProviderExists shows that each name leads to a provider that says which settings it
// lacks, or works without.
func TestEveryProviderExists(t *testing.T) {
	for _, name := range answer.Providers() {
		if _, err := answer.OpenDNS(answer.DNSOptions{Provider: name}); err != nil && strings.Contains(err.Error(), "no such provider") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
