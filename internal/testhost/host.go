package testhost

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed boot.sh
var bootScript string

// Spec says what a host is like.
type Spec struct {
	Name  string   // as the other hosts know it
	Layer string   // a section of packages.txt; empty: the machine's own packages only
	Binds []string // directories of the machine that the host shares, each at its own path
	Disk  string   // a file of [Host.SaveDisk]: it starts with what that host had written; empty: with nothing
}

// Host is a host that runs, or ran until it was taken down.
type Host struct {
	name string
	net  *Network
	init *process
}

// Result is how a command on a host ended.
type Result struct {
	Stdout string
	Stderr string
	Code   int // the exit code; -1 where a signal ended it
}

// Boot boots a host and returns once its systemd has reached multi-user.target. Services
// that a package enabled by itself are off: start or enable what the test needs. Booting
// a host that is down starts it again with the disk that it had, as after a power cut.
func (n *Network) Boot(spec Spec) *Host {
	n.t.Helper()
	h := &Host{name: spec.Name, net: n}
	if old := n.hosts[spec.Name]; old != nil && old.PID() != 0 {
		n.t.Fatalf("testhost: host %q is running already", spec.Name)
	}
	if err := n.unpack(spec.Layer); err != nil {
		n.t.Fatalf("testhost: %v", err)
	}
	if err := h.boot(spec); err != nil {
		n.t.Fatalf("testhost: booting %q: %v", spec.Name, err)
	}
	n.hosts[spec.Name] = h
	n.writeHosts()
	return h
}

func (h *Host) boot(spec Spec) error {
	hub := strconv.Itoa(h.net.hub.pid())
	args := []string{
		"--target", hub, "--mount", "--", "unshare", "--mount", "bash", "-c", bootScript, "boot",
		h.net.mnt, hub, strconv.Itoa(h.net.number(h.name)), h.name, spec.Layer, spec.Disk,
	}
	cmd := exec.Command("nsenter", append(args, spec.Binds...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	init, err := start(cmd)
	if err != nil {
		return err
	}
	h.init = init
	if err := h.waitBooted(); err != nil {
		init.kill()
		return fmt.Errorf("%w: %s", err, init.output())
	}
	return nil
}

// waitBooted waits until systemd says that it has done everything it wanted to start.
func (h *Host) waitBooted() error {
	ctx, cancel := context.WithTimeout(context.Background(), bootLimit)
	defer cancel()
	for ctx.Err() == nil {
		if h.init.ended() {
			return errors.New("it ended while booting")
		}
		// Before it is systemd the process still sees the machine, whose own systemd
		// must not be asked.
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", h.init.pid())); string(comm) == "systemd\n" {
			r, _ := h.Run(ctx, "systemctl", "is-system-running", "--wait")
			switch strings.TrimSpace(r.Stdout) {
			case "running", "degraded":
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("not booted after %v", bootLimit)
}

// Name returns the name by which the other hosts know this one.
func (h *Host) Name() string { return h.name }

// IP returns the host's IPv4 address, which hosts of the same network can reach.
func (h *Host) IP() string { return h.net.address(h.name) }

// PID returns the process id of the host's systemd as the machine sees it, 0 once the
// host is down.
func (h *Host) PID() int {
	if h.init.ended() {
		return 0
	}
	return h.init.pid()
}

// Run runs a command on the host as root, with a clean environment, and waits for it.
// A command that ran has no error, whatever its exit code.
func (h *Host) Run(ctx context.Context, argv ...string) (Result, error) {
	return h.run(ctx, nil, argv...)
}

// Sh runs a script with /bin/sh -e on the host, as [Host.Run] does.
func (h *Host) Sh(ctx context.Context, script string) (Result, error) {
	return h.Run(ctx, "/bin/sh", "-ec", script)
}

// Must runs a script as [Host.Sh] does and returns what it wrote to its standard output.
// It fails the test unless the script exits with 0.
func (h *Host) Must(ctx context.Context, script string) string {
	h.net.t.Helper()
	r, err := h.Sh(ctx, script)
	if err != nil || r.Code != 0 {
		h.net.t.Fatalf("on %s: %s\nended with exit code %d, error %v\n%s%s", h.name, script, r.Code, err, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

func (h *Host) run(ctx context.Context, stdin []byte, argv ...string) (Result, error) {
	pid := h.PID()
	if pid == 0 {
		return Result{}, fmt.Errorf("host %q is down", h.name)
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	enter := []string{
		"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--",
		"setpriv", "--bounding-set=-sys_time,-sys_module", // as boot.sh: the clock is the machine's
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb",
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, argv...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a daemon that keeps the pipes open is not waited for
	err := cmd.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return result, fmt.Errorf("running %q on %q: %w", argv, h.name, ctx.Err())
	case err == nil, errors.As(err, &exit), errors.Is(err, exec.ErrWaitDelay):
		return result, nil
	default:
		return result, fmt.Errorf("running %q on %q: %w", argv, h.name, err)
	}
}

// WriteFile writes a file on the host, with the folders it needs. It fails the test
// where that is not possible.
func (h *Host) WriteFile(path string, data []byte, mode fs.FileMode) {
	h.net.t.Helper()
	script := `mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"`
	r, err := h.run(context.Background(), data, "sh", "-c", script, "sh", path, strconv.FormatUint(uint64(mode.Perm()), 8))
	if err != nil || r.Code != 0 {
		h.net.t.Fatalf("writing %q on %q: %v: %s", path, h.name, err, r.Stderr)
	}
}

// ReadFile returns what a file on the host holds. It fails the test where it cannot be
// read.
func (h *Host) ReadFile(path string) []byte {
	h.net.t.Helper()
	r, err := h.Run(context.Background(), "cat", "--", path)
	if err != nil || r.Code != 0 {
		h.net.t.Fatalf("reading %q on %q: %v: %s", path, h.name, err, r.Stderr)
	}
	return []byte(r.Stdout)
}

// Cut unplugs the host from the network. Its own addresses stay reachable on it.
func (h *Host) Cut() { h.plug("down") }

// Heal plugs the host in again.
func (h *Host) Heal() { h.plug("up") }

func (h *Host) plug(state string) {
	h.net.t.Helper()
	if err := h.net.inHub("ip", "link", "set", fmt.Sprintf("host%d", h.net.number(h.name)), state); err != nil {
		h.net.t.Fatalf("testhost: %v", err)
	}
}

// SaveDisk switches the host off, as after a shutdown, and writes what it had written to its
// disk into an archive of the machine, from which hosts of any network start: see [Spec]. They
// have the same layer, and start the services that this one had enabled.
func (h *Host) SaveDisk(file string) {
	h.net.t.Helper()
	h.Must(context.Background(), "systemctl stop multi-user.target; sync")
	h.Down()
	disk := filepath.Join(h.net.mnt, "hosts", h.name, "up")
	err := h.net.inHub("tar", "--create", "--format=posix", "--file", file, "--directory", disk,
		"--xattrs", "--xattrs-include=*", "--numeric-owner", ".")
	if err != nil {
		h.net.t.Fatalf("testhost: saving the disk of %q: %v", h.name, err)
	}
}

// Down switches the host off, as a power cut does. Every process of it is killed.
func (h *Host) Down() { h.init.kill() }
