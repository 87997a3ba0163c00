package grafana_test

import (
	"bytes"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output is what a process says, which can be read while it does.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// TestObserve runs what `make observe` runs, and ends it as Ctrl-C does.
func TestObserve(t *testing.T) {
	unpacked(t, "prometheus", "prometheus", "prometheus")
	unpacked(t, "alertmanager", "prometheus-alertmanager", "prometheus-alertmanager")
	if out, err := exec.Command(filepath.Join(root(t), "scripts", "alertmanager"), "--version").CombinedOutput(); err != nil {
		skip(t, "Alertmanager cannot be run: "+string(out))
	}
	bin, dir := t.TempDir(), filepath.Join(t.TempDir(), "run")
	build := exec.Command("go", "build", "-o", bin, "./cmd/certmedic", "./cmd/certlab")
	build.Dir = root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, port, _ := strings.Cut(free(t), ":")
	var said output
	observe := exec.Command(filepath.Join(root(t), "scripts", "observe"), dir)
	observe.Env = append(os.Environ(), "PORT="+port, "BIN="+bin)
	observe.Stdout, observe.Stderr = &said, &said
	observe.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal sends Ctrl-C to the whole group
	if err := observe.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-observe.Process.Pid, syscall.SIGKILL) })
	await(t, "it is ready", func() bool { return strings.Contains(said.String(), "Ctrl-C ends it") })
	address := regexp.MustCompile(`Prometheus +http://([0-9.:]+)/`).FindStringSubmatch(said.String())
	if address == nil {
		t.Fatalf("it said\n%s", said.String())
	}
	checkObserved(t, &prometheus{t: t, address: address[1]}, port)

	if err := syscall.Kill(-observe.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := observe.Wait(); err != nil {
		t.Errorf("it ended with %v and said\n%s", err, said.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "observe")); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "certmedic.yml")); err != nil {
		t.Errorf("the story's folder is not: %v", err)
	}
	if err := syscall.Kill(-observe.Process.Pid, 0); err == nil {
		t.Error("something that it started still runs")
	}
}

// checkObserved wants certmedic to be scraped, probes to be made for what /sd names, the rules to
// be asked and Alertmanager to be told.
func checkObserved(t *testing.T, p *prometheus, port string) {
	t.Helper()
	await(t, "certmedic and what it names are scraped", func() bool {
		up, err := p.now(`up{job="certmedic",instance="127.0.0.1:`+port+`"} == 1 or up{job="certmedic-probe",certificate="shop"} == 1`, span{to: time.Now()})
		return err == nil && len(up) == 2
	})
	await(t, "the recording rules are asked", func() bool {
		recorded, err := p.now(`version:certmedic_served_info:count{name="shop"}`, span{to: time.Now()})
		return err == nil && len(recorded) == 1
	})
	var told struct{ ActiveAlertmanagers []struct{ URL string } }
	if err := p.get("/api/v1/alertmanagers", url.Values{}, &told); err != nil || len(told.ActiveAlertmanagers) != 1 {
		t.Errorf("it tells %v, %v", told, err)
	}
}

// TestFolder has Debian's own tools check what is handed out for Prometheus and Alertmanager.
func TestFolder(t *testing.T) {
	programs := unpacked(t, "prometheus", "promtool", "prometheus")
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join(root(t), "dashboards", "prometheus", "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, filepath.Join(root(t), "dashboards", "certmedic.rules.yml")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, filepath.Base(file)), string(text))
	}
	for _, args := range [][]string{
		{"promtool", "check", "config", "prometheus.yml"},
		{"promtool", "test", "rules", "certmedic.test.yml"},
	} {
		check := exec.Command(filepath.Join(programs, args[0]), args[1:]...)
		check.Dir = dir
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	amtool := filepath.Join(unpacked(t, "alertmanager", "prometheus-alertmanager", "prometheus-alertmanager"), "amtool")
	for about, row := range map[string][2]string{
		"an alert that a certificate expired pages": {"oncall", "alertname=CertmedicExpired severity=critical certificate=shop"},
		"a warning goes to people":                  {"people", "alertname=CertmedicUnreachable severity=warning certificate=shop"},
		"what others say goes elsewhere":            {"nobody", "alertname=DiskFull severity=critical"},
	} {
		args := append([]string{"config", "routes", "test", "--config.file=" + dir + "/alertmanager.yml", "--verify.receivers=" + row[0]}, strings.Fields(row[1])...)
		if out, err := exec.Command(amtool, args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", about, err, out)
		}
	}
}
