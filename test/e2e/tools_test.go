package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// tools builds certmedic and pebble, once for all tests, and returns the folder that
// holds them. They are static, so that they run on any host.
var tools = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".tools", "e2e")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/",
		"./cmd/certmedic", "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building certmedic and pebble: %w: %s", err, out)
	}
	return dir, nil
})
