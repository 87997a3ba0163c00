package alertmanager_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds waits for what takes a second on an idle machine.
const patience = 30 * time.Second

// root is the folder of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// needAlertmanager skips the test where Debian's Alertmanager cannot be had or run, and notes that
// where `make test` looks for it; with CI=true it fails.
func needAlertmanager(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(filepath.Join(root(t), "scripts", "alertmanager"), "--version").CombinedOutput(); err != nil {
		skip(t, fmt.Sprintf("there is no Alertmanager: %s", out))
	}
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

// instance is an Alertmanager of this test.
type instance struct {
	t       *testing.T
	address string
	dir     string
	process *exec.Cmd
	log     bytes.Buffer
}

// alertmanager returns one that does not run yet.
func alertmanager(t *testing.T) *instance {
	t.Helper()
	needAlertmanager(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, address: listener.Addr().String(), dir: t.TempDir()}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	config := "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
	if err := os.WriteFile(filepath.Join(i.dir, "alertmanager.yml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.kill)
	return i
}

func (i *instance) url() string { return "http://" + i.address + "/am/" }

// start runs it and waits until it is ready.
func (i *instance) start() {
	i.t.Helper()
	i.process = exec.Command(filepath.Join(root(i.t), "scripts", "alertmanager"), "--config.file="+i.dir+"/alertmanager.yml", "--storage.path="+i.dir+"/data",
		"--web.listen-address="+i.address, "--web.route-prefix=/am", "--web.external-url="+i.url(), "--cluster.listen-address=")
	i.process.Stdout, i.process.Stderr = &i.log, &i.log
	if err := i.process.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.await("it is ready", func() bool {
		resp, err := http.Get(i.url() + "-/ready")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// kill ends it like a power cut.
func (i *instance) kill() {
	if i.process == nil {
		return
	}
	_ = i.process.Process.Kill()
	_ = i.process.Wait() // it was killed
	i.process = nil
}

func (i *instance) await(what string, holds func() bool) {
	i.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			i.t.Fatalf("after %s it is not so that %s; Alertmanager has %v", patience, what, i.alerts())
		}
	}
}

// alert is one as Alertmanager shows it.
type alert struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
	Status              struct{ State string }
	GeneratorURL        string
}

// alerts returns what fires there.
func (i *instance) alerts() []alert {
	resp, err := http.Get(i.url() + "api/v2/alerts")
	if err != nil {
		return nil // it does not run, or not yet
	}
	defer resp.Body.Close()
	var all []alert
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		i.t.Error(err)
	}
	return all
}

// amtool runs Alertmanager's own client.
func (i *instance) amtool(args ...string) string {
	i.t.Helper()
	out, err := exec.Command(filepath.Join(root(i.t), ".tools", "alertmanager", "usr", "bin", "amtool"), append([]string{"--alertmanager.url=" + i.url()}, args...)...).CombinedOutput()
	if err != nil {
		i.t.Fatalf("amtool %q: %v: %s", args, err, out)
	}
	return string(out)
}
