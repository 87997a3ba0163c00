package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// daemon is a certmedic that serves, of the program that was built.
type daemon struct {
	*process
	fleet   *fleet // nil: it watches nothing
	metrics string // URL
}

// startServe starts certmedic with a fleet to watch. The roots of its configuration are
// those of the system, which are the fleet's.
func startServe(t *testing.T, f *fleet, interval time.Duration) *daemon {
	t.Helper()
	folder, listen := t.TempDir(), freeAddress(t)
	var config bytes.Buffer
	fmt.Fprintf(&config, "state_dir: %s/state\nprobe: {interval: %s, timeout: 3s}\n", folder, interval)
	var env []string
	if f != nil {
		env = f.environment()
		config.WriteString("watch:\n")
		for _, e := range f.endpoints {
			fmt.Fprintf(&config, "  - {address: %q, server_name: %s}\n", e.Address, e.Name)
		}
	}
	file := filepath.Join(folder, "certmedic.yml")
	if err := os.WriteFile(file, config.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, certmedicProgram, env, "serve", "--config", file, "--web.listen-address", listen, "--log.level", "error")
	d := &daemon{process: p, fleet: f, metrics: "http://" + listen + "/metrics"}
	await(t, "certmedic answers", func() bool {
		response, err := http.Get("http://" + listen + "/-/healthy")
		if err != nil {
			return false
		}
		return response.Body.Close() == nil
	})
	return d
}

// measureServe returns how many microseconds of the processor certmedic takes for a probe
// in its steady state: without a scrape, and with one.
func measureServe(t *testing.T, f *fleet) (quiet, scraped float64) {
	t.Helper()
	d := startServe(t, f, 2*time.Second)
	defer d.stop()
	d.awaitRounds(3)
	shaken := f.ask()
	quiet = d.perProbe(d.probes)
	probes, spent := d.probes(), d.cpu()
	time.Sleep(span)
	probes = d.probes() - probes
	scraped = float64((d.cpu() - spent).Microseconds()) / float64(probes)
	if shaken = f.ask() - shaken; shaken < 19*probes/10 { // of two spans
		t.Errorf("certmedic counted %d probes in one span of two, the fleet %d handshakes in both", probes, shaken)
	}
	return quiet, scraped
}

// settle waits until what a start leaves behind is gone.
func (d *daemon) settle() { time.Sleep(span) }

// awaitRounds waits until the fleet has seen so many handshakes for each of its endpoints.
// Scrapes would have a share in what is measured next.
func (d *daemon) awaitRounds(n int) {
	d.t.Helper()
	enough := d.fleet.ask() + n*len(d.fleet.endpoints)
	await(d.t, fmt.Sprintf("%d rounds", n), func() bool { return d.fleet.ask() >= enough })
}

// probes returns how many probes have succeeded.
func (d *daemon) probes() int {
	d.t.Helper()
	const sample = `certmedic_probes_total{outcome="success"} `
	for text := range strings.Lines(d.scrape()) {
		if value, ok := strings.CutPrefix(text, sample); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				d.t.Fatal(err)
			}
			return int(n)
		}
	}
	d.t.Fatalf("there is no %s", sample)
	return 0
}

func (d *daemon) scrape() string {
	d.t.Helper()
	response, err := http.Get(d.metrics)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(body)
}

// measureCheck checks every endpoint of a fleet by one command. It returns its peak memory
// in bytes, its time on the processor, and that of the clock.
func measureCheck(t *testing.T, f *fleet) (peak int64, cpu, wall time.Duration) {
	t.Helper()
	var targets bytes.Buffer
	for _, e := range f.endpoints {
		fmt.Fprintln(&targets, e.Address)
	}
	cmd := exec.Command(certmedicProgram, "check", "-p", strconv.Itoa(workers), "--json", "-")
	cmd.Env = append(os.Environ(), f.environment()...)
	cmd.Stdin = &targets
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fine := countFine(t, stdout)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	wall = time.Since(began)
	if fine != len(f.endpoints) {
		t.Errorf("%d of %d targets were found to be fine", fine, len(f.endpoints))
	}
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return used.Maxrss * 1024, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall
}

// countFine counts the answers with status ok in the array that `check --json` writes.
func countFine(t *testing.T, r io.Reader) int {
	t.Helper()
	decoder := json.NewDecoder(r)
	if _, err := decoder.Token(); err != nil {
		t.Fatal(err)
	}
	fine := 0
	for decoder.More() {
		var answer struct{ Status string }
		if err := decoder.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		if answer.Status == "ok" {
			fine++
		}
	}
	_, _ = io.Copy(io.Discard, r)
	return fine
}
