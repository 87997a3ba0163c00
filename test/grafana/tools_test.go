package grafana_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds waits for what takes a second on an idle machine.
const patience = 40 * time.Second

// root is the folder of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// unpacked returns the folder of a Debian package's programs, below .tools. Where that cannot be
// had, the test is skipped, and noted where `make test` looks for it; with CI=true it fails.
func unpacked(t *testing.T, name, program, pkg string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(root(t), "scripts", "unpack"), name, "usr/bin/"+program, pkg).CombinedOutput()
	if err != nil {
		skip(t, fmt.Sprintf("there is no %s: %s", program, out))
	}
	return filepath.Join(root(t), ".tools", name, "usr", "bin")
}

func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI=true and this test cannot run: %s", reason)
	}
	f, err := os.OpenFile(filepath.Join(root(t), ".tools", "skipped"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "%s: %s\n", t.Name(), reason)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	t.Skip(reason)
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s it is not so that %s", patience, what)
		}
	}
}

// free returns an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}
