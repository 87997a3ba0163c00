package promtool_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// promtool returns Debian's promtool, unpacked below .tools. Where that cannot be had, the
// test is skipped, and noted where `make test` looks for it; with CI=true it fails.
func promtool(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	unpack := exec.Command(filepath.Join(root, "scripts", "unpack"), "prometheus", "usr/bin/promtool", "prometheus")
	if out, err := unpack.CombinedOutput(); err != nil {
		skip(t, root, fmt.Sprintf("there is no promtool: %s", out))
	}
	return filepath.Join(root, ".tools", "prometheus", "usr", "bin", "promtool")
}

func skip(t *testing.T, root, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI=true and this test cannot run: %s", reason)
	}
	f, err := os.OpenFile(filepath.Join(root, ".tools", "skipped"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "%s: %s\n", t.Name(), reason)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	t.Skip(reason)
}
