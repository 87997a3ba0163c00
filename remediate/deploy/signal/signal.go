// Package signal asks a service to load its files again by a signal to the process that its
// pid file names.
//
// certmedic runs it as a step of its own ([Run]), in place of a reload command. It promises
// that no other process is ever signalled: not one that has taken over the number of a process
// that ended, and not one that somebody wrote into a pid file whom that process does not
// belong to.
package signal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Request says whom to signal.
type Request struct {
	PIDFile string `json:"pid_file"`
	Signal  string `json:"signal"` // HUP, USR1 or USR2
}

// Signals lists the signals that can be sent: those that services take for a reload.
func Signals() []string { return []string{"HUP", "USR1", "USR2"} }

const (
	maxFile = 4 << 10 // bytes that are read of a pid file

	// ticks is how often in a second the kernel counts, as user space sees it (USER_HZ).
	ticks = 100

	// rounding is how much later than its pid file a process may seem to have begun: its start
	// is known to a tick, and file systems round times.
	rounding = time.Second
)

// Run sends the signal of a [Request] in JSON, and says to out whom it was sent to.
func Run(_ context.Context, request []byte, out io.Writer) error {
	var q Request
	if err := json.Unmarshal(request, &q); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	number := unix.SignalNum("SIG" + q.Signal)
	if !slices.Contains(Signals(), q.Signal) || number == 0 {
		return fmt.Errorf("the signal %q is none of %s", q.Signal, strings.Join(Signals(), ", "))
	}
	file, err := readFile(q.PIDFile)
	if err != nil {
		return fmt.Errorf("reading the pid file %q: %w", q.PIDFile, err)
	}
	// What is open stays this process, whatever becomes of its number.
	handle, err := unix.PidfdOpen(file.pid, 0)
	if err != nil {
		return fmt.Errorf("process %d of %q: %w", file.pid, q.PIDFile, err)
	}
	defer unix.Close(handle)
	if err := file.check(); err != nil {
		return fmt.Errorf("process %d of %q is not signalled: %w", file.pid, q.PIDFile, err)
	}
	if err := unix.PidfdSendSignal(handle, number, nil, 0); err != nil {
		return fmt.Errorf("signalling process %d of %q: %w", file.pid, q.PIDFile, err)
	}
	_, err = fmt.Fprintf(out, "process %d was sent SIG%s\n", file.pid, q.Signal)
	return err
}

// pidFile is what a pid file says, and who wrote it when.
type pidFile struct {
	pid     int
	owner   uint32
	written time.Time
}

func readFile(path string) (pidFile, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return pidFile{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return pidFile{}, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular():
		return pidFile{}, errors.New("it is not a regular file")
	case info.Mode().Perm()&0o022 != 0:
		return pidFile{}, fmt.Errorf("others than its owner may write it (mode %04o)", info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return pidFile{}, err
	}
	first, _, _ := strings.Cut(string(text), "\n") // PostgreSQL writes more lines
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return pidFile{}, errors.New("it does not hold the number of a process")
	}
	return pidFile{pid: pid, owner: stat.Uid, written: info.ModTime()}, nil
}

// check proves that the process is the one that the file was written for: it began before,
// and belongs to whom the file belongs to, where that is not root or we ourselves.
func (f pidFile) check() error {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", f.pid))
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || f.owner != 0 && int(f.owner) != os.Geteuid() && f.owner != stat.Uid {
		return errors.New("it belongs to another user than the file")
	}
	began, err := began(f.pid)
	if err != nil {
		return err
	}
	if began.After(f.written.Add(rounding)) {
		return fmt.Errorf("it began at %s, after the file was written at %s: it has taken over the number of a process that ended",
			began.UTC().Format(time.RFC3339), f.written.UTC().Format(time.RFC3339))
	}
	return nil
}

// began returns when a process began. A clock that was set since makes it seem later or
// earlier; later is refused, as in doubt.
func began(pid int) (time.Time, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, err
	}
	// The name, in brackets, may hold anything; 22 is the start, and the first field behind it is 3.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return time.Time{}, errors.New("its state cannot be read")
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return time.Time{}, errors.New("it has ended")
	}
	start, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return time.Time{}, errors.New("its start cannot be read")
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return time.Time{}, fmt.Errorf("asking for the time since the boot: %w", err)
	}
	age := time.Duration(boot.Nano()) - time.Duration(start)*(time.Second/ticks)
	return time.Now().Add(-age), nil
}
