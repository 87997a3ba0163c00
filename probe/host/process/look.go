package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxProcesses  = 50_000
	maxNamespaces = 64      // network namespaces whose sockets are read: each table costs a millisecond or two
	maxText       = 1 << 20 // bytes of a file of /proc that are read
)

// ticks is how many clock ticks the kernel tells as a second (USER_HZ), on every architecture
// that Go knows.
const ticks = 100

// Look reads the processes below proc, such as /proc. What could be seen is returned with an
// error, too, which says what could not. Of more than 50,000 processes, those with the lowest
// ids are read; of more than 64 network namespaces, those of the lowest ids.
func Look(proc string) (Table, error) {
	t := Table{Time: time.Now(), hosts: map[netip.Addr]uint64{}}
	pids, err := list(proc)
	if err != nil {
		return t, err
	}
	boot, err := booted(proc, t.Time)
	errs := []error{err}
	if len(pids) > maxProcesses {
		errs = append(errs, fmt.Errorf("reading processes: there are %d, %d of them are read", len(pids), maxProcesses))
		pids = pids[:maxProcesses]
	}
	users := namespace(filepath.Join(proc, "self"), "user")
	holders := map[uint64][]int{}
	for _, pid := range pids {
		p, err := read(proc, pid, boot)
		if err != nil {
			continue // it has ended meanwhile, or is one of the kernel's
		}
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if in := namespace(dir, "user"); in != users && in != 0 {
			p.UserIDs, p.GroupIDs = mapped(filepath.Join(dir, "uid_map")), mapped(filepath.Join(dir, "gid_map"))
		}
		t.Processes = append(t.Processes, p)
		inodes, err := SocketsOf(proc, pid)
		if errors.Is(err, fs.ErrPermission) {
			t.Hidden++
		}
		for inode := range inodes {
			holders[inode] = append(holders[inode], pid)
		}
	}
	errs = append(errs, t.readSockets(proc, holders))
	return t, errors.Join(errs...)
}

// list returns the ids of all processes, in order.
func list(proc string) ([]int, error) {
	folder, err := os.Open(proc)
	if err != nil {
		return nil, fmt.Errorf("reading processes: %w", err)
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("reading processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("reading processes: %q shows none", proc)
	}
	slices.Sort(pids)
	return pids, nil
}

// booted returns when the clock of the processes' start times was zero. The kernel is asked
// where proc is its own: the file stat of a container may tell when the container was started
// (lxcfs), and knows seconds only.
func booted(proc string, now time.Time) (time.Time, error) {
	var kind unix.Statfs_t
	var up unix.Timespec
	if unix.Statfs(proc, &kind) == nil && kind.Type == unix.PROC_SUPER_MAGIC && unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) == nil {
		return now.Add(-time.Duration(up.Nano())), nil
	}
	text, err := readText(filepath.Join(proc, "stat"))
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when this host was started: %w", err)
	}
	for line := range strings.Lines(text) {
		if seconds, ok := strings.CutPrefix(line, "btime "); ok {
			number, err := strconv.ParseInt(strings.TrimSpace(seconds), 10, 64)
			if err != nil {
				return time.Time{}, fmt.Errorf("reading when this host was started: %w", err)
			}
			return time.Unix(number, 0), nil
		}
	}
	return time.Time{}, fmt.Errorf("reading when this host was started: %q does not say", filepath.Join(proc, "stat"))
}

// read returns a process. Only what everybody may see has to be there.
func read(proc string, pid int, boot time.Time) (Process, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	text, err := readText(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, err
	}
	stat, err := parseStat(text)
	if err != nil {
		return Process{}, err
	}
	if stat.ended || stat.kernel {
		return Process{}, fmt.Errorf("process %d runs no program", pid)
	}
	p := Process{PID: pid, Parent: stat.parent, Name: stat.name}
	if !boot.IsZero() {
		p.Start = boot.Add(time.Duration(stat.start) * (time.Second / ticks)).UTC()
	}
	if text, err = readText(filepath.Join(dir, "status")); err != nil {
		return Process{}, err
	}
	p.UID, p.GIDs, p.Capabilities = parseStatus(text)
	if text, err = readText(filepath.Join(dir, "cmdline")); err == nil && text != "" {
		p.Argv = strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
	}
	if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
		p.Exe, p.ExeDeleted = strings.CutSuffix(exe, deletedMark)
	}
	if _, err := os.Readlink(filepath.Join(dir, "root")); err == nil {
		p.Root = filepath.Join(dir, "root")
	}
	p.Mounts, p.Net = namespace(dir, "mnt"), namespace(dir, "net")
	if text, err = readText(filepath.Join(dir, "cgroup")); err == nil {
		p.Unit, p.UserUnit, p.Container = parseControlGroups(text)
	}
	if text, err = readText(filepath.Join(dir, "attr", "current")); err == nil {
		p.Label = parseLabel(text)
	}
	return p, nil
}

// readSockets reads the sockets of every network namespace. Those of other namespaces are left
// out where they cannot be read: their processes may have ended meanwhile.
func (t *Table) readSockets(proc string, holders map[uint64][]int) error {
	own := namespace(filepath.Join(proc, "self"), "net")
	var err error
	t.Sockets, err = socketsBelow(filepath.Join(proc, "net"), own, holders)
	seen := map[uint64]bool{0: true, own: true}
	for _, p := range t.Processes {
		if own == 0 || seen[p.Net] || len(seen) > maxNamespaces {
			continue
		}
		seen[p.Net] = true
		dir := filepath.Join(proc, strconv.Itoa(p.PID), "net")
		sockets, _ := socketsBelow(dir, p.Net, holders)
		t.Elsewhere = append(t.Elsewhere, sockets...)
		text, _ := readText(filepath.Join(dir, "fib_trie"))
		for _, address := range localAddresses(text) {
			if other, ok := t.hosts[address]; ok && other != p.Net {
				t.hosts[address] = 0
				continue
			}
			t.hosts[address] = p.Net
		}
	}
	return err
}

// namespace returns the identity of a namespace of a process; 0 where it may not be seen.
func namespace(dir, kind string) uint64 {
	link, err := os.Readlink(filepath.Join(dir, "ns", kind))
	if err != nil {
		return 0
	}
	_, number, _ := strings.Cut(strings.TrimSuffix(link, "]"), ":[")
	identity, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return identity
}

// mapped returns the numbers of users or groups that a user namespace has, as this host knows
// them, from a file such as /proc/PID/uid_map: "INSIDE OUTSIDE NUMBER".
func mapped(path string) [][2]int {
	out := [][2]int{}
	text, _ := readText(path)
	for line := range strings.Lines(text) {
		if numbers := integers(line); len(numbers) == 3 {
			out = append(out, [2]int{numbers[1], numbers[2]})
		}
	}
	return out
}

// readText reads a file of /proc, of which no more than a bound is of interest.
func readText(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxText))
	return string(data), err
}
