package testhost_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/testhost"
)

func TestHostBootsWithSystemdAndJournal(t *testing.T) {
	ctx := t.Context()
	h := testhost.New(t).Boot(testhost.Spec{Name: "plain"})

	for _, row := range []struct{ about, script, want string }{
		{"systemd is process 1 and content", "systemctl is-system-running", "running"},
		{"the host has its own name", "hostname", "plain"},
		{"it knows its own address by name", "getent hosts plain | awk '{print $1, $2}'", h.IP() + " plain"},
		{"the journal keeps what is logged", "logger -t trial hello; journalctl --sync; journalctl -t trial -o cat", "hello"},
		{"services run in units", "systemd-run --quiet --wait --pipe echo from a unit", "from a unit"},
		{"nothing of the machine is enabled", "find /etc/systemd/system -name '*.wants'", ""},
	} {
		if got := strings.TrimSpace(h.Must(ctx, row.script)); got != row.want {
			t.Errorf("%s: %s says %q, want %q", row.about, row.script, got, row.want)
		}
	}
}

func TestRunTellsHowACommandEnded(t *testing.T) {
	h := testhost.New(t).Boot(testhost.Spec{Name: "plain"})

	r, err := h.Sh(t.Context(), "echo out; echo err >&2; exit 7")
	if want := (testhost.Result{Stdout: "out\n", Stderr: "err\n", Code: 7}); err != nil || r != want {
		t.Errorf("a script that exits with 7 gave %+v, %v, want %+v", r, err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := h.Sh(ctx, "sleep 600 & sleep 600"); err == nil {
		t.Error("a script that outlives its context gave no error")
	}
	if out := h.Must(t.Context(), "pgrep -x sleep || echo none"); out != "none\n" {
		t.Errorf("after its context a script's processes live on: %s", out)
	}
}

func TestHostWritesStayInside(t *testing.T) {
	ctx := t.Context()
	shared := t.TempDir()
	h := testhost.New(t).Boot(testhost.Spec{Name: "plain", Binds: []string{shared}})
	name := fmt.Sprintf("testhost-%d", os.Getpid())
	var devices []string
	for _, dir := range []string{"/etc", "/tmp", "/run", "/var/lib", "/dev", "/dev/shm", "/root", "/new/" + name} {
		path := filepath.Join(dir, name)
		devices = append(devices, path)
		h.WriteFile(path, []byte("inside"), 0o640)
		if got := h.ReadFile(path); string(got) != "inside" {
			t.Errorf("%s reads %q inside", path, got)
		}
	}
	for _, path := range devices {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s was written on the machine", path)
		}
	}
	if mode := h.Must(ctx, "stat -c %a /etc/"+name); mode != "640\n" {
		t.Errorf("the file has mode %s", mode)
	}
	for _, script := range []string{"date -s 2001-01-01", "echo 1 >/proc/sys/vm/drop_caches", "touch /sys/kernel/x"} {
		if r, err := h.Sh(ctx, script); err != nil || r.Code == 0 {
			t.Errorf("%s was let through (%v)", script, err)
		}
	}
	h.WriteFile(filepath.Join(shared, "answer"), []byte("out"), 0o644)
	if got, err := os.ReadFile(filepath.Join(shared, "answer")); err != nil || string(got) != "out" {
		t.Errorf("a bound folder reads %q, %v on the machine", got, err)
	}
}

func TestLayerBringsPackages(t *testing.T) {
	ctx := t.Context()
	h := testhost.New(t).Boot(testhost.Spec{Name: "web", Layer: "web"})

	h.Must(ctx, "systemctl start nginx")
	if out := h.Must(ctx, "systemctl is-active nginx"); out != "active\n" {
		t.Errorf("nginx is %s", out)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: h.Dial}, Timeout: 30 * time.Second}
	resp, err := client.Get("http://web/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("nginx answers %s, %v", resp.Status, err)
	}
	h.Must(ctx, "certbot --version && openssl version && sshd -t || { mkdir -p /run/sshd; sshd -t; }")
}

