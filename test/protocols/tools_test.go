package protocols_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// tools builds certmedic, once for all tests, and returns the folder that holds it. It is
// static, so that it runs on any host.
var tools = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".tools", "protocols")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/", "./cmd/certmedic")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building certmedic: %w: %s", err, out)
	}
	return dir, nil
})
