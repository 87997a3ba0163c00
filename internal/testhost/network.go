// Package testhost boots throwaway Debian hosts with a real systemd, a journal and a
// network of their own, for end-to-end tests on one machine. Tests call [New] for a
// network and [Network.Boot] for each host; hosts reach each other by name.
//
// A host is this machine's root file system under a private overlay, in namespaces of
// its own, with systemd as process 1. Debian packages that it needs on top come from a
// layer (see packages.txt), which is built once below .tools/ and never installed on
// the machine. Nothing that a host does reaches the machine, except in the directories
// that were bound into it.
//
// Everything is held by processes that end with the test process, however it ends, and
// mounts and namespaces end with them: no list of things to clean up is kept anywhere.
//
// It needs root, Debian and a few tools. Where they are missing New skips the test and
// notes that in .tools/skipped, so that `make test` names it; with CI=true it fails.
package testhost

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed hub.sh
var hubScript string

// cacheDir, below the module's folder, is where layers are kept.
const cacheDir = ".tools/testhost"

// Limits of the waits.
const (
	hubLimit   = 30 * time.Second // to start or to end the shared part
	layerLimit = 10 * time.Minute // to build a layer
	bootLimit  = 30 * time.Second // to boot a host
	runLimit   = 5 * time.Minute  // to run a command whose context has no earlier deadline
)

// Network is a set of hosts that reach each other, and nothing else, over one Ethernet
// segment. Its methods are for the test's own goroutine.
type Network struct {
	t       testing.TB
	root    string // the module's folder
	mnt     string // where the hub's file system is mounted, in its own namespace only
	hub     *process
	hubIn   io.Closer
	layers  map[string]bool
	mu      sync.Mutex // guards numbers, which Dial reads from any goroutine
	numbers map[string]int
	hosts   map[string]*Host
}

// New returns an empty network, which is taken down with all its hosts when the test
// ends. It skips the test where hosts cannot be booted, and fails it where CI=true.
func New(t testing.TB) *Network {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if reason := missing(); reason != "" {
		skip(t, root, reason)
	}
	n := &Network{
		t: t, root: root, mnt: filepath.Join(root, cacheDir, "mnt"),
		layers: map[string]bool{}, numbers: map[string]int{}, hosts: map[string]*Host{},
	}
	if err := n.startHub(); err != nil {
		t.Fatalf("testhost: starting the network: %v", err)
	}
	t.Cleanup(n.close)
	return n
}

func (n *Network) startHub() error {
	if err := os.MkdirAll(n.mnt, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("bash", "-c", hubScript, "hub", n.mnt)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	ready, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd.Stdout = w
	n.hub, err = start(cmd)
	w.Close()
	if err != nil {
		return err
	}
	n.hubIn = stdin
	if err := ready.SetReadDeadline(time.Now().Add(hubLimit)); err != nil {
		return err
	}
	if line, err := bufio.NewReader(ready).ReadString('\n'); line != "ready\n" {
		n.hub.kill()
		return fmt.Errorf("the hub did not start: %w: %s", err, n.hub.output())
	}
	return nil
}

// close ends the hosts, then the hub, which removes their cgroups before it ends.
func (n *Network) close() {
	for _, h := range n.hosts {
		h.Down()
	}
	n.hubIn.Close()
	select {
	case <-n.hub.done:
	case <-time.After(hubLimit):
		n.hub.kill()
	}
	if n.hub.err != nil {
		n.t.Errorf("testhost: taking the network down: %v: %s", n.hub.err, n.hub.output())
	}
}

// inHub runs a command in the hub's mount and network namespaces.
func (n *Network) inHub(argv ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), hubLimit)
	defer cancel()
	enter := []string{"--target", strconv.Itoa(n.hub.pid()), "--mount", "--net", "--"}
	out, err := exec.CommandContext(ctx, "nsenter", append(enter, argv...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("running %q: %w: %s", argv, err, bytes.TrimSpace(out))
	}
	return nil
}

// unpack makes a layer's files available to the hosts, building the layer where it is
// not cached.
func (n *Network) unpack(layer string) error {
	if layer == "" || n.layers[layer] {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), layerLimit)
	defer cancel()
	script := filepath.Join(n.root, "internal/testhost/layer.sh")
	cmd := exec.CommandContext(ctx, "bash", script, layer, filepath.Join(n.root, cacheDir))
	cmd.Stderr = os.Stderr
	archive, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("building layer %q: %w", layer, err)
	}
	dir := filepath.Join(n.mnt, "layers", layer)
	if err := n.inHub("mkdir", dir); err != nil {
		return err
	}
	n.layers[layer] = true
	return n.inHub("tar", "--extract", "--file", strings.TrimSpace(string(archive)), "--directory", dir,
		"--xattrs", "--xattrs-include=*", "--numeric-owner")
}

// number returns the last byte of the host's address, the same each time it boots.
func (n *Network) number(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.numbers[name] == 0 {
		n.numbers[name] = len(n.numbers) + 1
	}
	return n.numbers[name]
}

// address returns the address of a host by name; "" where there is none.
func (n *Network) address(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.numbers[name] == 0 {
		return ""
	}
	return fmt.Sprintf("10.77.0.%d", n.numbers[name])
}

// writeHosts tells every host the names of all.
func (n *Network) writeHosts() {
	lines := "127.0.0.1 localhost\n::1 localhost\n"
	for name := range n.hosts {
		lines += n.address(name) + " " + name + "\n"
	}
	for _, h := range n.hosts {
		if h.PID() != 0 {
			h.WriteFile("/etc/hosts", []byte(lines), 0o644)
		}
	}
}