func TestHostsReachEachOtherByName(t *testing.T) {
	network := testhost.New(t)
	a := network.Boot(testhost.Spec{Name: "alpha"})
	b := network.Boot(testhost.Spec{Name: "beta"})
	l, err := b.Listen("tcp", ":7000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go answer(l)

	if got, err := ask(t.Context(), a.Dial, "beta:7000"); got != "hello\n" {
		t.Errorf("alpha hears %q from beta, %v", got, err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if got, _ := ask(brief, (&net.Dialer{Timeout: time.Second}).DialContext, b.IP()+":7000"); got == "hello\n" {
		t.Error("the machine reaches beta, whose network should be its own")
	}
	b.Cut()
	brief, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if got, err := ask(brief, a.Dial, "beta:7000"); err == nil {
		t.Errorf("alpha hears %q from beta, which is unplugged", got)
	}
	if got, err := ask(t.Context(), b.Dial, "localhost:7000"); got != "hello\n" {
		t.Errorf("beta, unplugged, hears %q from itself, %v", got, err)
	}
	b.Heal()
	if got, err := ask(t.Context(), a.Dial, "beta:7000"); got != "hello\n" {
		t.Errorf("alpha hears %q from beta, plugged in again, %v", got, err)
	}
	if _, err := a.Dial(t.Context(), "tcp", "gamma:7000"); err == nil {
		t.Error("dialling a host that does not exist gave no error")
	}
}

func TestHostComesBackWithItsDisk(t *testing.T) {
	ctx := t.Context()
	network := testhost.New(t)
	unit := "[Service]\nType=oneshot\nExecStart=touch /var/tmp/started\n[Install]\nWantedBy=multi-user.target\n"
	h := network.Boot(testhost.Spec{Name: "plain"})
	h.WriteFile("/etc/systemd/system/mark.service", []byte(unit), 0o644)
	h.Must(ctx, "systemctl enable --quiet mark; touch /tmp/lost")
	ip := h.IP()
	h.Down()
	if _, err := h.Run(ctx, "true"); err == nil || h.PID() != 0 {
		t.Errorf("a host that is down runs commands (%v) or has pid %d", err, h.PID())
	}

	h = network.Boot(testhost.Spec{Name: "plain"})
	h.Must(ctx, "test -e /var/tmp/started") // the enabled unit ran at boot
	h.Must(ctx, "test ! -e /tmp/lost")
	if h.IP() != ip {
		t.Errorf("the address changed from %s to %s", ip, h.IP())
	}
}

func TestHostStartsFromASavedDisk(t *testing.T) {
	ctx := t.Context()
	saved := filepath.Join(t.TempDir(), "disk.tar")
	unit := "[Service]\nType=oneshot\nExecStart=touch /run/started\n[Install]\nWantedBy=multi-user.target\n"
	first := testhost.New(t).Boot(testhost.Spec{Name: "first"})
	first.WriteFile("/etc/systemd/system/mark.service", []byte(unit), 0o644)
	first.Must(ctx, "systemctl enable --quiet mark; echo kept >/var/tmp/file; chmod 640 /var/tmp/file; touch -d '2026-01-02 03:04:05.678' /var/tmp/file; rm /etc/issue")
	first.SaveDisk(saved)
	if first.PID() != 0 {
		t.Error("a host whose disk was saved still runs")
	}

	network := testhost.New(t)
	for _, name := range []string{"second", "third"} {
		h := network.Boot(testhost.Spec{Name: name, Disk: saved})
		if got := h.Must(ctx, "hostname; cat /var/tmp/file; stat --format '%a %y' /var/tmp/file"); !strings.HasPrefix(got, name+"\nkept\n640 2026-01-02 03:04:05.678") {
			t.Errorf("%s has\n%s", name, got)
		}
		h.Must(ctx, "test -e /run/started && test ! -e /etc/issue && echo own >/var/tmp/file")
	}
}

// TestNothingIsLeft runs this test binary again as a test process that is killed, or
// ends in order, while it has a host.
func TestNothingIsLeft(t *testing.T) {
	if os.Getenv("TESTHOST_CHILD") != "" {
		h := testhost.New(t).Boot(testhost.Spec{Name: "plain"})
		fmt.Printf("\nhost %d %s\n", h.PID(), strings.TrimSpace(h.Must(t.Context(), "sleep 600 >/dev/null 2>&1 & hostname")))
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	testhost.New(t) // skips where hosts cannot boot
	for _, end := range []string{"killed", "in order"} {
		t.Run(end, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run=^TestNothingIsLeft$")
			child.Env = append(os.Environ(), "TESTHOST_CHILD=1")
			stdin, err := child.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			pid := readPID(t, stdout)
			before := namespaces(t, pid)
			if end == "killed" {
				_ = child.Process.Kill()
			}
			stdin.Close()
			_ = child.Wait()
			waitGone(t, before)
		})
	}
}

// readPID reads the line by which the child of TestNothingIsLeft names its host's pid.
func readPID(t *testing.T, r io.Reader) int {
	t.Helper()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == "host" {
			pid, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return pid
		}
	}
	t.Fatal("the child booted no host")
	return 0
}

// namespaces returns the identities of the host's process and network namespaces.
func namespaces(t *testing.T, pid int) []string {
	t.Helper()
	var ids []string
	for _, kind := range []string{"pid", "net"} {
		id, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// waitGone waits until no process is in one of the namespaces, and checks that no mount
// and no cgroup of a host is left on the machine.
func waitGone(t *testing.T, ids []string) {
	t.Helper()
	var left string
	for range 300 {
		if left = leftover(t, ids); left == "" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("30 s after the test process ended there is still %s", left)
}

func leftover(t *testing.T, ids []string) string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		for _, id := range ids {
			if target, _ := os.Readlink(link); target == id {
				return "a process in its namespaces, " + link
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(mounts, []byte("/.tools/testhost/mnt")) {
		return "a mount below .tools/testhost"
	}
	return leftCgroup()
}

// leftCgroup names a cgroup whose hub no longer runs, where the machine shows cgroups.
func leftCgroup() string {
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		groups, _ := filepath.Glob(top + "/certmedic-testhost-*")
		for _, group := range groups {
			hub := group[strings.LastIndex(group, "-")+1:]
			if _, err := os.Stat("/proc/" + hub); err != nil {
				return "the cgroup " + group
			}
		}
	}
	return ""
}

func answer(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "hello\n")
		conn.Close()
	}
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// ask connects and reads a line.
func ask(ctx context.Context, dial dialFunc, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}
