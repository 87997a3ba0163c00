package testhost

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// moduleRoot returns the folder of go.mod, at or above the working directory, which for
// tests is the folder of their package.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod at or above %q", start)
		}
	}
}

// missing says why hosts cannot be booted here; "" when they can.
func missing() string {
	if os.Geteuid() != 0 {
		return "booting hosts needs root"
	}
	if _, err := os.Stat("/etc/debian_version"); err != nil {
		return "booting hosts needs Debian: there is no /etc/debian_version"
	}
	tools := []string{
		"/lib/systemd/systemd", "ip", "nsenter", "unshare", "setpriv", "pivot_root", "mount", "tar", "flock", "apt-get",
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Sprintf("booting hosts needs %s (packages systemd, iproute2, util-linux, mount, tar)", tool)
		}
	}
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return "booting hosts needs /proc: " + err.Error()
	}
	for _, fs := range []string{"overlay", "cgroup2"} {
		if !bytes.Contains(known, []byte("\t"+fs+"\n")) {
			return fmt.Sprintf("booting hosts needs the file system %s in the kernel", fs)
		}
	}
	return ""
}

// skip ends the test, and notes why where `make test` looks for it.
func skip(t testing.TB, root, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI=true and this test cannot run: %s", reason)
	}
	dir := filepath.Join(root, ".tools")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "skipped"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "%s: %s\n", t.Name(), reason)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	t.Skip(reason)
}
